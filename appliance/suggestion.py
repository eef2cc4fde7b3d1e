"""Suggestions: the allowlist that usage under see-thru asks for, and what has to be looked at before.

Everything here is pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.packing import AnnotatedRule, pack
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import SecurityGroup
from appliance.suspicion import Crowd, crowds
from appliance.usage import Other, Tally, Usage, Use, by_group


@dataclass(frozen=True, slots=True)
class Row:
    """A name to list, and how often, when first and when last it was used."""

    use: Use
    tally: Tally


@dataclass(frozen=True, slots=True)
class GroupSuggestion:
    """What is suggested for a Security Group.

    `group`: its id; or the address of a client, where its group cannot be told. `name`: if it is known.
    `worn`: the groups of such a client, if they are known.
    `rows`: by port, protocol and name. `rules`: the same as annotations.
    `seldom`: names that were used less often than was asked for.
    `crowds`: names that are held back, as they look like a way to carry data out.
    """

    group: str
    name: str
    worn: tuple[str, ...]
    rows: tuple[Row, ...]
    seldom: int
    crowds: tuple[Crowd, ...]
    rules: tuple[AnnotatedRule, ...] = field(default=())

    @property
    def is_known(self) -> bool:
        """Whether it is known which group it is."""
        return self.group.startswith("sg-")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What is suggested, by group, and what cannot become a rule. The numbers are those of Usage."""

    groups: tuple[GroupSuggestion, ...]
    others: tuple[tuple[Other, Tally], ...]
    lines: int
    unread: int
    flows: int
    left_out: int
    unplaced: int

    @property
    def names(self) -> int:
        """Number of names suggested, those of two groups or ports counted twice."""
        return sum(len(group.rows) for group in self.groups)

    @property
    def held_back(self) -> int:
        """Number of names that are held back."""
        return sum(len(crowd.names) for group in self.groups for crowd in group.crowds)


def suggest(
    usage: Usage, *, min_count: int = 1, kept: Iterable[Fqdn] = (), existing: Iterable[SecurityGroup] = ()
) -> Suggestion:
    """Return what usage asks for.

    Args:
        usage: all of it.
        min_count: how many flows a name needs.
        kept: parents whose names are suggested, however many there are of them.
        existing: groups as they are, as far as they are known: new rules have to get on with theirs.
    """
    trusted = tuple(kept)
    known = {group.id: group for group in existing}
    groups = [
        _for_group(known.get(gid, SecurityGroup(gid, "", ())), uses, usage.worn.get(gid, ()), min_count, trusted)
        for gid, uses in by_group(usage.uses).items()
    ]
    return Suggestion(
        groups=tuple(groups),
        others=tuple(sorted(usage.others.items(), key=lambda item: (item[0].group, -item[1].count, item[0][1:4]))),
        lines=usage.lines,
        unread=usage.unread,
        flows=usage.flows,
        left_out=usage.left_out,
        unplaced=usage.unplaced,
    )


def _for_group(
    group: SecurityGroup, uses: dict[Use, Tally], worn: tuple[str, ...], min_count: int, kept: tuple[Fqdn, ...]
) -> GroupSuggestion:
    counts: dict[Fqdn, int] = {}
    for use, tally in uses.items():
        counts[use.name] = counts.get(use.name, 0) + tally.count
    found = tuple(crowds(counts, kept))
    held = {name for crowd in found for name in crowd.names}
    free = {use: tally for use, tally in uses.items() if use.name not in held}
    rows = tuple(Row(use, tally) for use, tally in free.items() if tally.count >= min_count)
    taken = {
        (rule.from_port, rule.destination)
        for rule in group.rules
        if rule.protocol_name == "tcp" and rule.from_port is not None and rule.from_port == rule.to_port
    }
    rules = pack(((row.use.port, row.use.protocol, row.use.name) for row in rows), taken)
    return GroupSuggestion(group.id, group.name, worn, rows, len(free) - len(rows), found, tuple(rules))
