"""Plaintext HTTP, for the log of what was refused."""

import pytest

from appliance.errors import Malformed
from appliance.wire import http
from appliance.wire.http import HttpRequest, looks_like_http, parse_request, parse_status

REQUESTS = [
    # stream                                                           method     path     host           user agent
    (
        b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8.5.0\r\n\r\n",
        ("GET", "/a", "example.com", "curl/8.5.0"),
    ),
    (b"GET /reset?token=secret HTTP/1.1\r\n\r\n", ("GET", "/reset", "", "")),
    (b"GET /a#token=secret HTTP/1.1\r\n\r\n", ("GET", "/a", "", "")),
    (b"GET http://me:secret@example.com/@me?x HTTP/1.1\r\n\r\n", ("GET", "http://example.com/@me", "", "")),
    (b"CONNECT me:secret@example.com:443 HTTP/1.1\r\n\r\n", ("CONNECT", "example.com:443", "", "")),
    (b"GET /people/@me HTTP/1.1\r\n\r\n", ("GET", "/people/@me", "", "")),
    (b"GET / HTTP/1.0\r\n\r\n", ("GET", "/", "", "")),
    (b"POST /x HTTP/1.1\nhost:example.com:8080\n\n", ("POST", "/x", "example.com:8080", "")),
    (
        b"CONNECT example.com:443 HTTP/1.1\r\nHOST:  example.com:443 \r\n\r\n",
        ("CONNECT", "example.com:443", "example.com:443", ""),
    ),
    (
        b"GET http://example.com/ HTTP/1.1\r\nHost: other\r\nHost: second\r\n\r\n",
        ("GET", "http://example.com/", "other", ""),
    ),
    (b"PRI * HTTP/2.0\r\n\r\n", ("PRI", "*", "", "")),
    (b"GET /a b HTTP/1.1\r\n\r\n", ("GET", "/a b", "", "")),
    (b"GET \r\n\r\n", ("GET", "", "", "")),
    (
        b"GET /\x1b[31m\\ HTTP/1.1\r\nHost: \xff\x00\tx\r\nno colon\r\nUser-Agent: \xc3\xbc\r\n\r\n",
        ("GET", "/\\x1b[31m\\", r"\xff\x00\x09x", r"\xc3\xbc"),
    ),
    (
        b"HEAD /" + b"p" * 999 + b" HTTP/1.1\r\nHost: " + b"\x00" * 999 + b"\r\n\r\n",
        ("HEAD", "/" + "p" * 254, (r"\x00" * 64)[:255], ""),
    ),
]


@pytest.mark.parametrize(("stream", "expected"), REQUESTS)
def test_request_is_read_however_it_arrives(stream: bytes, expected: tuple[str, str, str, str]) -> None:
    """Method, path, Host and User-Agent come out as printable ASCII of bounded length."""
    for cut in range(len(stream)):
        assert parse_request(stream[:cut]) is None
    assert parse_request(stream) == HttpRequest(*expected)
    assert parse_request(stream + b"body") == HttpRequest(*expected)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"GET ", ("GET", "", "", "")),
        (b"GET /a", ("GET", "/a", "", "")),
        (b"POST /a?b HTTP/1.1\r\nHost: example.com\r\nUser-Ag", ("POST", "/a", "example.com", "")),
    ],
)
def test_request_that_ends_early_is_taken_as_it_stands(stream: bytes, expected: tuple[str, str, str, str]) -> None:
    """Where nothing more will come, what has come is for the log."""
    assert parse_request(stream) is None
    assert parse_request(stream, is_whole=True) == HttpRequest(*expected)


def test_endless_request_is_taken_as_it_stands() -> None:
    """Past HEAD_MAX octets nothing more is waited for or looked at."""
    stream = b"GET / HTTP/1.1\r\nHost: example.com\r\nCookie: " + b"x" * http.HEAD_MAX
    assert parse_request(stream[: http.HEAD_MAX - 1]) is None
    assert parse_request(stream[: http.HEAD_MAX]) == HttpRequest("GET", "/", "example.com", "")
    late = stream[: http.HEAD_MAX] + b"\r\nUser-Agent: late\r\n\r\n"
    assert parse_request(late) == HttpRequest("GET", "/", "example.com", "")


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"", None),
        (b"G", None),
        (b"GET", None),
        (b"GET ", True),
        (b"PATCH /", True),
        (b"P", None),
        (b"PO", None),
        (b"PX", False),
        (b"GETS", False),
        (b"get ", False),
        (b"EHLO x", False),
        (b"\x16", False),
    ],
)
def test_method_is_recognised_as_early_as_it_can(first: bytes, expected: bool | None) -> None:
    """The first octets are HTTP, or not, or too few to tell."""
    assert looks_like_http(first) is expected


def test_what_is_no_request_is_refused() -> None:
    """A stream that begins with no known method is not taken apart."""
    with pytest.raises(Malformed) as caught:
        parse_request(b"EHLO example.com\r\n")
    assert caught.value.code == "not_tls"


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n", 200),
        (b"HTTP/1.0 404 Not Found\r\n", 404),
        (b"HTTP/1.1 500\r\n", 500),
        (b"HTTP/1.1 200", None),
        (b"", None),
    ],
)
def test_status_is_read(stream: bytes, status: int | None) -> None:
    """The status code of a response, or None while octets are missing."""
    assert parse_status(stream) == status


@pytest.mark.parametrize(
    "stream", [b"HTTP/1.1 0200 OK", b"HTTP/11 200 OK\r\n", b"SSH-2.0-OpenSSH_9.2", b"HTTP/1.1 2000\r\n"]
)
def test_what_is_no_response_is_refused(stream: bytes) -> None:
    """A stream that begins with no status line is refused."""
    with pytest.raises(Malformed):
        parse_status(stream)
