"""Plaintext HTTP that passes, packet by packet: until its server's status is in the log, or for as long as it lives.

Everything here is pure.
"""

from appliance.closing import Closing
from appliance.command import Command, Verdict
from appliance.errors import Malformed
from appliance.flow import SEQUENCE_SPACE, Flow, offset_of
from appliance.holding import Holding
from appliance.inspection import Greeting
from appliance.judge import Judge, no
from appliance.limits import Limits
from appliance.policy.decision import Decision
from appliance.reason import Reason
from appliance.standing import Standing
from appliance.wire.http import parse_status
from appliance.wire.ip import Packet
from appliance.wire.stream import Stream


class Plaintext:
    """Looks at each packet of flows in the state PLAINTEXT. It is the one that is held."""

    __slots__ = ("_closing", "_holding", "_judge", "_limits", "_standing")

    def __init__(self, standing: Standing, judge: Judge, closing: Closing, holding: Holding, limits: Limits) -> None:
        self._standing = standing
        self._judge = judge
        self._closing = closing
        self._holding = holding
        self._limits = limits

    def on_packet(self, flow: Flow, packet: Packet, now: float, out: list[Command], *, from_client: bool) -> None:
        """Let a packet go on, and open the flow once nothing more is to be learnt of it."""
        if from_client and flow.server is None:
            flow.client_expects = packet.acknowledgement
        ruling = flow.ruling or no(Reason.HTTP_PLAINTEXT)
        if ruling.allow:
            self._on_fetch(flow, packet, ruling, now, out, from_client=from_client)
        elif not self._standing.lets_through(flow.key[0], flow.key[2], ruling.reason):  # any more
            self._closing.deny(flow, "client" if from_client else "server", ruling, now, out)
        elif self._is_heard_out(flow, packet, ruling, out, from_client=from_client):
            self._closing.leave(flow, now, out)
        else:
            self._holding.release(flow, Verdict.PASS, out)

    def begin_fetch(self, flow: Flow, decision: Decision, now: float, out: list[Command]) -> None:
        """Let a request for a revocation list, or a status, go on, which is all that its client ever says here."""
        self._closing.log_request(flow, decision, out)
        flow.ruling, flow.judged_by = decision, self._standing.policy
        flow.hello_end = len(flow.client.contiguous)
        self._holding.pass_client(flow, flow.hello_end, out)
        self._closing.go_on(flow, now)

    def on_silence(self, flow: Flow, now: float, out: list[Command]) -> None:
        """End a flow on which nothing was said for long.

        Under see-thru its next packet is looked at afresh. A fetch must not be: a client that knows what its server has
        read already could go on in the midst of what looks like another request.
        """
        if flow.ruling is None or not flow.ruling.allow:
            self._closing.leave(flow, now, out)
        elif flow.greeting is None:
            self._closing.deny(flow, "server", no(Reason.SERVER_TIMEOUT), now, out)
        else:
            self._closing.end_quietly(flow, now, out)

    def _on_fetch(
        self, flow: Flow, packet: Packet, ruling: Decision, now: float, out: list[Command], *, from_client: bool
    ) -> None:
        """Let a packet go on that is a part of the one request, or of its reply.

        The kernel never forwards such a flow by itself, for a client could then ask for anything, of any other host
        that its server serves.
        """
        endpoints = self._standing.endpoints
        if flow.judged_by is not self._standing.policy or endpoints is None or ruling.name not in endpoints:
            decision = self._judge.decide(flow, now)
            if not decision.allow:
                self._closing.deny(flow, "client", decision, now, out)
                return
            flow.judged_by = self._standing.policy
        refusal = self._fault_of_client(flow, packet) if from_client else self._fault_of_server(flow, packet, out)
        if refusal is not None:
            side = "client" if from_client else "server"
            self._closing.deny(flow, side, refusal._replace(name=ruling.name), now, out)
            return
        self._holding.release(flow, Verdict.PASS, out)
        self._closing.go_on(flow, now)

    def _fault_of_client(self, flow: Flow, packet: Packet) -> Decision | None:
        """Return why a client's packet may not go on: only the request may, again and again."""
        offset = offset_of(packet.sequence, flow.base)
        request, payload = flow.client.contiguous, packet.payload
        if offset + len(payload) > len(request):
            return no(Reason.HTTP_PLAINTEXT, detail="octets beyond the request: a connection is good for one")
        if offset < 0 or request[offset : offset + len(payload)] != payload:
            return no(Reason.TCP_CONFLICT)
        return None

    def _fault_of_server(self, flow: Flow, packet: Packet, out: list[Command]) -> Decision | None:
        """Return why a server's packet may not go on; log its status once that is read."""
        stream = self._server_stream(flow, packet)
        offset = offset_of(packet.sequence, flow.server_base)
        end = offset + len(packet.payload)
        if end > self._limits.crl_octets:
            return no(Reason.CRL_TOO_LONG, detail=f"limit is {self._limits.crl_octets} octets")
        if flow.greeting is None:
            try:
                stream.feed(offset, packet.payload)
                code = parse_status(stream.contiguous)
            except Malformed as fault:
                return no(Reason.SERVER_NOT_HTTP, detail=fault.message)
            if code is not None:
                self._closing.log_status(flow, Decision(allow=True, reason=Reason.SERVER_AGREED), code, out)
                flow.greeting = Greeting()
        # A reset has to be believed: its number is that of what has gone on, not of what is refused.
        flow.server_from = max(flow.server_from, end)
        flow.client_expects = (flow.server_base + flow.server_from) % SEQUENCE_SPACE
        return None

    def _server_stream(self, flow: Flow, packet: Packet) -> Stream:
        if flow.server is None:
            flow.server = Stream(self._limits.stream_octets, self._limits.stream_segments)
            flow.server_base = packet.sequence if flow.client_expects is None else flow.client_expects
        return flow.server

    def _is_heard_out(
        self, flow: Flow, packet: Packet, ruling: Decision, out: list[Command], *, from_client: bool
    ) -> bool:
        """Log the server's status if this packet has it; tell whether nothing more is to be learnt."""
        if from_client:  # who sends that much need not wait for an answer
            return offset_of(packet.sequence, flow.base) + len(packet.payload) > self._limits.stream_octets
        stream = self._server_stream(flow, packet)
        try:
            stream.feed(offset_of(packet.sequence, flow.server_base), packet.payload)
            code = parse_status(stream.contiguous)
        except Malformed:
            return True
        if code is not None:
            self._closing.log_status(flow, ruling, code, out)
        return code is not None
