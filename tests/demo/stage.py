"""The stage: a lab with the demo's servers, Security Groups and workloads, and the appliance running in it."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from tests.demo.scenarios import (
    API,
    ELSEWHERE,
    FILES,
    GIT,
    INGRESS,
    NEWCOMER,
    OLD,
    OTHER_GIT,
    RETRY,
    WORKLOADS,
    Reach,
    Scenario,
    security_groups,
)
from tests.lab.appliance import Appliance
from tests.lab.event_log import Event
from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import Group
from tests.lab.servers import Connection, Server
from tests.lab.workload import Workload

PATIENCE = 5.0  # seconds for an event to be in the log
EDIT_PATIENCE = 20.0  # seconds for an edit to be in force
HANDSHAKE = 22  # type of a TLS record


@dataclass(slots=True)
class Outcome:
    """What came of a scenario. `took`: seconds from the edit of a Security Group to the end of the attempt."""

    scenario: Scenario
    saw: str
    events: list[Event]
    connections: list[Connection]  # of the server; what reached it is read when all is over
    datagrams: list[bytes]
    took: float | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the flow events, in order."""
        return tuple(event["code"] for event in self.events)

    @property
    def outcome(self) -> str:
        """Outcome of the last flow event; empty when there is none."""
        return self.events[-1]["outcome"] if self.events else ""

    @property
    def exerted(self) -> bool | None:
        """Whether see-thru let it pass; None where the event does not speak of see-thru."""
        return self.events[-1].get("see_thru_exerted") if self.events else None

    @property
    def reach(self) -> Reach:
        """How much got to the server, by the server's own record of every octet."""
        if self.datagrams or any(each.plain for each in self.connections):
            return Reach.ALL
        streams = [bytes(each.octets) for each in self.connections if each.octets]
        if not streams:
            return Reach.NOTHING
        return Reach.HELLO if all(map(_is_one_record, streams)) else Reach.ALL

    @property
    def faults(self) -> list[str]:
        """Where it differs from what was expected, one line each; empty when it does not."""
        wanted = self.scenario
        pairs = [
            ("the client saw", self.saw, wanted.sees),
            ("codes logged", ", ".join(self.codes), ", ".join(wanted.codes)),
            ("outcome logged", self.outcome, wanted.outcome),
            ("see-thru exerted", self.exerted, wanted.exerted),
            ("what reached the server", self.reach, wanted.reach),
        ]
        return [f"{what}: {got or 'nothing'}, expected: {want}" for what, got, want in pairs if got != want]


@dataclass
class Stage:
    """Use `Stage.set_up()`; then `play` scenarios, then `close_down`."""

    lab: Lab
    appliance: Appliance
    servers: dict[str, list[Server]]
    groups: dict[str, Group]
    subnet: str = "private-a"
    workloads: dict[str, Workload] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # of the whole, found by close_down

    @classmethod
    def set_up(cls, lab: Lab) -> Self:
        """Return a stage with everything on it, and the appliance healthy."""
        today = datetime.now(UTC).date()
        groups = {
            name: lab.security_group(name, *rules, ingress=INGRESS.get(name, ()))
            for name, rules in security_groups(today).items()
        }
        stage = cls(lab, lab.appliance, open_servers(lab), groups)
        stage.launch_all()
        lab.appliance.start()
        return stage

    def launch_all(self) -> None:
        """Launch every workload but the one that comes late."""
        for name in WORKLOADS:
            if name != NEWCOMER:
                self.launch(name)

    def launch(self, name: str) -> None:
        """Launch a workload in its Security Group."""
        self.workloads[name] = self.lab.workload(name, groups=[self.groups[WORKLOADS[name]]], subnet=self.subnet)

    def play(self, scenario: Scenario) -> Outcome:
        """Return what came of a scenario."""
        appliance, servers = self.appliance, self.servers[scenario.server]
        edited = self._edit(scenario) if scenario.description else None
        if scenario.client not in self.workloads:
            self.launch(scenario.client)
        client = self.workloads[scenario.client]
        before = len(appliance.flow_events())
        connections = {id(each) for server in servers for each in server.connections}
        datagrams = [len(server.datagrams) for server in servers]

        saw = scenario.attempt.run(client)
        took = None if edited is None else time.monotonic() - edited

        def logged() -> list[Event]:
            return [event for event in appliance.flow_events()[before:] if event["src"] == client.address]

        wait_until(lambda: len(logged()) >= len(scenario.codes), PATIENCE)
        outcome = Outcome(
            scenario,
            saw,
            logged(),
            [each for server in servers for each in server.connections if id(each) not in connections],
            [payload for server, at in zip(servers, datagrams, strict=True) for _, payload in server.datagrams[at:]],
            took,
        )
        self.outcomes.append(outcome)
        return outcome

    def _edit(self, scenario: Scenario) -> float:
        """Edit the client's Security Group, wait until the appliance says so, and return when the edit was made."""
        appliance = self.appliance
        before = len(appliance.config_events())
        self.lab.edit_rule(self.groups[scenario.client], description=scenario.description)
        edited = time.monotonic()
        wait_until(lambda: any(event["cat"] == "fqdn" for event in appliance.config_events()[before:]), EDIT_PATIENCE)
        return edited

    def close_down(self) -> None:
        """Stop the appliance, and look whether all it wrote was expected."""
        appliance = self.appliance
        said = appliance.said()
        if (status := appliance.stop()) != 0:
            self.faults.append(f"the appliance ended with status {status}")
        if "Traceback" in said or "discriminat: error:" in said:
            self.faults.append("the appliance complained: " + said.strip().splitlines()[-1])
        logged, expected = len(appliance.flow_events()), sum(len(outcome.events) for outcome in self.outcomes)
        if logged != expected:
            self.faults.append(f"{logged} flow events were logged, {expected} of them by the scenarios")
        if self.lab.log_events("flow") != self.flow_lines():
            self.faults.append("CloudWatch Logs has other flow events than the log on disk")

    def flow_lines(self) -> list[str]:
        """Return the flow log, as it is on the appliance's disk."""
        return (self.appliance.logs / "flow.jsonl").read_text().splitlines()


def open_servers(lab: Lab) -> dict[str, list[Server]]:
    """Start the servers outside, and return them by name."""
    internet = lab.internet
    servers = {
        API: [internet.tls(API), internet.http(API, address=internet.address(API))],
        RETRY: [internet.tls(RETRY, curve="secp384r1")],
        OLD: [internet.tls(OLD, oldest="TLSv1", newest="TLSv1")],
        FILES: [internet.tls(FILES)],
        GIT: [internet.ssh(GIT)],
        OTHER_GIT: [internet.ssh(OTHER_GIT)],
        ELSEWHERE: [internet.tls(ELSEWHERE)],
    }
    for name in (API, ELSEWHERE):
        servers[name].append(internet.udp(name, address=internet.address(name)))
    return servers


def _is_one_record(stream: bytes) -> bool:
    """Whether a stream is a single TLS record that holds (a part of) a handshake message."""
    return len(stream) > 5 and stream[0] == HANDSHAKE and len(stream) == 5 + int.from_bytes(stream[3:5])
