"""A small real DNS server over UDP and TCP, whose answers a test or the lab may change while it runs.

Source: RFC 1035 (messages, TCP framing), RFC 2308 (SOA in negative answers), RFC 6891 (EDNS size).

It answers A questions from `DnsServer.zone`, and tells the same lies real resolvers do: rotation,
a few of many addresses, truncation, delay, silence, SERVFAIL, private addresses, forged replies.
Any other type of an existing name is an empty NOERROR; a name that is not in the zone is NXDOMAIN.

From the command line it serves a JSON file and follows the file's changes:

    python -m tests.dns_server --address 127.0.0.1 --port 5353 --zone zone.json

    {"api.example.com": ["203.0.113.10"],
     "www.example.com": "edge.example.net",
     "s3.example.com": {"addresses": ["203.0.113.1", "203.0.113.2"], "ttl": 5, "subset": 1}}
"""

import argparse
import asyncio
import contextlib
import functools
import json
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

NEGATIVE_TTL = 5  # seconds: the SOA minimum of every negative answer
LONGEST_CHAIN = 16  # CNAMEs put into one response
QUERY_LOG = 100_000  # queries remembered, oldest out
RE_READ = 0.2  # seconds between two looks at the zone file


@dataclass(slots=True)
class Record:
    """What the server says about one name. The zone may hold several forms of it, see `record`."""

    addresses: tuple[str, ...] = ()
    cname: str = ""
    ttl: int = 60  # seconds, of the CNAME or of the addresses
    subset: int = 0  # addresses in one answer, the next ones in the next answer; 0: all of them
    rotate: bool = False  # every answer starts one address further
    rcode: str = "NOERROR"  # or NXDOMAIN, SERVFAIL, REFUSED
    delay: float = 0.0  # seconds before the reply leaves
    drop: bool = False  # never answer
    truncate: bool = False  # over UDP, set TC and leave the answer out
    one_link: bool = False  # a CNAME is answered alone: the asker has to ask again for its target
    forged: str = ""  # "id" or "question": a reply with that defect precedes the right one; "only-id": replaces it
    turn: int = field(default=0, compare=False)  # answers given

    def next_addresses(self) -> tuple[str, ...]:
        """Return the addresses of the next answer."""
        turn, self.turn = self.turn, self.turn + 1
        if not self.addresses:
            return ()
        start = turn * self.subset if self.subset else turn * self.rotate
        count = self.subset or len(self.addresses)
        return tuple(self.addresses[(start + offset) % len(self.addresses)] for offset in range(count))


class Query(NamedTuple):
    """A question the server has seen."""

    name: str  # lower case, without the root dot
    type: str  # "A", "AAAA" ...
    transport: str  # "udp" or "tcp"
    at: float  # monotonic seconds
    port: int  # source port


def record(value: object) -> Record:
    """Return a record from its short forms: a list of addresses, a CNAME's target, or a mapping of its fields."""
    match value:
        case Record():
            return value
        case str():
            return Record(cname=value)
        case Mapping():
            known = {each.name for each in fields(Record)}
            if unknown := value.keys() - known:
                raise ValueError(f"unknown fields {sorted(unknown)}, want some of {sorted(known)}")
            value = dict(value)
            value["addresses"] = tuple(value.get("addresses", ()))
            return Record(**value)
        case list() | tuple():
            return Record(addresses=tuple(value))
        case _:
            raise ValueError(f"{value!r} is not a record")


