"""Suggestions: the allowlist that usage under see-thru asks for, and what has to be looked at before.

Everything here is pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import NamedTuple

from appliance.errors import InvalidName
from appliance.family import (
    Refusal,
    Shunned,
    Terms,
    choose,
    find_patterns,
    object_to_patterns,
    object_to_seldom,
)
from appliance.packing import AnnotatedRule, pack
from appliance.policy.annotation import Protocol
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import SecurityGroup
from appliance.policy.pattern import Entry, Pattern
from appliance.suspicion import Crowd, crowds
from appliance.usage import Other, Tally, Usage, Use, by_group


@dataclass(frozen=True, slots=True)
class Row:
    """A name to list, and how often, when first and when last it was used."""

    use: Use
    tally: Tally


@dataclass(frozen=True, slots=True)
class Family:
    """A pattern to list for TLS, the names that it stands for, in order, and how often these were used."""

    port: int
    pattern: Pattern
    names: tuple[Fqdn, ...]
    tally: Tally


class Offered(NamedTuple):
    """What a rule would list: a name, or a pattern with the names that it stands for."""

    port: int
    protocol: Protocol
    entry: Entry
    tally: Tally
    names: tuple[Fqdn, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupSuggestion:
    """What is suggested for a Security Group.

    `group`: its id; or the address of a client, where its group cannot be told. `name`: if it is known.
    `worn`: the groups of such a client, if they are known.
    `rows`: by port, protocol and name. `families`: names that a pattern stands for; they have no row.
    `rules`: both as annotations. `refusals`: patterns that are not proposed, by port.
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
    families: tuple[Family, ...] = ()
    refusals: tuple[tuple[int, Refusal], ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether it is known which group it is."""
        return self.group.startswith("sg-")

    @property
    def offered(self) -> list[Offered]:
        """All there is to list, by port, protocol and name; a pattern stands where its names would."""
        names = [Offered(row.use.port, row.use.protocol, row.use.name, row.tally) for row in self.rows]
        patterns = [Offered(each.port, Protocol.TLS, each.pattern, each.tally, each.names) for each in self.families]
        return sorted([*names, *patterns], key=lambda each: (each.port, each.protocol, each.entry.labels))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What is suggested, by group, and what cannot become a rule. The numbers are those of Usage.

    `fewest`: names that a pattern was asked for; 0: none was. `hindrance`: why there is none in any group.
    """

    groups: tuple[GroupSuggestion, ...]
    others: tuple[tuple[Other, Tally], ...]
    lines: int
    unread: int
    flows: int
    left_out: int
    unplaced: int
    fewest: int = 0
    hindrance: str = ""

    @property
    def names(self) -> int:
        """Number of names suggested as such, those of two groups or ports counted twice."""
        return sum(len(group.rows) for group in self.groups)

    @property
    def families(self) -> list[Family]:
        """Those of all groups."""
        return [family for group in self.groups for family in group.families]

    @property
    def held_back(self) -> int:
        """Number of names that are held back."""
        return sum(len(crowd.names) for group in self.groups for crowd in group.crowds)


def suggest(
    usage: Usage,
    *,
    min_count: int = 1,
    kept: Iterable[Fqdn] = (),
    existing: Iterable[SecurityGroup] = (),
    terms: Terms | None = None,
) -> Suggestion:
    """Return what usage asks for.

    Args:
        usage: all of it.
        min_count: how many flows a name needs.
        kept: parents whose names are suggested, however many there are of them.
        existing: groups as they are, as far as they are known: new rules have to get on with theirs.
        terms: on which patterns are proposed; None: none is.
    """
    trusted = tuple(kept)
    known = {group.id: group for group in existing}
    drafts = [_draft(gid, uses, min_count, trusted) for gid, uses in by_group(usage.uses).items()]
    hindrance = _hindrance(usage, terms) if terms else ""
    if terms and not hindrance:
        _find_families(drafts, terms, usage.others)
    return Suggestion(
        groups=tuple(
            draft.finish(known.get(draft.gid, SecurityGroup(draft.gid, "", ())), usage.worn.get(draft.gid, ()))
            for draft in drafts
        ),
        others=tuple(sorted(usage.others.items(), key=lambda item: (item[0].group, -item[1].count, item[0][1:4]))),
        lines=usage.lines,
        unread=usage.unread,
        flows=usage.flows,
        left_out=usage.left_out,
        unplaced=usage.unplaced,
        fewest=terms.fewest if terms else 0,
        hindrance=hindrance,
    )


@dataclass(slots=True)
class _Draft:
    """A group's suggestion as it grows. `seldom`: what has less flows than was asked for."""

    gid: str
    uses: dict[Use, Tally]
    seldom: list[Use]
    crowds: tuple[Crowd, ...]
    families: list[Family] = field(default_factory=list)
    refusals: list[tuple[int, Refusal]] = field(default_factory=list)

    def ports(self) -> dict[int, dict[Fqdn, int]]:
        """Return the names that are suggested for TLS, with their number of flows, by port."""
        ports: dict[int, dict[Fqdn, int]] = {}
        for use, tally in self.uses.items():
            if use.protocol is Protocol.TLS:
                ports.setdefault(use.port, {})[use.name] = tally.count
        return ports

    def gather(self, port: int, pattern: Pattern, names: tuple[Fqdn, ...]) -> None:
        """Have a pattern stand for names."""
        tallies = [self.uses.pop(Use(self.gid, port, Protocol.TLS, name)) for name in names]
        self.families.append(Family(port, pattern, names, reduce(_add, tallies)))

    def finish(self, group: SecurityGroup, worn: tuple[str, ...]) -> GroupSuggestion:
        """Return the suggestion, with rules beside those of the group."""
        taken = {
            (rule.from_port, rule.destination)
            for rule in group.rules
            if rule.protocol_name == "tcp" and rule.from_port is not None and rule.from_port == rule.to_port
        }
        suggestion = GroupSuggestion(
            group.id,
            group.name,
            worn,
            rows=tuple(Row(use, tally) for use, tally in self.uses.items()),
            seldom=len(self.seldom),
            crowds=self.crowds,
            families=tuple(self.families),
            refusals=tuple(self.refusals),
        )
        listed = (each[:3] for each in suggestion.offered)
        return replace(suggestion, rules=tuple(pack(listed, taken)))


def _draft(gid: str, uses: dict[Use, Tally], min_count: int, kept: tuple[Fqdn, ...]) -> _Draft:
    counts: dict[Fqdn, int] = {}
    for use, tally in uses.items():
        counts[use.name] = counts.get(use.name, 0) + tally.count
    found = tuple(crowds(counts, kept))
    held = {name for crowd in found for name in crowd.names}
    free = {use: tally for use, tally in uses.items() if use.name not in held}
    often = {use: tally for use, tally in free.items() if tally.count >= min_count}
    return _Draft(gid, often, [use for use in free if use not in often], found)


def _add(one: Tally, other: Tally) -> Tally:
    return Tally(one.count + other.count, min(one.first, other.first), max(one.last, other.last))


# ---- patterns ----


def _hindrance(usage: Usage, terms: Terms) -> str:
    """Return why no pattern can be proposed at all."""
    if not len(terms.guard.suffixes):
        return "there is no Public Suffix List here: install Debian's publicsuffix, or Python's publicsuffixlist"
    if usage.is_full:
        return "not all names were told apart, so that what speaks against one may be missed: look at a shorter time"
    return ""


def _find_families(drafts: list[_Draft], terms: Terms, others: Iterable[Other]) -> None:
    """Put the names of families into them. What speaks against a pattern in one group does so in all of them."""
    wanted = {
        (draft.gid, port): (counts, find_patterns(counts, terms.fewest))
        for draft in drafts
        for port, counts in draft.ports().items()
    }
    patterns = {pattern for _, found in wanted.values() for pattern in found}
    objections = object_to_patterns(patterns, terms.guard, _shunned(drafts, others))
    for draft in drafts:
        seldom: dict[int, list[Fqdn]] = {}
        for use in draft.seldom:
            seldom.setdefault(use.port, []).append(use.name)
        for port in draft.ports():
            counts, found = wanted[draft.gid, port]
            against: Mapping[Pattern, str] = object_to_seldom(found, seldom.get(port, ())) | objections
            kin, refusals = choose(found, counts, against, terms.fewest)
            draft.refusals += ((port, refusal) for refusal in refusals)
            for pattern, names in kin:
                draft.gather(port, pattern, names)


def _shunned(drafts: list[_Draft], others: Iterable[Other]) -> Shunned:
    """Return what is held back, or cannot become a rule and is no group's name either."""
    listed = {use.name for draft in drafts for use in draft.uses}
    parents = [crowd.parent for draft in drafts for crowd in draft.crowds]
    return Shunned(set(_names_apart(others)) - listed, parents)


def _names_apart(others: Iterable[Other]) -> Iterator[Fqdn]:
    """Yield the names among what is set apart, but for those that are cut where they are shown."""
    for other in others:
        with suppress(InvalidName):  # most are addresses
            yield Fqdn.parse(other.host.strip("'"))  # as it is shown
