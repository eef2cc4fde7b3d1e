"""Excess: however a group's patterns are written, a name is decided on in a bounded number of steps."""

import itertools
from collections.abc import Callable, Iterator
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.address import parse_ipv4
from appliance.lint import lint
from appliance.policy import pattern, pattern_index
from appliance.policy.addresses import AddressBook, Answer
from appliance.policy.decision import decide_name
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.name_list import OCTETS_MAX, NameList, parse_list
from appliance.policy.pattern import Pattern
from appliance.policy.pattern_index import COMPARED_MAX, PatternIndex, find_excess
from appliance.policy.policy import EMPTY_POLICY, Policy, compile_policy, diff_policy
from appliance.policy.reference import Reference, Store
from tests.property.test_pattern_laws import NAMES, PATTERNS
from tests.work import Work, work_of

CLIENT, SERVER = parse_ipv4("10.0.1.10"), parse_ipv4("203.0.113.1")
OPEN = Guard(Exposure.NUCLEAR)
RULES, CHARACTERS = 60, 255  # of a Security Group, and of a description, as AWS has them
LIST = Reference.parse("@ssm/hostile")
LINES = 3 * 63 + 30  # for a label that is compared: three for each of its characters, and what is around them


def middles(letters: str) -> Iterator[str]:
    for length in itertools.count(1):
        yield from map("".join, itertools.product(letters, repeat=length))


def ends() -> Iterator[tuple[int, int]]:
    for total in itertools.count():
        yield from ((front, total - front) for front in range(total + 1))


HOSTILE: dict[str, tuple[Callable[[], Iterator[str]], str]] = {
    "one pair of ends": (lambda: (f"x*a{each}*.co.uk" for each in middles("a?*")), "x" + "a" * 61 + "b.co.uk"),
    "one that a name has": (lambda: (f"x*a{each}*.co.uk" for each in middles("a?*")), "x" + "a" * 62 + ".co.uk"),
    "many pairs": (lambda: (f"{'a' * front}*a?*{'a' * back}.uk" for front, back in ends()), "a" * 63 + ".uk"),
    "one star": (lambda: (f"{'a' * front}*{'a' * back}.uk" for front, back in ends()), "a" * 63 + ".uk"),
    "levels": (lambda: (f"{'a' * low}*.*{'a' * high}.uk" for low, high in ends()), ".".join(["a" * 63] * 2) + ".uk"),
    "deep": (lambda: (f"{'a' * low}*{'a' * high}{'.a' * 20}" for low, high in ends()), "a" * 63 + ".a" * 20),
}  # patterns without end, and the name that is hardest for them


def descriptions(texts: Iterator[str]) -> list[str]:
    """Return as many as a group has, full of patterns."""
    found = []
    for _ in range(RULES):
        description = "discriminat:tls:" + next(texts)
        while len(description) + len(text := next(texts)) < CHARACTERS:
            description += "," + text
        found.append(description.replace("?", "+"))
    return found


def vpc(*groups: list[str], listed: str = "") -> Inventory:
    """Return a VPC whose client wears groups with these descriptions, and the list that they may refer to."""
    made = [
        SecurityGroup(
            f"sg-{at}",
            "",
            tuple(EgressRule("tcp", 443, 443, f"{number}.0.0.0/8", each) for number, each in enumerate(of)),
        )
        for at, of in enumerate(groups)
    ]
    interface = NetworkInterface("eni-1", tuple(group.id for group in made), (CLIENT,), ())
    content = parse_list(listed, is_secret=LIST.store is Store.SECRET)
    return Inventory(tuple(made), (interface,), name_lists=(NameList(LIST, content),))


def work_of_a_decision(policy: Policy, text: str) -> Work:
    """Return the work of matching in a decision on a name, which has the address, so that all rules are looked at."""
    name, book, rules = Fqdn.parse(text), AddressBook(), policy.clients[CLIENT].ports[443]
    book.learn(Answer(name, (SERVER,), 60.0), 0.0)
    return work_of(lambda: decide_name(rules, name, SERVER, book, 1.0), (pattern, pattern_index), "Glob.matches")


