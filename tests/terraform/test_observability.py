"""Alarms, dashboard and saved queries speak of what the appliance emits, in its words, and each alarm is explained.

`terraform test` plans the module with a mocked AWS and asserts what it can say itself; its runs are read here, and
compared with the appliance's code.
"""

import ast
import datetime
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.edge.journal import render
from appliance.event import CONFIG_FIELDS, FLOW_FIELDS, Event, change_event, config_event
from appliance.metrics import DIMENSIONS, METRICS, NAMESPACE
from appliance.policy.decision import Decision
from appliance.policy.policy import Change, SeeThruGrant
from appliance.reason import Reason
from tests.playbook import CLIENT, TODAY, client_event
from tests.terraform.plugins import MODULE, ROOT
from tests.terraform.terraform import Terraform

DEPLOYMENT, ZONES = "egress", ("eu-west-2a", "eu-west-2b")  # as in the .tftest.hcl

# What rises or falls with the load, and is wrong at no value. All else that is emitted has an alarm.
NOT_ALARMING = {"Clients", "Names", "PacketsHeld", "PacketsInspected", "FlowEvents"}
OF_EC2 = {"CPUUtilization", "CPUCreditBalance", "NetworkOut"}  # CloudWatch's own, of an Auto Scaling group

Resources = dict[str, dict[str, Any]]  # values by address


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What Terraform says while it runs terraform/tests/observability.tftest.hcl: a list of messages."""
    module = Terraform.copy(tmp_path_factory.mktemp("observability"))
    module.init()
    done = module.test("-json", "-verbose", "-filter=tests/observability.tftest.hcl", check=False)
    return [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def runs(told: list[dict[str, Any]]) -> dict[str, Resources]:
    """The values of all resources that each run made, by address."""
    return {
        message["@testrun"]: {
            one["address"]: one["values"] for one in message["test_state"]["root_module"]["resources"]
        }
        for message in told
        if message["type"] == "test_state"
    }


@pytest.fixture(scope="module")
def made(runs: dict[str, Resources]) -> Resources:
    """What the module makes unless it is told otherwise."""
    return runs["as_it_comes"]


def of_type(resources: Resources, kind: str) -> list[dict[str, Any]]:
    found = [values for address, values in resources.items() if address.startswith(f"{kind}.")]
    assert found, f"the module makes no {kind}"
    return found


def alarm_names(resources: Resources) -> set[str]:
    """Return the alarms of a zone by the end of their names."""
    names = {alarm["alarm_name"] for alarm in of_type(resources, "aws_cloudwatch_metric_alarm")}
    ends = {name.removeprefix(f"{DEPLOYMENT}-{zone}-") for name in names for zone in ZONES if f"-{zone}-" in name}
    assert names == {f"{DEPLOYMENT}-{zone}-{end}" for zone in ZONES for end in ends}
    return ends


def test_terraforms_own_tests_pass(told: list[dict[str, Any]]) -> None:
    """Of the alarms: what each variable changes, and what is refused."""
    complaints = [message["diagnostic"]["detail"] or message["@message"] for message in told if "diagnostic" in message]

    assert complaints == []
    assert told[-1]["test_summary"]["status"] == "pass"


# ---- metrics ----


def test_alarms_watch_what_is_emitted(made: Resources) -> None:
    """Each alarm's namespace, metric and dimensions are those of a line of the appliance, or of EC2."""
    for alarm in of_type(made, "aws_cloudwatch_metric_alarm"):
        zone = next(zone for zone in ZONES if zone in alarm["alarm_name"])
        if alarm["namespace"] == "AWS/EC2":
            assert alarm["metric_name"] in OF_EC2
            assert alarm["dimensions"] == {"AutoScalingGroupName": f"{DEPLOYMENT}-{zone}"}
        else:
            assert alarm["namespace"] == NAMESPACE
            assert alarm["metric_name"] in METRICS
            assert alarm["dimensions"] == dict(zip(DIMENSIONS, (DEPLOYMENT, zone), strict=True))


