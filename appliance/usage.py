"""Usage: what clients did that only see-thru let pass, counted, by the Security Group that a rule would go to.

What is kept is bounded whatever the log holds: beyond the bounds flows are counted, and no more. Everything is pure.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from appliance.address import Ipv4, Network, format_ipv4
from appliance.policy.annotation import Protocol
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import NetworkInterface
from appliance.sighting import DEFAULT_GROUP, Sighting, Unlistable, Unread, read_sighting

NAMES_MAX: Final = 50_000  # different names, ports and protocols that are told apart
OTHERS_MAX: Final = 500  # likewise of what cannot become a rule

Key = TypeVar("Key")


class Use(NamedTuple):
    """What a rule would list."""

    group: str
    port: int
    protocol: Protocol
    name: Fqdn


class Other(NamedTuple):
    """What cannot become a rule. `protocol` and `host` are the log's."""

    group: str
    port: int
    protocol: str
    host: str
    why: Unlistable


@dataclass(slots=True)
class Tally:
    """How often something was seen, and the first and the last time."""

    count: int
    first: str
    last: str

    def add(self, time: str) -> None:
        """Count a flow; they come in any order."""
        self.count += 1
        self.first = min(self.first, time)
        self.last = max(self.last, time)


class Wearers:
    """Who wears which groups, as far as network interfaces were given."""

    def __init__(self, interfaces: Iterable[NetworkInterface] = ()) -> None:
        self._groups: dict[Ipv4, tuple[str, ...]] = {}
        self._prefixes: list[tuple[Network, tuple[str, ...]]] = []
        for interface in interfaces:
            self._groups |= dict.fromkeys(interface.addresses, interface.groups)
            self._prefixes += ((prefix, interface.groups) for prefix in interface.prefixes)

    def groups(self, client: Ipv4) -> tuple[str, ...]:
        """Return the ids of a client's groups; none if it is not known."""
        if client in self._groups:
            return self._groups[client]
        return next((groups for prefix, groups in self._prefixes if client in prefix), ())


@dataclass(slots=True)
class Usage:
    """The counters.

    `wanted`: the groups to look at; empty for all. `since`, `until`: the times to look at, empty for any; the latter
    is excluded. `lines`, `unread`: those that were read, and those of them that are no flow events. `left_out`: flows
    that were not told apart any more, as there were too many different ones. `unplaced`: flows that may be a wanted
    group's, but of a client that no interface tells the groups of.
    """

    wanted: Collection[str] = ()
    since: str = ""
    until: str = ""
    wearers: Wearers = field(default_factory=Wearers)
    uses: dict[Use, Tally] = field(default_factory=dict)
    others: dict[Other, Tally] = field(default_factory=dict)
    worn: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by the address that stands for a group
    lines: int = 0
    unread: int = 0
    flows: int = 0
    left_out: int = 0
    unplaced: int = 0

    @property
    def is_full(self) -> bool:
        """Whether different names were counted together, or the next one would be."""
        return len(self.uses) >= NAMES_MAX

    def read(self, line: bytes | str) -> None:
        """Count a line of the flow log."""
        self.lines += 1
        try:
            sighting = read_sighting(line)
        except Unread:
            self.unread += 1
            return
        if sighting is not None and self._is_in_time(sighting.time):
            self._count(sighting)

    def _is_in_time(self, time: str) -> bool:
        return time >= self.since and (not self.until or time < self.until)

    def _count(self, sighting: Sighting) -> None:
        group = self._group(sighting)
        if self.wanted and group not in self.wanted:
            self.unplaced += self.worn.get(group) == ()
            return
        self.flows += 1
        if isinstance(sighting.name, Fqdn):
            use = Use(group, sighting.port, Protocol(sighting.protocol), sighting.name)
            self._add(self.uses, use, NAMES_MAX, sighting.time)
        else:
            other = Other(group, sighting.port, sighting.protocol, sighting.host, sighting.name)
            self._add(self.others, other, OTHERS_MAX, sighting.time)

    def _add(self, tallies: dict[Key, Tally], key: Key, most: int, time: str) -> None:
        tally = tallies.get(key)
        if tally is not None:
            tally.add(time)
        elif len(tallies) < most:
            tallies[key] = Tally(1, time, time)
        else:
            self.left_out += 1

    def _group(self, sighting: Sighting) -> str:
        """Return the group that a rule would go to; where that cannot be told, the client's address.

        It is the one that granted see-thru. Where the preferences did, it is the one the client wears, or the one of
        those that was asked for.
        """
        if sighting.group != DEFAULT_GROUP:
            return sighting.group
        worn = self.wearers.groups(sighting.client)
        choice = [gid for gid in worn if gid in self.wanted] or worn
        if len(choice) == 1:
            return choice[0]
        address = format_ipv4(sighting.client)
        if len(self.worn) < NAMES_MAX:
            self.worn[address] = worn
        return address


def by_group(uses: Mapping[Use, Tally]) -> dict[str, dict[Use, Tally]]:
    """Return the uses of each group, both in order."""
    groups: dict[str, dict[Use, Tally]] = {}
    for use in sorted(uses):
        groups.setdefault(use.group, {})[use] = uses[use]
    return groups
