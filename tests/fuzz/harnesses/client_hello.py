"""A ClientHello: the second opinion and OpenSSL agree, it survives building and framing, recall changes nothing."""

from appliance.inspection import Inspector, inspect_client
from appliance.wire import tls
from tests import hellos
from tests.fuzz import openssl, second_opinion
from tests.outcome import Refusal, neighbours, outcome

MAX = 2048
WORDS = (
    hellos.server_name(hellos.NAME),
    hellos.supported_versions(hellos.TLS_1_3, hellos.TLS_1_2),
    hellos.alpn(b"h2"),
    hellos.key_share((hellos.X25519, 4)),
    *(kind.to_bytes(2) for kind in (0, 16, 35, 41, 43, 51, 0xFE0D, 0xFFCE, 0x3A3A)),
)


def check(octets: bytes) -> str:
    hello = outcome(tls.parse_client_hello, octets)
    _compare(hello, octets)
    stream = hellos.client_stream(octets, split=1 + len(octets) % 97)
    if len(octets) and len(stream) < tls.RECORDS_MAX:
        assert tls.frame_client_hello(stream) == (octets, len(stream))
    stream = hellos.client_stream(octets)
    _compare_recall(stream)
    if isinstance(hello, Refusal):
        return hello.code
    assert set(openssl.names_seen(stream)) <= {hello.server_name}, f"OpenSSL saw {openssl.names_seen(stream)}"
    _rebuild(hello)
    return "hello"


def _compare(hello: tls.ClientHello | Refusal, octets: bytes) -> None:
    try:
        expected = second_opinion.client_hello(octets)
    except second_opinion.Disagreeable:
        assert isinstance(hello, Refusal), f"accepted as {hello}"
        return
    assert not isinstance(hello, Refusal), f"{hello}, but it is {expected}"
    assert len(hello.alpn) == len(expected.alpn)
    assert hello._replace(alpn=()) == expected._replace(alpn=())


def _compare_recall(stream: bytes) -> None:
    inspector = Inspector(allow_ech=True)
    expected = inspect_client(stream, allow_ech=True)
    assert inspector.client(stream) == expected
    assert inspector.client(stream) == expected, "recalled as another"
    assert inspector.client(stream[:-1]) == inspect_client(stream[:-1], allow_ech=True)
    for other in neighbours(stream):
        assert inspector.client(other) == inspect_client(other, allow_ech=True), "recalled as one it resembles"


def _rebuild(hello: tls.ClientHello) -> None:
    """What is built of what was read says the same."""
    body = hellos.client_hello(
        hello.server_name,
        versions=hello.supported_versions or None,
        legacy_version=hello.legacy_version,
        session_id=hello.session_id,
        cipher_suites=hello.cipher_suites,
        protocols=[protocol.encode() for protocol in hello.alpn if len(protocol) < 256],
        groups=[(group, 2) for group in hello.key_share_groups or ()],
        ech=hello.offers_ech,
    )
    again = tls.parse_client_hello(body)
    assert again.server_name == hello.server_name
    assert again.supported_versions == hello.supported_versions
    assert again.best_version == hello.best_version
    assert again.offers_ech == hello.offers_ech
    assert again.cipher_suites == hello.cipher_suites
    assert (again.key_share_groups or ()) == (hello.key_share_groups or ())
