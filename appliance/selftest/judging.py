"""What came back, and what that says. Everything here is pure.

The judge knows what a workload sees, no more. What it goes by:

- One octet of the server's, or its end of the connection, says that what was sent has arrived: the appliance sends
  neither. A TLS alert is the server's own refusal, and it can only refuse what it has got.
- A reset or silence says that it was stopped, or that the server itself resets or ignores such things. An ordinary TLS
  server answers each row with a hello, an alert, a page or an end. A reset that comes sooner than the server is away
  cannot be its own; the findings say which ones do.
"""

import enum
from dataclasses import dataclass

from appliance.reason import Reason
from appliance.selftest.hellos import RETRY_RANDOM
from appliance.selftest.row import Row

NEAR = 0.002  # seconds: of a server that is nearer, too little is known to tell
SOONER = 0.7  # of the time to the server and back: what comes within it cannot come from there


class End(enum.Enum):
    """How an attempt ended."""

    ANSWERED = enum.auto()  # octets came
    CLOSED = enum.auto()  # the other end is done, without a word
    CONNECTED = enum.auto()  # the connection alone says enough
    RESET = enum.auto()
    REFUSED = enum.auto()  # no connection: a reset in its place, or an ICMP error
    SILENT = enum.auto()
    UNABLE = enum.auto()  # could not be sent from here


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back.

    Attributes:
        octets: the beginning of the answer.
        seconds: from the last octet sent, or from the SYN where nothing else was, to the end.
        address: who sent an ICMP error; empty if that cannot be told.
        why: why it could not be sent.
    """

    end: End
    octets: bytes = b""
    seconds: float = 0.0
    address: str = ""
    why: str = ""


class Outcome(enum.StrEnum):
    """The word in the table."""

    STOPPED = "stopped"
    ALLOWED = "allowed"  # as it should be
    NOT_STOPPED = "NOT STOPPED"
    BROKEN = "BROKEN"  # what must pass did not
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Result:
    """A row's outcome. `detail`: what was seen, or why it was not tried."""

    row: Row
    outcome: Outcome
    detail: str
    seconds: float = 0.0

    @property
    def code(self) -> Reason | None:
        """What the flow log should say; none where nothing was refused."""
        return self.row.code if self.outcome is Outcome.STOPPED else None


def judge(row: Row, heard: Heard, *, server: str, away: float) -> Result:
    """Return what came of a row.

    Args:
        server: its address.
        away: seconds that an answer of the server's takes at least.
    """
    if heard.end is End.UNABLE:
        return Result(row, Outcome.NOT_TRIED, heard.why)
    through = heard.end in {End.ANSWERED, End.CLOSED, End.CONNECTED} or heard.address == server
    detail = _describe(heard, away)
    if row.must_pass:
        passed = heard.end is End.ANSWERED
        return Result(row, Outcome.ALLOWED if passed else Outcome.BROKEN, detail, heard.seconds)
    return Result(row, Outcome.NOT_STOPPED if through else Outcome.STOPPED, detail, heard.seconds)


def is_retry(octets: bytes) -> bool:
    """Tell whether a server asks for a second hello (RFC 8446 section 4.1.4)."""
    return octets[5:6] == b"\x02" and octets[11:43] == RETRY_RANDOM


def _describe(heard: Heard, away: float) -> str:
    match heard.end:
        case End.ANSWERED:
            return f"answered: {_name(heard.octets)}"
        case End.CLOSED:
            return "closed by the server"
        case End.CONNECTED:
            return "connected"
        case End.SILENT:
            return f"no answer in {heard.seconds:.0f} s"
        case End.REFUSED if heard.address:
            return f"ICMP error of {heard.address}"
    what = "reset" if heard.end is End.RESET else "connection refused"
    sooner = away > NEAR and heard.seconds < away * SOONER
    return f"{what} after {heard.seconds * 1000:.1f} ms" + (", sooner than the server could" if sooner else "")


def _name(octets: bytes) -> str:
    """Return what an answer is, as far as its beginning says."""
    kind, message = octets[:1], octets[5:6]
    if kind == b"\x16" and message == b"\x02":
        return "HelloRetryRequest" if is_retry(octets) else "ServerHello"
    if kind == b"\x15" and len(octets) >= 7:
        return f"TLS alert {octets[6]}"
    if octets.startswith((b"HTTP/", b"SSH-")):
        return octets[:4].rstrip(b"/-").decode()
    return f"{len(octets)} octets"
