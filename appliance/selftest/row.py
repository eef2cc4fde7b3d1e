"""A row of the self-test: what is tried, how, and what must come of it. Everything here is pure."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from appliance.reason import Reason


class Way(enum.Enum):
    """How octets are sent. Only INJECTED needs root, ECHO on some machines."""

    SEGMENTS = enum.auto()  # over a connection, each piece in a segment of its own
    ON_RETRY = enum.auto()  # the last piece when the server asks for a second hello
    URGENT = enum.auto()  # as urgent data
    SYN = enum.auto()  # in the SYN, as Fast Open does
    HANDSHAKE = enum.auto()  # on the handshake's third segment
    IP_OPTIONS = enum.auto()  # over a connection all of whose packets have IP options
    OTHER = enum.auto()  # over a connection to another host
    SSH = enum.auto()  # over a connection to the SSH host
    INJECTED = enum.auto()  # beside a connection, segment by segment, right or wrong
    IPV6 = enum.auto()  # a connection is all
    ECHO = enum.auto()  # ICMP
    QUIC = enum.auto()  # UDP, port 443
    DNS = enum.auto()  # UDP, port 53


class Place(NamedTuple):
    """Where to."""

    address: str
    port: int


class Piece(NamedTuple):
    """Octets of one segment. `at` and `checksum_lie` count where segments are injected."""

    octets: bytes
    at: int = 0  # octets between the connection's first one and these
    checksum_lie: int = 0  # what the TCP checksum is wrong by


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way around an egress filter, tried without harm.

    Attributes:
        mark: the row of SECURITY.md's table, such as T4.
        tried: what is sent, for people.
        pieces: the octets, for the name of the host.
        code: of the flow log, when it is refused; none where the kernel only counts.
        must_pass: it is odd, but honest, and has to be answered.
    """

    mark: str
    tried: str
    pieces: Callable[[str], tuple[Piece, ...]]
    way: Way = Way.SEGMENTS
    code: Reason | None = None
    must_pass: bool = False
