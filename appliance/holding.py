"""Packets that are held: in the kernel's queue, without a verdict, until their flow is understood.

Everything here is pure; a held packet is known by the queue's number for it.
"""

from appliance.command import Command, SendReset, SetVerdict, Verdict
from appliance.flow import SEQUENCE_SPACE, Flow
from appliance.limits import Limits
from appliance.policy.entry import SEEN_THRU

# The place of a server's packet. That of a client's is the offset of its first octet, which is far less.
FROM_SERVER = 1 << 40


class Holding:
    """Counts what is held over all flows, and gives it up in the order of arrival."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._holders: dict[Flow, None] = {}  # flows with held packets, longest first
        self.held = 0

    @property
    def is_full(self) -> bool:
        """As many packets are held as may be."""
        return self.held >= self._limits.held_packets

    @property
    def longest(self) -> Flow:
        """The flow that has held something for longest. There must be one."""
        return next(iter(self._holders))

    def hold(self, flow: Flow, packet_id: int, place: int) -> bool:
        """Hold a packet; False if there is no room, and the packet must be dropped (TCP sends it again)."""
        if self.held >= self._limits.held_packets or len(flow.held) >= self._limits.held_per_flow:
            return False
        if not flow.held:
            self._holders[flow] = None
        flow.held.append((packet_id, place))
        self.held += 1
        return True

    def release(self, flow: Flow, verdict: Verdict, out: list[Command], entry: int = SEEN_THRU) -> None:
        """Give every packet of a flow the same verdict."""
        for packet_id, _ in flow.held:
            out.append(SetVerdict(packet_id, verdict, entry))
        self._keep(flow, [])

    def pass_client(self, flow: Flow, end: int, out: list[Command]) -> None:
        """Let the client's packets that begin before offset `end` go on; the flow stays under inspection."""
        kept = []
        flow.released = max(flow.released, end)
        for packet_id, place in flow.held:
            if place < end:
                out.append(SetVerdict(packet_id, Verdict.PASS))
            else:
                kept.append((packet_id, place))
        self._keep(flow, kept)

    def pass_server(self, flow: Flow, out: list[Command]) -> None:
        """Let the server's packets go on; the flow stays under inspection."""
        kept = []
        for packet_id, place in flow.held:
            if place == FROM_SERVER:
                out.append(SetVerdict(packet_id, Verdict.PASS))
            else:
                kept.append((packet_id, place))
        self._keep(flow, kept)

    def _keep(self, flow: Flow, kept: list[tuple[int, int]]) -> None:
        if flow.held and not kept:
            del self._holders[flow]
        self.held -= len(flow.held) - len(kept)
        flow.held = kept


def resets(flow: Flow) -> list[Command]:
    """Return a reset for each end of a flow, numbered so that both believe it (RFC 5961 section 3.2)."""
    client, client_port, server, server_port = flow.key
    server_expects = (flow.base + flow.released) % SEQUENCE_SPACE
    client_sent = (flow.base + len(flow.client.contiguous)) % SEQUENCE_SPACE
    client_expects = flow.server_base if flow.client_expects is None else flow.client_expects
    return [
        SendReset(server, server_port, client, client_port, client_expects, client_sent),
        SendReset(client, client_port, server, server_port, server_expects, client_expects),
    ]
