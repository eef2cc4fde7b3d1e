"""Scenarios: what is tried in the demo, by whom, and what must come of it.

web      the names it needs are in its Security Group; UDP 443 and TCP 80 it may send, but they are not annotated;
         ICMP errors may come in, which AWS drops otherwise, so that QUIC is given up at once
app      one name, at first; its Security Group is edited while it runs
audit    see-thru, for another thirty days
lapsed   see-thru, ended thirty days ago
bare     a Security Group as AWS makes it: everything may leave, and nothing is annotated
new      launched by the scenario that uses it, in web's Security Group
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from tests.demo.clients import (
    REFUSED,
    RESET,
    UNREACHABLE,
    Attempt,
    curl,
    datagram,
    encrypted_hello,
    hello_in_pieces,
    long_hello,
    openssl,
    ssh,
)
from tests.lab.security_group import Rule, egress

API = "api.example.com"
RETRY = "retry.example.com"  # insists on a group that clients send no share for
OLD = "old.example.com"  # speaks TLS 1.0
FILES = "files.example.com"
GIT = "git.example.com"
OTHER_GIT = "git.example.net"
ELSEWHERE = "www.example.net"
THIRTY_DAYS = timedelta(days=30)
NEWCOMER = "new"

BEFORE = f"discriminat:tls:{API}"
AFTER = f"discriminat:tls:{API},{FILES}"


def security_groups(today: date) -> dict[str, list[Rule]]:
    """Return the egress rules of each Security Group."""
    return {
        "web": [
            egress("tcp", 443, description=f"discriminat:tls:{API},{RETRY},{OLD}"),
            egress("tcp", 22, description=f"deployments discriminat:ssh:{GIT}"),
            egress("tcp", 80),
            egress("udp", 443),
        ],
        "app": [egress("tcp", 443, description=BEFORE)],
        "audit": [egress("-1", None, description=f"discriminat:see-thru:{today + THIRTY_DAYS}")],
        "lapsed": [egress("-1", None, description=f"discriminat:see-thru:{today - THIRTY_DAYS}")],
        "bare": [egress("-1", None)],
    }


INGRESS = {"web": (egress("icmp", (3, 3), "10.0.0.0/8"),)}  # type 3, code 3: port unreachable

WORKLOADS = {"web": "web", "app": "app", "audit": "audit", "lapsed": "lapsed", "bare": "bare", NEWCOMER: "web"}


class Reach(enum.StrEnum):
    """How much of what a client sends gets to the server; a TCP handshake is nothing."""

    NOTHING = "nothing"
    HELLO = "the hello"  # a ClientHello with a listed name, and no octet of what the client wanted to say
    ALL = "everything"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing tried. `codes`: of the flow events, in order; the last one's outcome is the flow's.

    `exerted`: whether see-thru is what let it pass, None for a client without. `description`: the text that the first
    rule of the client's Security Group is edited to beforehand.
    """

    title: str
    client: str
    attempt: Attempt
    server: str
    sees: str
    codes: tuple[str, ...]
    reach: Reach
    exerted: bool | None = None
    description: str = ""

    @property
    def outcome(self) -> str:
        """What the rules say."""
        return "allowed" if self.codes[-1] in {"server_agreed", "see_thru"} else "disallowed"


AGREED = ("name_listed", "server_agreed")


