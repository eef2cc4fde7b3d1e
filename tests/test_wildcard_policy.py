"""Patterns in a policy, and what `check` and `explain` say of them."""

import pickle
from datetime import date

import pytest

from appliance.address import parse_ipv4
from appliance.edge.suffix_list import read_suffixes
from appliance.explanation import Explanation, explain
from appliance.lint import lint
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.pattern import Pattern
from appliance.policy.policy import EMPTY_POLICY, Change, compile_policy, diff_policy
from appliance.policy.preferences import Preferences
from appliance.preferred import Preferred
from appliance.question import Question

TODAY = date(2027, 1, 5)
GUARD, OPEN = Guard(suffixes=read_suffixes()), Guard(Exposure.NUCLEAR, read_suffixes())
RULE = "tcp/443 0.0.0.0/0"


def tcp(description: str, destination: str = "0.0.0.0/0") -> EgressRule:
    return EgressRule("tcp", 443, 443, destination, description)


def vpc(*groups: list[EgressRule]) -> Inventory:
    """Return a VPC whose one client wears all of these groups."""
    made = [SecurityGroup(f"sg-{at}", "", tuple(rules)) for at, rules in enumerate(groups)]
    interface = NetworkInterface("eni-1", tuple(group.id for group in made), (parse_ipv4("10.0.1.10"),), ())
    return Inventory(tuple(made), (interface,))


WEB = vpc([tcp("discriminat:tls:a.test.com,*.b.com,*.github.io")])


def test_changes_of_patterns_are_told_apart() -> None:
    """They have a category of their own, and so has the refusal of one, which the preference can take away."""
    guarded, opened = compile_policy(WEB, GUARD), compile_policy(WEB, OPEN)
    at = {"gid": "sg-0", "rule": RULE, "proto": "tls"}
    refusal = Change(
        "wildcard",
        "rejected",
        fqdn="*.github.io",
        reason="*.github.io reaches github.io, a public suffix by the Public Suffix List; list each name that is "
        "needed, or put wildcards further left: anybody may get a name below github.io",
        **at,
    )

    assert [change for change in diff_policy(EMPTY_POLICY, guarded) if change.cat != "client"] == [
        Change("fqdn", "accepted", fqdn="a.test.com", **at),
        Change("wildcard", "accepted", fqdn="*.b.com", **at),
        refusal,
    ]
    assert diff_policy(guarded, opened) == (Change("wildcard", "accepted", fqdn="*.github.io", **at),)
    assert diff_policy(opened, guarded) == (Change("wildcard", "removed", fqdn="*.github.io", **at), refusal)


def test_a_policy_with_patterns_travels() -> None:
    """A worker gets the same, refusals included."""
    for guard in (GUARD, OPEN):
        policy = compile_policy(WEB, guard)
        assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301 -- our own
        assert Pattern.parse("*.b.com") in policy.patterns


# guard, groups, what is found: check and message
FOUND = [
    (
        GUARD,
        [[tcp("discriminat:tls:*.b.com"), tcp("discriminat:tls:x.b.com,y.b.com,z.com", "0.0.0.0/1")]],
        [("name_repeated", f"*.b.com, in {RULE} of the same group, matches x.b.com, y.b.com as well")],
    ),
    (GUARD, [[tcp("discriminat:tls:*.b.com", "203.0.113.0/24"), tcp("discriminat:tls:x.b.com")]], []),
    (GUARD, [[tcp("discriminat:tls:*.b.com")], [tcp("discriminat:tls:x.b.com")]], []),
    (
        GUARD,
        [[tcp("discriminat:tls:*.com,b.com")]],
        [("annotation", "*.com reaches com, a public suffix by the Public Suffix List")],
    ),
    (
        OPEN,
        [[tcp("discriminat:tls:*.com")]],
        [
            ("pattern_wide", "*.com reaches com, a public suffix: anybody may get a name that it matches"),
            ("resolver_listed", "cloudflare-dns.com by *.com answers anybody's questions over TLS"),
        ],
    ),
    (
        GUARD,
        [[tcp("discriminat:tls:*.quad9.net")]],
        [("resolver_listed", "dns.quad9.net by *.quad9.net answers anybody's questions over TLS")],
    ),
    (
        GUARD,
        [[tcp("discriminat:tls:exam+le.com,web-+.example.com")]],
        [("pattern_wide", "exam?le.com reaches com, a public suffix: anybody may get a name that it matches")],
    ),
]


@pytest.mark.parametrize(("guard", "groups", "found"), FOUND)
def test_check(guard: Guard, groups: list[list[EgressRule]], found: list[tuple[str, str]]) -> None:
    """A refused pattern grants nothing; one that is too wide, and a name that one matches as well, are worth a word."""
    report = lint(vpc(*groups), TODAY, with_interfaces=True, guard=guard)

    assert [(finding.check, finding.fault.message) for finding in report.findings] == found


def ask(name: str, inventory: Inventory = WEB, exposure: Exposure = Exposure.PROHIBIT_PUBLIC_SUFFIX) -> Explanation:
    question = Question.parse(client="10.0.1.10", port="443", protocol="tls", name=name, address=None)
    preferred = Preferred(Preferences(wildcard_exposure=exposure))
    return explain(inventory, question, TODAY, None, preferred, suffixes=read_suffixes())


def test_explain_names_the_pattern() -> None:
    """And its rule."""
    explanation = ask("x.b.com")

    assert explanation.passes
    assert (explanation.decision.reason, explanation.decision.detail) == ("pattern_listed", "by *.b.com")
    assert explanation.description.endswith("*.github.io")


def test_explain_goes_by_the_preference() -> None:
    """What a pattern would allow if it counted is told."""
    assert ask("x.github.io", exposure=Exposure.NUCLEAR).passes
    assert not ask("x.b.com", exposure=Exposure.NONE).passes
    assert not ask("x.github.io").passes


def test_explain_tells_that_no_wildcard_stands_for_a_dot() -> None:
    """The likeliest mistake of all."""
    assert "*.b.com is listed, whose asterisk stands for one label: v1.x.b.com has 1 more" in ask("v1.x.b.com").notes


def test_rules_of_several_groups_add_up() -> None:
    """A pattern of a narrow rule leaves what another group's covers."""
    narrow, wide = [tcp("discriminat:tls:x.b.com", "203.0.113.0/24")], [tcp("discriminat:tls:*.b.com")]

    explanation = ask("x.b.com", vpc(narrow, wide))

    assert explanation.passes
