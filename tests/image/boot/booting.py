"""The story of an image: it boots, filters, loses its power and filters again; then whatever fails leaves it closed.

Test classes of both firmwares inherit the parts, and the tests of a class are told in the order they stand here.
"""

import contextlib
import errno
import json
import select
import socket
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

import pytest

from appliance.edge.system import kernel_settings
from tests.demo.scenarios import API, scenarios
from tests.demo.stage import Outcome, Stage
from tests.image.boot import probes
from tests.image.boot.accelerator import Accelerator
from tests.image.boot.guest import SERVICE, SETTINGS, Guest
from tests.image.boot.network import Network
from tests.image.boot.report import KVM_MOST, REPORT, Boot
from tests.lab.appliance import HEALTH_PORT
from tests.lab.event_log import Event
from tests.lab.lab import Lab, wait_until
from tests.lab.metadata import ROLE
from tests.lab.story import assert_closed, conversation
from tests.lab.workload import Result, Workload

TITLES = [scenario.title for scenario in scenarios(lambda: Path("not used here"))]
CAPABILITIES = f"{1 << 12 | 1 << 13:016x}"  # CAP_NET_ADMIN, CAP_NET_RAW
STATE = 512 * 1024 * 1024  # octets
SLOW = 120.0  # seconds for what an emulated machine on a busy one takes its time for
BATCH = 512  # sockets at a time
SILENCE = 1.0  # seconds without an answer from any port
COMMON_PORTS = (*range(1, 1025), HEALTH_PORT, 2049, 2375, 3000, 3306, 4505, 5000, 5355, 8000, 8080, 8443, 9090, 9100)


def reach(web: Workload, **options: int) -> Result:
    """Try a listed name."""
    return web.curl(f"https://{API}/", **options)


def assert_works(web: Workload) -> None:
    """Assert that a listed name is reached, or show what curl says."""
    assert (result := reach(web)).ok, result


def measure(guest: Guest, web: Workload, accelerator: Accelerator) -> Boot:
    """Report a boot that has just come to its end; where times mean something they are bounded."""
    took = guest.healthy_after
    assert_works(web)
    boot = Boot(
        name=f"{guest.machine.name}, boot {guest.machine.boots}",
        filtering=took,
        ready=int(guest.property("ActiveEnterTimestampMonotonic")) / 1e6,
        systemd=guest.run("systemd-analyze", "time").out.splitlines()[0],
    )
    REPORT.add(boot, guest.machine.folder)
    if accelerator.is_real:
        assert boot.filtering < KVM_MOST, boot.line()
    return boot


