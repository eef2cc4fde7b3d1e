"""Laws of patterns: the index and the guard against definitions that are too simple to be wrong."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy import pattern_index
from appliance.policy.fqdn import Fqdn
from appliance.policy.pattern import Pattern, is_pattern, label_matches
from appliance.policy.pattern_index import PatternIndex, find_excess
from appliance.policy.suffixes import Suffixes

LABELS = st.text("ab", min_size=1, max_size=6)
GLOBS = st.text("ab*?", min_size=1, max_size=7)
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(lambda labels: Fqdn(tuple(labels)))
PATTERNS = (
    st.lists(GLOBS, min_size=2, max_size=4)
    .filter(lambda labels: any(map(is_pattern, labels)))
    .map(lambda labels: Pattern(tuple(labels)))
)


def defined(glob: str, label: str) -> bool:
    """Say what a glob is, as an expression."""
    return re.fullmatch(re.escape(glob).replace(r"\*", "[^.]+").replace(r"\?", "[^.]"), label) is not None


@given(GLOBS, LABELS)
def test_a_glob_is_what_it_is_defined_as(glob: str, label: str) -> None:
    """The matcher agrees with the expression."""
    assert label_matches(glob, label) == defined(glob, label)


@given(st.lists(PATTERNS, max_size=30), NAMES)
def test_the_index_finds_what_matches(patterns: list[Pattern], name: Fqdn) -> None:
    """All of it, once each, and nothing else."""
    index = PatternIndex({pattern: number for number, pattern in enumerate(patterns)})
    found = index.find(name)

    naive = {
        pattern
        for pattern in patterns
        if len(pattern.labels) == len(name.labels) and all(map(defined, pattern.labels, name.labels))
    }
    assert {pattern for pattern, _ in found} == naive
    assert len(found) == len(naive)
    assert index.matches(name) == bool(naive)
    assert all(patterns[number] == pattern for pattern, number in found)


@given(st.lists(PATTERNS, max_size=30))
def test_excess_is_what_goes_beyond_the_bound_and_no_more(patterns: list[Pattern]) -> None:
    """Whatever order they are written in, what is left keeps the bound, and has no room for any that went."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pattern_index, "COMPARED_MAX", 5)
        excess = find_excess(patterns)
        kept = set(patterns) - excess

        assert excess == find_excess(reversed(patterns))
        assert PatternIndex(dict.fromkeys(kept)).compared <= 5
        assert find_excess(kept) == set()
        assert all(PatternIndex(dict.fromkeys([*kept, each])).compared > 5 for each in excess)


# All names of up to three labels of a small world. Each label of it has one letter or two, but `*` has no end: what
# lies in it can be registered, if anything of it can.
WORLD = ["a", "b", "ab"]
RULE_LABELS = st.sampled_from(["a", "b", "ab"])
RULES = st.lists(st.lists(RULE_LABELS, min_size=1, max_size=3).map(tuple), max_size=5, unique=True)
STARS = st.lists(RULE_LABELS, min_size=1, max_size=2).map(lambda labels: ("*", *labels))


def suffix_size(name: tuple[str, ...], rules: list[tuple[str, ...]], exceptions: list[tuple[str, ...]]) -> int:
    """Return how many labels of a name are public, as publicsuffix.org/list defines it."""

    def fits(rule: tuple[str, ...]) -> bool:
        return len(rule) <= len(name) and all(
            one in ("*", other) for one, other in zip(reversed(rule), reversed(name), strict=False)
        )

    for exception in exceptions:
        if fits(exception):
            return len(exception) - 1
    return max([1, *(len(rule) for rule in rules if fits(rule))])


@given(RULES, st.lists(STARS, max_size=2, unique=True), st.data())
def test_a_pattern_reaches_a_suffix_if_a_name_of_it_could_be_registered(
    rules: list[tuple[str, ...]], stars: list[tuple[str, ...]], data: st.DataObject
) -> None:
    """The guard agrees with trying every name of a small world."""
    exceptions = [(label, *star[1:]) for star in stars for label in data.draw(st.lists(RULE_LABELS, max_size=1))]
    glob = st.sampled_from(["a", "b", "ab", "*", "a*", "?", "a?"])
    labels = data.draw(st.lists(glob, min_size=2, max_size=3).filter(lambda each: any(map(is_pattern, each))))
    pattern = Pattern(tuple(labels))
    # A letter of no rule stands for all the others that there are.
    choices = [
        [label for label in [*WORLD, "z", "az", "zz"] if label_matches(glob, label)] if is_pattern(glob) else [glob]
        for glob in labels
    ]
    wild_at = [len(labels) - at for at, label in enumerate(labels) if is_pattern(label)]  # from the right, from 1

    naive = any(
        at <= suffix_size(name, [*rules, *stars], exceptions) + 1
        for name in itertools.product(*choices)
        for at in wild_at
    )

    assert bool(Suffixes("", [*rules, *stars], exceptions).reach_of(pattern)) == naive
