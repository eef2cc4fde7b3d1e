"""Real TLS octets for the load generator and the reply server: a ClientHello, and the flight that answers it.

Both come from Python's ssl module talking to itself through memory buffers, so that what the systems under test
inspect is what OpenSSL sends. Only the server_name differs from one connection to the next; the load generator
patches it in place, so every name is as long as PLACEHOLDER.
"""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

PLACEHOLDER = "host-000000.bench.example"
UNLISTED = "host-999999.bench.example"  # as long as the others, never in a list


@dataclass(frozen=True, slots=True)
class Exchange:
    """The files with the client's first octets and the server's, and how many octets the server's are."""

    hello: Path
    flight: Path
    flight_length: int


def listed_name(number: int) -> str:
    """Return the name with this number (0 to 999,998)."""
    return f"host-{number:06d}.bench.example"


def make_certificate(folder: Path, subject: str, *, authority: bool = False) -> tuple[Path, Path]:
    """Make a self-signed RSA certificate; return the paths of the certificate and of its key."""
    certificate, key = folder / f"{subject}.pem", folder / f"{subject}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={subject}"]
    command += ["-addext", f"basicConstraints=critical,CA:{'TRUE' if authority else 'FALSE'}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key


def record_exchange(folder: Path) -> Exchange:
    """Run one TLS 1.3 handshake in memory as far as the server's first flight, and store both sides' octets."""
    certificate, key = make_certificate(folder, "server")
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context()
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=PLACEHOLDER)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    hello = _first_octets(client, to_server)
    to_server.write(hello)
    flight = _first_octets(server, to_client)
    exchange = Exchange(folder / "hello.bin", folder / "flight.bin", len(flight))
    exchange.hello.write_bytes(hello)
    exchange.flight.write_bytes(flight)
    return exchange


def _first_octets(side: ssl.SSLObject, outgoing: ssl.MemoryBIO) -> bytes:
    """Start a handshake that cannot finish, and return what this side has sent."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake finished without its other side")
