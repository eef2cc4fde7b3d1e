"""The operating system: kernel settings of a NAT, and the service manager.

Source: sd_notify(3); Documentation/networking/nf_conntrack-sysctl.rst and ip-sysctl.rst of Linux.
"""

import asyncio
import importlib.util
import os
import socket
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

PROC_SYS = Path("/proc/sys")
CONNTRACK_OCTETS = 384  # memory of one conntrack entry, roughly
CONNTRACK_SHARE = 8  # at most one part in so many of the memory goes to conntrack
CONNTRACK_LEAST = 65536  # entries
START_INTERVALS = 4  # signs of life that may be missed while starting


def conntrack_capacity(memory: int) -> int:
    """Return how many flows a box with so many octets of memory tracks; a power of two."""
    wanted = max(CONNTRACK_LEAST, memory // CONNTRACK_SHARE // CONNTRACK_OCTETS)
    return 1 << (wanted.bit_length() - 1)


def kernel_settings(memory: int) -> dict[str, str]:
    """Return the sysctls of the appliance, by path below /proc/sys, in the order to set them."""
    capacity = conntrack_capacity(memory)
    return {
        "net/netfilter/nf_conntrack_buckets": str(capacity),
        "net/netfilter/nf_conntrack_max": str(capacity),
        # A flow whose start was not seen is not adopted: its hello was not inspected (P14).
        "net/netfilter/nf_conntrack_tcp_loose": "0",
        "net/netfilter/nf_conntrack_tcp_be_liberal": "0",
        "net/netfilter/nf_conntrack_checksum": "1",
        "net/netfilter/nf_conntrack_tcp_timeout_established": "7440",  # RFC 5382 REQ-5
        # One interface: without this the box tells its clients to go round it.
        "net/ipv4/conf/all/send_redirects": "0",
        "net/ipv4/conf/default/send_redirects": "0",
        "net/ipv4/conf/all/accept_redirects": "0",
        "net/ipv4/conf/all/accept_source_route": "0",
        "net/ipv4/ip_forward": "1",
    }


def apply_kernel_settings(memory: int, root: Path = PROC_SYS) -> list[str]:
    """Set the sysctls; return those that could not be set, with the cause (a container may own them)."""
    interfaces = [path.name for path in (root / "net/ipv4/conf").iterdir() if path.name not in {"all", "default"}]
    settings = kernel_settings(memory)
    settings |= {f"net/ipv4/conf/{interface}/send_redirects": "0" for interface in interfaces}
    failed = []
    for name, value in settings.items():
        path = root / name
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as fault:
            failed.append(f"{name}: {fault.strerror}")
    return failed


def engine_build() -> str:
    """Return how the engine runs: `compiled` (an installed package), or `interpreted`, which takes twice the time."""
    found = importlib.util.find_spec("appliance.engine")
    return "interpreted" if found is None or str(found.origin).endswith(".py") else "compiled"


def utc_today() -> date:
    """Return the date in UTC: see-thru ends with a day of that calendar."""
    return datetime.now(UTC).date()


def memory_octets() -> int:
    """Return the memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def conntrack_use(root: Path = PROC_SYS) -> tuple[int, int]:
    """Return (entries in use, entries at most) of the connection tracking table."""
    names = ("nf_conntrack_count", "nf_conntrack_max")
    count, most = (int((root / "net/netfilter" / name).read_text()) for name in names)
    return count, most


def queue_drops() -> dict[int, int]:
    """Return packets lost per queue, for it was full or its socket was; from the kernel's own count."""
    drops = {}
    try:
        listing = Path("/proc/net/netfilter/nfnetlink_queue").read_text()
    except OSError:
        return {}
    for line in listing.splitlines():
        # queue number, peer, waiting, copy mode, copy range, dropped by the queue, dropped by the socket, ...
        fields = line.split()
        drops[int(fields[0])] = int(fields[5]) + int(fields[6])
    return drops


class ServiceManager:
    """Tells systemd how we are; does nothing where there is no systemd."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    @classmethod
    def from_environment(cls) -> "ServiceManager":
        """Return the manager that systemd has named to us, if any."""
        return cls(os.environ.get("NOTIFY_SOCKET"))

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two signs of life, or None if none is wanted."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        return int(microseconds) / 2_000_000 if microseconds.isdigit() else None

    async def feed_watchdog(self, is_alive: Callable[[], bool]) -> None:
        """Tell that we live, as often as is wanted, while `is_alive` says so.

        The watchdog begins with READY=1. Before that it is the time to start that would run out.
        """
        interval = self.watchdog_interval
        while interval is not None:
            if is_alive():
                self.notify(f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={int(interval * START_INTERVALS * 1_000_000)}")
            await asyncio.sleep(interval)

    def notify(self, state: str) -> None:
        """Send a state such as READY=1; a manager that does not listen is no fault of ours."""
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            try:
                channel.sendto(state.encode(), address)
            except OSError:
                return
