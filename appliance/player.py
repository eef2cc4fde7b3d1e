"""The player: gives an engine the packets of a capture, as the kernel would have given them.

It does what the ruleset (`templates/ruleset.nft.j2`) and conntrack do, in their words:

- A bare SYN to a port that some annotation names opens a flow; the number its server acknowledges is where the
  client's octets begin. Segments with payload are queued until the engine has decided; then nobody looks.
- UDP and the rest are the gate's, once for each flow.

It departs from them where a user would learn less of what a capture holds:

- A client is not refused at its SYN, but when it has said what it is, so that the event has its name and version. If
  it says nothing, the gate refuses its SYN after all. With the preference `syn_gate` it decides on open ports at once.
- What the kernel refuses without a word is told: flows joined in the middle, packets cut by the capture, IPv6.
- Checksums and windows are not looked at: the sender's network card may have had them yet to do.

Everything here is pure: time is that of the packets, and what is to be told is returned.
"""

import struct
from collections import deque
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from appliance.address import Ipv4
from appliance.command import Command, Emit, LookUpClient, SendReset, SetVerdict, Verdict
from appliance.directory import Directory
from appliance.engine import Engine
from appliance.errors import Malformed, PacketError
from appliance.event import Event
from appliance.flow import ISN_SPACE, SEQUENCE_SPACE, offset_of
from appliance.inspection import inspect_client
from appliance.limits import Limits
from appliance.origin import Origin
from appliance.overheard import name_ipv6, overheard_event
from appliance.policy.policy import Policy
from appliance.policy.preferences import DEFAULTS, Preferences
from appliance.reason import Reason
from appliance.staging import Staging
from appliance.standing import FlowKey
from appliance.tracking import Connection, Connections, Key, Stage
from appliance.wire.ip import ACK, FIN, ICMP, RST, SYN, TCP, Packet, parse_packet
from appliance.wire.ipv6 import ICMPV6, Packet6, parse_ipv6
from appliance.wire.stream import Stream

INSTANCE: Final = "replay"
TICK: Final = 0.25  # seconds between two looks at the clock on the engine's behalf
SETTLE: Final = 2.0  # seconds that a packet may be late behind the end of its connection
HEARD_MAX: Final = 8192  # octets of a client's that are kept of a flow that is only overheard
# Every event of the gate is wanted, and a client may have as many flows as there are; but fewer are kept, for whoever
# replays has less memory than an appliance.
LIMITS: Final = Limits(flows=8192, flows_per_client=8192, gate_events=1 << 62)

_DAY: Final = 86400  # seconds
# What of an IPv4 packet without options and its TCP header tells whether anybody cares.
_QUICK: Final = struct.Struct("!BxxxxxHxBxxIIHHxxxxxxxxxB")
_QUICK_SIZE: Final = 34  # octets
_NOT_FIRST: Final = 0x1FFF  # of the fragment field
_NEWS: Final = SYN | FIN | RST
_ERRORS_4: Final = frozenset({3, 4, 5, 11, 12})  # ICMP types that belong to a flow of another protocol
_ECHO_6: Final = frozenset({128, 129})  # ICMPv6 types that belong to a flow; the others keep a link going


class Told(NamedTuple):
    """A flow event, and the Unix time at which the appliance would have written it, in seconds."""

    when: float
    event: Event


