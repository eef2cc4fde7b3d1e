"""Exposure: which patterns may be listed, so that none lets flows go where anybody can put a server.

One `?` in a label is a letter that nobody knew, and is not judged. Eight of them stand for most of what people call
their servers, so that several in a label are judged as a `*` is. Everything here is pure.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from appliance.policy.pattern import Pattern
from appliance.policy.suffixes import NO_SUFFIXES, Suffixes

Place = tuple[int, int]  # of a pattern in a text


class Exposure(enum.StrEnum):
    """Which wildcards count."""

    NONE = "none"
    PROHIBIT_ASTERISK = "prohibit_asterisk"
    PROHIBIT_PUBLIC_SUFFIX = "prohibit_public_suffix"
    NUCLEAR = "nuclear"


class Objection(NamedTuple):
    """Why a pattern grants nothing, and what to do."""

    message: str
    hint: str


@dataclass(frozen=True)
class Guard:
    """What patterns are judged by: the preference, and the Public Suffix List."""

    exposure: Exposure = Exposure.PROHIBIT_PUBLIC_SUFFIX
    suffixes: Suffixes = NO_SUFFIXES

    def judge(
        self, patterns: Iterable[tuple[Pattern, Place]]
    ) -> tuple[list[Pattern], list[tuple[Pattern, Place, Objection]]]:
        """Return which patterns may stand, and the others, with what is wrong with them."""
        judged = [(pattern, place, self.object_to(pattern)) for pattern, place in patterns]
        granted = [pattern for pattern, _, objection in judged if objection is None]
        return granted, [(pattern, place, why) for pattern, place, why in judged if why is not None]

    def object_to(self, pattern: Pattern) -> Objection | None:
        """Return why a pattern grants nothing, or None if it may stand."""
        if self.exposure is Exposure.NUCLEAR:
            return None
        if self.exposure is Exposure.NONE:
            hint = "list each name that is needed, or change the preference wildcard_exposure"
            return Objection(f"{pattern} has a wildcard, and the preferences allow none", hint)
        if not pattern.is_broad:
            return None
        if self.exposure is Exposure.PROHIBIT_ASTERISK and pattern.has_any:
            hint = "list each name that is needed, or change the preference wildcard_exposure"
            return Objection(f"{pattern} has an asterisk, and the preferences allow none", hint)
        if not len(self.suffixes):
            hint = "install Debian's package publicsuffix, or Python's publicsuffixlist"
            return Objection(f"{pattern} cannot be judged: there is no Public Suffix List here", hint)
        suffix = self.suffixes.reach_of(pattern)
        if not suffix:
            return None
        hint = f"list each name that is needed, or put wildcards further left: anybody may get a name below {suffix}"
        return Objection(f"{pattern} reaches {suffix}, a public suffix by the Public Suffix List", hint)
