"""Builds TLS handshakes, right or wrong on purpose, and captures real ones from Python's own TLS.

Source: RFC 8446 sections 4 and 5 (messages, records), RFC 6066 section 3 (server_name).
Nothing here uses the code under test: two mistakes that agree would go unnoticed. Every length can be
made to lie: `block(b"abc", lie=+1)` announces one octet more than it has.
"""

import contextlib
import ssl
import struct
import subprocess
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

NAME = "api.example.com"
RANDOM = bytes(range(32))
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = 0x0301, 0x0302, 0x0303, 0x0304
GREASE = 0x3A3A
DRAFT_28 = 0x7F1C
X25519, P256, P384, X25519MLKEM768 = 29, 23, 24, 4588
ECH, ESNI = 0xFE0D, 0xFFCE  # types of extension: RFC 9849, and the drafts before it
CHANGE_CIPHER_SPEC_RECORD = b"\x14\x03\x03\x00\x01\x01"

# ---- blocks ----


def block(octets: bytes, size: int = 2, *, lie: int = 0) -> bytes:
    """Octets after their length, which has `size` octets and is wrong by `lie`."""
    return (len(octets) + lie).to_bytes(size) + octets


def numbers(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(2) for value in values)


def extension(kind: int, octets: bytes = b"", *, lie: int = 0) -> bytes:
    return kind.to_bytes(2) + block(octets, lie=lie)


def server_name(*names: bytes | str, kinds: Sequence[int] = (), list_lie: int = 0, name_lie: int = 0) -> bytes:
    """A server_name extension with these names, each of its kind or of type host_name."""
    entries = b""
    for index, name in enumerate(names):
        kind = kinds[index] if index < len(kinds) else 0
        octets = name if isinstance(name, bytes) else name.encode()
        entries += bytes((kind,)) + block(octets, lie=name_lie)
    return extension(0, block(entries, lie=list_lie))


def supported_versions(*versions: int, lie: int = 0) -> bytes:
    return extension(43, block(numbers(versions), 1, lie=lie))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, block(b"".join(block(protocol, 1) for protocol in protocols)))


def key_share(*shares: tuple[int, int]) -> bytes:
    """Shares of these groups, each with so many octets of key."""
    return extension(51, block(b"".join(group.to_bytes(2) + block(bytes(size)) for group, size in shares)))


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


def client_hello(
    name: bytes | str | None = NAME,
    *,
    versions: Sequence[int] | None = (TLS_1_3, TLS_1_2),
    legacy_version: int = TLS_1_2,
    session_id: bytes = RANDOM,
    cipher_suites: Sequence[int] = (0x1301, 0x1302, 0x1303, 0xC02F, 0xC030),
    compression_methods: bytes = b"\x00",
    protocols: Sequence[bytes] = (b"h2", b"http/1.1"),
    groups: Sequence[tuple[int, int]] = ((X25519, 32),),
    ech: bool = False,
    grease: bool = False,
    extra: bytes = b"",
    extensions: bytes | None = None,
    extensions_lie: int = 0,
    tail: bytes = b"",
) -> bytes:
    """A ClientHello. `extra`: more extensions; `extensions`: these instead, b"" for an empty block."""
    if extensions is None:
        extensions = b"".join(
            (
                extension(GREASE) if grease else b"",
                b"" if name is None else server_name(name),
                extension(23),
                extension(10, block(numbers(group for group, _ in groups))) if groups else b"",
                alpn(*protocols) if protocols else b"",
                b"" if versions is None else supported_versions(*((GREASE,) if grease else ()), *versions),
                key_share(*groups) if groups else b"",
                extension(ECH, bytes(64)) if ech else b"",
            )
        )
    if grease:
        cipher_suites = (GREASE, *cipher_suites)
    return (
        hello_without_extensions(legacy_version, session_id, cipher_suites, compression_methods)
        + block(extensions + extra, lie=extensions_lie)
        + tail
    )


def hello_without_extensions(
    legacy_version: int = TLS_1_2,
    session_id: bytes = RANDOM,
    cipher_suites: Sequence[int] = (0xC02F,),
    compression_methods: bytes = b"\x00",
) -> bytes:
    """A ClientHello that ends before its extensions, as is legal up to TLS 1.2."""
    return (
        struct.pack("!H", legacy_version)
        + RANDOM
        + block(session_id, 1)
        + block(numbers(cipher_suites))
        + block(compression_methods, 1)
    )


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


def handshake(kind: int, body: bytes, *, lie: int = 0) -> bytes:
    """A handshake message with its header: kind 1 is a ClientHello, 2 a ServerHello."""
    return bytes((kind,)) + block(body, 3, lie=lie)


def record(fragment: bytes, *, kind: int = 22, version: int = 0x0301, lie: int = 0) -> bytes:
    return bytes((kind,)) + version.to_bytes(2) + block(fragment, lie=lie)


def records(message: bytes, *, split: int = 1 << 14, kind: int = 22, version: int = 0x0301) -> bytes:
    """A message in records of `split` octets each; the last one may have fewer."""
    fragments = (message[at : at + split] for at in range(0, len(message), split))
    return b"".join(record(fragment, kind=kind, version=version) for fragment in fragments)


def client_stream(body: bytes | None = None, *, split: int = 1 << 14) -> bytes:
    """What a client sends first."""
    return records(handshake(1, client_hello() if body is None else body), split=split)


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
