"""Captures on disk, or on their way through a pipe."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from appliance.errors import CaptureError, InputError
from appliance.wire.capture import read_capture
from appliance.wire.link import ip_offset

STANDARD_INPUT = Path("-")
CHUNK = 1 << 18  # octets read at once


class Capture:
    """A file of frames, open from the start. `fault`: why its reading ended too soon, once it has.

    Raises:
        InputError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._name = "standard input" if path == STANDARD_INPUT else str(path)
        self.fault: InputError | None = None
        try:
            # Without a buffer, so that what comes through a pipe is there at once.
            self._file: BinaryIO = sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb", buffering=0)
        except OSError as fault:
            raise InputError(f"{self._name}: {fault.strerror}", hint="give captures to read, or - for one") from fault

    def close(self) -> None:
        """Close the file; standard input is left as it is."""
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def packets(self) -> Iterator[tuple[float, bytes]]:
        """Yield the Unix time and the octets of each IP packet, until the end of the file or its first fault."""
        try:
            for frame in read_capture(self._chunks()):
                at = ip_offset(frame.link, frame.octets)
                if at >= 0:
                    yield frame.time, frame.octets[at:]
        except CaptureError as fault:
            self.fault = InputError(f"{self._name}: {fault.message}", hint=fault.hint)
        except OSError as fault:  # a directory, or a disk that fails
            self.fault = InputError(f"{self._name}: {fault.strerror}", hint="give captures to read, or - for one")

    def _chunks(self) -> Iterator[bytes]:
        read = getattr(self._file, "read1", self._file.read)
        while chunk := read(CHUNK):
            yield chunk
