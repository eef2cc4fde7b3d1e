"""The self-test of a deployment, as a workload runs it: what it says is so, and it can fail."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from appliance.selftest.rows import ROWS, UNLISTED
from tests import installed
from tests.lab import service
from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import SHORT_WAITS, ssh, tls, wait_known
from tests.lab.workload import Result, Workload

HOST, OTHER, GIT = "api.selftest.test", "www.elsewhere.test", "git.selftest.test"
NOT_HERE = {"P13"}  # the lab's names have no IPv6 addresses
HONEST = 3 + sum(row.must_pass for row in ROWS) + 1 + 1  # first contact, odd rows, the first hello of T4, last contact
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]

# Where nothing is stopped, the lab's servers get a name that is no ASCII, and Python's ssl says so before its callback.
UNREADABLE = pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")


@dataclass(frozen=True, slots=True)
class Scene:
    lab: Lab
    web: Workload
    host: Server
    other: Server


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Iterator[Scene]:
    """A real TLS server that is listed, another one, a real sshd, and a workload whose groups let even more out."""
    for port in (443, 53):
        lab.internet.udp("", address=lab.internet.address(HOST), port=port)
    host, other = lab.internet.tls(HOST), lab.internet.tls(OTHER)
    lab.internet.ssh(GIT)
    more = (egress("udp", 443), egress("udp", 53), egress("icmp", None))
    web = lab.workload("selftest", groups=[lab.security_group("selftest", tls(HOST), ssh(GIT), *more)])
    yield Scene(lab, web, host, other)
    lab.appliance.wipe()


@pytest.fixture
def filtered(scene: Scene) -> Scene:
    """The appliance runs and knows the workload; all records are empty."""
    scene.lab.appliance.wipe()
    scene.lab.appliance.start(SHORT_WAITS)
    wait_known(scene.lab, scene.web)
    scene.host.forget()
    scene.other.forget()
    return scene


def selftest(web: Workload, *arguments: str, prefix: tuple[str, ...] = ()) -> Result:
    """Run the verb as a workload would, without anything that pip installs."""
    program = (sys.executable, "-S", "-m", "appliance", "selftest")
    return web.run(*prefix, *program, *arguments, env=installed.environment(), timeout=200)


def outcomes(results: list[dict[str, Any]]) -> dict[str, str]:
    """Return what the rows of a document say that are not as they should be behind an appliance."""
    wanted = {row.tried: "allowed" if row.must_pass else "stopped" for row in ROWS if row.mark not in NOT_HERE}
    return {
        f"{each['mark']} {each['tried']}": f"{each['outcome']}: {each['detail']}"
        for each in results
        if each["outcome"] != wanted.get(each["tried"], "not tried")
    }


def test_everything_is_stopped_and_the_flow_log_says_so(filtered: Scene) -> None:
    """Each code of the table is in the flow log, and of what was stopped the server has not got an octet."""
    done = selftest(filtered.web, HOST, "--other", OTHER, "--ssh", GIT, "--json")

    assert done.code == 0, (done.out, done.err)
    results = done.json["results"]
    assert outcomes(results) == {}
    codes = {each["code"] for each in results if each["code"]}
    logged = filtered.lab.appliance.flow_events
    assert wait_until(lambda: codes <= {event["code"] for event in logged() if event["src"] == filtered.web.address})
    assert UNLISTED.encode() not in filtered.host.received()
    assert sum(bool(connection.octets) for connection in filtered.host.connections) == HONEST
    assert filtered.other.received() == b""


def test_nobody_in_particular_may_run_it(filtered: Scene) -> None:
    """What needs root is named as not tried; nothing is called stopped that was not sent."""
    done = selftest(filtered.web, HOST, prefix=tuple(NOBODY))

    assert done.code == 0, (done.out, done.err)
    assert "NOT STOPPED" not in done.out
    assert "P4   a decoy with a bad checksum, then another name" in done.out
    assert done.out.count("needs root") >= 4
    assert done.out.count("--other HOST") == 1
    assert "passed: " in done.out


@UNREADABLE
def test_without_an_appliance_nothing_is_stopped(scene: Scene) -> None:
    """The same rows through plain NAT: each gets through, and the self-test says so."""
    scene.lab.appliance.wipe()
    with scene.lab.plain_nat():
        done = selftest(scene.web, HOST, "--other", OTHER, "--ssh", GIT, "--json")

    assert done.code == 1, (done.out, done.err)
    refused = {
        each["tried"]: each for each in done.json["results"] if each["outcome"] not in {"NOT STOPPED", "allowed"}
    }
    assert {each["mark"] for each in refused.values()} == NOT_HERE, json.dumps(refused, indent=1)


def test_behind_a_dead_engine_nothing_can_be_judged(filtered: Scene) -> None:
    """All is refused then, an honest connection too: that is no proof of anything."""
    filtered.lab.appliance.kill()

    done = selftest(filtered.web, HOST)

    assert (done.code, done.out) == (3, "")
    assert f"error: an honest connection to {HOST} (" in done.err
    assert "hint: it must be listed for TLS" in done.err


def test_what_a_deployment_lets_pass_is_told(filtered: Scene) -> None:
    """One defence is switched off: its rows get through, all others are as before."""
    filtered.lab.appliance.wipe()
    filtered.lab.appliance.start({**SHORT_WAITS, "tls": {"ech": True}})
    wait_known(filtered.lab, filtered.web)

    done = selftest(filtered.web, HOST, "--other", OTHER, "--ssh", GIT, "--json")

    assert done.code == 1, (done.out, done.err)
    assert {line.partition(" ")[0] for line in outcomes(done.json["results"])} == {"T5"}
    through = [each["mark"] for each in done.json["results"] if each["outcome"] == "NOT STOPPED"]
    assert through == ["T5", "T5"]


# ---- on the box ----

# Runs the verb after a change to the program.
ALTERED = """
import sys
from appliance import cli
from appliance.edge import netfilter
{change}
sys.argv = ["discriminat", "selftest", *sys.argv[1:]]
cli.main()
"""
NAT = """
netfilter.render_ruleset = lambda config: (
    "table ip x { chain p { type nat hook postrouting priority 100; masquerade; }; }"
)
netfilter.Netfilter.open_ports = lambda *_: None
"""


def selftest_here(scene: Scene, change: str = "") -> Result:
    """Run the verb on the box, as the engine's user."""
    box = scene.lab.appliance
    script = ALTERED.format(change=change)
    program = service.command(sys.executable, "-c", script, HOST, "--here", "--other", OTHER, "--ssh", GIT, "--json")
    environment = {**box.environment, "SSL_CERT_FILE": str(scene.lab.internet.authority.bundle)}
    done = box.namespace.run(*program, env=environment, check=False, timeout=100)
    return Result(done.returncode, done.stdout, done.stderr)


