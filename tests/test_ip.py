"""IPv4, TCP and UDP headers, and the reset."""

import struct

import pytest

from appliance.address import parse_ipv4
from appliance.errors import PacketError
from appliance.wire.ip import ACK, FIN, PSH, RST, SYN, TCP, UDP, URG, Packet, parse_packet, render_reset

CLIENT = parse_ipv4("10.0.1.10")
SERVER = parse_ipv4("203.0.113.10")
TIMESTAMPS = b"\x01\x01\x08\x0a" + bytes(8)
MD5 = b"\x13\x12" + bytes(16)
AUTHENTICATION = b"\x1d\x10" + bytes(14)
SYN_OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07"


def ip(
    payload: bytes,
    protocol: int = TCP,
    *,
    version_ihl: int = 0x45,
    total: int | None = None,
    fragment: int = 0x4000,
    tail: bytes = b"",
) -> bytes:
    total = 20 + len(payload) if total is None else total
    return (
        struct.pack("!BBHHHBBHII", version_ihl, 0, total, 7, fragment, 64, protocol, 0, CLIENT, SERVER) + payload + tail
    )


def tcp(payload: bytes = b"", *, flags: int = PSH | ACK, options: bytes = b"", words: int | None = None) -> bytes:
    words = 5 + len(options) // 4 if words is None else words
    return struct.pack("!HHIIBBHHH", 50000, 443, 1000, 2000, words << 4, flags, 512, 0, 0) + options + payload


def udp(payload: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("!HHHH", 50000, 443, 8 + len(payload) if length is None else length, 0) + payload


def test_tcp_packet_is_read_whole() -> None:
    """Each field of a TCP segment is where it belongs; octets beyond the total length are cut."""
    assert parse_packet(ip(tcp(b"hello", options=TIMESTAMPS), tail=b"padding")) == Packet(
        source=CLIENT,
        destination=SERVER,
        protocol=TCP,
        total_length=57,
        ttl=64,
        payload=b"hello",
        source_port=50000,
        destination_port=443,
        sequence=1000,
        acknowledgement=2000,
        flags=PSH | ACK,
        window=512,
        has_md5=False,
    )


def test_udp_datagram_is_read_whole() -> None:
    """A datagram gives its ports and payload; what lies between its length and the packet's is left out."""
    packet = parse_packet(ip(udp(b"quic", length=12) + b"\x00\x00", UDP, tail=b"padding"))
    assert (packet.protocol, packet.source_port, packet.destination_port) == (UDP, 50000, 443)
    assert packet.payload == b"quic"


@pytest.mark.parametrize(("protocol", "payload"), [(1, b"\x08\x00"), (47, b""), (132, bytes(12))])
def test_other_protocols_have_no_ports(protocol: int, payload: bytes) -> None:
    """ICMP, GRE and SCTP are told by their number; their payload is what follows IP."""
    assert parse_packet(ip(payload, protocol)) == Packet(CLIENT, SERVER, protocol, 20 + len(payload), 64, payload)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"", False),
        (TIMESTAMPS, False),
        (SYN_OPTIONS, False),
        (b"\x01\x01\x05\x0a" + bytes(8), False),  # selective acknowledgement
        (b"\x00\x13\x12\x00", False),  # after the end of the list nothing counts
        (MD5 + b"\x01\x01", True),
        (b"\x01\x01" + MD5, True),
        (TIMESTAMPS + b"\x01\x01" + MD5, True),
        (AUTHENTICATION, True),
        (MD5 + b"\x00\x00", True),
    ],
)
def test_signature_is_seen_wherever_it_stands(options: bytes, expected: bool) -> None:
    """A segment signed with MD5 or the authentication option is told from one that is not."""
    packet = parse_packet(ip(tcp(b"x", options=options)))
    assert packet.has_md5 is expected
    assert packet.payload == b"x"


@pytest.mark.parametrize("flags", [0, FIN, SYN, RST, PSH, ACK, URG, SYN | ACK, 0xFF])
def test_flags_are_kept_as_they_are(flags: int) -> None:
    """All eight flags are reported, also in combinations that make no sense."""
    assert parse_packet(ip(tcp(flags=flags))).flags == flags


