"""Excess: patterns of one group that would make the decision about a name long, and grant nothing for that reason.

Whoever may edit a group's rules must not be able to keep the appliance busy with the names that its clients send. The
bound is for each group and port, so that nobody takes anything away from another's. Everything here is pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from appliance.policy.annotation import Fault, Span
from appliance.policy.pattern import Pattern
from appliance.policy.pattern_index import COMPARED_MAX, find_excess

R = TypeVar("R")

_WHY = f"with the others of the group for this port, a name would be compared with more than {COMPARED_MAX} labels"
_HINT = "write more in front of their first wildcards or behind their last, one pattern for several, or names"


def take_out_excess(
    listed: Iterable[tuple[str, int, R, set[Pattern]]], written: Mapping[R, tuple[str, Span]]
) -> Iterator[tuple[R, Fault]]:
    """Take out what is too much of the patterns that are listed; yield the rules that had it, with the fault.

    Args:
        listed: group, port, rule, and what the rule lists, which is changed.
        written: the description of each rule with patterns, and where in it they stand.
    """
    together: dict[tuple[str, int], list[tuple[R, set[Pattern]]]] = {}
    for gid, port, rule, patterns in listed:
        together.setdefault((gid, port), []).append((rule, patterns))
    for of_port in together.values():
        excess = find_excess({each for _, patterns in of_port for each in patterns})
        for rule, patterns in of_port:
            if count := len(patterns & excess):
                patterns.difference_update(excess)
                text, span = written[rule]
                what = "a pattern does not count" if count == 1 else f"{count} patterns do not count"
                yield rule, Fault(f"{what}: {_WHY}", _HINT, text, span)
