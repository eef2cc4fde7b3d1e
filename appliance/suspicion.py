"""Suspicion: names that look as if they carried something out, rather than led somewhere.

A workload that wants to leak data under see-thru can write it into the names it asks for, piece by piece: very many
names below one that it owns, none of them used again. Such names are not proposed; a person has to look first.
Everything here is pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from appliance.policy.fqdn import Fqdn

SELDOM: Final = 2  # flows to one name in all the time that was looked at
CROWD: Final = 20  # names below one parent that are used seldom
SHARE: Final = 0.8  # of all names below it
DEPTH_MAX: Final = 4  # labels of a parent; every name has one of two


@dataclass(frozen=True, slots=True)
class Crowd:
    """Names below a parent that are held back. `names`: in order."""

    parent: Fqdn
    names: tuple[Fqdn, ...]


def crowds(counts: Mapping[Fqdn, int], kept: Iterable[Fqdn] = ()) -> list[Crowd]:
    """Return the crowds among names with their number of flows, the deepest parents first.

    Args:
        counts: of one group.
        kept: parents that somebody has looked at; names below them are none.
    """
    trusted = set(kept)
    left = {name: count for name, count in counts.items() if trusted.isdisjoint(_parents(name))}
    found = []
    for depth in range(DEPTH_MAX, 1, -1):
        below: dict[Fqdn, list[Fqdn]] = {}
        for name in left:
            if len(name.labels) > depth:
                below.setdefault(Fqdn(name.labels[-depth:]), []).append(name)
        for parent, names in sorted(below.items()):
            seldom = sorted(name for name in names if left[name] <= SELDOM)
            if len(seldom) >= CROWD and len(seldom) >= SHARE * len(names):
                found.append(Crowd(parent, tuple(seldom)))
                for name in seldom:
                    del left[name]
    return found


def _parents(name: Fqdn) -> Iterable[Fqdn]:
    return (Fqdn(name.labels[start:]) for start in range(1, len(name.labels) - 1))
