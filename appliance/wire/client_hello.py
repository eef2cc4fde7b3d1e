"""The ClientHello, as far as policy needs it.

Source: RFC 8446 section 4.1.2 (and RFC 5246 section 7.4.1.2, the same octets), RFC 7301 section 3.1
(ALPN), RFC 8701 (GREASE), RFC 9849 (ECH).
Every length must be used up exactly, also those of fields nothing is done with. What policy does not
look at stays opaque.
"""

import re
import struct
from typing import Final, NamedTuple

from appliance.errors import Malformed
from appliance.wire.extensions import ALPN, ECH, KEY_SHARE, SERVER_NAME, SUPPORTED_VERSIONS, parse_extensions
from appliance.wire.reader import Reader
from appliance.wire.server_name import parse_server_name

TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304
KNOWN_VERSIONS: Final = frozenset({0x0300, 0x0301, 0x0302, TLS_1_2, TLS_1_3})

_RANDOM: Final = 32  # octets
_SESSION_ID_MAX: Final = 32  # octets
_NULL_COMPRESSION: Final = 0
_KEY_SHARE_HEADER: Final = struct.Struct("!HH")  # group, length of the key
_UNPRINTABLE: Final = re.compile(rb"[^\x21-\x5b\x5d-\x7e]")  # space and backslash too: the text is for logs
_COMMON_ALPN: Final = {b"\x00\x0c\x02h2\x08http/1.1": ("h2", "http/1.1"), b"\x00\x09\x08http/1.1": ("http/1.1",)}


class ClientHello(NamedTuple):
    """What a client offers. A tuple, because one is built for every flow.

    `supported_versions`: as sent, GREASE included; empty if the extension is absent. `server_name`:
    in lower case, without a root dot, only `[a-z0-9_.-]`; None if the extension is absent. `alpn`:
    octets that do not print are escaped. `offers_ech`: also if it is only GREASE, which cannot be
    told apart. `extensions`: types in order. `key_share_groups`: None if the extension is absent.
    """

    legacy_version: int
    supported_versions: tuple[int, ...]
    server_name: str | None
    alpn: tuple[str, ...]
    offers_ech: bool
    extensions: tuple[int, ...]
    cipher_suites: tuple[int, ...]
    session_id: bytes
    key_share_groups: tuple[int, ...] | None

    @property
    def best_version(self) -> int:
        """The newest version of SSL or TLS offered, or 0 if only GREASE and drafts are.

        Source: RFC 8446 section 4.2.1: supported_versions, where present, is all that counts;
        without it nothing beyond TLS 1.2 is offered, whatever the number.
        """
        if self.supported_versions:
            return max(KNOWN_VERSIONS.intersection(self.supported_versions), default=0)
        return min(self.legacy_version, TLS_1_2)


def parse_client_hello(body: bytes) -> ClientHello:
    """Return the ClientHello in a complete handshake message.

    Args:
        body: the message without its 4-octet header.

    Raises:
        Malformed: with code `malformed`, `ext_duplicate`, or one of those of `parse_server_name`.
            The caller denies the flow.
    """
    hello = Reader(body)
    legacy_version = hello.uint(2, "legacy_version")
    if legacy_version >> 8 != 3:
        raise hello.fault(f"legacy_version {legacy_version:#06x}, want 0x03xx")
    hello.take(_RANDOM, "random")
    session_id = hello.block(1, "session_id")
    if len(session_id) > _SESSION_ID_MAX:
        raise hello.fault(f"session_id of {len(session_id)} octets, limit is {_SESSION_ID_MAX}")
    cipher_suites = _parse_numbers(hello.block(2, "cipher_suites"), "cipher_suites")
    compression_methods = hello.block(1, "compression_methods")
    if _NULL_COMPRESSION not in compression_methods:
        raise hello.fault(f"{len(compression_methods)} compression_methods, null is not among them")

    extensions = parse_extensions(body, len(body) - hello.left, duplicate="ext_duplicate", malformed="malformed")
    get = extensions.get
    versions, name, alpn, key_share = get(SUPPORTED_VERSIONS), get(SERVER_NAME), get(ALPN), get(KEY_SHARE)
    return ClientHello(
        legacy_version,
        () if versions is None else _parse_supported_versions(versions),
        None if name is None else parse_server_name(name),
        () if alpn is None else _parse_alpn(alpn),
        not ECH.isdisjoint(extensions),
        tuple(extensions),
        cipher_suites,
        session_id,
        None if key_share is None else _parse_key_share(key_share),
    )


def _parse_numbers(octets: bytes, what: str) -> tuple[int, ...]:
    """Return the 16-bit numbers in a block, at least one."""
    if not octets or len(octets) % 2:
        raise Malformed(f"{what} of {len(octets)} octets, want an even number from 2")
    return struct.unpack(f"!{len(octets) // 2}H", octets)


def _parse_supported_versions(extension: bytes) -> tuple[int, ...]:
    """RFC 8446 section 4.2.1."""
    if not extension or extension[0] != len(extension) - 1:
        raise _vector_fault(extension, 1, "supported_versions")
    return _parse_numbers(extension[1:], "supported_versions")


def _parse_alpn(extension: bytes) -> tuple[str, ...]:
    """RFC 7301 section 3.1: ProtocolName protocol_name_list<2..2^16-1>, each of 1 to 255 octets."""
    common = _COMMON_ALPN.get(extension)
    if common is not None:
        return common
    reader = Reader(extension)
    names = reader.inner(2, "ALPN list")
    reader.finish("ALPN")
    protocols: list[str] = []
    while names.left:
        name = names.block(1, "ALPN protocol")
        if not name:
            raise names.fault(f"ALPN protocol number {len(protocols) + 1} is empty")
        protocols.append(_UNPRINTABLE.sub(_escape, name).decode("ascii"))
    if not protocols:
        raise names.fault("ALPN list is empty")
    return tuple(protocols)


def _escape(unprintable: re.Match[bytes]) -> bytes:
    return b"\\x%02x" % unprintable[0][0]


def _parse_key_share(extension: bytes) -> tuple[int, ...]:
    """RFC 8446 section 4.2.8: KeyShareEntry client_shares<0..2^16-1>; empty asks for a retry."""
    end = len(extension)
    if end < 2 or int.from_bytes(extension[:2]) != end - 2:
        raise _vector_fault(extension, 2, "key_share")
    groups: list[int] = []
    at = 2
    while at != end:
        start = at + _KEY_SHARE_HEADER.size
        if start > end:
            raise Malformed(f"key_share entry: wants 4 octets at offset {at}, {end - at} left")
        group, size = _KEY_SHARE_HEADER.unpack_from(extension, at)
        at = start + size
        if not size or at > end:
            raise Malformed(f"key_share of group {group}: {size} octets at offset {start}, {end - start} left")
        groups.append(group)
    return tuple(groups)


def _vector_fault(extension: bytes, size: int, what: str) -> Malformed:
    """Say why a vector does not fill its extension exactly. `size`: octets of its length."""
    if len(extension) < size:
        return Malformed(f"{what}: {len(extension)} octets, its length alone has {size}")
    length = int.from_bytes(extension[:size])
    return Malformed(f"{what}: list of {length} octets in {len(extension) - size}")