def scenarios(authority: Callable[[], Path]) -> list[Scenario]:
    """Return the scenarios, in the order in which they are played.

    Args:
        authority: returns the file of the CA certificates that clients trust.
    """
    files = curl(f"https://{FILES}/")
    return [
        # what is listed
        _allowed("a listed name", curl(f"https://{API}/")),
        _allowed("a listed name, TLS 1.2", curl(f"https://{API}/", "--tls-max", "1.2"), sees="HTTP 200, TLS 1.2"),
        _allowed("a server that asks for a second hello", curl(f"https://{RETRY}/"), server=RETRY),
        _allowed("a hello in many records and segments", hello_in_pieces(API, authority)),
        _allowed("a hello as long as post-quantum ones are", long_hello(API, authority)),
        _allowed(
            "SSH to a listed host",
            ssh(GIT, "true"),
            server=GIT,
            sees="exit status 0",
            codes=("address_listed", "server_agreed"),
        ),
        # what is not
        _refused("a name that is not listed", curl(f"https://{ELSEWHERE}/"), "name_not_listed", server=ELSEWHERE),
        _refused(
            "SNI spoofing: listed name, other address",
            curl(f"https://{API}/", "-k", "--connect-to", f"::{ELSEWHERE}:443"),
            "address_mismatch",
            server=ELSEWHERE,
        ),
        _refused("no name (no SNI)", openssl(API, "-noservername"), "no_sni"),
        _refused("a name that is encrypted (ECH)", encrypted_hello(API), "ech"),
        _refused(
            "TLS 1.1 offered",
            openssl(API, "-servername", API, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"),
            "tls_too_old",
        ),
        Scenario(
            title="TLS 1.0 chosen by the server",
            client="web",
            attempt=curl(f"https://{OLD}/", "--ciphers", "DEFAULT@SECLEVEL=0"),
            server=OLD,
            sees=RESET,
            codes=("name_listed", "server_tls_too_old"),
            reach=Reach.HELLO,
        ),
        _refused("SSH to a host that is not listed", ssh(OTHER_GIT, "true"), "address_mismatch", server=OTHER_GIT),
        _refused("plain HTTP on a listed port", curl(f"http://{API}:443/"), "http_plaintext"),
        _refused("a port that is not annotated", curl(f"http://{API}/"), "port_not_listed", sees=REFUSED),
        _refused("QUIC", datagram(API, 443), "quic", sees=UNREACHABLE),
        # who
        _refused(
            "a workload without any annotation",
            curl(f"https://{API}/"),
            "client_not_annotated",
            client="bare",
            sees=REFUSED,
        ),
        _seen_thru("see-thru: a name that nobody lists", curl(f"https://{ELSEWHERE}/"), sees="HTTP 200, TLS 1.3"),
        _seen_thru("see-thru: QUIC", datagram(ELSEWHERE, 443), sees="1200 octets back"),
        _refused(
            "see-thru that has ended",
            curl(f"https://{ELSEWHERE}/"),
            "client_not_annotated",
            client="lapsed",
            server=ELSEWHERE,
            sees=REFUSED,
            exerted=False,
        ),
        _allowed("a workload launched a moment ago", curl(f"https://{API}/"), client=NEWCOMER),
        # what changes
        _refused("before its Security Group is edited", files, "name_not_listed", client="app", server=FILES),
        _allowed("after the name was added", files, client="app", server=FILES, description=AFTER),
        _refused(
            "after it was taken away again",
            files,
            "name_not_listed",
            client="app",
            server=FILES,
            description=BEFORE,
        ),
    ]


def _allowed(
    title: str,
    attempt: Attempt,
    *,
    client: str = "web",
    server: str = API,
    sees: str = "HTTP 200, TLS 1.3",
    codes: tuple[str, ...] = AGREED,
    description: str = "",
) -> Scenario:
    return Scenario(title, client, attempt, server, sees, codes, Reach.ALL, description=description)


def _refused(
    title: str,
    attempt: Attempt,
    code: str,
    *,
    client: str = "web",
    server: str = API,
    sees: str = RESET,
    exerted: bool | None = None,
    description: str = "",
) -> Scenario:
    return Scenario(title, client, attempt, server, sees, (code,), Reach.NOTHING, exerted, description)


def _seen_thru(title: str, attempt: Attempt, *, sees: str) -> Scenario:
    codes = ("client_not_annotated",)
    return Scenario(title, "audit", attempt, ELSEWHERE, sees, codes, Reach.ALL, exerted=True)
