"""The program as its unit starts it: a user of its own, two capabilities; not ready before its self-test has passed."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.lab import service
from tests.lab.appliance import Appliance
from tests.lab.lab import Lab, wait_until
from tests.lab.story import SHORT_WAITS, launch, tls
from tests.lab.test_supervision import workers

CAPABILITIES = 1 << 12 | 1 << 13  # CAP_NET_ADMIN, CAP_NET_RAW: linux/capability.h
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # linux/prctl.h; from Linux 6.3 on

# What MemoryDenyWriteExecute= comes to: no memory of this process, or of those it starts, may become executable.
WITHOUT_NEW_CODE = f"""
import ctypes, os, sys
assert ctypes.CDLL(None).prctl({PR_SET_MDWE}, {PR_MDWE_REFUSE_EXEC_GAIN}, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "appliance", *sys.argv[1:]])
"""


def status(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_every_process_has_two_capabilities_and_no_way_to_more(appliance: Appliance) -> None:
    """Supervisor and workers; where there is another user than root, they are that one."""
    assert appliance.process is not None
    others_exist = sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines()) > 1

    for pid in (appliance.process.pid, *workers(appliance)):
        found = status(pid)
        for field in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(found[field], 16) == CAPABILITIES
        assert found["NoNewPrivs"] == "1"
        if others_exist:
            assert found["Uid"].split() == [str(service.USER)] * 4
            assert found["Gid"].split() == [str(service.USER)] * 4
            assert found["Groups"] == ""


def test_the_kernel_s_counts_can_be_read(lab: Lab, appliance: Appliance) -> None:
    """The unit hands the file with the queues' losses over: root's group alone might read it."""
    listing = appliance.namespace.run(*service.command("cat", "/proc/net/netfilter/nfnetlink_queue")).stdout

    assert len(listing.splitlines()) == len(workers(appliance))
    assert wait_until(lambda: appliance.metrics() and "QueueDrops" in appliance.metrics()[-1], 10)


def test_what_is_written_is_the_user_s_alone(appliance: Appliance) -> None:
    """Logs are read by the engine, and by root."""
    for path in appliance.logs.iterdir():
        assert path.stat().st_uid == service.user()
        assert path.stat().st_mode & 0o077 == 0


def test_no_memory_becomes_code(lab: Lab, appliance: Appliance) -> None:
    """MemoryDenyWriteExecute= takes nothing away that the program, its libraries or its self-test need."""
    appliance.stop()
    server = lab.internet.tls("code.service.test")

    appliance.start(SHORT_WAITS, command=(sys.executable, "-c", WITHOUT_NEW_CODE, "run"))

    client = launch(lab, "code", tls("code.service.test"))
    assert client.curl(f"https://{server.name}/").ok


# ---- ready ----


@pytest.fixture
def tools(lab: Lab) -> Path:
    """A folder of tools for the program, without ip."""
    folder = lab.directory / "tools"
    folder.mkdir()
    for name in ("nft", "iptables", "iptables-restore"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def test_not_ready_before_the_self_test_has_passed(lab: Lab, appliance: Appliance, tools: Path) -> None:
    """All stays closed, health and log say why; when the cause is gone it becomes ready by itself."""
    server = lab.internet.tls("late.service.test")
    client = lab.workload("late", groups=[lab.security_group("late", tls(server.name))])
    appliance.stop()
    events = len(appliance.config_events())
    program = ("env", f"PATH={tools}", sys.executable, "-m", "appliance", "run")
    appliance.start(SHORT_WAITS, wait=False, command=program)

    failed = appliance.wait_for_event(cat="error", outcome="failed", skip=events)

    assert failed["reason"] == (
        "the self-test of the data plane, so all stays closed: ip is not installed (install the package iproute2)"
    )
    assert wait_until(lambda: appliance.health()[0] == 503, 10)
    assert appliance.details()["self_test"] == "failed: ip is not installed (install the package iproute2)"
    assert "elements" not in appliance.namespace.run("nft", "list", "set", "inet", "discriminat", "annotated").stdout
    assert client.curl(f"https://{server.name}/").code in (7, 28)
    assert server.connections == []

    (tools / "ip").symlink_to(str(shutil.which("ip")))
    appliance.wait_healthy(40)

    assert appliance.details()["self_test"] == "passed"
    assert client.curl(f"https://{server.name}/").ok
    outcomes = [event["outcome"] for event in appliance.config_events()[events:] if event["cat"] == "appliance"]
    assert [each for each in outcomes if each != "stopped"] == ["started", "tested", "ready"]


# ---- what the unit runs as root ----


def test_what_the_unit_prepares(lab: Lab, appliance: Appliance) -> None:
    """Kernel settings are set where they may be; what belongs to the whole machine is named, and the verb fails."""
    prepare = next(line for line in service.preparations() if line[-1] == "prepare")
    appliance.namespace.sysctl(net__netfilter__nf_conntrack_tcp_loose=1, net__ipv4__ip_forward=0)

    done = appliance.namespace.run(*prepare, env=appliance.environment, check=False)

    assert appliance.namespace.run("sysctl", "-n", "net.ipv4.ip_forward").stdout == "1\n"
    assert appliance.namespace.run("sysctl", "-n", "net.netfilter.nf_conntrack_tcp_loose").stdout == "0\n"
    complaints = {line.split(": ")[-2] for line in done.stderr.splitlines()}
    assert complaints <= {"net/netfilter/nf_conntrack_buckets", "net/netfilter/nf_conntrack_max"}
    assert done.returncode == int(bool(complaints))