def test_whatever_tells_of_trouble_has_an_alarm(made: Resources) -> None:
    """In every zone; a new metric is given one, or is said here not to need it."""
    alarms = of_type(made, "aws_cloudwatch_metric_alarm")

    for zone in ZONES:
        watched = {alarm["metric_name"] for alarm in alarms if zone in alarm["alarm_name"]}
        assert watched - OF_EC2 == set(METRICS) - NOT_ALARMING


def test_silence_and_trouble_are_told_apart(made: Resources) -> None:
    """Faults are summed and ring above nothing; only the alarm on Ready takes a missing line for the worst."""
    for alarm in of_type(made, "aws_cloudwatch_metric_alarm"):
        is_ready = alarm["metric_name"] == "Ready"
        assert alarm["treat_missing_data"] == ("breaching" if is_ready else "notBreaching")
        assert alarm["comparison_operator"].startswith("Less" if is_ready else "Greater")
        is_counted = METRICS.get(alarm["metric_name"]) == "Count"
        assert (alarm["statistic"] == "Sum") == is_counted
        if is_counted:
            assert (alarm["comparison_operator"], alarm["threshold"]) == ("GreaterThanThreshold", 0)


def test_an_alarm_says_in_one_sentence_what_to_do(made: Resources) -> None:
    """What it means, a colon, what to do first; CloudWatch takes 1,024 characters."""
    for alarm in of_type(made, "aws_cloudwatch_metric_alarm"):
        assert re.fullmatch(r"[A-Z][^:.]+: [^:.]+\.", alarm["alarm_description"]), alarm["alarm_description"]
        assert len(alarm["alarm_description"]) <= 1024


def test_the_topic_is_told(runs: dict[str, Resources]) -> None:
    """Of every alarm, that it rings and that it is over."""
    for alarm in of_type(runs["tuned"], "aws_cloudwatch_metric_alarm"):
        assert alarm["alarm_actions"] == alarm["ok_actions"] == ["arn:aws:sns:eu-west-2:111122223333:on-call"]


def test_no_alarms_are_none(runs: dict[str, Resources]) -> None:
    """With alarms.enabled = false nothing rings, and the dashboard shows no alarm."""
    assert [address for address in runs["no_alarms"] if "metric_alarm" in address] == []
    assert {widget["type"] for widget in widgets(runs["no_alarms"])} == {"metric", "log"}


# ---- dashboard ----


def widgets(resources: Resources) -> list[dict[str, Any]]:
    (dashboard,) = of_type(resources, "aws_cloudwatch_dashboard")
    return json.loads(dashboard["dashboard_body"])["widgets"]


def test_the_dashboard_shows_every_metric_of_every_zone(made: Resources) -> None:
    """And no metric that nobody emits."""
    shown = {
        tuple(metric[:-1])  # without its label
        for widget in widgets(made)
        if widget["type"] == "metric"
        for metric in widget["properties"]["metrics"]
    }

    dimensions = [
        [part for pair in zip(DIMENSIONS, (DEPLOYMENT, zone), strict=True) for part in pair] for zone in ZONES
    ]
    assert shown == {(NAMESPACE, name, *of_zone) for name in METRICS for of_zone in dimensions} | {
        ("AWS/EC2", name, "AutoScalingGroupName", f"{DEPLOYMENT}-{zone}") for name in OF_EC2 for zone in ZONES
    }


def test_counts_are_summed_and_states_are_not(made: Resources) -> None:
    """The sum of two zones' readings of one number, or the mean of a count, would be a wrong graph."""
    for widget in widgets(made):
        if widget["type"] == "metric":
            names = {metric[1] for metric in widget["properties"]["metrics"]}
            per_line = {
                "PacketsInspected",
                "FlowEvents",
                "QueueDrops",
                "LogLinesLost",
                "WorkerRestarts",
                "EngineErrors",
            }
            assert (widget["properties"]["stat"] == "Sum") == (names <= per_line | {"NetworkOut"})


def test_widgets_do_not_overlap(made: Resources) -> None:
    """CloudWatch's grid is 24 wide."""
    taken = [
        (column, row)
        for widget in widgets(made)
        for column in range(widget["x"], widget["x"] + widget["width"])
        for row in range(widget["y"], widget["y"] + widget["height"])
    ]

    assert len(taken) == len(set(taken))
    assert max(column for column, _ in taken) < 24


