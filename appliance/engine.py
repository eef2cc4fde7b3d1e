"""The engine: packets and times in, commands out.

It is given what the kernel queued: the segments with payload of flows that are not decided yet, and
the packets that belong to no flow (`gate`). A flow goes through these states (`flow.State`):

    HELLO ──► PROVISIONAL ──► ALLOWED          from any ──► DENIED
      │  ▲         │   ▲
      ▼  │         ▼   │
    WAITING       RETRY (after a HelloRetryRequest)

Rules that hold throughout:
- A flow opens on the server's reply, not on the client's hello (evasion catalogue, finding 1).
- What was inspected is what is forwarded: a retransmission that differs kills the flow.
- What is not understood is refused. Every refusal has a code in `reason.Reason`.
- Every packet given to `on_packet` gets exactly one verdict, at once or later.
- Nothing here reads a clock, a file or a socket, and every table has a bound.
"""

import enum
from dataclasses import replace
from datetime import date

from appliance.address import Ipv4
from appliance.command import Command, SetVerdict, Verdict
from appliance.errors import InvalidName, Malformed, PacketError
from appliance.event import add_request
from appliance.flow import Flow, FlowTable, Limits, State, base_of, offset_of
from appliance.gate import Gate
from appliance.holding import Holding, resets
from appliance.inspection import Greeting, Hello, inspect_client, inspect_second_hello, inspect_server
from appliance.policy.addresses import AddressBook, Answer
from appliance.policy.decision import Decision, decide_name, decide_port, decide_ssh, may_reach
from appliance.policy.fqdn import Fqdn
from appliance.policy.policy import Policy, PortRules
from appliance.reason import Reason
from appliance.standing import FlowKey, Standing
from appliance.waiting import Waiting
from appliance.wire.ip import TCP, URG, Packet, parse_packet
from appliance.wire.sniff import sniff
from appliance.wire.stream import Stream

# A TCP sends ten segments before it wants an acknowledgement (RFC 6928). A client that dribbles its
# hello would wait for ever if more than these were held.
DRIBBLE_SEGMENTS = 8

# What a fresh answer from DNS or AWS may change.
AWAITABLE = frozenset({Reason.ADDRESS_MISMATCH, Reason.NAME_UNRESOLVED, Reason.ANSWER_PRIVATE, Reason.CLIENT_UNKNOWN})


class Origin(enum.Enum):
    """Why the kernel queued a packet."""

    CLIENT = "client"  # a segment with payload, client to server, of an undecided flow
    SERVER = "server"  # the same, server to client
    GATE = "gate"  # no rule of the kernel's lets it pass


