"""The kernel's packet filter: our one nftables table, its sets, and the queues to the engine.

The ruleset is rendered whole from one template and loaded in one transaction; `render_ruleset` is
pure, so a test compares it with a stored file. Kernels without the nft `queue` statement (some
microVM kernels) get the same chains, and iptables rules that queue by the mark the chains left.
"""

import enum
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field

import jinja2

from appliance.address import PRIVATE_NETWORKS, Ipv4, Network, format_ipv4
from appliance.errors import KernelError
from appliance.policy.entry import ENTRY_BITS

TABLE = "discriminat"
IPTABLES_CHAIN = "DISCRIMINAT"
PROBE_TABLE = "discriminat_probe"
COMMAND_WAIT = 30.0  # seconds for nft or iptables
SET_CHUNK = 4096  # set elements in one command line of a transaction

STATE_SHIFT = 28
STATE_MASK = 0xF << STATE_SHIFT
QUEUE_SHIFT = 24
QUEUES_MAX = 16
ISN_MASK = (1 << QUEUE_SHIFT) - 1
REOPENED = 1 << ENTRY_BITS  # of a connection's mark: an allowed one's client has sent another SYN


# What bears no mark, such as the bulk of an allowed flow, need not be compared with every queue's.
IPTABLES_JUMP = ["FORWARD", "-m", "mark", "!", "--mark", f"0/{STATE_MASK:#x}", "-j", IPTABLES_CHAIN]


class Mark(enum.IntEnum):
    """What the most significant nibble of a packet's or a connection's mark says."""

    PASS = 0x1  # packet: may go on; the flow stays under inspection
    CLIENT = 0x4  # packet: queued, client to server
    SERVER = 0x5  # packet: queued, server to client
    GATE = 0x6  # packet: queued, no rule lets it pass
    RESET = 0x7  # packet: a reset of our own
    EXCESS = 0x8  # packet: queued, the first of a flow beyond the rate of its client
    ALLOWED = 0xA  # packet and connection
    DENIED = 0xD  # packet and connection

    @property
    def bits(self) -> int:
        """The mark itself."""
        return self.value << STATE_SHIFT


@dataclass(frozen=True, slots=True)
class NetfilterConfig:
    """What the ruleset depends on."""

    clients: tuple[Network, ...]  # whose packets are filtered, and hidden behind our address
    queues: int  # one worker each, 1 to 16
    nft_queue: bool  # the kernel has the nft `queue` statement
    isn_reversed: bool = False  # sequence numbers reach the mark with their octets in reverse
    first_queue: int = 0  # number of the first queue
    health_port: int = 1042
    health_clients: tuple[Network, ...] = ()  # who may ask for it, beside the clients
    mss: int = 1460  # octets; longer segments would not fit the engine's copy of a packet
    refusals_per_second: int = 50  # first packets per client that are looked at before being refused
    openings_per_second: int = 2000  # new flows of one client, and twice as many at once; the others are dropped
    private: tuple[Network, ...] = field(default=PRIVATE_NETWORKS)  # destinations never forwarded to


def isn_of(mark: int, *, is_reversed: bool) -> int:
    """Return the low 24 bits of the client's initial sequence number that a packet's mark carries.

    The mark has the number that the server's SYN acknowledged, which is one more.
    """
    first = mark & ISN_MASK
    if is_reversed:
        first = (first & 0xFF) << 16 | first & 0xFF00 | first >> 16
    return (first - 1) & ISN_MASK


def queue_mark(origin: Mark, queue: int) -> int:
    """Return the mark of a packet on its way to a queue, without the sequence number."""
    return origin.bits | queue << QUEUE_SHIFT


