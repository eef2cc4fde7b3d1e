"""The engine: packets and times in, commands out.

It is given what the kernel queued: the segments with payload of flows that are not decided yet, and
the packets that belong to no flow (`gate`). A flow goes through these states (`flow.State`):

    HELLO ──► PROVISIONAL ──► ALLOWED          from any ──► DENIED
      │  ▲         │   ▲
      ▼  │         ▼   │
    WAITING       RETRY (after a HelloRetryRequest)

Rules that hold throughout:
- A flow opens on the server's reply, not on the client's hello (SECURITY.md, P3 and T4).
- What was inspected is what is forwarded: a retransmission that differs kills the flow.
- What is not understood is refused. Every refusal has a code in `reason.Reason`.
- Every packet given to `on_packet` gets exactly one verdict, at once or later.
- Nothing here reads a clock, a file or a socket, and every table has a bound.
"""

from datetime import date

from appliance.address import Ipv4
from appliance.closing import Closing
from appliance.command import Command, SetVerdict, Verdict
from appliance.errors import Malformed, PacketError
from appliance.flow import Flow, FlowTable, State, base_of, offset_of
from appliance.gate import Gate
from appliance.holding import FROM_SERVER, Holding
from appliance.inspection import Hello, Inspector
from appliance.judge import Judge, no
from appliance.limits import Limits
from appliance.oddity import NOT_DATA, fault_of_segment, verdict_on_probe
from appliance.origin import Origin
from appliance.plaintext import Plaintext
from appliance.policy.addresses import OVERLOADED, Answer
from appliance.policy.decision import Decision
from appliance.policy.policy import Policy
from appliance.policy.preferences import Ech, Gating, Preferences
from appliance.reason import AWAITABLE, Reason
from appliance.standing import FlowKey, Standing
from appliance.waiting import Waiting
from appliance.wire.ip import Packet, parse_packet
from appliance.wire.stream import Stream

# A TCP sends ten segments before it wants an acknowledgement (RFC 6928). A client that dribbles its
# hello would wait for ever if more than these were held.
DRIBBLE_SEGMENTS = 8


