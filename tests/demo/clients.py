"""Clients: real programs, and how each of them tells its user what became of a connection."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.hellos import client_hello, client_stream, record
from tests.lab.workload import Result, Workload

RESET = "connection reset"
REFUSED = "connection refused"
UNREACHABLE = "ICMP unreachable"
SILENCE = "no answer"
IMPATIENCE = 5  # seconds until a client gives up: no refusal may take as long

PIECE = 40  # octets of a record, and of a segment, of a hello that comes in pieces
MANY_NAMES = ["x" * 250] * 7  # ALPN protocols that make a hello as long as a post-quantum one


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something a workload tries. `text`: as one would type it; `run`: does it, and says what the client saw."""

    text: str
    run: Callable[[Workload], str]


def curl(url: str, *options: str) -> Attempt:
    """Fetch a URL."""

    def run(client: Workload) -> str:
        result = client.curl(url, *options, timeout=IMPATIENCE)
        if not result.ok:
            return _explain(result)
        version = result.json["tls"]
        return f"HTTP 200, {_version(version)}" if version else "HTTP 200, plaintext"

    return Attempt(" ".join(["curl", *options, url]), run)


def openssl(server: str, *options: str) -> Attempt:
    """Open TLS with openssl s_client."""

    def run(client: Workload) -> str:
        result = client.openssl(server, *options, timeout=IMPATIENCE)
        return "handshake done" if result.ok and "Cipher is (NONE)" not in result.out else _explain(result)

    return Attempt(" ".join(["openssl s_client -connect", f"{server}:443", *options]), run)


def ssh(server: str, *command: str) -> Attempt:
    """Log in and run a command."""

    def run(client: Workload) -> str:
        result = client.ssh(server, *command)
        return "exit status 0" if result.ok else _explain(result)

    return Attempt(" ".join(["ssh", server, *command]), run)


def datagram(server: str, port: int) -> Attempt:
    """Send one UDP datagram, padded as QUIC's first one is (RFC 9000 section 14.1)."""

    def run(client: Workload) -> str:
        try:
            answer = client.exchange_datagram(_address(client, server), port, bytes(1200), timeout=IMPATIENCE)
        except ConnectionRefusedError:
            return UNREACHABLE
        except TimeoutError:
            return SILENCE
        return f"{len(answer)} octets back"

    return Attempt(f"python: a datagram to {server}, UDP port {port}", run)


def hello_in_pieces(server: str, authority: Callable[[], Path]) -> Attempt:
    """Shake hands with a ClientHello over many records, each a segment of its own."""

    def cut(hello: bytes) -> Iterable[bytes]:
        message = hello[5:]  # behind the header of its one record
        for start in range(0, len(message), PIECE):
            yield record(message[start : start + PIECE])

    def run(client: Workload) -> str:
        return _shake_hands(client, server, ssl.create_default_context(cafile=str(authority())), cut)

    return Attempt(f"python: ssl to {server}, the hello in records and segments of {PIECE} octets", run)


def long_hello(server: str, authority: Callable[[], Path]) -> Attempt:
    """Shake hands with a ClientHello that needs two segments, as those with post-quantum key shares do."""

    def run(client: Workload) -> str:
        context = ssl.create_default_context(cafile=str(authority()))
        context.set_alpn_protocols([*MANY_NAMES, "http/1.1"])
        return _shake_hands(client, server, context, lambda hello: [hello])

    return Attempt(f"python: ssl to {server}, with ALPN of {sum(map(len, MANY_NAMES)):,} octets", run)


def encrypted_hello(server: str) -> Attempt:
    """Send a ClientHello with Encrypted Client Hello in it."""

    def run(client: Workload) -> str:
        try:
            with client.connect(_address(client, server), 443, timeout=IMPATIENCE) as stream:
                stream.sendall(client_stream(client_hello(server, ech=True)))
                return "an answer" if stream.recv(1) else "connection closed"
        except OSError as fault:
            return _explain_error(fault)

    return Attempt(f"python: a ClientHello to {server}, ECH offered", run)


def _shake_hands(
    client: Workload, server: str, context: ssl.SSLContext, cut: Callable[[bytes], Iterable[bytes]]
) -> str:
    """Fetch / over TLS, the first flight cut as told."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server)
    try:
        with client.connect(_address(client, server), 443, timeout=IMPATIENCE) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            for piece in cut(outgoing.read()):
                stream.sendall(piece)
            for step in (tls.do_handshake, lambda: tls.write(f"GET / HTTP/1.1\r\nHost: {server}\r\n\r\n".encode())):
                _pump(step, stream, incoming, outgoing)
            answer = _pump(lambda: tls.read(4096), stream, incoming, outgoing)
    except OSError as fault:  # ssl.SSLError is one
        return _explain_error(fault)
    status = bytes(answer).split(b" ", 2)[1].decode()  # type: ignore[call-overload]
    return f"HTTP {status}, {_version(tls.version() or '')}"


def _pump(
    step: Callable[[], object], stream: socket.socket, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> object:
    """Repeat a step of TLS until it wants no more octets."""
    while True:
        try:
            result = step()
        except ssl.SSLWantReadError:
            stream.sendall(outgoing.read())
            octets = stream.recv(65536)
            if not octets:
                raise ConnectionAbortedError("closed") from None
            incoming.write(octets)
        else:
            stream.sendall(outgoing.read())
            return result


def _address(client: Workload, name: str) -> str:
    """Return what the VPC's resolver tells the client."""
    return client.run("getent", "ahostsv4", name).out.split()[0]


def _version(text: str) -> str:
    """`TLSv1.3` as the log writes it."""
    return text.replace("TLSv", "TLS ") + (".0" if text == "TLSv1" else "")


def _explain(result: Result) -> str:
    """Return what a program that failed said, in a few words."""
    said = result.err + result.out
    if result.code == -1 or "timed out" in said:
        return SILENCE
    if "reset by peer" in said or "errno=104" in said:
        return RESET
    if "refused" in said or "Couldn't connect" in said:
        return REFUSED
    last = [line for line in result.err.splitlines() if line.strip()]
    return (last[-1] if last else f"exit status {result.code}")[:60]


def _explain_error(fault: OSError) -> str:
    for kind, text in ((ConnectionResetError, RESET), (ConnectionRefusedError, REFUSED), (TimeoutError, SILENCE)):
        if isinstance(fault, kind):
            return text
    return str(fault)
