"""Builds TLS handshakes, right or wrong on purpose, and captures real ones from Python's own TLS.

Source: RFC 8446 sections 4 and 5 (messages, records), RFC 6066 section 3 (server_name).
Nothing here uses the code under test: two mistakes that agree would go unnoticed. A client's half is the self-test's
(`appliance/selftest/hellos.py`), which builds only; every length can be made to lie.
"""

import contextlib
import ssl
import struct
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from appliance.selftest import hellos
from appliance.selftest.hellos import (
    GREASE,
    P256,
    P384,
    RANDOM,
    RETRY_RANDOM,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    X25519,
    X25519MLKEM768,
    alpn,
    block,
    extension,
    handshake,
    hello_without_extensions,
    key_share,
    numbers,
    record,
    records,
    server_name,
    supported_versions,
)

__all__ = [  # what is used from here under this module's name
    "GREASE",
    "P256",
    "P384",
    "TLS_1_0",
    "TLS_1_1",
    "X25519MLKEM768",
    "alpn",
    "hello_without_extensions",
    "key_share",
    "server_name",
    "supported_versions",
]

NAME = "api.example.com"
DRAFT_28 = 0x7F1C
ECH, ESNI = 0xFE0D, 0xFFCE  # types of extension: RFC 9849, and the drafts before it
CHANGE_CIPHER_SPEC_RECORD = b"\x14\x03\x03\x00\x01\x01"

# ---- blocks ----


def agreeable(*groups: int, keys: Sequence[int] = ()) -> bytes:
    """What a real server wants of a TLS 1.3 hello: groups, signatures, and a true key for some of the groups."""
    shares = b"".join(group.to_bytes(2) + block(_key(group)) for group in keys)
    schemes = (0x0403, 0x0804, 0x0401)  # ECDSA and RSA with SHA-256
    return extension(10, block(numbers(groups))) + extension(13, block(numbers(schemes))) + extension(51, block(shares))


def _key(group: int) -> bytes:
    if group == X25519:
        return x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    curve = {P256: ec.SECP256R1, P384: ec.SECP384R1}[group]()
    point = ec.generate_private_key(curve).public_key()
    return point.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


# ---- messages, without their 4-octet header ----


def client_hello(name: bytes | str | None = NAME, **options: Any) -> bytes:
    """A ClientHello for NAME, unless for another; see the self-test's for the rest."""
    return hellos.client_hello(name, **options)


def server_hello(
    version: int | None = TLS_1_3,
    *,
    legacy_version: int = TLS_1_2,
    random: bytes = RANDOM,
    session_id: bytes = RANDOM,
    cipher_suite: int = 0x1301,
    compression: int = 0,
    group: int | None = X25519,
    extra: bytes = b"",
    tail: bytes = b"",
) -> bytes:
    """A ServerHello. `version`: in supported_versions, or None to leave that extension out."""
    extensions = b"" if version is None else extension(43, numbers([version]))
    if group is not None:
        extensions += extension(51, numbers([group]) + (b"" if random == RETRY_RANDOM else block(bytes(32))))
    head = struct.pack("!H", legacy_version) + random + block(session_id, 1)
    return head + struct.pack("!HB", cipher_suite, compression) + block(extensions + extra) + tail


def hello_retry_request(group: int = P384) -> bytes:
    return server_hello(random=RETRY_RANDOM, group=group)


# ---- streams ----


def client_stream(body: bytes | None = None, *, split: int = 1 << 14) -> bytes:
    """What a client sends first."""
    return hellos.client_stream(client_hello() if body is None else body, split=split)


def server_stream(body: bytes | None = None, *, split: int = 1 << 14) -> bytes:
    """What a server replies, up to its hello."""
    return records(handshake(2, server_hello() if body is None else body), split=split, version=TLS_1_2)


def alert(level: int, description: int) -> bytes:
    return record(bytes((level, description)), kind=21, version=TLS_1_2)


# ---- the real thing ----


def make_certificate(folder: Path) -> Path:
    """Let openssl write a key and a self-signed certificate for NAME; return their file."""
    path = folder / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    arguments = [*command.split(), "-subj", f"/CN={NAME}", "-keyout", str(path), "-out", str(folder / "cert.pem")]
    subprocess.run(arguments, check=True, capture_output=True, timeout=30)
    path.write_bytes(path.read_bytes() + (folder / "cert.pem").read_bytes())
    return path


def tls_context(
    *,
    newest: int = TLS_1_3,
    oldest: int = TLS_1_2,
    protocols: Sequence[str] = (),
    curve: str | None = None,
    certificate: Path | None = None,
) -> ssl.SSLContext:
    """A context of Python's ssl for these versions, however old; of a server, if it has a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if certificate is None else ssl.PROTOCOL_TLS_SERVER)
    if certificate is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_cert_chain(certificate)
    if oldest < TLS_1_2:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that TLS 1.0 is old is the point
        context.minimum_version = ssl.TLSVersion(oldest)
        context.maximum_version = ssl.TLSVersion(newest)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if curve is not None:
        context.set_ecdh_curve(curve)
    return context


def captured_client_stream(context: ssl.SSLContext | None = None, *, name: str | None = NAME) -> bytes:
    """What Python's ssl sends first."""
    return captured_handshake(context or tls_context(), None, name=name)[0][0]


def captured_handshake(
    client: ssl.SSLContext, server: ssl.SSLContext | None, *, name: str | None = NAME
) -> tuple[list[bytes], list[bytes]]:
    """The flights of both directions of a handshake that goes as far as it can, without a socket."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    peers = [client.wrap_bio(to_client, to_server, server_hostname=name)]
    if server is not None:
        peers.append(server.wrap_bio(to_server_copy := ssl.MemoryBIO(), to_client, server_side=True))
    flights: tuple[list[bytes], list[bytes]] = ([], [])
    for _ in range(4):
        _advance(peers[0])
        flights[0].append(to_server.read())
        if server is None:
            break
        to_server_copy.write(flights[0][-1])
        _advance(peers[1])
        flights[1].append(to_client.read())
        to_client.write(flights[1][-1])
    return flights


def _advance(peer: ssl.SSLObject) -> None:
    with contextlib.suppress(ssl.SSLError):  # wants more, or refuses with an alert: both are in the stream
        peer.do_handshake()
