"""`suggest --wildcards`: which names a pattern may stand for, which not, and that a reader can judge it."""

import json
import re
from collections.abc import Iterable
from datetime import timedelta

import pytest

from appliance.edge.suffix_list import read_suffixes
from appliance.family import FEWEST, LABELS_MAX, Terms, find_patterns
from appliance.offer import notes, offer_document, render_annotations, render_table, render_terraform
from appliance.packing import write_entry
from appliance.page import render_page
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.suffixes import NO_SUFFIXES
from appliance.sighting import write_time
from appliance.suggestion import Suggestion, suggest
from appliance.suspicion import CROWD, SELDOM
from appliance.usage import Usage
from tests.sightings import GROUP, MORNING, OTHER_GROUP, line

OFTEN = SELDOM + 1
TERMS = Terms(Guard(suffixes=read_suffixes()))
CDN = [f"a{index}.cdn.example.com" for index in range(1, FEWEST + 1)]


def used(names: Iterable[str], port: int = 443, *, times: int = OFTEN, **changes: object) -> list[str]:
    """Return lines of flows to each of these names."""
    return [line(name, port, **changes) for name in names for _ in range(times)]


def suggested(*lines: str, terms: Terms | None = TERMS, **options: object) -> Suggestion:
    usage = Usage()
    for each in lines:
        usage.read(each)
    return suggest(usage, terms=terms, **options)


def patterns(suggestion: Suggestion) -> list[str]:
    return [write_entry(family.pattern) for family in suggestion.families]


def named(text: str) -> list[str]:
    """Return names below example.com, unless they are whole."""
    return [each if "." in each else f"{each}.example.com" for each in text.split()]


# ---- which pattern ----

FAMILIES = [
    # names, patterns
    ("one character", "a1.cdn.test a2.cdn.test a3.cdn.test a4.cdn.test", ["a+.cdn.test"]),
    ("one digit or more", "a1 a2 a3 a12", ["a*.example.com"]),
    ("as narrow as may be", "a10 a11 a12 a13", ["a1+.example.com"]),
    ("both ends stay", "s3-eu-1-x s3-eu-2-x s3-eu-3-x s3-eu-10-x", ["s3-eu-*-x.example.com"]),
    ("the end alone", "1st 2nd-st 3-st 44st", ["*st.example.com"]),
    ("a label in the middle", "s3.eu.x.test s3.us.x.test s3.ap.x.test s3.af.x.test", ["s3.*.x.test"]),
    ("one is the beginning of another", "a aa aaa aaaa", ["*.example.com"]),
    ("the ends do not overlap", "aa aaa aaaa aaaaa", ["a*.example.com"]),
    ("nothing in common", "www mail api docs", ["*.example.com"]),
    ("up to the first hyphen", "edge-lhr edge-ams edge-fra edge-cdg www api", ["edge-*.example.com"]),
    ("numbers before all else", "a1 a2 a3 a4 www", ["a+.example.com"]),
    ("two families", "a1 a2 a3 a4 b1 b2 b3 b4", ["a+.example.com", "b+.example.com"]),
    ("what is wider makes the narrower needless", "a1 a2 a3 a4 www mail api docs", ["*.example.com"]),
    ("too few", "a1 a2 a3", []),
    ("too few in any one label", "a1 a2 b1.x.test b2.x.test a1.y.test a2.y.test", []),
    ("two labels differ", "a1.b1.x.test a2.b2.x.test a3.b3.x.test a4.b4.x.test", []),
    ("other depths", "a1.x.test a2.b.x.test a3.b.c.x.test a4.x.y.test", []),
    ("the larger family has them", "a.1.x.io a.2.x.io a.3.x.io a.4.x.io a.5.x.io b.1.x.io c.1.x.io d.1.x.io",
     ["a.+.x.io"]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "names", "found"), FAMILIES, ids=[row[0] for row in FAMILIES])
