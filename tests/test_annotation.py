"""Annotations: what a description grants, and what is said about the rest of it."""

from datetime import date

import pytest

from appliance.policy.annotation import Allow, Description, Fault, Protocol, SeeThru, parse_description
from appliance.policy.fqdn import Fqdn

Annotation = Allow | SeeThru


def tls(*names: str) -> Allow:
    return Allow(Protocol.TLS, tuple(map(Fqdn.parse, names)))


def ssh(*names: str) -> Allow:
    return Allow(Protocol.SSH, tuple(map(Fqdn.parse, names)))


def see_thru(text: str) -> SeeThru:
    return SeeThru(date.fromisoformat(text))


GOOD = [
    # description, annotations
    ("", []),
    ("to the database", []),
    ("discriminat:tls:api.example.com", [tls("api.example.com")]),
    ("discriminat:tls:a.com,b.com,c.com", [tls("a.com", "b.com", "c.com")]),
    ("discriminat:ssh:git.example.com", [ssh("git.example.com")]),
    ("discriminat:see-thru:2027-01-05", [see_thru("2027-01-05")]),
    ("discriminat:see-thru:2028-02-29", [see_thru("2028-02-29")]),  # a leap year
    # case means nothing anywhere
    ("DiscrimiNAT:TLS:API.Example.com", [tls("api.example.com")]),
    ("DISCRIMINAT:See-Thru:2027-01-05", [see_thru("2027-01-05")]),
    # other text around it
    ("payments discriminat:tls:a.com owner=jo #42", [tls("a.com")]),
    ("  discriminat:tls:a.com\t", [tls("a.com")]),
    ("a: b, c. (d) e=f; discriminat:tls:a.com", [tls("a.com")]),
    # several
    ("discriminat:tls:a.com discriminat:ssh:b.com", [tls("a.com"), ssh("b.com")]),
    ("discriminat:tls:a.com x discriminat:tls:b.com", [tls("a.com"), tls("b.com")]),
    ("discriminat:see-thru:2027-01-05 discriminat:tls:a.com", [see_thru("2027-01-05"), tls("a.com")]),
    # names
    ("discriminat:tls:a.com.,b.com.", [tls("a.com", "b.com")]),
    ("discriminat:tls:a.com,A.COM,a.com.", [tls("a.com")]),  # a repetition is no fault
    ("discriminat:tls:_x.a_b.com", [tls("_x.a_b.com")]),
    ("discriminat:tls:xn--bcher-kva.example", [tls("xn--bcher-kva.example")]),
    # prose that only mentions us
    ("allowed by discriminat", []),
    ("discriminat, discriminat. (discriminat) discriminatory", []),
    ("managed by discriminat/terraform", []),
    ("tls:a.com ssh:b.com", []),
    ("https://wiki.example.com/tls:setup", []),
    ("a,b c=d e:f", []),
]

