"""Tables: the names that may be reached, each with the rules that list it. Everything here is pure."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from appliance.policy.fqdn import Fqdn

R = TypeVar("R")


def merge(tables: Sequence[Mapping[Fqdn, tuple[R, ...]]]) -> Mapping[Fqdn, tuple[R, ...]]:
    """Return one table with the rules of all, in their order."""
    merged: dict[Fqdn, tuple[R, ...]] = {}
    for table in tables:
        merged.update(table)  # reuses the hashes that the table keeps: the names of a large VPC are merged often
    if len(merged) < sum(map(len, tables)):  # a name is listed twice: it needs both rules
        merged.clear()
        for table in tables:
            for name, rules in table.items():
                merged[name] = merged.get(name, ()) + rules
    return merged
