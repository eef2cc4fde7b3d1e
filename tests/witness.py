"""A witness: sees all that goes into an engine and all that comes out, and knows what must never be seen.

- No packet gets two verdicts, and none gets one that was never queued.
- What goes on to the server before its flow opens has been inspected, to the last octet of its segment, and its hello
  was allowed; an unfinished hello may go on to an address of a listed name alone. Every ClientHello in it is for NAME,
  and a second one was asked for by the server. What follows a hello in segments of its own waits.
- A flow opens only after both sides were found good, and after a refusal not before a new hello was.

Laws and fuzzing alike play through it. Its clients have no see-thru, which would let pass what is refused.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from appliance.address import Ipv4, parse_ipv4
from appliance.command import Command, Emit, SetVerdict, Verdict
from appliance.errors import PacketError
from appliance.event import Event
from appliance.flow import ISN_SPACE
from appliance.inspection import inspect_client
from appliance.origin import Origin
from appliance.policy.addresses import Answer
from appliance.standing import FlowKey
from appliance.wire import tls
from appliance.wire.ip import RST, SYN, URG, Packet, parse_packet
from tests import hellos
from tests.playbook import HELLO, NAME, REPLY, REQUEST, RETRY, SERVER, SSH, Log, Play

OTHER_HELLO = hellos.client_stream(hellos.client_hello("other.example.com"))
EARLY_DATA = hellos.record(bytes(30), kind=23)
CCS = hellos.CHANGE_CIPHER_SPEC_RECORD

# Octets of the client and of the server, and whether they may open a flow.
CONVERSATIONS = {
    "good": (HELLO + EARLY_DATA, REPLY + bytes(40), True),
    "retried": (HELLO + CCS + HELLO, RETRY + CCS + REPLY + bytes(40), True),
    "pushed": (HELLO + 10 * EARLY_DATA + CCS + OTHER_HELLO, REPLY, True),
    "swapped": (HELLO + CCS + OTHER_HELLO, RETRY + CCS + REPLY + bytes(40), False),
    "unlisted": (OTHER_HELLO, REPLY, False),
    "downgraded": (HELLO, hellos.server_stream(hellos.server_hello(None, legacy_version=0x0302, group=None)), False),
    "not TLS": (HELLO, b"220 mail.example.com ESMTP\r\n", False),
    "alert": (HELLO, hellos.alert(2, 40), False),
    "HTTP": (REQUEST, b"HTTP/1.1 200 OK\r\n\r\n", False),
    "SSH": (SSH, SSH, False),
}


class Given(NamedTuple):
    """A packet that was queued, and the flow it belongs to; no packet if it cannot be read."""

    origin: Origin
    key: FlowKey | None
    packet: Packet | None


class Found(NamedTuple):
    """What was found good of a flow since it began, or since it was last refused."""

    client: bool = False
    server: bool = False


NOTHING = Found()


class Witness(Play):
    """A play whose every command is looked at as it comes."""

    def __init__(self, **named) -> None:
        self._given: dict[int, Given] = {}
        self._verdicts: Counter[int] = Counter()
        self._found: dict[FlowKey, Found] = {}
        self._isn: dict[FlowKey, int] = {}
        self._reachable: set[Ipv4] = {SERVER}
        super().__init__(**named)

    def answers(self, *answers: Answer) -> list[Command | Log]:
        self._reachable |= {address for known in answers for address in known.addresses}
        return super().answers(*answers)

    def queued(self, origin: Origin, octets: bytes, isn: int = 0) -> list[Command | Log]:
        try:
            packet = parse_packet(octets)
        except PacketError:
            self._given[self.packets + 1] = Given(origin, None, None)
            return super().queued(origin, octets, isn)
        key = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        if origin is Origin.SERVER:
            key = (*key[2:], *key[:2])
        self._given[self.packets + 1] = Given(origin, key, packet)
        if origin is not Origin.GATE and self._isn.get(key) != isn:  # another connection
            self._isn[key] = isn
            self._found[key] = NOTHING
        return super().queued(origin, octets, isn)

    def told(self, commands: Iterable[Command]) -> list[Command | Log]:
        commands = list(commands)
        at_gate = False
        for command in commands:
            if isinstance(command, SetVerdict):
                assert command.packet_id in self._given, f"verdict on packet {command.packet_id}, which nobody queued"
                self._verdicts[command.packet_id] += 1
                given = self._given[command.packet_id]
                at_gate = given.origin is Origin.GATE or given.packet is None
                self._see(given, command.verdict)
            elif isinstance(command, Emit):
                if not at_gate or command.event["outcome"] == "allowed":  # the gate's refusal follows its verdict
                    self._hear(command.event)
                at_gate = False
        return super().told(commands)

    def _hear(self, event: Event) -> None:
        key = (parse_ipv4(event["src"]), event["spt"], parse_ipv4(event["dst"]), event["dpt"])
        assert event["cat"] in {"client", "server"}
        if event["outcome"] == "disallowed":
            self._found[key] = NOTHING
        else:
            self._found[key] = self._found.get(key, NOTHING)._replace(**{event["cat"]: True})

    def _see(self, given: Given, verdict: Verdict) -> None:
        if given.packet is None:
            assert verdict is Verdict.DENY, f"{verdict} for a packet that cannot be read"
        elif given.origin is Origin.GATE:
            assert verdict in {Verdict.PASS, Verdict.DENY}
            assert verdict is Verdict.DENY or not given.packet.payload
        elif verdict is Verdict.ALLOW:
            assert self._found[given.key] == (True, True), f"open, with {self._found[given.key]}"
        elif verdict is Verdict.PASS and given.origin is Origin.CLIENT:
            self._see_pass(given, self._found[given.key])

    def _see_pass(self, given: Given, found: Found) -> None:
        if self._is_keep_alive(given):
            return
        flow = self.engine._flows.get(given.key)
        assert flow is not None, "a packet goes on, and its flow is forgotten"
        if flow.is_decided and found == (True, True):
            return  # it had been queued before the kernel knew
        at = (given.packet.sequence - flow.base) % 2**32
        inspected = flow.client.contiguous[at : at + len(given.packet.payload)]
        assert inspected == given.packet.payload, (
            f"{len(given.packet.payload)} octets go on, {len(inspected)} inspected"
        )
        if flow.hello is None:
            assert inspect_client(flow.client.contiguous) is None, "a whole hello goes on that was not allowed"
            assert flow.key[2] in self._reachable, "an unfinished hello goes on to an address of no listed name"
            return
        assert found.client, "octets of a hello go on that was not allowed"
        assert at < flow.hello_end, "what follows the hello goes on, in a segment of its own"
        if flow.hello.protocol == "tls":
            names = _names_in(flow.client.contiguous[: at + len(inspected)])
            assert set(names) <= {str(NAME)}, f"hellos for {names} go on"
            assert len(names) <= 1 + flow.retried, "a second hello goes on before it was asked for"

    def _is_keep_alive(self, given: Given) -> bool:
        """Tell whether a packet is a zero octet with the number of the SYN, which no server reads (P19)."""
        packet = given.packet
        is_before = (packet.sequence - self._isn[given.key]) % ISN_SPACE == 0
        return is_before and packet.payload == b"\0" and not packet.flags & (SYN | RST | URG)

    # ---- the end -------------------------------------------------------------------------

    def finish(self) -> list[Command | Log]:
        """Let enough time pass for every wait, and for every flow to be forgotten; see that nothing is left."""
        commands = [command for seconds in (6, 11, 61, 3, 3) for command in self.wait(seconds)]
        assert self._verdicts == Counter(range(1, self.packets + 1))
        assert self.is_empty
        assert self.engine._flows._slots == {}
        assert self.engine._flows._undecided == {}
        assert self.engine._holding._holders == {}
        return commands

    def check_limits(self) -> None:
        """Every table is within its bounds."""
        engine, limits = self.engine, self.engine._limits
        assert engine._holding.held <= limits.held_packets
        assert engine._gate.held <= limits.held_packets
        assert engine.flows <= limits.flows
        assert all(len(flow.held) <= limits.held_per_flow for flow in engine._flows._flows.values())
        assert engine._holding.held == sum(len(flow.held) for flow in engine._flows._flows.values())


def _names_in(stream: bytes) -> list[str | None]:
    """Return the names in the one or two ClientHellos that octets of a client begin with."""
    names: list[str | None] = []
    framed = tls.frame_client_hello(stream)
    while framed is not None and len(names) < 2:
        names.append(tls.parse_client_hello(framed.body).server_name)
        framed = tls.frame_retry(stream, framed.end)
    return names
