"""Laws of the preferences: what holds for every text."""

import json
from datetime import date

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from appliance.address import Ipv4, Network
from appliance.policy.exposure import Exposure
from appliance.policy.preferences import (
    DEFAULTS,
    PROBLEMS_MAX,
    Crls,
    Ech,
    Gating,
    Preferences,
    Verbosity,
    diff_preferences,
    parse_preferences,
    preferences_schema,
)

VALIDATOR = Draft202012Validator(preferences_schema(), format_checker=FormatChecker(["date"]))

NETWORKS = st.builds(
    lambda address, length: Network.parse(str(Network(Ipv4(address), length))),
    st.integers(0, 2**32 - 1),
    st.integers(8, 32),
)
PRIVATE = st.sampled_from(["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "10.1.2.3/32"]).map(
    Network.parse
)
HOSTS = st.sampled_from(["pki.example.com", "pki.example.com/CertEnroll", "a.b.example/x/y.z"])
PREFERENCES = st.builds(
    Preferences,
    flow_log_verbosity=st.sampled_from(Verbosity),
    see_thru=st.none() | st.dates(date(2020, 1, 1), date(2099, 12, 31)),
    ech=st.sampled_from(Ech),
    clients=st.lists(NETWORKS, max_size=4, unique=True).map(tuple),
    syn_gate=st.sampled_from(Gating),
    wildcard_exposure=st.sampled_from(Exposure),
    x509_crls=st.sampled_from(Crls),
    x509_crl_hosts=st.lists(HOSTS, max_size=4, unique=True).map(tuple),
    private_destinations=st.lists(PRIVATE, max_size=4, unique=True).map(tuple),
    grace=st.none() | st.floats(0, 604800),
    policy_poll_interval=st.none() | st.floats(1, 600),
    preferences_interval=st.none() | st.integers(1, 600).map(float),
)
WORDS = st.sampled_from(
    [
        *(*Verbosity, *Ech, *Gating, *Exposure, *Crls),
        *("2027-01-31", "2027-02-29", "2028-02-29", "2027-1-5", "0000-01-01", "2027-13-01", "20270131"),
        *("10.0.0.0/8", "10.0.0.0/7", "10.0.0.0/08", "10.0.0.256/24", "10.0.0.0", "192.168.1.1/32", "::/0", ""),
        *("100.64.0.0/10", "100.127.9.9/32", "100.128.0.0/10", "100.64.0.0/9", "172.31.0.0/12", "172.32.0.0/12"),
        *(
            "pki.example.com",
            "PKI.example.com./CertEnroll/",
            "pki.example.com/",
            "pki.example.com//",
            "*.example.com/a",
        ),
        *("example", "a.1", "a.0x/b", "a.b/..", "a.b/c/./d", "a.b/c?d", "a.b:80/c", "a.b/" + "c" * 101 + "/"),
        *("a.b/" + "c" * 100 + "/", "a." + "b" * 64, "http://a.b/c", "a_b.c-d/e~f-g.h/i", "-a.b", "a.b/c%20d"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
NUMBERS = st.sampled_from([0, 0.5, 1, 599.5, 600, 600.5, 604800, 604801, -1, 1e300])
KEYS = st.sampled_from([*Preferences.__slots__, "see-thru", "ECH"])
PROFILES = st.dictionaries(KEYS, WORDS | NUMBERS | st.lists(WORDS, max_size=3) | JSON, max_size=5)
DOCUMENTS = st.dictionaries(st.sampled_from(["%default", "web"]), PROFILES | JSON, max_size=2)


@given(st.text() | JSON.map(json.dumps) | DOCUMENTS.map(json.dumps), PREFERENCES)
def test_no_text_is_too_odd(text: str, previous: Preferences) -> None:
    """Whatever it is, the answer is preferences; a fault is reported, and what it is about stays as it was."""
    preferences, problems = parse_preferences(text, previous)

    assert len(problems) <= PROBLEMS_MAX + 1
    for problem in problems:
        assert len(problem.change.reason) < 700
        assert problem.change.reason.isprintable()
        if problem.key in Preferences.__slots__:
            assert getattr(preferences, problem.key) == getattr(previous, problem.key)
        elif not problem.is_warning:
            assert preferences == previous


@given(DOCUMENTS)
def test_the_schema_and_the_reader_agree(document: object) -> None:
    """What the schema accepts is taken without a word, and nothing else is."""
    _, problems = parse_preferences(json.dumps(document), DEFAULTS)

    assert VALIDATOR.is_valid(document) == (not problems)


OCTETS = st.integers(0, 256) | st.sampled_from([0, 16, 31, 64, 127, 168])
BLOCKS = st.builds(
    "{}.{}.{}.{}/{}".format, st.sampled_from([9, 10, 100, 172, 192]), OCTETS, OCTETS, OCTETS, st.integers(0, 33)
)


@given(BLOCKS)
@example("10.9.0.0/16")
@example("10.000/8")
@example("100.64.0.0/10")
@example("172.31.255.255/32")
@example("192.168.1.0/24")
def test_the_schema_and_the_reader_agree_on_private_networks(block: str) -> None:
    """But for the bits of a host, which no expression of a schema can forbid."""
    document = {"%default": {"private_destinations": [block]}}
    _, problems = parse_preferences(json.dumps(document), DEFAULTS)
    is_taken = not [problem for problem in problems if "host" not in problem.change.reason]

    assert VALIDATOR.is_valid(document) == is_taken


@given(PREFERENCES, PREFERENCES)
def test_differences_are_told_and_nothing_else(old: Preferences, new: Preferences) -> None:
    """As many keys as have changed, each once."""
    changes = [change for change in diff_preferences(old, new) if change.cat == "preferences"]
    changed = [key for key in Preferences.__slots__ if getattr(old, key) != getattr(new, key)]

    assert [change.reason.partition(":")[0] for change in changes] == changed
