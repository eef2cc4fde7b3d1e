"""JSON lines: how an event becomes one, and the journal of them on local disk.

Rendering is python-json-logger's, so that a line is the same here, in CloudWatch and in any other
handler that somebody configures. A journal belongs to one process. Nothing here raises for what a
disk may do: a firewall whose disk is full keeps filtering, and counts what it could not write.
"""

import functools
import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import orjson

CHUNK = 65536  # octets read at once

try:
    from pythonjsonlogger.json import JsonEncoder, JsonFormatter
except ModuleNotFoundError:  # before 3.1
    from pythonjsonlogger.jsonlogger import JsonEncoder, JsonFormatter  # type: ignore[attr-defined]

# Compact, as CloudWatch charges by the octet; ASCII, so that no name can forge a line or confuse a terminal.
_encode_ascii = JsonEncoder(separators=(",", ":"), ensure_ascii=True).encode


def _encode(fields: Mapping[str, object]) -> str:
    try:
        line = orjson.dumps(fields)  # four times as fast as the standard library, but not for every number and text
    except TypeError:
        return _encode_ascii(fields)
    return line.decode("ascii") if line.isascii() else _encode_ascii(fields)


class _EventFormatter(JsonFormatter):
    """A formatter of events: their fields and none of a log record's, which it need not look for."""

    def __init__(self) -> None:
        super().__init__(json_serializer=lambda fields, **_: _encode(fields))

    def format(self, record: logging.LogRecord) -> str:
        """Return the event that is the record's message."""
        return self.serialize_log_record(record.msg)  # type: ignore[arg-type]  # a mapping, as `render` sets it


class _Record(threading.local):
    """The log record that a thread hands to the formatter: making one costs more than formatting it."""

    def __init__(self) -> None:
        self.of_thread = logging.makeLogRecord({})


_formatter = _EventFormatter()
_record = _Record()


def render(event: Mapping[str, object], when: float) -> bytes:
    r"""Return an event as one line of JSON with its newline, `time` before its own fields.

    Args:
        event: what `event.py` made; values are text, numbers, booleans or None.
        when: Unix time, in seconds; rendered as RFC 3339 in UTC, to the millisecond.
    """
    seconds, millis = divmod(round(when * 1000), 1000)
    record = _record.of_thread
    record.msg = {"time": f"{_render_second(seconds)}.{millis:03}Z", **event}
    return _formatter.format(record).encode("ascii") + b"\n"


@functools.lru_cache(maxsize=4)
def _render_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class Journal:
    """A file of lines that is rotated by size: `path`, then `path.1` (the newest) to `path.N`.

    `lost` counts lines that could not be written; the file holds whole lines only.

    Args:
        path: its folder is made when missing.
        max_octets: a file is never longer, unless one write is.
        backups: how many rotated files are kept; may be 0.
    """

    def __init__(self, path: Path, max_octets: int, backups: int) -> None:
        self.path = path
        self.max_octets = max_octets
        self.backups = backups
        self.lost = 0  # lines
        self.failure = ""  # why the last write failed; empty after one that did not
        self._file = -1  # descriptor; -1 when closed
        self._size = 0  # octets

    def write(self, lines: bytes) -> None:
        """Append whole lines, all or none of them. Never raises OSError."""
        try:
            if self._file < 0:
                self._open()
            if self._size and self._size + len(lines) > self.max_octets:
                self._rotate()
            self._append(lines)
        except OSError as error:
            self.lost += lines.count(b"\n")
            self.failure = str(error)
            self.close()  # the next write starts afresh
        else:
            self.failure = ""

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        size = os.fstat(self._file).st_size
        self._size = _whole_lines(self._file, size)
        if self._size < size:  # the power went in the middle of a write
            os.ftruncate(self._file, self._size)

    def _append(self, lines: bytes) -> None:
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, self._size)  # a full disk takes the beginning of a line
            raise
        self._size += len(lines)

    def _rotate(self) -> None:
        self.close()
        if self.backups:
            for number in range(self.backups - 1, 0, -1):
                if self._backup(number).exists():
                    self._backup(number).replace(self._backup(number + 1))
            self.path.replace(self._backup(1))
        else:
            self.path.unlink()
        self._open()

    def _backup(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _whole_lines(file: int, size: int) -> int:
    """Return the octets of a file of `size` up to the end of its last whole line."""
    while size:
        start = max(0, size - CHUNK)
        end = os.pread(file, size - start, start).rfind(b"\n")
        if end >= 0:
            return start + end + 1
        size = start
    return 0
