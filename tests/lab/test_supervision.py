"""Supervision: whatever dies, everything stays closed, and comes back by itself or by the next start."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests import hellos, installed
from tests.lab.appliance import Appliance, ApplianceError
from tests.lab.lab import Lab, wait_until
from tests.lab.metadata import Host
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import SHORT_WAITS, assert_closed, conversation, hello, launch, tls
from tests.lab.tcp import Peer
from tests.lab.workload import Workload

NAME = "api.alive.test"
GOOD = hello(NAME)


@pytest.fixture
def firewall(lab: Lab, appliance: Appliance) -> Appliance:
    """The appliance, running, whatever the test before did to it."""
    if appliance.process is None:
        appliance.start(SHORT_WAITS)
    appliance.wait_healthy()
    return appliance


@pytest.fixture(scope="module")
def api(lab: Lab) -> Server:
    """A server to reach."""
    return lab.internet.tls(NAME)


@pytest.fixture(scope="module")
def web(lab: Lab, appliance: object, api: Server) -> Workload:
    """A client that may reach it, and as far as AWS is concerned anything."""
    client = launch(lab, "alive", tls(NAME, "mute.alive.test"), egress("-1", None))
    assert client.curl(f"https://{NAME}/").ok
    return client


def works(web: Workload) -> bool:
    return web.curl(f"https://{NAME}/").ok


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


# ---- who may talk to the box ----


def test_clients_reach_the_health_page_and_nothing_else_of_the_box(
    lab: Lab, firewall: Appliance, web: Workload
) -> None:
    """Its own ports are closed to clients, whatever listens on them."""
    answer = web.curl(f"http://{firewall.address}:1042/healthz")
    assert answer.json["status"] == "ok"
    assert (
        "404"
        in web.curl(f"http://{firewall.address}:1042/etc/passwd", "-I").out
        + web.curl(f"http://{firewall.address}:1042/x", "-o", "/dev/null", "-w", "%{http_code}").out
    )
    for port in (22, 53, 8080):
        with firewall.namespace.listen(firewall.address, port), pytest.raises(TimeoutError):
            web.connect(firewall.address, port, timeout=0.4)
    with pytest.raises(TimeoutError):
        web.exchange_datagram(firewall.address, 53, b"query", timeout=0.4)


def test_the_internet_reaches_nothing_of_the_box(lab: Lab, firewall: Appliance) -> None:
    """Its Elastic IP does not answer."""
    stranger = lab.internet.namespace.open_socket()
    stranger.settimeout(0.5)
    with stranger, pytest.raises(TimeoutError):
        stranger.connect((firewall.public, 1042))


# ---- queues ----


def test_flows_are_spread_over_the_queues_and_keep_their_worker(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """Ports are part of the hash; every reply meets the worker that saw the hello, or none would be allowed."""
    before = packets_of_queues(firewall)
    assert len(before) == len(firewall.workers()) >= 2

    assert all(works(web) for _ in range(24))

    after = packets_of_queues(firewall)
    assert all(after[queue] > before[queue] for queue in before)


def packets_of_queues(appliance: Appliance) -> dict[int, int]:
    """Return how many packets each queue has numbered."""
    listing = appliance.namespace.run("cat", "/proc/net/netfilter/nfnetlink_queue").stdout
    return {int(line.split()[0]): int(line.split()[7]) for line in listing.splitlines()}


RENDER = """
from appliance.address import Network
from appliance.edge.netfilter import Netfilter, NetfilterConfig, render_ruleset
import json
clients = (Network.parse("10.0.0.0/16"),)
print(json.dumps([Netfilter().has_nft_queue(), render_ruleset(NetfilterConfig(clients, 2, nft_queue=True))]))
"""


def test_the_variant_in_use_is_the_one_the_kernel_has(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """The log says which; the other variant's rules are right but for the statement that is missing."""
    has_statement, ruleset = json.loads(firewall.run_python(RENDER))
    started = [each for each in firewall.config_events() if each["outcome"] == "started"][-1]["reason"]
    rules = firewall.namespace.run("iptables", "-S", check=False).stdout
    assert ("NFQUEUE" in rules) is not has_statement
    assert "--queue-bypass" not in rules
    assert "bypass" not in ruleset
    assert ("iptables NFQUEUE" in started) is not has_statement

    checked = firewall.namespace.run("nft", "--check", "-f", "-", input=ruleset, check=False)

    if has_statement:
        assert checked.returncode == 0, checked.stderr
    else:
        places = [line for line in checked.stderr.splitlines() if not line.startswith(("/dev/stdin", " ", "^"))]
        quoted = [line for line in checked.stderr.splitlines() if "queue num" in line]
        assert quoted, checked.stderr
        assert not places or all("queue" in each for each in places), checked.stderr


# ---- workers ----


