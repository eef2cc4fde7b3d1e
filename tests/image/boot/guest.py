"""Guest: the appliance as the image makes it, a machine of its own, in the place of the lab's.

It answers what stories ask of an Appliance. Its logs are read from its disk over the command channel, as CloudWatch
gets them in batches; its health from the VPC's router, as an Auto Scaling group's or a load balancer's probe would.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.image.boot import credentials
from tests.image.boot.channel import Channel, ChannelError
from tests.image.boot.machine import Machine
from tests.lab.appliance import Appliance, ApplianceError, Config, render_toml
from tests.lab.event_log import Event
from tests.lab.lab import Lab
from tests.lab.metadata import Host
from tests.lab.workload import Result

LOGS = "/var/lib/discriminat/log"
MARK = "# Settings of discriminat"
SETTINGS: Config = {"policy": {"poll_interval": 1.0}}
START = 300.0  # seconds until healthy: an emulated machine on a busy one is slow
EVENT = 30.0  # seconds for an event, likewise
SERVICE = "discriminat.service"


class Guest(Appliance):
    """The machine, and what is known of the program in it."""

    def __init__(self, lab: Lab, machine: Machine, *, patience: float = START) -> None:
        """Take the place of the lab's appliance: its interface, its Elastic IP, its instance.

        Args:
            patience: seconds until it is healthy.
        """
        old = lab.appliance
        super().__init__(old.name, lab.fabric.namespace, machine.folder, address=old.address, interface=old.interface)
        self.public, self.instance, self.region = old.public, old.instance, old.region
        self.machine = machine
        self.patience = patience
        self.healthy_after = 0.0  # seconds from power on
        self._lab = lab
        self._lines: dict[str, list[Event]] = {}
        self._octets: dict[str, int] = {}
        lab.fabric.unplug(old.interface)
        old.close()
        assert lab.fabric.state is not None
        interface = lab.fabric.state.interfaces[old.interface]
        machine.cable, machine.mac = lab.fabric.plug_machine(interface), interface.mac
        lab.appliances[old.name] = self
        self.tell(SETTINGS)

    # ---- running ----

    def tell(self, settings: Config, *, also: str = "") -> None:
        """Make this the instance's user data; read by the program when it starts. `also`: text behind the settings."""
        text = f"{MARK}\n{render_toml(settings)}{also}"
        self._lab.metadata.register(self.interface, Host(self.instance, self.region, user_data=text))

    def start(  # type: ignore[override]
        self, config: Config | None = None, *, wait: bool = True, extra: Mapping[str, str] | None = None
    ) -> "Guest":
        """Switch the power on and wait until health is 200.

        Args:
            config: settings, as user data; those that were told last when absent.
            extra: credentials beside those of every boot.
        """
        if config is not None:
            self.tell(config)
        self._lines, self._octets = {}, {}
        told = {**credentials.channel(self.machine.model.channel), **credentials.emulator(), **(extra or {})}
        self.machine.power_on(told)
        if wait:
            self.wait_healthy()
            self.healthy_after = self.machine.age
            self.wait_channel()
        return self

    def kill(self) -> None:
        """Pull the power."""
        self.machine.pull_power()

    def stop(self) -> int:
        """Pull the power: nobody shuts an instance down from inside."""
        self.kill()
        return 0

    def close(self) -> None:
        """Switch it off; the fabric, which `namespace` is, stays."""
        self.kill()

    # ---- looking at it ----

    @property
    def channel(self) -> Channel:
        """The command channel, which opens during the boot."""
        if self.machine.channel is None:
            raise ChannelError("the machine is off")
        return self.machine.channel

    def wait_channel(self, timeout: float = START) -> None:
        """Return once commands can be run."""
        self._wait(lambda: self.channel.wait_ready(0.2), timeout, lambda: "the command channel does not open")

    def run(self, *command: str, timeout: float = 30.0, check: bool = True) -> Result:
        """Run a command as root in the machine."""
        done = self.channel.run(*command, timeout=timeout)
        if check and not done.ok:
            raise ApplianceError(f"{' '.join(command)}: exit {done.code}: {done.err or done.out}{self._tail()}")
        return done

    def python(self, script: str, *arguments: str) -> Any:
        """Run a Python script as root in the machine; what it prints is JSON."""
        return self.run("/usr/bin/python3", "-Ic", script, *arguments).json

    def property(self, name: str, unit: str = SERVICE) -> str:
        """Return what systemd says of a unit, or of itself when that is empty."""
        return self.run("systemctl", "show", "--value", f"--property={name}", *filter(None, [unit])).out.strip()

    def wait_healthy(self, timeout: float = 0.0) -> None:
        """Return once the health page says 200."""
        super().wait_healthy(timeout or self.patience)

    def flow_events(self) -> list[Event]:
        """Events of the flow log on the disk, of this boot and those before."""
        return self._read("flow.jsonl")

    def config_events(self) -> list[Event]:
        """Events of the config log on the disk, of this boot and those before."""
        return self._read("config.jsonl")

    def metrics(self) -> list[Event]:
        """Lines of metrics on the disk, of this boot and those before."""
        return self._read("metrics.jsonl")

    def wait_for_event(
        self, matches: Callable[[Event], bool] | None = None, *, timeout: float = EVENT, skip: int = 0, **fields: object
    ) -> Event:
        """Return the first event of either log that has these fields and passes `matches`."""
        return super().wait_for_event(matches, timeout=timeout, skip=skip, **fields)

    def said(self) -> str:
        """Everything on the console since the power was switched on."""
        return self.machine.said()

    def shipped(self, stream: str) -> list[Event]:
        """Return the events that CloudWatch has, in an order of their own: it sorts by the millisecond."""
        return sorted(map(json.loads, self._lab.log_events(stream)), key=lambda each: json.dumps(each, sort_keys=True))

    def _read(self, name: str) -> list[Event]:
        lines = self._lines.setdefault(name, [])
        try:
            text = self.channel.read_lines(f"{LOGS}/{name}", self._octets.get(name, 0))
        except ChannelError:
            if self.machine.is_on:
                return lines
            raise
        self._octets[name] = self._octets.get(name, 0) + len(text.encode())
        lines += map(json.loads, text.splitlines())
        return list(lines)

    def _wait(self, condition: Callable[[], bool], timeout: float, complaint: Callable[[], str]) -> None:
        """Look less often than at a program next door: the health page allows ten askings a second."""
        end = time.monotonic() + timeout
        while not condition():
            if not self.machine.is_on:
                raise ApplianceError(f"{complaint()}, and the power is off{self._tail()}")
            if time.monotonic() > end:
                raise ApplianceError(f"waited {timeout} s: {complaint()}{self._tail()}")
            time.sleep(0.2)

    def _tail(self) -> str:
        return f"\n{self.machine.tail()}"
