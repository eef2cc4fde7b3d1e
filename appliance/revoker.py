"""The revoker: ends open flows that policy does not allow any more (evasion X1).

A flow is judged when it opens; from then on it is the kernel's. So after each change of policy, preferences or date,
and once at the start, for what an earlier run left open, the kernel is asked for all flows that it forwards by itself,
and those without entitlement are ended. Whoever calls has seen to it that no worker opens more by what held before.
Runs on the supervisor's event loop; the kernel is asked from a thread.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date

from appliance.address import Ipv4
from appliance.chronicle import Chronicle
from appliance.edge.conntrack import Conntrack, Marks
from appliance.edge.netfilter import STATE_MASK, Mark
from appliance.errors import KernelError
from appliance.policy.decision import Decision
from appliance.policy.entry import OpenFlow
from appliance.policy.pattern import Pattern
from appliance.policy.policy import EMPTY_POLICY, Policy
from appliance.policy.preferences import Preferences
from appliance.reason import Reason
from appliance.revocation import Entitlement, names_of
from appliance.settings import Settings
from appliance.standing import Standing

MARKS = Marks(Mark.ALLOWED.bits, Mark.DENIED.bits, STATE_MASK)
PATIENCE = 2  # poll intervals that a client must be missing for before its flows are ended
LOGGED = 1000  # flow events of one change; what else is ended is counted


class Revoker:
    """Ends flows, and tells it.

    Args:
        tell: writes a config event: category, outcome, reason.
    """

    def __init__(
        self, settings: Settings, chronicle: Chronicle, tell: Callable[[str, str, str], None], *, instance: str
    ) -> None:
        self._is_wanted = settings.engine_end_flows
        self._chronicle = chronicle
        self._tell = tell
        self._instance = instance
        self._before = EMPTY_POLICY  # by which flows were looked at last: it knows the names of what it allowed
        self._failure = ""  # why they could not be looked at
        # AWS's answers are eventually consistent: one that lacks an interface for a moment must not end its flows.
        self._interval = settings.policy_poll_interval
        self._patience = PATIENCE * self._interval  # seconds
        self._missing: dict[Ipv4, float] = {}  # clients of open flows that are not known, and since when
        self._sweeping = asyncio.Lock()
        self.ended = 0  # flows, since the start

    @property
    def is_behind(self) -> bool:
        """The last sweep failed or left something in doubt, and should be tried again."""
        return bool(self._failure or self._missing)

    async def sweep(self, policy: Policy, preferences: Preferences, today: date) -> None:
        """End all open flows that neither the policy nor see-thru allows on a day; none before the first policy."""
        if not self._is_wanted or not policy.digest:
            return
        standing = Standing(self._instance, today)
        standing.policy, standing.grant, standing.opened = policy, preferences.grant, preferences.private_destinations
        self._patience = PATIENCE * (preferences.policy_poll_interval or self._interval)
        async with self._sweeping:
            try:
                await asyncio.to_thread(self._sweep, standing, preferences.flow_log_verbosity.outcomes)
                self._failure = ""
            except KernelError as fault:
                if fault.message != self._failure:
                    self._tell("error", "failed", f"open flows go on, allowed or not: {fault.message}; {fault.hint}")
                self._failure = fault.message

    def _sweep(self, standing: Standing, outcomes: frozenset[str]) -> None:
        entitlement = Entitlement(standing)
        with contextlib.closing(Conntrack(MARKS)) as table:
            judged = ((each, entitlement.objection(each.flow)) for each in table.allowed())
            found = {each.original: (each, reason) for each, reason in judged if reason is not None}
            doubtful = self._doubtful(standing.policy, {each.flow.client for each, _ in found.values()})
            revoked = [(each, reason) for each, reason in found.values() if each.flow.client not in doubtful]
            table.end([each for each, _ in revoked])
        live = [(each.flow, reason) for each, reason in revoked if not each.is_closed]
        if live:
            self.ended += len(live)
            if "disallowed" in outcomes:
                self._write(live[:LOGGED], standing)
            self._tell("policy", "ended", f"{len(live)} open flows were ended, which are not allowed any more")
        if not doubtful:
            self._before = standing.policy

    def _doubtful(self, policy: Policy, clients: Iterable[Ipv4]) -> Collection[Ipv4]:
        """Return which of these clients AWS may have left out by chance."""
        now = time.monotonic()
        missing = {client: self._missing.get(client, now) for client in clients if client not in policy.clients}
        self._missing = {client: since for client, since in missing.items() if now - since < self._patience}
        return self._missing

    def _write(self, revoked: Sequence[tuple[OpenFlow, Reason]], standing: Standing) -> None:
        """Write the flow events; names are those of the policy that allowed the flows, if this run has known it."""
        flows = [flow for flow, _ in revoked]
        names = names_of(standing.policy, flows) | names_of(self._before, flows)
        events = []
        for flow, reason in revoked:
            decision, protocol = Decision(allow=False, reason=reason), "unknown"
            if flow in names:
                rule, entry = names[flow]
                decision = decision._replace(gid=rule.gid, rule=rule.reference)
                if isinstance(entry, Pattern):  # which of its names it was, nobody knows any more
                    decision = decision._replace(detail=f"by {entry}")
                else:
                    decision = decision._replace(name=str(entry))
                protocol = rule.protocol.value
            events.append(standing.event("client", flow.key, decision, protocol=protocol).event)
        self._chronicle.log(events)