REFUSED = [
    # octets                                               code                 message
    (b"", "malformed_packet", "0 octets, an IPv4 header has 20"),
    (ip(b"")[:19], "malformed_packet", "19 octets, an IPv4 header has 20"),
    (ip(tcp(), version_ihl=0x65), "malformed_packet", "IP version 6, want 4"),
    (ip(tcp(), version_ihl=0x44), "malformed_packet", "IP header of 4 words, want 5"),
    (ip(bytes(4) + tcp(), version_ihl=0x46), "ip_options", "IP header of 6 words, want 5"),
    (ip(udp(b""), UDP, version_ihl=0x4F), "ip_options", "IP header of 15 words, want 5"),
    (ip(tcp(), total=19), "malformed_packet", "IP total length 19, header has 20"),
    (ip(tcp(), total=0), "malformed_packet", "IP total length 0, header has 20"),
    (ip(udp(b""), UDP, total=8), "malformed_packet", "IP total length 8, header has 20"),
    (ip(tcp(b"cut"))[:-1], "truncated_copy", "copy of 42 octets of a packet of 43"),
    (ip(udp(b"cut"), UDP)[:-1], "truncated_copy", "copy of 30 octets of a packet of 31"),
    (ip(tcp(), fragment=0x2000), "malformed_packet", "fragment at offset 0"),
    (ip(tcp(), fragment=0x0003), "malformed_packet", "fragment at offset 24"),
    (ip(udp(b""), UDP, fragment=0x0001), "malformed_packet", "fragment at offset 8"),
    (ip(tcp()[:19]), "malformed_packet", "19 octets of IP payload, TCP wants 20"),
    (ip(tcp(), total=39), "malformed_packet", "TCP header of 20 octets in 19 octets of IP payload"),
    (ip(tcp(words=4)), "malformed_packet", "TCP header of 16 octets in 20 octets of IP payload"),
    (ip(tcp(words=6)), "malformed_packet", "TCP header of 24 octets in 20 octets of IP payload"),
    (ip(tcp(words=15, payload=bytes(39))), "malformed_packet", "TCP header of 60 octets in 59 octets of IP payload"),
    (ip(udp(b"")[:7], UDP), "malformed_packet", "7 octets of IP payload, UDP wants 8"),
    (ip(udp(b"", length=7), UDP), "malformed_packet", "UDP length 7 in 8 octets of IP payload"),
    (ip(udp(b"", length=9), UDP), "malformed_packet", "UDP length 9 in 8 octets of IP payload"),
    (ip(tcp(options=b"\x13\x00\x01\x01")), "malformed_packet", "TCP option 19 of 0 octets at offset 0, 4 left"),
    (ip(tcp(options=b"\x01\x13\x01\x01")), "malformed_packet", "TCP option 19 of 1 octets at offset 1, 3 left"),
    (ip(tcp(options=b"\x01\x01\x13\x12")), "malformed_packet", "TCP option 19 of 18 octets at offset 2, 2 left"),
    (ip(tcp(options=b"\x01\x01\x01\x13")), "malformed_packet", "TCP option 19 of 0 octets at offset 3, 1 left"),
]


@pytest.mark.parametrize(("octets", "code", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_packet_that_contradicts_itself_is_refused(octets: bytes, code: str, message: str) -> None:
    """Whatever cannot be read with certainty is refused with its reason and the numbers."""
    with pytest.raises(PacketError) as caught:
        parse_packet(octets)
    assert (caught.value.code, caught.value.message) == (code, message)


def checksum(octets: bytes) -> int:
    """RFC 1071, word by word, independent of the code under test."""
    total = 0
    for (word,) in struct.iter_unpack("!H", octets):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@pytest.mark.parametrize(
    ("sequence", "acknowledgement", "flags"),
    [(0, 0, RST | ACK), (0xFFFFFFFF, None, RST), (0x12345678, 0x9ABCDEF0, RST | ACK), (0, 1, RST | ACK)],
)
@pytest.mark.parametrize("ttl", [1, 64, 255])
def test_reset_is_a_packet_with_right_checksums(
    sequence: int, acknowledgement: int | None, flags: int, ttl: int
) -> None:
    """A reset parses as what was asked for, and both checksums verify to zero."""
    octets = render_reset(SERVER, 443, CLIENT, 50000, sequence, acknowledgement, ttl)
    assert parse_packet(octets) == Packet(
        SERVER, CLIENT, TCP, 40, ttl, b"", 443, 50000, sequence, acknowledgement or 0, flags, 0, has_md5=False
    )
    assert checksum(octets[:20]) == 0
    assert checksum(struct.pack("!IIBBH", SERVER, CLIENT, 0, TCP, 20) + octets[20:]) == 0


@pytest.mark.parametrize("octet", range(0, 256, 5))
def test_reset_checksum_holds_for_every_carry(octet: int) -> None:
    """Addresses and numbers that make the sum carry, or come out as zero, are summed like the others."""
    address = octet << 24 | 0xFFFF00 | (255 - octet)
    octets = render_reset(address, octet << 8 | 0xFF, address ^ 0xFFFFFFFF, 0xFFFF, 0xFFFFFFFF - octet, octet)
    assert checksum(octets[:20]) == 0
    assert checksum(octets[12:20] + b"\x00\x06\x00\x14" + octets[20:]) == 0