def test_the_narrowest_useful_pattern_is_proposed(why: str, names: str, found: list[str]) -> None:
    """Whatever the order of the lines; what has no pattern is listed by name."""
    lines = used(named(names))

    for order in (lines, lines[::-1], sorted(lines)):
        suggestion = suggested(*order)
        assert patterns(suggestion) == found
        covered = sum(len(family.names) for family in suggestion.families)
        assert covered + suggestion.names == len(named(names))


def test_a_family_has_as_many_as_are_asked_for() -> None:
    """It is a number, with a default."""
    for fewest in (2, 3, 9):
        terms = Terms(TERMS.guard, fewest)
        assert patterns(suggested(*used(f"a{i}.x.test" for i in range(fewest)), terms=terms)) == ["a+.x.test"]
        assert patterns(suggested(*used(f"a{i}.x.test" for i in range(fewest - 1)), terms=terms)) == []


def test_what_was_hardly_used_does_not_count_nor_shape() -> None:
    """Names that carry data are used once or twice; such a name joins a family that others make."""
    assert patterns(suggested(*used(CDN, times=SELDOM))) == []
    assert patterns(suggested(*used(CDN[1:]), *used(CDN[:1], times=SELDOM))) == []
    (family,) = suggested(*used(CDN), *used(["a9.cdn.example.com", "zz.cdn.example.com"], times=1)).families
    assert [str(name) for name in family.names] == [*CDN, "a9.cdn.example.com"]
    assert find_patterns(dict.fromkeys(map(Fqdn.parse, CDN), SELDOM), FEWEST) == set()


@pytest.mark.parametrize(("labels", "families"), [(LABELS_MAX, 1), (LABELS_MAX + 1, 0)])
def test_names_of_very_many_labels_have_none(labels: int, families: int) -> None:
    """A workload makes names of a hundred labels, and each would be looked at a hundred times."""
    middle = ".".join("x" * (labels - 3))

    assert len(suggested(*used(f"a{index}.{middle}.example.com" for index in range(4))).families) == families


def test_it_sums_up_what_it_stands_for() -> None:
    """Flows, the first and the last time, and the names in order."""
    lines = [text for hour, name in enumerate(CDN) for text in used([name], at=MORNING + timedelta(hours=hour))]
    (family,) = suggested(*lines).families

    assert (family.tally.count, family.port) == (len(lines), 443)
    assert (family.tally.first, family.tally.last) == (
        write_time(MORNING),
        write_time(MORNING + timedelta(hours=len(CDN) - 1)),
    )
    assert [str(name) for name in family.names] == CDN


# ---- only where it is safe ----

CARRIERS = [line(f"d{index}.evil.test") for index in range(CROWD)]
UNSAFE = [
    # why, lines, part of what is said
    ("a public suffix", used(f"{each}.co.uk" for each in ("www", "api", "docs", "mail")), "reaches co.uk"),
    ("one that is rented out", used(f"a{i}.github.io" for i in range(9)), "reaches github.io"),
    ("so does one character", used(f"a{i}.co.uk" for i in range(9)), "reaches co.uk"),
    ("a label of it", used(f"s3.{i}.test" for i in "abcd"), "reaches test"),
    ("held back, and it stands for it", [*CARRIERS, *used(f"d9{i}x.evil.test" for i in range(5))], "below evil.test"),
    ("beside what is held back", [*CARRIERS, *used(f"api{i}.evil.test" for i in range(5))], "below evil.test"),
    ("far below it", [*CARRIERS, *used(f"a{i}.b.evil.test" for i in range(5))], "below b.evil.test"),
    ("above it", [*(line(f"d{i}.x.y.test") for i in range(CROWD)), *used(f"a{i}.y.test" for i in range(5))], "y.test"),
    ("another group's is held back", [*(line(f"a{i}x.evil.test", gid=OTHER_GROUP) for i in range(CROWD)),
                                      *used(f"api{i}.evil.test" for i in range(5))], "evil.test"),
    ("it stands for one set apart", [*used(CDN), line("a9.cdn.example.com", version="TLS 1.1")],
     "it stands for a9.cdn.example.com, which is set apart"),
    ("also in another group", [*used(CDN), line("a9.cdn.example.com", protocol="http", gid=OTHER_GROUP)], "set apart"),
    ("it reaches a resolver", used(f"dns{i}.quad9.net" for i in range(2, 7)), "dns9.quad9.net, a resolver"),
    ("it goes below one", used(f"x.{i}.controld.com" for i in ("one", "two", "three", "four")), "dns.controld.com, a"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "lines", "says"), UNSAFE, ids=[row[0] for row in UNSAFE])
