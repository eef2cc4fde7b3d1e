"""Builds captures, right or wrong on purpose: connections as packets, packets in frames, frames in files.

    python -m tests.captures FILE [--megabytes 100] [--kind KIND]      a large one, to measure `replay` with

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, the registry of LINKTYPE numbers. Nothing here uses the code
under test: two mistakes that agree would go unnoticed.
"""

import argparse
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from appliance.address import Ipv4, parse_ipv4
from tests import hellos
from tests.playbook import ACK, CLIENT, CLIENT_ISN, FIN, PSH, SERVER, SERVER_ISN, SYN, segment

ETHERNET, RAW, NULL, LOOP, SLL, IPV4, IPV6, SLL2 = 1, 101, 0, 108, 113, 228, 229, 276
START = 1_800_000_000.0  # Unix time: 2027-01-15
MSS = 1460  # octets


class Captured(NamedTuple):
    """An IP packet and when it was captured, in Unix seconds."""

    time: float
    octets: bytes


# ---- connections ----


class Wire:
    """One connection's packets, in their order on the wire."""

    def __init__(
        self,
        client: Ipv4 = CLIENT,
        port: int = 40000,
        server: Ipv4 = SERVER,
        server_port: int = 443,
        *,
        time: float = START,
        isn: int = CLIENT_ISN,
    ) -> None:
        self.ends = (client, port, server, server_port)
        self.time = time
        self.sent = [isn, SERVER_ISN]  # next sequence number of the client, of the server
        self.packets: list[Captured] = []

    def put(self, side: int, payload: bytes = b"", *, flags: int = ACK, options: bytes = b"", at: int = 0) -> "Wire":
        """One segment. `side`: 0 for the client, 1 for the server. `at`: octets beyond what it has sent so far."""
        client, port, server, server_port = self.ends
        ends = (client, port, server, server_port) if side == 0 else (server, server_port, client, port)
        octets = segment(
            *ends,
            self.sent[side] + at,
            self.sent[1 - side] if flags & ACK else 0,
            payload,
            flags=flags,
            options=options,
        )
        self.packets.append(Captured(self.time, octets))
        self.time += 0.001
        self.sent[side] += len(payload) + bool(flags & (SYN | FIN))
        return self

    def handshake(self) -> "Wire":
        return self.put(0, flags=SYN).put(1, flags=SYN | ACK).put(0)

    def say(self, side: int, stream: bytes, *, size: int = MSS) -> "Wire":
        """Octets of one side in segments of at most `size`, each acknowledged."""
        for start in range(0, len(stream), size):
            self.put(side, stream[start : start + size], flags=ACK | PSH).put(1 - side)
        return self

    def wait(self, seconds: float) -> "Wire":
        self.time += seconds
        return self

    def close(self) -> "Wire":
        return self.put(0, flags=FIN | ACK).put(1, flags=FIN | ACK).put(0)


def tls_flow(
    name: str = hellos.NAME, *, client: Ipv4 = CLIENT, port: int = 40000, server: Ipv4 = SERVER, size: int = MSS
) -> list[Captured]:
    """A TLS 1.3 connection, as far as it can be read, and some application data."""
    wire = Wire(client, port, server).handshake()
    wire.say(0, hellos.client_stream(hellos.client_hello(name)), size=size)
    wire.say(1, hellos.server_stream() + hellos.record(bytes(900), kind=23), size=size)
    return wire.say(0, hellos.record(bytes(80), kind=23)).close().packets


def ssh_flow(*, port: int = 40022) -> list[Captured]:
    """An SSH connection whose server speaks first, as OpenSSH's does."""
    wire = Wire(port=port, server_port=22).handshake().say(1, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    return wire.say(0, b"SSH-2.0-PuTTY_Release_0.81\r\n").say(1, bytes(800)).close().packets


def ipv6(protocol: int, content: bytes, *, client: bytes = b"", server: bytes = b"", reply: bool = False) -> bytes:
    """An IPv6 packet between 2001:db8::1 and ::2, or other addresses of 16 octets."""
    ends = [
        client or bytes.fromhex("20010db8" + "00" * 11 + "01"),
        server or bytes.fromhex("20010db8" + "00" * 11 + "02"),
    ]
    if reply:
        ends.reverse()
    return struct.pack("!IHBB", 6 << 28, len(content), protocol, 64) + b"".join(ends) + content


def over_ipv6(packets: Iterable[Captured]) -> list[Captured]:
    """The same segments between two addresses of IPv6; the client is the one with the higher port."""
    moved = []
    for time, octets in packets:
        source, destination = struct.unpack_from("!HH", octets, 20)
        moved.append(Captured(time, ipv6(octets[9], octets[20:], reply=source < destination)))
    return moved


# ---- frames ----


def ethernet(packet: bytes, *tags: int) -> bytes:
    """A packet in Ethernet, behind VLAN tags of these types."""
    kinds = b"".join(tag.to_bytes(2) + b"\x00\x2a" for tag in tags)
    return bytes(range(12)) + kinds + _kind(packet) + packet


def cooked(packet: bytes, *tags: int) -> bytes:
    kinds = b"".join(tag.to_bytes(2) + b"\x00\x2a" for tag in tags)
    return struct.pack("!HHH8s", 0, 1, 6, bytes(8)) + kinds + _kind(packet) + packet


def cooked_2(packet: bytes) -> bytes:
    return _kind(packet) + struct.pack("!HIHBB8s", 0, 3, 1, 0, 6, bytes(8)) + packet


def null(packet: bytes, order: str = "<", family: int = 0) -> bytes:
    return struct.pack(order + "I", family or (2 if packet[0] >> 4 == 4 else 30)) + packet


def _kind(packet: bytes) -> bytes:
    return b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"


def framed(packets: Iterable[Captured], link: int = ETHERNET) -> list[Captured]:
    """The frames of packets on a link of this type."""
    frame = {ETHERNET: ethernet, SLL: cooked, SLL2: cooked_2, NULL: null, LOOP: lambda packet: null(packet, ">")}
    wrap = frame.get(link, bytes)
    return [Captured(time, wrap(octets)) for time, octets in packets]


# ---- files ----


def pcap(
    frames: Iterable[Captured],
    link: int = ETHERNET,
    *,
    order: str = "<",
    nanoseconds: bool = False,
    snapshot: int = 1 << 18,
) -> bytes:
    return b"".join(pcap_pieces(frames, link, order=order, nanoseconds=nanoseconds, snapshot=snapshot))


def pcap_pieces(
    frames: Iterable[Captured],
    link: int = ETHERNET,
    *,
    order: str = "<",
    nanoseconds: bool = False,
    snapshot: int = 1 << 18,
) -> Iterator[bytes]:
    """The header of a pcap file, then each record."""
    magic, scale = (0xA1B23C4D, 10**9) if nanoseconds else (0xA1B2C3D4, 10**6)
    yield struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snapshot, link)
    for time, octets in frames:
        seconds, fractions = divmod(round(time * scale), scale)
        taken = octets[:snapshot]
        yield struct.pack(order + "IIII", seconds, fractions, len(taken), len(octets)) + taken


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of pcapng."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<", *, major: int = 1, options: bytes = b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link: int = ETHERNET, order: str = "<", *, snapshot: int = 0, options: bytes = b"") -> bytes:
    end = option(0, b"", order) if options else b""
    return block(1, struct.pack(order + "HHI", link, 0, snapshot) + options + end, order)


