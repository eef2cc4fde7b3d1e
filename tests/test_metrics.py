"""Metrics: the line that CloudWatch reads numbers from, and what it counts."""

import dataclasses
import json

import pytest

from appliance.edge.journal import render
from appliance.metrics import DIMENSIONS, METRICS, NAMESPACE, Counts, MetricsLine, Reading, grown

MILLIS = 1_800_000_000_123
UNITS = {"None", "Seconds", "Percent", "Count"}  # those of CloudWatch's MetricDatum that we use
LINE = MetricsLine(deployment="egress", zone="eu-west-2a", instance="i-1")
READING = Reading(
    ready=True,
    policy_age=3.14159,
    conntrack_entries=1500,
    conntrack_most=65536,
    clients=7,
    names=40,
    packets_held=2,
    packets_inspected={"queue 0": 1000, "queue 1": 500},
    flow_events={"queue 0": 90, "queue 1": 10},
    queue_drops={"queue 0": 3},
    log_lines_lost={"flow": 1, "CloudWatch": 4},
    worker_restarts={"crew": 2},
    engine_errors={"queue 1": 6},
)


def directive_of(event: dict) -> dict:
    (directive,) = event["_aws"]["CloudWatchMetrics"]
    return directive


def test_the_first_line_tells_everything_since_the_start() -> None:
    """The whole event."""
    assert LINE.event(Reading(), READING, MILLIS) == {
        "_aws": {
            "Timestamp": MILLIS,
            "CloudWatchMetrics": [
                {
                    "Namespace": "discriminat",
                    "Dimensions": [["Deployment", "Zone"]],
                    "Metrics": [
                        {"Name": "Ready", "Unit": "None"},
                        {"Name": "PolicyAge", "Unit": "Seconds"},
                        {"Name": "ConntrackUse", "Unit": "Percent"},
                        {"Name": "Clients", "Unit": "Count"},
                        {"Name": "Names", "Unit": "Count"},
                        {"Name": "PacketsHeld", "Unit": "Count"},
                        {"Name": "PacketsInspected", "Unit": "Count"},
                        {"Name": "FlowEvents", "Unit": "Count"},
                        {"Name": "QueueDrops", "Unit": "Count"},
                        {"Name": "LogLinesLost", "Unit": "Count"},
                        {"Name": "WorkerRestarts", "Unit": "Count"},
                        {"Name": "EngineErrors", "Unit": "Count"},
                    ],
                }
            ],
        },
        "Deployment": "egress",
        "Zone": "eu-west-2a",
        "instance": "i-1",
        "Ready": 1,
        "PolicyAge": 3.1,
        "ConntrackUse": 2.3,
        "Clients": 7,
        "Names": 40,
        "PacketsHeld": 2,
        "PacketsInspected": 1500,
        "FlowEvents": 100,
        "QueueDrops": 3,
        "LogLinesLost": 5,
        "WorkerRestarts": 2,
        "EngineErrors": 6,
    }


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(READING, id="all is known"),
        pytest.param(Reading(), id="nothing is known"),
        pytest.param(Reading(conntrack_most=0), id="no limit"),
    ],
)
def test_the_line_keeps_to_the_format(now: Reading) -> None:
    """As the specification has it, and the line that is shipped holds nothing but this object."""
    event = json.loads(render(LINE.event(Reading(), now, MILLIS), MILLIS / 1000))
    directive = directive_of(event)

    assert set(event["_aws"]) == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(event["_aws"]["Timestamp"], int)
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert 1 <= len(directive["Namespace"]) <= 255
    for dimensions in directive["Dimensions"]:
        assert len(dimensions) <= 30
        assert all(isinstance(event[name], str) and event[name] for name in dimensions)
    assert 1 <= len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        assert set(metric) == {"Name", "Unit"}
        assert metric["Unit"] in UNITS
        assert type(event[metric["Name"]]) in {int, float}  # a bool is no number to CloudWatch


