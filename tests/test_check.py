"""Lint: what is rejected, what is warned about, and what is left alone."""

import json
from datetime import date
from pathlib import Path

import pytest

from appliance.address import parse_ipv4
from appliance.edge.ec2 import parse_network_interfaces, parse_security_groups
from appliance.lint import DESCRIPTION_MAX, SEE_THRU_LONG, lint
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import compile_policy
from appliance.report import REJECTIONS, Check, Report, render_report, report_document

VECTORS = Path(__file__).parent / "vectors/aws"
TODAY = date(2027, 1, 5)
EVERYWHERE = "0.0.0.0/0"


def tcp(description: str, destination: str = EVERYWHERE, port: int = 443) -> EgressRule:
    return EgressRule("tcp", port, port, destination, description)


def any_protocol(description: str) -> EgressRule:
    return EgressRule("-1", None, None, EVERYWHERE, description)


def report_on(*rules: EgressRule) -> Report:
    return lint(Inventory((SecurityGroup("sg-1", "web", rules),), ()), TODAY, with_interfaces=False)


def saved(name: str) -> Inventory:
    """Return what the two files of a vector say."""
    return Inventory(
        parse_security_groups(json.loads((VECTORS / f"{name}groups.json").read_text())),
        parse_network_interfaces(json.loads((VECTORS / f"{name}interfaces.json").read_text())),
    )


A, B = "discriminat:tls:a.example.com", "discriminat:tls:b.example.com"
SSH = "discriminat:ssh:a.example.com"
LONG = f"{A} {'x' * (DESCRIPTION_MAX - len(A) - 1)}"  # just as long as may be

FOUND = [
    # why, rules, findings as (check, the place pointed at)
    ("nothing wrong", [tcp(A)], []),
    ("not ours", [tcp("to the Internet, isn't it?"), any_protocol("")], []),
    ("a fault of the annotation", [tcp("discriminat:tls:a_b")], [("annotation", "a_b")]),
    ("every fault", [tcp("discriminat:tls:*.com,b?.c.com")], [("annotation", "*.com"), ("aws_character", "?")]),
    ("the shape of the rule", [any_protocol(A)], [("annotation", A)]),
    ("a look-alike", [tcp("discrimnat:tls:a.example.com")], [("annotation", "discrimnat:tls:a.example.com")]),
    # what AWS refuses
    ("a character AWS refuses", [tcp(f"it's {A}")], [("aws_character", "'")]),
    ("two of them", [tcp(f"<x> {A}")], [("aws_character", "<"), ("aws_character", ">")]),
    ("one outside ASCII", [tcp(f"caf\xe9 {A}")], [("aws_character", "\xe9")]),
    ("every character AWS takes", [tcp(f"aZ09 ._-:/()#,@[]+=&;{{}}!$* {A}")], []),
    ("one that is in a fault already", [tcp("discriminat:tls:a%b.example.com")], [("annotation", "a%b.example.com")]),
    ("as long as may be", [tcp(LONG)], []),
    ("longer", [tcp(f"{LONG}yz")], [("aws_length", "yz")]),
    ("one rule twice", [tcp(A), tcp(B)], [("aws_duplicate", A)]),
    ("the same rule for another protocol", [tcp(A), EgressRule("udp", 443, 443, EVERYWHERE, "")], []),
    # the trap
    ("the lower half only", [tcp(A, "0.0.0.0/1")], [("narrow_reach", A)]),
    ("nothing at all", [tcp(A, "0.0.0.0/32")], [("narrow_reach", A)]),
    ("once for a port", [tcp(A, "0.0.0.0/1"), tcp(B, "0.0.0.0/2")], [("narrow_reach", A)]),
    ("beside the whole", [tcp(A, "0.0.0.0/1"), tcp(B)], []),
    ("beside the whole, not annotated", [tcp(A, "0.0.0.0/1"), tcp("")], []),
    ("beside all traffic", [tcp(A, "0.0.0.0/1"), any_protocol("")], []),
    ("beside the other half", [tcp(A, "0.0.0.0/1"), tcp("", "128.0.0.0/1")], []),
    ("the whole for another port", [tcp(A, "0.0.0.0/1"), tcp(B, port=8443)], [("narrow_reach", A)]),
    (
        "the whole for another protocol",
        [tcp(A, "0.0.0.0/1"), EgressRule("udp", 443, 443, EVERYWHERE, "")],
        [("narrow_reach", A)],
    ),
    ("a network that is meant", [tcp(A, "198.51.100.0/24")], []),
    ("a rule that is rejected anyway", [EgressRule("udp", 443, 443, "0.0.0.0/1", A)], [("annotation", A)]),
    # other resolvers
    (
        "a resolver for everybody",
        [tcp("discriminat:tls:dns.google")],
        [("resolver_listed", "discriminat:tls:dns.google")],
    ),
    (
        "a customer's name at one",
        [tcp(f"{A},ab1234.dns.nextdns.io")],
        [("resolver_listed", f"{A},ab1234.dns.nextdns.io")],
    ),
    ("names like its", [tcp("discriminat:tls:notdns.google,quad9.net")], []),
    ("an SSH host of its name", [tcp("discriminat:ssh:dns.google")], []),
    # repetitions
    ("a name again", [tcp(A), tcp(A, "0.0.0.0/1")], [("name_repeated", A)]),
    ("a narrower rule after the wider", [tcp(A), tcp(A, "198.51.100.0/24")], [("name_repeated", A)]),
    ("a narrower rule before the wider", [tcp(A, "198.51.100.0/24"), tcp(A)], [("name_repeated", A)]),
    ("networks that have nothing in common", [tcp(A, "198.51.100.0/24"), tcp(A, "203.0.113.0/24")], []),
    ("networks one in the other", [tcp(A, "198.51.0.0/16"), tcp(A, "198.51.100.0/24")], [("name_repeated", A)]),
    ("another port", [tcp(A), tcp(A, port=8443)], []),
    ("another protocol", [tcp(f"{A} {SSH}")], []),
    # see-thru
    ("its last day", [tcp("discriminat:see-thru:2027-01-05")], []),
    (
        "the day after",
        [tcp("discriminat:see-thru:2027-01-04")],
        [("see_thru_ended", "discriminat:see-thru:2027-01-04")],
    ),
    ("a year", [tcp("discriminat:see-thru:2028-01-05")], []),
    (
        "more than a year",
        [tcp("discriminat:see-thru:2028-01-06")],
        [("see_thru_long", "discriminat:see-thru:2028-01-06")],
    ),
    (
        "a later date",
        [tcp("discriminat:see-thru:2027-02-01"), any_protocol("discriminat:see-thru:2027-03-01")],
        [("see_thru_repeated", "discriminat:see-thru:2027-02-01")],
    ),
    (
        "a later date than one that has ended",
        [tcp("discriminat:see-thru:2027-01-01"), any_protocol("discriminat:see-thru:2027-03-01")],
        [("see_thru_ended", "discriminat:see-thru:2027-01-01")],
    ),
]


