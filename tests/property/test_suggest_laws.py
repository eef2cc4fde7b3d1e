"""Laws of suggestions: what holds for every log, for a workload chooses the names in it."""

import json
import re
from datetime import date

from hypothesis import example, given
from hypothesis import strategies as st

from appliance.errors import InvalidName
from appliance.lint import lint
from appliance.offer import offer_document, render_annotations, render_table, render_terraform
from appliance.page import render_page
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.policy.policy import compile_policy
from appliance.reason import Reason
from appliance.sighting import NAME_MAX
from appliance.suggestion import Suggestion, suggest
from appliance.usage import Usage
from tests.sightings import GROUP, line

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