def test_the_table_is_what_is_told() -> None:
    """What others read in METRICS is what a line brings when everything is known, in no other namespace."""
    directive = directive_of(LINE.event(Reading(), READING, MILLIS))

    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == METRICS
    assert directive["Dimensions"] == [list(DIMENSIONS)]
    assert directive["Namespace"] == NAMESPACE


@pytest.mark.parametrize(
    ("unknown", "metric"),
    [({"policy_age": None}, "PolicyAge"), ({"conntrack_most": None}, "ConntrackUse")],
)
def test_what_is_not_known_is_left_out(unknown: dict, metric: str) -> None:
    """A zero would say that all is well."""
    event = LINE.event(Reading(), dataclasses.replace(READING, **unknown), MILLIS)

    assert metric not in event
    assert {told["Name"] for told in directive_of(event)["Metrics"]} == set(METRICS) - {metric}


@pytest.mark.parametrize(
    ("entries", "most", "percent"), [(0, 65536, 0.0), (65536, 65536, 100.0), (52429, 65536, 80.0), (9, 0, 0.0)]
)
def test_conntrack_use(entries: int, most: int, percent: float) -> None:
    """A kernel without a limit never fills."""
    now = dataclasses.replace(READING, conntrack_entries=entries, conntrack_most=most)

    assert LINE.event(Reading(), now, MILLIS)["ConntrackUse"] == percent


def test_the_next_line_tells_what_came_since() -> None:
    """Counts are differences, the rest is as it is now."""
    now = dataclasses.replace(READING, ready=False, packets_inspected={"queue 0": 1001, "queue 1": 520})

    event = LINE.event(READING, now, MILLIS)

    told = ("Ready", "PacketsInspected", "FlowEvents", "QueueDrops", "LogLinesLost", "WorkerRestarts", "EngineErrors")
    assert [event[name] for name in told] == [0, 21, 0, 0, 0, 0, 0]
    assert event["Clients"] == 7


@pytest.mark.parametrize("count", [field.name for field in dataclasses.fields(Reading) if field.type == Counts])
def test_every_count_reaches_its_metric(count: str) -> None:
    """One count that grows makes one metric grow, the one that is named after it."""
    grew = dataclasses.replace(READING, **{count: {**getattr(READING, count), "another": 11}})
    name = count.title().replace("_", "")

    event = LINE.event(READING, grew, MILLIS)

    still = LINE.event(READING, READING, MILLIS)
    assert {metric for metric in METRICS if event[metric] != still[metric]} == {name}
    assert event[name] == 11


@pytest.mark.parametrize(
    ("before", "now", "more"),
    [
        ({}, {"a": 5}, 5),
        ({"a": 5}, {"a": 5}, 0),
        ({"a": 5}, {"a": 7, "b": 1}, 3),
        ({"a": 5}, {"a": 2}, 2),  # began anew
        ({"a": 100, "b": 50}, {"a": 3, "b": 51}, 4),  # one began anew: the other's count is not counted again
        ({"a": 100, "b": 50}, {"b": 50}, 0),  # one is gone
        ({}, {}, 0),
    ],
)
def test_counts_that_fell_begin_anew(before: dict, now: dict, more: int) -> None:
    """Never less than nothing, and each source by itself."""
    assert grown(before, now) == more


@pytest.mark.parametrize("value", ["", " ", "é", "a\nb", "x" * 1025])
@pytest.mark.parametrize("name", ["deployment", "zone"])
def test_what_cannot_be_a_dimension_is_refused(name: str, value: str) -> None:
    """CloudWatch would take the line and make no metric of it."""
    with pytest.raises(ValueError) as refused:
        MetricsLine(**{"deployment": "egress", "zone": "eu-west-2a", "instance": "i-1", name: value})

    assert str(refused.value).startswith(f"{name.title()} of the metrics is {value!r}: it has to be 1 to 1024")