class Player:
    """Plays one network's packets, in their order.

    Args:
        policy: what is in force.
        directory: what stands in for DNS.
        preferences: what is preferred; private destinations without what is the VPC's own.
    """

    def __init__(
        self, policy: Policy, directory: Directory, limits: Limits = LIMITS, preferences: Preferences = DEFAULTS
    ) -> None:
        self._policy = policy
        self._staging = Staging(policy, preferences)
        self._directory = directory
        self._limits = limits
        self._now = 0.0  # Unix time of the newest packet
        self._ticked = 0.0
        self._today = date.min
        self._day = -1
        self._engine = Engine(instance=INSTANCE, today=self._today, limits=limits)
        self._engine.on_preferences(preferences)
        self._engine.on_policy(policy, 0.0)
        self._connections = Connections()
        self._ended: deque[tuple[float, Connection]] = deque()  # when to settle what is over
        self._held: dict[int, Connection] = {}  # whose packet the engine has, by its number
        self._packets = 0  # given to the engine
        self._told: list[Told] = []

    def on_packet(self, octets: bytes, time: float) -> list[Told]:
        """Return what is to be told once a packet is there. Time never goes back: it then stands still.

        Args:
            octets: from the IP header on, as far as they were captured.
            time: Unix time, in seconds.
        """
        if time - self._ticked >= TICK:
            self._advance(time)
        self._now = max(self._now, time)
        version = octets[0] >> 4 if octets else 0
        if version == 4:
            self._on_ipv4(octets)
        elif version == 6:
            self._on_ipv6(octets)
        return self._take()

    def finish(self) -> list[Told]:
        """Return what is to be told at the end of the capture: of what waits for packets that do not come."""
        limits = self._limits
        wait = limits.hello_wait + limits.look_up_wait + limits.reply_wait + limits.linger
        before = len(self._told)
        self._carry_out(self._engine.on_tick(self._now + wait, self._today))
        for told in self._told[before:]:
            told.event["reason"] = f"{told.event['reason']}; the capture ends here"
        for connection in tuple(self._connections):
            self._settle(connection)
        return self._take()

    def _take(self) -> list[Told]:
        told = self._told
        if told:
            self._told = []
        return told

    # ---- time ----------------------------------------------------------------------------

    def _advance(self, time: float) -> None:
        """Let time pass until the next packet, in steps as long as anything waits for it."""
        day = int(time) // _DAY
        if day > self._day:
            self._day = day
            self._today = datetime.fromtimestamp(day * _DAY, UTC).date()
        while self._engine.flows and self._ticked + TICK < time:
            self._tick(self._ticked + TICK)
        self._tick(time)

    def _tick(self, time: float) -> None:
        self._ticked = self._now = max(self._now, time)
        self._carry_out(self._engine.on_tick(self._now, self._today))
        while self._ended and self._ended[0][0] <= self._now:
            self._settle(self._ended.popleft()[1])

    # ---- packets -------------------------------------------------------------------------

    def _on_ipv4(self, octets: bytes) -> None:
        if len(octets) >= _QUICK_SIZE:
            head, fragment, protocol, source, destination, source_port, destination_port, flags = _QUICK.unpack_from(
                octets
            )
            if head == 0x45 and protocol == TCP and not (fragment & _NOT_FIRST or flags & _NEWS):
                connection = self._connections.get((source, source_port, destination, destination_port))
                if connection is None:
                    connection = self._connections.get((destination, destination_port, source, source_port))
                if connection is not None and connection.is_decided:
                    return
        total = int.from_bytes(octets[2:4])
        if not total:  # Linux leaves it to the network card, which cuts what is longer than 65,535 octets
            octets = octets[:2] + min(len(octets), 0xFFFF).to_bytes(2) + octets[4:]
        missing = total - len(octets)
        try:
            # What was not captured is taken for zeros, so that what was can be read.
            packet = parse_packet(octets + bytes(missing) if missing > 0 else octets)
        except PacketError as fault:
            self._on_unreadable(octets, fault)
            return
        if packet.protocol == TCP:
            self._on_segment(packet, octets, max(missing, 0))
        elif packet.protocol != ICMP or (packet.payload[:1] and packet.payload[0] not in _ERRORS_4):
            self._on_datagram(packet, octets + bytes(max(missing, 0)))

    def _on_unreadable(self, octets: bytes, fault: PacketError) -> None:
        """Tell of a packet that cannot be read, once for its ends and its fault."""
        key = (octets[12:20], fault.code)
        if self._connections.get(key) is None:
            self._give(Origin.GATE, self._begin(key, Stage.DENIED), octets)

    def _on_datagram(self, packet: Packet, octets: bytes) -> None:
        ends = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        for near, far in (ends, ends[::-1]):
            if self._connections.get((*near, *far, packet.protocol)) is not None:
                return
        key = (*ends[0], *ends[1], packet.protocol)
        self._give(Origin.GATE, self._begin(key, Stage.DENIED), octets)

    def _on_segment(self, packet: Packet, octets: bytes, missing: int) -> None:
        near, far = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        connection = self._connections.get((*near, *far))
        from_client = connection is not None
        if connection is None:
            connection = self._connections.get((*far, *near))
        handshake = packet.flags & (SYN | ACK)
        if handshake == SYN and not packet.flags & (FIN | RST):
            self._on_syn(connection if from_client else None, packet, octets, missing)
            return
        if connection is None:
            if not packet.payload and handshake != SYN | ACK:
                return  # nothing that could be told
            from_client = handshake != SYN | ACK and self._is_client(packet)
            ends = (*near, *far) if from_client else (*far, *near)
            connection = self._overhear(ends, ends, packet.acknowledgement if handshake == SYN | ACK else None)
        if handshake == SYN | ACK and not from_client:
            self._on_agreement(connection, packet)
        captured = packet.payload[: max(len(packet.payload) - missing, 0)] if missing else packet.payload
        if packet.payload and not connection.is_decided:
            if connection.stage is Stage.OVERHEARD:
                if from_client:
                    self._hear(connection, packet.sequence, captured, missing)
            elif from_client or connection.stage is Stage.OPEN:
                connection.opening = b""
                if missing:
                    connection.stage = Stage.DENIED
                    detail = f"{missing} octets of it were not captured"
                    self._tell(
                        connection, "client" if from_client else "server", Reason.TRUNCATED_COPY, captured, detail
                    )
                else:
                    self._give(Origin.CLIENT if from_client else Origin.SERVER, connection, octets)
        if packet.flags & (FIN | RST):
            self._end(connection)

    # ---- beginnings ----------------------------------------------------------------------

    def _on_syn(self, former: Connection | None, packet: Packet, octets: bytes, missing: int) -> None:
        if former is not None and former.stage is not Stage.OVERHEARD:
            if former.isn == packet.sequence:
                return  # sent again
            if not former.closed and former.stage is not Stage.DENIED:
                if not former.agreed:
                    former.isn = packet.sequence
                former.reopening = former.stage is Stage.ALLOWED
                return  # the server's word decides
        flow = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        stage = self._staging.stage(packet.source, packet.destination, packet.destination_port, self._today)
        connection = self._begin(flow, stage)
        connection.flow = flow
        connection.isn = packet.sequence
        if packet.payload or packet.has_md5:
            connection.stage = Stage.DENIED
            self._give(Origin.GATE, connection, octets + bytes(missing))
        elif connection.stage is Stage.REFUSED:
            connection.opening = octets + bytes(missing)
        elif self._staging.looks_at_syns:
            self._give(Origin.GATE, connection, octets + bytes(missing))

    def _on_agreement(self, connection: Connection, packet: Packet) -> None:
        """Take the server's word for where the client's octets begin."""
        if connection.stage is Stage.ALLOWED and connection.reopening:
            client, _, server, port = connection.flow
            connection.stage = self._staging.stage(client, server, port, self._today)
            connection.reopening = False
        elif connection.is_decided:
            return
        connection.isn = (packet.acknowledgement - 1) % SEQUENCE_SPACE
        connection.agreed = True

    def _is_client(self, packet: Packet) -> bool:
        """Guess whether the sender of a segment is the client, of a connection whose beginning was not seen."""
        known = packet.source in self._policy.clients, packet.destination in self._policy.clients
        return known[0] if known[0] != known[1] else packet.source_port >= packet.destination_port

    def _begin(self, key: Key, stage: Stage) -> Connection:
        connection = Connection(key, stage, self._now)
        gone = self._connections.add(connection)
        if gone is not None:
            self._settle(gone)
        return connection

    # ---- what only the player tells ------------------------------------------------------

    def _overhear(self, key: Key, flow: FlowKey, base: int | None) -> Connection:
        connection = self._begin(key, Stage.OVERHEARD)
        connection.flow = flow
        connection.heard = base
        connection.stream = Stream(HEARD_MAX, self._limits.stream_segments)
        return connection

    def _hear(self, connection: Connection, sequence: int, payload: bytes, missing: int) -> None:
        """Listen to the client until it has said what it is, and tell."""
        stream = connection.stream
        if stream is None:
            return
        if connection.heard is None:
            connection.heard = sequence
        try:
            stream.feed(offset_of(sequence, connection.heard), payload)
        except Malformed:
            self._report(connection)
            return
        if missing or (stream.contiguous and inspect_client(stream.contiguous) is not None):
            self._report(connection)

    def _on_ipv6(self, octets: bytes) -> None:
        packet = parse_ipv6(octets)
        if packet is None or (packet.protocol == ICMPV6 and not (packet.payload and packet.payload[0] in _ECHO_6)):
            return
        near, far = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        connection = self._connections.get((*near, *far, packet.protocol))
        from_client = connection is not None
        if connection is None:
            connection = self._connections.get((*far, *near, packet.protocol))
        handshake = packet.flags & (SYN | ACK)
        is_over = connection is None or (handshake == SYN and from_client and connection.closed)
        if is_over or connection is None:
            from_client = not (handshake == SYN | ACK or (not handshake & SYN and _looks_served(packet)))
            ends = (near, far) if from_client else (far, near)
            base = (packet.sequence + 1) % SEQUENCE_SPACE if handshake == SYN else None
            flow = (Ipv4(0), ends[0][1], Ipv4(0), ends[1][1])
            connection = self._overhear((*ends[0], *ends[1], packet.protocol), flow, base)
        if packet.protocol != TCP:
            self._settle(connection)
        elif packet.payload and from_client:
            self._hear(connection, packet.sequence, packet.payload, packet.missing)
        if packet.flags & (FIN | RST):
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        """Note that a connection is over; a packet of it may still be late."""
        if not connection.closed:
            connection.closed = True
            if connection.opening or connection.stage is Stage.OVERHEARD:
                self._ended.append((self._now + SETTLE, connection))

    def _settle(self, connection: Connection) -> None:
        """Tell of a connection that is over, if nothing was told yet."""
        if connection.opening:
            opening, connection.opening = connection.opening, b""
            connection.stage = Stage.DENIED
            self._give(Origin.GATE, connection, opening)
        elif connection.stage is Stage.OVERHEARD:
            self._report(connection)

    def _report(self, connection: Connection) -> None:
        """Tell of a connection that was overheard."""
        octets = b"" if connection.stream is None else connection.stream.contiguous
        connection.stream = None
        connection.stage = Stage.DENIED
        reason = Reason.IPV6 if isinstance(connection.key[0], bytes) else Reason.MID_STREAM
        self._tell(connection, "client", reason, octets)

    def _tell(self, connection: Connection, side: str, reason: Reason, octets: bytes, detail: str = "") -> None:
        """Tell of a refusal of the player's own. `octets`: what that side said first."""
        event = overheard_event(
            side, connection.flow, octets, reason, detail=detail, instance=INSTANCE, today=self._today
        )
        client, _, server, *_ = connection.key
        if isinstance(client, bytes) and isinstance(server, bytes):
            name_ipv6(event, client, server)
        self._told.append(Told(self._now, event))

    # ---- the engine ----------------------------------------------------------------------

    def _give(self, origin: Origin, connection: Connection, octets: bytes) -> None:
        self._packets += 1
        self._held[self._packets] = connection
        isn = connection.isn % ISN_SPACE
        when = connection.began if origin is Origin.GATE else self._now
        self._carry_out(self._engine.on_packet(self._packets, origin, isn, octets, self._now), connection, when)

    def _carry_out(self, commands: Iterable[Command], connection: Connection | None = None, when: float = 0.0) -> None:
        """Do what the engine says. `connection`: on whose behalf; `when`: the time of events, if not now."""
        when = when or self._now
        for command in commands:
            if isinstance(command, SetVerdict):
                self._on_verdict(self._held.pop(command.packet_id), command.verdict)
            elif isinstance(command, Emit):
                self._told.append(Told(when, command.event))
            elif isinstance(command, SendReset):
                self._on_reset(command)
            elif isinstance(command, LookUpClient):  # the policy says all there is to know
                self._carry_out(self._engine.on_client(command.address, self._now), connection, when)
            elif connection is not None:  # a name, wanted by the flow whose packet this was
                answer = self._directory.answer(command.name, connection.flow[2])
                self._carry_out(self._engine.on_answer(answer, self._now), connection, when)

    def _on_verdict(self, connection: Connection, verdict: Verdict) -> None:
        if verdict is Verdict.ALLOW:
            connection.stage = Stage.ALLOWED
        elif verdict is Verdict.DENY:
            connection.stage = Stage.DENIED

    def _on_reset(self, reset: SendReset) -> None:
        """Mark the connection that a reset goes to, as the kernel's `output` does."""
        connection = self._connections.get((reset.source, reset.source_port, reset.destination, reset.destination_port))
        if connection is not None:
            connection.stage = Stage.DENIED


def _looks_served(packet: Packet6) -> bool:
    """Guess whether the sender of a segment is the server, of a connection whose beginning was not seen."""
    return packet.protocol == TCP and packet.source_port < packet.destination_port
