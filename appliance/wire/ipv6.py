"""IPv6 packets, as far as it takes to tell one flow from another: nothing of IPv6 is let through.

Source: RFC 8200 sections 3 and 4 (header, extension headers), RFC 5952 (text, by the standard library).
"""

from ipaddress import IPv6Address
from typing import Final, NamedTuple

from appliance.wire.ip import TCP, UDP

ICMPV6: Final = 58

_HEADER: Final = 40  # octets
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
_EXTENSIONS: Final = frozenset({0, 43, 60, 135, 139, 140, _AUTHENTICATION})  # hop by hop, routing, options, mobility...
_EXTENSIONS_MAX: Final = 8  # of one packet (ours)


class Packet6(NamedTuple):
    """One IPv6 packet. Ports, sequence and flags are 0, and `payload` is empty, where it has none or is cut.

    `protocol`: the number of the last header that was understood. `missing`: octets of it that were not captured.
    """

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes = b""
    source_port: int = 0
    destination_port: int = 0
    sequence: int = 0
    flags: int = 0
    missing: int = 0


def parse_ipv6(octets: bytes) -> Packet6 | None:
    """Return the packet that `octets` begin with, as far as they go; None if its addresses are not there."""
    if len(octets) < _HEADER or octets[0] >> 4 != 6:
        return None
    end = _HEADER + int.from_bytes(octets[4:6])
    source, destination, protocol, at = octets[8:24], octets[24:40], octets[6], _HEADER
    body = octets[:end]
    for _ in range(_EXTENSIONS_MAX):
        if protocol not in _EXTENSIONS or at + 8 > len(body):
            break
        words = body[at + 1]
        protocol, at = body[at], at + (words * 4 + 8 if protocol == _AUTHENTICATION else words * 8 + 8)
    missing = max(end - len(octets), 0)
    if protocol not in {TCP, UDP} or at + (14 if protocol == TCP else 4) > len(body):
        return Packet6(source, destination, protocol, body[at : at + 1], missing=missing)
    ports = int.from_bytes(body[at : at + 2]), int.from_bytes(body[at + 2 : at + 4])
    if protocol == UDP:
        return Packet6(source, destination, protocol, body[at + 8 :], *ports, missing=missing)
    payload = body[at + (body[at + 12] >> 4) * 4 :]
    sequence = int.from_bytes(body[at + 4 : at + 8])
    return Packet6(source, destination, protocol, payload, *ports, sequence, body[at + 13], missing)


def format_ipv6(address: bytes) -> str:
    """Return an address of 16 octets as text."""
    return str(IPv6Address(address))
