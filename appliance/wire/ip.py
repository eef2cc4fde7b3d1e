"""IPv4 packets with what TCP and UDP say in them, and the TCP reset.

Source: RFC 791 section 3.1 (IPv4), RFC 9293 sections 3.1 and 3.5.2 (TCP, resets), RFC 768 (UDP),
RFC 2385 (MD5 option), RFC 5925 (authentication option).
Checksums are not verified: conntrack has done it before the queue, and a packet on its way through the
kernel may leave its own to the network card. Anything that cannot be read with certainty raises
`PacketError`: the caller drops the packet.
"""

import struct
from typing import Final, NamedTuple

from appliance.address import Ipv4
from appliance.errors import PacketError

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20

_IP_HEADER: Final = 20  # octets, without options
_TCP_HEADER: Final = 20  # octets, without options
_UDP_HEADER: Final = 8  # octets
_IPV4_NO_OPTIONS: Final = 0x45  # version 4, five words of header
_MORE_FRAGMENTS_OR_OFFSET: Final = 0x3FFF

# What is skipped: type of service, identification, checksums, urgent pointer.
_IP: Final = struct.Struct("!BxHxxHBBxxII")
_TCP: Final = struct.Struct("!HHIIBBHxxxx")
_UDP: Final = struct.Struct("!HHHxx")
_IP_AND_TCP: Final = struct.Struct("!BxHxxHBBxxIIHHIIBBHxxxx")

# Linux, BSD and macOS put this before the timestamps of every segment; nothing else then fits in.
_TIMESTAMPS_ONLY: Final = b"\x01\x01\x08\x0a"
_TIMESTAMPS_ONLY_HEADER: Final = 32  # octets of TCP header

_OPTION_END: Final = 0
_OPTION_NOTHING: Final = 1
_OPTION_MD5: Final = 19
_OPTION_AUTHENTICATION: Final = 29


class Packet(NamedTuple):
    """One IPv4 packet. Fields of a protocol it is not are 0, empty or False.

    A tuple, because one is built for every packet that is inspected. `payload`: what follows the
    header of TCP, UDP or, for other protocols, IP. `flags`: see FIN to URG. `has_md5`: the segment is
    signed (MD5 or authentication option), so that a server without the key ignores it.
    """

    source: Ipv4
    destination: Ipv4
    protocol: int
    total_length: int  # octets
    ttl: int
    payload: bytes
    source_port: int = 0
    destination_port: int = 0
    sequence: int = 0
    acknowledgement: int = 0
    flags: int = 0
    window: int = 0
    has_md5: bool = False


def parse_packet(octets: bytes) -> Packet:
    """Return the packet that `octets` begin with; octets beyond its total length are ignored.

    Raises:
        PacketError: with code `truncated_copy` if the copy is shorter than the packet, `ip_options`
            if the IP header has options, else `malformed_packet`. The caller drops the packet.
    """
    if len(octets) < _IP_HEADER + _TCP_HEADER or octets[0] != _IPV4_NO_OPTIONS or octets[9] != TCP:
        return _parse_uncommon(octets)
    (
        _,
        total_length,
        fragment,
        ttl,
        protocol,
        source,
        destination,
        source_port,
        destination_port,
        sequence,
        acknowledgement,
        data_offset,
        flags,
        window,
    ) = _IP_AND_TCP.unpack_from(octets)
    header = (data_offset >> 4) * 4
    start = _IP_HEADER + header
    if not _IP_HEADER <= total_length <= len(octets) or fragment & _MORE_FRAGMENTS_OR_OFFSET:
        raise _header_fault(octets)
    if header < _TCP_HEADER or start > total_length:
        raise PacketError(
            f"TCP header of {header} octets in {total_length - _IP_HEADER} octets of IP payload",
            code="malformed_packet",
        )
    has_md5 = False
    if header > _TCP_HEADER and not (header == _TIMESTAMPS_ONLY_HEADER and octets[40:44] == _TIMESTAMPS_ONLY):
        has_md5 = _is_signed(octets[_IP_HEADER + _TCP_HEADER : start])
    # Straight to tuple: twice as fast as Packet(...), which goes through Python once more.
    return tuple.__new__(
        Packet,
        (
            source,
            destination,
            protocol,
            total_length,
            ttl,
            octets[start:total_length],
            source_port,
            destination_port,
            sequence,
            acknowledgement,
            flags,
            window,
            has_md5,
        ),
    )


