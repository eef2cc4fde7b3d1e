"""Patterns: what they match, what they must not, and how they are written."""

import copy

import pytest

from appliance.errors import InvalidName
from appliance.policy.annotation import Allow, parse_description
from appliance.policy.fqdn import Fqdn
from appliance.policy.pattern import Pattern, label_matches
from appliance.policy.pattern_index import PatternIndex

# pattern, names it matches, names it does not
MATCHES = [
    ("*.example.com", ["www.example.com", "a-b.example.com", "xn--p1ai.example.com"],
     ["example.com", "a.b.example.com", "www.example.org", "wwwexample.com", "www.example.com.evil.test"]),
    ("api-*.example.com", ["api-1.example.com", "api-x-y.example.com"], ["api.example.com", "xapi-1.example.com"]),
    ("*-api.example.com", ["eu-api.example.com", "a-api-api.example.com"], ["api.example.com", "eu-apis.example.com"]),
    ("a*z.example.com", ["abz.example.com", "azz.example.com"], ["az.example.com", "aza.example.com"]),
    ("*a*b*.example.com", ["xaybz.example.com", "aaabbb.example.com"], ["xayb.example.com", "aybz.example.com"]),
    ("**.example.com", ["ab.example.com"], ["a.example.com", "a.b.example.com"]),
    ("??.example.com", ["ab.example.com"], ["a.example.com", "abc.example.com", "a.b.example.com"]),
    ("web?.example.com", ["web1.example.com", "webs.example.com"], ["web.example.com", "web12.example.com"]),
    ("?*.example.com", ["ab.example.com", "abc.example.com"], ["a.example.com"]),
    ("*.*.example.com", ["a.b.example.com"], ["b.example.com", "a.b.c.example.com"]),
    ("*.eu-?.example.com", ["a.eu-1.example.com"], ["a.eu.example.com", "a.eu-12.example.com"]),
    ("www.*.com", ["www.example.com"], ["www.a.b.com", "www.com"]),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "good", "bad"), MATCHES, ids=[row[0] for row in MATCHES])
def test_matches(pattern: str, good: list[str], bad: list[str]) -> None:
    """A wildcard stands for characters of one label; the index says the same as the pattern."""
    parsed = Pattern.parse(pattern)
    others = {Pattern.parse(row[0]): row[0] for row in MATCHES}
    for name in map(Fqdn.parse, good):
        assert parsed.matches(name)
        assert (parsed, pattern) in PatternIndex(others).find(name)
    for name in map(Fqdn.parse, bad):
        assert not parsed.matches(name)
        assert not PatternIndex({parsed: None}).matches(name)


def test_one_form() -> None:
    """Case, a dot at the end, and AWS's spelling of `?` make no other pattern; it travels between processes."""
    pattern = Pattern.parse("WEB-++.*.Example.COM.")

    assert str(pattern) == "web-??.*.example.com"
    assert pattern == Pattern.parse("web-??.*.example.com")
    assert copy.copy(pattern) == pattern  # as pickle does it
    assert pattern.has_any
    assert not Pattern.parse("a?.example.com").has_any


BAD = [
    ("example.com", "has no wildcard", "as a name"),
    ("*", "is a single label, and no wildcard stands for a dot", "see-thru"),
    ("*.a..com", "has an empty label", "one dot"),
    ("-*.com", "has the label '-x'", "neither begins"),
    ("*" + "a" * 63 + ".com", "has a label of 64 characters", "63"),
    ("*.192", "ends in a number", "no top-level domain"),
    ("*.a.com:443", "has a port", "alone"),
    ("*.a.com/x", "has a path", "alone"),
    ("*." + "a." * 130 + "com", "characters long", "253"),
]


@pytest.mark.parametrize(("text", "message", "hint"), BAD, ids=[row[0][:20] for row in BAD])
def test_what_is_no_pattern(text: str, message: str, hint: str) -> None:
    """It is refused with the reason that a name would be."""
    with pytest.raises(InvalidName) as caught:
        Pattern.parse(text)

    assert message in caught.value.message
    assert hint in caught.value.hint


def test_work_for_a_label_is_bounded() -> None:
    """The worst label for the worst glob: a program of backtracking would not come back."""
    assert not label_matches("*a" * 31 + "b", "a" * 63)


def test_patterns_in_an_annotation() -> None:
    """They have their place, without repetitions, among names; a list goes on behind a space with them as well."""
    (allow,) = parse_description("discriminat:tls:*.a.com,b.com,A+.c.com,*.a.com.").annotations
    assert isinstance(allow, Allow)
    assert allow.names == (Fqdn.parse("b.com"),)
    assert allow.patterns == ((Pattern.parse("*.a.com"), (16, 23)), (Pattern.parse("a?.c.com"), (30, 38)))
    fault = parse_description("discriminat:tls:a.com, *.b.com").faults[0]
    assert fault.hint == "write discriminat:tls:a.com,*.b.com"


def test_the_one_that_says_more_comes_first() -> None:
    """Of several that match; the alphabet decides between equals."""
    texts = ["*.example.com", "w*.example.com", "ww?.example.com", "*w.example.com"]
    index = PatternIndex({Pattern.parse(text): None for text in texts})

    found = [str(pattern) for pattern, _ in index.find(Fqdn.parse("www.example.com"))]

    assert found == ["ww?.example.com", "*w.example.com", "w*.example.com", "*.example.com"]
    assert len(index) == 4
    assert index == PatternIndex({Pattern.parse(text): None for text in reversed(texts)})
