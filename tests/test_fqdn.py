"""Domain names."""

import pickle

import pytest

from appliance.errors import InvalidName
from appliance.policy.fqdn import LABEL_MAX, NAME_MAX, Fqdn

LONGEST_LABEL = "a" * LABEL_MAX
LONGEST_NAME = ".".join([LONGEST_LABEL] * 3 + ["b" * (NAME_MAX - 3 * (LABEL_MAX + 1))])

NAMES = [
    # text                       name
    ("example.com", "example.com"),
    ("API.Example.COM", "api.example.com"),  # RFC 4343
    ("api.example.com.", "api.example.com"),  # the root dot
    ("a.b", "a.b"),
    ("3com.com", "3com.com"),  # RFC 1123: may begin with a digit
    ("1.2.3.4.example.com", "1.2.3.4.example.com"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),  # A-label
    ("r3---sn-4g5e6nz7.example.com", "r3---sn-4g5e6nz7.example.com"),  # R-LDH
    ("_dmarc.example.com", "_dmarc.example.com"),
    ("my_bucket.s3.example.com", "my_bucket.s3.example.com"),
    ("example.xn--p1ai", "example.xn--p1ai"),
    ("example.c0m", "example.c0m"),
    ("example.0xyz", "example.0xyz"),  # not hexadecimal
    (f"{LONGEST_LABEL}.com", f"{LONGEST_LABEL}.com"),
    (LONGEST_NAME, LONGEST_NAME),
    (f"{LONGEST_NAME}.", LONGEST_NAME),
]

NOT_NAMES = [
    # text, what the message says, what the hint says
    ("", "is empty", "write the name"),
    (".", "is empty", "write the name"),
    ("bücher.example", "outside ASCII", "xn--"),
    ("\u212aelvin.example", "outside ASCII", "xn--"),  # KELVIN SIGN, which lower-cases to k
    ("ſsh.example", "outside ASCII", "xn--"),  # LONG S, which upper-cases to S
    ("example\u3002com", "outside ASCII", "xn--"),  # IDEOGRAPHIC FULL STOP
    (f"{LONGEST_NAME}c", "254 characters", "253"),
    ("a." * 5000 + "com", "10003 characters", "253"),
    ("https://api.example.com/v1?key=a", "is a URL", "write the name alone: api.example.com"),
    ("ssh://git@example.com:22/x", "is a URL", "write the name alone: example.com"),
    ("://x", "has a port", "write the name alone"),
    ("192.0.2.1", "is an address", "write the name"),
    ("192.0.2.0/24", "is an address", "destination"),
    ("0x7f.1", "is an address", "write the name"),
    ("2001:db8::1", "is an address", "write the name"),
    ("[2001:db8::1]", "is an address", "write the name"),
    ("2001:db8::/32", "is an address", "write the name"),
    ("*.example.com", "is a pattern, not a name", "such as www.example.com"),
    ("*", "is a pattern, not a name", "such as www.example.com"),
    ("api-*.example.com", "is a pattern, not a name", "such as www.example.com"),
    ("api?.example.com", "is a pattern, not a name", "such as www.example.com"),
    ("example.com:443", "has a port", "write the name alone: example.com; the port is the rule's own"),
    ("user@example.com:443", "has a port", "write the name alone: example.com"),
    ("example.com/path", "has a path", "write the name alone: example.com"),
    ("exam ple.com", "has the character ' '", "letters, digits"),
    ("example.com\n", r"has the character '\n'", "letters, digits"),
    ("exam\0ple.com", r"has the character '\x00'", "letters, digits"),
    ("user@example.com", "has the character '@'", "letters, digits"),
    ("example..com", "empty label", "one dot"),
    (".example.com", "empty label", "none in front"),
    ("example.com..", "empty label", "one dot"),
    (f"{LONGEST_LABEL}a.com", "label of 64 characters", "63"),
    ("-a.example.com", "has the label '-a'", "neither begins nor ends"),
    ("a-.example.com", "has the label 'a-'", "neither begins nor ends"),
    ("example.-com", "has the label '-com'", "neither begins nor ends"),
    ("localhost", "single label", "localhost.example.com"),
    ("com.", "single label", "com.example.com"),
    ("1234", "single label", "full name"),
    ("example.1", "ends in a number", "top-level"),
    ("example.0x1f", "ends in a number", "top-level"),
    ("192.0.2.1.", "ends in a number", "top-level"),
    ("192.0.2.com.256", "ends in a number", "top-level"),
]


@pytest.mark.parametrize(("text", "name"), NAMES)
def test_name_is_normalised(text: str, name: str) -> None:
    """A name is held in lower case, without the root dot, as labels."""
    assert Fqdn(tuple(name.split("."))) == Fqdn.parse(text)
    assert name == str(Fqdn.parse(text))


@pytest.mark.parametrize(("text", "message", "hint"), NOT_NAMES)
def test_what_is_no_name_is_explained(text: str, message: str, hint: str) -> None:
    """A refusal says what is wrong and what to do, in a line of bounded length."""
    with pytest.raises(InvalidName) as caught:
        Fqdn.parse(text)

    assert message in caught.value.message
    assert hint in caught.value.hint
    assert len(caught.value.message) < 200
    assert len(caught.value.hint) < 320


@pytest.mark.parametrize("text", ["bücher.example", "t\u0430rget.example", "target\u3002example"])
def test_a_u_label_is_refused_and_its_author_told_of_a_labels(text: str) -> None:
    """Nothing is converted: what is listed is what DNS and hellos say, and mixed scripts are another name (N13)."""
    with pytest.raises(InvalidName) as caught:
        Fqdn.parse(text)

    assert "xn--" in caught.value.hint
    assert Fqdn.parse("xn--trget-4ve.example") != Fqdn.parse("target.example")


def test_names_are_values() -> None:
    """Equal names are equal keys, sort by their labels, and survive pickling."""
    name = Fqdn.parse("api.example.com")

    assert name == Fqdn.parse("API.example.com.")
    assert {name: 1} == {Fqdn.parse("API.example.com."): 1}
    assert name != Fqdn.parse("api.example.org")
    assert [Fqdn.parse("a.z"), Fqdn.parse("b.a")] == sorted([Fqdn.parse("b.a"), Fqdn.parse("a.z")])
    assert name == pickle.loads(pickle.dumps(name))  # noqa: S301 (our own octets)


def test_a_name_is_its_labels() -> None:
    """Two names whose dotted texts would be alike are different: nothing joins labels before comparing."""
    assert Fqdn(("a.b", "com")) != Fqdn(("a", "b", "com"))
