"""SSH identification strings: the first line of either side.

Source: RFC 4253 sections 4.2 and 5.1. We depart from it where the world does: a line may end in LF
alone, and a software version may hold hyphens.
"""

import re
from typing import Final, NamedTuple

from appliance.errors import Malformed

LINE_MAX: Final = 255  # octets, line end included
LINES_BEFORE_MAX: Final = 20  # lines that a server may send before it; ours
OCTETS_BEFORE_MAX: Final = 8192  # octets of these lines; ours

_PREFIX: Final = b"SSH-"
_IDENTIFICATION: Final = re.compile(
    rb"SSH-(?P<proto>[0-9]{1,3}\.[0-9]{1,3})-(?P<software>[\x21-\x7e]+)(?: [\x20-\x7e]*)?\r?\n", re.ASCII
)
# Lines before it are text for people: tabs and escape sequences occur, other control characters do not.
_NOT_TEXT: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")


class Identification(NamedTuple):
    """An identification string. `end`: offset in the stream of the octet after its line.

    `proto`: protocol version, such as "2.0"; `software`: software version, printable ASCII. Comments
    are left out.
    """

    proto: str
    software: str
    end: int


def frame_client_identification(stream: bytes) -> Identification | None:
    """Return the identification string that opens a client's direction, or None while octets are missing.

    Args:
        stream: octets from the start of the client's direction, in order, without gaps.

    Raises:
        Malformed: with code `not_ssh`, as soon as the octets tell. The caller denies the flow.
    """
    return _frame(stream, 0, "not_ssh")


def frame_server_identification(stream: bytes) -> Identification | None:
    """Return the identification string of a server, or None while octets are missing.

    A server may send other lines first; they are skipped.

    Args:
        stream: octets from the start of the server's direction, in order, without gaps.

    Raises:
        Malformed: with code `server_not_ssh`, also after LINES_BEFORE_MAX lines or OCTETS_BEFORE_MAX
            octets of other lines. The caller denies the flow.
    """
    code = "server_not_ssh"
    at = 0
    for _ in range(LINES_BEFORE_MAX + 1):
        start = stream[at : at + len(_PREFIX)]
        if _PREFIX.startswith(start):  # also if it may yet become one
            return _frame(stream, at, code)
        line_end = stream.find(b"\n", at, OCTETS_BEFORE_MAX) + 1
        bad = _NOT_TEXT.search(stream, at, line_end or OCTETS_BEFORE_MAX)
        if bad is not None:
            raise Malformed(f"octet {bad[0][0]:#04x} at offset {bad.start()} before the identification", code=code)
        if not line_end:
            if len(stream) >= OCTETS_BEFORE_MAX:
                raise Malformed(f"no identification within {OCTETS_BEFORE_MAX} octets", code=code)
            return None
        at = line_end
    raise Malformed(f"more than {LINES_BEFORE_MAX} lines before the identification", code=code)


def _frame(stream: bytes, at: int, code: str) -> Identification | None:
    """Return the identification string at offset `at`."""
    start = stream[at : at + len(_PREFIX)]
    if not _PREFIX.startswith(start):
        raise Malformed(f"line at offset {at} does not begin with SSH-", code=code)
    line_end = stream.find(b"\n", at, at + LINE_MAX) + 1
    if not line_end:
        if len(stream) - at >= LINE_MAX:
            raise Malformed(f"identification at offset {at} is longer than {LINE_MAX} octets", code=code)
        return None
    match = _IDENTIFICATION.fullmatch(stream, at, line_end)
    if match is None:
        raise Malformed(f"identification at offset {at} is not SSH-version-software in printable ASCII", code=code)
    return Identification(match["proto"].decode("ascii"), match["software"].decode("ascii"), line_end)