class Engine:
    """All flows of one queue.

    Args:
        instance: EC2 instance id, for the log.
        today: the date in UTC; `on_tick` moves it on.
        limits: bounds of every table and wait.
        grace: seconds that an address of a name stays valid beyond its TTL.
    """

    def __init__(self, *, instance: str, today: date, limits: Limits | None = None, grace: float = 3600.0) -> None:
        self._limits = limits or Limits()
        self._inspector = Inspector(allow_ech=False)
        self._standing = Standing(instance, today)
        self._judge = Judge(self._standing, grace, self._limits)
        self._gate = Gate(self._standing, self._judge, self._limits)
        self._flows = FlowTable(self._limits)
        self._holding = Holding(self._limits)
        self._waiting = Waiting(self._limits)
        self._closing = Closing(self._standing, self._judge, self._flows, self._holding, self._waiting, self._limits)
        self._plaintext = Plaintext(self._standing, self._judge, self._closing, self._holding, self._limits)

    @property
    def flows(self) -> int:
        """Flows in the table."""
        return len(self._flows)

    @property
    def held(self) -> int:
        """Packets without a verdict."""
        return self._holding.held + self._gate.held

    @property
    def suppressed(self) -> int:
        """Events not written because too many packets belonged to no flow."""
        return self._gate.suppressed

    # ---- what comes in -------------------------------------------------------------------

    def on_packet(self, packet_id: int, origin: Origin, isn: int, octets: bytes, now: float) -> list[Command]:
        """Return what follows from a queued packet.

        Args:
            isn: low ISN_BITS bits of the client's initial sequence number; 0 at the gate.
            octets: the packet from its IPv4 header on, as far as it was copied.
        """
        try:
            packet = parse_packet(octets)
        except PacketError as fault:
            return self._gate.on_unreadable(packet_id, octets, fault)
        if origin is Origin.CLIENT:
            key = (packet.source, packet.source_port, packet.destination, packet.destination_port)
            sequence = packet.sequence
        elif origin is Origin.SERVER:
            key = (packet.destination, packet.destination_port, packet.source, packet.source_port)
            sequence = packet.acknowledgement
        else:
            return self._gate.on_packet(packet_id, packet, now, in_excess=origin is Origin.EXCESS)
        out: list[Command] = []
        flow = self._flows.get(key)
        base = base_of(sequence, isn)
        if flow is not None and flow.base != base:
            flow = None  # another connection may use the same ports
        if len(packet.payload) == 1 and origin is Origin.CLIENT and (flow is None or flow.state is not State.DENIED):
            probed = verdict_on_probe(packet, base, b"" if flow is None else flow.client.contiguous)
            if probed is not None:
                return [SetVerdict(packet_id, probed)]
        if flow is None:
            flow = self._open(key, base, now, out)
        if flow is None:
            out.append(SetVerdict(packet_id, Verdict.DENY))
        elif flow.is_decided:
            verdict = self._closing.verdict_after(flow, packet, from_client=origin is Origin.CLIENT)
            out.append(SetVerdict(packet_id, verdict))
        elif flow.state is State.PLAINTEXT:
            if self._hold(flow, packet_id, packet, 0 if origin is Origin.CLIENT else FROM_SERVER, now, out):
                self._plaintext.on_packet(flow, packet, now, out, from_client=origin is Origin.CLIENT)
        elif origin is Origin.CLIENT:
            offset = offset_of(packet.sequence, flow.base)
            # What reaches beyond what is kept is not inspected to its end: it may not go on before the flow is open.
            kept = self._limits.stream_octets
            place = offset if offset + len(packet.payload) <= kept else kept
            if self._hold(flow, packet_id, packet, place, now, out):
                self._on_client_segment(flow, packet, offset, now, out)
        elif self._hold(flow, packet_id, packet, FROM_SERVER, now, out):
            self._on_server_segment(flow, packet, now, out)
        if flow is not None and flow.state is State.HELLO and not flow.slot:
            self._flows.arm(flow, self._limits.hello_wait, now)  # most hellos are complete at once, and need none
        return out

    def on_policy(self, policy: Policy, now: float) -> list[Command]:
        """Put a new policy in force; what waits for a client to become known goes on."""
        self._judge.forget(policy)
        self._standing.policy = policy
        waiting = {*self._gate.waiting(), *self._waiting.clients}
        return [command for client in waiting if client in policy.clients for command in self.on_client(client, now)]

    def on_preferences(self, preferences: Preferences) -> None:
        """Put preferences in force, for what is decided from now on."""
        self._judge.prefer(preferences)
        self._gate.syns.is_on = preferences.syn_gate is Gating.ON
        self._inspector = Inspector(allow_ech=preferences.ech is Ech.ALLOW)  # which recalls nothing of the former's

    def on_client(self, client: Ipv4, now: float) -> list[Command]:
        """Go on with what waits for AWS to know a client; the policy says by now what it knows."""
        out = self._gate.on_client(client, now)
        for flow in self._waiting.answered_client(client):
            decision = self._judge.decide(flow, now)
            self._rule(flow, decision, now, out, may_ask=decision.reason is not Reason.CLIENT_UNKNOWN)
        return out

    def on_answer(self, answer: Answer, now: float) -> list[Command]:
        """Learn what DNS says of a name; flows that wait for it go on."""
        news = self._judge.learn(answer, now)
        out = self._gate.on_answer(answer.name, now)
        for flow in self._waiting.answered_name(answer.name, answer.client):
            decision = self._judge.decide(flow, now)
            if decision.reason in AWAITABLE and flow.waiting_for:
                continue  # another listed name may have the address
            # Answers that change, or give a part of what is known, are asked for again (D1, D3).
            if answer.error == OVERLOADED:
                decision = self._judge.not_asked(decision)
            partial = not answer.error and len(answer.addresses) < self._judge.known(answer.name, now)
            self._rule(flow, decision, now, out, may_ask=news or partial)
        return out

    def on_tick(self, now: float, today: date) -> list[Command]:
        """Let time pass: waits end, decided flows are forgotten. Wanted a few times a second."""
        self._standing.today = today
        out = self._gate.on_tick(now)
        for flow in self._flows.expired(now):
            self._expire(flow, now, out)
        return out

    # ---- flows ---------------------------------------------------------------------------

    def _open(self, key: FlowKey, base: int, now: float, out: list[Command]) -> Flow | None:
        """Return a new flow, or None if its client has too many; makes room if the table is full."""
        former = self._flows.get(key)
        if former is not None:
            self._closing.supersede(former, now, out)
        if self._flows.client_is_full(key[0]):
            out.append(self._standing.event("client", key, no(Reason.OVERLOADED)))
            return None
        if self._flows.is_full:
            oldest = self._flows.oldest()
            if not oldest.is_decided:
                self._closing.deny(oldest, "client", no(Reason.OVERLOADED), now, out)
            self._flows.remove(oldest)
        flow = Flow(key, base, Stream(self._limits.stream_octets, self._limits.stream_segments))
        self._flows.add(flow)
        return flow

    def _hold(  # noqa: PLR0917 -- on the path of every packet
        self, flow: Flow, packet_id: int, packet: Packet, place: int, now: float, out: list[Command]
    ) -> bool:
        """Hold a packet until its flow is understood; False if there is nothing more to do with it."""
        if not self._holding.hold(flow, packet_id, place):
            out.append(SetVerdict(packet_id, Verdict.DROP))
            if self._holding.is_full:  # whoever holds for longest makes room (P16)
                self._closing.deny(self._holding.longest, "client", no(Reason.OVERLOADED), now, out)
            return False
        fault = fault_of_segment(packet) if packet.flags & NOT_DATA or packet.has_md5 else None
        if fault is not None:
            if place != FROM_SERVER:
                flow.client_expects = packet.acknowledgement
            self._closing.deny(flow, "server" if place == FROM_SERVER else "client", fault, now, out)
            return False
        return True

    def _on_client_segment(self, flow: Flow, packet: Packet, offset: int, now: float, out: list[Command]) -> None:
        flow.client_expects = packet.acknowledgement
        payload = packet.payload
        room = self._limits.stream_octets - offset
        if len(payload) > room and flow.hello is not None:
            payload = payload[: max(room, 0)]  # early data beyond what we keep: it waits
        known = len(flow.client.contiguous)
        try:
            flow.client.feed(offset, payload)
        except Malformed as fault:
            self._closing.deny(flow, "client", no(Reason(fault.code), detail=fault.message), now, out)
            return
        if flow.state is State.HELLO:
            if len(flow.client.contiguous) > known:
                self._inspect_hello(flow, now, out)
        elif flow.state is State.RETRY:
            self._inspect_second_hello(flow, now, out)
        elif flow.state is State.PROVISIONAL and offset < flow.hello_end:
            self._pass_hello(flow, now, out)  # again, for it may have been lost

    def _on_server_segment(self, flow: Flow, packet: Packet, now: float, out: list[Command]) -> None:
        if flow.server is None:
            flow.server = Stream(self._limits.stream_octets, self._limits.stream_segments)
            # The client's segments say where the server's octets begin, unless the server spoke first.
            flow.server_base = packet.sequence if flow.client_expects is None else flow.client_expects
        try:
            flow.server.feed(offset_of(packet.sequence, flow.server_base), packet.payload)
        except Malformed as fault:
            reason = Reason.TCP_CONFLICT if fault.code == Reason.TCP_CONFLICT else Reason.SERVER_MALFORMED
            self._closing.deny(flow, "server", no(reason, detail=fault.message), now, out)
            return
        end = offset_of(packet.sequence, flow.server_base) + len(packet.payload)
        if 0 < end <= flow.server_from:  # a repetition of what has gone on already
            self._holding.pass_server(flow, out)
        elif flow.state is State.PROVISIONAL or flow.state is State.RETRY:
            self._inspect_reply(flow, offset_of(packet.acknowledgement, flow.base), now, out)
        elif flow.state is State.HELLO:
            self._rule(flow, self._judge.decide(flow, now), now, out)
        elif flow.hello is not None and flow.hello.protocol != "ssh":
            self._closing.deny(flow, "server", no(Reason.SERVER_FIRST), now, out)

    # ---- the client's side ---------------------------------------------------------------

    def _inspect_hello(self, flow: Flow, now: float, out: list[Command]) -> None:
        octets = flow.client.contiguous
        flow.hello = self._inspector.client(octets)
        if flow.hello is not None:
            self._rule(flow, self._judge.decide(flow, now), now, out)
        elif len(flow.held) >= DRIBBLE_SEGMENTS and self._judge.tolerates_dribble(flow, now):
            self._holding.pass_client(flow, len(octets), out)

    def _rule(self, flow: Flow, decision: Decision, now: float, out: list[Command], *, may_ask: bool = True) -> None:
        """Act on a decision about the hello, unless a fresh answer may still change it."""
        if may_ask:
            may_ask, decision = self._judge.grants_look_up(flow, decision, now)
        if may_ask and self._ask(flow, decision, out):
            if flow.state is not State.WAITING:
                flow.state = State.WAITING
                self._flows.arm(flow, self._limits.look_up_wait, now)
        elif not decision.allow:
            self._closing.deny(flow, "server" if flow.hello is None else "client", decision, now, out)
        elif flow.hello is None:
            self._greet(flow, now, out)
        elif flow.hello.request is not None:
            self._plaintext.begin_fetch(flow, decision, now, out)
        else:
            self._open_provisionally(flow, flow.hello, decision, now, out)

    def _ask(self, flow: Flow, decision: Decision, out: list[Command]) -> bool:
        """Ask for what may change a decision; False if there is nothing more to ask."""
        if decision.reason is Reason.CLIENT_UNKNOWN:
            return self._waiting.ask_client(flow, out)
        if flow.hello is not None and flow.hello.fqdn is not None:
            return self._waiting.ask_names(flow, (flow.hello.fqdn,), out)
        rules = self._judge.rules(flow)
        return not isinstance(rules, Decision) and self._waiting.ask_names(flow, rules.ssh, out)

    def _open_provisionally(self, flow: Flow, hello: Hello, decision: Decision, now: float, out: list[Command]) -> None:
        if flow.state is State.WAITING:
            self._waiting.forget(flow)
        out.append(self._standing.event("client", flow.key, decision, protocol=hello.protocol, version=hello.version))
        flow.ruling, flow.judged_by = decision, self._standing.policy
        flow.hello_end = hello.end
        if flow.greeting is not None:
            self._closing.allow(flow, flow.greeting, now, out)
            return
        flow.state = State.PROVISIONAL
        self._flows.arm(flow, self._limits.reply_wait, now)
        self._pass_hello(flow, now, out)
        if flow.server is not None and flow.state is State.PROVISIONAL:
            self._inspect_reply(flow, hello.end, now, out)  # of an SSH server that did not wait for its client

    def _pass_hello(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Let the hello go on with what shares a segment with it; early data waits for the server (T8)."""
        octets = flow.client.contiguous
        if len(octets) > flow.hello_end and flow.hello is not None and flow.hello.protocol == "tls":
            # A hello that the server has not asked for would reach it before we know its name is used (T4).
            second = self._inspector.second_hello(octets, flow.hello_end)
            if second is not None:
                detail = second.detail or "another ClientHello before the server's reply"
                self._closing.deny(flow, "client", no(Reason.MALFORMED, name=second.name, detail=detail), now, out)
                return
        self._holding.pass_client(flow, flow.hello_end, out)

    def _greet(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Let the identification string of an SSH server through that did not wait for its client's."""
        if flow.state is State.WAITING:
            self._waiting.forget(flow)
            flow.state = State.HELLO
            self._flows.arm(flow, self._limits.hello_wait, now)
        greeting = None if flow.server is None else self._inspector.server("ssh", flow.server.contiguous)
        if greeting is not None and greeting.refusal is not None:
            self._closing.deny(flow, "server", no(greeting.refusal, detail=greeting.detail), now, out)
            return
        if greeting is not None:
            flow.greeting = greeting
            self._holding.pass_server(flow, out)
        if flow.client.contiguous:  # it came while the server's was awaiting an answer
            self._inspect_hello(flow, now, out)

    def _inspect_second_hello(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Require that the hello after a HelloRetryRequest asks for the same name (T4)."""
        second = self._inspector.second_hello(flow.client.contiguous, flow.hello_end)
        if second is None or flow.hello is None:
            return
        if second.refusal is not None:
            self._closing.deny(flow, "client", no(second.refusal, name=second.name, detail=second.detail), now, out)
        elif second.name != flow.hello.name:
            detail = f"first {flow.hello.name}, then {second.name}"
            self._closing.deny(flow, "client", no(Reason.HELLO_NAME_CHANGED, name=second.name, detail=detail), now, out)
        else:
            flow.hello_end = second.end
            flow.state = State.PROVISIONAL
            self._pass_hello(flow, now, out)

    # ---- the server's side ---------------------------------------------------------------

    def _inspect_reply(self, flow: Flow, acknowledged: int, now: float, out: list[Command]) -> None:
        """Act on the server's octets. `acknowledged`: octets of the client's that the server has received."""
        if flow.hello is None or flow.server is None:
            return
        stream = flow.server.contiguous[flow.server_from :] if flow.server_from else flow.server.contiguous
        greeting = self._inspector.server(flow.hello.protocol, stream, after_retry=flow.retried)
        if greeting is None:
            return
        refusal, detail = greeting.refusal, greeting.detail
        if flow.hello.protocol == "tls" and acknowledged < flow.hello_end:
            refusal, detail = Reason.SERVER_ACK_SHORT, ""  # what was inspected was a decoy (P3, P6)
        elif refusal is None and greeting.is_retry and flow.retried:
            refusal, detail = Reason.SERVER_MALFORMED, "a second HelloRetryRequest"
        elif refusal is None and flow.state is State.RETRY:
            refusal, detail = Reason.SERVER_MALFORMED, "a reply before the second hello"
        elif refusal is None and not greeting.is_final and flow.server_from:
            refusal, detail = Reason.SERVER_MALFORMED, "a second warning"
        if refusal is not None:
            if refusal is Reason.SERVER_REFUSED:  # the client should read the alert
                self._holding.pass_server(flow, out)
            self._closing.deny(flow, "server", no(refusal, detail=detail), now, out, greeting=greeting)
        elif greeting.is_retry:
            flow.server_from += greeting.end
            flow.retried = True
            flow.state = State.RETRY
            self._holding.pass_server(flow, out)
            self._inspect_second_hello(flow, now, out)
        elif not greeting.is_final:
            flow.server_from += greeting.end
            self._inspect_reply(flow, acknowledged, now, out)
        else:
            self._closing.allow(flow, greeting, now, out)

    def _expire(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Act on a wait that is over."""
        if flow.is_decided:
            self._flows.remove(flow)
        elif flow.state is State.WAITING:
            self._rule(flow, self._judge.decide(flow, now), now, out, may_ask=False)
        elif flow.state is State.HELLO:
            self._closing.give_up(flow, now, out)
        elif flow.state is State.PLAINTEXT:
            self._plaintext.on_silence(flow, now, out)
        else:
            self._closing.deny(flow, "server", no(Reason.SERVER_TIMEOUT), now, out)
