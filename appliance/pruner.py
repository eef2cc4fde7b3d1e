"""The pruner: forgets flows whose handshake is done and whose hello never comes (X5).

The kernel lets a handshake with a listed port through by itself, and would remember the flow for hours; each holds a
port of ours towards its server, and an entry of the table. The engine knows nothing of them, for it sees a flow from
its first octet on. So the kernel is asked for them every few seconds: those that are silent for too long are forgotten,
and of a client that has too many, those that have been silent for longest. Runs on the supervisor's event loop; the
kernel is asked from a thread.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from appliance.address import Ipv4
from appliance.chronicle import Chronicle
from appliance.dataplane import Dataplane
from appliance.edge.conntrack import Connection, Conntrack
from appliance.edge.system import ESTABLISHED_WAIT, UNACKNOWLEDGED_WAIT
from appliance.errors import KernelError
from appliance.policy.decision import Decision
from appliance.policy.entry import OpenFlow
from appliance.reason import Reason
from appliance.revoker import LOGGED, MARKS
from appliance.settings import Settings
from appliance.standing import Standing

INTERVAL = 5.0  # seconds between two looks
SHARE = 20  # the table is read for at most one part in so many of the time

Pruned = tuple[Connection, Reason]


class Pruner:
    """Forgets flows, and tells it.

    Args:
        tell: writes a config event: category, outcome, reason.
    """

    def __init__(
        self,
        settings: Settings,
        chronicle: Chronicle,
        dataplane: Dataplane,
        tell: Callable[[str, str, str], None],
        *,
        instance: str,
    ) -> None:
        self._wait, self._most = settings.engine_idle_wait, settings.engine_client_idle
        self._interval = min(INTERVAL, self._wait / 2)
        self._chronicle = chronicle
        self._dataplane = dataplane
        self._tell = tell
        self._instance = instance
        self._failure = ""  # why the table could not be read

    async def follow(self) -> None:
        """Look again and again; a failure leaves the flows to the kernel."""
        while True:
            began = time.monotonic()
            try:
                await asyncio.to_thread(self._prune)
                self._failure = ""
            except KernelError as fault:
                if fault.message != self._failure:
                    self._tell("error", "failed", f"flows without a hello are kept: {fault.message}; {fault.hint}")
                self._failure = fault.message
            await asyncio.sleep(max(self._interval, SHARE * (time.monotonic() - began)))

    def _prune(self) -> None:
        with contextlib.closing(Conntrack(MARKS)) as table:
            pruned = choose(table.undecided(), wait=self._wait, most=self._most)
            table.end([connection for connection, _ in pruned])
        _, _, preferences = self._dataplane.in_force
        if pruned and "disallowed" in preferences.flow_log_verbosity.outcomes:
            self._write([(connection.flow, reason) for connection, reason in pruned[:LOGGED]])

    def _write(self, pruned: Sequence[tuple[OpenFlow, Reason]]) -> None:
        policy, today, preferences = self._dataplane.in_force
        standing = Standing(self._instance, today)
        standing.policy, standing.grant = policy, preferences.grant
        decided = ((flow.key, Decision(allow=False, reason=reason)) for flow, reason in pruned)
        self._chronicle.log([standing.event("client", key, decision).event for key, decision in decided])


def choose(undecided: Iterable[Connection], *, wait: float, most: int) -> list[Pruned]:
    """Return which connections to forget, and why.

    Args:
        undecided: what the kernel has without a mark; only clients' connections that are open can be idle.
        wait: seconds of silence that a flow may have before its hello.
        most: such flows that one client may have.
    """
    by_client: dict[Ipv4, dict[bytes, Connection]] = defaultdict(dict)  # the kernel may tell of one twice
    for connection in undecided:
        if connection.is_idle:
            by_client[connection.flow.client][connection.original] = connection
    pruned: list[Pruned] = []
    for found in by_client.values():
        longest_first = sorted(found.values(), key=silence, reverse=True)
        excess = len(longest_first) - most
        for place, connection in enumerate(longest_first):
            if silence(connection) >= wait:
                pruned.append((connection, Reason.HELLO_TIMEOUT))
            elif place < excess:
                pruned.append((connection, Reason.TOO_MANY_FLOWS))
    return pruned


def silence(connection: Connection) -> float:
    """Return for how many seconds an open connection has been silent."""
    allowed = ESTABLISHED_WAIT if connection.left > UNACKNOWLEDGED_WAIT else UNACKNOWLEDGED_WAIT
    return allowed - connection.left
