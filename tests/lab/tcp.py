"""TCP: a client in user space that sends the segments it is told to, right or wrong, from a workload's address.

    with Peer(web, server.address, 443) as peer:
        peer.connect()
        peer.send(b"first half", at=0)
        peer.send(b"other octets", at=5, ttl=3, urgent=4)
        assert peer.was_reset()

It keeps no timers and repeats nothing: every segment on the wire is one that a test asked for, except that `read`
acknowledges what it reads. The host's own TCP knows nothing of these connections, so a rule in the workload's
namespace keeps it from resetting them. A server in user space is such a peer too, at an `End` where nobody listens.
`Tap` shows what reaches a host; `Cable` puts packets on the last link before one, past kernels that would mend them.

Source: RFC 791, RFC 9293 section 3.1, RFC 2385 (MD5), RFC 7413 (Fast Open), RFC 7323 (timestamps), packet(7).
"""

import itertools
import random
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from appliance.selftest.segments import checksum_of
from tests.lab.namespaces import Namespace
from tests.lab.workload import Workload

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
ACCURATE_ECN = 1  # among the reserved bits (RFC 9768)
MORE_FRAGMENTS = 0x2000
ETH_P_IP, ETH_P_IPV6, ETH_P_ALL = 0x0800, 0x86DD, 0x0003
OUR_MARK = 0x1AB  # of packets made here
OUR_PORTS = (20000, 29999)  # outside of the range Linux takes client ports from
WINDOW = 64000  # octets
WAIT = 3.0  # seconds for the other end to answer

MSS = bytes((2, 4)) + (1460).to_bytes(2)
MD5_OPTION = bytes((19, 18)) + bytes(16)
FAST_OPEN_COOKIE = bytes((34, 10)) + bytes(range(8))
MULTIPATH = bytes((30, 12, 0x01, 0x81)) + bytes(range(8))  # MP_CAPABLE
SACK_PERMITTED = bytes((4, 2))
WINDOW_SCALE = bytes((3, 3, 7))
NO_OPERATION = b"\x01"
IP_NO_OPERATIONS = b"\x01\x01\x01\x00"  # an IP option list that does nothing

KEEP_QUIET = f"""
table ip lab_tcp
delete table ip lab_tcp
table ip lab_tcp {{
    chain output {{
        type filter hook output priority filter; policy accept;
        meta mark != {OUR_MARK} tcp sport {OUR_PORTS[0]}-{OUR_PORTS[1]} drop
    }}
}}
"""

_ports = itertools.count(random.randrange(OUR_PORTS[0], OUR_PORTS[1] - 2000))
_idents = itertools.count(random.randrange(1, 30000))


class End(NamedTuple):
    """Where a peer lives. A `Workload` is one."""

    namespace: Namespace
    address: str


class Lie(NamedTuple):
    """What a segment says wrongly: by how much each field differs from the truth."""

    checksum: int = 0
    acknowledgement: int = 0
    header: int = 0  # words


HONEST = Lie()


def timestamps(value: int, echo: int = 0) -> bytes:
    """Return the option, as Linux sends it."""
    return NO_OPERATION * 2 + struct.pack("!BBII", 8, 10, value, echo)


class Segment(NamedTuple):
    """A segment that arrived."""

    sequence: int
    acknowledgement: int
    flags: int
    options: bytes
    payload: bytes
    ttl: int

    @property
    def is_reset(self) -> bool:
        return bool(self.flags & RST)


