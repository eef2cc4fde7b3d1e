"""What a client sends: cuts are invisible, records built again say the same, and OpenSSL sees no other name."""

from appliance.wire import sniff, tls
from tests import hellos
from tests.fuzz import openssl
from tests.outcome import Refusal, outcome, outcome_of_cuts

MAX = 4096
WORDS = (
    hellos.CHANGE_CIPHER_SPEC_RECORD,
    hellos.record(bytes(4), kind=23),
    hellos.client_stream(),
    b"\x16\x03\x01\x00\x01",
    b"\x80\x2e\x01\x03\x01",
)


def check(octets: bytes) -> str:
    outcome_of_cuts(sniff.sniff, octets)
    framed = outcome_of_cuts(tls.frame_client_hello, octets)
    seen = openssl.names_seen(octets)
    if framed is None:
        assert not seen, f"no hello so far, and OpenSSL acts on one for {seen}"
        return "more"
    if isinstance(framed, Refusal):
        return framed.code
    assert framed.end <= len(octets)
    assert len(framed.body) <= tls.HELLO_MAX
    # Nothing of the hello lies behind its end, and OpenSSL wants all that lies before.
    assert tls.frame_client_hello(octets[: framed.end]) == framed
    assert not openssl.names_seen(octets[: framed.end - 1])
    again = hellos.client_stream(framed.body)
    assert tls.frame_client_hello(again) == (framed.body, len(again))
    hello = outcome(tls.parse_client_hello, framed.body)
    if not isinstance(hello, Refusal):
        assert set(seen) <= {hello.server_name}, f"{hello.server_name} it says, OpenSSL saw {seen}"
    second = outcome_of_cuts(
        lambda rest: tls.frame_retry(octets[: framed.end] + rest, framed.end), octets[framed.end :]
    )
    word = hello.code if isinstance(hello, Refusal) else "hello"
    if second is None:
        return word
    return f"{word}_then_{second.code}" if isinstance(second, Refusal) else f"{word}_twice"
