"""Plaintext HTTP: cuts are invisible, and nothing but short printable ASCII comes out for the log."""

from appliance.wire import http, sniff
from tests.outcome import Refusal, outcome_of_cuts

MAX = 9000
WORDS = (
    b"GET ",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\nHost: ",
    b"\r\nUser-Agent: ",
    b"\r\n\r\n",
    b"HTTP/1.1 200 OK",
)


def check(octets: bytes) -> str:
    status = outcome_of_cuts(http.parse_status, octets)
    if isinstance(status, int):
        assert 100 <= status <= 599
        assert octets[9:12] == str(status).encode()
        return "status"
    looks = outcome_of_cuts(http.looks_like_http, octets)
    if looks:
        assert sniff.sniff(octets) == "http"
    request = outcome_of_cuts(http.parse_request, octets)
    if request is None:
        assert looks is None or len(octets) < http.HEAD_MAX
        return "more"
    if isinstance(request, Refusal):
        assert looks is False
        return request.code
    for value in (request.method, request.path, request.host, request.user_agent):
        assert value.isascii()
        assert value.isprintable()
        assert len(value) <= http.VALUE_MAX
    assert request.method.encode() in http.METHODS
    _rebuild(request)
    return "request"


def _rebuild(request: http.HttpRequest) -> None:
    """A request built of what was read says the same, but for the space that a value cut short may end with."""
    head = (
        f"{request.method} {request.path} HTTP/1.1\r\nHost: {request.host}\r\nUser-Agent: {request.user_agent}\r\n\r\n"
    )
    again = http.parse_request(head.encode())
    assert again is not None
    assert (again.method, again.path) == (request.method, request.path)
    assert (again.host, again.user_agent) == (request.host.rstrip(), request.user_agent.rstrip())