def test_on_the_box_everything_is_stopped_too(filtered: Scene) -> None:
    """Through a ruleset and an engine in a sandbox to the real host; what is in force is as it was."""
    look = ("sh", "-c", "nft list ruleset | grep -v counter; ip -o address; ip route; sysctl net.ipv4.ip_forward")
    before = filtered.lab.appliance.namespace.run(*look).stdout

    done = selftest_here(filtered)

    assert done.code == 0, (done.out, done.err)
    assert outcomes(done.json["results"]) == {}
    assert UNLISTED.encode() not in filtered.host.received()
    assert sum(bool(connection.octets) for connection in filtered.host.connections) == HONEST
    assert filtered.host.sources() == {filtered.lab.appliance.public}
    assert filtered.other.received() == b""
    assert filtered.lab.appliance.namespace.run(*look).stdout == before


@UNREADABLE
def test_on_the_box_a_ruleset_that_does_not_filter_is_found(filtered: Scene) -> None:
    """It is the ruleset in the sandbox that stops, not the sandbox."""
    done = selftest_here(filtered, NAT)

    assert done.code == 1, (done.out, done.err)
    through = [each["tried"] for each in done.json["results"] if each["outcome"] == "NOT STOPPED"]
    assert len(through) == len(outcomes(done.json["results"]))
    assert len(through) > 35
