"""The self-test of the data plane: it passes here, it notices what does not filter, and it touches nothing else."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import installed
from tests.lab import service
from tests.lab.namespaces import Namespace

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]

# Runs the verb after a change to the program.
ALTERED = """
import sys
from appliance import cli, trial
from appliance.edge import netfilter, sandbox
{change}
sys.argv = ["discriminat", "prove", "--json"]
cli.main()
"""


@pytest.fixture
def machine() -> Iterator[Namespace]:
    """A machine of its own, with a ruleset and an interface that must stay as they are."""
    with Namespace("machine") as machine:
        machine.nft("table inet discriminat {\n chain forward { type filter hook forward priority 0; policy drop; }\n}")
        machine.ip("link add kept type veth peer name other", "address add 10.1.0.1/24 dev kept", "link set kept up")
        yield machine


def ran(machine: Namespace, *prefix: str, change: str = "", env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run the self-test, and return its findings."""
    script = ALTERED.format(change=change)
    variables = {**installed.environment(), **(env or {})}
    done = machine.run(*prefix, sys.executable, "-c", script, env=variables, check=False, timeout=100)
    assert done.stdout, done.stderr
    findings = json.loads(done.stdout)
    assert done.returncode == int(not findings["passed"])
    return dict(findings)


def test_it_passes_and_touches_nothing(machine: Namespace) -> None:
    """Ruleset, interfaces, kernel settings and queues outside are the same before, during and after it."""
    look = (
        "nft list ruleset; ip -o address; ip rule; sysctl net.ipv4.ip_forward; cat /proc/net/netfilter/nfnetlink_queue"
    )
    before = machine.run("sh", "-c", look).stdout

    findings = ran(machine)

    assert findings["failure"] == ""
    assert findings["summary"].startswith("a listed name got through and another was reset, through ")
    assert findings["seconds"] < 10
    assert machine.run("sh", "-c", look).stdout == before


def test_the_engine_s_user_may_run_it(machine: Namespace) -> None:
    """With the capabilities of the unit, which are none in the sandbox: there it is root."""
    assert ran(machine, *service.command())["passed"]


def test_root_needs_no_user_namespace(machine: Namespace) -> None:
    """A hardened machine may forbid them; whoever may make network namespaces makes do with those."""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    forbidden = ["unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", script, "sh"]

    assert ran(machine, *forbidden)["passed"]


def test_who_may_make_no_namespace_is_told_what_to_do(machine: Namespace) -> None:
    """It fails closed, and says why."""
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    forbidden = ["unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", script, "sh"]
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]

    findings = ran(machine, *forbidden, *powerless)

    assert findings["failure"] == "unshare: Operation not permitted"
    assert "allow user namespaces" in findings["hint"]


# ---- what does not filter is noticed ----

RULES = "render = netfilter.render_ruleset\nnetfilter.render_ruleset = lambda config: render(config){edit}"
REPLACED_BY_NAT = (
    "netfilter.render_ruleset = lambda config: 'table ip x { chain p { type nat hook postrouting priority 100;"
    " masquerade; }; }'; netfilter.Netfilter.open_ports = lambda *_: None"
)
FAULTS = {
    "lets everything pass": (REPLACED_BY_NAT, "the server of a refused flow got "),
    "refuses everything": (RULES.format(edit=".replace('accept', 'drop')"), "an annotated port cannot be connected to"),
    "opens no flow": (
        RULES.format(edit=".replace('== 0xa0000000 ct mark set meta mark accept', '== 0xa0000000 accept')"),
        "what follows in an allowed flow, which the kernel forwards by itself, did not get through",
    ),
    "resets nobody": (
        RULES.format(edit=".replace('== 0x70000000 ct mark set 0xd0000000', '== 0x70000000 drop')"),
        "the server of a refused flow was not reset",
    ),
    "is no ruleset": ("netfilter.render_ruleset = lambda _: 'nonsense'", "nft -f - failed: "),
    "knows another name": ("trial.LISTED, trial.OTHER = trial.OTHER, trial.LISTED", "the log has other"),
    "has no worker": (
        "trial.sys.executable = '/bin/false'",
        "the worker ended by itself, or not at all: exit code 1",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_data_plane_with_a_fault_does_not_pass(machine: Namespace, fault: str) -> None:
    """A ruleset that lets pass, one that refuses, one that resets nobody; no worker, no nft that understands."""
    change, complaint = FAULTS[fault]

    findings = ran(machine, change=f"trial.PATIENCE = 1.0\n{change}")

    assert not findings["passed"]
    assert complaint in findings["failure"]


def test_tools_that_are_missing_are_named(machine: Namespace, tmp_path: Path) -> None:
    """With the package that brings them."""
    findings = ran(machine, change=f"import os; os.environ['PATH'] = {str(tmp_path)!r}")

    assert (findings["failure"], findings["hint"]) == ("ip is not installed", "install the package iproute2")
