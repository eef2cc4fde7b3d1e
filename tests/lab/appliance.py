"""Appliance: the host private subnets route to, with one interface, one Elastic IP, and the source check off.

`start` runs the real program on it, as the user that its systemd unit names; `plain_nat` makes the kernel masquerade
instead, to show that the lab works without the program and to measure against. Nothing here tells the program that it
is in a lab, beyond the standard AWS endpoint variables.
"""

import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import installed
from tests.lab import service
from tests.lab.event_log import Event, EventLog
from tests.lab.fabric import API
from tests.lab.namespaces import Namespace

HEALTH_PORT = 1042
START_TIMEOUT = 20.0  # seconds until healthy
STOP_TIMEOUT = 15.0  # seconds until ended after SIGTERM
POLL = 0.02  # seconds between two looks at a condition

Config = Mapping[str, Mapping[str, object]]

NAT_RULESET = """\
table ip plain_nat {
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "eth0" masquerade
    }
}
"""


class ApplianceError(Exception):
    """The program did not start, stop or log what was waited for; the text holds the end of its output."""


class Appliance:
    """The host, and the program on it while it runs."""

    def __init__(self, name: str, namespace: Namespace, directory: Path, *, address: str, interface: str) -> None:
        self.name = name
        self.namespace = namespace
        self.address = address
        self.interface = interface  # its ENI's id
        self.public = ""  # its Elastic IP
        self.instance = ""
        self.region = ""
        self.directory = directory
        self.logs = directory / "logs"
        self.output = directory / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self._flow, self._config, self._metrics = (
            EventLog(self.logs / name) for name in ("flow.jsonl", "config.jsonl", "metrics.jsonl")
        )

    # ---- running ----

    def config(self, changes: Config | None = None) -> dict[str, dict[str, object]]:
        """Return the lab's settings with some changed: a poll every second, logs in the lab's directory."""
        settings: dict[str, dict[str, object]] = {
            "logs": {"directory": str(self.logs), "spool": str(self.directory / "spool")},
            "names": {"nameservers": ["10.0.0.2"]},
            "policy": {"poll_interval": 1.0},
        }
        for table, values in (changes or {}).items():
            settings[table] = {**settings.get(table, {}), **values}
        return settings

    def start(
        self,
        config: Config | None = None,
        *,
        wait: bool = True,
        env: Mapping[str, str] | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "appliance", "run"),
    ) -> "Appliance":
        """Start the program and wait until its health is 200; returns itself.

        Args:
            config: settings on top of the lab's.
            wait: false to return at once.
            env: more variables.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.directory / "config.toml"
        path.write_text(render_toml(self.config(config)))
        service.own(self.directory)
        for preparation in service.preparations():
            self.namespace.run(*preparation, env=self.environment, check=False)  # not all may be had in a namespace
        with self.output.open("ab") as output:
            self.process = self.namespace.popen(
                *service.command(*command, "--config", str(path)),
                stdout=output,
                stderr=output,
                env={**self.environment, **(env or {})},
            )
        if wait:
            self.wait_healthy()
        return self

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which any AWS client here finds the lab's API; credentials come from the metadata service."""
        return {
            **installed.environment(),
            "AWS_ENDPOINT_URL": f"http://{API['']}",
            "AWS_ENDPOINT_URL_EC2": f"http://{API['ec2']}",
            "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": f"http://{API['logs']}",
            "AWS_ENDPOINT_URL_SSM": f"http://{API['ssm']}",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "HOME": str(self.directory),
        }

    def run_python(self, script: str) -> str:
        """Run a Python script on the host, as the program would run, and return its output."""
        return self.namespace.run(sys.executable, "-c", script, env=self.environment).stdout

    def stop(self) -> int:
        """Ask the program to end (SIGTERM) and return its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ApplianceError(f"still there {STOP_TIMEOUT} s after SIGTERM{self._tail()}") from None
        finally:
            self.process = None

    def kill(self) -> None:
        """End the program without asking (SIGKILL); whatever it started is left to itself."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wipe(self) -> None:
        """End the program and take away all that it leaves behind: rules, tracked connections, logs, spool."""
        self.stop()
        self.namespace.nft("flush ruleset")
        self.namespace.run("conntrack", "-F")
        for folder in (self.logs, self.directory / "spool"):
            shutil.rmtree(folder, ignore_errors=True)
        self.output.unlink(missing_ok=True)

    @contextmanager
    def plain_nat(self) -> Iterator[None]:
        """Make the kernel alone do the NAT, for the duration of a block."""
        self.namespace.sysctl(net__ipv4__ip_forward=1)
        self.namespace.nft(NAT_RULESET)
        try:
            yield
        finally:
            self.namespace.nft("delete table ip plain_nat")

    # ---- looking at it ----

    def health(self, port: int = HEALTH_PORT) -> tuple[int, str]:
        """Return status and body of its health page; (0, reason) when it does not answer."""
        connection = http.client.HTTPConnection(self.address, port, timeout=2)
        connection.sock = self.namespace.open_socket()
        connection.sock.settimeout(2)
        try:
            connection.sock.connect((self.address, port))
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def details(self) -> dict[str, Any]:
        """Return what the health page says, whatever its status."""
        return dict(json.loads(self.health()[1]))

    def wait_healthy(self, timeout: float = START_TIMEOUT) -> None:
        """Return once the health page says 200."""
        last = (0, "")

        def healthy() -> bool:
            nonlocal last
            if self.process is not None and self.process.poll() is not None:
                raise ApplianceError(f"ended with status {self.process.returncode}{self._tail()}")
            last = self.health()
            return last[0] == http.HTTPStatus.OK

        self._wait(healthy, timeout, lambda: f"health is {last}")

    def flow_events(self) -> list[Event]:
        """Events of the flow log so far."""
        return self._flow.events()

    def config_events(self) -> list[Event]:
        """Events of the config log so far."""
        return self._config.events()

    def metrics(self) -> list[Event]:
        """Lines of metrics so far."""
        return self._metrics.events()

    def wait_for_event(
        self, matches: Callable[[Event], bool] | None = None, *, timeout: float = 30.0, skip: int = 0, **fields: object
    ) -> Event:
        """Return the first event of either log that has these fields and passes `matches`.

        Args:
            skip: events of each log to pass over, such as `len(appliance.flow_events())` before an action.
        """
        found: list[Event] = []

        def look() -> bool:
            for event in (*self.flow_events()[skip:], *self.config_events()[skip:]):
                alike = all(event.get(key) == value for key, value in fields.items())
                if alike and (matches is None or matches(event)):
                    found.append(event)
                    return True
            return False

        def seen() -> str:
            last = [json.dumps(each) for each in (*self.config_events()[-5:], *self.flow_events()[-15:])]
            return "\n".join([f"no event with {fields or matches}; the last ones:", *last])

        self._wait(look, timeout, seen)
        return found[0]

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        if self.process is None:
            return []
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(each) for each in found if b"worker" in Path(f"/proc/{each}/cmdline").read_bytes()]

    def kernel_set(self, name: str) -> str:
        """Return one of the kernel's sets of our table; nothing if there is none."""
        return self.namespace.run("nft", "list", "set", "inet", "discriminat", name, check=False).stdout

    def said(self) -> str:
        """Everything the program wrote to its output."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def close(self) -> None:
        """Switch the host off."""
        self.kill()
        for log in (self._flow, self._config, self._metrics):
            log.close()
        self.namespace.close()

    def _wait(self, condition: Callable[[], bool], timeout: float, complaint: Callable[[], str]) -> None:
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise ApplianceError(f"waited {timeout} s: {complaint()}{self._tail()}")
            time.sleep(POLL)

    def _tail(self) -> str:
        return "\n".join(["", "---- its output ends:", *self.said().splitlines()[-30:]])


def render_toml(tables: Config) -> str:
    """Return one level of tables as TOML; JSON's strings, numbers, booleans and lists are TOML's too."""
    lines = []
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)
