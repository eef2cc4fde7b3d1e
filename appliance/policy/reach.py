"""Reach: what AWS itself lets out of an interface, before a packet comes to the appliance.

Security Groups are enforced at the interface, annotated or not, by the union of their rules. Policy takes a
CIDR block whose network address is 0.0.0.0 for "anywhere"; AWS takes it literally. So a port with no other rule
than one for 0.0.0.0/1 is silently cut off from the upper half of the Internet.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from appliance.address import Ipv4, Network
from appliance.errors import InvalidAddress
from appliance.policy.destination import PrefixLists, disjoint
from appliance.policy.inventory import EgressRule

_ALL_ADDRESSES = 1 << 32


@dataclass(frozen=True, slots=True)
class Reach:
    """Where AWS lets TCP to one port go.

    `networks`: disjoint, sorted.
    `unread`: prefix lists whose addresses are not known here.
    """

    networks: tuple[Network, ...]
    unread: tuple[str, ...]

    @property
    def is_everywhere(self) -> bool:
        """Whether no IPv4 address is left out."""
        return sum(network.size for network in self.networks) == _ALL_ADDRESSES

    @property
    def is_nowhere(self) -> bool:
        """Whether nothing is let out."""
        return not self.networks and not self.unread

    def includes(self, address: Ipv4) -> bool | None:
        """Tell whether AWS lets packets to an address out; None if that hangs on a prefix list."""
        if any(address in network for network in self.networks):
            return True
        return None if self.unread else False


def reach_of(rules: Iterable[EgressRule], port: int, lists: PrefixLists) -> Reach:
    """Return where egress rules, taken together, let TCP to a port go."""
    destinations = {egress.destination for egress in rules if covers(egress, port)}
    known = {key: networks for key, each in lists.items() if (networks := each.networks) is not None}
    unread = sorted(each for each in destinations if each.startswith("pl-") and each not in known)
    listed = [network for each in destinations & known.keys() for network in known[each]]
    return Reach(tuple(disjoint([*_networks(destinations), *listed])), tuple(unread))


def covers(egress: EgressRule, port: int) -> bool:
    """Tell whether a rule is for TCP to this port, whatever its destination."""
    if egress.protocol_name == "all":
        return True
    if egress.protocol_name != "tcp":
        return False
    if egress.from_port is None or egress.from_port < 0:
        return True
    return egress.from_port <= port <= (egress.from_port if egress.to_port is None else egress.to_port)


def _networks(destinations: Iterable[str]) -> Iterator[Network]:
    for destination in destinations:
        try:
            yield Network.parse(destination)
        except InvalidAddress:
            continue  # IPv6, or a Security Group: neither is on the IPv4 Internet; or a list
