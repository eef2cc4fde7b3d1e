"""Destinations: where the rules of Security Groups lead, as networks.

A CIDR block is one network. A managed prefix list is many, kept elsewhere: what is not known of it grants nothing. A
rule whose CIDR begins at 0.0.0.0 leads anywhere, whatever its mask (policy.py tells why); so does a list that holds
0.0.0.0/0, but no other entry of a list is read otherwise than it is written. Everything here is pure.

Source: EC2 API, types ManagedPrefixList and PrefixListEntry.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from appliance.address import Ipv4, Network

_address_of = attrgetter("address")


@dataclass(frozen=True, slots=True)
class PrefixList:
    """A managed prefix list, as it was last read.

    `networks`: None where it was never read.
    `is_ipv6`: of the other family; `networks` is empty then.
    `trouble`: why it could not be read the last time; empty if it could.
    """

    id: str
    networks: tuple[Network, ...] | None
    is_ipv6: bool = False
    trouble: str = ""


PrefixLists = Mapping[str, PrefixList]


@dataclass(frozen=True, slots=True)
class Destination:
    """Some networks, disjoint and sorted; `prefix_list`: the id of the list they come from, if it was one."""

    networks: tuple[Network, ...]
    prefix_list: str = ""

    @classmethod
    def parse(cls, text: str) -> "Destination":
        """Return the destination that `spelled` gave; it is trusted."""
        first, *others = text.split(",")
        if first.startswith("pl-"):
            return cls(tuple(map(Network.parse, others)), first)
        return cls(tuple(map(Network.parse, (first, *others))))

    @property
    def spelled(self) -> str:
        """All of it in one text."""
        return ",".join([*([self.prefix_list] if self.prefix_list else ()), *map(str, self.networks)])

    def __contains__(self, address: Ipv4) -> bool:
        if len(self.networks) == 1:
            return address in self.networks[0]
        place = bisect_right(self.networks, address, key=_address_of)
        return place > 0 and address in self.networks[place - 1]

    def __str__(self) -> str:
        if not self.prefix_list:
            return ",".join(map(str, self.networks))
        count = len(self.networks)
        return f"{self.prefix_list} of {count} network{'' if count == 1 else 's'}"

    @property
    def size(self) -> int:
        """Number of addresses."""
        return sum(network.size for network in self.networks)

    def lies_in(self, other: "Destination") -> bool:
        """Tell whether each of these networks lies in one of the other's."""
        return all(
            any(inner.address in outer and inner.length >= outer.length for outer in other.networks)
            for inner in self.networks
        )


def destination_of(text: str, lists: PrefixLists) -> Destination | None:
    """Return where a rule that nothing is objected to leads; None for anywhere.

    Args:
        text: an IPv4 CIDR block, or the id of a prefix list that was read.
        lists: prefix lists by id.
    """
    if not text.startswith("pl-"):
        network = Network.parse(text)
        return Destination((network,)) if network.address else None
    networks = tuple(disjoint(lists[text].networks or ()))
    return None if any(not network.length for network in networks) else Destination(networks, text)


def disjoint(networks: Iterable[Network]) -> Iterator[Network]:
    """Yield the networks that lie in no other, sorted: two CIDR blocks either nest or have nothing in common."""
    last: Network | None = None
    for network in sorted(networks):
        if last is None or network.address not in last:
            yield network
            last = network