# ---- queries ----

WORD = re.compile(r'"[^"]*"|@?[A-Za-z_]\w*')
COMMANDS = {"fields", "filter", "stats", "sort", "limit"}
FUNCTIONS = {"count", "count_distinct", "ispresent", "latest"}
KEYWORDS = {"and", "or", "not", "in", "as", "by", "desc", "asc"}
OF_LOGS = {"@timestamp", "@logStream"}
OF_JOURNAL = set(json.loads(render({}, 0.0)))  # `time`


def queries(resources: Resources) -> dict[str, str]:
    found = of_type(resources, "aws_cloudwatch_query_definition")
    return {query["name"].removeprefix(f"{DEPLOYMENT}/"): query["query_string"] for query in found}


def stream_of(query: str) -> str:
    return re.search(r'@logStream = "(\w+)"', query)[1]


def fields_of(query: str) -> set[str]:
    """Return the names that a query uses and does not make itself."""
    words = [word for word in WORD.findall(query) if not word.startswith('"')]
    made = {after for before, after in itertools.pairwise(words) if before == "as"}
    return set(words) - made - COMMANDS - FUNCTIONS - KEYWORDS


def test_queries_use_the_fields_of_the_events(made: Resources) -> None:
    """A field that is renamed in event.py is renamed in the queries."""
    fields = {"flow": set(FLOW_FIELDS), "config": set(CONFIG_FIELDS)}

    for name, query in queries(made).items():
        assert fields_of(query) <= fields[stream_of(query)] | OF_JOURNAL | OF_LOGS, name


def test_dashboard_asks_the_saved_queries(made: Resources) -> None:
    """A table on the dashboard is a saved query of the deployment's log group."""
    (group,) = of_type(made, "aws_cloudwatch_log_group")
    tables = [widget["properties"]["query"] for widget in widgets(made) if widget["type"] == "log"]

    assert tables == [
        f"SOURCE '{group['name']}' | {queries(made)[name]}" for name in ("refused flows by workload", "errors")
    ]


def flow(reason: Reason, *, allow: bool = False, see_thru: SeeThruGrant | None = None) -> Event:
    return client_event(Decision(allow=allow, reason=reason), see_thru=see_thru)


OPEN, OVER = SeeThruGrant(TODAY, "sg-9"), SeeThruGrant(TODAY - datetime.timedelta(days=1), "sg-9")
EVENTS = {  # by stream
    "flow": {
        "allowed": flow(Reason.NAME_LISTED, allow=True),
        "allowed beside see-thru": flow(Reason.NAME_LISTED, allow=True, see_thru=OPEN),
        "refused": flow(Reason.NAME_NOT_LISTED),
        "refused after see-thru": flow(Reason.NAME_NOT_LISTED, see_thru=OVER),
        "refused despite see-thru": flow(Reason.DESTINATION_PRIVATE, see_thru=OPEN),
        "seen through": flow(Reason.NAME_NOT_LISTED, see_thru=OPEN),
    },
    "config": {
        "client": change_event(Change("client", "accepted", client=CLIENT), instance="i-1", digest="a"),
        "name": change_event(Change("fqdn", "removed", fqdn="api.example.com"), instance="i-1", digest="a"),
        "started": config_event(cat="appliance", outcome="started", reason="", instance="i-1"),
        "annotation": change_event(Change("error", "rejected", reason="no name"), instance="i-1", digest="a"),
        "AWS is away": config_event(cat="error", outcome="failed", reason="", instance="i-1"),
    },
}


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("refused flows by workload", {"refused", "refused after see-thru", "refused despite see-thru"}),
        ("allowlist from see-thru", {"seen through"}),
        ("recent config changes", {"client", "name", "started"}),
        ("errors", {"annotation", "AWS is away"}),
    ],
)
def test_queries_choose_the_events_they_are_about(made: Resources, name: str, chosen: set[str]) -> None:
    """Real events, as the appliance makes them."""
    query = queries(made)[name]
    stream = stream_of(query)

    assert {what for what, event in EVENTS[stream].items() if matches(query, stream, event)} == chosen


