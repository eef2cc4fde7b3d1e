"""A ServerHello: the second opinion agrees about it, it survives building and framing, recall changes nothing."""

from appliance.inspection import Inspector, inspect_server
from appliance.wire import tls
from tests import hellos
from tests.fuzz import second_opinion
from tests.outcome import Refusal, neighbours, outcome

MAX = 1024
WORDS = (
    hellos.RETRY_RANDOM,
    hellos.extension(43, hellos.numbers([hellos.TLS_1_3])),
    hellos.extension(51, hellos.numbers([hellos.P384])),
    *(kind.to_bytes(2) for kind in (0, 16, 35, 41, 43, 51, 0x0301, 0x0302)),
)


def check(octets: bytes) -> str:
    hello = outcome(tls.parse_server_hello, octets)
    try:
        expected = second_opinion.server_hello(octets)
    except second_opinion.Disagreeable:
        expected = None
    assert (None if isinstance(hello, Refusal) else hello) == expected, f"{hello}, want {expected}"
    stream = hellos.server_stream(octets, split=1 + len(octets) % 97)
    assert tls.frame_server_reply(stream) == (octets, len(stream))
    _compare_recall(hellos.server_stream(octets))
    if isinstance(hello, Refusal):
        return hello.code
    _rebuild(hello)
    return "retry" if hello.is_retry else "hello"


def _compare_recall(stream: bytes) -> None:
    inspector = Inspector(allow_ech=True)
    expected = inspect_server("tls", stream)
    assert inspector.server("tls", stream) == expected
    assert inspector.server("tls", stream) == expected, "recalled as another"
    assert inspector.server("tls", stream[:-1]) == inspect_server("tls", stream[:-1])
    for other in neighbours(stream):
        assert inspector.server("tls", other) == inspect_server("tls", other), "recalled as one it resembles"


def _rebuild(hello: tls.ServerHello) -> None:
    """What is built of what was read says the same."""
    is_new = hello.version == hellos.TLS_1_3
    body = hellos.server_hello(
        hello.version if is_new else None,
        legacy_version=hellos.TLS_1_2 if is_new else hello.version,
        random=hellos.RETRY_RANDOM if hello.is_retry else hellos.RANDOM,
        cipher_suite=hello.cipher_suite,
        group=hello.key_share_group,
    )
    assert tls.parse_server_hello(body) == hello
