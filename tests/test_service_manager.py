"""The service manager, as a socket that the tests read."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.edge.service_manager import ServiceManager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd listens at, and its watchdog of 20 ms."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        yield manager


@pytest.mark.sockets
@pytest.mark.parametrize("is_abstract", [False, True])
def test_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool) -> None:
    """A datagram to the socket that the environment names, in the file system or not."""
    name = f"discriminat-test-{tmp_path.name}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if is_abstract else name)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if is_abstract else name)
        ServiceManager.from_environment().notify("READY=1")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.sockets
def test_nobody_to_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No manager, or one that does not listen, is no fault of ours."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ServiceManager.from_environment().notify("READY=1")
    ServiceManager(str(tmp_path / "nobody")).notify("READY=1")


@pytest.mark.parametrize(("microseconds", "seconds"), [("20000000", 10.0), ("", None), ("x", None), (None, None)])
def test_watchdog_interval(monkeypatch: pytest.MonkeyPatch, microseconds: str | None, seconds: float | None) -> None:
    """Half of what the manager waits."""
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    if microseconds is not None:
        monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    assert ServiceManager(None).watchdog_interval == seconds


@pytest.mark.sockets
def test_the_watchdog_is_fed_while_there_is_life(manager: socket.socket) -> None:
    """Each sign of life also puts off the end of the time to start; without life there is none."""
    looks: list[bool] = []

    async def live() -> None:
        seen_enough = asyncio.Event()

        def is_alive() -> bool:
            looks.append(len(looks) < 3)
            if len(looks) == 6:
                seen_enough.set()
            return looks[-1]

        feeding = asyncio.create_task(ServiceManager.from_environment().feed_watchdog(is_alive))
        await seen_enough.wait()
        feeding.cancel()

    asyncio.run(live())

    assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=40000"] * 3
    manager.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


def test_no_watchdog_is_fed_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at once."""
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)

    asyncio.run(ServiceManager(None).feed_watchdog(lambda: True))
