"""A supply of octets that come in chunks: of a file, a pipe, whatever is read piece by piece.

How the octets were cut into chunks never shows. No more is kept than the chunk at hand and what was
asked for, so that a capture of any size fits.
"""

from collections.abc import Iterable
from typing import Final

from appliance.errors import CaptureError

CUT_HINT: Final = "it was cut, or is still being written; what stands before that has been read"


class Supply:
    """Reads `chunks` one after the other; empty ones are passed over."""

    __slots__ = ("_at", "_buffer", "_chunks")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._at = 0

    def take(self, size: int, what: str) -> bytes:
        """Return the next `size` octets.

        Raises:
            CaptureError: the supply ends before, in the middle of `what`.
        """
        stop = self._at + size
        if stop > len(self._buffer):
            self._fetch(size)
            stop = size
            if stop > len(self._buffer):
                raise CaptureError(f"it ends in the middle of {what}", hint=CUT_HINT)
        octets = self._buffer[self._at : stop]
        self._at = stop
        return octets

    def take_unless_over(self, size: int, what: str) -> bytes:
        """Return the next `size` octets, or none if the supply ends right here.

        Raises:
            CaptureError: it ends a little later, in the middle of `what`.
        """
        if self._at == len(self._buffer):
            self._fetch(1)
            if not self._buffer:
                return b""
        return self.take(size, what)

    def skip(self, size: int, what: str) -> None:
        """Pass over `size` octets, however many, without keeping them.

        Raises:
            CaptureError: the supply ends before, in the middle of `what`.
        """
        while size > (left := len(self._buffer) - self._at):
            size -= left
            self._at = len(self._buffer)
            self._fetch(1)
            if not self._buffer:
                raise CaptureError(f"it ends in the middle of {what}", hint=CUT_HINT)
        self._at += size

    def _fetch(self, size: int) -> None:
        """Put what is left, and chunks until there are `size` octets or no more, into a buffer of its own."""
        pieces = [self._buffer[self._at :]]
        found = len(pieces[0])
        while found < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            pieces.append(chunk)
            found += len(chunk)
        self._buffer = b"".join(pieces)
        self._at = 0
