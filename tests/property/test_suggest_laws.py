"""Laws of suggestions: what holds for every log, for a workload chooses the names in it."""

import json
import random
import re
from datetime import date

from hypothesis import example, given
from hypothesis import strategies as st

from appliance.edge.suffix_list import read_suffixes
from appliance.errors import InvalidName
from appliance.family import Terms
from appliance.lint import lint
from appliance.offer import offer_document, render_annotations, render_table, render_terraform
from appliance.page import render_page
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.policy.policy import compile_policy
from appliance.reason import Reason
from appliance.sighting import NAME_MAX
from appliance.suggestion import Suggestion, suggest
from appliance.suspicion import CROWD
from appliance.usage import Usage
from tests.sightings import GROUP, OTHER_GROUP, line

HOSTILE = st.text(max_size=40) | st.sampled_from(
    ['"', "${x}", "%{if}", "</pre>", "<b>", "\x1b[2J", "a.b\n", "a,b.c", "a.b discriminat:tls:c.d", "x" * 400, "\ud800"]
)
LABEL = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=5).map(".".join)
HOST = NAME.map(lambda name: f"{name}.com") | NAME | HOSTILE | st.builds("{}{}.com".format, NAME, HOSTILE)
LINE = st.builds(
    line,
    st.just(""),
    st.integers(1, 65535),
    protocol=st.sampled_from(["tls", "ssh", "http", "unknown"]),
    reason=st.sampled_from(Reason),
    gid=st.sampled_from([GROUP, "%default"]),
    dhost=HOST,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(["time", "src", "dst", "dpt", "dhost", "proto", "proto_v", "code", "cat", "see_thru_gid"])
DAMAGED = st.builds(lambda field, value: line(**{field: value}), FIELDS, JSON)
LOG = st.lists(LINE | DAMAGED | JSON.map(json.dumps) | st.text(max_size=60), max_size=12)


def suggested(log: list[str]) -> Suggestion:
    usage = Usage()
    for each in log:
        usage.read(each)
    return suggest(usage)


def is_listed(text: str) -> bool:
    """Tell whether a text is a name that the parser of annotations takes, and a description has room for."""
    try:
        return len(str(Fqdn.parse(text))) <= NAME_MAX
    except InvalidName:
        return False


@given(LOG)
@example([line(dhost="a.b\n")])
@example([line(dhost="a.b,c.d")])
@example([line(dhost="x.com discriminat:see-thru:2099-01-01")])
def test_rules_grant_what_is_suggested_and_nothing_else(log: list[str]) -> None:
    """The engine reads back exactly the rows, and `check` rejects nothing; all else of the log is in no rule."""
    suggestion = suggested(log)
    for group in suggestion.groups:
        rules = tuple(EgressRule("tcp", r.port, r.port, r.destination, r.description) for r in group.rules)
        inventory = Inventory((SecurityGroup(group.group, "web", rules),), ())
        policy = compile_policy(inventory)

        assert lint(inventory, date(2027, 1, 5), with_interfaces=False).findings == ()
        assert policy.see_thru == {}
        assert sorted((r.port, r.protocol, name) for r, names in policy.rules.items() for name in names) == [
            (row.use.port, row.use.protocol, row.use.name) for row in group.rows
        ]
    assert all(is_listed(str(row.use.name)) for group in suggestion.groups for row in group.rows)


@given(LOG)
def test_every_line_is_accounted_for(log: list[str]) -> None:
    """A flow is a row's, a held back one's or one apart; a line is never the end of it."""
    suggestion = suggested(log)
    counted = sum(row.tally.count for group in suggestion.groups for row in group.rows)

    assert suggestion.lines == len(log)
    assert suggestion.flows == counted + sum(tally.count for _, tally in suggestion.others)
    assert suggestion.flows + suggestion.unread <= suggestion.lines


STRING = re.compile(
    r'"(?:[a-z0-9_.-]+|\./modules/allowlist|Security Group of the client [0-9.]+ that gets the rules\.)"'
)


@given(LOG)
def test_nothing_of_a_log_gets_out_of_where_it_is_written(log: list[str]) -> None:
    """Terraform has names alone, in strings without a template; a terminal gets printable ASCII."""
    suggestion = suggested(log)
    terraform = "\n".join(each for each in render_terraform(suggestion).splitlines() if not each.startswith("#"))

    assert terraform.count('"') == 2 * len(STRING.findall(terraform))
    assert not re.search(r"[$%`<\\]|/\*", terraform)
    for text in (render_table(suggestion), render_annotations(suggestion), render_terraform(suggestion)):
        assert re.fullmatch(r"[\n\x20-\x7e]*", text)
    json.loads(json.dumps(offer_document(suggestion), allow_nan=False))


@given(HOST)
def test_the_page_has_the_same_tags_whatever_the_host(host: str) -> None:
    """A host in the place of another of its kind changes texts, and no tag."""
    page = render_page(suggested([line(dhost=host)]))
    plain = render_page(suggested([line(dhost="api.example.com" if is_listed(host) else "not a name")]))

    assert page.count("<") == plain.count("<")
    assert "<script" not in page


# ---- patterns ----

GUARD = Guard(suffixes=read_suffixes())
PARENTS = st.sampled_from(["x.test", "cdn.x.test", "a1.x.test", "y.test", "co.uk", "github.io", "quad9.net"])
STEMS = st.sampled_from(["a", "a1", "b-", "", "s3-eu-", "dns"])
MIDDLES = st.lists(st.integers(0, 40) | st.sampled_from(["x", "y", "xy", "z-1"]), min_size=1, max_size=8, unique_by=str)
FLOWS = st.tuples(
    st.builds(lambda stem, middles, parent: [f"{stem}{each}.{parent}" for each in middles], STEMS, MIDDLES, PARENTS),
    st.sampled_from([GROUP, OTHER_GROUP]),
    st.sampled_from([443, 443, 8443]),
    st.sampled_from(["tls", "tls", "tls", "ssh", "http"]),
    st.sampled_from([1, 3, 3, 5]),
)
CARRIED = st.tuples(st.sampled_from(["x.test", "cdn.x.test", "d.x.test"]), st.integers(CROWD, 2 * CROWD)).map(
    lambda below: ([f"a{index}.{below[0]}" for index in range(below[1])], GROUP, 443, "tls", 1)
)
FAMILY_LOG = st.builds(
    lambda flows, carried: [*flows, *carried], st.lists(FLOWS, max_size=6), st.just([]) | st.lists(CARRIED, max_size=1)
).map(
    lambda flows: [
        line(name, port, gid=gid, protocol=protocol)
        for names, gid, port, protocol, times in flows
        for name in names
        for _ in range(times)
    ]
)


def with_patterns(log: list[str], fewest: int = 3, min_count: int = 1) -> Suggestion:
    usage = Usage()
    for each in log:
        usage.read(each)
    return suggest(usage, min_count=min_count, terms=Terms(GUARD, fewest))


def without(log: list[str], min_count: int = 1) -> Suggestion:
    usage = Usage()
    for each in log:
        usage.read(each)
    return suggest(usage, min_count=min_count)


@given(FAMILY_LOG, st.integers(2, 5), st.integers(1, 4))
def test_a_pattern_covers_what_was_listed_and_nothing_that_was_held_back(
    log: list[str], fewest: int, least: int
) -> None:
    """Compiled by the engine: each name is granted as before; none is that is held back, apart or seldom."""
    plain, wild = without(log, least), with_patterns(log, fewest, least)
    held = {name for group in plain.groups for crowd in group.crowds for name in crowd.names}
    usage = Usage()
    for each in log:
        usage.read(each)
    for before, after in zip(plain.groups, wild.groups, strict=True):
        rules = tuple(EgressRule("tcp", r.port, r.port, r.destination, r.description) for r in after.rules)
        inventory = Inventory((SecurityGroup(after.group, "web", rules),), ())
        policy = compile_policy(inventory, GUARD)
        assert policy.rejections == ()
        assert lint(inventory, date(2027, 1, 5), with_interfaces=False, guard=GUARD).findings == ()
        granted = {(rule.port, rule.protocol, each) for rule, listed in policy.rules.items() for each in listed}
        wanted = {(row.use.port, row.use.protocol, row.use.name) for row in before.rows}
        names = {each for each in granted if isinstance(each[2], Fqdn)}
        covers = [(port, protocol, each) for port, protocol, each in granted if not isinstance(each, Fqdn)]

        assert names <= wanted
        for port, protocol, name in wanted - names:
            assert any(each[:2] == (port, protocol) and each[2].matches(name) for each in covers)
        seldom = {(use.port, use.protocol, use.name) for use in usage.uses if use.group == after.group} - wanted
        for port, protocol, pattern in covers:
            assert protocol == "tls"
            assert not any(pattern.matches(name) for name in held)
            assert not any(each[:2] == (port, protocol) and pattern.matches(each[2]) for each in seldom)


@given(FAMILY_LOG)
def test_every_pattern_is_safe_and_says_what_it_stands_for(log: list[str]) -> None:
    """It passes the guard of the default exposure, and its names are those that the table without it had."""
    plain, wild = without(log), with_patterns(log)
    for before, after in zip(plain.groups, wild.groups, strict=True):
        for family in after.families:
            assert Guard(Exposure.PROHIBIT_PUBLIC_SUFFIX, GUARD.suffixes).object_to(family.pattern) is None
            assert all(map(family.pattern.matches, family.names))
        assert sorted((row.use.port, row.use.protocol, row.use.name) for row in before.rows) == sorted(
            (each.port, each.protocol, name) for each in after.offered for name in each.names or [each.entry]
        )
        assert before.crowds == after.crowds
    counted = sum(each.tally.count for group in wild.groups for each in group.offered)
    assert counted == sum(row.tally.count for group in plain.groups for row in group.rows)


@given(FAMILY_LOG, st.randoms(use_true_random=False))
def test_the_order_of_lines_changes_no_pattern(log: list[str], chance: random.Random) -> None:
    """A log is read backwards as well as forwards."""
    shuffled = chance.sample(log, len(log))

    assert render_table(with_patterns(log)) == render_table(with_patterns(shuffled))
    assert offer_document(with_patterns(log)) == offer_document(with_patterns(shuffled))


@given(LOG | FAMILY_LOG)
def test_patterns_are_written_where_names_may_be(log: list[str]) -> None:
    """In strings without a template, in comments of one line, and in printable ASCII."""
    suggestion = with_patterns(log, 2)
    lines = render_terraform(suggestion).splitlines()
    terraform = "\n".join(each for each in lines if not each.lstrip().startswith("#"))

    assert terraform.count('"') == 2 * len(re.findall(STRING.pattern.replace("_.-", "_.*+-"), terraform))
    for text in (render_table(suggestion), render_annotations(suggestion), "\n".join(lines)):
        assert re.fullmatch(r"[\n\x20-\x7e]*", text)
    json.loads(json.dumps(offer_document(suggestion), allow_nan=False))
