"""Provenance: which list that is kept elsewhere a name comes from, and which may hold it that is not known here."""

from collections.abc import Iterable, Iterator

from appliance.policy.annotation import references_of
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import Inventory
from appliance.policy.reference import Reference


def notes_on_origin(inventory: Inventory, gid: str, rule: str, name: Fqdn) -> Iterator[str]:
    """Yield from which lists a rule has a name."""
    lists = inventory.names_elsewhere
    for reference in _references(inventory, [gid], rule):
        known = lists.get(reference)
        if known is None or known.content is None:
            continue
        content = known.content
        stale = f", as it was before it could not be read: {known.trouble}" if known.trouble else ""
        if name in content.names:
            yield f"the name comes from the list {reference}, line {content.names[name]}{stale}"
        for pattern, line in content.patterns.items():
            if pattern.matches(name):
                yield f"a pattern that matches it comes from the list {reference}, line {line}{stale}"


def notes_on_unread(inventory: Inventory, gids: Iterable[str]) -> Iterator[str]:
    """Yield the lists of some groups of which nothing is known."""
    lists = inventory.names_elsewhere
    for reference in dict.fromkeys(_references(inventory, list(gids))):
        known = lists.get(reference)
        if known is None:
            yield f"the list {reference} is not known here, and may hold the name: give it with --list"
        elif known.content is None:
            yield f"the list {reference} may hold the name, but grants nothing: {known.trouble}"


def _references(inventory: Inventory, gids: list[str], rule: str = "") -> Iterator[Reference]:
    for group in inventory.groups:
        for egress in group.rules if group.id in gids else ():
            if rule in {"", egress.reference}:
                yield from references_of(egress.description)
