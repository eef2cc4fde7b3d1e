"""The ClientHello: what is read, the odd ones that are legal, and every lie we know of."""

import pytest

from appliance.wire import tls
from tests import hellos
from tests.hellos import (
    DRAFT_28,
    ESNI,
    GREASE,
    NAME,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    X25519,
    X25519MLKEM768,
    block,
    client_hello,
    extension,
    server_name,
)
from tests.refusal import ids, refusal

POST_QUANTUM = client_hello(groups=[(X25519MLKEM768, 1216), (X25519, 32)])  # 1.3 kB: two segments


def test_hello_is_read_whole() -> None:
    """Every fact that policy and log need is there."""
    body = client_hello("API.Example.COM.", versions=(TLS_1_3, TLS_1_2), grease=True, ech=True)
    assert tls.parse_client_hello(body) == tls.ClientHello(
        legacy_version=TLS_1_2,
        supported_versions=(GREASE, TLS_1_3, TLS_1_2),
        server_name="api.example.com",
        alpn=("h2", "http/1.1"),
        offers_ech=True,
        extensions=(GREASE, 0, 23, 10, 16, 43, 51, 0xFE0D),
        cipher_suites=(GREASE, 0x1301, 0x1302, 0x1303, 0xC02F, 0xC030),
        session_id=hellos.RANDOM,
        key_share_groups=(X25519,),
    )


LEGAL = [
    # what                             body                                         field               value
    ("no extensions", hellos.hello_without_extensions(), "server_name", None),
    ("no extensions", hellos.hello_without_extensions(), "extensions", ()),
    ("empty extension block", client_hello(extensions=b""), "extensions", ()),
    ("no server_name", client_hello(None), "server_name", None),
    ("no session", client_hello(session_id=b""), "session_id", b""),
    ("two compression methods", client_hello(compression_methods=b"\x01\x00"), "server_name", NAME),
    ("ECH", client_hello(ech=True), "offers_ech", True),
    ("inner ECH", client_hello(extra=extension(0xFE0D, b"\x01")), "offers_ech", True),
    ("ECH of draft 12", client_hello(extra=extension(0xFE0C, b"any")), "offers_ech", True),
    ("ECH of draft 8", client_hello(extra=extension(0xFE08, b"any")), "offers_ech", True),
    ("ECH of draft 7", client_hello(extra=extension(0xFF02, b"any")), "offers_ech", True),
    ("ESNI", client_hello(extra=extension(ESNI, b"any")), "offers_ech", True),
    ("a neighbour of ECH", client_hello(extra=extension(0xFE0E, b"any")), "offers_ech", False),
    ("neither", client_hello(grease=True), "offers_ech", False),
    ("empty key_share", client_hello(groups=(), extra=hellos.key_share()), "key_share_groups", ()),
    ("no key_share", client_hello(groups=()), "key_share_groups", None),
    ("post-quantum", POST_QUANTUM, "key_share_groups", (X25519MLKEM768, X25519)),
    ("no ALPN", client_hello(protocols=()), "alpn", ()),
    ("ALPN of one", client_hello(protocols=[b"http/1.1"]), "alpn", ("http/1.1",)),
    ("odd ALPN", client_hello(protocols=[b"h3", b"\x0a\\ \xff~"]), "alpn", ("h3", r"\x0a\x5c\x20\xff~")),
    ("opaque extension", client_hello(extra=extension(0x1234, b"\xff" * 500)), "server_name", NAME),
]


@pytest.mark.parametrize(("what", "body", "field", "value"), LEGAL, ids=ids(LEGAL))
def test_odd_but_legal_hello_is_read(what: str, body: bytes, field: str, value: object) -> None:
    """What the RFCs allow is read, also where few clients use it."""
    assert getattr(tls.parse_client_hello(body), field) == value


