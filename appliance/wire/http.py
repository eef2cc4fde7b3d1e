"""Plaintext HTTP, as far as the log needs it.

Source: RFC 9112 sections 2 to 5 (messages), RFC 9110 section 9 (methods), RFC 9113 section 3.4 (the
preface of HTTP/2, which looks like a request).
Nothing here decides anything: plaintext HTTP is refused whatever it says. So the parser is lenient,
bounded, and lets only printable ASCII out. What commonly is a secret does not get out: neither a query
(tokens, signatures) nor a user name and password before a host.
"""

import re
from dataclasses import dataclass
from typing import Final

from appliance.errors import Malformed

HEAD_MAX: Final = 8192  # octets of request line and fields that are looked at; ours
VALUE_MAX: Final = 255  # characters of a value that are kept; ours

METHODS: Final = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI")

_STARTS: Final = tuple(method + b" " for method in METHODS)
_LONGEST_START: Final = max(len(start) for start in _STARTS)
_STATUS: Final = re.compile(rb"HTTP/[0-9]\.[0-9] ([1-5][0-9]{2})[ \r\n]", re.ASCII)
_STATUS_SIZE: Final = len(b"HTTP/1.1 200 ")
_USER: Final = re.compile(r"(?<=//)[^/@]*@|^[^/@]*@")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The head of a request. Each value is printable ASCII, at most VALUE_MAX characters, or empty."""

    method: str
    path: str
    host: str
    user_agent: str


def looks_like_http(first: bytes) -> bool | None:
    """Tell whether a client's first octets begin an HTTP request; None while they are too few to tell."""
    start = first[:_LONGEST_START]
    if start.startswith(_STARTS):
        return True
    return None if any(known.startswith(start) for known in _STARTS) else False


def parse_request(stream: bytes, *, is_whole: bool = False) -> HttpRequest | None:
    """Return the head of the request that opens a client's direction, or None while octets are missing.

    Past HEAD_MAX octets it is taken as it stands.

    Args:
        stream: octets from the start of the client's direction, in order, without gaps.
        is_whole: nothing is missing, for nothing more will come.

    Raises:
        Malformed: this is no HTTP request. The caller denies the flow, as it does anyway.
    """
    known = looks_like_http(stream)
    if known is None:
        return None
    if not known:
        raise Malformed("no HTTP method at offset 0", code="not_tls")
    text = stream[:HEAD_MAX].decode("latin-1").replace("\r\n", "\n")
    head, blank_line, _ = text.partition("\n\n")
    if not blank_line and len(stream) < HEAD_MAX and not is_whole:
        return None
    request_line, *field_lines = head.split("\n")
    method, _, rest = request_line.partition(" ")
    fields: dict[str, str] = {}
    for line in field_lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    return HttpRequest(
        method,
        _printable(_USER.sub("", re.split("[?#]", rest.rsplit(" ", 1)[0], maxsplit=1)[0])),
        _printable(fields.get("host", "")),
        _printable(fields.get("user-agent", "")),
    )


def parse_status(stream: bytes) -> int | None:
    """Return the status code of the response that opens a server's direction, or None while octets are missing.

    Raises:
        Malformed: this is no HTTP response.
    """
    if len(stream) < _STATUS_SIZE:
        return None
    match = _STATUS.match(stream)
    if match is None:
        raise Malformed("no HTTP status line at offset 0", code="server_malformed")
    return int(match[1])


def _printable(text: str) -> str:
    """Return text as printable ASCII, other characters escaped, cut to VALUE_MAX."""
    return _UNPRINTABLE.sub(lambda character: f"\\x{ord(character[0]):02x}", text[:VALUE_MAX])[:VALUE_MAX]
