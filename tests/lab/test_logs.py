"""The logs: one JSON object a line, on disk at once, and in CloudWatch Logs whatever happens on the way."""

import json
import re

import pytest

from appliance.event import FLOW_FIELDS
from tests.lab.lab import LOG_GROUP, Lab, wait_until
from tests.lab.servers import Server
from tests.lab.story import SHORT_WAITS, launch, tls
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")

SHIPPED = 25.0  # seconds for lines to reach CloudWatch after an outage


@pytest.fixture(scope="module")
def web(lab: Lab, appliance: object) -> Workload:
    """A client that makes lines."""
    return launch(lab, "logs", tls("api.logs.test"))


@pytest.fixture(scope="module")
def api(lab: Lab) -> Server:
    """A server to reach."""
    return lab.internet.tls("api.logs.test")


def make_lines(lab: Lab, web: Workload, count: int) -> list[int]:
    """Make connections, one after the other; return their source ports in order."""
    ports = []
    for _ in range(count):
        skip = len(lab.appliance.flow_events())
        assert web.curl("https://api.logs.test/").ok
        event = lab.appliance.wait_for_event(lambda event: "spt" in event, cat="server", skip=skip)
        ports.append(int(event["spt"]))
    return ports


def shipped_ports(lab: Lab) -> list[int]:
    """Return the source ports of the server's lines in CloudWatch, in order."""
    events = [json.loads(each) for each in lab.log_events("flow")]
    return [int(each["spt"]) for each in events if each["cat"] == "server"]


def shipping(lab: Lab, key: str):
    """Return a number of the health page about CloudWatch."""
    return lab.appliance.details()["logs"]["cloudwatch"][key]


def test_every_line_is_a_json_object_with_the_products_fields(lab: Lab, web: Workload, api: Server) -> None:
    """The names and nothing else; the time first, in UTC with milliseconds."""
    make_lines(lab, web, 1)

    for line in (lab.appliance.logs / "flow.jsonl").read_text().splitlines():
        event = json.loads(line)
        assert next(iter(event)) == "time"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
        assert set(event) - {"time"} <= set(FLOW_FIELDS)
        assert {"dhost", "cat", "outcome", "src", "spt", "proto", "proto_v", "dst", "dpt"} <= set(event)
        assert event["instance"] == lab.appliance.instance


def test_lines_reach_cloudwatch_as_they_are_on_disk(lab: Lab, web: Workload, api: Server) -> None:
    """Streams `flow` and `config` hold what the files hold."""
    ports = make_lines(lab, web, 3)

    assert wait_until(lambda: shipped_ports(lab)[-3:] == ports, SHIPPED)
    local = (lab.appliance.logs / "flow.jsonl").read_text().splitlines()
    assert set(local) <= set(lab.log_events("flow"))  # which has those of earlier starts as well
    told = set((lab.appliance.logs / "config.jsonl").read_text().splitlines())
    assert wait_until(lambda: told <= set(lab.log_events("config")), SHIPPED)


def test_lines_wait_on_disk_while_cloudwatch_is_away(lab: Lab, web: Workload, api: Server) -> None:
    """Afterwards all of them arrive, in order; nothing is lost, and nobody waited for it."""
    with lab.trouble("logs", "throttle"):
        ports = make_lines(lab, web, 3)
        assert wait_until(lambda: shipping(lab, "spooled") > 0, SHIPPED)
        ports += make_lines(lab, web, 2)
        assert shipping(lab, "failure")
        assert lab.appliance.health()[0] == 200

    assert wait_until(lambda: shipping(lab, "spooled") == 0 and not shipping(lab, "failure"), SHIPPED)
    ports += make_lines(lab, web, 1)
    assert wait_until(lambda: shipped_ports(lab)[-6:] == ports, SHIPPED)
    assert shipping(lab, "lost") == 0


def test_the_log_group_may_be_missing(lab: Lab, web: Workload, api: Server) -> None:
    """The health page says so; once somebody has made it, what waited arrives."""
    lab.logs.delete_log_group(logGroupName=LOG_GROUP)
    try:
        ports = make_lines(lab, web, 2)
        assert wait_until(lambda: LOG_GROUP in shipping(lab, "failure"), SHIPPED)
        assert wait_until(lambda: shipping(lab, "spooled") > 0, SHIPPED)
    finally:
        lab.logs.create_log_group(logGroupName=LOG_GROUP)
    assert wait_until(lambda: shipped_ports(lab) == ports, SHIPPED)


def test_what_waits_survives_a_restart(lab: Lab, web: Workload, api: Server) -> None:
    """A spool on disk is shipped by the next start."""
    with lab.trouble("logs", "refuse"):
        ports = make_lines(lab, web, 2)
        assert wait_until(lambda: shipping(lab, "spooled") > 0, SHIPPED)
        assert lab.appliance.stop() == 0
    lab.appliance.start(SHORT_WAITS)
    assert wait_until(lambda: shipped_ports(lab)[-2:] == ports, SHIPPED)
