"""Event log: the events of one of the appliance's logs, as the lab looks at them.

A story looks many times a second until what it waits for is there, and the logs of a whole run of the lab are long.
Each look therefore reads what has come since the last one alone: to read all of it again would take the processor from
the lab's AWS API, which lives in this process, and what the appliance asks of that would take seconds.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO

Event = dict[str, Any]


class EventLog:
    """The complete lines of a log so far, whatever wrote it, and whenever it was begun anew; for any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None  # kept open, so that no other file can have its inode number
        self._events: list[Event] = []
        self._reading = threading.Lock()

    def events(self) -> list[Event]:
        """Return the events so far; those of the file that has this name now, none when there is no such file."""
        with self._reading:
            if self._is_another():
                self._open()
            if self._file is None:
                return []
            while (line := self._file.readline()).endswith(b"\n"):
                if line.strip():
                    self._events.append(json.loads(line))
            self._file.seek(-len(line), os.SEEK_CUR)  # half a line: it is read again once it is whole
            return list(self._events)

    def close(self) -> None:
        """Forget what was read, and let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._events = []

    def _is_another(self) -> bool:
        if self._file is None:
            return True
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._file.fileno())) or there.st_size < self._file.tell()

    def _open(self) -> None:
        self.close()
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return
