"""Laws of recall: it never says anything that the parsers would not say."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.inspection import Greeting, Hello, inspect_client, inspect_server
from appliance.recall import HELLOS_MAX, LENGTHS_MAX, Recall
from appliance.wire.server_hello import RETRY_RANDOM
from tests import hellos

TICKET = hellos.extension(35, bytes(48))
PRE_SHARED_KEY = hellos.extension(41, bytes(64))
UNPARSED_KEY_SHARE = hellos.extension(51, b"\x00\x1d\x02\x00")  # of TLS 1.2: a key of 512 octets, it says

CLIENTS = [
    hellos.client_stream(body)
    for body in (
        hellos.client_hello("api.example.com"),
        hellos.client_hello("api.example.org"),  # as long as the first
        hellos.client_hello("www.example.com", session_id=b""),
        hellos.client_hello("api.example.com", groups=((29, 32), (4588, 1216))),
        hellos.client_hello("api.example.com", extra=TICKET),
        hellos.client_hello("api.example.com", extra=TICKET + PRE_SHARED_KEY),
        hellos.client_hello("api.example.com", grease=True),
        hellos.hello_without_extensions(),
    )
]
SERVERS = [
    hellos.server_stream(body)
    for body in (
        hellos.server_hello(),
        hellos.server_hello(session_id=b""),
        hellos.server_hello(None, group=None),
        hellos.server_hello(0x0304, group=4588),
        hellos.hello_retry_request(),
        hellos.server_hello(None, group=None, extra=UNPARSED_KEY_SHARE + hellos.extension(0)),
    )
]


def reply(stream: bytes) -> Greeting | None:
    return inspect_server("tls", stream)


def recall_of(
    streams: list[bytes], inspect: Callable[[bytes], Hello | Greeting | None], *, of_clients: bool
) -> Recall[object]:
    recall: Recall[object] = Recall(of_clients=of_clients)
    for stream in streams:
        facts = inspect(stream)
        if facts is not None and facts.refusal is None:
            recall.remember(stream, facts.end, facts)
    return recall


SIDES = {
    "clients": (CLIENTS, inspect_client, recall_of(CLIENTS, inspect_client, of_clients=True)),
    "servers": (SERVERS, reply, recall_of(SERVERS, reply, of_clients=False)),
}

edits = st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=6)


@pytest.mark.parametrize("side", SIDES)
@given(which=st.integers(0, 7), edits=edits, cut=st.none() | st.integers(0, 1500), tail=st.binary(max_size=40))
def test_recall_says_what_the_parser_says_or_nothing(
    side: str, which: int, edits: list[tuple[int, int]], cut: int | None, tail: bytes
) -> None:
    """However a remembered hello is changed, cut or followed, recall agrees with the parser or is silent."""
    streams, inspect, recall = SIDES[side]
    stream = bytearray(streams[which % len(streams)])
    for at, octet in edits:
        stream[at % len(stream)] = octet
    changed = bytes(stream[:cut]) + tail

    facts = recall.find(changed)

    assert facts is None or facts == inspect(changed)


@pytest.mark.parametrize("side", SIDES)
@given(which=st.integers(0, 7), random=st.binary(min_size=32, max_size=32), after=st.binary(max_size=60))
def test_a_new_random_is_recalled(side: str, which: int, random: bytes, after: bytes) -> None:
    """A hello that differs in its random alone needs no parser; nor does what follows it matter."""
    streams, inspect, recall = SIDES[side]
    stream = streams[which % len(streams)]
    again = stream[:11] + random + stream[43:] + after
    facts = inspect(again)
    assert facts is not None

    if facts.refusal is not None or RETRY_RANDOM in {stream[11:43], random}:
        assert recall.find(again) is None
    else:
        assert recall.find(again) == facts


def test_a_retry_is_never_recalled_as_a_hello() -> None:
    """The random that makes a ServerHello a HelloRetryRequest is looked at (RFC 8446 section 4.1.3)."""
    recall = recall_of(SERVERS, reply, of_clients=False)
    hello = hellos.server_stream(hellos.server_hello())
    assert recall.find(hello) is not None

    assert recall.find(hello[:11] + RETRY_RANDOM + hello[43:]) is None


@pytest.mark.parametrize("key_share", [b"\x00\x1d\x02\x00", b"\x00\x1d\x00", b"\x00"], ids=bytes.hex)
def test_a_key_that_nobody_parsed_hides_nothing(key_share: bytes) -> None:
    """A TLS 1.2 server's key_share is not looked at; where its lengths lie, what follows still counts."""
    body = hellos.server_hello(None, group=None, extra=hellos.extension(51, key_share) + hellos.extension(0))
    stream = hellos.server_stream(body)
    recall = recall_of([stream], reply, of_clients=False)
    assert recall.find(stream) == reply(stream)

    assert recall.find(stream[:-1] + b"\x01") is None


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_hello_cut_short_is_not_recalled(cut: int) -> None:
    """A hello that ends in a key is incomplete without all of it, although nobody looks at keys."""
    stream = hellos.server_stream(hellos.server_hello())
    recall = recall_of([stream], reply, of_clients=False)

    assert recall.find(stream[:-cut]) is None


def test_recall_is_bounded() -> None:
    """Neither many lengths nor many names of one length make it grow without end."""
    recall: Recall[object] = Recall(of_clients=True)
    for number in range(2 * HELLOS_MAX):
        stream = hellos.client_stream(hellos.client_hello(f"{number:05}.example.com"))
        recall.remember(stream, len(stream), number)
    for length in range(2 * LENGTHS_MAX):
        stream = hellos.client_stream(hellos.client_hello(extra=hellos.extension(21, bytes(length))))
        recall.remember(stream, len(stream), length)

    assert len(recall) <= LENGTHS_MAX * HELLOS_MAX
    assert recall.find(stream) == 2 * LENGTHS_MAX - 1
