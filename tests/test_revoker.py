"""The revoker: what it ends in a simulated table, and what it tells of it."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import pytest

from appliance import revoker as revoker_module
from appliance.chronicle import Chronicle
from appliance.edge.conntrack import Connection, Marks
from appliance.errors import KernelError
from appliance.event import Event
from appliance.policy.entry import SEEN_THRU, OpenFlow, entry_number
from appliance.policy.policy import EMPTY_POLICY, Policy
from appliance.policy.preferences import DEFAULTS, Preferences, Verbosity
from appliance.revoker import Revoker
from appliance.settings import Settings
from tests.playbook import CLIENT, ELSEWHERE, NAME, OTHER, POLICY, SEEING, SERVER, STRANGER, TODAY, make_policy

UNLISTED = make_policy(names=str(OTHER))


class Table:
    """Stands for the kernel's: open flows, until they are ended."""

    def __init__(self, *flows: OpenFlow, closed: Sequence[OpenFlow] = ()) -> None:
        self.connections = [
            Connection(flow, is_closed=flow in closed, is_idle=False, left=0, original=repr(flow).encode())
            for flow in (*flows, *closed)
        ]
        self.fault: KernelError | None = None
        self.asked = 0

    def __call__(self, marks: Marks) -> "Table":
        assert marks == (0xA0000000, 0xD0000000, 0xF0000000)
        return self

    def allowed(self) -> Iterator[Connection]:
        self.asked += 1
        if self.fault:
            raise self.fault
        yield from [*self.connections, *self.connections[:1]]  # as a table that changes meanwhile may do

    def end(self, connections: Sequence[Connection]) -> None:
        for connection in connections:
            self.connections.remove(connection)

    def close(self) -> None:
        pass

    @property
    def flows(self) -> list[OpenFlow]:
        return [connection.flow for connection in self.connections]


class Story:
    """A revoker, its table, and what is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, table: Table, *, end_flows: bool = True) -> None:
        monkeypatch.setattr(revoker_module, "Conntrack", table)
        settings = Settings(
            logs_directory=str(folder), logs_cloudwatch=False, engine_end_flows=end_flows, policy_poll_interval=0.2
        )
        self.told: list[tuple[str, str, str]] = []
        self._log = folder / "flow.jsonl"
        chronicle = Chronicle(settings, instance="i-1", region="eu-west-2")
        self.revoker = Revoker(settings, chronicle, lambda *event: self.told.append(event), instance="i-1")

    def sweep(self, policy: Policy = POLICY, preferences: Preferences = DEFAULTS, today: date = TODAY) -> list[Event]:
        """Return the flow events of a sweep."""
        before = len(self.events)
        asyncio.run(self.revoker.sweep(policy, preferences, today))
        return self.events[before:]

    @property
    def events(self) -> list[Event]:
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []


def flow(port: int = 40000, *, name: object = NAME, client: int = CLIENT) -> OpenFlow:
    return OpenFlow(client, port, SERVER, 443, entry_number("tls", str(name), 443))  # type: ignore[arg-type]


def test_what_lost_its_rule_is_ended_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name that let it open, which the policy before still had; what is listed goes on."""
    stays = OpenFlow(CLIENT, 40001, SERVER, 22, entry_number("ssh", "git.example.com", 22))
    table = Table(flow(), stays)
    story = Story(tmp_path, monkeypatch, table)
    assert story.sweep() == []
    assert story.told == []

    [event] = story.sweep(UNLISTED)

    assert table.flows == [stays]
    assert {key: event[key] for key in ("cat", "outcome", "code", "dhost", "proto", "gid", "rule", "instance")} == {
        "cat": "client",
        "outcome": "disallowed",
        "code": "rule_removed",
        "dhost": str(NAME),
        "proto": "tls",
        "gid": "sg-1",
        "rule": "tcp/443 0.0.0.0/0",
        "instance": "i-1",
    }
    assert (event["src"], event["spt"], event["dst"], event["dpt"]) == ("10.0.1.10", 40000, "203.0.113.10", 443)
    assert story.told == [("policy", "ended", "1 open flows were ended, which are not allowed any more")]
    assert story.revoker.ended == 1


