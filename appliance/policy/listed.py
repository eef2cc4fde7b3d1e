"""What there is to tell of prefix lists that cannot be read for a while, rule by rule. Everything here is pure.

A list that was never read makes a rejection (shape.py), and one with other entries a change of the policy.
"""

from collections.abc import Iterator

from appliance.policy.destination import PrefixList
from appliance.policy.inventory import Inventory
from appliance.policy.policy import Change


def list_changes(old: Inventory, new: Inventory) -> Iterator[Change]:
    """Yield each rule that goes on by the last entries of its list, and each that does so no more."""
    before = {key: _is_stale(each) for key, each in old.lists.items()}
    turned = {key: each for key, each in new.lists.items() if _is_stale(each) != before.get(key, False)}
    if not turned:
        return
    for group in new.groups:
        for egress in group.rules:
            found = turned.get(egress.destination)
            if found is not None and egress.description and found.networks is not None:
                outcome, reason = "recovered", f"prefix list {found.id} can be read again"
                if found.trouble:
                    outcome = "failed"
                    reason = f"prefix list {found.id} cannot be read, its last entries stand: {found.trouble}"
                yield Change("error", outcome, gid=group.id, rule=egress.reference, reason=reason)


def _is_stale(found: PrefixList) -> bool:
    return bool(found.trouble) and found.networks is not None
