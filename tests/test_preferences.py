"""Preferences: what a document means, what is said of its faults, and what stays in force then."""

import json
import pickle
from datetime import date

import pytest

from appliance.address import Network
from appliance.policy.exposure import Exposure
from appliance.policy.policy import Change, SeeThruGrant
from appliance.policy.preferences import (
    DEFAULTS,
    PROBLEMS_MAX,
    TEXT_MAX,
    Crls,
    Ech,
    Gating,
    Preferences,
    Verbosity,
    diff_preferences,
    parse_preferences,
    state_preferences,
)

DAY = date(2027, 1, 31)
NETWORK = Network.parse("10.1.0.0/16")
SET = Preferences(  # but for the last two, nothing is as it is by default
    flow_log_verbosity=Verbosity.NONE,
    see_thru=DAY,
    ech=Ech.ALLOW,
    clients=(NETWORK,),
    private_destinations=(NETWORK,),
    grace=60.0,
    policy_poll_interval=2.5,
    preferences_interval=1.0,
    syn_gate=Gating.OFF,
    x509_crls=Crls.IGNORE,
)


def document(**values: object) -> str:
    return json.dumps({"%default": values})


def faults(text: str, previous: Preferences = DEFAULTS) -> tuple[Preferences, list[str]]:
    """Return what is in force, and the reasons that the config log gives."""
    preferences, problems = parse_preferences(text, previous)
    return preferences, [problem.change.reason for problem in problems]


TAKEN = [
    # values                                             preferences
    ({},                                                 DEFAULTS),
    ({"flow_log_verbosity": "full"},                     DEFAULTS),
    ({"flow_log_verbosity": "only_disallowed"},          Preferences(flow_log_verbosity=Verbosity.ONLY_DISALLOWED)),
    ({"flow_log_verbosity": "none"},                     Preferences(flow_log_verbosity=Verbosity.NONE)),
    ({"see_thru": None},                                 DEFAULTS),
    ({"see_thru": "2027-01-31"},                         Preferences(see_thru=DAY)),
    ({"ech": "deny"},                                    DEFAULTS),
    ({"ech": "allow"},                                   Preferences(ech=Ech.ALLOW)),
    ({"wildcard_exposure": "none"},                      Preferences(wildcard_exposure=Exposure.NONE)),
    ({"wildcard_exposure": "nuclear"},                   Preferences(wildcard_exposure=Exposure.NUCLEAR)),
    ({"syn_gate": "on"},                                 Preferences(syn_gate=Gating.ON)),
    ({"x509_crls": "ignore"},                            DEFAULTS),
    ({"x509_crls": "allow"},                             Preferences(x509_crls=Crls.ALLOW)),
    ({"clients": []},                                    DEFAULTS),
    ({"clients": ["10.1.2.3/16", "10.1.0.0/16"]},        Preferences(clients=(NETWORK,))),
    ({"clients": ["10.0.0.0/8", "10.0.0.1/32"]},
     Preferences(clients=(Network.parse("10.0.0.0/8"), Network.parse("10.0.0.1/32")))),
]  # fmt: skip


@pytest.mark.parametrize(("values", "preferences"), TAKEN)
def test_what_a_document_means(values: dict[str, object], preferences: Preferences) -> None:
    """A key that is absent has its default, whatever was in force before."""
    assert parse_preferences(document(**values), SET) == (preferences, ())


def test_nothing_is_open_by_default() -> None:
    """No see-thru, no hidden names, no further clients, every flow in the log; the SYN gate is for who asks for it."""
    assert Preferences(Verbosity.FULL, None, Ech.DENY, (), Gating.OFF) == DEFAULTS