class DnsServer:
    """The server, in a thread of its own. `zone` and its records may be changed at any time.

    `queries` is its log; with `down` set it answers nothing, over neither transport.
    """

    def __init__(self, address: str = "127.0.0.1", port: int = 0, zone: Mapping[str, object] | None = None) -> None:
        self.address = address
        self.port = port  # 0: chosen by the kernel, known after start()
        self.zone: dict[str, Record] = {}
        self.queries: deque[Query] = deque(maxlen=QUERY_LOG)
        self.down = False  # answer nothing at all, over neither transport
        self.busiest = 0  # most queries that were waiting for a delayed reply at the same time
        self._waiting = 0
        self._udp: socket.socket | None = None
        self._tcp: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.replace(zone or {})

    def replace(self, zone: Mapping[str, object]) -> None:
        """Serve another zone from now on; names are compared without regard to case."""
        self.zone = {name.lower().rstrip("."): record(value) for name, value in zone.items()}

    def asked(self, name: str, transport: str = "") -> int:
        """Return how often a name was asked for, over one transport or both."""
        return sum(query.name == name and transport in ("", query.transport) for query in tuple(self.queries))

    def start(self) -> Self:
        """Bind both sockets and serve from a thread; the port is known and open when this returns."""
        self._udp, self._tcp = self._bind()
        self.port = self._udp.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="dns-server", daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def stop(self) -> None:
        """Close both sockets and end the thread."""
        if self._thread is None or self._loop is None or self._stop is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _bind(self) -> tuple[socket.socket, socket.socket]:
        """Return a UDP and a listening TCP socket on the same port."""
        for _ in range(20):  # a free UDP port may be taken for TCP
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)  # octets
            udp.bind((self.address, self.port))
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                udp.close()
                tcp.close()
                if self.port:
                    raise
                continue
            return udp, tcp
        raise OSError("no port is free for both UDP and TCP")

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        transport, _ = await self._loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=self._udp)
        server = await asyncio.start_server(self._on_connection, sock=self._tcp)
        ready.set()
        await self._stop.wait()
        transport.close()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.sleep(0)  # lets the transport close its socket

    def on_datagram(self, transport: asyncio.DatagramTransport, octets: bytes, source: tuple[str, int]) -> None:
        """Answer one UDP query, now or after its delay."""
        for delay, reply in self._replies(octets, "udp", source[1]):
            if delay:
                self._later(self._send_later(delay, functools.partial(transport.sendto, reply, source)))
            else:
                transport.sendto(reply, source)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                octets = await reader.readexactly(size)
                for delay, reply in self._replies(octets, "tcp", writer.get_extra_info("peername")[1]):
                    await asyncio.sleep(delay)
                    writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _later(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_later(self, delay: float, send: Callable[[], None]) -> None:
        self._waiting += 1
        self.busiest = max(self.busiest, self._waiting)
        try:
            await asyncio.sleep(delay)
            send()
        finally:
            self._waiting -= 1

    def _replies(self, octets: bytes, transport: str, port: int) -> list[tuple[float, bytes]]:
        """Return the delays, in seconds, and the wire forms of what is sent for one query."""
        try:
            query = dns.message.from_wire(octets)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return []
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries.append(Query(name, kind, transport, time.monotonic(), port))
        found = self.zone.get(name)
        if self.down or (found is not None and found.drop):
            return []
        delay = found.delay if found is not None else 0.0
        reply = self._answer(query, question, found)
        if found is not None and found.truncate and transport == "udp":
            return [(delay, _truncated(query))]
        limit = 65535 if transport == "tcp" else max(512, query.payload)
        try:
            wire = reply.to_wire(max_size=limit)
        except dns.exception.TooBig:
            wire = _truncated(query)
        replies = [(delay, wire)]
        if found is not None and found.forged:
            forged = (delay, _forged(reply, found.forged.removeprefix("only-")))
            replies = [forged] if found.forged.startswith("only-") else [forged, *replies]
        return replies

    def _answer(
        self, query: dns.message.Message, question: dns.rrset.RRset, found: Record | None
    ) -> dns.message.Message:
        """Return the response of the zone, with as much of a CNAME chain as the records allow."""
        reply = dns.message.make_response(query, recursion_available=True)
        reply.flags |= dns.flags.RA
        name = question.name.to_text(omit_final_dot=True)
        for _ in range(LONGEST_CHAIN):
            if found is None or found.rcode != "NOERROR":
                reply.set_rcode(dns.rcode.from_text(found.rcode if found is not None else "NXDOMAIN"))
                break
            if not found.cname:
                if question.rdtype == dns.rdatatype.A and (addresses := found.next_addresses()):
                    reply.answer.append(dns.rrset.from_text_list(name + ".", found.ttl, "IN", "A", addresses))
                break
            reply.answer.append(
                dns.rrset.from_text(name + ".", found.ttl, "IN", "CNAME", found.cname.rstrip(".") + ".")
            )
            name = found.cname.lower().rstrip(".")
            if found.one_link:
                return reply
            found = self.zone.get(name)
        answered = bool(reply.answer) and reply.answer[-1].rdtype == dns.rdatatype.A
        if not answered and reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            soa = f"ns.invalid. hostmaster.invalid. 1 3600 600 86400 {NEGATIVE_TTL}"
            owner = name.rpartition(".")[2] + "."
            reply.authority.append(dns.rrset.from_text(owner, NEGATIVE_TTL, "IN", "SOA", soa))
        return reply


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams to the server."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._server.on_datagram(self._transport, data, addr)


def _truncated(query: dns.message.Message) -> bytes:
    """Return an empty response whose TC bit asks for TCP."""
    reply = dns.message.make_response(query, recursion_available=True)
    reply.flags |= dns.flags.TC
    return reply.to_wire()


def _forged(reply: dns.message.Message, defect: str) -> bytes:
    """Return a response that an attacker who has not seen the query would send."""
    wire = bytearray(reply.to_wire())
    if defect == "id":
        wire[0] ^= 0xFF
        return bytes(wire)
    if defect == "question":
        wire[13] ^= 0x03  # first letter of the question's name; the answers point to it
        return bytes(wire)
    raise ValueError(f"unknown forgery {defect!r}, want id or question")


def _read_zone(path: Path) -> dict[str, Record]:
    return {name.lower().rstrip("."): record(value) for name, value in json.loads(path.read_text()).items()}


def main() -> None:
    """Serve a zone file until standard input's owner ends this process; say `ready` once the port is open."""
    parser = argparse.ArgumentParser(description="a small DNS server that follows the changes of a JSON zone file")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--zone", type=Path, required=True, help="JSON: name -> addresses, CNAME, or fields")
    arguments = parser.parse_args()
    with DnsServer(arguments.address, arguments.port, _read_zone(arguments.zone)) as server:
        print(f"ready on {server.address} port {server.port}", flush=True)
        seen = arguments.zone.stat()
        while True:
            time.sleep(RE_READ)
            try:
                now = arguments.zone.stat()
                if (now.st_mtime_ns, now.st_size, now.st_ino) != (seen.st_mtime_ns, seen.st_size, seen.st_ino):
                    server.zone = _read_zone(arguments.zone)
                    seen = now
            except (OSError, ValueError) as error:  # half-written, or being replaced: keep the zone and look again
                print(f"zone not read: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
