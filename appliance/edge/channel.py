"""Messages between the supervisor and its workers: pickled objects over a socket pair.

Both ends are ours, and forked from one program, so pickle is as safe as the program. Sending never
blocks: what the other end does not read piles up to a bound, and then `send` says so.
"""

import asyncio
import contextlib
import pickle
import socket
from typing import Any

HEADER = 4  # octets of the length in front of each message
BACKLOG_MAX = 32 * 1024 * 1024  # octets that may wait to be sent before droppable messages are dropped


class Channel:
    """One end. Made inside a running event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> "Channel":
        """Return the channel over one end of a connected socket pair."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer)

    def send(self, message: Any, *, droppable: bool = False) -> bool:
        """Queue a message; False if it was dropped because too much waits already."""
        if droppable and self._writer.transport.get_write_buffer_size() > BACKLOG_MAX:
            return False
        if self._writer.is_closing():
            return False
        body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._writer.write(len(body).to_bytes(HEADER) + body)
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

    async def drain(self) -> None:
        """Wait until what was queued has been handed to the kernel."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def close(self) -> None:
        """Close our end; the other one sees the end of input."""
        self._writer.close()