VERSIONS = [
    # supported_versions                 legacy   best
    ((TLS_1_3, TLS_1_2), TLS_1_2, TLS_1_3),
    ((GREASE, TLS_1_3), TLS_1_2, TLS_1_3),
    ((GREASE, TLS_1_2, TLS_1_1), TLS_1_2, TLS_1_2),
    ((DRAFT_28, TLS_1_1), TLS_1_2, TLS_1_1),  # a draft is not TLS 1.3, though its number is larger
    ((DRAFT_28,), TLS_1_2, 0),
    ((GREASE,), TLS_1_2, 0),
    ((0xFFFF, TLS_1_0), TLS_1_2, TLS_1_0),
    ((TLS_1_0, TLS_1_1), TLS_1_2, TLS_1_1),  # T6: the list counts, not the legacy version
    (None, TLS_1_2, TLS_1_2),
    (None, TLS_1_1, TLS_1_1),
    (None, 0x0300, 0x0300),
    (None, TLS_1_3, TLS_1_2),  # TLS 1.3 is offered in supported_versions, or not at all
    (None, 0x03FF, TLS_1_2),
]


@pytest.mark.parametrize(("offered", "legacy_version", "best"), VERSIONS)
def test_best_version_is_the_newest_really_offered(
    offered: tuple[int, ...] | None, legacy_version: int, best: int
) -> None:
    """GREASE, drafts and numbers that do not exist offer nothing."""
    body = client_hello(versions=offered, legacy_version=legacy_version)
    assert tls.parse_client_hello(body).best_version == best


