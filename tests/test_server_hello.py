"""The ServerHello and the HelloRetryRequest."""

import pytest

from appliance.wire import tls
from tests import hellos
from tests.hellos import (
    DRAFT_28,
    GREASE,
    P384,
    RETRY_RANDOM,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    X25519,
    extension,
    server_hello,
)
from tests.refusal import ids, refusal

REPLIES = [
    # body                                                              version  retry  suite   group
    (server_hello(), TLS_1_3, False, 0x1301, X25519),
    (server_hello(group=None), TLS_1_3, False, 0x1301, None),  # a pre-shared key alone
    (server_hello(session_id=b""), TLS_1_3, False, 0x1301, X25519),
    (hellos.hello_retry_request(P384), TLS_1_3, True, 0x1301, P384),
    (server_hello(random=RETRY_RANDOM, group=None, extra=extension(44, b"\x00\x01c")), TLS_1_3, True, 0x1301, None),
    (server_hello(None, group=None, cipher_suite=0xC02F), TLS_1_2, False, 0xC02F, None),
    (server_hello(None, legacy_version=TLS_1_1, group=None), TLS_1_1, False, 0x1301, None),
    (server_hello(None, legacy_version=TLS_1_0, group=None), TLS_1_0, False, 0x1301, None),
    (server_hello(None, legacy_version=0x0300, group=None), 0x0300, False, 0x1301, None),
    (server_hello(None, group=None)[:-2], TLS_1_2, False, 0x1301, None),  # no extension block
]


@pytest.mark.parametrize(("body", "version", "is_retry", "suite", "group"), REPLIES)
def test_reply_is_read_whole(body: bytes, version: int, is_retry: bool, suite: int, group: int | None) -> None:
    """The version comes from supported_versions or, without it, legacy_version."""
    assert tls.parse_server_hello(body) == (version, is_retry, suite, group)


REPLIES_REFUSED = [
    # what                       body                                                 message begins with
    ("empty", b"", "legacy_version: wants 2 octets at offset 0, 0 left"),
    ("session_id of 33", server_hello(session_id=bytes(33)), "session_id of 33 octets, limit is 32"),
    ("compression", server_hello(compression=1), "compression_method 1, want 0"),
    ("octet after extensions", server_hello(tail=b"x"), "extensions of "),
    ("two supported_versions", server_hello(extra=extension(43, b"\x03\x04")), "extension 43 appears twice"),
    ("TLS 1.2 in supported_versions", server_hello(TLS_1_2), "supported_versions 0x0303 with legacy_version 0x0303"),
    ("TLS 1.0 in supported_versions", server_hello(TLS_1_0), "supported_versions 0x0301"),
    ("draft in supported_versions", server_hello(DRAFT_28), "supported_versions 0x7f1c"),
    ("GREASE in supported_versions", server_hello(GREASE), "supported_versions 0x3a3a"),
    ("TLS 1.3 over 1.1", server_hello(legacy_version=TLS_1_1), "supported_versions 0x0304 with legacy_version 0x0302"),
    ("list of versions", server_hello(None, extra=extension(43, b"\x02\x03\x04")), "supported_versions of 3 octets"),
    ("TLS 1.3 as legacy", server_hello(None, legacy_version=TLS_1_3), "legacy_version 0x0304 without"),
    ("SSL 2.0", server_hello(None, legacy_version=2), "legacy_version 0x0002 without supported_versions"),
    ("GREASE version", server_hello(None, legacy_version=GREASE), "legacy_version 0x3a3a without"),
    ("retry in TLS 1.2", server_hello(None, random=RETRY_RANDOM), "HelloRetryRequest without supported_versions"),
    ("key_share cut", server_hello(group=None, extra=extension(51, b"\x00")), "key_share group: wants 2 octets"),
    ("no key", server_hello(group=None, extra=extension(51, b"\x00\x1d")), "key_share key: wants 2 octets"),
    ("empty key", server_hello(group=None, extra=extension(51, b"\x00\x1d\x00\x00")), "key_share of group 29 is empty"),
    (
        "octet after key",
        server_hello(group=None, extra=extension(51, b"\x00\x1d\x00\x01kx")),
        "key_share: 1 octets left over",
    ),
    (
        "key in a retry",
        server_hello(random=RETRY_RANDOM, group=None, extra=extension(51, b"\x00\x1d\x00\x01k")),
        "key_share: 3 octets left over",
    ),
]


@pytest.mark.parametrize(("what", "body", "message"), REPLIES_REFUSED, ids=ids(REPLIES_REFUSED))
def test_reply_that_no_server_sends_is_refused(what: str, body: bytes, message: str) -> None:
    """A ServerHello that is cut, left over, repeated or impossible is refused."""
    found_code, found_message = refusal(tls.parse_server_hello, body)
    assert found_code == "server_malformed"
    assert found_message.startswith(message)