@pytest.mark.parametrize(("rules", "findings"), [row[1:] for row in FOUND], ids=[row[0] for row in FOUND])
def test_findings(rules: list[EgressRule], findings: list[tuple[str, str]]) -> None:
    """Each mistake is found once, at its place, and nothing else is."""
    report = report_on(*rules)
    found = [(finding.check, finding.fault.text[slice(*finding.fault.span)]) for finding in report.findings]

    assert found == findings


WORDS = [
    # rules, message, hint
    (
        [tcp(A, "0.0.0.0/1")],
        "AWS lets this group out to 0.0.0.0/1 alone on TCP port 443",
        "make the destination of one rule for this port 0.0.0.0/0; AWS drops the rest before it gets here",
    ),
    (
        [tcp(A), tcp(A, "198.51.100.0/24")],
        "tcp/443 0.0.0.0/0 of the same group lists a.example.com as well",
        "remove the repetition: as it is, 198.51.100.0/24 narrows nothing",
    ),
    (
        [tcp("discriminat:see-thru:2027-01-04")],
        "see-thru ended on 2027-01-04, 1 day ago",
        "remove it, or give a later date",
    ),
    (
        [tcp(f"{LONG}yz")],
        "AWS refuses a description of 257 characters",
        "it takes 255: spread the names over several rules, with the destination 0.0.0.0/1, /2, ...",
    ),
]


@pytest.mark.parametrize(("rules", "message", "hint"), WORDS)
def test_findings_say_what_to_do(rules: list[EgressRule], message: str, hint: str) -> None:
    """A finding says what is wrong in this very rule, and what to write instead."""
    (finding,) = report_on(*rules).findings

    assert (finding.fault.message, finding.fault.hint) == (message, hint)


def test_a_group_that_nobody_wears() -> None:
    """An annotated group without an interface is worth a word, if the interfaces are known at all."""
    worn, unworn, plain = (
        SecurityGroup("sg-1", "worn", (tcp(A),)),
        SecurityGroup("sg-2", "unworn", (tcp(A),)),
        SecurityGroup("sg-3", "plain", (tcp(""),)),
    )
    interface = NetworkInterface("eni-1", ("sg-1",), (parse_ipv4("10.0.1.10"),), ())
    inventory = Inventory((worn, unworn, plain), (interface,))

    assert [(finding.check, finding.gid) for finding in lint(inventory, TODAY, with_interfaces=True).findings] == [
        (Check.GROUP_UNWORN, "sg-2")
    ]
    assert lint(inventory, TODAY, with_interfaces=False).findings == ()


