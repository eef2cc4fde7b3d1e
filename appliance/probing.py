"""The self-test of a deployment: tries the rows of `selftest` from here, and judges what comes back.

It runs where a workload runs, on Python's standard library alone, against hosts that the user names and no other.
An honest connection comes first and last: without it, silence would say nothing.
"""

import ssl
import time
from dataclasses import dataclass

from appliance.edge import injector, probe
from appliance.errors import BaselineError
from appliance.selftest.findings import Findings
from appliance.selftest.judging import End, Heard, Result, judge
from appliance.selftest.row import Piece, Place, Row, Way
from appliance.selftest.rows import ROWS, SSH_HELLO
from appliance.selftest.target import Targets

PAUSE = 0.1  # seconds between two rows: ten connections a second at most
WAIT = 8.0  # seconds for an answer or a refusal; the appliance holds what it has to look up for five
DATAGRAM_WAIT = 2.0  # seconds
QUIC_PORT, DNS_PORT = 443, 53

_LISTED = (
    "it must be listed for TLS in a Security Group of this machine: the flow log and `discriminat explain` say more"
)


@dataclass(frozen=True, slots=True)
class Found:
    """Where the hosts are. In place of what is not there stands why its rows are not tried."""

    name: str
    place: Place
    v6: tuple[str, ...]
    other: Place | str
    ssh: Place | str


def run_selftest(targets: Targets) -> Findings:
    """Try every row from here, and return what came of it.

    Raises:
        BaselineError: there is no honest connection, so that nothing can be judged.
    """
    return try_rows(find(targets))


def find(targets: Targets) -> Found:
    """Ask DNS where the hosts are.

    Raises:
        BaselineError: the host is nowhere.
    """
    name, port = targets.host.name, targets.host.port
    addresses = probe.addresses_of(name)
    if not addresses:
        raise BaselineError(f"{name} has no IPv4 address here", hint="is the name right, and does DNS work?")
    other: Place | str = "name a host that has other addresses: --other HOST"
    if targets.other is not None:
        free = [address for address in probe.addresses_of(targets.other.name) if address not in addresses]
        other = Place(free[0], targets.other.port) if free else f"{targets.other.name} has no address of its own here"
    ssh: Place | str = "name a host that is listed for SSH: --ssh HOST"
    if targets.ssh is not None:
        there = probe.addresses_of(targets.ssh.name)
        ssh = Place(there[0], targets.ssh.port) if there else f"{targets.ssh.name} has no address here"
    return Found(name, Place(addresses[0], port), tuple(probe.addresses_of(name, version=6)), other, ssh)


def try_rows(found: Found) -> Findings:
    """Try every row between two honest connections.

    Raises:
        BaselineError: the first one fails.
    """
    attempt = _Attempt(found)
    results = []
    for row in ROWS:
        time.sleep(PAUSE)
        results.append(attempt.run(row))
    broken = ""
    try:
        probe.shake_hands(found.place, found.name, WAIT)
    except OSError as fault:
        broken = f"in the end an honest connection does not work any more: {_words(fault)}"
    return Findings(found.name, found.place.port, found.place.address, attempt.away, tuple(results), broken=broken)


class _Attempt:
    """Where the rows go, and how far that is. Makes the first honest connections."""

    def __init__(self, found: Found) -> None:
        self.place, self.name = found.place, found.name
        self.away = _first_contact(found.place, found.name)
        self._v6, self._other, self._ssh = found.v6, found.other, found.ssh
        if isinstance(found.ssh, Place):
            heard = probe.converse(found.ssh, (Piece(SSH_HELLO),), WAIT)
            if not heard.octets.startswith(b"SSH-"):
                self._ssh = "the host for SSH does not answer an honest client"

    def run(self, row: Row) -> Result:
        """Try one row."""
        place, heard = self.place, Heard(End.UNABLE)
        pieces = row.pieces(self.name)
        match row.way:
            case Way.SEGMENTS:
                heard = probe.converse(place, pieces, WAIT)
            case Way.ON_RETRY:
                heard = probe.converse(place, pieces, WAIT, on_retry=True)
            case Way.URGENT:
                heard = probe.converse(place, pieces, WAIT, urgent=True)
            case Way.HANDSHAKE:
                heard = probe.converse(place, pieces, WAIT, on_handshake=True)
            case Way.IP_OPTIONS:
                heard = probe.converse(place, pieces, WAIT, ip_options=True)
            case Way.SYN:
                heard = probe.converse_in_syn(place, pieces[0].octets, WAIT)
            case Way.INJECTED:
                heard = injector.inject(place, pieces, WAIT)
            case Way.OTHER if isinstance(self._other, Place):
                place = self._other
                heard = probe.converse(place, pieces, WAIT)
            case Way.OTHER:
                heard = Heard(End.UNABLE, why=str(self._other))
            case Way.SSH if isinstance(self._ssh, Place):
                place = self._ssh
                heard = probe.converse_ssh(place, pieces[0].octets, WAIT)
            case Way.SSH:
                heard = Heard(End.UNABLE, why=str(self._ssh))
            case Way.IPV6:
                heard = _over_ipv6(self._v6, place.port)
            case Way.ECHO:
                heard = probe.echo(place.address, DATAGRAM_WAIT)
            case Way.QUIC:
                heard = probe.exchange(Place(place.address, QUIC_PORT), pieces[0].octets, DATAGRAM_WAIT)
            case Way.DNS:
                heard = probe.exchange(Place(place.address, DNS_PORT), pieces[0].octets, DATAGRAM_WAIT)
        return judge(row, heard, server=place.address, away=self.away)


def _first_contact(place: Place, name: str) -> float:
    """Make an honest connection; return how many seconds the server is away."""
    try:
        times = [probe.shake_hands(place, name, WAIT)[1] for _ in range(3)]
    except ssl.SSLCertVerificationError as fault:
        raise BaselineError(
            f"{name} has a certificate that is not trusted here: {fault.verify_message}",
            hint="is it the right host? The variable SSL_CERT_FILE names a file of more authorities",
        ) from None
    except OSError as fault:
        where = f"{name} ({place.address}), port {place.port}"
        raise BaselineError(f"an honest connection to {where} does not work: {_words(fault)}", hint=_LISTED) from None
    return min(times)


def _over_ipv6(addresses: tuple[str, ...], port: int) -> Heard:
    if not addresses:
        return Heard(End.UNABLE, why="the host has no IPv6 address")
    return probe.connect_v6(addresses[0], port, DATAGRAM_WAIT)


def _words(fault: OSError) -> str:
    return "timeout" if isinstance(fault, TimeoutError) else fault.strerror or str(fault)