def test_every_query_is_tried(made: Resources) -> None:
    """Those of the table above are all."""
    (parameters,) = [
        mark for mark in test_queries_choose_the_events_they_are_about.pytestmark if mark.name == "parametrize"
    ]

    assert {name for name, _ in parameters.args[1]} == set(queries(made))


def matches(query: str, stream: str, event: Event) -> bool:
    """Tell whether the query's filter keeps an event; what we use of its language reads as Python's."""
    (condition,) = re.findall(r"filter (.*)", query)
    expression = re.sub(r"(?<!!)=", "==", condition).replace("@logStream", "logStream")
    fields = json.loads(render(event, 0.0)) | {"logStream": stream}
    return bool(_value(ast.parse(expression, mode="eval").body, fields))


def _value(node: ast.expr, fields: dict[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return fields.get(name)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(each, fields) for each in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_value(each, fields) for each in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, fields)
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            return _value(left, fields) == _value(right, fields)
        case ast.Compare(left=left, ops=[ast.NotEq()], comparators=[right]):
            return _value(left, fields) != _value(right, fields)
        case ast.Call(func=ast.Name(id="ispresent"), args=[ast.Name(id=name)]):
            return name in fields
    raise AssertionError(f"the test cannot read {ast.unparse(node)!r} in a query")


# ---- the handbook ----

HANDBOOK = MODULE / "ALARMS.md"


def sections(text: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        yield name, body


def test_every_alarm_is_explained(made: Resources) -> None:
    """A line in the table with its metric, and a section: what it means, what users feel, where to look, what to do."""
    text = HANDBOOK.read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|[^|]+\| [^|`]*`(\w+)` \|", text, re.MULTILINE))
    alarms = of_type(made, "aws_cloudwatch_metric_alarm")

    assert rows == {
        name: alarm["metric_name"]
        for name in alarm_names(made)
        for alarm in alarms
        if alarm["alarm_name"] == f"{DEPLOYMENT}-{ZONES[0]}-{name}"
    }
    assert {name for name, _ in sections(text)} == set(rows)
    for name, body in sections(text):
        assert re.findall(r"^\*\*([A-Z][a-z ]+):\*\*", body, re.MULTILINE) == [
            "Means",
            "Users feel",
            "Look at",
            "Do",
        ], name


def test_the_table_tells_the_thresholds(made: Resources) -> None:
    """5 minutes, 80 %: the words of the table are the numbers of the alarms."""
    text = HANDBOOK.read_text()
    for alarm in of_type(made, "aws_cloudwatch_metric_alarm"):
        name = alarm["alarm_name"].split("-", 4)[-1]
        row = re.search(rf"^\| `{name}` \| ([^|]+) \|", text, re.MULTILINE)[1]
        numbers = [int(number) for number in re.findall(r"\d+", row)]
        minutes = alarm["evaluation_periods"] * alarm["period"] // 60
        match METRICS.get(alarm["metric_name"], "Percent"):
            case "Percent" if alarm["datapoints_to_alarm"] < alarm["evaluation_periods"]:
                expected = [alarm["threshold"], alarm["datapoints_to_alarm"], alarm["evaluation_periods"]]
            case "Percent":
                expected = [alarm["threshold"], minutes]
            case "Seconds":
                expected = [alarm["threshold"] // 60]
            case _ if alarm["datapoints_to_alarm"] < alarm["evaluation_periods"]:
                expected = [alarm["datapoints_to_alarm"], alarm["evaluation_periods"]]
            case _:
                expected = [minutes] if numbers else []
        assert numbers == expected, row


def test_the_handbook_names_what_is_there(made: Resources) -> None:
    """Fields of /healthz and of the logs, reasons, variables and outputs go by the names they have in the code."""
    text = HANDBOOK.read_text()
    sources = "".join(path.read_text() for path in (*ROOT.glob("appliance/**/*.py"), *MODULE.glob("*.tf")))
    words = {part for code in re.findall(r"`([a-z_.]+)`", text) for part in code.split(".") if "_" in part}

    assert len(words) > 10
    assert {word for word in words if not re.search(rf"\b{word}\b", sources)} == set()
    for name in queries(made):
        assert f"`{name}`" in text
