"""The gate: packets that belong to no flow under inspection.

The ruleset hands these over, rate-limited: the first packet of a flow whose client and port it does
not know as annotated, of any protocol, and packets that cannot be read. The gate has the last word,
because the kernel's sets may lag behind the policy, and because a client that AWS has only just
created deserves a look-up before it is refused. With the SYN gate on, it gets every SYN. Everything
here is pure.
"""

from collections.abc import Iterable

from appliance.address import Ipv4
from appliance.command import Command, LookUpClient, SetVerdict, Verdict
from appliance.errors import PacketError
from appliance.judge import Judge
from appliance.limits import Limits
from appliance.oddity import fault_of_opening
from appliance.policy.crls import BY_PORT, CRL_PORT
from appliance.policy.decision import Decision, decide_port
from appliance.policy.fqdn import Fqdn
from appliance.policy.policy import PortRules
from appliance.reason import Reason
from appliance.standing import FlowKey, Standing
from appliance.syn_gate import HeldSyn, SynGate
from appliance.wire.ip import TCP, UDP, Packet

QUIC_PORT = 443


class Gate:
    """Decides first packets; holds those of unknown clients while AWS is asked, within `limits`."""

    def __init__(self, standing: Standing, judge: Judge, limits: Limits) -> None:
        self._standing = standing
        self._limits = limits
        self.syns = SynGate(judge, limits)
        self._waiting: dict[Ipv4, list[tuple[int, Packet]]] = {}  # unknown client -> its held packets
        self._asked: dict[Ipv4, float] = {}  # unknown client -> until when AWS need not be asked again
        self._events_left = limits.gate_events
        self._held = 0  # packets of unknown clients
        self.suppressed = 0  # events not written, for there were too many

    @property
    def held(self) -> int:
        """Packets without a verdict."""
        return self._held + self.syns.held

    def on_packet(self, packet_id: int, packet: Packet, now: float, *, in_excess: bool = False) -> list[Command]:
        """Return what follows from the first packet of something the kernel does not let pass.

        Args:
            in_excess: its client opens too many flows; the kernel shows us a few of these, for the log.
        """
        key = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        if in_excess:  # dropped, not reset: a client that is only busy tries again in a second (X5)
            event = self._event(key, Decision(allow=False, reason=Reason.TOO_MANY_FLOWS))
            return [SetVerdict(packet_id, Verdict.DROP), *event]
        decision = self._decide(packet, now)
        if decision is None:
            return [SetVerdict(packet_id, Verdict.PASS)]
        client = packet.source
        if decision.reason is Reason.CLIENT_UNKNOWN and self._may_wait(client, now):
            self._held += 1
            self._waiting.setdefault(client, []).append((packet_id, packet))
            return [] if len(self._waiting[client]) > 1 else [LookUpClient(client)]
        if not self._standing.lets_through(client, packet.destination, decision.reason):
            if decision.reason is Reason.ADDRESS_NOT_LISTED:
                return self._hold_syn(packet_id, packet, key, now)
            return [SetVerdict(packet_id, Verdict.DENY), *self._event(key, decision)]
        if packet.protocol == TCP:
            fault = fault_of_opening(packet)
            if fault is not None:
                return [SetVerdict(packet_id, Verdict.DENY), *self._event(key, fault)]
            return [SetVerdict(packet_id, Verdict.PASS)]  # its hello is inspected, logged, and passes
        return [SetVerdict(packet_id, Verdict.ALLOW), *self._event(key, decision)]

    def _decide(self, packet: Packet, now: float) -> Decision | None:
        """Return why a first packet is denied, or None if its port is listed for its client, and its address may be."""
        rules = self._rules(packet)
        if isinstance(rules, Decision):
            quic = packet.protocol == UDP and packet.destination_port == QUIC_PORT
            if quic and rules.reason is Reason.PROTOCOL_NOT_SUPPORTED:
                return Decision(allow=False, reason=Reason.QUIC)
            return rules
        return fault_of_opening(packet) or self.syns.refusal(rules, packet.destination, now)

    def _rules(self, packet: Packet) -> PortRules | Decision:
        """Return the rules by which a first packet may go out: its client's, or those of revocation lists."""
        port = packet.destination_port
        destination, standing = packet.destination, self._standing
        rules = decide_port(standing.policy, packet.source, packet.protocol, port, destination, opened=standing.opened)
        if standing.endpoints is None or port != CRL_PORT or packet.protocol != TCP:
            return rules
        return standing.endpoints.rules if isinstance(rules, Decision) and rules.reason in BY_PORT else rules

    def on_unreadable(self, packet_id: int, octets: bytes, fault: PacketError) -> list[Command]:
        """Deny a packet that cannot be inspected; log it if its addresses can be told."""
        decision = Decision(allow=False, reason=Reason(fault.code), detail=fault.message)
        commands: list[Command] = [SetVerdict(packet_id, Verdict.DENY)]
        if len(octets) >= 20:  # the fixed part of an IPv4 header
            source, destination = (Ipv4(int.from_bytes(octets[at : at + 4])) for at in (12, 16))
            commands += self._event((source, 0, destination, 0), decision)
        return commands

    # ---- clients not known yet -----------------------------------------------------------

    def _may_wait(self, client: Ipv4, now: float) -> bool:
        """Tell whether a packet of an unknown client may be held while AWS is asked."""
        if self.held >= self._limits.held_packets:
            return False
        if client in self._waiting:
            return len(self._waiting[client]) < self._limits.held_per_client
        if client in self._asked or len(self._asked) >= self._limits.unknown_clients:
            return False
        self._asked[client] = now + self._limits.unknown_client_memory
        return True

    def waiting(self) -> list[Ipv4]:
        """Return the clients that AWS is being asked about."""
        return list(self._waiting)

    def on_client(self, client: Ipv4, now: float) -> list[Command]:
        """Decide what was held for a client; AWS has answered, or will not."""
        commands: list[Command] = []
        for packet_id, packet in self._waiting.pop(client, ()):
            self._held -= 1
            commands += self.on_packet(packet_id, packet, now)
        return commands

    def on_tick(self, now: float) -> list[Command]:
        """Give up on answers that are late; forget old ones."""
        self._events_left = self._limits.gate_events
        commands: list[Command] = []
        for client in [client for client, until in self._asked.items() if until <= now]:
            # Decided while the client still counts as asked, so that it is refused, not held again.
            commands += self.on_client(client, now)
            del self._asked[client]
        return commands + self._decide_syns(self.syns.late(now), now, may_wait=False)

    # ---- SYNs to addresses not known yet -------------------------------------------------

    def _hold_syn(self, packet_id: int, packet: Packet, key: FlowKey, now: float) -> list[Command]:
        """Hold a SYN while the names of its port are looked up; without room it is dropped, and sent again."""
        rules = self._rules(packet)
        if isinstance(rules, Decision):  # it was none a moment ago
            return [SetVerdict(packet_id, Verdict.DENY), *self._event(key, rules)]
        if self.held >= self._limits.held_packets or not self.syns.has_room(packet.source):
            decision = Decision(allow=False, reason=Reason.OVERLOADED)
            return [SetVerdict(packet_id, Verdict.DROP), *self._event(key, decision)]
        commands: list[Command] = []
        self.syns.hold(packet_id, packet, rules, now, commands)
        return commands

    def on_answer(self, name: Fqdn, now: float) -> list[Command]:
        """Go on with the SYNs that wait for a name; the book of addresses has its answer."""
        return self._decide_syns(self.syns.answered(name), now, may_wait=True)

    def _decide_syns(self, syns: Iterable[HeldSyn], now: float, *, may_wait: bool) -> list[Command]:
        """Decide held SYNs once more, and for good, unless other answers are awaited for one."""
        commands: list[Command] = []
        for syn in syns:
            packet = syn.packet
            decision = self._decide(packet, now)
            if decision is not None and may_wait and syn.names and decision.reason is Reason.ADDRESS_NOT_LISTED:
                continue
            self.syns.release([syn])
            if decision is None or self._standing.lets_through(packet.source, packet.destination, decision.reason):
                commands.append(SetVerdict(syn.packet_id, Verdict.PASS))
            else:
                key = (packet.source, packet.source_port, packet.destination, packet.destination_port)
                commands += [SetVerdict(syn.packet_id, Verdict.DENY), *self._event(key, decision)]
        return commands

    def _event(self, key: FlowKey, decision: Decision) -> list[Command]:
        if self._events_left <= 0:
            self.suppressed += 1
            return []
        self._events_left -= 1
        return [self._standing.event("client", key, decision)]
