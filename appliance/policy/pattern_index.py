"""The index of patterns: which of them match a name, at a cost that does not grow with their number.

A tree for each number of labels, read from the right, as names are. A label without a wildcard is one look-up. One with
a wildcard has a *shape*: the lengths of what stands in front of its first wildcard, behind its last, and of the longest
piece between. The pieces of a name's label that have these lengths are looked up for each shape there is, so that only
those are compared in full that agree in all three. A label has no more than 63 characters, which bounds the shapes and
the pieces. Everything here is pure.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from appliance.policy.fqdn import Fqdn
from appliance.policy.pattern import Entry, Pattern, is_pattern, label_matches

T = TypeVar("T")
R = TypeVar("R")

_WILDCARDS = re.compile(r"[*?]+")

_Shape = tuple[int, int, int]  # characters: in front of the first wildcard, behind the last, of the longest between
_Pieces = tuple[str, str, str]  # the same as text


class _Node:
    """What the labels read so far lead to. `pattern`: the one that ends here."""

    __slots__ = ("globs", "literal", "pattern", "shapes")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.globs: dict[str, _Node] = {}
        self.shapes: dict[_Shape, dict[_Pieces, list[str]]] = {}
        self.pattern: Pattern | None = None

    def grow(self, label: str) -> "_Node":
        """Return the node that a label of a pattern leads to."""
        children = self.globs if is_pattern(label) else self.literal
        child = children.get(label)
        if child is None:
            children[label] = child = _Node()
            if children is self.globs:
                pieces = _pieces(label)
                shape = len(pieces[0]), len(pieces[1]), len(pieces[2])
                self.shapes.setdefault(shape, {}).setdefault(pieces, []).append(label)
        return child

    def follow(self, label: str) -> "Iterator[_Node]":
        """Yield the nodes that a label of a name leads to."""
        child = self.literal.get(label)
        if child is not None:
            yield child
        for (front, back, between), known in self.shapes.items():
            rest = len(label) - front - back
            if rest < 1:
                continue
            head, tail = label[:front], label[front + rest :]
            if between:
                middle = label[front : front + rest]
                found = {middle[start : start + between] for start in range(1, rest - between)}
            else:
                found = {""}
            for piece in found:
                for glob in known.get((head, tail, piece), ()):
                    if label_matches(glob, label):
                        yield self.globs[glob]


def _pieces(glob: str) -> _Pieces:
    front, *between, back = _WILDCARDS.split(glob)
    return front, back, max(between, key=len, default="")


class PatternIndex(Generic[T]):
    """Patterns, each with something that belongs to it."""

    __slots__ = ("_entries", "_roots")

    def __init__(self, entries: Mapping[Pattern, T]) -> None:
        self._entries = entries
        self._roots: dict[int, _Node] = {}  # by number of labels
        for pattern in entries:
            node = self._roots.setdefault(len(pattern.labels), _Node())
            for label in reversed(pattern.labels):
                node = node.grow(label)
            node.pattern = pattern

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

    def find(self, name: Fqdn) -> list[tuple[Pattern, T]]:
        """Return the patterns that match a name: those that say more of it first, then by the alphabet."""
        found = [pattern for pattern in self._matching(name) if pattern is not None]
        if len(found) > 1:
            found.sort(key=_literal_first)
        return [(pattern, self._entries[pattern]) for pattern in found]

    def matches(self, name: Fqdn) -> bool:
        """Tell whether any of the patterns matches a name."""
        return bool(self._matching(name))

    def _matching(self, name: Fqdn) -> list[Pattern | None]:
        root = self._roots.get(len(name.labels))
        nodes = [] if root is None else [root]
        for label in reversed(name.labels):
            nodes = [child for node in nodes for child in node.follow(label)]
            if not nodes:
                break
        return [node.pattern for node in nodes]


def index_groups(
    listed: Iterable[tuple[str, int, R, Iterable[Entry]]],
) -> tuple[dict[str, dict[int, PatternIndex[tuple[R, ...]]]], PatternIndex[None]]:
    """Return the indexes of patterns by group and port, with the rules that list each; and the index of all.

    `listed`: group, port, rule, and what the rule lists.
    """
    globs: dict[str, dict[int, dict[Pattern, tuple[R, ...]]]] = {}
    for gid, port, rule, entries in listed:
        for each in entries:
            if isinstance(each, Pattern):
                of_port = globs.setdefault(gid, {}).setdefault(port, {})
                of_port[each] = (*of_port.get(each, ()), rule)
    every = dict.fromkeys(each for of_group in globs.values() for of_port in of_group.values() for each in of_port)
    indexes = {gid: {port: PatternIndex(of) for port, of in ports.items()} for gid, ports in globs.items()}
    return indexes, PatternIndex(every)


def _literal_first(pattern: Pattern) -> tuple[int, tuple[str, ...]]:
    return -sum(len(label) - label.count("*") - label.count("?") for label in pattern.labels), pattern.labels
