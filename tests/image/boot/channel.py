"""The command channel: root's programs in a machine under test, over its second serial port.

The other end is channel_guest.py. Without it nothing could be asked of the machine: it has no login.
"""

import contextlib
import json
import os
import select
import socket
import threading
import time
from pathlib import Path
from typing import Any

from tests.image.boot.channel_guest import MARK
from tests.lab.workload import Result

ANSWER = 60.0  # seconds, beyond those that a command may take: the machine may be a slow one


class ChannelError(Exception):
    """The machine does not answer."""


class Channel:
    """Our end; connected while the machine has power."""

    def __init__(self, path: Path) -> None:
        """Connect.

        Args:
            path: QEMU's socket, which listens.
        """
        self._stream = connect(path)
        self._heard = b""
        self._ready = False
        self._lock = threading.Lock()

    def wait_ready(self, timeout: float) -> bool:
        """Return whether the far end has said that it listens."""
        with self._lock:
            if not self._ready:
                with contextlib.suppress(TimeoutError):
                    self._ready = self._hear(time.monotonic() + timeout) == {"ready": True}
            return self._ready

    def run(self, *command: str, input: str = "", timeout: float = 30.0) -> Result:
        """Run a command to its end; failure is a result, not an exception."""
        told = self._ask({"run": command, "input": input, "timeout": timeout}, timeout + ANSWER)
        return Result(told["code"], told["out"], told["err"])

    def read_lines(self, path: str, at: int) -> str:
        """Return the whole lines of a file from an offset on; nothing where there is no such file."""
        text = ""
        while True:
            told = self._ask({"read": path, "at": at + len(text.encode())}, ANSWER)
            text += told["out"]
            if not told["more"] or not told["out"]:
                return text

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def _ask(self, request: dict[str, object], timeout: float) -> dict[str, Any]:
        if not self.wait_ready(0):
            raise ChannelError("the command channel is not open")
        with self._lock:
            try:
                self._stream.sendall(json.dumps(request).encode() + b"\n")
                while "ready" in (told := self._hear(time.monotonic() + timeout)):  # it was started again
                    self._stream.sendall(json.dumps(request).encode() + b"\n")
                return told
            except (OSError, TimeoutError) as fault:
                raise ChannelError(f"no answer to {request}: {fault}") from None

    def _hear(self, end: float) -> dict[str, Any]:
        """Return the next document; what is none is the firmware's."""
        while True:
            line, newline, rest = self._heard.partition(b"\n")
            if newline:
                self._heard = rest
                _, mark, text = line.rpartition(MARK)
                if mark:
                    document: dict[str, Any] = json.loads(text)
                    return document
                continue
            if not select.select([self._stream], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("nothing was heard")
            data = self._stream.recv(65536)
            if not data:
                raise ConnectionResetError("the machine is off")
            self._heard += data


def connect(path: Path) -> socket.socket:
    """Return a connection to a Unix socket, however long its path is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.connect(f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        stream.close()
        raise
    finally:
        os.close(folder)
    return stream
