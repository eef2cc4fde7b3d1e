"""The revoker: ends open flows that policy does not allow any more (evasion X1).

A flow is judged when it opens; from then on it is the kernel's. So after each change of policy, preferences or date,
and once at the start, for what an earlier run left open, the kernel is asked for all flows that it forwards by itself,
and those without entitlement are ended. Whoever calls has seen to it that no worker opens more by what held before.
Runs on the supervisor's event loop; the kernel is asked from a thread.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import date

from appliance.chronicle import FLOW, Chronicle
from appliance.edge.conntrack import Conntrack, Marks
from appliance.edge.journal import render
from appliance.edge.netfilter import STATE_MASK, Mark
from appliance.errors import KernelError
from appliance.policy.decision import Decision
from appliance.policy.entry import OpenFlow
from appliance.policy.policy import EMPTY_POLICY, Policy
from appliance.policy.preferences import Preferences
from appliance.reason import Reason
from appliance.revocation import Entitlement, names_of
from appliance.settings import Settings
from appliance.standing import Standing

MARKS = Marks(Mark.ALLOWED.bits, Mark.DENIED.bits, STATE_MASK)
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
        self._sweeping = asyncio.Lock()
        self.ended = 0  # flows, since the start

    @property
    def is_behind(self) -> bool:
        """The last sweep failed, and should be tried again."""
        return bool(self._failure)

    async def sweep(self, policy: Policy, preferences: Preferences, today: date) -> None:
        """End all open flows that neither the policy nor see-thru allows on a day; none before the first policy."""
        if not self._is_wanted or not policy.digest:
            return
        standing = Standing(self._instance, today)
        standing.policy, standing.grant = policy, preferences.grant
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
            found = ((connection, entitlement.objection(connection.flow)) for connection in table.allowed())
            revoked = {connection.original: (connection, reason) for connection, reason in found if reason is not None}
            table.end([connection for connection, _ in revoked.values()])
        live = [(connection.flow, reason) for connection, reason in revoked.values() if not connection.is_closed]
        if live:
            self.ended += len(live)
            if "disallowed" in outcomes:
                self._write(live[:LOGGED], standing)
            self._tell("policy", "ended", f"{len(live)} open flows were ended, which are not allowed any more")
        self._before = standing.policy

    def _write(self, revoked: Sequence[tuple[OpenFlow, Reason]], standing: Standing) -> None:
        """Write the flow events; names are those of the policy that allowed the flows, if this run has known it."""
        now = time.time()
        flows = [flow for flow, _ in revoked]
        names = names_of(standing.policy, flows) | names_of(self._before, flows)
        lines = []
        for flow, reason in revoked:
            decision, protocol = Decision(allow=False, reason=reason), "unknown"
            if flow in names:
                rule, name = names[flow]
                decision = decision._replace(name=str(name), gid=rule.gid, rule=rule.reference)
                protocol = rule.protocol.value
            key = (flow.client, flow.client_port, flow.server, flow.server_port)
            lines.append(render(standing.event("client", key, decision, protocol=protocol).event, now))
        self._chronicle.write(FLOW, b"".join(lines), int(now * 1000))
