"""Plaintext HTTP that passes: packet by packet, until its server's status is in the log.

Everything here is pure.
"""

from appliance.closing import Closing
from appliance.command import Command, Verdict
from appliance.errors import Malformed
from appliance.flow import Flow, offset_of
from appliance.holding import Holding
from appliance.judge import no
from appliance.limits import Limits
from appliance.policy.decision import Decision
from appliance.reason import Reason
from appliance.standing import Standing
from appliance.wire.http import parse_status
from appliance.wire.ip import Packet
from appliance.wire.stream import Stream


class Plaintext:
    """Looks at each packet of flows in the state PLAINTEXT. It is the one that is held."""

    __slots__ = ("_closing", "_holding", "_limits", "_standing")

    def __init__(self, standing: Standing, closing: Closing, holding: Holding, limits: Limits) -> None:
        self._standing = standing
        self._closing = closing
        self._holding = holding
        self._limits = limits

    def on_packet(self, flow: Flow, packet: Packet, now: float, out: list[Command], *, from_client: bool) -> None:
        """Let a packet go on, and open the flow once nothing more is to be learnt of it."""
        if from_client:
            flow.client_expects = packet.acknowledgement
        ruling = flow.ruling or no(Reason.HTTP_PLAINTEXT)
        if not self._standing.lets_through(flow.key[0], ruling.reason):  # any more
            self._closing.deny(flow, "client" if from_client else "server", ruling, now, out)
        elif self._is_heard_out(flow, packet, ruling, out, from_client=from_client):
            self._closing.open_seen_thru(flow, now, out)
        else:
            self._holding.release(flow, Verdict.PASS, out)

    def _is_heard_out(
        self, flow: Flow, packet: Packet, ruling: Decision, out: list[Command], *, from_client: bool
    ) -> bool:
        """Log the server's status if this packet has it; tell whether nothing more is to be learnt."""
        if from_client:  # who sends that much need not wait for an answer
            return offset_of(packet.sequence, flow.base) + len(packet.payload) > self._limits.stream_octets
        if flow.server is None:
            flow.server = Stream(self._limits.stream_octets, self._limits.stream_segments)
            flow.server_base = packet.sequence if flow.client_expects is None else flow.client_expects
        try:
            flow.server.feed(offset_of(packet.sequence, flow.server_base), packet.payload)
            code = parse_status(flow.server.contiguous)
        except Malformed:
            return True
        if code is not None:
            self._closing.log_status(flow, ruling, code, out)
        return code is not None
