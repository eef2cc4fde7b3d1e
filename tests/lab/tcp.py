"""TCP: a client in user space that sends the segments it is told to, right or wrong, from a workload's address.

    with Peer(web, server.address, 443) as peer:
        peer.connect()
        peer.send(b"first half", at=0)
        peer.send(b"other octets", at=5, ttl=3, urgent=True)
        assert peer.was_reset()

It keeps no timers and repeats nothing: every segment on the wire is one that a test asked for, except that `read`
acknowledges what it reads. The host's own TCP knows nothing of these connections, so a rule in the workload's
namespace keeps it from resetting them. `Tap` shows the segments that reach a host.

Source: RFC 791, RFC 9293 section 3.1, RFC 2385 (MD5), RFC 7413 (Fast Open).
"""

import itertools
import random
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from tests.lab.namespaces import Namespace
from tests.lab.workload import Workload

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
MORE_FRAGMENTS = 0x2000
OUR_MARK = 0x1AB  # of packets made here
OUR_PORTS = (20000, 29999)  # outside of the range Linux takes client ports from
WINDOW = 64000  # octets
WAIT = 3.0  # seconds for the other end to answer

MSS = bytes((2, 4)) + (1460).to_bytes(2)
MD5_OPTION = bytes((19, 18)) + bytes(16)
FAST_OPEN_COOKIE = bytes((34, 10)) + bytes(range(8))
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
    """One connection to a server, from a workload; ports are new for each."""

    def __init__(self, host: Workload, address: str, port: int, *, source_port: int = 0) -> None:
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
        answer = self.receive_where(lambda segment: segment.is_reset or segment.flags & (SYN | ACK) == SYN | ACK)
        if answer is None:
            raise TimeoutError
        if answer.is_reset:
            raise ConnectionResetError
        self.expects = (answer.sequence + 1) % 2**32
        self.send(b"", flags=ACK)
        return self

    def send_syn(self, payload: bytes = b"", *, options: bytes = MSS, ip_options: bytes = b"") -> None:
        """Send a SYN."""
        self.send(payload, at=-1, flags=SYN, options=options, ip_options=ip_options)

    def send(
        self,
        payload: bytes,
        *,
        at: int = 0,
        flags: int = ACK | PSH,
        options: bytes = b"",
        urgent: bool = False,
        ttl: int = 64,
        ip_options: bytes = b"",
        checksum_lie: int = 0,
    ) -> None:
        """Send one segment in one packet.

        Args:
            at: octets between the first one of the connection and this payload; negative before it.
            checksum_lie: what the TCP checksum is wrong by.
        """
        segment = self.segment(payload, at=at, flags=flags, options=options, urgent=urgent, checksum_lie=checksum_lie)
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
        urgent: bool = False,
        checksum_lie: int = 0,
    ) -> bytes:
        """Return a segment as `send` would send it, from its TCP header on."""
        options += NO_OPERATION * (-len(options) % 4)
        flags |= URG if urgent else 0
        head = struct.pack(
            "!HHIIBBHHH",
            self.source_port,
            self.port,
            (self.isn + 1 + at) % 2**32,
            self.expects if flags & ACK else 0,
            (20 + len(options)) // 4 << 4,
            flags,
            WINDOW,
            0,
            len(payload) if urgent else 0,
        )
        octets = head + options + payload
        pseudo = socket.inet_aton(self.source) + socket.inet_aton(self.destination) + struct.pack("!HH", 6, len(octets))
        checksum = (checksum_of(pseudo + octets) + checksum_lie) & 0xFFFF
        return octets[:16] + checksum.to_bytes(2) + octets[18:]

    def _put(self, octets: bytes, *, ttl: int = 64, ip_options: bytes = b"", ident: int = 0, fragment: int = 0) -> None:
        header = struct.pack(
            "!BBHHHBBH4s4s",
            0x40 | (20 + len(ip_options)) // 4,
            0,
            20 + len(ip_options) + len(octets),
            ident or next(_idents),
            fragment,
            ttl,
            socket.IPPROTO_TCP,
            0,  # the kernel fills it in
            socket.inet_aton(self.source),
            socket.inet_aton(self.destination),
        )
        self._out.sendto(header + ip_options + octets, (self.destination, 0))

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
    """Copies of all TCP segments that reach a host."""

    def __init__(self, namespace: Namespace) -> None:
        self._in = namespace.open_socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_TCP)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._in.setblocking(False)

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._in.close()

    def segments(self, address: str, port: int) -> Iterator[Segment]:
        """Yield what has reached this address and port since the last time; the others are forgotten."""
        while True:
            try:
                found = _parse(self._in.recv(65535))
            except BlockingIOError:
                return
            if found is not None and found[0][2:] == (address, port):
                yield found[1]


def checksum_of(octets: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(octets + b'0') // 2}H", octets + b"\0" * (len(octets) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _parse(packet: bytes) -> tuple[tuple[str, int, str, int], Segment] | None:
    """Return source, destination and segment of an IPv4 packet."""
    start = (packet[0] & 0xF) * 4
    if len(packet) < start + 20:
        return None
    source_port, port, sequence, acknowledgement, offset, flags = struct.unpack_from("!HHIIBB", packet, start)
    end = start + (offset >> 4) * 4
    key = (socket.inet_ntoa(packet[12:16]), source_port, socket.inet_ntoa(packet[16:20]), port)
    return key, Segment(sequence, acknowledgement, flags, packet[start + 20 : end], packet[end:], packet[8])