class Peer:
    """One connection to a server, from a workload; ports are new for each. Or, of a server, to a client."""

    def __init__(self, host: Workload | End, address: str, port: int, *, source_port: int = 0) -> None:
        self.host = host
        self.source, self.source_port = host.address, source_port or next(_ports)
        self.destination, self.port = address, port
        self.isn = random.getrandbits(32)
        self.expects = 0  # next sequence number of the server's
        self.reset = False  # a reset has arrived
        self._buffer: dict[int, bytes] = {}  # the server's octets by sequence number, not read yet
        host.namespace.nft(KEEP_QUIET)
        self._out = host.namespace.open_socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_RAW)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, OUR_MARK)
        self._in = host.namespace.open_socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_TCP)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Forget the connection, without a word to the other end."""
        self._out.close()
        self._in.close()

    # ---- sending ----

    def connect(self, *, options: bytes = MSS) -> Self:
        """Shake hands.

        Raises:
            ConnectionResetError, TimeoutError: the other end did not.
        """
        self.send_syn(options=options)
        self.finish_handshake()
        return self

    def finish_handshake(self, *, options: bytes = b"") -> None:
        """Wait for the answer to a SYN, and acknowledge it.

        Raises:
            ConnectionResetError, TimeoutError: there is none.
        """
        answer = self.receive_where(lambda segment: segment.is_reset or segment.flags & (SYN | ACK) == SYN | ACK)
        if answer is None:
            raise TimeoutError
        if answer.is_reset:
            raise ConnectionResetError
        self.expects = (answer.sequence + 1) % 2**32
        self.send(b"", flags=ACK, options=options)

    def accept(self, *, acknowledge: int = 1, flags: int = SYN | ACK) -> Segment:
        """Wait for a SYN and answer it, as a server.

        Args:
            acknowledge: what the answer's acknowledgement is more than the SYN's own number.

        Raises:
            TimeoutError: none came.
        """
        syn = self.receive_where(lambda segment: segment.flags & (SYN | ACK) == SYN)
        if syn is None:
            raise TimeoutError
        self.expects = (syn.sequence + acknowledge) % 2**32
        self.send(b"", at=-1, flags=flags, options=MSS)
        return syn

    def send_syn(
        self, payload: bytes = b"", *, at: int = -1, flags: int = SYN, options: bytes = MSS, ip_options: bytes = b""
    ) -> None:
        """Send a SYN."""
        self.send(payload, at=at, flags=flags, options=options, ip_options=ip_options)

    def send(
        self,
        payload: bytes,
        *,
        at: int = 0,
        flags: int = ACK | PSH,
        options: bytes = b"",
        urgent: int = 0,
        window: int = WINDOW,
        reserved: int = 0,
        lie: Lie = HONEST,
        ttl: int = 64,
        ip_options: bytes = b"",
    ) -> None:
        """Send one segment in one packet.

        Args:
            at: octets between the first one of the connection and this payload; negative before it.
            urgent: the urgent pointer, in octets from the payload's first; 0 for none.
            window: octets.
            reserved: four bits.
        """
        segment = self.segment(
            payload, at=at, flags=flags, options=options, urgent=urgent, window=window, reserved=reserved, lie=lie
        )
        self._put(segment, ttl=ttl, ip_options=ip_options)

    def send_each(self, octets: bytes, *, size: int) -> None:
        """Send octets from the start of the connection in segments of this size."""
        for at in range(0, len(octets), size):
            self.send(octets[at : at + size], at=at)

    def send_fragments(self, segment: bytes, *pieces: tuple[int, int]) -> None:
        """Send a segment in IP fragments: `pieces` are their first and last+1 octets, the first one divisible by 8."""
        ident = next(_idents)
        for start, end in pieces:
            more = MORE_FRAGMENTS if end < len(segment) else 0
            self._put(segment[start:end], ident=ident, fragment=more | start // 8)

    def segment(
        self,
        payload: bytes,
        *,
        at: int = 0,
        flags: int = ACK | PSH,
        options: bytes = b"",
        urgent: int = 0,
        window: int = WINDOW,
        reserved: int = 0,
        lie: Lie = HONEST,
    ) -> bytes:
        """Return a segment as `send` would send it, from its TCP header on."""
        options += NO_OPERATION * (-len(options) % 4)
        flags |= URG if urgent else 0
        head = struct.pack(
            "!HHIIBBHHH",
            self.source_port,
            self.port,
            (self.isn + 1 + at) % 2**32,
            (self.expects + lie.acknowledgement) % 2**32 if flags & ACK else 0,
            ((20 + len(options)) // 4 + lie.header) << 4 | reserved,
            flags,
            window,
            0,
            urgent,
        )
        octets = head + options + payload
        pseudo = socket.inet_aton(self.source) + socket.inet_aton(self.destination) + struct.pack("!HH", 6, len(octets))
        checksum = (checksum_of(pseudo + octets) + lie.checksum) & 0xFFFF
        return octets[:16] + checksum.to_bytes(2) + octets[18:]

    def packet(
        self,
        segment: bytes,
        *,
        ttl: int = 64,
        ip_options: bytes = b"",
        ident: int = 0,
        fragment: int = 0,
        length_lie: int = 0,
    ) -> bytes:
        """Return an IP packet with a segment or a piece of one.

        Args:
            length_lie: octets that its total length is wrong by; a raw socket would put it right.
        """
        header = struct.pack(
            "!BBHHHBBH4s4s",
            0x40 | (20 + len(ip_options)) // 4,
            0,
            20 + len(ip_options) + len(segment) + length_lie,
            ident or next(_idents),
            fragment,
            ttl,
            socket.IPPROTO_TCP,
            0,
            socket.inet_aton(self.source),
            socket.inet_aton(self.destination),
        )
        header += ip_options
        return header[:10] + checksum_of(header).to_bytes(2) + header[12:] + segment

    def _put(self, octets: bytes, *, ttl: int = 64, ip_options: bytes = b"", ident: int = 0, fragment: int = 0) -> None:
        packet = self.packet(octets, ttl=ttl, ip_options=ip_options, ident=ident, fragment=fragment)
        self._out.sendto(packet, (self.destination, 0))

    # ---- receiving ----

    def receive(self, timeout: float = WAIT) -> Segment | None:
        """Return the next segment of this connection, or None when none comes in time."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0 and select.select([self._in], [], [], left)[0]:
            found = _parse(self._in.recv(65535))
            if found is None or found[0] != (self.destination, self.port, self.source, self.source_port):
                continue
            segment = found[1]
            self.reset = self.reset or segment.is_reset
            if segment.payload and self.expects:
                self._buffer[segment.sequence] = segment.payload
            return segment
        return None

    def receive_where(self, matches: Callable[[Segment], object], timeout: float = WAIT) -> Segment | None:
        """Return the next segment that matches."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            segment = self.receive(left)
            if segment is not None and matches(segment):
                return segment
        return None

    def was_reset(self, timeout: float = WAIT) -> bool:
        """Return whether a reset arrived or arrives."""
        return self.reset or self.receive_where(lambda segment: segment.is_reset, timeout) is not None

    def read(self, size: int, *, sent: int, timeout: float = WAIT) -> bytes:
        """Return the next octets of the server's, at least so many, and acknowledge them.

        Args:
            sent: octets of ours so far, for the acknowledgement's own sequence number.
        """
        octets = b""
        end = time.monotonic() + timeout
        while len(octets) < size and not self.reset and (left := end - time.monotonic()) > 0:
            if self.expects in self._buffer:
                piece = self._buffer.pop(self.expects)
                octets += piece
                self.expects = (self.expects + len(piece)) % 2**32
                self.send(b"", at=sent, flags=ACK)
            else:
                self.receive(left)
        return octets


class Tap:
    """Copies of all packets that reach a host, whatever its kernel makes of them."""

    def __init__(self, namespace: Namespace, device: str = "eth0") -> None:
        self._in = namespace.open_socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._in.bind((device, ETH_P_ALL))
        self._in.setblocking(False)

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._in.close()

    def packets(self) -> Iterator[bytes]:
        """Yield the IP packets that have come since the last time; the host's own are left out."""
        while True:
            try:
                packet, source = self._in.recvfrom(65535)
            except BlockingIOError:
                return
            if source[2] != socket.PACKET_OUTGOING and source[1] in (ETH_P_IP, ETH_P_IPV6):
                yield packet

    def segments(self, address: str, port: int) -> Iterator[Segment]:
        """Yield what has reached this address and port since the last time; the others are forgotten."""
        for packet in self.packets():
            found = _parse(packet)
            if found is not None and found[0][2:] == (address, port):
                yield found[1]

    def payloads(self, address: str) -> list[bytes]:
        """Return what has reached this address since the last time, without empty segments.

        Of TCP the payloads; of a later fragment or another protocol all behind the IP header.
        """
        found = []
        for packet in self.packets():
            if packet[0] >> 4 != 4 or packet[16:20] != socket.inet_aton(address):
                continue
            parsed = None if int.from_bytes(packet[6:8]) & 0x1FFF else _parse(packet)
            found.append(packet[(packet[0] & 0xF) * 4 :] if parsed is None else parsed[1].payload)
        return [payload for payload in found if payload]


