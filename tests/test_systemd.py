"""The units of the image and what is laid beside them: order, privileges, and the closed ruleset."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from appliance import cli
from appliance.address import Network
from appliance.edge.netfilter import NetfilterConfig, render_ruleset
from appliance.edge.system import kernel_settings
from appliance.settings import parse_settings
from tests.unit_file import TREE, UNITS, read_unit, words

ENGINE, FIREWALL = "discriminat.service", "discriminat-firewall.service"
CLOSED = (TREE / "usr/lib/discriminat/closed.nft").read_text()
STATE_OCTETS = 512 * 1024 * 1024  # of the image's partition for logs and spool
EXPOSURE_MOST = 2.2  # of 10, as `systemd-analyze security` counts

# What `systemd-analyze security` finds missing, each with the reason. Whatever else it finds fails the test.
EXPOSED = {
    "AmbientCapabilities=": "the two that the engine needs",
    "CapabilityBoundingSet=~CAP_NET_ADMIN": "nft, the queues and the marks",
    "CapabilityBoundingSet=~CAP_NET_(BIND_SERVICE|BROADCAST|RAW)": "resets in the server's name",
    "DeviceAllow=": "the clock, which ProtectClock= lets be read",
    "IPAddressDeny=": "AWS and the resolvers may have any address",
    "PrivateMounts=": "the folder of logs is mounted outside",
    "PrivateNetwork=": "it filters the network",
    "PrivateUsers=": "capabilities of a user namespace are none over the network",
    "ProcSubset=": "it reads /proc/sys/net",
    "RestrictAddressFamilies=~AF_(INET|INET6)": "AWS and the resolvers",
    "RestrictAddressFamilies=~AF_NETLINK": "nft and the queues",
    "RestrictAddressFamilies=~AF_UNIX": "the service manager, and its own workers",
    "RestrictNamespaces=~net": "the self-test",
    "RestrictNamespaces=~user": "the self-test",
    "RootDirectory=/RootImage=": "the image's root is read-only, and has nothing to hide",
}


# ---- order ----


def test_no_interface_comes_up_without_the_closed_ruleset() -> None:
    """The ruleset is loaded before the network is prepared, and systemd-networkd cannot start where that failed."""
    unit = read_unit(FIREWALL)
    drop_in = read_unit("systemd-networkd.service.d/10-discriminat.conf")["Unit"]

    assert "network-pre.target" in words(unit["Unit"], "Before")
    assert words(unit["Unit"], "Wants") == ["network-pre.target"]  # a target that nobody wants orders nothing
    assert unit["Unit"]["DefaultDependencies"] == ["no"]  # they would put it behind sysinit.target
    assert unit["Service"]["Type"] == ["oneshot"]
    assert unit["Service"]["RemainAfterExit"] == ["yes"]
    assert drop_in["Requires"] == drop_in["After"] == [FIREWALL]


def test_nothing_takes_the_ruleset_away() -> None:
    """It is loaded by the first unit, replaced by the engine, and left behind by both."""
    for unit in (FIREWALL, ENGINE):
        assert not {"ExecStop", "ExecStopPost", "ExecReload"} & read_unit(unit)["Service"].keys()
    assert read_unit(FIREWALL)["Service"]["ExecStart"] == ["/usr/sbin/nft -f /usr/lib/discriminat/closed.nft"]


def test_the_engine_starts_behind_the_closed_ruleset_and_for_ever() -> None:
    """It is started again whatever its end was, and no limit leaves it dead."""
    unit = read_unit(ENGINE)

    assert unit["Unit"]["Requires"] == [FIREWALL]
    assert FIREWALL in words(unit["Unit"], "After")
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert unit["Service"]["Restart"] == ["always"]
    assert unit["Service"]["Type"] == ["notify"]
    assert unit["Service"]["WatchdogSec"] == ["30s"]
    assert unit["Service"]["OOMPolicy"] == ["continue"]  # a worker that was killed is started again by the engine


def test_a_state_folder_that_cannot_be_mounted_keeps_nothing_from_starting() -> None:
    """StateDirectory= and its like would require the mount; logs are not worth that."""
    unit = read_unit(ENGINE)

    assert "var-lib-discriminat.mount" in words(unit["Unit"], "Wants")
    assert "var-lib-discriminat.mount" in words(unit["Unit"], "After")
    assert not {"StateDirectory", "LogsDirectory", "WorkingDirectory", "RequiresMountsFor"} & unit["Service"].keys()
    assert unit["Service"]["ReadWritePaths"] == ["-/var/lib/discriminat"]


@pytest.mark.parametrize(("unit", "target"), [(FIREWALL, "sysinit.target"), (ENGINE, "multi-user.target")])
def test_units_are_on_without_being_enabled(unit: str, target: str) -> None:
    """A link in the package itself: nothing has to run for it, and nothing can have forgotten to."""
    link = UNITS / f"{target}.wants" / unit

    assert link.readlink() == Path("..") / unit
    assert read_unit(unit)["Install"]["WantedBy"] == [target]


def test_what_the_units_run_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs and options are the program's own, and files are in the tree."""
    service = read_unit(ENGINE)["Service"]
    lines = [line.lstrip("-+") for line in (*service["ExecStartPre"], *service["ExecStart"])]
    ours = [line.split()[1:] for line in lines if line.startswith("/usr/bin/discriminat ")]

    verbs = [cli._parser(arguments).parse_args(arguments) for arguments in ours]

    assert [verb.run for verb in verbs] == [cli._prepare, cli._run]
    assert (TREE / str(verbs[1].config).lstrip("/")).is_file()


