"""IPv4 addresses and networks as integers: cheap to compare, to hash and to mask.

Source: RFC 791 section 3.2, RFC 4632 (CIDR), RFC 6890 (special-purpose registry).
Everything here is pure. An address is an `int` in host order, 0 to 2^32-1.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NewType

from appliance.errors import InvalidAddress

Ipv4 = NewType("Ipv4", int)

_DOTTED_QUAD = re.compile(
    r"(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})", re.ASCII
)


def parse_ipv4(text: str) -> Ipv4:
    """Return the address written as a dotted quad.

    Raises:
        InvalidAddress: not four decimal numbers of 0 to 255 without leading zeros.
    """
    match = _DOTTED_QUAD.fullmatch(text)
    if match is None:
        raise InvalidAddress(f"{text!r} is not an IPv4 address", hint="write four numbers of 0 to 255, as in 10.0.1.10")
    octets = [int(octet) for octet in match.groups()]
    if max(octets) > 255:
        raise InvalidAddress(f"{text!r} has a number above 255", hint="write four numbers of 0 to 255, as in 10.0.1.10")
    return Ipv4(octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3])


def format_ipv4(address: Ipv4) -> str:
    """Return the dotted quad."""
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


@dataclass(frozen=True, slots=True, order=True)
class Network:
    """A CIDR block: `address` has no bit set beyond `length`, the prefix length of 0 to 32."""

    address: Ipv4
    length: int

    @classmethod
    def parse(cls, text: str) -> "Network":
        """Return the network written as `a.b.c.d/length`; host bits are cleared, as AWS does.

        Raises:
            InvalidAddress: not an IPv4 CIDR block.
        """
        quad, slash, length = text.partition("/")
        address = parse_ipv4(quad)
        if not slash or re.fullmatch(r"[0-9]|[12][0-9]|3[0-2]", length, re.ASCII) is None:
            raise InvalidAddress(
                f"{text!r} is not an IPv4 network", hint="write an address and a prefix length, as in 10.0.0.0/16"
            )
        mask = _mask(int(length))
        return cls(Ipv4(address & mask), int(length))

    def __contains__(self, address: Ipv4) -> bool:
        return address & _mask(self.length) == self.address

    def __str__(self) -> str:
        return f"{format_ipv4(self.address)}/{self.length}"

    @property
    def size(self) -> int:
        """Number of addresses in the block."""
        return 1 << (32 - self.length)


def _mask(length: int) -> int:
    return 0xFFFFFFFF << (32 - length) & 0xFFFFFFFF


# Destinations that are never on the Internet: forwarding to them would let a workload use the
# appliance to reach its own VPC, its peers, or somebody's metadata service (evasion D8). The three
# documentation networks of RFC 5737 are left out: nothing answers there, and the lab needs
# addresses that belong to nobody.
PRIVATE_NETWORKS = tuple(
    Network.parse(text)
    for text in (
        "0.0.0.0/8",  # RFC 791: this network
        "10.0.0.0/8",  # RFC 1918
        "100.64.0.0/10",  # RFC 6598: shared address space
        "127.0.0.0/8",  # RFC 1122: loopback
        "169.254.0.0/16",  # RFC 3927: link-local, and AWS's metadata, DNS and time
        "172.16.0.0/12",  # RFC 1918
        "192.0.0.0/24",  # RFC 6890: IETF protocol assignments
        "192.168.0.0/16",  # RFC 1918
        "198.18.0.0/15",  # RFC 2544: benchmarking
        "224.0.0.0/4",  # RFC 5771: multicast
        "240.0.0.0/4",  # RFC 1112: reserved, and the limited broadcast
    )
)


def is_private(address: Ipv4) -> bool:
    """Tell whether an address can never be a public server."""
    return any(address in network for network in PRIVATE_NETWORKS)


def is_closed(address: Ipv4, opened: Iterable[Network]) -> bool:
    """Tell whether an address is private, and in none of the networks that are opened all the same."""
    return is_private(address) and not any(address in network for network in opened)


def without(networks: Iterable[Network], holes: Collection[Network]) -> tuple[Network, ...]:
    """Return what is left of networks when others are taken out of them, as the fewest CIDR blocks."""
    left: list[Network] = []
    for network in networks:
        if any(network.address in hole and network.length >= hole.length for hole in holes):
            continue
        inside = [hole for hole in holes if hole.address in network]
        if inside:
            length = network.length + 1
            halves = (network.address, Ipv4(network.address | 1 << 32 - length))
            left += without([Network(half, length) for half in halves], inside)
        else:
            left.append(network)
    return tuple(left)
