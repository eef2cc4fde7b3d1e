"""Servers of the lab's Internet: what each kind says, and a record of every octet it is sent.

A conversation is a coroutine over a Connection; it never sees the socket, so that nothing a client sends escapes
the record. `Connection.octets` holds what arrived on the wire (for TLS: records, the hello included), `plain` what
was inside.

Source: RFC 8446, RFC 4253 section 4.2; OpenSSL's security levels decide what TLS 1.0 takes.
"""

import asyncio
import json
import os
import signal
import socket
import ssl
import time
import warnings
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

CHUNK = 65536  # octets

Conversation = Callable[["Connection"], Awaitable[None]]


class Ended(Exception):
    """The client closed or reset the connection."""


@dataclass(eq=False)
class Connection:
    """One TCP connection as the server saw it; `opened` in monotonic seconds."""

    source: str
    port: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    opened: float = field(default_factory=time.monotonic)
    octets: bytearray = field(default_factory=bytearray)
    plain: bytearray = field(default_factory=bytearray)
    server_names: list[str] = field(default_factory=list)  # of each hello that was acted on, empty for none
    version: str = ""  # of TLS, once agreed
    open: bool = True
    reset: bool = False  # it ended in a TCP reset

    async def receive(self) -> bytes:
        """Return the next octets from the client."""
        try:
            data = await self.reader.read(CHUNK)
        except (ConnectionError, OSError):
            self.reset = True
            raise Ended from None
        if not data:
            raise Ended
        self.octets += data
        return data

    async def send(self, data: bytes) -> None:
        """Send octets."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except (ConnectionError, OSError):
            self.reset = True
            raise Ended from None


@dataclass(eq=False)
class Server:
    """A listening server and everything it ever received."""

    name: str
    address: str
    port: int
    connections: list[Connection] = field(default_factory=list)
    datagrams: list[tuple[str, bytes]] = field(default_factory=list)  # (source address, payload)

    def received(self, source: str = "") -> bytes:
        """Return all octets that arrived, from one source address or all, in order of connections."""
        streams = b"".join(bytes(each.octets) for each in self.connections if source in ("", each.source))
        return streams + b"".join(payload for origin, payload in self.datagrams if source in ("", origin))

    def sources(self) -> set[str]:
        """Return the addresses clients appeared to come from."""
        return {each.source for each in self.connections} | {origin for origin, _ in self.datagrams}

    def forget(self) -> None:
        """Start the record anew."""
        self.connections.clear()
        self.datagrams.clear()


def speak_http(name: str) -> Conversation:
    """Plain HTTP; every answer is JSON that tells what the server saw. GET /octets/N answers N octets instead."""

    async def conversation(connection: Connection) -> None:
        await _answer_requests(name, connection, connection.receive, connection.send)

    return conversation


def speak_tls(name: str, context: ssl.SSLContext) -> Conversation:
    """HTTP inside TLS."""
    talking: weakref.WeakKeyDictionary[object, Connection] = weakref.WeakKeyDictionary()
    if context.sni_callback is None:
        context.sni_callback = lambda tls, name, _: talking[tls].server_names.append(name or "")

    async def conversation(connection: Connection) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        tls.context = context
        talking[tls] = connection

        async def flush() -> None:
            if outgoing.pending:
                await connection.send(outgoing.read())

        async def pump(step: Callable[[], bytes | None]) -> bytes:
            """Repeat a TLS step until it no longer wants octets."""
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    await flush()
                    incoming.write(await connection.receive())
                except ssl.SSLZeroReturnError:
                    raise Ended from None
                except ssl.SSLError:
                    await flush()  # the alert
                    raise Ended from None
                else:
                    await flush()
                    return result or b""

        async def receive() -> bytes:
            data = await pump(lambda: tls.read(CHUNK))
            if not data:
                raise Ended
            connection.plain += data
            return data

        async def send(data: bytes) -> None:
            tls.write(data)
            await flush()

        await pump(tls.do_handshake)
        connection.version = tls.version() or ""
        await _answer_requests(name, connection, receive, send)

    return conversation


def speak_lines(*, greeting: bytes = b"", reply: bytes = b"", after: int = 1, close: bool = False) -> Conversation:
    """Fixed octets: a greeting at once, a reply once `after` octets were heard; then silence, or the end."""

    async def conversation(connection: Connection) -> None:
        if greeting:
            await connection.send(greeting)
        while len(connection.octets) < after:
            await connection.receive()
        if reply:
            await connection.send(reply)
        while not close:
            await connection.receive()

    return conversation


def speak_relay(connect: Callable[[], socket.socket]) -> Conversation:
    """What another server says, and to it what the client says: octet by octet, without a look inside."""

    async def conversation(connection: Connection) -> None:
        reader, writer = await asyncio.open_connection(sock=connect())
        try:
            await _exchange(connection, reader, writer)
        finally:
            writer.close()

    return conversation


def speak_program(*argv: str) -> Conversation:
    """A program's standard input and output, such as `sshd -i`."""

    async def conversation(connection: Connection) -> None:
        pipe = asyncio.subprocess.PIPE
        nowhere = asyncio.subprocess.DEVNULL
        program = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=nowhere, start_new_session=True
        )
        assert program.stdin is not None
        assert program.stdout is not None
        try:
            await _exchange(connection, program.stdout, program.stdin)
        finally:
            program.stdin.close()  # a child of its own, which kill() does not reach, ends by that
            if program.returncode is None:
                os.killpg(program.pid, signal.SIGKILL)  # what it has started holds its pipes, too
            await program.wait()

    return conversation