# Each fault is the text it points at, its message and its hint; the last column is what is granted all the same.
BAD = [
    # the protocol
    (
        "discriminat:tsl:a.com",
        [("tsl", "'tsl' is unknown, want tls, ssh or see-thru", "write discriminat:tls:a.com")],
        [],
    ),
    ("discriminat:https:a.com", [("https", "'https' is unknown", "write discriminat:tls:a.com")], []),
    ("discriminat:sftp:a.com", [("sftp", "'sftp' is unknown", "write discriminat:ssh:a.com")], []),
    ("discriminat:tlss:a.com", [("tlss", "'tlss' is unknown", "write discriminat:tls:a.com")], []),
    ("discriminat:seethru:2027-01-05", [("seethru", "unknown", "write discriminat:see-thru:2027-01-05")], []),
    ("discriminat:see-through:2027-01-05", [("see-through", "unknown", "write discriminat:see-thru:2027-01-05")], []),
    ("discriminat:http:a.com", [("http", "'http' is unknown", "only TLS and SSH can be allowed by name")], []),
    ("discriminat:a.com,b.com", [("a.com,b.com", "unknown", "write discriminat:tls:a.com,b.com")], []),
    ("discriminat:bypass:a.com", [("bypass", "'bypass' is unknown", "write discriminat:tls:, then the names")], []),
    ("discriminat::tls:a.com", [("discriminat::tls:a.com", "incomplete", "write discriminat:tls:, then")], []),
    ("DiscrimiNAT: egress", [("DiscrimiNAT:", "incomplete", "write discriminat:tls:, then the names")], []),
    # lists
    ("discriminat:tls:", [(":", "the list is empty", "write at least one name: discriminat:tls:api.example.com")], []),
    ("discriminat:ssh", [("h", "the list is empty", "write at least one name: discriminat:ssh:api.example.com")], []),
    ("discriminat:tls:a.com,", [(",", "the name is empty", "remove the extra comma")], [tls("a.com")]),
    ("discriminat:tls:a.com, and so on", [(",", "the name is empty", "remove the extra comma")], [tls("a.com")]),
    ("discriminat:tls:,a.com", [(":", "the name is empty", "remove the extra comma")], [tls("a.com")]),
    ("discriminat:tls:a.com,,b.com", [(",", "the name is empty", "extra comma")], [tls("a.com", "b.com")]),
    ("discriminat:tls:a.com;b.com", [("a.com;b.com", "has the character ';'", "separate names with a comma")], []),
    # white space
    (
        "discriminat:tls:a.com, b.com",
        [("b.com", "there is a space inside the list", "write discriminat:tls:a.com,b.com")],
        [tls("a.com")],
    ),
    (
        "x discriminat:tls:a.com, b.com ,c.com , d.com for jo",
        [("b.com ,c.com , d.com", "there is a space", "write discriminat:tls:a.com,b.com,c.com,d.com")],
        [tls("a.com")],
    ),
    ("discriminat:tls: a.com", [("a.com", "there is a space inside the list", "write discriminat:tls:a.com")], []),
    (
        "discriminat: tls:a.com",
        [("discriminat: tls:a.com", "there is a space inside the annotation", "write discriminat:tls:a.com")],
        [],
    ),
    ("discriminat :tls:a.com", [(":tls:a.com", "looks like an annotation", "write discriminat:tls:a.com")], []),
    (
        "discriminat:tls:a.com,\u00a0b.com",  # a no-break space separates nothing
        [("\u00a0b.com", "outside ASCII", "xn--")],
        [tls("a.com")],
    ),
    # names
    (
        "discriminat:ssh:*.a.com,b.com",
        [("*.a.com", "is a pattern, which ssh cannot have", "SSH carries no name")],
        [ssh("b.com")],
    ),
    ("discriminat:tls:a.com+b.com", [("a.com+b.com", "has the character '+'", "with a comma")], []),
    ("discriminat:tls:*.a.com+b.com", [("*.a.com+b.com", "is a pattern, not a name", "with a comma")], []),
    ("discriminat:tls:web-+", [("web-+", "is a single label", "list the names")], []),
    ("discriminat:tls:web-++..a.com", [("web-++..a.com", "empty label", "one dot")], []),
    ("discriminat:tls:*.-a.com", [("*.-a.com", "is not a pattern of names", "begins nor ends")], []),
    ("discriminat:tls:*", [("*", "is a single label, and no wildcard stands for a dot", "see-thru")], []),
    ("discriminat:tls:192.0.2.1", [("192.0.2.1", "is an address", "write the name")], []),
    ("discriminat:tls:2001:db8::1", [("2001:db8::1", "is an address", "write the name")], []),
    ("discriminat:tls:https://a.com/x", [("https://a.com/x", "is a URL", "write the name alone: a.com")], []),
    ("discriminat:tls:a.com:443,b.com", [("a.com:443", "has a port", "write the name alone: a.com")], [tls("b.com")]),
    ("discriminat:tls:localhost", [("localhost", "single label", "localhost.example.com")], []),
    ("discriminat:tls:a.com!", [("a.com!", "has the character '!'", "letters")], []),
    (
        "discriminat:tls:a.com,discriminat:ssh:b.com",
        [("discriminat:ssh:b.com", "an annotation inside the list", "put a space between two annotations")],
        [tls("a.com")],
    ),
    (
        "discriminat:tls:a..com,b.com,-c.com discriminat:ssh:d.com,e",  # every fault is told, every neighbour counts
        [("a..com", "empty label", "one dot"), ("-c.com", "the label '-c'", "neither"), ("e", "single label", "e.")],
        [tls("b.com"), ssh("d.com")],
    ),
    # dates
    ("discriminat:see-thru:", [(":", "the date is missing", "write the last day of see-thru")], []),
    ("discriminat:see-thru", [("u", "the date is missing", "write the last day of see-thru")], []),
    ("discriminat:see-thru:2027-1-5", [("2027-1-5", "not a date as YYYY-MM-DD", "write 2027-01-05")], []),
    ("discriminat:see-thru:2027/01/05", [("2027/01/05", "not a date", "write 2027-01-05")], []),
    ("discriminat:see-thru:20270105", [("20270105", "not a date", "write 2027-01-05")], []),
    ("discriminat:see-thru:2027-01-05.", [("2027-01-05.", "not a date", "write 2027-01-05")], []),
    ("discriminat:see-thru:05-01-2027", [("05-01-2027", "not a date", "such as 2027-01-31")], []),
    ("discriminat:see-thru:2027-13-5", [("2027-13-5", "not a date", "such as 2027-01-31")], []),
    ("discriminat:see-thru:forever", [("forever", "not a date", "such as 2027-01-31")], []),
    ("discriminat:see-thru:2027-W01-5", [("2027-W01-5", "not a date", "such as 2027-01-31")], []),
    ("discriminat:see-thru:2027-02-29", [("2027-02-29", "is not in the calendar", "2027-02-28")], []),
    ("discriminat:see-thru:2027-04-31", [("2027-04-31", "is not in the calendar", "2027-04-30")], []),
    ("discriminat:see-thru:2027-13-01", [("2027-13-01", "is not in the calendar", "year, month and day")], []),
    ("discriminat:see-thru:0000-01-01", [("0000-01-01", "is not in the calendar", "year, month and day")], []),
    # near misses
    ("discrimnat:tls:a.com", [("discrimnat:tls:a.com", "looks like", "write discriminat:tls:a.com")], []),
    ("descriminate:ssh:a.com", [("descriminate:ssh:a.com", "looks like", "write discriminat:ssh:a.com")], []),
    ("discriminate:TLS:a.com", [("discriminate:TLS:a.com", "looks like", "write discriminat:tls:a.com")], []),
    ("discriminat=tls=a.com", [("discriminat=tls=a.com", "looks like", "write discriminat:tls:a.com")], []),
    ("discriminat-tls:a.com", [("discriminat-tls:a.com", "looks like", "write discriminat:tls:a.com")], []),
    ("discriminat=a.com", [("discriminat=a.com", "looks like", "write discriminat:tls:, then")], []),
    (
        "discriminаt:tls:a.com",
        [("discriminаt:tls:a.com", "looks like", "discriminat:tls:a.com")],
        [],
    ),  # a Cyrillic letter
    ("(discriminat:tls:a.com)", [("(discriminat:tls:a.com)", "looks like", "put a space in front")], []),
    ("x,discriminat:tls:a.com", [("x,discriminat:tls:a.com", "looks like", "put a space in front")], []),
]


