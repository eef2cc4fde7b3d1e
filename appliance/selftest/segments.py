"""Builds packets that no ordinary TCP sends, and datagrams that a server would answer.

Source: RFC 791, RFC 9293 section 3.1, RFC 1071 (checksum), RFC 792 (echo), RFC 1035 section 4 (DNS),
RFC 8999 section 5.1 and RFC 9000 section 6 (a version of QUIC that nobody has). Everything here is pure.
"""

import struct

SYN, PSH, ACK = 0x02, 0x08, 0x10
TCP = 6
TTL = 64
WINDOW = 64000  # octets
QUIC_LEAST = 1200  # octets: servers answer nothing shorter (RFC 9000 section 14.1)
QUIC_NOBODYS = 0x1A2A3A4A  # RFC 9000 section 15: reserved, so that a server names the versions it has


def checksum_of(octets: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    words: tuple[int, ...] = struct.unpack(f"!{len(octets + b'0') // 2}H", octets + b"\0" * (len(octets) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segment(
    ports: tuple[int, int],
    addresses: tuple[bytes, bytes],
    sequence: int,
    acknowledgement: int,
    payload: bytes,
    *,
    checksum_lie: int = 0,
) -> bytes:
    """Return a TCP segment with payload, from its header on.

    Args:
        ports: source and destination.
        addresses: likewise, of four octets each, for the checksum.
        checksum_lie: what the checksum is wrong by.
    """
    numbers = sequence % 2**32, acknowledgement % 2**32
    head = struct.pack("!HHIIBBHHH", *ports, *numbers, 5 << 4, ACK | PSH, WINDOW, 0, 0)
    octets = head + payload
    checksum = checksum_of(b"".join(addresses) + struct.pack("!HH", TCP, len(octets)) + octets)
    return octets[:16] + (checksum + checksum_lie & 0xFFFF).to_bytes(2) + octets[18:]


def packet(octets: bytes, addresses: tuple[bytes, bytes], *, ident: int) -> bytes:
    """Return an IPv4 packet that holds a segment; the kernel fills in its checksum."""
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(octets), ident, 0, TTL, TCP, 0, *addresses) + octets


def echo_request(ident: int) -> bytes:
    """Return an ICMP echo request."""
    head, data = struct.pack("!HHH", 0, ident, 1), b"discriminat selftest"
    return b"\x08\x00" + checksum_of(b"\x08\x00" + head + data).to_bytes(2) + head[2:] + data


def quic_greeting() -> bytes:
    """Return a QUIC packet of a version that nobody has; a server of QUIC answers it with those it has."""
    connection_ids = b"\x08" + bytes(range(8)) + b"\x08" + bytes(range(8, 16))
    return (b"\xc0" + QUIC_NOBODYS.to_bytes(4) + connection_ids).ljust(QUIC_LEAST, b"\0")


def dns_question(name: str) -> bytes:
    """Return a DNS question for the addresses of a name."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 0x5E1F, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