def test_an_unsafe_pattern_is_not_proposed(why: str, lines: list[str], says: str) -> None:
    """Its names are listed one by one, as without the option, and a note says what speaks against it."""
    suggestion = suggested(*lines)

    assert suggestion.families == []
    assert [group.rows for group in suggestion.groups] == [group.rows for group in suggested(*lines, terms=None).groups]
    assert any(note.startswith("no pattern ") and says in note for note in notes(suggestion)), notes(suggestion)


def test_whoever_has_looked_at_a_crowd_can_have_a_pattern() -> None:
    """Then its names are no crowd any more."""
    lines = [*CARRIERS, *used(f"api{i}.evil.test" for i in range(5))]

    assert patterns(suggested(*lines, kept=[Fqdn.parse("evil.test")])) == ["api+.evil.test"]


def test_a_name_set_apart_once_and_listed_as_well_does_no_harm() -> None:
    """One client was too old; the name is suggested anyway."""
    assert patterns(suggested(*used(CDN), line(CDN[0], version="TLS 1.1"))) == ["a+.cdn.example.com"]


def test_names_below_the_count_asked_for_stay_out() -> None:
    """Of the same port and group; another's do not matter."""
    lines = used(CDN, times=9)
    assert patterns(suggested(*lines, *used(["a9.cdn.example.com"]), min_count=5)) == []
    elsewhere = [*used(["a9.cdn.example.com"], 8443), *used(["a9.cdn.example.com"], gid=OTHER_GROUP)]
    assert patterns(suggested(*lines, *elsewhere, min_count=5)) == ["a+.cdn.example.com"]


def test_never_for_ssh() -> None:
    """It carries no name: each is looked up by itself."""
    suggestion = suggested(*used(CDN, 22, protocol="ssh", version="2.0"))

    assert (suggestion.names, suggestion.families) == (len(CDN), [])


def test_never_across_groups_or_ports() -> None:
    """A family has to be enough in each."""
    assert suggested(*used(CDN[:2]), *used(CDN[2:], gid=OTHER_GROUP)).families == []
    assert suggested(*used(CDN[:2]), *used(CDN[2:], 8443)).families == []
    assert len(suggested(*used(CDN), *used(CDN, gid=OTHER_GROUP), *used(CDN, 8443)).families) == 3


@pytest.mark.parametrize(
    ("exposure", "found"),
    [
        (Exposure.NUCLEAR, ["a+.cdn.example.com", "s3-*.example.com"]),
        (Exposure.PROHIBIT_PUBLIC_SUFFIX, ["a+.cdn.example.com", "s3-*.example.com"]),
        (Exposure.PROHIBIT_ASTERISK, ["a+.cdn.example.com"]),
        (Exposure.NONE, []),
    ],
)
def test_what_the_deployment_refuses_is_not_proposed(exposure: Exposure, found: list[str]) -> None:
    """And `nuclear` makes nothing safe."""
    lines = [
        *used(CDN),
        *used(f"s3-{i}.example.com" for i in ("eu", "us", "apac", "af")),
        *used(f"a{i}.github.io" for i in range(9)),
    ]
    terms = Terms(Guard(exposure, read_suffixes()))
    suggestion = suggested(*lines, terms=terms)

    assert patterns(suggestion) == found
    refused = [note for note in notes(suggestion) if "the preferences allow none" in note]
    assert len(refused) == 2 - len(found)


