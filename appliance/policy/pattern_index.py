"""The index of patterns: which of them match a name, at a cost that does not grow with their number.

A tree for each number of labels, read from the right, as names are. A label without a wildcard is one look-up. One with
a wildcard has a *shape*: the lengths of what stands in front of its first wildcard, and behind its last. The ends of a
name's label that have these lengths are looked up for each shape there is, so that only those labels are compared in
full that agree in both.

Patterns may be written so that they agree, or that one name leads to many. Each node knows with how many labels a name
is compared by way of it, at most; `find_excess` tells which patterns bring that number beyond `COMPARED_MAX`.
Everything here is pure.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from appliance.policy.fqdn import Fqdn
from appliance.policy.pattern import Entry, Glob, Pattern, is_pattern

T = TypeVar("T")
R = TypeVar("R")

COMPARED_MAX = 128  # labels of one group's patterns for a port that a name is compared with

_WILDCARDS = re.compile(r"[*?]+")


class _Alike:
    """The labels that have the same ends. `compared`: a name with a label that has these ends, by way of them."""

    __slots__ = ("compared", "globs")

    def __init__(self) -> None:
        self.globs: list[tuple[Glob, _Node]] = []
        self.compared = 0


class _Shape:
    """The labels whose ends have the same lengths, by their ends. `compared`: the most of those, as a label has one."""

    __slots__ = ("compared", "ends")

    def __init__(self) -> None:
        self.ends: dict[tuple[str, str], _Alike] = {}
        self.compared = 0


class _Node:
    """What the labels read so far lead to. `pattern`: the one that ends here.

    With how many labels a name is compared from here on, at most: `compared_same` after the same label without a
    wildcard, and `compared_wild` after labels with one.
    """

    __slots__ = ("compared_same", "compared_wild", "globs", "literal", "pattern", "shapes")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.globs: dict[str, _Node] = {}
        self.shapes: dict[tuple[int, int], _Shape] = {}
        self.compared_same = self.compared_wild = 0
        self.pattern: Pattern | None = None

    @property
    def compared(self) -> int:
        """With how many labels a name is compared from here on, at most."""
        return self.compared_same + self.compared_wild

    def grow(self, pattern: Pattern, count: int, *, in_earnest: bool = True) -> int:
        """Take in the first `count` labels of a pattern, or pretend to; return what `compared` becomes."""
        if not count:
            if in_earnest:
                self.pattern = pattern
            return 0
        label = pattern.labels[count - 1]
        if is_pattern(label):
            return self._grow_wild(pattern, count, label, in_earnest=in_earnest)
        child = self.literal.get(label) or _Node()
        same = max(self.compared_same, 1 + child.grow(pattern, count - 1, in_earnest=in_earnest))
        if in_earnest:
            self.literal[label], self.compared_same = child, same
        return same + self.compared_wild

    def _grow_wild(self, pattern: Pattern, count: int, label: str, *, in_earnest: bool) -> int:
        front, *_, back = _WILDCARDS.split(label)
        size = len(front), len(back)
        shape = self.shapes.get(size) or _Shape()
        alike = shape.ends.get((front, back)) or _Alike()
        known = self.globs.get(label)
        child = known or _Node()
        before = 0 if known is None else 1 + known.compared
        of_alike = alike.compared - before + 1 + child.grow(pattern, count - 1, in_earnest=in_earnest)
        of_shape = max(shape.compared, of_alike)
        wild = self.compared_wild - shape.compared + of_shape
        if in_earnest:
            if known is None:
                self.globs[label] = child
                alike.globs.append((Glob(label), child))
            self.shapes[size], shape.ends[front, back] = shape, alike
            alike.compared, shape.compared, self.compared_wild = of_alike, of_shape, wild
        return self.compared_same + wild

    def follow(self, label: str) -> "Iterator[_Node]":
        """Yield the nodes that a label of a name leads to."""
        child = self.literal.get(label)
        if child is not None:
            yield child
        for (front, back), shape in self.shapes.items():
            end = len(label) - back
            if end <= front:  # a wildcard stands for one character at least
                continue
            alike = shape.ends.get((label[:front], label[end:]))
            if alike is not None:
                for glob, node in alike.globs:
                    if glob.matches(label):
                        yield node

    def reach(self, labels: tuple[str, ...], count: int) -> Iterator[Pattern]:
        """Yield the patterns whose first `count` labels match those of a name."""
        if not count:
            if self.pattern is not None:
                yield self.pattern
            return
        for node in self.follow(labels[count - 1]):
            yield from node.reach(labels, count - 1)


class PatternIndex(Generic[T]):
    """Patterns, each with something that belongs to it."""

    __slots__ = ("_entries", "_roots")

    def __init__(self, entries: Mapping[Pattern, T]) -> None:
        self._entries = entries
        self._roots: dict[int, _Node] = {}  # by number of labels
        for pattern in entries:
            count = len(pattern.labels)
            self._roots.setdefault(count, _Node()).grow(pattern, count)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PatternIndex) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(len(self._entries))

    @property
    def patterns(self) -> Collection[Pattern]:
        """All of them."""
        return self._entries.keys()

    @property
    def compared(self) -> int:
        """With how many labels a name is compared, at most."""
        return max((root.compared for root in self._roots.values()), default=0)

    def find(self, name: Fqdn) -> list[tuple[Pattern, T]]:
        """Return the patterns that match a name: those that say more of it first, then by the alphabet."""
        found = list(self._matching(name))
        if len(found) > 1:
            found.sort(key=_literal_first)
        return [(pattern, self._entries[pattern]) for pattern in found]

    def matches(self, name: Fqdn) -> bool:
        """Tell whether any of the patterns matches a name."""
        return any(True for _ in self._matching(name))

    def _matching(self, name: Fqdn) -> Iterator[Pattern]:
        root = self._roots.get(len(name.labels))
        return iter(()) if root is None else root.reach(name.labels, len(name.labels))


def find_excess(patterns: Iterable[Pattern]) -> set[Pattern]:
    """Return the patterns by which a name would be compared with more than COMPARED_MAX labels: the last, as sorted."""
    roots: dict[int, _Node] = {}
    excess = set()
    for pattern in sorted(patterns):
        count = len(pattern.labels)
        root = roots.setdefault(count, _Node())
        if root.grow(pattern, count, in_earnest=False) > COMPARED_MAX:
            excess.add(pattern)
        else:
            root.grow(pattern, count)
    return excess


def index_groups(
    listed: Iterable[tuple[str, int, R, Iterable[Entry]]],
) -> tuple[dict[str, dict[int, PatternIndex[tuple[R, ...]]]], frozenset[Pattern]]:
    """Return the indexes of patterns by group and port, with the rules that list each; and all the patterns.

    `listed`: group, port, rule, and what the rule lists.
    """
    globs: dict[str, dict[int, dict[Pattern, tuple[R, ...]]]] = {}
    for gid, port, rule, entries in listed:
        for each in entries:
            if isinstance(each, Pattern):
                of_port = globs.setdefault(gid, {}).setdefault(port, {})
                of_port[each] = (*of_port.get(each, ()), rule)
    every = frozenset(each for of_group in globs.values() for of_port in of_group.values() for each in of_port)
    indexes = {gid: {port: PatternIndex(of) for port, of in ports.items()} for gid, ports in globs.items()}
    return indexes, every


def _literal_first(pattern: Pattern) -> tuple[int, tuple[str, ...]]:
    return -sum(len(label) - label.count("*") - label.count("?") for label in pattern.labels), pattern.labels
