"""The self-test of a deployment: tries the rows of `selftest` from here, and judges what comes back.

It runs where a workload runs, on Python's standard library alone, against hosts that the user names and no other.
An honest connection comes first and last: without it, silence would say nothing.
"""

import ssl
import time

from appliance.edge import injector, probe
from appliance.errors import BaselineError
from appliance.selftest.findings import Findings
from appliance.selftest.judging import End, Heard, Result, judge
from appliance.selftest.row import Piece, Place, Row, Way
from appliance.selftest.rows import ROWS, SSH_HELLO
from appliance.selftest.target import Target, Targets

PAUSE = 0.1  # seconds between two rows: ten connections a second at most
WAIT = 8.0  # seconds for an answer or a refusal; the appliance holds what it has to look up for five
DATAGRAM_WAIT = 2.0  # seconds
QUIC_PORT, DNS_PORT = 443, 53

_LISTED = (
    "it must be listed for TLS in a Security Group of this machine: the flow log and `discriminat explain` say more"
)


def run_selftest(targets: Targets) -> Findings:
    """Try every row, and return what came of it.

    Raises:
        BaselineError: there is no honest connection, so that nothing can be judged.
    """
    attempt = _Attempt(targets)
    results = []
    for row in ROWS:
        time.sleep(PAUSE)
        results.append(attempt.run(row))
    broken = ""
    try:
        probe.shake_hands(attempt.place, targets.host.name, WAIT)
    except OSError as fault:
        broken = f"in the end an honest connection does not work any more: {_words(fault)}"
    return Findings(
        targets.host.name, targets.host.port, attempt.place.address, attempt.away, tuple(results), broken=broken
    )


class _Attempt:
    """Where the rows go, and how far that is. Makes the first honest connection."""

    def __init__(self, targets: Targets) -> None:
        host = targets.host
        addresses = probe.addresses_of(host.name)
        if not addresses:
            raise BaselineError(f"{host.name} has no IPv4 address here", hint="is the name right, and DNS working?")
        self.place = Place(addresses[0], host.port)
        self.name = host.name
        self.away = _first_contact(self.place, host.name)
        self._v6 = probe.addresses_of(host.name, version=6)
        self._other = _other(targets.other, addresses)
        self._ssh = _ssh(targets.ssh)

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


def _other(target: Target | None, own: list[str]) -> Place | str:
    """Return where the other host is, or why its row is not tried."""
    if target is None:
        return "name a host that has other addresses: --other HOST"
    for address in probe.addresses_of(target.name):
        if address not in own:
            return Place(address, target.port)
    return f"{target.name} has no address of its own here"


def _ssh(target: Target | None) -> Place | str:
    """Return where the SSH host is, or why its rows are not tried."""
    if target is None:
        return "name a host that is listed for SSH: --ssh HOST"
    for address in probe.addresses_of(target.name)[:1]:
        place = Place(address, target.port)
        heard = probe.converse(place, (Piece(SSH_HELLO),), WAIT)
        return place if heard.octets.startswith(b"SSH-") else f"{target.name} does not answer an honest SSH client"
    return f"{target.name} has no address here"


def _over_ipv6(addresses: list[str], port: int) -> Heard:
    if not addresses:
        return Heard(End.UNABLE, why="the host has no IPv6 address")
    return probe.connect_v6(addresses[0], port, DATAGRAM_WAIT)


def _words(fault: OSError) -> str:
    return "timeout" if isinstance(fault, TimeoutError) else fault.strerror or str(fault)
