"""What a server sends: cuts are invisible, and records that are built again say the same."""

from appliance.wire import tls
from tests import hellos
from tests.outcome import Refusal, outcome, outcome_of_cuts

MAX = 4096
WORDS = (
    hellos.CHANGE_CIPHER_SPEC_RECORD,
    hellos.server_stream(),
    hellos.server_stream(hellos.hello_retry_request()),
    hellos.alert(1, 112),
    hellos.alert(2, 40),
    b"\x16\x03\x03\x00\x01",
)


def check(octets: bytes) -> str:
    after_retry = outcome_of_cuts(lambda stream: tls.frame_server_reply(stream, after_retry=True), octets)
    reply = outcome_of_cuts(tls.frame_server_reply, octets)
    if octets[:1] != hellos.CHANGE_CIPHER_SPEC_RECORD[:1]:
        assert reply == after_retry
    if reply is None:
        return "more"
    if isinstance(reply, Refusal):
        return reply.code if isinstance(after_retry, Refusal) else f"after_retry_{_word(octets, after_retry)}"
    return _word(octets, reply)


def _word(octets: bytes, reply: tls.Framed | tls.Alert | None) -> str:
    if reply is None:
        return "more"
    assert reply.end <= len(octets)
    assert tls.frame_server_reply(octets[: reply.end], after_retry=True) == reply
    if isinstance(reply, tls.Alert):
        assert reply.name.isprintable()
        assert octets[: reply.end].endswith(bytes((0, 2, reply.level, reply.description)))
        again = hellos.alert(reply.level, reply.description)
        assert tls.frame_server_reply(again) == reply._replace(end=len(again))
        return "warning" if reply.is_warning else "alert"
    assert len(reply.body) <= tls.HELLO_MAX
    again = hellos.server_stream(reply.body)
    assert tls.frame_server_reply(again) == (reply.body, len(again))
    hello = outcome(tls.parse_server_hello, reply.body)
    if isinstance(hello, Refusal):
        return hello.code
    return "retry" if hello.is_retry else "hello"