def test_what_an_earlier_run_left_is_told_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This run never knew the name."""
    story = Story(tmp_path, monkeypatch, Table(flow()))
    [event] = story.sweep(UNLISTED)
    assert (event["dhost"], event["proto"], event["gid"]) == ("203.0.113.10", "unknown", "")


def test_see_thru_that_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day after its last, and when everybody's grant goes."""
    mine, everybodys = (OpenFlow(client, 1, SERVER, 25, SEEN_THRU) for client in (SEEING, CLIENT))
    table = Table(mine, everybodys)
    story = Story(tmp_path, monkeypatch, table)
    assert story.sweep(preferences=Preferences(see_thru=date(2027, 1, 20))) == []
    [event] = story.sweep()
    assert (event["src"], event["code"]) == ("10.0.1.10", "see_thru_ended")
    assert table.flows == [mine]
    [event] = story.sweep(today=date(2027, 2, 1))
    assert (event["code"], event["see_thru_exerted"], event["see_thru_days_remaining"]) == ("see_thru_ended", False, -1)
    assert table.flows == []


def test_many_are_ended_and_some_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow log is bounded, the count is not."""
    monkeypatch.setattr(revoker_module, "LOGGED", 3)
    table = Table(*(flow(port) for port in range(50)))
    story = Story(tmp_path, monkeypatch, table)
    assert len(story.sweep(UNLISTED)) == 3
    assert table.flows == []
    assert story.told[0][2].startswith("50 open flows")


def test_what_is_closed_is_taken_away_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has ended by itself."""
    table = Table(closed=[flow()])
    story = Story(tmp_path, monkeypatch, table)
    assert story.sweep(UNLISTED) == []
    assert (table.flows, story.told, story.revoker.ended) == ([], [], 0)


def test_refusals_that_are_not_wanted_are_not_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every other flow; the count stands in the config log."""
    story = Story(tmp_path, monkeypatch, Table(flow()))
    assert story.sweep(UNLISTED, Preferences(flow_log_verbosity=Verbosity.NONE)) == []
    assert story.told[0][1] == "ended"


def test_a_table_that_cannot_be_had_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told once, until it works."""
    table = Table(flow())
    table.fault = KernelError("no", hint="have it")
    story = Story(tmp_path, monkeypatch, table)
    for _ in range(3):
        assert story.sweep(UNLISTED) == []
        assert story.revoker.is_behind
    assert story.told == [("error", "failed", "open flows go on, allowed or not: no; have it")]
    table.fault = None
    assert len(story.sweep(UNLISTED)) == 1
    assert not story.revoker.is_behind


def test_a_client_that_is_missing_is_given_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS may leave one out by chance: its flows go on if it comes back, and end under their names if it does not."""
    back, gone = flow(client=STRANGER), flow(client=ELSEWHERE)
    table = Table(back, gone, flow(name=OTHER))
    story = Story(tmp_path, monkeypatch, table)
    story.sweep(make_policy((CLIENT, STRANGER, ELSEWHERE)))  # the flow that is not listed ends here
    assert story.sweep() == []
    assert story.revoker.is_behind
    assert table.flows == [back, gone]

    returned, deadline = make_policy((CLIENT, STRANGER)), time.monotonic() + 5
    while story.sweep(returned) == [] and time.monotonic() < deadline:
        assert story.revoker.is_behind

    assert table.flows == [back]
    assert not story.revoker.is_behind
    assert (story.events[-1]["src"], story.events[-1]["dhost"]) == ("198.51.100.9", str(NAME))
    assert len(story.events) == 2


@pytest.mark.parametrize(("policy", "end_flows"), [(EMPTY_POLICY, True), (UNLISTED, False)])
def test_nothing_is_ended_without_a_policy_or_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: Policy, end_flows: bool
) -> None:
    """Before the first reading of AWS, and where the setting says so."""
    table = Table(flow())
    Story(tmp_path, monkeypatch, table, end_flows=end_flows).sweep(policy)
    assert table.asked == 0