WORDS = 'write "full", "only_disallowed" or "none"'
LIST = 'write a list of CIDR blocks, such as ["10.1.0.0/16"]'
BAD = [
    # key                   value                    what is said
    ("flow_log_verbosity",  "Full",                  f'"Full" is not a choice, and "none" stays in force; {WORDS}'),
    ("flow_log_verbosity",  None,                    f'null is not a choice, and "none" stays in force; {WORDS}'),
    ("flow_log_verbosity",  ["full"],                f'["full"] is not a choice, and "none" stays in force; {WORDS}'),
    ("see_thru",            "2027-2-1",              'and "2027-01-31" stays in force; write 2027-02-01'),
    ("see_thru",            "2027-02-30",            "the last day of that month is 2027-02-28"),
    ("see_thru",            "2027-01-31\n",          "is not a day of the calendar, as YYYY-MM-DD"),
    ("see_thru",            "tomorrow",              "such as 2027-01-31"),
    ("see_thru",            20270131,                'write the last day, such as "2027-01-31", or null'),
    ("see_thru",            False,                   'write the last day, such as "2027-01-31", or null'),
    ("ech",                 True,                    'true is not a choice, and "allow" stays in force'),
    ("wildcard_exposure",   "*",                     'and "prohibit_public_suffix" stays in force'),
    ("syn_gate",            True,                    'true is not a choice, and "off" stays in force'),
    ("x509_crls",           "permit",                '"permit" is not a choice, and "ignore" stays in force'),
    ("ech",                 "",                      'write "deny" or "allow"'),
    ("clients",             "10.1.0.0/16",           f'is not a list, and ["10.1.0.0/16"] stays in force; {LIST}'),
    ("clients",             None,                    f'null is not a list, and ["10.1.0.0/16"] stays in force; {LIST}'),
    ("clients",             [10],                    LIST),
    ("clients",             ["10.2.0.0/16", "ten"],  "has an item that is not a network: 'ten'"),
    ("clients",             ["10.1.0.10"],           "write an address and a prefix length"),
    ("clients",             ["2001:db8::/32"],       "'2001:db8::/32'"),
    ("clients",             ["0.0.0.0/0"],           "wider than /8: '0.0.0.0/0'"),
    ("private_destinations", ["169.254.0.0/16"],     "has a network that is not private: 169.254.0.0/16"),
    ("private_destinations", ["127.0.0.0/8"],        "has a network that is not private: 127.0.0.0/8"),
    ("private_destinations", ["203.0.113.0/24"],     "write networks in 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12"),
    ("private_destinations", ["172.16.0.0/11"],      "has a network that is not private: 172.0.0.0/11"),
    ("grace",               "1h",                    '"1h" is not a number, and 60 stays in force'),
    ("grace",               True,                    "is not a number"),
    ("grace",               -1,                      "write a number of seconds, 0 to 604800, or null"),
    ("grace",               604801,                  "is out of bounds"),
    ("policy_poll_interval", 0,                      "write a number of seconds, 1 to 600, or null"),
    ("policy_poll_interval", float("nan"),           "is out of bounds"),
    ("preferences_interval", 601,                    "is out of bounds, and 1 stays in force"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "said"), BAD)
def test_a_bad_value_keeps_the_one_before_it(key: str, value: object, said: str) -> None:
    """It is reported with its key and what to write; the other keys count."""
    other = "flow_log_verbosity" if key != "flow_log_verbosity" else "ech"
    fine = {"flow_log_verbosity": "only_disallowed", "ech": "deny"}[other]

    preferences, problems = parse_preferences(document(**{key: value, other: fine}), SET)

    assert getattr(preferences, key) == getattr(SET, key)
    assert getattr(preferences, other) == fine
    [problem] = problems
    assert (problem.key, problem.value, problem.is_warning) == (key, json.dumps(value), False)
    assert problem.change.outcome == "rejected"
    assert problem.change.reason.startswith(f"preferences: {key} {json.dumps(value)} ")
    assert said in problem.change.reason


SHAPE = 'write {"%default": {...}}'
NO_DOCUMENT = [
    # text                                        what is said
    ("",                                          "the text is not JSON"),
    ("{'%default': {}}",                          "the text is not JSON"),
    ("[]",                                        "not a JSON object but []"),
    ("null",                                      "not a JSON object but null"),
    ("{}",                                        "there is no %default"),
    ('{"%default": null}',                        "there is no %default"),
    ('{"%default": ["ech"]}',                     '["ech"] is no JSON object as %default'),
    ('{"default": {"ech": "allow"}}',             "there is no %default"),
    ("[" * 5000,                                  "nested too deeply"),
    ('{"%default": {"see_thru": ' + "1" * 5000 + "}}", "thousands of digits"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), NO_DOCUMENT)
def test_what_is_no_such_document_changes_nothing(text: str, said: str) -> None:
    """It is reported with the shape that is wanted."""
    preferences, reasons = faults(text, SET)

    assert preferences == SET
    assert len(reasons) == 1
    assert said in reasons[0]
    assert reasons[0].endswith(SHAPE)


