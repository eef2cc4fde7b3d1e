"""Packets that are held: in the kernel's queue, without a verdict, until their flow is understood.

Everything here is pure; a held packet is known by the queue's number for it.
"""

from appliance.command import Command, SendReset, SetVerdict, Verdict
from appliance.flow import SEQUENCE_SPACE, Flow, Limits


class Holding:
    """Counts what is held over all flows, and gives it up in the order of arrival."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0

    def hold(self, flow: Flow, packet_id: int, *, from_client: bool) -> bool:
        """Hold a packet; False if there is no room, and the packet must be dropped (TCP sends it again)."""
        if self.held >= self._limits.held_packets or len(flow.held) >= self._limits.held_per_flow:
            return False
        flow.held.append((packet_id, from_client))
        self.held += 1
        return True

    def release(self, flow: Flow, verdict: Verdict, out: list[Command]) -> None:
        """Give every packet of a flow the same verdict."""
        for packet_id, _ in flow.held:
            out.append(SetVerdict(packet_id, verdict))
        self.held -= len(flow.held)
        flow.held.clear()

    def pass_side(self, flow: Flow, *, from_client: bool, out: list[Command]) -> None:
        """Let one side's packets go on, while the flow stays under inspection."""
        kept = []
        for packet_id, is_clients in flow.held:
            if is_clients == from_client:
                out.append(SetVerdict(packet_id, Verdict.PASS))
            else:
                kept.append((packet_id, is_clients))
        self.held -= len(flow.held) - len(kept)
        flow.held = kept
        if from_client:
            flow.released = len(flow.client.contiguous)


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
