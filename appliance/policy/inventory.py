"""What AWS says about a VPC, in our own types: Security Groups, their egress rules, and who wears them.

Source: EC2 API, types IpPermission, SecurityGroup, NetworkInterface. Nothing here is judged: a rule of any
shape can be held, and `policy.py` decides what it grants.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.address import Ipv4, Network
from appliance.policy.destination import PrefixList
from appliance.policy.name_list import NameList, NameLists

PREFIX_LENGTH_MIN = 24  # AWS delegates /28 blocks; a block larger than this is nobody's (ours)

Groups = tuple[str, ...]  # Security Group ids, sorted

# EC2 shows a name for these three protocols and a number for all others; it takes either.
_PROTOCOL_NAMES = {"-1": "all", "1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}


@dataclass(frozen=True, slots=True)
class EgressRule:
    """One destination of one egress permission.

    `protocol`: `tcp`, `udp`, `icmp`, a number, or `-1` for all.
    `from_port`, `to_port`: 0 to 65535, or -1 or None where there are none; type and code for ICMP.
    `destination`: an IPv4 or IPv6 CIDR block, a prefix list (`pl-...`) or a referenced group (`sg-...`).
    `rule_id`: `sgr-...`; empty where AWS was not asked for it.
    """

    protocol: str
    from_port: int | None
    to_port: int | None
    destination: str
    description: str
    rule_id: str = ""

    @property
    def protocol_name(self) -> str:
        """The protocol in lower case, by name where it has one."""
        return _PROTOCOL_NAMES.get(self.protocol, self.protocol.lower())

    @property
    def reference(self) -> str:
        """How logs name the rule: `tcp/443 0.0.0.0/0`, with the rule's id in front when it is known."""
        ports = ""
        if self.from_port is not None and self.from_port >= 0:
            is_range = self.to_port is not None and self.to_port > self.from_port
            ports = f"/{self.from_port}-{self.to_port}" if is_range else f"/{self.from_port}"
        reference = f"{self.protocol_name}{ports} {self.destination}"
        return f"{self.rule_id} {reference}" if self.rule_id else reference


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A Security Group: `id` is `sg-...`; `rules` holds its egress rules only."""

    id: str
    name: str
    rules: tuple[EgressRule, ...]


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """A network interface: all its private IPv4 addresses, and the /28 prefixes delegated to it."""

    id: str
    groups: tuple[str, ...]
    addresses: tuple[Ipv4, ...]
    prefixes: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """One reading of a VPC. `prefix_lists`: those that annotated rules lead to, as far as they were asked for.

    `name_lists`: those that annotations refer to, likewise.
    """

    groups: tuple[SecurityGroup, ...]
    interfaces: tuple[NetworkInterface, ...]
    prefix_lists: tuple[PrefixList, ...] = ()
    name_lists: tuple[NameList, ...] = ()

    @property
    def lists(self) -> dict[str, PrefixList]:
        """The prefix lists by id."""
        return {each.id: each for each in self.prefix_lists}

    @property
    def names_elsewhere(self) -> NameLists:
        """The lists of names by what refers to them."""
        return {each.reference: each for each in self.name_lists}

    def with_part(self, part: "Inventory") -> "Inventory":
        """Return this reading with the interfaces, groups and lists of a smaller, later one put in or replaced."""
        groups = {group.id: group for group in (*self.groups, *part.groups)}
        interfaces = {interface.id: interface for interface in (*self.interfaces, *part.interfaces)}
        lists = self.lists | part.lists
        names = {**self.names_elsewhere, **part.names_elsewhere}
        return Inventory(
            tuple(groups.values()), tuple(interfaces.values()), tuple(lists.values()), tuple(names.values())
        )


def groups_by_address(interfaces: Iterable[NetworkInterface]) -> dict[Ipv4, Groups]:
    """Return the groups of every address.

    An address may be seen twice when it moved while AWS was being read. Only the groups that both interfaces
    have count then, until the next reading.
    """
    clients: dict[Ipv4, Groups] = {}
    for interface in interfaces:
        groups = tuple(sorted(set(interface.groups)))
        blocks = [prefix for prefix in interface.prefixes if prefix.length >= PREFIX_LENGTH_MIN]
        delegated = (Ipv4(block.address + offset) for block in blocks for offset in range(block.size))
        for address in {*interface.addresses, *delegated}:
            other = clients.get(address, groups)
            clients[address] = groups if other == groups else tuple(gid for gid in groups if gid in other)
    return dict(sorted(clients.items()))
