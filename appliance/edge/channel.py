"""Messages between the supervisor and its workers: pickled objects over a socket pair.

Both ends are ours, and one program, so pickle is as safe as the program. Sending never blocks: what
the other end does not read piles up to a bound, and then droppable messages are dropped. The
supervisor's end lives on its event loop; a worker has no event loop, for it costs too much there.
"""

import asyncio
import contextlib
import pickle
import select
import socket
from typing import Any

HEADER = 4  # octets of the length in front of each message
BACKLOG_MAX = 32 * 1024 * 1024  # octets that may wait to be sent before droppable messages are dropped
CHUNK = 1024 * 1024  # octets read or written in one go


def _frame(message: Any) -> bytes:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(body).to_bytes(HEADER) + body


class Channel:
    """The supervisor's end. Made inside a running event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> "Channel":
        """Return the channel over one end of a connected socket pair."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer)

    def send(self, message: Any, *, droppable: bool = False) -> bool:
        """Queue a message; False if it was dropped because too much waits already, or the worker is gone."""
        if droppable and self._writer.transport.get_write_buffer_size() > BACKLOG_MAX:
            return False
        if self._writer.is_closing():
            return False
        self._writer.write(_frame(message))
        return True

    async def receive(self) -> Any:
        """Return the next message.

        Raises:
            EOFError: the other end is gone.
        """
        try:
            length = int.from_bytes(await self._reader.readexactly(HEADER))
            return pickle.loads(await self._reader.readexactly(length))  # noqa: S301 -- from ourselves
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError("the other process is gone") from None

    def close(self) -> None:
        """Close our end; the other one sees the end of input."""
        self._writer.close()


class WorkerChannel:
    """A worker's end: polled, never waited for."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(0)
        self._socket = end
        self._received = bytearray()
        self._waiting = bytearray()

    def fileno(self) -> int:
        """Return the descriptor, to be polled."""
        return self._socket.fileno()

    def wait(self) -> list[Any]:
        """Wait for messages, and return them: one at least.

        Raises:
            EOFError: the supervisor is gone.
        """
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while True:
            poller.poll()
            if messages := self.receive():
                return messages

    def receive(self) -> list[Any]:
        """Return the messages that have arrived, maybe none.

        Raises:
            EOFError: the supervisor is gone.
        """
        while True:
            try:
                octets = self._socket.recv(CHUNK)
            except BlockingIOError:
                break
            except ConnectionError:
                octets = b""
            if not octets:
                raise EOFError("the supervisor is gone")
            self._received += octets
        messages = []
        while len(self._received) >= HEADER:
            end = HEADER + int.from_bytes(self._received[:HEADER])
            if len(self._received) < end:
                break
            messages.append(pickle.loads(self._received[HEADER:end]))  # noqa: S301 -- from ourselves
            del self._received[:end]
        return messages

    def send(self, message: Any, *, droppable: bool = False) -> bool:
        """Queue a message, and pass on what the supervisor takes; False if it was dropped."""
        if droppable and len(self._waiting) > BACKLOG_MAX:
            return False
        self._waiting += _frame(message)
        self.flush()
        return True

    def flush(self) -> None:
        """Pass on what waits, as far as the supervisor takes it."""
        # An end of input is noticed where messages are received.
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while self._waiting:
                sent = self._socket.send(self._waiting[:CHUNK])
                del self._waiting[:sent]

    def drain(self, seconds: float) -> None:
        """Pass on what waits, for so long at most."""
        poller = select.poll()
        poller.register(self._socket, select.POLLOUT)
        while self._waiting and poller.poll(seconds * 1000):
            before = len(self._waiting)
            self.flush()
            if len(self._waiting) == before:
                return
