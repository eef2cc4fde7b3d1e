"""What there is to tell of lists that cannot be read for a while, rule by rule. Everything here is pure.

A list that was never read makes a rejection (shape.py, name_list.py), one with other entries a change of the policy.
"""

from collections.abc import Iterator

from appliance.policy.annotation import references_of
from appliance.policy.destination import PrefixList
from appliance.policy.inventory import EgressRule, Inventory
from appliance.policy.name_list import NameList
from appliance.policy.policy import Change
from appliance.policy.reference import Reference

_Known = dict[str | Reference, PrefixList | NameList]


def list_changes(old: Inventory, new: Inventory) -> Iterator[Change]:
    """Yield each rule that goes on by the last content of a list, and each that does so no more."""
    before = {key: _is_stale(each) for key, each in _all(old).items()}
    turned = {key: each for key, each in _all(new).items() if _is_stale(each) != before.get(key, False)}
    if not turned:
        return
    for group in new.groups:
        for egress in group.rules:
            for key in _lists_of(egress) if egress.description else ():
                found = turned.get(key)
                if found is not None and _is_known(found):
                    outcome, reason = _told(found)
                    yield Change("error", outcome, gid=group.id, rule=egress.reference, reason=reason)


def _all(inventory: Inventory) -> _Known:
    known: _Known = {}
    known.update(inventory.lists)
    known.update({each.reference: each for each in inventory.name_lists})
    return known


def _lists_of(egress: EgressRule) -> Iterator[str | Reference]:
    yield egress.destination
    yield from sorted(set(references_of(egress.description)))


def _told(found: PrefixList | NameList) -> tuple[str, str]:
    what = f"prefix list {found.id}" if isinstance(found, PrefixList) else f"the list {found.reference}"
    stands = "its last entries stand" if isinstance(found, PrefixList) else "its last names stand"
    if found.trouble:
        return "failed", f"{what} cannot be read, {stands}: {found.trouble}"
    return "recovered", f"{what} can be read again"


def _is_known(found: PrefixList | NameList) -> bool:
    return (found.networks if isinstance(found, PrefixList) else found.content) is not None


def _is_stale(found: PrefixList | NameList) -> bool:
    return bool(found.trouble) and _is_known(found)
