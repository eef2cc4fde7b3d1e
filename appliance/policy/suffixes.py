"""Public suffixes: names below which anybody may register a name, by the Public Suffix List.

Source: the format and the algorithm at publicsuffix.org/list, with the private section, whose suffixes are rented out
by companies. Labels that are no ASCII are compared in their A-label form (RFC 5891). Everything here is pure: an edge
reads the list.
"""

import re
from collections.abc import Iterator

from appliance.policy.pattern import Glob, Pattern, is_pattern

_VERSION = re.compile(r"//\s*VERSION:\s*(\S+)")
_ALL = "*"  # a whole label of a rule: any

_Labels = tuple[str, ...]


class _Node:
    """What the labels of rules lead to, read from the right. `ends`: a rule is complete here."""

    __slots__ = ("children", "ends")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.ends = False


class Suffixes:
    """The list. `version`: as it states it, or how it may be called otherwise; empty for a list that is not there."""

    def __init__(self, version: str, rules: "list[_Labels]", exceptions: "list[_Labels]") -> None:
        self.version = version
        self._size = len(rules)
        self._root = _Node()
        self._exceptions = exceptions
        for labels in rules:
            node = self._root
            for label in reversed(labels):
                node = node.children.setdefault(label, _Node())
            node.ends = True

    def __len__(self) -> int:
        return self._size

    def reach_of(self, pattern: Pattern) -> str:
        """Return a suffix such that anybody may register a name that the pattern matches; empty if there is none.

        There is one if, for some name that the pattern matches, the label with its last wildcard belongs to the public
        suffix, or is the one directly below it. A label that is below a registered name is its owner's to give.
        """
        from_right = pattern.labels[::-1]
        first = next(at for at, label in enumerate(from_right) if is_pattern(label))
        for suffix in self._suffixes(self._root, from_right, ()):
            if len(suffix) >= first:
                return ".".join(suffix[::-1])
        # By the list's own rule a top-level domain that it does not have is a suffix, too.
        return from_right[0] if first <= 1 else ""

    def _suffixes(self, node: _Node, from_right: _Labels, so_far: _Labels) -> Iterator[_Labels]:
        """Yield the suffixes of names that a pattern matches, labels from the right."""
        if node.ends and not self._is_excepted(so_far, from_right):
            yield so_far
        if len(so_far) == len(from_right):
            return
        label = from_right[len(so_far)]
        if is_pattern(label):
            glob = Glob(label)
            for known, below in node.children.items():
                if known != _ALL and glob.matches(known):
                    yield from self._suffixes(below, from_right, (*so_far, known))
        elif (child := node.children.get(label)) is not None:
            yield from self._suffixes(child, from_right, (*so_far, label))
        child = node.children.get(_ALL)
        if child is not None:
            yield from self._suffixes(child, from_right, (*so_far, label))

    def _is_excepted(self, suffix: _Labels, from_right: _Labels) -> bool:
        """Tell whether an exception holds for every name that has this suffix and matches the pattern."""
        known = (*suffix, *from_right[len(suffix) :])
        return any(known[: len(labels)] == labels[::-1] for labels in self._exceptions)


NO_SUFFIXES = Suffixes("", [], [])


def parse_suffixes(text: str, version: str = "") -> Suffixes:
    """Return the list that is written like this.

    Args:
        text: the list.
        version: what to call it if it does not state one.
    """
    rules: list[_Labels] = []
    exceptions: list[_Labels] = []
    stated = _VERSION.search(text[:4096])
    for line in text.splitlines():
        words = line.split(maxsplit=1)
        rule = words[0].lower() if words else ""
        if not rule or rule.startswith("//"):
            continue
        labels = tuple(_a_label(label) for label in rule.removeprefix("!").split("."))
        (exceptions if rule.startswith("!") else rules).append(labels)
    return Suffixes(stated[1] if stated else version, rules, exceptions)


def _a_label(label: str) -> str:
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