def render_ruleset(config: NetfilterConfig) -> str:
    """Return the whole ruleset, for `nft -f`."""
    if not 1 <= config.queues <= QUEUES_MAX:
        raise KernelError(f"{config.queues} queues asked for", hint=f"use 1 to {QUEUES_MAX}")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("appliance", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 -- nft, not HTML; every value is a number or a Network
        keep_trailing_newline=True,
    )
    return environment.get_template("ruleset.nft.j2").render(
        table=TABLE,
        mark=Mark,
        queues=config.queues,
        first_queue=config.first_queue,
        nft_queue=config.nft_queue,
        isn_reversed=config.isn_reversed,
        health_port=config.health_port,
        health_clients=config.health_clients,
        mss=config.mss,
        refusals_per_second=config.refusals_per_second,
        openings_per_second=config.openings_per_second,
        clients=config.clients,
        private=config.private,
        elements=_elements,
        queue_mark=lambda origin, queue: _hex(queue_mark(Mark[origin.upper()], queue)),
        state_mask=_hex(STATE_MASK),
        isn_mask=_hex(ISN_MASK),
        mark_pass=_hex(Mark.PASS.bits),
        mark_allowed=_hex(Mark.ALLOWED.bits),
        mark_denied=_hex(Mark.DENIED.bits),
        mark_reset=_hex(Mark.RESET.bits),
        reopened=_hex(REOPENED),
        state_or_reopened=_hex(STATE_MASK | REOPENED),
    )


def render_iptables(config: NetfilterConfig) -> str:
    """Return the rules of the variant without the nft statement, for `iptables-restore --noflush`."""
    rules = [
        f"-A {IPTABLES_CHAIN} -m mark --mark {_hex(queue_mark(origin, queue))}/{_hex(STATE_MASK | 0xF << QUEUE_SHIFT)}"
        f" -j NFQUEUE --queue-num {config.first_queue + queue}"
        for origin in (Mark.CLIENT, Mark.SERVER, Mark.GATE, Mark.EXCESS)
        for queue in range(config.queues)
    ]
    return "\n".join(["*filter", f":{IPTABLES_CHAIN} - [0:0]", *rules, "COMMIT", ""])


def _elements(networks: Iterable[Network]) -> str:
    listed = ", ".join(map(str, networks))
    return f"elements = {{ {listed} }}" if listed else ""


def _hex(mark: int) -> str:
    return f"{mark:#010x}"


