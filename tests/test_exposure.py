"""Which patterns may stand, by the preference and by the real Public Suffix List."""

import os
from pathlib import Path

import pytest

from appliance.edge import suffix_list
from appliance.edge.suffix_list import read_suffixes
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.pattern import Pattern
from appliance.policy.suffixes import NO_SUFFIXES, parse_suffixes

# pattern, and the suffix that it reaches
REACH = [
    ("*.com", "com"),
    ("exam*le.com", "com"),
    ("api.*.com", "com"),
    ("*.*.com", "com"),
    ("*.internal", "internal"),  # of the list's own rule for what it does not have
    ("*.co.uk", "co.uk"),
    ("*.uk", "uk"),
    ("*.github.io", "github.io"),
    ("a*.github.io", "github.io"),
    ("www.*.github.io", "github.io"),
    ("*.cloudflare.net", "cloudflare.net"),
    ("*.s3.amazonaws.com", "s3.amazonaws.com"),
    ("*.foo.ck", "foo.ck"),  # *.ck
    ("*.ww?.ck", "ww?.ck"),  # some of which are no exception
    ("*.kobe.jp", "*.kobe.jp"),
    ("*.xn--55qx5d.cn", "xn--55qx5d.cn"),  # which the list has in Chinese
    ("*.github.com", ""),
    ("*.*.github.com", ""),
    ("api-*.example.com", ""),
    ("*.example.co.uk", ""),
    ("*.www.ck", ""),  # !www.ck
    ("*.city.kobe.jp", ""),  # !city.kobe.jp
    ("*.corp.internal", ""),
    ("*.example?.com", "com"),  # some of which are anybody's
    ("*.????????.github.io", "github.io"),
    ("*.eu-?.example.com", ""),
    ("exam?le.com", "com"),  # and yet it may stand: it has no asterisk
    ("?.github.io", "github.io"),
]


@pytest.mark.parametrize(("pattern", "suffix"), REACH, ids=[row[0] for row in REACH])
def test_what_a_pattern_reaches(pattern: str, suffix: str) -> None:
    """A wildcard in a public suffix, or directly below one, is anybody's to register; further left it is not."""
    assert read_suffixes().reach_of(Pattern.parse(pattern)) == suffix


# exposure, and whether these pass
PATTERNS = ["a??.example.com", "?.github.io", "*.example.com", "*.github.io", "*.a?.github.io", "????????.github.io"]
EXPOSURES = [
    (Exposure.NONE, False, False, False, False, False, False),
    (Exposure.PROHIBIT_ASTERISK, True, True, False, False, False, False),
    (Exposure.PROHIBIT_PUBLIC_SUFFIX, True, True, True, False, False, False),
    (Exposure.NUCLEAR, True, True, True, True, True, True),
]


@pytest.mark.parametrize(("exposure", "passes"), [(row[0], row[1:]) for row in EXPOSURES])
def test_exposures(exposure: Exposure, passes: tuple[bool, ...]) -> None:
    """Each lets more pass than the one before."""
    guard = Guard(exposure, read_suffixes())

    objections = [guard.object_to(Pattern.parse(text)) for text in PATTERNS]

    assert tuple(objection is None for objection in objections) == passes


def test_a_refusal_names_the_suffix() -> None:
    """And what to do."""
    objection = Guard(suffixes=read_suffixes()).object_to(Pattern.parse("*.github.io"))

    assert objection == (
        "*.github.io reaches github.io, a public suffix by the Public Suffix List",
        "list each name that is needed, or put wildcards further left: anybody may get a name below github.io",
    )


def test_several_question_marks_are_judged_as_an_asterisk() -> None:
    """Or else a few rules would have every name that somebody may rent below a suffix, length by length."""
    guard = Guard(suffixes=read_suffixes())
    for text in ("++.com", "++++++++.github.io", "a++.github.io", "www.+a+.com", "++.++"):
        objection = guard.object_to(Pattern.parse(text))
        assert objection is not None, text
        assert "a public suffix" in objection.message
    for text in ("web-++.example.com", "++.++.example.com", "exam+le.com", "a+.b+.com", "++.www.ck"):
        assert guard.object_to(Pattern.parse(text)) is None, text


def test_without_the_list_no_asterisk_passes() -> None:
    """What cannot be judged is refused."""
    objection = Guard(suffixes=NO_SUFFIXES).object_to(Pattern.parse("*.example.com"))

    assert objection is not None
    assert "there is no Public Suffix List here" in objection.message
    assert Guard(suffixes=NO_SUFFIXES).object_to(Pattern.parse("a?.example.com")) is None


def test_the_list_s_own_words() -> None:
    """Comments, blank lines and what stands behind a space are no rules; it may state its version."""
    suffixes = parse_suffixes("// VERSION: 2026-01-02_03\n\n// com\nuk\nCO.UK  since 1985\n!www.ck\n*.ck\n", "else")

    assert (suffixes.version, len(suffixes)) == ("2026-01-02_03", 3)
    assert parse_suffixes("com", "else").version == "else"


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Debian's list is looked for."""
    monkeypatch.setattr(suffix_list, "DEBIAN", tmp_path / "list.dat")
    read_suffixes.cache_clear()
    yield tmp_path / "list.dat"
    read_suffixes.cache_clear()


def test_the_newer_list_wins(debian: Path) -> None:
    """Debian's has no version but the time of its file."""
    packaged = read_suffixes()
    assert packaged.version.startswith("20")
    debian.write_text("\n".join(f"s{number}" for number in range(6000)))
    for when, version in ((0, packaged.version), (4102444800, "2100-01-01, by its file")):
        os.utime(debian, (when, when))
        read_suffixes.cache_clear()
        assert read_suffixes().version == version


@pytest.mark.parametrize("octets", [b"", b"com\n", b"\xff\xfe"])
def test_a_broken_list_is_none(debian: Path, monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    """One that is cut short would let patterns pass that the whole one refuses."""
    debian.write_bytes(octets)
    monkeypatch.setattr(suffix_list, "PACKAGE", "no_such_package")

    assert read_suffixes() is NO_SUFFIXES
