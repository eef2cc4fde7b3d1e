"""Families: names that differ in one label, and the pattern that may stand for them.

A pattern opens more than was seen, so it is proposed where it was asked for, and where nothing speaks against it:

  - enough of its names were used over and over: what was used once or twice, as a name that carries data is, neither
    counts nor shapes a pattern;
  - it passes the Public Suffix List, as if each of its wildcards were an asterisk, and the deployment's exposure;
  - in no group are names held back below its domain, or below one above that: it would open the way they took;
  - it stands for no name that is set apart in any group, or has less flows than was asked for;
  - it reaches no resolver that answers anybody.

The names share all of the label that they can: `s3-eu-+` rather than `s3-*`. Everything here is pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from appliance.policy.exposure import Exposure, Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.pattern import ANY, ONE, ONE_IN_AWS, Pattern
from appliance.policy.pattern_index import PatternIndex
from appliance.policy.resolvers import reached_by
from appliance.suspicion import SELDOM

FEWEST: Final = 4  # names, unless another number is asked for
LABELS_MAX: Final = 10  # of a name: those with more are listed by themselves, whatever a workload makes of them
LEAST: Final = 2  # that may be asked for: one name is no family

_NUMBER = re.compile(r"[0-9]+")


class Kin(NamedTuple):
    """A pattern, and the names that it stands for, in order."""

    pattern: Pattern
    names: tuple[Fqdn, ...]


class Refusal(NamedTuple):
    """The same of a pattern that is not proposed, and why."""

    pattern: Pattern
    names: tuple[Fqdn, ...]
    why: str


@dataclass(frozen=True)
class Terms:
    """On what terms patterns are proposed. `guard`: the deployment's. `fewest`: names used more than SELDOM times."""

    guard: Guard
    fewest: int = FEWEST


class Shunned(NamedTuple):
    """What no pattern may stand for. `apart`: names that are. `parents`: of names that are held back."""

    apart: Iterable[Fqdn]
    parents: Iterable[Fqdn]


def find_patterns(counts: Mapping[Fqdn, int], fewest: int) -> set[Pattern]:
    """Return the patterns that names with their number of flows ask for."""
    siblings: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for labels in (name.labels for name, count in counts.items() if count > SELDOM):
        if len(labels) > LABELS_MAX:
            continue
        for at in range(len(labels) - 1):  # a pattern of top-level domains is never safe
            siblings.setdefault((labels[:at], labels[at + 1 :]), []).append(labels[at])
    return {
        Pattern((*before, glob, *behind))
        for (before, behind), labels in siblings.items()
        for glob in _globs(labels, fewest)
    }


def object_to_patterns(patterns: Iterable[Pattern], guard: Guard, shunned: Shunned) -> dict[Pattern, str]:
    """Return what speaks against those of the patterns that are not safe."""
    judged = set(patterns)
    objections = _matching(judged, shunned.apart, "set apart")
    parents = {parent.labels for parent in shunned.parents}
    above = {labels[start:] for labels in parents for start in range(len(labels))}
    for pattern in judged:
        why = _object_to(pattern, guard)
        tail = _behind(pattern)  # also of any name held back that it stands for
        if tail in above or any(tail[start:] in parents for start in range(len(tail))):
            why = why or f"names below {'.'.join(tail)}, or next to it, are held back"
        if why:
            objections[pattern] = why
    return objections


def choose(
    patterns: Iterable[Pattern], counts: Mapping[Fqdn, int], objections: Mapping[Pattern, str], fewest: int
) -> tuple[list[Kin], list[Refusal]]:
    """Return which patterns stand for names with their number of flows, each name in one at most, and the refused."""
    families: dict[Pattern, list[Fqdn]] = {}
    index = PatternIndex(dict.fromkeys(patterns))
    for name in sorted(counts):
        for pattern, _ in index.find(name):
            families.setdefault(pattern, []).append(name)
    kin, refusals = [], []
    taken: set[Fqdn] = set()
    for pattern, names in sorted(families.items(), key=lambda item: (-len(item[1]), item[0])):
        free = [name for name in names if name not in taken]
        if sum(counts[name] > SELDOM for name in free) < fewest:
            continue
        if pattern in objections:
            refusals.append(Refusal(pattern, tuple(free), objections[pattern]))
        else:
            kin.append(Kin(pattern, tuple(free)))
            taken.update(free)
    return sorted(kin), sorted(refusals)


def object_to_seldom(patterns: Iterable[Pattern], seldom: Iterable[Fqdn]) -> dict[Pattern, str]:
    """Return what speaks against patterns that stand for names with less flows than was asked for."""
    return _matching(patterns, seldom, "below --min-count")


# ---- what they share ----


def _globs(labels: Iterable[str], fewest: int) -> Iterator[str]:
    """Yield what stands for labels: those alike but for numbers, then in what is left of the first hyphen, then all."""
    left = set(labels)
    for stem in (_without_numbers, _head, _nothing):
        alike: dict[str, set[str]] = {}
        for label in left:
            alike.setdefault(stem(label), set()).add(label)
        for siblings in alike.values():
            if len(siblings) >= fewest:
                yield _narrow(siblings)
                left -= siblings


def _without_numbers(label: str) -> str:
    return _NUMBER.sub("#", label)


def _head(label: str) -> str:
    head, hyphen, _ = label.partition("-")
    return f"{head}{hyphen}"


def _nothing(_: str) -> str:
    return ""


def _narrow(labels: set[str]) -> str:
    """Return the narrowest glob of one wildcard that matches labels, two or more."""
    shortest = min(map(len, labels))
    front = _shared(labels)[: shortest - 1]
    back = _shared({label[::-1] for label in labels})[: shortest - 1 - len(front)][::-1]
    alone = all(len(label) == len(front) + 1 + len(back) for label in labels)
    return f"{front}{ONE if alone else ANY}{back}"


def _shared(labels: set[str]) -> str:
    """Return what all labels begin with: what the first and the last by the alphabet do."""
    first, last = min(labels), max(labels)
    length = next((at for at, both in enumerate(zip(first, last, strict=False)) if both[0] != both[1]), len(first))
    return first[:length]


# ---- what speaks against them ----


def _object_to(pattern: Pattern, guard: Guard) -> str:
    widest = Pattern(tuple(label.replace(ONE, ANY) for label in pattern.labels))
    for asked, wanted in ((Guard(Exposure.PROHIBIT_PUBLIC_SUFFIX, guard.suffixes), widest), (guard, pattern)):
        if objection := asked.object_to(wanted):
            return objection.message.replace(ONE, ONE_IN_AWS)
    resolver = reached_by(pattern)
    return f"it reaches {resolver}, a resolver that answers anybody" if resolver else ""


def _behind(pattern: Pattern) -> tuple[str, ...]:
    """Return the labels to the right of the one with the wildcard."""
    at = next(at for at, label in enumerate(pattern.labels) if ANY in label or ONE in label)
    return pattern.labels[at + 1 :]


def _matching(patterns: Iterable[Pattern], names: Iterable[Fqdn], what: str) -> dict[Pattern, str]:
    index = PatternIndex(dict.fromkeys(patterns))
    found: dict[Pattern, str] = {}
    for name in sorted(names) if len(index) else ():
        for pattern, _ in index.find(name):
            found.setdefault(pattern, f"it stands for {name}, which is {what}")
    return found