def render_reset(  # noqa: PLR0917 - in the order in which they stand in the packet
    source: Ipv4,
    source_port: int,
    destination: Ipv4,
    destination_port: int,
    sequence: int,
    acknowledgement: int | None,
    ttl: int = 64,
) -> bytes:
    """Return a complete IPv4 packet with a TCP reset, checksums included.

    `sequence`: in answer to a segment with ACK, that segment's acknowledgement, else 0.
    `acknowledgement`: what the reset acknowledges, or None for a reset without ACK.

    Source: RFC 9293 section 3.5.2.
    """
    flags = RST if acknowledgement is None else RST | ACK
    segment = struct.pack(
        "!HHIIBBHHH", source_port, destination_port, sequence, acknowledgement or 0, 0x50, flags, 0, 0, 0
    )
    total_length = _IP_HEADER + len(segment)
    dont_fragment = 0x4000
    header = struct.pack("!BBHHHBBHII", 0x45, 0, total_length, 0, dont_fragment, ttl, TCP, 0, source, destination)
    pseudo_header = struct.pack("!IIBBH", source, destination, 0, TCP, len(segment))
    ip_checksum = _checksum(header).to_bytes(2)
    tcp_checksum = _checksum(pseudo_header + segment).to_bytes(2)
    return header[:10] + ip_checksum + header[12:] + segment[:16] + tcp_checksum + segment[18:]


def _checksum(octets: bytes) -> int:
    """Return the Internet checksum of an even number of octets (RFC 1071)."""
    # 2^16 is 1 modulo 2^16 - 1, so the sum of all words with end-around carry is one remainder.
    return 0xFFFF - (int.from_bytes(octets) % 0xFFFF or 0xFFFF)


def _parse_uncommon(octets: bytes) -> Packet:
    """Parse what is not TCP, or is broken."""
    if len(octets) < _IP_HEADER or octets[0] != _IPV4_NO_OPTIONS:
        raise _header_fault(octets)
    _, total_length, fragment, ttl, protocol, source, destination = _IP.unpack_from(octets)
    if not _IP_HEADER <= total_length <= len(octets) or fragment & _MORE_FRAGMENTS_OR_OFFSET:
        raise _header_fault(octets)
    payload = octets[_IP_HEADER:total_length]
    if protocol == TCP:
        raise PacketError(f"{len(payload)} octets of IP payload, TCP wants {_TCP_HEADER}", code="malformed_packet")
    if protocol != UDP:
        return Packet(source, destination, protocol, total_length, ttl, payload)
    if len(payload) < _UDP_HEADER:
        raise PacketError(f"{len(payload)} octets of IP payload, UDP wants {_UDP_HEADER}", code="malformed_packet")
    source_port, destination_port, length = _UDP.unpack_from(payload)
    if not _UDP_HEADER <= length <= len(payload):
        raise PacketError(f"UDP length {length} in {len(payload)} octets of IP payload", code="malformed_packet")
    # Less than the IP payload is legal: RFC 9868 puts options of UDP there.
    return Packet(
        source, destination, protocol, total_length, ttl, payload[_UDP_HEADER:length], source_port, destination_port
    )


def _header_fault(octets: bytes) -> PacketError:
    """Say what is wrong with an IP header that was refused."""
    if len(octets) < _IP_HEADER:
        return PacketError(f"{len(octets)} octets, an IPv4 header has {_IP_HEADER}", code="malformed_packet")
    version, words = octets[0] >> 4, octets[0] & 15
    if version != 4:
        return PacketError(f"IP version {version}, want 4", code="malformed_packet")
    if words != 5:
        return PacketError(
            f"IP header of {words} words, want 5", code="ip_options" if words > 5 else "malformed_packet"
        )
    _, total_length, fragment, *_ = _IP.unpack_from(octets)
    if total_length < _IP_HEADER:
        return PacketError(f"IP total length {total_length}, header has {_IP_HEADER}", code="malformed_packet")
    if total_length > len(octets):
        return PacketError(f"copy of {len(octets)} octets of a packet of {total_length}", code="truncated_copy")
    # The kernel reassembles before the queue; what is still a fragment then cannot be inspected.
    return PacketError(f"fragment at offset {(fragment & 0x1FFF) * 8}", code="malformed_packet")


def _is_signed(options: bytes) -> bool:
    """Tell whether TCP options hold a signature; insist that they can be walked to the end."""
    at = 0
    signed = False
    while at < len(options):
        kind = options[at]
        if kind == _OPTION_END:
            break
        if kind == _OPTION_NOTHING:
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if size < 2 or at + size > len(options):
            raise PacketError(
                f"TCP option {kind} of {size} octets at offset {at}, {len(options) - at} left",
                code="malformed_packet",
            )
        signed = signed or kind in {_OPTION_MD5, _OPTION_AUTHENTICATION}
        at += size
    return signed
