"""Builds TLS handshakes of a client, right or wrong on purpose.

Source: RFC 8446 sections 4 and 5 (messages, records), RFC 6066 section 3 (server_name).
Nothing here uses the engine's parsers, which are tested with it: two mistakes that agree would go unnoticed. Every
length can be made to lie: `block(b"abc", lie=+1)` announces one octet more than it has. Everything here is pure.
"""

import struct
from collections.abc import Iterable, Sequence

RANDOM = bytes(range(32))
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = 0x0301, 0x0302, 0x0303, 0x0304
GREASE = 0x3A3A
X25519, P256, P384, X25519MLKEM768 = 29, 23, 24, 4588
X25519_BASE = b"\x09" + bytes(31)  # RFC 7748 section 4.1: everybody's public key, for a hello that goes no further

# ---- blocks ----


def block(octets: bytes, size: int = 2, *, lie: int = 0) -> bytes:
    """Octets after their length, which has `size` octets and is wrong by `lie`."""
    return (len(octets) + lie).to_bytes(size) + octets


def numbers(values: Iterable[int]) -> bytes:
    """Numbers of two octets each."""
    return b"".join(value.to_bytes(2) for value in values)


def extension(kind: int, octets: bytes = b"", *, lie: int = 0) -> bytes:
    """An extension with these octets."""
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
    """A client's list of versions."""
    return extension(43, block(numbers(versions), 1, lie=lie))


def alpn(*protocols: bytes) -> bytes:
    """A list of protocols."""
    return extension(16, block(b"".join(block(protocol, 1) for protocol in protocols)))


def key_share(*shares: tuple[int, int]) -> bytes:
    """Shares of these groups, each with so many octets of key, of which the last 32 are a valid one of X25519."""
    keys = ((group, (X25519_BASE.rjust(size, b"\0"))[:size]) for group, size in shares)
    return extension(51, block(b"".join(group.to_bytes(2) + block(key) for group, key in keys)))


# ---- messages, without their 4-octet header ----


def client_hello(
    name: bytes | str | None,
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
                extension(0xFE0D, bytes(64)) if ech else b"",
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


# ---- streams ----


def handshake(kind: int, body: bytes, *, lie: int = 0) -> bytes:
    """A handshake message with its header: kind 1 is a ClientHello, 2 a ServerHello."""
    return bytes((kind,)) + block(body, 3, lie=lie)


def record(fragment: bytes, *, kind: int = 22, version: int = 0x0301, lie: int = 0) -> bytes:
    """A record: kind 22 holds handshake messages, 21 an alert."""
    return bytes((kind,)) + version.to_bytes(2) + block(fragment, lie=lie)


def records(message: bytes, *, split: int = 1 << 14, kind: int = 22, version: int = 0x0301) -> bytes:
    """A message in records of `split` octets each; the last one may have fewer."""
    fragments = (message[at : at + split] for at in range(0, len(message), split))
    return b"".join(record(fragment, kind=kind, version=version) for fragment in fragments)


def client_stream(body: bytes, *, split: int = 1 << 14) -> bytes:
    """What a client sends first: a ClientHello in records."""
    return records(handshake(1, body), split=split)