class Cable:
    """The last link before a host, seen from the other side of it: what is put on it is what the host gets."""

    def __init__(self, namespace: Namespace, device: str, mac: str) -> None:
        """`device`: our end of the link; `mac`: the hardware address of the host's."""
        self._out = namespace.open_socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        self._to = (device, ETH_P_IP, 0, 0, bytes.fromhex(mac.replace(":", "")))

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._out.close()

    def put(self, packet: bytes) -> None:
        """Put a packet on the link, in a frame of its own."""
        kind = ETH_P_IPV6 if packet[0] >> 4 == 6 else ETH_P_IP
        self._out.sendto(packet, (self._to[0], kind, *self._to[2:]))


def _parse(packet: bytes) -> tuple[tuple[str, int, str, int], Segment] | None:
    """Return source, destination and segment of an IPv4 packet."""
    start = (packet[0] & 0xF) * 4
    if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP or len(packet) < start + 20:
        return None
    source_port, port, sequence, acknowledgement, offset, flags = struct.unpack_from("!HHIIBB", packet, start)
    end = start + (offset >> 4) * 4
    key = (socket.inet_ntoa(packet[12:16]), source_port, socket.inet_ntoa(packet[16:20]), port)
    return key, Segment(sequence, acknowledgement, flags, packet[start + 20 : end], packet[end:], packet[8])