# ---- privileges ----


def test_the_engine_has_two_capabilities_and_no_way_to_more() -> None:
    """Found by running the lab with fewer: without one, no ruleset; without the other, no reset for the client."""
    service = read_unit(ENGINE)["Service"]

    assert service["User"] == service["Group"] == ["discriminat"]
    assert set(words(service, "AmbientCapabilities")) == {"CAP_NET_ADMIN", "CAP_NET_RAW"}
    assert set(words(service, "CapabilityBoundingSet")) == {"CAP_NET_ADMIN", "CAP_NET_RAW"}
    assert service["NoNewPrivileges"] == ["yes"]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.subprocesses
def test_the_engine_s_exposure_is_bounded() -> None:
    """As systemd counts it; and what is missing is what is named above."""
    told = analyze("security", "--offline=true", str(UNITS / ENGINE)).stdout.splitlines()[-1]
    table = analyze("security", "--offline=true", "--json=short", str(UNITS / ENGINE)).stdout
    found = re.search(r"exposure level for discriminat\.service: ([0-9.]+)", told)
    assert found, told

    missing = {check["name"] for check in json.loads(table) if check["set"] is False}

    assert missing - EXPOSED.keys() == set()
    assert float(found[1]) <= EXPOSURE_MOST
    assert f"counts {EXPOSURE_MOST} of 10 at most" in (TREE.parents[1] / "SECURITY.md").read_text()


@pytest.mark.subprocesses
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """An unknown key would be left out with a line in a log that nobody reads."""
    for unit in (ENGINE, FIREWALL):
        text = (UNITS / unit).read_text()
        (tmp_path / unit).write_text(re.sub(r"(Exec\w+=[-+]*)/usr/\S+", r"\1/bin/true", text))

    done = analyze("verify", "--man=no", str(tmp_path / ENGINE), str(tmp_path / FIREWALL))

    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "discriminat" in line] == []


@pytest.mark.subprocesses
def test_the_engine_s_user_cannot_log_in(tmp_path: Path) -> None:
    """No password, no shell; and it is not root."""
    (tmp_path / "etc").mkdir()
    file = TREE / "usr/lib/sysusers.d/discriminat.conf"
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(file)], capture_output=True, timeout=60, check=True)

    name, _, uid, _, _, _, shell = (tmp_path / "etc/passwd").read_text().splitlines()[-1].split(":")
    assert (name, shell) == ("discriminat", "/usr/sbin/nologin")
    assert 0 < int(uid) < 1000
    assert (tmp_path / "etc/shadow").read_text().split(":")[1].startswith("!")