HELLOS_REFUSED = [
    # what                       body                                             code             message begins with
    ("empty", b"", "malformed", "legacy_version: wants 2 octets at offset 0, 0 left"),
    ("cut in random", client_hello()[:33], "malformed", "random: wants 32 octets at offset 2, 31 left"),
    ("cut in session_id", client_hello()[:40], "malformed", "session_id: wants 32 octets at offset 35, 5 left"),
    ("no session_id", client_hello()[:34], "malformed", "session_id: wants 1 octets at offset 34, 0 left"),
    (
        "cut in extensions length",
        hellos.hello_without_extensions() + b"\x00",
        "malformed",
        "extensions length: wants 2",
    ),
    ("DTLS version", client_hello(legacy_version=0xFEFD), "malformed", "legacy_version 0xfefd, want 0x03xx"),
    ("SSL 2.0 version", client_hello(legacy_version=2), "malformed", "legacy_version 0x0002, want 0x03xx"),
    ("session_id of 33", client_hello(session_id=bytes(33)), "malformed", "session_id of 33 octets, limit is 32"),
    ("no cipher suite", client_hello(cipher_suites=()), "malformed", "cipher_suites of 0 octets"),
    (
        "odd cipher suites",
        client_hello()[:67] + block(b"\x13\x01\x13") + block(b"\x00", 1),
        "malformed",
        "cipher_suites of 3 octets, want an even number from 2",
    ),
    ("no compression", client_hello(compression_methods=b""), "malformed", "0 compression_methods, null is not"),
    ("DEFLATE only", client_hello(compression_methods=b"\x01"), "malformed", "1 compression_methods, null is not"),
    ("extensions too long", client_hello(extensions_lie=1), "malformed", "extensions of "),
    ("extensions too short", client_hello(extensions_lie=-1), "malformed", "extensions of "),
    ("octet after extensions", client_hello(tail=b"x"), "malformed", "extensions of "),
    ("octet after empty extensions", client_hello(extensions=b"", tail=b"x"), "malformed", "extensions of 0 octets"),
    ("cut extension header", client_hello(extra=b"\x00\x17\x00"), "malformed", "extension header: wants 4 octets"),
    (
        "extension too long",
        client_hello(extra=extension(99, b"abc", lie=1)),
        "malformed",
        "extension 99: wants 4 octets",
    ),
    (
        "extension too short",
        client_hello(extra=extension(99, b"abc", lie=-1)),
        "malformed",
        "extension header: wants 4",
    ),
    ("two server_names", client_hello(extra=server_name("b.example")), "ext_duplicate", "extension 0 appears twice"),
    ("one name twice", client_hello(extra=server_name(NAME)), "ext_duplicate", "extension 0 appears twice"),
    ("opaque twice", client_hello(extra=extension(23)), "ext_duplicate", "extension 23 appears twice"),
    ("GREASE twice", client_hello(grease=True, extra=extension(GREASE)), "ext_duplicate", "extension 14906 appears"),
    ("no version", client_hello(versions=()), "malformed", "supported_versions of 0 octets"),
    ("empty versions", client_hello(versions=None, extra=extension(43)), "malformed", "supported_versions: 0 octets"),
    (
        "odd versions",
        client_hello(versions=None, extra=extension(43, b"\x03\x03\x04\x03")),
        "malformed",
        "supported_versions of 3 octets",
    ),
    (
        "versions too long",
        client_hello(versions=None, extra=hellos.supported_versions(TLS_1_3, lie=2)),
        "malformed",
        "supported_versions: list of 4 octets in 2",
    ),
    (
        "versions too short",
        client_hello(versions=None, extra=hellos.supported_versions(TLS_1_3, TLS_1_2, lie=-2)),
        "malformed",
        "supported_versions: list of 2 octets in 4",
    ),
    ("empty ALPN", client_hello(protocols=(), extra=extension(16)), "malformed", "ALPN list: wants 2 octets"),
    ("ALPN of none", client_hello(protocols=(), extra=hellos.alpn()), "malformed", "ALPN list is empty"),
    ("ALPN of nothing", client_hello(protocols=[b"h2", b""]), "malformed", "ALPN protocol number 2 is empty"),
    (
        "ALPN too long",
        client_hello(protocols=(), extra=extension(16, block(b"\x03h2"))),
        "malformed",
        "ALPN protocol: wants 3 octets",
    ),
    (
        "octet after ALPN",
        client_hello(protocols=(), extra=extension(16, block(b"\x02h2") + b"x")),
        "malformed",
        "ALPN: 1 octets left over",
    ),
    ("key_share cut", client_hello(groups=(), extra=extension(51, b"\x00")), "malformed", "key_share: 1 octets"),
    (
        "key_share too long",
        client_hello(groups=(), extra=extension(51, block(b"", lie=4))),
        "malformed",
        "key_share: list of 4 octets in 0",
    ),
    (
        "key_share entry cut",
        client_hello(groups=(), extra=extension(51, block(b"\x00\x1d\x00"))),
        "malformed",
        "key_share entry: wants 4 octets at offset 2, 3 left",
    ),
    (
        "key too long",
        client_hello(groups=(), extra=extension(51, block(b"\x00\x1d\x00\x02k"))),
        "malformed",
        "key_share of group 29: 2 octets at offset 6, 1 left",
    ),
    (
        "empty key",
        client_hello(groups=[(X25519, 0)]),
        "malformed",
        "key_share of group 29: 0 octets at offset 6, 0 left",
    ),
]


@pytest.mark.parametrize(("what", "body", "code", "message"), HELLOS_REFUSED, ids=ids(HELLOS_REFUSED))
def test_hello_whose_lengths_do_not_nest_is_refused(what: str, body: bytes, code: str, message: str) -> None:
    """Whatever is cut, left over, repeated or impossible is refused, with its place and the numbers."""
    found_code, found_message = refusal(tls.parse_client_hello, body)
    assert found_code == code
    assert found_message.startswith(message)


def test_no_prefix_of_a_hello_is_a_hello() -> None:
    """A cut hello is refused wherever it is cut, but before its extensions, where a TLS 1.2 hello may end."""
    body = client_hello()
    without_extensions = len(hellos.hello_without_extensions(cipher_suites=range(5)))
    for cut in range(len(body)):
        if cut == without_extensions:
            assert tls.parse_client_hello(body[:cut]).extensions == ()
        else:
            assert refusal(tls.parse_client_hello, body[:cut])[0] == "malformed"
