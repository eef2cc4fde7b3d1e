"""A cursor that knows its own end, so that a length that lies cannot be ignored.

Source: RFC 8446 section 3 (the presentation language: integers and length-prefixed vectors).
Every read names what it reads; every error says where, how much was wanted and how much was there,
and never repeats an octet of the sender. Offsets are those of the whole message, also in a block.
"""

from typing import Final

from appliance.errors import Malformed


class Reader:
    """Reads unsigned integers and blocks from `octets[at:end]`; call `finish` when done."""

    __slots__ = ("_at", "_code", "_end", "_octets")

    def __init__(self, octets: bytes, code: str = "malformed", *, at: int = 0, end: int | None = None) -> None:
        """Begin at offset `at`. `code` is the reason given when the octets are malformed."""
        self._octets: Final = octets
        self._code: Final = code
        self._at = at
        self._end: Final = len(octets) if end is None else end

    @property
    def left(self) -> int:
        """Number of octets not yet read."""
        return self._end - self._at

    def uint(self, size: int, what: str) -> int:
        """Return the next unsigned integer of `size` octets."""
        at = self._at
        stop = at + size
        if stop > self._end:
            raise self._missing(size, what)
        self._at = stop
        return int.from_bytes(self._octets[at:stop])

    def take(self, size: int, what: str) -> bytes:
        """Return the next `size` octets."""
        at = self._at
        stop = at + size
        if stop > self._end:
            raise self._missing(size, what)
        self._at = stop
        return self._octets[at:stop]

    def block(self, size: int, what: str) -> bytes:
        """Return the next block, whose length stands before it in `size` octets."""
        at = self._at + size
        stop = at + int.from_bytes(self._octets[self._at : at])
        if stop > self._end:
            raise self._missing(self.uint(size, what), what)
        self._at = stop
        return self._octets[at:stop]

    def inner(self, size: int, what: str) -> "Reader":
        """Return a reader over the next block, whose length stands before it in `size` octets."""
        at = self._at + size
        stop = at + int.from_bytes(self._octets[self._at : at])
        if stop > self._end:
            raise self._missing(self.uint(size, what), what)
        self._at = stop
        return Reader(self._octets, self._code, at=at, end=stop)

    def finish(self, what: str) -> None:
        """Insist that everything was read."""
        if self._at != self._end:
            raise self.fault(f"{what}: {self._end - self._at} octets left over at offset {self._at}")

    def fault(self, message: str) -> Malformed:
        """Return the exception to raise for octets that break a rule of their protocol."""
        return Malformed(message, code=self._code)

    def _missing(self, size: int, what: str) -> Malformed:
        return self.fault(f"{what}: wants {size} octets at offset {self._at}, {self._end - self._at} left")
