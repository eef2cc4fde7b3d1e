"""Patterns: names with wildcards, which stand for many names.

    pattern = label "." label { "." label }, where "*" is one character or more of a label, and "?" exactly one

A wildcard stands anywhere within a label, and as often as wanted. It never stands for a dot: a pattern and the names
that it matches have as many labels. Everything here is pure.

AWS lets no `?` into a description, so that `+` stands for it there (ours): `web-++.example.com`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance.errors import InvalidName
from appliance.policy.fqdn import Fqdn, is_name, quote

ANY = "*"  # one character or more
ONE = "?"  # exactly one character
ONE_IN_AWS = "+"  # the same, where AWS decides on the characters
_WILDCARDS = ANY + ONE

_PLAIN = str.maketrans({ANY: "x", ONE: "x"})


@dataclass(frozen=True, slots=True, order=True)
class Pattern:
    """A pattern of names. `labels`: as those of `Fqdn`, with a wildcard in one of them at least."""

    labels: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Return the pattern written as `text`, in lower case, without its trailing dot, and with `?` for `+`.

        Raises:
            InvalidName: it is not a pattern we accept, or has no wildcard.
        """
        text = text.replace(ONE_IN_AWS, ONE)
        if not is_pattern(text):
            raise InvalidName(f"{quote(text)} has no wildcard", hint="write it as a name")
        if "." not in text.removesuffix("."):
            hint = "list the names that are needed, as *.example.com does; see-thru lets everything pass until a date"
            raise InvalidName(f"{quote(text)} is a single label, and no wildcard stands for a dot", hint=hint)
        try:
            Fqdn.parse(text.translate(_PLAIN))
        except InvalidName as error:
            message = f"{quote(text)} is not a pattern of names: {error.message}, with x for its wildcards"
            raise InvalidName(message, hint=error.hint) from None
        return cls(tuple(text.lower().removesuffix(".").split(".")))

    @property
    def has_any(self) -> bool:
        """Tell whether it holds a `*`."""
        return any(ANY in label for label in self.labels)

    @property
    def is_broad(self) -> bool:
        """Tell whether one of its labels may be nearly anything: it holds a `*`, or several `?`."""
        return any(ANY in label or label.count(ONE) > 1 for label in self.labels)

    def matches(self, name: Fqdn) -> bool:
        """Tell whether a name is one of those that it stands for."""
        return len(self.labels) == len(name.labels) and all(map(label_matches, self.labels, name.labels))

    def __str__(self) -> str:
        return ".".join(self.labels)

    def __hash__(self) -> int:
        return hash(self.labels)

    def __reduce__(self) -> "tuple[Callable[[tuple[str, ...]], Pattern], tuple[tuple[str, ...]]]":
        return Pattern, (self.labels,)


Entry = Fqdn | Pattern  # what a rule lists


def in_order(names: Iterable[Fqdn], patterns: Iterable[Pattern]) -> tuple[Entry, ...]:
    """Return names, then patterns, each sorted."""
    return (*sorted(names), *sorted(patterns))


def is_pattern(text: str) -> bool:
    """Tell whether a text has a wildcard."""
    return ANY in text or ONE in text


def is_meant_as_pattern(text: str) -> bool:
    """Tell whether somebody wrote a pattern; a `+` between whole names or patterns is the wrong separator of a list."""
    parts = text.split(ONE_IN_AWS)
    if len(parts) > 1 and all(is_name(part) or (is_pattern(part) and "." in part.strip(".")) for part in parts):
        return False
    return is_pattern(text) or len(parts) > 1


class Glob:
    """A label with wildcards, ready to be compared, in one step for each character of a label, whatever it holds.

    Each character of the glob has a bit in a number, from the second lowest on: it is set where what was read of the
    label so far may end there. The method is called Shift-And.
    """

    __slots__ = ("_accepting", "_end", "_staying", "_wild")

    def __init__(self, text: str) -> None:
        self._wild = self._staying = 0  # the wildcards, and those that may take one character more
        for at, character in enumerate(text, start=1):
            self._wild |= (character in _WILDCARDS) << at
            self._staying |= (character == ANY) << at
        self._accepting: dict[str, int] = {}  # a character of a label
        for at, character in enumerate(text, start=1):
            self._accepting[character] = self._accepting.get(character, self._wild) | 1 << at
        self._end = 1 << len(text)

    def matches(self, label: str) -> bool:
        """Tell whether it stands for a label."""
        reached = 1
        for character in label:
            reached = reached << 1 & self._accepting.get(character, self._wild) | reached & self._staying
            if not reached:
                return False
        return bool(reached & self._end)


def label_matches(glob: str, label: str) -> bool:
    """Tell whether a label of a pattern matches a label. Who compares often keeps the `Glob`."""
    return Glob(glob).matches(label)
