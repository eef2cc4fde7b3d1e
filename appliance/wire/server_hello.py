"""The ServerHello and the HelloRetryRequest, as far as policy needs them.

Source: RFC 8446 sections 4.1.3 and 4.1.4 (and RFC 5246 section 7.4.1.3, the same octets).
Every length must be used up exactly.
"""

from typing import Final, NamedTuple

from appliance.errors import Malformed
from appliance.wire.client_hello import KNOWN_VERSIONS, TLS_1_2, TLS_1_3
from appliance.wire.extensions import KEY_SHARE, SUPPORTED_VERSIONS, parse_extensions
from appliance.wire.reader import Reader

# SHA-256 of "HelloRetryRequest": in the place of a random, it makes a ServerHello a request to retry.
RETRY_RANDOM: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

_CODE: Final = "server_malformed"
_SESSION_ID_MAX: Final = 32  # octets


class ServerHello(NamedTuple):
    """What a server chose. A tuple, because one is built for every flow.

    `version`: from supported_versions or, without it, legacy_version. `is_retry`: it is a
    HelloRetryRequest; another ClientHello must follow. `key_share_group`: None before TLS 1.3, or when
    a pre-shared key is used alone.
    """

    version: int
    is_retry: bool
    cipher_suite: int
    key_share_group: int | None


def parse_server_hello(body: bytes) -> ServerHello:
    """Return the ServerHello or HelloRetryRequest in a complete handshake message.

    Args:
        body: the message without its 4-octet header.

    Raises:
        Malformed: with code `server_malformed`. The caller denies the flow.
    """
    hello = Reader(body, _CODE)
    legacy_version = hello.uint(2, "legacy_version")
    is_retry = hello.take(len(RETRY_RANDOM), "random") == RETRY_RANDOM
    session_id = hello.block(1, "session_id")
    if len(session_id) > _SESSION_ID_MAX:
        raise hello.fault(f"session_id of {len(session_id)} octets, limit is {_SESSION_ID_MAX}")
    cipher_suite = hello.uint(2, "cipher_suite")
    compression = hello.uint(1, "compression_method")
    if compression:
        raise hello.fault(f"compression_method {compression}, want 0")
    extensions = parse_extensions(body, len(body) - hello.left, duplicate=_CODE, malformed=_CODE)

    version = _negotiated(legacy_version, extensions.get(SUPPORTED_VERSIONS))
    if version != TLS_1_3:
        if is_retry:
            raise hello.fault("HelloRetryRequest without supported_versions")
        return ServerHello(version, is_retry, cipher_suite, None)
    key_share = extensions.get(KEY_SHARE)
    group = None if key_share is None else _parse_key_share(key_share, is_retry=is_retry)
    return ServerHello(version, is_retry, cipher_suite, group)


def _negotiated(legacy_version: int, supported_versions: bytes | None) -> int:
    """Return the version chosen (RFC 8446 section 4.2.1: the extension is for TLS 1.3 only)."""
    if supported_versions is None:
        if legacy_version not in KNOWN_VERSIONS or legacy_version == TLS_1_3:
            raise Malformed(f"legacy_version {legacy_version:#06x} without supported_versions", code=_CODE)
        return legacy_version
    if len(supported_versions) != 2:
        raise Malformed(f"supported_versions of {len(supported_versions)} octets, want 2", code=_CODE)
    version = int.from_bytes(supported_versions)
    if version != TLS_1_3 or legacy_version != TLS_1_2:
        raise Malformed(
            f"supported_versions {version:#06x} with legacy_version {legacy_version:#06x}, "
            f"want {TLS_1_3:#06x} with {TLS_1_2:#06x}",
            code=_CODE,
        )
    return version


def _parse_key_share(extension: bytes, *, is_retry: bool) -> int:
    """Return the group of a key share; a HelloRetryRequest has the group alone (RFC 8446 section 4.2.8)."""
    share = Reader(extension, _CODE)
    group = share.uint(2, "key_share group")
    if not is_retry and not share.block(2, "key_share key"):
        raise share.fault(f"key_share of group {group} is empty")
    share.finish("key_share")
    return group