def enhanced(
    frame: Captured, order: str = "<", *, index: int = 0, scale: float = 1e6, snapshot: int = 1 << 18
) -> bytes:
    ticks = round(frame.time * scale)
    taken = frame.octets[:snapshot]
    head = struct.pack(order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(taken), len(frame.octets))
    return block(
        6, head + taken + bytes(-len(taken) % 4) + option(1, b"a comment", order) + option(0, b"", order), order
    )


def simple(frame: Captured, order: str = "<", *, snapshot: int = 1 << 18) -> bytes:
    return block(3, struct.pack(order + "I", len(frame.octets)) + frame.octets[:snapshot], order)


def obsolete(frame: Captured, order: str = "<", *, index: int = 0) -> bytes:
    ticks = round(frame.time * 1e6)
    head = struct.pack(order + "HHIIII", index, 0, ticks >> 32, ticks & 0xFFFFFFFF, *[len(frame.octets)] * 2)
    return block(2, head + frame.octets, order)


def pcapng(frames: Iterable[Captured], link: int = ETHERNET, *, order: str = "<") -> bytes:
    return section(order) + interface(link, order) + b"".join(enhanced(frame, order) for frame in frames)


# ---- large ones ----


def short_flows(flows: int) -> Iterator[Captured]:
    """Connections of about 3 kB each, a hundred a second, of many clients to many servers."""
    hello, reply = hellos.client_stream(), hellos.server_stream() + hellos.record(bytes(900), kind=23)
    for number in range(flows):
        client = Ipv4(parse_ipv4("10.0.0.0") + number % 200)
        server = Ipv4(parse_ipv4("203.0.113.0") + number % 250)
        wire = Wire(client, 1024 + number % 60000, server, time=START + number / 100, isn=number * 7919 % 2**32)
        yield from wire.handshake().say(0, hello).say(1, reply).close().packets


def bulk_flow(octets: int) -> Iterator[Captured]:
    """One connection whose server sends that much, and whose client acknowledges every other segment."""
    wire = Wire().handshake().say(0, hellos.client_stream()).say(1, hellos.server_stream())
    yield from wire.packets
    for number in range(octets // MSS):
        wire.packets = []
        wire.put(1, bytes(MSS))
        if number % 2:
            wire.put(0)
        yield from wire.packets


def scan(packets: int) -> Iterator[Captured]:
    """Unanswered SYNs, each of another connection: what costs most for its size."""
    for number in range(packets):
        server = Ipv4(parse_ipv4("203.0.113.0") + number % 250)
        yield (
            Wire(CLIENT, 1024 + number % 60000, server, 1 + number // 60000, time=START + number / 10000)
            .put(0, flags=SYN)
            .packets[0]
        )


def stalled(flows: int) -> Iterator[Captured]:
    """Connections whose clients send the beginning of a hello and no more, all at once."""
    hello = hellos.client_stream()[:100]
    for number in range(flows):
        server = Ipv4(parse_ipv4("203.0.113.0") + number // 60000)
        wire = Wire(CLIENT, 1024 + number % 60000, server, time=START + number / 10**6)
        yield from wire.handshake().put(0, hello).packets


LARGE = {
    "short": lambda octets: short_flows(octets // 1900),
    "bulk": bulk_flow,
    "scan": lambda octets: scan(octets // 60),
    "stalled": lambda octets: stalled(octets // 300),
}


def write_large(path: Path, kind: str, octets: int) -> None:
    """Write a capture of at least that many octets."""
    packets = LARGE[kind](octets)
    frames = (Captured(time, ethernet(packet)) for time, packet in packets)
    written = 0
    with path.open("wb") as file:
        for piece in pcap_pieces(frames):
            written += file.write(piece)
            if written >= octets:
                break


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.captures")
    parser.add_argument("file", type=Path)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--kind", choices=LARGE, default="short")
    given = parser.parse_args(arguments)
    write_large(given.file, given.kind, given.megabytes * 10**6)


if __name__ == "__main__":
    main()