@pytest.mark.parametrize(("text", "annotations"), GOOD)
def test_what_is_written_well_is_understood(text: str, annotations: list[Annotation]) -> None:
    """A description with nothing wrong in it gives its annotations and no fault."""
    assert Description(tuple(annotations), ()) == parse_description(text)


@pytest.mark.parametrize(("text", "faults", "annotations"), BAD)
def test_what_is_written_badly_is_explained(
    text: str, faults: list[tuple[str, str, str]], annotations: list[Annotation]
) -> None:
    """Each fault is reported with its place and a correction; what is written well beside it counts."""
    description = parse_description(text)

    assert tuple(annotations) == description.annotations
    assert [place for place, _, _ in faults] == [text[slice(*fault.span)] for fault in description.faults]
    for (_, message, hint), fault in zip(faults, description.faults, strict=True):
        assert message in fault.message
        assert hint in fault.hint
        assert text == fault.text


@pytest.mark.parametrize(("text", "faults", "annotations"), BAD)
def test_a_correction_that_is_spelled_out_is_correct(
    text: str, faults: list[tuple[str, str, str]], annotations: list[Annotation]
) -> None:
    """Whoever copies a whole annotation out of a hint gets no new fault from it."""
    for fault in parse_description(text).faults:
        correction = fault.hint.removeprefix("write ")
        if fault.hint.startswith("write discriminat:") and ", then" not in fault.hint:
            assert parse_description(correction).annotations
            assert not parse_description(correction).faults


def test_an_annotation_knows_its_place() -> None:
    """An annotation's span covers the whole of it, and is no part of its value."""
    text = "for jo discriminat:tls:a.com #1"
    (annotation,) = parse_description(text).annotations

    assert text[slice(*annotation.span)] == "discriminat:tls:a.com"
    assert annotation == tls("a.com")


def test_a_fault_is_rendered_with_its_place() -> None:
    """The rendered fault underlines what it is about, and ends with what to do."""
    (fault,) = parse_description("egress discriminat:tsl:api.example.com").faults

    assert fault.render().splitlines() == [
        "'tsl' is unknown, want tls, ssh or see-thru",
        "    egress discriminat:tsl:api.example.com",
        "                       ~~~",
        "hint: write discriminat:tls:api.example.com",
    ]


def test_a_rendered_fault_is_safe_to_print() -> None:
    """Nothing in a description can move the cursor of the terminal that shows it."""
    rendered = Fault("message", "", "\x1b[2Jdiscriminat:\u202ex", (4, 5)).render()

    assert rendered.splitlines() == ["message", "    ?[2Jdiscriminat:?x", "        ~"]


@pytest.mark.parametrize("end_of_line", ["\x1c", "\x85", "\u2028"])
def test_a_hint_that_repeats_a_text_stays_on_its_line(end_of_line: str) -> None:
    """What ends a line to Python is no space to an annotation, and may stand inside a word."""
    (fault,) = parse_description(f"discriminat=tls:a.com{end_of_line}hint: all is well").faults[:1]

    assert fault.render().splitlines()[-1] == "hint: write discriminat:tls:a.com?hint:"


def test_a_full_description_of_names_is_read_whole() -> None:
    """All of the 255 characters that AWS allows can be names."""
    names = [f"{letter}{letter}.example.com" for letter in "abcdefghijklmno"]
    text = "discriminat:tls:" + ",".join(names)

    assert len(text) <= 255
    assert (tls(*names),) == parse_description(text).annotations
