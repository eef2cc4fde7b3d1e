"""The operating system's side: sysctls in a folder of our own."""

from pathlib import Path

import pytest

from appliance.edge import system
from appliance.edge.system import (
    ESTABLISHED_WAIT,
    UNACKNOWLEDGED_WAIT,
    apply_kernel_settings,
    conntrack_capacity,
    conntrack_use,
    kernel_settings,
    memory_octets,
    queue_drops,
)
from appliance.settings import Settings

GIB = 1 << 30


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc/sys in which every setting has another value."""
    for name in kernel_settings(GIB):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("7\n")
    for interface in ("lo", "ens5"):
        path = tmp_path / "net/ipv4/conf" / interface / "send_redirects"
        path.parent.mkdir(parents=True)
        path.write_text("1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("memory", "entries"),
    [(0, 65536), (GIB // 2, 131072), (GIB, 262144), (8 * GIB, 2097152), (8 * GIB - 1, 2097152), (64 * GIB, 16777216)],
)
def test_conntrack_capacity_follows_memory(memory: int, entries: int) -> None:
    """A power of two, never less than a small box needs, never more than an eighth of the memory."""
    assert conntrack_capacity(memory) == entries


def test_settings_are_set(proc: Path) -> None:
    """All of them, on each interface too; nothing failed."""
    assert apply_kernel_settings(GIB, proc) == []
    assert {name: (proc / name).read_text() for name in kernel_settings(GIB)} == kernel_settings(GIB)
    assert (proc / "net/ipv4/conf/ens5/send_redirects").read_text() == "0"


def test_what_keeps_flows_honest_is_among_the_settings() -> None:
    """Flows are not adopted in the middle, numbers out of the window are invalid, forwarding comes last."""
    settings = kernel_settings(GIB)
    assert settings["net/netfilter/nf_conntrack_tcp_loose"] == "0"
    assert settings["net/netfilter/nf_conntrack_tcp_be_liberal"] == "0"
    assert settings["net/netfilter/nf_conntrack_checksum"] == "1"
    assert list(settings)[-1] == "net/ipv4/ip_forward"


def test_handshakes_hold_nothing_for_long() -> None:
    """At the rate of one client they take about half of the ports towards one server; an open flow keeps its own."""
    settings = {name.rpartition("/")[2]: int(value) for name, value in kernel_settings(GIB).items()}
    timeouts = {state: settings[f"nf_conntrack_tcp_timeout_{state}"] for state in ("syn_sent", "syn_recv")}
    rate = Settings().engine_client_rate

    assert max(timeouts.values()) * rate + 2 * rate <= 0.55 * (65536 - 1024)
    assert settings["nf_conntrack_tcp_timeout_established"] == ESTABLISHED_WAIT > UNACKNOWLEDGED_WAIT
    assert settings["nf_conntrack_tcp_timeout_unacknowledged"] == UNACKNOWLEDGED_WAIT


def test_a_setting_that_is_right_is_not_written(proc: Path) -> None:
    """In a container it may be read-only and right."""
    path = proc / "net/ipv4/ip_forward"
    path.write_text("1\n")
    before = path.stat().st_mtime_ns
    apply_kernel_settings(GIB, proc)
    assert path.stat().st_mtime_ns == before
    assert path.read_text() == "1\n"


def test_settings_that_cannot_be_set_are_reported(proc: Path) -> None:
    """With the cause; the others are set all the same."""
    path = proc / "net/netfilter/nf_conntrack_max"
    path.unlink()
    path.mkdir()
    (proc / "net/netfilter/nf_conntrack_buckets").unlink()
    assert apply_kernel_settings(GIB, proc) == [
        "net/netfilter/nf_conntrack_buckets: No such file or directory",
        "net/netfilter/nf_conntrack_max: Is a directory",
    ]
    assert (proc / "net/ipv4/ip_forward").read_text() == "1"


def test_conntrack_use(proc: Path) -> None:
    """In use, and at most."""
    (proc / "net/netfilter/nf_conntrack_count").write_text("12\n")
    (proc / "net/netfilter/nf_conntrack_max").write_text("262144\n")
    assert conntrack_use(proc) == (12, 262144)


def test_memory_is_plausible() -> None:
    """Of this machine."""
    assert memory_octets() > GIB // 8


def test_queue_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the queue and those of its socket, per queue; none where there is no such file."""
    listing = tmp_path / "nfnetlink_queue"
    monkeypatch.setattr(system, "Path", lambda _: listing)
    assert queue_drops() == {}
    listing.write_text("    0   1234 0 2 65535     3     4      100  1\n    7   1235 1 2 65535     0     0   9  1\n")
    assert queue_drops() == {0: 7, 7: 0}