@pytest.mark.usefixtures("stage")
class FirstBoot:
    """A disk as it was made."""

    def test_it_filters(
        self, lab: Lab, guest: Guest, web: Workload, network: Network, accelerator: Accelerator
    ) -> None:
        """DHCP gave it its address, the metadata service its identity, role and settings, AWS's API the policy."""
        measure(guest, web, accelerator)
        assert set(network.leases) == {guest.address}
        asked = {path for source, path in lab.metadata.requests if source == guest.address}
        assert asked >= {"/latest/user-data", f"/latest/meta-data/iam/security-credentials/{ROLE}"}
        assert guest.details()["instance"] == guest.instance
        called = {call.action for call in lab.emulator.switchboard.calls() if call.source == guest.address}
        assert called >= {"DescribeSecurityGroups", "DescribeNetworkInterfaces", "PutLogEvents"}

    @pytest.mark.parametrize("title", TITLES)
    def test_scenario(self, played: dict[str, Outcome], title: str) -> None:
        """Client, log and server agree with what the demo's scenario says, as in the lab."""
        assert wait_until(lambda: played[title].faults == []), played[title].faults

    def test_cloudwatch_has_the_log_of_the_disk(self, guest: Guest, played: dict[str, Outcome]) -> None:
        """Two lines of the first connection, those of the scenarios, and no other."""
        expected = [event for outcome in played.values() for event in outcome.events]
        assert guest.flow_events()[2:] == expected

        assert wait_until(lambda: guest.shipped("flow") == in_order(guest.flow_events()), SLOW)
        assert wait_until(lambda: guest.shipped("config") == in_order(guest.config_events()), SLOW)

    def test_the_kernel_itself_queues_and_spreads_flows(self, guest: Guest, web: Workload) -> None:
        """With nft's `queue` statement, never past a queue; both workers' queues get their share."""
        started = guest.wait_for_event(cat="appliance", outcome="started")
        assert "2 queues through the nft queue statement" in started["reason"]
        assert "engine compiled" in started["reason"]
        rules = guest.run("nft", "list", "table", "inet", "discriminat").out
        assert "queue to 0" in rules
        assert "queue to 1" in rules
        assert "bypass" not in rules
        before = queues(guest)
        assert set(before) == {0, 1}

        for _ in range(16):
            assert_works(web)

        after = queues(guest)
        assert all(after[number] > before[number] for number in before)

    def test_the_engine_is_a_user_of_its_own_with_two_capabilities(self, guest: Guest) -> None:
        """Supervisor and workers alike: no root, no way to get more, system calls filtered."""
        uid = guest.run("id", "-u", "discriminat").out.strip()
        found = guest.python(probes.PROCESSES, guest.property("ControlGroup"))
        assert sum(" worker " in each["command"] for each in found.values()) == 2
        for each in found.values():
            assert each["Uid"] == [uid] * 4 != ["0"] * 4
            assert each["Gid"] != ["0"] * 4
            held = {each[name][0] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd")}
            assert held == {CAPABILITIES}, each["command"]
            assert (each["NoNewPrivs"], each["Seccomp"]) == (["1"], ["2"])

    def test_nothing_listens_but_health_and_the_dhcp_client(self, guest: Guest) -> None:
        """Told from inside."""
        assert guest.python(probes.LISTENERS) == [f"tcp 0.0.0.0 {HEALTH_PORT}", f"udp {guest.address} 68"]

    def test_a_client_finds_the_health_port_and_no_other(self, guest: Guest, stage: Stage) -> None:
        """Told from outside, by one whose Security Group lets everything out: the other ports are silent."""
        client = stage.workloads["bare"]
        assert scan(client, guest.address) == [HEALTH_PORT]
        for port in (53, 67, 68, 123, 323, 546, 5353, 5355):
            with pytest.raises(TimeoutError):
                client.exchange_datagram(guest.address, port, bytes(48), timeout=0.2)

    def test_nobody_can_log_in(self, guest: Guest) -> None:
        """The console shows no prompt, nobody reads what is typed there, and no account has a password."""
        guest.machine.type("\nroot\n\n")
        assert guest.python(probes.CONSOLE_READERS, "/dev/ttyS0", "/dev/console", "/dev/tty0", "/dev/tty1") == []
        assert "login" not in guest.said().lower()
        assert "password" not in guest.said().lower()
        secrets = [line.split(":")[1] for line in guest.run("cat", "/etc/shadow").out.splitlines()]
        assert all(each.startswith(("!", "*")) for each in secrets)

    def test_only_the_state_outlives_a_boot(self, guest: Guest) -> None:
        """The root is verified and cannot be written by root; what can be is bounded, and one partition of 512 MiB."""
        refused = guest.python(probes.TOUCH, "/", "/etc", "/usr", "/usr/bin", "/usr/lib/discriminat", "/boot", "/opt")
        assert set(refused.values()) <= {"EROFS", "ENOENT"}
        assert refused["/usr/lib/discriminat"] == "EROFS"
        assert guest.run("cat", "/sys/block/dm-0/dm/uuid").out.startswith("CRYPT-VERITY-")
        writable = {each["where"]: each for each in guest.python(probes.WRITABLE)}
        state = writable.pop("/var/lib/discriminat")
        assert state["type"] == "ext4"
        assert {"nodev", "nosuid", "noexec"} <= set(state["options"])
        assert STATE / 2 < state["octets"] <= STATE
        memory = int(guest.run("getconf", "_PHYS_PAGES").out) * int(guest.run("getconf", "PAGE_SIZE").out)
        for where, each in writable.items():
            assert each["type"] in {"tmpfs", "ramfs"}, where
            assert each["type"] == "ramfs" or each["octets"] <= memory / 2, where

    def test_the_time_is_amazons(self, guest: Guest, network: Network) -> None:
        """chrony has one source, and follows it."""
        sources: list[list[str]] = []

        def follows() -> bool:
            sources[:] = [line.split(",") for line in guest.run("chronyc", "-c", "sources").out.splitlines()]
            return [each[:3] for each in sources] == [["^", "*", "169.254.169.123"]]

        assert wait_until(follows, SLOW), sources
        assert set(network.asked_the_time) == {guest.address}

    def test_it_says_what_it_is(self, guest: Guest, image: Path) -> None:
        """`discriminat version` shows the manifest that the image was made with."""
        said = guest.run("discriminat", "version", "--json").json
        assert said["kernel"] == guest.run("uname", "-r").out.strip() == said["image"]["kernel"]
        described = json.loads(image.with_name(f"{image.name}.json").read_text())
        assert {key: said["image"][key] for key in ("version", "commit", "architecture")} == {
            key: described[key] for key in ("version", "commit", "architecture")
        }

    def test_the_kernel_is_set_up_as_a_nat_that_starts_again(self, guest: Guest) -> None:
        """Tables sized from memory, a reboot after a panic, and a watchdog that somebody feeds."""
        memory = int(guest.run("getconf", "_PHYS_PAGES").out) * int(guest.run("getconf", "PAGE_SIZE").out)
        wanted = {**kernel_settings(memory), "kernel/panic": "10", "kernel/panic_on_oops": "1"}
        found = guest.run("sysctl", "--values", *(name.replace("/", ".") for name in wanted)).out.split()
        assert dict(zip(wanted, found, strict=True)) == wanted
        assert guest.property("RuntimeWatchdogUSec", "").endswith("s")
        assert "watchdog0" in guest.run("ls", "/sys/class/watchdog").out
        assert "/dev/watchdog0" in guest.python(probes.HELD, "1", "/dev/watchdog")

    def test_no_unit_has_failed(self, guest: Guest) -> None:
        """The machine is up, all of it."""
        assert wait_until(lambda: guest.run("systemctl", "is-system-running", check=False).out == "running\n", SLOW)
        assert "Traceback" not in guest.said()


@pytest.mark.usefixtures("stage")
class PowerCut:
    """The same disk after its power was pulled."""

    def test_power_is_pulled_while_logs_wait(self, lab: Lab, guest: Guest, web: Workload, waiting: list[Event]) -> None:
        """CloudWatch takes nothing, so the last lines are on the disk alone."""
        with lab.trouble("logs", "refuse"):
            before = len(guest.flow_events())
            assert_works(web)
            assert wait_until(lambda: len(guest.flow_events()) == before + 2, SLOW)
            waiting += guest.flow_events()[before:]

            def spooled() -> bool:
                shipping = guest.details()["logs"]["cloudwatch"]
                return shipping["spooled"] >= len(waiting) and shipping["queued"] == 0

            assert wait_until(spooled, SLOW), guest.details()
            assert not [event for event in waiting if event in guest.shipped("flow")]
            guest.kill()
            assert not reach(web).ok

    def test_it_filters_again(self, lab: Lab, guest: Guest, web: Workload, accelerator: Accelerator) -> None:
        """With nothing but its disk."""
        guest.start()

        measure(guest, web, accelerator)
        server = lab.internet.tls("elsewhere.power.test")
        assert not web.curl("https://elsewhere.power.test/").ok
        assert server.received() == b""

    def test_what_waited_arrives(self, guest: Guest, waiting: list[Event]) -> None:
        """Nothing that was in the spool before the cut is lost."""
        assert waiting
        assert wait_until(lambda: all(event in guest.shipped("flow") for event in waiting), SLOW)


@pytest.mark.usefixtures("stage")
class Closed:
    """Whatever fails on a running machine."""

    def test_a_killed_service_is_started_again(self, lab: Lab, guest: Guest, web: Workload) -> None:
        """Closed meanwhile; what was allowed lives on in the kernel."""
        with conversation(web, API) as ask:
            restarts = int(guest.property("NRestarts"))
            guest.run("systemctl", "kill", "--signal=KILL", SERVICE)
            assert not reach(web, timeout=1).ok
            assert_closed(lab, web)
            assert ask()
            assert wait_until(lambda: int(guest.property("NRestarts")) > restarts, SLOW)
            guest.wait_healthy()
            assert ask()
        assert_works(web)

    def test_settings_that_cannot_be_understood_open_nothing(self, lab: Lab, guest: Guest, web: Workload) -> None:
        """The console says why; with good ones it filters again, by itself."""
        said = len(guest.said())
        guest.tell(SETTINGS, also="[helth]\n")
        guest.run("systemctl", "restart", "--no-block", SERVICE)
        assert wait_until(lambda: "unknown section [helth]" in guest.said()[said:], SLOW), guest.machine.tail()
        assert_closed(lab, web)
        assert not reach(web).ok
        assert guest.health()[0] != 200

        guest.tell(SETTINGS)
        guest.wait_healthy()
        assert_works(web)

    def test_without_aws_it_opens_nothing(self, lab: Lab, guest: Guest, web: Workload) -> None:
        """No policy, no forwarding; when AWS answers, it filters."""
        with lab.trouble("ec2", "refuse"):
            guest.run("systemctl", "restart", "--no-block", SERVICE)

            def refused() -> bool:
                status, body = guest.health()
                return status == HTTPStatus.SERVICE_UNAVAILABLE and bool(json.loads(body)["aws_failure"])

            assert wait_until(refused, SLOW), guest.machine.tail()
            assert_closed(lab, web)
            assert not reach(web).ok
        guest.wait_healthy()
        assert_works(web)


def queues(guest: Guest) -> dict[int, int]:
    """Return how many packets each queue has numbered."""
    listing = guest.run("cat", "/proc/net/netfilter/nfnetlink_queue").out
    return {int(line.split()[0]): int(line.split()[7]) for line in listing.splitlines()}


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return events in an order of their own: CloudWatch sorts by the millisecond."""
    return sorted(events, key=lambda event: json.dumps(event, sort_keys=True))


def scan(client: Workload, address: str, ports: Iterable[int] = COMMON_PORTS) -> list[int]:
    """Return the TCP ports that answer at all, were it with a reset."""
    answered = []
    left = list(ports)
    while left:
        batch, left = left[:BATCH], left[BATCH:]
        with contextlib.ExitStack() as stack:
            waiting = {}
            poll = select.poll()
            for port in batch:
                stream = stack.enter_context(client.namespace.open_socket())
                stream.setblocking(False)
                assert stream.connect_ex((address, port)) == errno.EINPROGRESS
                waiting[stream.fileno()] = (port, stream)
                poll.register(stream, select.POLLOUT)
            while found := poll.poll(SILENCE * 1000):
                for descriptor, _ in found:
                    poll.unregister(descriptor)
                    port, stream = waiting[descriptor]
                    if stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED):
                        answered.append(port)
    return answered
