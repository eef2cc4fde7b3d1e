"""What the config log says of a change that is too large to be told one by one. Everything here is pure.

A list has thousands of names and many rules refer to it, so that one edit of a few octets would push the older log off
the disk. What stands in an annotation itself is told name by name. Whatever is left out is counted in an event.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from appliance.policy.annotation import Allow, parse_description
from appliance.policy.inventory import Inventory
from appliance.policy.policy import Change

LISTED_TOLD = 20  # names of one rule that came, or went, by its lists; likewise patterns
KIND_TOLD = 20_000  # changes of one category and outcome: so a flood of one hides nothing of another

_Place = tuple[str, str]  # Security Group, reference of a rule
_Written = dict[_Place, tuple[set[str], list[str]]]


def brief(changes: Iterable[Change], *inventories: Inventory) -> tuple[Change, ...]:
    """Return what is told of changes. `inventories`: those before and after, which say what stands in annotations."""
    return tuple(_limit_kinds(_limit_listed(changes, _written(inventories))))


def _limit_listed(changes: Iterable[Change], written: _Written) -> Iterator[Change]:
    seen: Counter[tuple[str, str, str, str, str]] = Counter()
    for change in changes:
        names = written.get((change.gid, change.rule))
        if names is None or not change.fqdn or change.outcome == "rejected" or change.fqdn in names[0]:
            yield change
            continue
        key = change.cat, change.outcome, change.gid, change.rule, change.proto
        seen[key] += 1
        if seen[key] <= LISTED_TOLD:
            yield change
    for (cat, outcome, gid, rule, proto), count in seen.items():
        if count > LISTED_TOLD:
            references = ", ".join(written[gid, rule][1])
            reason = f"and {count - LISTED_TOLD} more, {count} in all, by {references}"
            yield Change(cat, outcome, gid=gid, rule=rule, proto=proto, reason=reason)


def _limit_kinds(changes: Iterable[Change]) -> Iterator[Change]:
    seen: Counter[tuple[str, str]] = Counter()
    for change in changes:
        kind = change.cat, change.outcome
        seen[kind] += 1
        if seen[kind] <= KIND_TOLD:
            yield change
    for (cat, outcome), count in seen.items():
        if count > KIND_TOLD:
            reason = f"and {count - KIND_TOLD} more such events; `discriminat check` tells what the rules say"
            yield Change(cat, outcome, reason=reason)


def _written(inventories: Iterable[Inventory]) -> _Written:
    """Return what the rules that refer to lists say themselves: names and patterns, and the lists."""
    found: _Written = {}
    for inventory in inventories:
        for group in inventory.groups:
            for egress in group.rules:
                if "@" not in egress.description:
                    continue
                names, references = found.setdefault((group.id, egress.reference), (set(), []))
                for each in parse_description(egress.description).annotations:
                    if isinstance(each, Allow):
                        names.update(map(str, each.names))
                        names.update(str(pattern) for pattern, _ in each.patterns)
                        known = [str(reference) for reference, _ in each.references]
                        references += [reference for reference in dict.fromkeys(known) if reference not in references]
    return found