def test_a_worker_that_is_stuck_stays_closed_and_recovers(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """A stopped process answers no packet; when it goes on, so do the flows that waited."""
    server = lab.internet.lines("mute.alive.test")
    pids = firewall.workers()
    with conversation(web, NAME) as ask:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            with web.connect(server.address, 443) as stream:
                stream.sendall(hello("mute.alive.test"))
                assert ask()  # what is allowed already is the kernel's
                assert server.received() == b""
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
                assert wait_until(lambda: server.received() == hello("mute.alive.test"))
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
    assert works(web)
    assert firewall.workers() == pids


def test_a_full_queue_stays_closed_and_recovers(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """What does not fit is dropped and counted, never passed."""
    server = lab.internet.lines("", reply=hellos.server_stream())
    skip = len(firewall.config_events())
    pids = firewall.workers()
    with Peer(web, server.address, 443) as peer:
        peer.connect()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(10_000):
                peer.send(b"x")
            assert wait_until(lambda: firewall.details()["queue_drops"] > 0)
            assert server.received() == b""
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
    firewall.wait_for_event(lambda event: "queue was full" in event["reason"], cat="error", skip=skip, timeout=15)
    assert wait_until(lambda: works(web), 15)
    assert server.received() == b""


def test_a_killed_worker_is_started_again(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """Closed meanwhile, and the log says so; what was allowed lives on."""
    skip = len(firewall.config_events())
    before = firewall.workers()
    with conversation(web, NAME) as ask:
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert_closed(lab, web)
        assert ask()
        event = firewall.wait_for_event(cat="error", outcome="restarted", skip=skip)
        assert "code -9" in event["reason"]
        firewall.wait_healthy()
        assert wait_until(lambda: works(web))
        assert ask()
    after = firewall.workers()
    assert len(after) == len(before)
    assert not set(after) & set(before)
    assert firewall.details()["workers_restarted"] >= len(before)


def test_a_worker_that_dies_again_and_again_does_not_spin(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """Restarts are spaced."""
    before = firewall.details()["workers_restarted"]
    for _ in range(2):
        for pid in firewall.workers():
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: firewall.health()[0] == 503)
        firewall.wait_healthy()
    assert firewall.details()["workers_restarted"] - before <= 2 * len(firewall.workers())
    assert works(web)


# ---- the supervisor ----


def test_sigterm_drains_and_flushes(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """Exit status 0, the last lines shipped, what is allowed lives on, what is new is closed; then it starts again."""
    pids = firewall.workers()
    with conversation(web, NAME) as ask:
        assert works(web)
        assert firewall.stop() == 0
        assert not [pid for pid in pids if is_alive(pid)]
        assert ask()
        assert_closed(lab, web)
        last = firewall.config_events()[-1]
        assert (last["cat"], last["outcome"]) == ("appliance", "stopped")
        local = (firewall.logs / "flow.jsonl").read_text().splitlines()
        assert local[-1] in lab.log_events("flow")
        firewall.start(SHORT_WAITS)
        assert ask()
        assert works(web)
        assert ask()


def test_a_killed_supervisor_leaves_everything_closed(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """The workers exit, the kernel drops what it would queue; a new start works, and old flows survive all of it."""
    pids = firewall.workers()
    with conversation(web, NAME) as ask:
        firewall.kill()
        assert wait_until(lambda: not [pid for pid in pids if is_alive(pid)])
        assert_closed(lab, web)
        assert not works(web)
        assert ask()
        firewall.start(SHORT_WAITS)
        assert works(web)
        assert ask()


def test_it_says_what_it_is(firewall: Appliance) -> None:
    """The config log tells how the engine runs; what `make test` starts is what is installed."""
    started = firewall.wait_for_event(cat="appliance", outcome="started")
    assert f"engine {'interpreted' if installed.build() is None else 'compiled'}" in started["reason"]


USER_DATA = """# Settings of discriminat; written by a test
[aws]
deployment = "egress"
[health]
port = 1043
"""


def test_user_data_are_settings(lab: Lab, firewall: Appliance) -> None:
    """What the launch template says is in force, the port of the health page included; it names the metrics."""
    here = Host(firewall.instance, firewall.region, user_data=USER_DATA)
    firewall.stop()
    lab.metadata.register(firewall.interface, here)
    try:
        firewall.start({**SHORT_WAITS, "logs": {"metrics_interval": 0.5}}, wait=False)
        assert wait_until(lambda: firewall.health(port=1043)[0] == 200, timeout=20)
        assert firewall.health()[0] == 0

        def ready() -> list[dict[str, object]]:
            return [line for line in firewall.metrics() if line["Deployment"] == "egress" and line["Ready"] == 1]

        assert wait_until(lambda: bool(ready()))
        assert ready()[-1]["Zone"] == f"{lab.region}a"
        assert {name for each in ready()[-1]["_aws"]["CloudWatchMetrics"] for name in each["Dimensions"][0]} == {
            "Deployment",
            "Zone",
        }
        assert wait_until(lambda: any('"Ready":1' in line for line in lab.log_events("metrics")), timeout=15)
    finally:
        lab.metadata.register(firewall.interface, Host(firewall.instance, firewall.region))
        firewall.stop()


def test_user_data_that_cannot_be_understood(lab: Lab, firewall: Appliance) -> None:
    """What somebody asked for is unknown, so nothing is forwarded, and standard error says why."""
    firewall.stop()
    lab.metadata.register(
        firewall.interface, Host(firewall.instance, firewall.region, user_data=f"{USER_DATA}[helth]\n")
    )
    try:
        with pytest.raises(ApplianceError, match=r"unknown section \[helth\]"):
            firewall.start(SHORT_WAITS)
    finally:
        lab.metadata.register(firewall.interface, Host(firewall.instance, firewall.region))
        firewall.stop()


def test_a_start_that_cannot_work_says_why(lab: Lab, firewall: Appliance) -> None:
    """An unknown setting is refused before anything is touched."""
    command = (sys.executable, "-m", "appliance", "run", "--config", "/dev/stdin")
    done = firewall.namespace.run(*command, input="[policy]\npoll_intervall = 3\n", check=False)
    assert done.returncode in (1, 2)
    assert "poll_interval" in done.stderr
    assert "Traceback" not in done.stderr
    assert firewall.health()[0] == 200