def test_levels_decide_what_counts_as_rejected() -> None:
    """What grants nothing is a rejection; what works otherwise than it reads is a warning."""
    report = report_on(tcp("discriminat:tls:x"), tcp(A, "0.0.0.0/1", port=8443), tcp(f"it's {A}", port=9443))

    assert [(finding.check, finding.level) for finding in report.findings] == [
        (Check.ANNOTATION, "rejected"),
        (Check.AWS_CHARACTER, "rejected"),
        (Check.NARROW_REACH, "warning"),
    ]
    assert (report.rejected, report.warnings) == (2, 1)


def test_check_rejects_what_the_appliance_rejects() -> None:
    """Every rejection of the compiled policy is in the report, and none is invented."""
    inventory = saved("faulty_")
    report = lint(inventory, TODAY, with_interfaces=True)

    assert {
        (finding.gid, finding.rule, finding.fault)
        for finding in report.findings
        if finding.check in {Check.ANNOTATION, Check.PREFIX_LIST_UNKNOWN}
    } == {(gone.gid, gone.reference, gone.fault) for gone in compile_policy(inventory).rejections}


def test_saved_groups_show_every_check() -> None:
    """The faulty file has one of each kind but four, which need more than a file; the other has none at all."""
    found = {finding.check for finding in lint(saved("faulty_"), TODAY, with_interfaces=True).findings}

    assert set(Check) - found == {
        Check.SEE_THRU_REPEATED,
        Check.RESOLVER_LISTED,
        Check.PATTERN_WIDE,
        Check.NAME_LIST_UNKNOWN,
    }
    assert found & REJECTIONS == REJECTIONS
    assert lint(saved(""), TODAY, with_interfaces=True).findings == ()


def test_text_points_at_the_place() -> None:
    """A finding is a paragraph: level and place, what is wrong, tildes under it, and the way out."""
    assert render_report(report_on(tcp("discriminat:tsl:a.example.com"))) == (
        "rejected: sg-1 (web), tcp/443 0.0.0.0/0\n"
        "  'tsl' is unknown, want tls, ssh or see-thru\n"
        "      discriminat:tsl:a.example.com\n"
        "                  ~~~\n"
        "  hint: write discriminat:tls:a.example.com\n"
        "\n"
        "1 group, 0 names, 1 rejected, 0 warnings\n"
    )


SUMMARIES = [
    ([tcp(A)], "1 group, 1 name, 0 rejected, 0 warnings"),
    ([tcp(A), tcp(B, "0.0.0.0/1")], "1 group, 2 names, 0 rejected, 0 warnings"),
    ([tcp(A, "0.0.0.0/1")], "1 group, 1 name, 0 rejected, 1 warning"),
]


@pytest.mark.parametrize(("rules", "summary"), SUMMARIES)
def test_the_summary_comes_last(rules: list[EgressRule], summary: str) -> None:
    """The last line counts groups, different names, rejections and warnings."""
    assert render_report(report_on(*rules)).splitlines()[-1] == summary


def test_no_annotation_at_all_is_told() -> None:
    """Silence would look like success."""
    text = render_report(report_on(tcp("plain")))

    assert text.splitlines()[0] == "no egress rule is annotated: the appliance would let nothing out"


def test_document_has_the_span() -> None:
    """Programs get the description and the place in it, so that they can point at it themselves."""
    document = report_document(report_on(tcp("discriminat:tsl:a.example.com")))

    assert json.loads(json.dumps(document)) == {
        "groups": 1,
        "annotated": 1,
        "names": 0,
        "patterns": 0,
        "rejected": 1,
        "warnings": 0,
        "findings": [
            {
                "level": "rejected",
                "check": "annotation",
                "gid": "sg-1",
                "group": "web",
                "rule": "tcp/443 0.0.0.0/0",
                "message": "'tsl' is unknown, want tls, ssh or see-thru",
                "hint": "write discriminat:tls:a.example.com",
                "description": "discriminat:tsl:a.example.com",
                "start": 12,
                "end": 15,
            }
        ],
    }


def test_a_year_is_the_limit_that_the_hint_names() -> None:
    """The constant and the words agree."""
    (finding,) = report_on(tcp("discriminat:see-thru:2029-01-01")).findings

    assert SEE_THRU_LONG == 365
    assert "within a year" in finding.fault.hint