def test_without_a_list_of_suffixes_there_is_none() -> None:
    """Nor for a pattern without an asterisk, and it is said."""
    suggestion = suggested(*used(CDN), terms=Terms(Guard(suffixes=NO_SUFFIXES)))

    assert (suggestion.names, suggestion.families) == (len(CDN), [])
    assert any("there is no Public Suffix List here" in note for note in notes(suggestion))


def test_a_log_of_too_many_names_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all were told apart, a crowd may have been missed."""
    monkeypatch.setattr("appliance.usage.NAMES_MAX", len(CDN))
    suggestion = suggested(*used(CDN), line("b.example.com"))

    assert suggestion.families == []
    assert any("not all names were told apart" in note for note in notes(suggestion))


# ---- what is written ----


def test_every_form_shows_the_pattern_and_what_it_stands_for() -> None:
    """So that whoever reads it can judge."""
    suggestion = suggested(*used(CDN), *used(["api.example.com"]))

    for text in (render_table(suggestion), render_annotations(suggestion), render_terraform(suggestion)):
        assert "a+.cdn.example.com" in text
        assert f"stands for {len(CDN)} names seen, and for all others like them: {', '.join(CDN)}\n" in text
        assert "1 group, 1 name, 1 pattern for 4 names, 0 held back" in text
    assert re.search(r"^ +443  tls +a\+\.cdn\.example\.com +12  2027", render_table(suggestion), re.MULTILINE)
    assert "discriminat:tls:a+.cdn.example.com,api.example.com\n" in render_annotations(suggestion)
    assert ", ".join(CDN) in render_page(suggestion)
    document = offer_document(suggestion)
    (group,) = json.loads(json.dumps(document))["groups"]
    assert (document["names"], document["patterns"]) == (1, 1)
    assert [(each["pattern"], each["count"], each["names"]) for each in group["patterns"]] == [
        ("a+.cdn.example.com", 12, CDN)
    ]
    assert [each["description"] for each in group["rules"]] == ["discriminat:tls:a+.cdn.example.com,api.example.com"]


def test_a_refused_pattern_is_in_the_document() -> None:
    """With the reason, for programs."""
    (group,) = offer_document(suggested(*used(f"a{i}.co.uk" for i in range(4))))["groups"]

    (refused,) = group["patterns_refused"]
    assert (refused["pattern"], len(refused["names"])) == ("a+.co.uk", 4)
    assert "co.uk, a public suffix" in refused["reason"]


def test_a_group_of_patterns_alone_is_shown() -> None:
    """It has no name of its own to list."""
    suggestion = suggested(*used(CDN))

    assert suggestion.names == 0
    assert render_table(suggestion).startswith(f"{GROUP}\n")
    assert "look at each name" in render_table(suggestion)
    assert 'id="terraform"' in render_page(suggestion)
    assert f'security_group_id = "{GROUP}"' in render_terraform(suggestion)


def test_a_large_family_is_cut_in_texts_alone() -> None:
    """The page and the document have all of it."""
    names = [f"n{index}.cdn.example.com" for index in range(100, 150)]
    suggestion = suggested(*used(names))

    assert "and 30 more\n" in render_table(suggestion)
    assert names[-1] not in render_table(suggestion)
    assert names[-1] in render_page(suggestion)
    assert names[-1] in json.dumps(offer_document(suggestion))


def test_that_there_is_none_is_said() -> None:
    """Rather than nothing, where it was asked for."""
    (note,) = notes(suggested(*used(["api.example.com"])))

    assert note.startswith(f"no pattern is proposed: no {FEWEST} names")
    assert notes(suggested(*used(CDN), terms=None)) == []