class Netfilter:
    """The kernel's side of the appliance, in the network namespace of this process."""

    def __init__(self) -> None:
        self._clients: tuple[Network, ...] = ()
        self._annotated: frozenset[tuple[Ipv4, int]] = frozenset()
        self._gated: frozenset[tuple[Ipv4, int]] = frozenset()
        self._see_thru: frozenset[Ipv4] = frozenset()
        self._private: tuple[Network, ...] = ()

    def has_nft_queue(self) -> bool:
        """Tell whether the kernel has the nft `queue` statement, by loading a table that uses it."""
        made = f"table inet {PROBE_TABLE} {{\n chain probe {{\n queue num 0\n }}\n}}\n"
        probe = f"{made}delete table inet {PROBE_TABLE}\n"
        return _run(["nft", "-f", "-"], probe).returncode == 0

    def has_reversed_isn(self) -> bool:
        """Tell whether this nft copies a sequence number to the mark in network order.

        Versions before 1.0.9 or so do not turn the octets, and say nothing; what they send to the
        kernel shows it. The high octets of the mark decide over flows, so this must not be guessed.
        """
        probe = (
            f"table inet {PROBE_TABLE} {{\n chain probe {{\n type filter hook forward priority 0\n"
            " meta mark set tcp ackseq\n }\n}\n"
        )
        return "byteorder" not in _check(["nft", "--check", "--debug=netlink", "-f", "-"], probe)

    def load(self, config: NetfilterConfig) -> None:
        """Replace the ruleset, with the sets empty: closed until `open_ports`.

        Raises:
            KernelError: the kernel or the tools refused; the ruleset is as it was before.
        """
        _check(["nft", "-f", "-"], render_ruleset(config))
        self._clients = config.clients
        self._annotated, self._gated, self._see_thru = frozenset(), frozenset(), frozenset()
        self._private = config.private
        if config.nft_queue:
            return
        _check(["iptables-restore", "--noflush"], render_iptables(config))
        if _run(["iptables", "-C", *IPTABLES_JUMP]).returncode != 0:
            _check(["iptables", "-I", *IPTABLES_JUMP])

    def open_ports(
        self,
        annotated: Iterable[tuple[Ipv4, int]],
        see_thru: Iterable[Ipv4],
        clients: tuple[Network, ...],
        private: tuple[Network, ...] | None = None,
        *,
        syn_gate: bool = False,
    ) -> None:
        """Make the kernel's sets what the policy says, in one transaction.

        Args:
            annotated: (client, port) for which some annotation exists.
            see_thru: clients with a see-thru grant in force today.
            clients: whose packets are filtered, and hidden behind our address.
            private: destinations never forwarded to; None for those there are.
            syn_gate: whether the engine sees every SYN, rather than the hello alone.

        Raises:
            KernelError: nothing was changed.
        """
        listed, new_see_thru = frozenset(annotated), frozenset(see_thru)
        nothing: frozenset[tuple[Ipv4, int]] = frozenset()
        new_annotated, new_gated = (nothing, listed) if syn_gate else (listed, nothing)
        commands = [
            *_set_commands("delete", "annotated", map(_annotated_element, self._annotated - new_annotated)),
            *_set_commands("delete", "gated", map(_annotated_element, self._gated - new_gated)),
            *_set_commands("delete", "see_thru", map(format_ipv4, self._see_thru - new_see_thru)),
            *_set_commands("add", "annotated", map(_annotated_element, new_annotated - self._annotated)),
            *_set_commands("add", "gated", map(_annotated_element, new_gated - self._gated)),
            *_set_commands("add", "see_thru", map(format_ipv4, new_see_thru - self._see_thru)),
        ]
        if clients != self._clients:  # whole, for the kernel has merged networks that touch
            commands += [f"flush set inet {TABLE} clients\n", *_set_commands("add", "clients", map(str, clients))]
        private = self._private if private is None else private
        if private != self._private:
            commands += [f"flush set inet {TABLE} private\n", *_set_commands("add", "private", map(str, private))]
        if commands:
            _check(["nft", "-f", "-"], "".join(commands))
        self._clients = clients
        self._annotated, self._gated, self._see_thru = new_annotated, new_gated, new_see_thru
        self._private = private

    def counters(self) -> dict[str, int]:
        """Return the packets counted by each named counter of our table."""
        listing = _check(["nft", "list", "counters", "table", "inet", TABLE])
        return {
            name: int(packets)
            for name, packets in re.findall(r"counter (\w+) \{[^}]*?packets (\d+)", listing, re.ASCII | re.DOTALL)
        }

    def unload(self) -> None:
        """Remove our table and rules; for tests and uninstallation, never while clients route through us."""
        _run(["nft", "delete", "table", "inet", TABLE])
        if _run(["iptables", "-D", *IPTABLES_JUMP]).returncode == 0:
            _run(["iptables", "-F", IPTABLES_CHAIN])
            _run(["iptables", "-X", IPTABLES_CHAIN])


def _annotated_element(element: tuple[Ipv4, int]) -> str:
    client, port = element
    return f"{format_ipv4(client)} . {port}"


def _set_commands(verb: str, name: str, elements: Iterable[str]) -> Iterable[str]:
    listed = list(elements)
    for start in range(0, len(listed), SET_CHUNK):
        yield f"{verb} element inet {TABLE} {name} {{ {', '.join(listed[start : start + SET_CHUNK])} }}\n"


def _run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=text, text=True, capture_output=True, timeout=COMMAND_WAIT, check=False)
    except FileNotFoundError:
        raise KernelError(f"{command[0]} is not installed", hint="install the packages nftables and iptables") from None
    except OSError as fault:
        raise KernelError(f"{command[0]} could not be started: {fault.strerror}") from None
    except subprocess.TimeoutExpired:
        raise KernelError(f"{command[0]} did not finish within {COMMAND_WAIT:.0f} s") from None


def _check(command: list[str], text: str = "") -> str:
    done = _run(command, text)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise KernelError(
            f"{' '.join(command)} failed: {said[0] if said else f'exit code {done.returncode}'}",
            hint="the appliance needs CAP_NET_ADMIN and a kernel with nf_tables, conntrack and NFQUEUE",
        )
    return done.stdout