@pytest.mark.parametrize("where", ["rules", "a list"])
@pytest.mark.parametrize("how", HOSTILE)
def test_the_worst_patterns_cost_a_bounded_number_of_steps(how: str, where: str) -> None:
    """As many as AWS has room for, in a group's rules or in a list: what is too much grants nothing, and is told."""
    make, name = HOSTILE[how]
    if where == "rules":
        given = vpc(descriptions(make()))
    else:
        lines, length = [], 0
        for each in make():
            length += len(each) + 1
            if length > OCTETS_MAX:
                break
            lines.append(each)
        given = vpc([f"discriminat:tls:{LIST}"], listed="\n".join(lines))

    policy = compile_policy(given, OPEN)
    work = work_of_a_decision(policy, name)

    assert policy.rejections
    assert len(policy.patterns) > 10
    assert 0 < work.calls <= COMPARED_MAX
    assert work.lines <= LINES * (COMPARED_MAX + 1)


@given(st.lists(PATTERNS, max_size=30), NAMES)
def test_an_index_knows_its_worst_case(patterns: list[Pattern], name: Fqdn) -> None:
    """No name is compared with more labels than it says, whatever the patterns; what is done for each is bounded."""
    index = PatternIndex(dict.fromkeys(patterns))

    work = work_of(lambda: index.matches(name) and index.find(name), (pattern, pattern_index), "Glob.matches")

    assert work.calls <= 2 * index.compared
    assert work.lines <= 80 * (index.compared + 1)  # a label has six characters here


def test_the_excess_is_told_with_its_rule_and_takes_nothing_from_others() -> None:
    """By how many patterns of each rule, once; names of the same rule, and another group, are as they were."""
    texts = [f"x*a{each}*.example.com" for each in itertools.islice(middles("ab"), COMPARED_MAX + 8)]
    hostile = [f"discriminat:tls:www.example.com,{','.join(each)}" for each in zip(*[iter(texts)] * 8, strict=True)]
    others = "discriminat:tls:x*abba*.example.com"
    given = vpc(hostile, [others])
    policy = compile_policy(given, OPEN)

    told = [change for change in diff_policy(EMPTY_POLICY, policy) if change.outcome == "rejected"]
    assert {(change.cat, change.gid) for change in told} == {("error", "sg-0")}
    assert len({change.rule for change in told}) == len(told)
    assert sum(int(change.reason.replace("a pattern does", "1 do").split()[0]) for change in told) == 10
    assert "not count: with the others of the group for this port, a name would be" in told[0].reason
    assert "more than 128 labels; write more in front of their first wildcards" in told[0].reason
    assert Pattern.parse("x*abba*.example.com") in policy.patterns
    assert all(Fqdn.parse("www.example.com") in entries for rule, entries in policy.rules.items() if rule.gid == "sg-0")
    assert len(policy.rules) == len(hostile) + 1
    backwards = [SecurityGroup(group.id, "", group.rules[::-1]) for group in given.groups]
    assert compile_policy(Inventory(tuple(backwards), given.interfaces), OPEN) == policy
    report = lint(given, date(2027, 1, 5), with_interfaces=True, guard=OPEN)
    assert sum("not count: with the others" in finding.fault.message for finding in report.findings) == len(told)


def test_a_rule_with_nothing_but_excess_is_none() -> None:
    """What it does not grant is refused as if it did not stand there."""
    texts = [f"x*a{each}*.example.com" for each in itertools.islice(middles("ab"), COMPARED_MAX)]
    policy = compile_policy(vpc([f"discriminat:tls:{each}" for each in [*texts, "z*a*.example.com"]]), OPEN)

    refused = {rejection.reference for rejection in policy.rejections}
    assert len(refused) == 2  # two labels of the name lead to them, and are compared as well
    assert len(policy.rules) == COMPARED_MAX - 1
    assert refused.isdisjoint(rule.reference for rule in policy.rules)
    assert Pattern.parse("z*a*.example.com") in policy.patterns  # it has other ends


def test_many_patterns_that_differ_in_their_ends_are_no_excess() -> None:
    """However many there are: a name agrees with few of them."""
    shapes = (
        "api-{}-*.example.com",
        "*-{}.example.com",
        "a*b*-{}.example.com",
        "*.s{}.example.com",
        "v{}-?.example.com",
    )
    patterns = {Pattern.parse(shape.format(number)) for number in range(2000) for shape in shapes}

    assert find_excess(patterns) == set()
    assert PatternIndex(dict.fromkeys(patterns)).compared < 32