def tls_context(
    certificate: Path, *, oldest: str = "TLSv1_2", newest: str = "TLSv1_3", curve: str = "", refuse: bool = False
) -> ssl.SSLContext:
    """Return a server's TLS settings.

    Args:
        oldest, newest: names of ssl.TLSVersion; TLSv1 and TLSv1_1 lower OpenSSL's security level to 0.
        curve: only this group; one that clients send no share for (secp384r1) makes them see a HelloRetryRequest.
        refuse: end each handshake with the alert unrecognized_name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what the lab is for
        if newest in ("TLSv1", "TLSv1_1") or oldest in ("TLSv1", "TLSv1_1"):
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion[oldest]
        context.maximum_version = ssl.TLSVersion[newest]
    if curve:
        context.set_ecdh_curve(curve)
    if refuse:
        context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    return context


async def _exchange(connection: Connection, says: asyncio.StreamReader, hears: asyncio.StreamWriter) -> None:
    """Pass octets on both ways until either end has no more."""

    async def speak() -> None:
        while data := await says.read(CHUNK):
            await connection.send(data)

    tasks = [asyncio.create_task(speak()), asyncio.create_task(_feed(connection, hears))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(connection: Connection, sink: asyncio.StreamWriter) -> None:
    while True:
        sink.write(await connection.receive())
        await sink.drain()


async def _answer_requests(
    name: str,
    connection: Connection,
    receive: Callable[[], Awaitable[bytes]],
    send: Callable[[bytes], Awaitable[None]],
) -> None:
    """Answer HTTP requests without bodies until the client is done, or wants the connection closed."""
    heard = b""
    while True:
        while b"\r\n\r\n" not in heard:
            heard += await receive()
        request, _, heard = heard.partition(b"\r\n\r\n")
        method, path = request.split(b" ", 2)[:2]
        host = next((line[5:].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"host:")), b"")
        if path.startswith(b"/octets/"):
            body = bytes(int(path.rpartition(b"/")[2]))
        else:
            saw = {"server": name, "client": connection.source, "method": method.decode(), "host": host.decode()}
            body = json.dumps(saw | {"path": path.decode(), "tls": connection.version}).encode() + b"\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
        await send(head.encode() + body)
        if b"\r\nconnection: close" in request.lower():
            return