class Engine:
    """All flows of one queue.

    Args:
        instance: EC2 instance id, for the log.
        today: the date in UTC; `on_tick` moves it on.
        limits: bounds of every table and wait.
        grace: seconds that an address of a name stays valid beyond its TTL.
        allow_ech: let hellos pass whose real name is encrypted.
    """

    def __init__(
        self,
        *,
        instance: str,
        today: date,
        limits: Limits | None = None,
        grace: float = 3600.0,
        allow_ech: bool = False,
    ) -> None:
        self._limits = limits or Limits()
        self._allow_ech = allow_ech
        self._standing = Standing(instance, today)
        self._gate = Gate(self._standing, self._limits)
        self._book = AddressBook(grace)
        self._flows = FlowTable(self._limits)
        self._holding = Holding(self._limits)
        self._waiting = Waiting(self._limits)

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
            packet_id: the queue's number for the packet.
            origin: why it was queued.
            isn: low ISN_BITS bits of the client's initial sequence number; 0 at the gate.
            octets: the packet from its IPv4 header on, as far as it was copied.
            now: monotonic seconds.
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
            return self._gate.on_packet(packet_id, packet, now)
        out: list[Command] = []
        flow = self._flows.get(key) or self._open(key, base_of(sequence, isn), now, out)
        if flow is None:
            out.append(SetVerdict(packet_id, Verdict.DENY))
        elif flow.state is State.ALLOWED:  # it was queued before the mark was set
            out.append(SetVerdict(packet_id, Verdict.ALLOW))
        elif flow.state is State.DENIED:
            out.append(SetVerdict(packet_id, Verdict.DROP))
        elif not self._holding.hold(flow, packet_id, from_client=origin is Origin.CLIENT):
            out.append(SetVerdict(packet_id, Verdict.DROP))
        elif packet.flags & URG:
            self._deny(flow, origin.value, _no(Reason.URGENT_DATA), now, out)
        elif packet.has_md5:
            self._deny(flow, origin.value, _no(Reason.TCP_MD5), now, out)
        elif origin is Origin.CLIENT:
            self._on_client_segment(flow, packet, now, out)
        else:
            self._on_server_segment(flow, packet, now, out)
        return out

    def on_policy(self, policy: Policy, now: float) -> list[Command]:
        """Put a new policy in force; what waits for a client to become known goes on."""
        self._book.forget(self._standing.policy.names - policy.names)
        self._standing.policy = policy
        out: list[Command] = []
        for client in {*self._gate.waiting(), *self._waiting.clients}:
            if client in policy.clients:
                out += self.on_client(client, now)
        return out

    def on_client(self, client: Ipv4, now: float) -> list[Command]:
        """Go on with what waits for AWS to know a client; the policy says by now what it knows."""
        out = self._gate.on_client(client, now)
        for flow in self._waiting.answered_client(client):
            self._rule(flow, self._decide(flow, now), now, out)
        return out

    def on_answer(self, answer: Answer, now: float) -> list[Command]:
        """Learn what DNS says of a name; flows that wait for it go on."""
        news = self._book.learn(answer, now)
        out: list[Command] = []
        for flow in self._waiting.answered_name(answer.name):
            decision = self._decide(flow, now)
            if decision.reason in AWAITABLE and flow.waiting_for:
                continue  # another listed name may have the address
            # Answers that keep changing are asked for again (D1, D3); ones that do not are final.
            self._rule(flow, decision, now, out, may_ask=news)
        return out

    def on_tick(self, now: float, today: date) -> list[Command]:
        """Let time pass: waits end, decided flows are forgotten. Wanted a few times a second."""
        self._standing.today = today
        out = self._gate.on_tick(now)
        for flow in list(self._flows.expired(now)):
            self._expire(flow, now, out)
        return out

    # ---- flows ---------------------------------------------------------------------------

    def _open(self, key: FlowKey, base: int, now: float, out: list[Command]) -> Flow | None:
        """Return a new flow, or None if its client has too many; makes room if the table is full."""
        if self._flows.client_is_full(key[0]):
            out.append(self._standing.event("client", key, Decision(allow=False, reason=Reason.OVERLOADED)))
            return None
        if self._flows.is_full:
            oldest = self._flows.oldest()
            if not oldest.is_decided:
                self._deny(oldest, "client", _no(Reason.OVERLOADED), now, out)
            self._flows.remove(oldest)
        flow = Flow(key, base, Stream(self._limits.stream_octets, self._limits.held_per_flow))
        self._flows.add(flow)
        self._flows.arm(flow, self._limits.hello_wait, now)
        return flow

    def _on_client_segment(self, flow: Flow, packet: Packet, now: float, out: list[Command]) -> None:
        flow.client_expects = packet.acknowledgement
        offset = offset_of(packet.sequence, flow.base)
        state = flow.state
        if offset + len(packet.payload) > self._limits.stream_octets and flow.hello is not None:
            return  # early data beyond what we keep: it waits, and is sent again if need be
        known = len(flow.client.contiguous)
        try:
            flow.client.feed(offset, packet.payload)
        except Malformed as fault:
            self._deny(flow, "client", _no(Reason(fault.code), detail=fault.message), now, out)
            return
        if state is State.HELLO:
            if len(flow.client.contiguous) > known:
                self._inspect_hello(flow, now, out)
        elif state is State.RETRY:
            self._inspect_second_hello(flow, now, out)
        elif state is State.PROVISIONAL and offset < flow.hello_end:
            # The hello again, for it may have been lost. What follows it, early data, waits for the server (T8).
            self._holding.pass_side(flow, from_client=True, out=out)

    def _on_server_segment(self, flow: Flow, packet: Packet, now: float, out: list[Command]) -> None:
        if flow.server is None:
            flow.server = Stream(self._limits.stream_octets, self._limits.held_per_flow)
            # The client's segments say where the server's octets begin, unless the server spoke first.
            flow.server_base = packet.sequence if flow.client_expects is None else flow.client_expects
        try:
            flow.server.feed(offset_of(packet.sequence, flow.server_base), packet.payload)
        except Malformed as fault:
            reason = Reason.TCP_CONFLICT if fault.code == Reason.TCP_CONFLICT else Reason.SERVER_MALFORMED
            self._deny(flow, "server", _no(reason, detail=fault.message), now, out)
            return
        if flow.state is State.PROVISIONAL or flow.state is State.RETRY:
            self._inspect_reply(flow, packet, now, out)
        elif flow.state is State.HELLO:
            self._rule(flow, self._decide(flow, now), now, out)

    # ---- the client's side ---------------------------------------------------------------

    def _inspect_hello(self, flow: Flow, now: float, out: list[Command]) -> None:
        flow.hello = inspect_client(flow.client.contiguous, allow_ech=self._allow_ech)
        if flow.hello is not None:
            self._rule(flow, self._decide(flow, now), now, out)
        elif len(flow.held) >= DRIBBLE_SEGMENTS:
            rules = self._rules(flow)
            if not isinstance(rules, Decision) and may_reach(rules, flow.key[2], self._book, now):
                self._holding.pass_side(flow, from_client=True, out=out)

    def _rules(self, flow: Flow) -> PortRules | Decision:
        client, _, server, server_port = flow.key
        return decide_port(self._standing.policy, client, TCP, server_port, server)

    def _decide(self, flow: Flow, now: float) -> Decision:
        """Return what policy says of a flow's hello, or of a server that spoke before its client."""
        rules = self._rules(flow)
        hello = flow.hello
        if isinstance(rules, Decision):
            return rules if hello is None else _no(rules.reason, name=hello.name, detail=rules.detail)
        server = flow.key[2]
        if hello is None:
            return decide_ssh(rules, server, self._book, now) if rules.ssh else _no(Reason.SERVER_FIRST)
        if hello.protocol != "ssh" and not rules.tls:
            return _no(Reason.NOT_SSH, name=hello.name, detail=f"it is {hello.protocol}")
        if hello.protocol == "ssh" and not rules.ssh:
            return _no(Reason.NOT_TLS, detail="it is ssh")
        if hello.refusal is not None:
            return _no(hello.refusal, name=hello.name, detail=hello.detail)
        if hello.protocol == "ssh":
            return decide_ssh(rules, server, self._book, now)
        try:
            return decide_name(rules, Fqdn.parse(hello.name), server, self._book, now)
        except InvalidName as fault:
            return _no(Reason.NAME_NOT_LISTED, name=hello.name, detail=fault.message)

    def _rule(
        self, flow: Flow, decision: Decision, now: float, out: list[Command], *, may_ask: bool = True
    ) -> None:
        """Act on a decision about the hello, unless a fresh answer may still change it."""
        if may_ask and decision.reason in AWAITABLE and self._ask(flow, decision, out):
            if flow.state is not State.WAITING:
                flow.state = State.WAITING
                self._flows.arm(flow, self._limits.look_up_wait, now)
        elif not decision.allow:
            self._deny(flow, "server" if flow.hello is None else "client", decision, now, out)
        elif flow.hello is None:
            self._greet(flow, now, out)
        else:
            self._open_provisionally(flow, flow.hello, decision, now, out)

    def _ask(self, flow: Flow, decision: Decision, out: list[Command]) -> bool:
        """Ask for what may change a decision; False if there is nothing more to ask."""
        if decision.reason is Reason.CLIENT_UNKNOWN:
            return self._waiting.ask_client(flow, out)
        if flow.hello is not None and flow.hello.protocol == "tls":
            return self._waiting.ask_names(flow, (Fqdn.parse(flow.hello.name),), out)
        rules = self._rules(flow)
        return not isinstance(rules, Decision) and self._waiting.ask_names(flow, rules.ssh, out)

    def _open_provisionally(
        self, flow: Flow, hello: Hello, decision: Decision, now: float, out: list[Command]
    ) -> None:
        out.append(self._standing.event("client", flow.key, decision, protocol=hello.protocol, version=hello.version))
        flow.ruling = decision
        flow.hello_end = hello.end
        if flow.greeting is not None:
            self._allow(flow, flow.greeting, now, out)
            return
        flow.state = State.PROVISIONAL
        self._flows.arm(flow, self._limits.reply_wait, now)
        self._holding.pass_side(flow, from_client=True, out=out)

    def _greet(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Let the identification string of an SSH server through that did not wait for its client's."""
        if flow.state is State.WAITING:
            flow.state = State.HELLO
            self._flows.arm(flow, self._limits.hello_wait, now)
        greeting = None if flow.server is None else inspect_server("ssh", flow.server.contiguous)
        if greeting is not None and greeting.refusal is not None:
            self._deny(flow, "server", _no(greeting.refusal, detail=greeting.detail), now, out)
        elif greeting is not None:
            flow.greeting = greeting
            self._holding.pass_side(flow, from_client=False, out=out)

    def _inspect_second_hello(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Require that the hello after a HelloRetryRequest asks for the same name (T4)."""
        second = inspect_second_hello(flow.client.contiguous, flow.hello_end, allow_ech=self._allow_ech)
        if second is None or flow.hello is None:
            return
        if second.refusal is not None:
            self._deny(flow, "client", _no(second.refusal, name=second.name, detail=second.detail), now, out)
        elif second.name != flow.hello.name:
            detail = f"first {flow.hello.name}, then {second.name}"
            self._deny(flow, "client", _no(Reason.HELLO_NAME_CHANGED, name=second.name, detail=detail), now, out)
        else:
            flow.hello_end = second.end
            flow.state = State.PROVISIONAL
            self._holding.pass_side(flow, from_client=True, out=out)

    # ---- the server's side ---------------------------------------------------------------

    def _inspect_reply(self, flow: Flow, packet: Packet, now: float, out: list[Command]) -> None:
        if flow.hello is None or flow.server is None:
            return
        stream = flow.server.contiguous[flow.server_from :]
        greeting = inspect_server(flow.hello.protocol, stream, after_retry=flow.retried)
        if greeting is None:
            return
        refusal, detail = greeting.refusal, greeting.detail
        if flow.hello.protocol == "tls" and offset_of(packet.acknowledgement, flow.base) < flow.hello_end:
            refusal, detail = Reason.SERVER_ACK_SHORT, ""  # what was inspected was a decoy (P3, P6)
        elif refusal is None and greeting.is_retry and flow.retried:
            refusal, detail = Reason.SERVER_MALFORMED, "a second HelloRetryRequest"
        elif refusal is None and flow.state is State.RETRY:
            refusal, detail = Reason.SERVER_MALFORMED, "a reply before the second hello"
        if refusal is not None:
            if refusal is Reason.SERVER_REFUSED:  # the client should read the alert
                self._holding.pass_side(flow, from_client=False, out=out)
            self._deny(flow, "server", _no(refusal, detail=detail), now, out, version=greeting.version)
        elif greeting.is_retry or not greeting.is_final:
            flow.server_from += greeting.end
            self._holding.pass_side(flow, from_client=False, out=out)
            if greeting.is_retry:
                flow.retried = True
                flow.state = State.RETRY
                self._inspect_second_hello(flow, now, out)
            else:
                self._inspect_reply(flow, packet, now, out)
        else:
            self._allow(flow, greeting, now, out)

    # ---- the end -------------------------------------------------------------------------

    def _allow(self, flow: Flow, greeting: Greeting, now: float, out: list[Command]) -> None:
        """Open the flow for good: both sides agree."""
        out.append(self._server_event(flow, Decision(allow=True, reason=Reason.SERVER_AGREED), greeting.version))
        self._finish(flow, State.ALLOWED, now, out)

    def _deny(
        self, flow: Flow, side: str, decision: Decision, now: float, out: list[Command], *, version: str = ""
    ) -> None:
        """Log a refusal and end the flow, unless see-thru lets it pass."""
        hello = flow.hello
        if side == "server":
            out.append(self._server_event(flow, decision, version))
        elif hello is None:
            protocol = sniff(flow.client.contiguous) or "unknown"
            out.append(self._standing.event("client", flow.key, decision, protocol=protocol))
        else:
            emit = self._standing.event("client", flow.key, decision, protocol=hello.protocol, version=hello.version)
            if hello.request is not None:
                add_request(emit.event, hello.request.method, hello.request.path, hello.request.user_agent)
            out.append(emit)
        if self._standing.lets_through(flow.key[0], decision.reason):
            self._finish(flow, State.ALLOWED, now, out)
            return
        out += resets(flow)
        self._finish(flow, State.DENIED, now, out)

    def _server_event(self, flow: Flow, decision: Decision, version: str) -> Command:
        """Return the event about the server's side; the rule it goes by is the client's."""
        if flow.ruling is not None:
            ruling = flow.ruling
            decision = replace(decision, name=ruling.name, gid=ruling.gid, rule=ruling.rule)
        if flow.hello is not None:
            protocol = flow.hello.protocol
        else:
            protocol = "ssh" if flow.server is not None and flow.server.contiguous.startswith(b"SSH-") else "unknown"
        return self._standing.event("server", flow.key, decision, protocol=protocol, version=version)

    def _finish(self, flow: Flow, state: State, now: float, out: list[Command]) -> None:
        """Give up what is held; remember the flow for the packets of it that are queued already."""
        self._holding.release(flow, Verdict.ALLOW if state is State.ALLOWED else Verdict.DROP, out)
        self._waiting.forget(flow)
        self._flows.settle(flow, state)
        self._flows.arm(flow, self._limits.linger, now)

    def _expire(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Act on a wait that is over."""
        if flow.is_decided:
            self._flows.remove(flow)
        elif flow.state is State.WAITING:
            self._rule(flow, self._decide(flow, now), now, out, may_ask=False)
        elif flow.state is State.HELLO:
            plaintext = sniff(flow.client.contiguous) == "http"
            self._deny(flow, "client", _no(Reason.HTTP_PLAINTEXT if plaintext else Reason.HELLO_TIMEOUT), now, out)
        else:
            self._deny(flow, "server", _no(Reason.SERVER_TIMEOUT), now, out)


def _no(reason: Reason, *, name: str = "", detail: str = "") -> Decision:
    return Decision(allow=False, reason=reason, name=name, detail=detail)