def test_a_key_that_stands_twice_is_not_guessed() -> None:
    """JSON readers disagree on which of the two counts."""
    preferences, [reason] = faults('{"%default": {"ech": "allow", "ech": "deny"}}', SET)

    assert preferences == SET
    assert "'ech' stands twice" in reason


def test_the_size_is_that_of_ssm() -> None:
    """As many octets as an Advanced parameter holds are read; one more is not."""
    text = document(ech="allow")

    assert parse_preferences(text + " " * (TEXT_MAX - len(text)), DEFAULTS) == (Preferences(ech=Ech.ALLOW), ())
    preferences, [reason] = faults(text + " " * (TEXT_MAX + 1 - len(text)))
    assert preferences == DEFAULTS
    assert "has 8193 octets" in reason


def test_unknown_keys_are_warned_about() -> None:
    """They change nothing, and a likely slip is named; so is what stands beside %default."""
    text = json.dumps({"web": {}, "%default": {"seethru": "2027-01-31", "frobnicate": "none", "ech": "allow"}})

    preferences, problems = parse_preferences(text, DEFAULTS)

    assert preferences == Preferences(ech=Ech.ALLOW)
    assert all(problem.is_warning for problem in problems)
    assert [problem.change for problem in problems] == [
        Change("error", "ignored", reason="preferences: 'web' stands where nothing is read; put it into %default"),
        Change("error", "ignored", reason="preferences: 'seethru' is unknown, and ignored; did you mean see_thru?"),
        Change(
            "error",
            "ignored",
            reason="preferences: 'frobnicate' is unknown, and ignored; "
            f"the known keys are {', '.join(Preferences.__slots__)}",
        ),
    ]


def test_reports_are_bounded() -> None:
    """In number, faults before warnings, and in length."""
    values = {f"key{number}": 0 for number in range(100)}

    _, problems = parse_preferences(document(**values, ech="x" * 4000), DEFAULTS)

    assert len(problems) == PROBLEMS_MAX + 1
    assert (problems[0].key, len(problems[0].value)) == ("ech", 100)
    assert problems[-1].message == "81 more faults"


def test_what_changed() -> None:
    """Each key with its value before and after; see-thru also in the words of a Security Group's."""
    until = Preferences(see_thru=date(2027, 2, 1))

    assert list(diff_preferences(SET, SET)) == []
    assert list(diff_preferences(DEFAULTS, SET)) == [
        Change("preferences", "accepted", reason='flow_log_verbosity: "none", was "full"'),
        Change("preferences", "accepted", reason='see_thru: "2027-01-31", was null'),
        Change("preferences", "accepted", reason='ech: "allow", was "deny"'),
        Change("preferences", "accepted", reason='clients: ["10.1.0.0/16"], was []'),
        Change("preferences", "accepted", reason='private_destinations: ["10.1.0.0/16"], was []'),
        Change("preferences", "accepted", reason="grace: 60, was null"),
        Change("preferences", "accepted", reason="policy_poll_interval: 2.5, was null"),
        Change("preferences", "accepted", reason="preferences_interval: 1, was null"),
        Change("see-thru", "accepted", gid="%default", reason="until 2027-01-31"),
    ]
    assert list(diff_preferences(Preferences(see_thru=DAY), until))[1:] == [
        Change("see-thru", "removed", gid="%default", reason="until 2027-01-31"),
        Change("see-thru", "accepted", gid="%default", reason="until 2027-02-01"),
    ]


def test_all_in_one_line() -> None:
    """In the words of the document."""
    assert state_preferences(SET) == (
        'flow_log_verbosity: "none", see_thru: "2027-01-31", ech: "allow", clients: ["10.1.0.0/16"], syn_gate: "off", '
        'wildcard_exposure: "prohibit_public_suffix", x509_crls: "ignore", x509_crl_hosts: [], '
        'private_destinations: ["10.1.0.0/16"], grace: 60, '
        "policy_poll_interval: 2.5, preferences_interval: 1"
    )


def test_the_grant_is_the_deployments() -> None:
    """Nobody's Security Group."""
    assert SET.grant == SeeThruGrant(DAY, "%default")
    assert DEFAULTS.grant is None


def test_preferences_travel() -> None:
    """From one process to another."""
    assert pickle.loads(pickle.dumps(SET)) == SET  # noqa: S301 -- our own