# ---- the closed ruleset ----


def chains(ruleset: str) -> dict[str, list[str]]:
    """Return the lines of each chain."""
    found = re.findall(r"^    chain (\w+) \{\n(.*?)^    \}", ruleset, re.MULTILINE | re.DOTALL)
    return {name: [line.strip() for line in body.splitlines()] for name, body in found}


def test_the_closed_ruleset_is_the_engine_s_without_policy() -> None:
    """Same table, same hooks and priorities, so that loading one replaces the other; and no rule of its own."""
    clients = (Network.parse("10.0.0.0/16"),)
    engine = chains(render_ruleset(NetfilterConfig(clients=clients, queues=2, nft_queue=True)))
    closed = chains(CLOSED)

    assert re.findall(r"table (.*)", CLOSED)[0] == "inet discriminat"
    assert {name: lines[0] for name, lines in closed.items()} == {name: engine[name][0] for name in closed}
    assert closed["forward"] == ["type filter hook forward priority filter - 10; policy drop;"]
    assert closed["output"][1:] == []
    assert closed["input"] == [
        line for line in engine["input"] if line in closed["input"]
    ]  # the same, in the same order
    assert "policy drop" in closed["input"][0]
    assert not any("clients" in line or "dport 1042" in line for line in closed["input"])


REPLACED = f"""
set -e
nft -f {TREE}/usr/lib/discriminat/closed.nft
nft list chain inet discriminat forward
nft -f -
nft list ruleset
"""


@pytest.mark.subprocesses
def test_the_kernel_takes_the_closed_ruleset_and_then_the_engine_s() -> None:
    """Loaded again it is the same; the engine's leaves nothing of it."""
    ruleset = render_ruleset(NetfilterConfig(clients=(), queues=1, nft_queue=False))
    enclosed = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", REPLACED]
    done = subprocess.run(enclosed, input=ruleset, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    before, after = done.stdout.split("table inet discriminat {")[1:]
    assert "policy drop" in before
    assert sorted(re.findall(r"chain (\w+) \{", after)) == sorted(chains(ruleset))


# ---- kernel settings, logs ----


def sysctls() -> dict[str, str]:
    text = (TREE / "usr/lib/sysctl.d/60-discriminat.conf").read_text()
    pairs = [line.removeprefix("-").split(" = ") for line in text.splitlines() if line and not line.startswith("#")]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name.replace(".", "/"): value for name, value in pairs}


def test_forwarding_is_off_until_the_engine_is_about_to_start() -> None:
    """Whatever else both set, they set alike."""
    at_boot, engine = sysctls(), kernel_settings(1 << 30)

    assert at_boot["net/ipv4/ip_forward"] == "0"
    assert engine["net/ipv4/ip_forward"] == "1"
    assert {name for name in at_boot.keys() & engine.keys() if at_boot[name] != engine[name]} == {"net/ipv4/ip_forward"}
    assert at_boot["net/ipv6/conf/all/forwarding"] == "0"


def test_a_kernel_that_failed_is_started_again() -> None:
    """It would not filter; and what it knows is told to nobody."""
    at_boot = sysctls()

    assert int(at_boot["kernel/panic"]) > 0
    assert at_boot["kernel/panic_on_oops"] == "1"
    assert (at_boot["kernel/kptr_restrict"], at_boot["kernel/dmesg_restrict"]) == ("2", "1")


def test_logs_and_spool_fit_into_their_partition() -> None:
    """With a tenth to spare for the file system itself; and they are where the engine may write."""
    settings = parse_settings((TREE / "usr/lib/discriminat/discriminat.toml").read_text(), {})
    logs = 3 * (settings.logs_backups + 1) * settings.logs_max_octets

    assert logs + settings.logs_spool_octets < STATE_OCTETS * 0.9
    for folder in (settings.logs_directory, settings.logs_spool):
        assert folder.startswith("/var/lib/discriminat/")
