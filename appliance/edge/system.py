"""The operating system: kernel settings of a NAT, and what the kernel counts.

Source: Documentation/networking/nf_conntrack-sysctl.rst and ip-sysctl.rst of Linux.
"""

import importlib.util
import os
from datetime import UTC, date, datetime
from pathlib import Path

PROC_SYS = Path("/proc/sys")
CONNTRACK_OCTETS = 384  # memory of one conntrack entry, roughly
CONNTRACK_SHARE = 8  # at most one part in so many of the memory goes to conntrack
CONNTRACK_LEAST = 65536  # entries
# How long conntrack remembers a TCP connection without a packet, in seconds.
HANDSHAKE_WAIT = 15  # while its handshake is not finished
ESTABLISHED_WAIT = 7440  # afterwards: RFC 5382 REQ-5
UNACKNOWLEDGED_WAIT = 300  # while something is not acknowledged, such as a hello that is held


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
        # Handshakes that are not finished hold a port towards their server: not for one and two minutes (X5).
        "net/netfilter/nf_conntrack_tcp_timeout_syn_sent": str(HANDSHAKE_WAIT),
        "net/netfilter/nf_conntrack_tcp_timeout_syn_recv": str(HANDSHAKE_WAIT),
        "net/netfilter/nf_conntrack_tcp_timeout_established": str(ESTABLISHED_WAIT),
        "net/netfilter/nf_conntrack_tcp_timeout_unacknowledged": str(UNACKNOWLEDGED_WAIT),
        "net/netfilter/nf_conntrack_tcp_timeout_max_retrans": str(UNACKNOWLEDGED_WAIT),
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
