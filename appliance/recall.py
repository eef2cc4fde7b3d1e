"""Recall: hellos that differ from an earlier one in nothing that has a meaning to us.

A TLS library sends the same hello again and again, but for its random, session id, keys and tickets.
A hello that equals an earlier one in every other octet says the same, for the parser would take the
same path over the same octets. So it need not be parsed: that saves a third of the engine's time.

It must never be wrong, so it is narrow: only a hello that was found good, alone in the first record
of its stream, is remembered; all else is parsed each time. `tests/property/test_recall_laws.py`
compares it with the parsers. Everything here is pure; the tables are bounded.
"""

from typing import Generic, TypeVar

from appliance.wire.server_hello import RETRY_RANDOM

RECORD_MAX = 2048  # octets of a record that is remembered; a post-quantum hello has 1,800
LENGTHS_MAX = 64  # lengths of records remembered at a time
HELLOS_MAX = 64  # hellos of one length remembered at a time

_HEADER = 5  # octets of a record's header: type, version, length
_RANDOM, _SESSION_ID = 11, 43  # where they stand: after that header, the message's, and legacy_version
_SESSION_TICKET, _PRE_SHARED_KEY, _KEY_SHARE = 35, 41, 51  # extensions with content that is never looked at

Facts = TypeVar("Facts")
Pieces = tuple[tuple[int, int], ...]  # the octets of a record that have a meaning: from, and up to


class Recall(Generic[Facts]):
    """What hellos said, by the octets of theirs that have a meaning."""

    def __init__(self, *, of_clients: bool) -> None:
        self._of_clients = of_clients
        # By length of the record: what to look at, and what a hello that looks like this said.
        self._known: dict[int, tuple[Pieces, dict[bytes, Facts]]] = {}

    def __len__(self) -> int:
        return sum(len(hellos) for _, hellos in self._known.values())

    def find(self, stream: bytes) -> Facts | None:
        """Return what the hello at the start of a stream says, or None if it must be parsed."""
        length = int.from_bytes(stream[3:_HEADER])
        known = self._known.get(length)
        if known is None or len(stream) < _HEADER + length:
            return None
        if stream[_RANDOM:_SESSION_ID] == RETRY_RANDOM:  # the one random with a meaning (RFC 8446 section 4.1.3)
            return None
        pieces, hellos = known
        return hellos.get(b"".join([stream[start:end] for start, end in pieces]))

    def remember(self, stream: bytes, end: int, facts: Facts) -> None:
        """Keep what a good hello said.

        Args:
            stream: octets of one direction, as for the parser.
            end: octets of it that the hello covers.
            facts: what the parser made of it.
        """
        length = int.from_bytes(stream[3:_HEADER])
        if end != _HEADER + length or length > RECORD_MAX or stream[_RANDOM:_SESSION_ID] == RETRY_RANDOM:
            return
        pieces = _meaningful(stream[:end], of_client=self._of_clients)
        known = self._known.get(length)
        if known is None or known[0] != pieces:
            if len(self._known) >= LENGTHS_MAX:
                self._known.clear()
            known = self._known[length] = (pieces, {})
        if len(known[1]) >= HELLOS_MAX:
            known[1].clear()
        known[1][b"".join([stream[start:end] for start, end in pieces])] = facts


def _meaningful(record: bytes, *, of_client: bool) -> Pieces:
    """Return what is left of a well-formed hello's record without the octets nobody looks at.

    Source: RFC 8446 sections 4.1.2, 4.1.3, 4.2.8; RFC 5077 section 3.2.
    """
    at = _SESSION_ID + 1 + record[_SESSION_ID]
    blanks = [(_RANDOM, _SESSION_ID), (_SESSION_ID + 1, at)]
    if of_client:
        at += 2 + int.from_bytes(record[at : at + 2])  # cipher suites
        at += 1 + record[at]  # compression methods
    else:
        at += 3  # cipher suite and compression method
    at += 2  # length of the extensions
    while at < len(record):
        kind, size = int.from_bytes(record[at : at + 2]), int.from_bytes(record[at + 2 : at + 4])
        start, at = at + 4, at + 4 + size
        if kind in {_SESSION_TICKET, _PRE_SHARED_KEY}:
            blanks.append((start, at))
        elif kind == _KEY_SHARE:
            blanks += _keys(record, start + 2 if of_client else start, at)
    ends = [0, *(end for _, end in blanks)]
    starts = [*(start for start, _ in blanks), len(record)]
    return tuple(zip(ends, starts, strict=True))


def _keys(record: bytes, at: int, end: int) -> list[tuple[int, int]]:
    """Return where the keys of a key_share extension lie; each follows a group and its own length.

    None if they do not fill it exactly: a TLS 1.2 server's is never parsed, and may hold lengths that lie beyond it.
    """
    keys = []
    while at < end:
        start = at + 4
        at = start + int.from_bytes(record[at + 2 : start])
        keys.append((start, at))
    return keys if at == end else []
