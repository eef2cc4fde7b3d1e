"""A request for a revocation list or for a certificate's status, in the one spelling that every server reads alike.

Source: RFC 9112 (HTTP/1.1 messages), RFC 5280 section 4.2.1.13 (a list is fetched by its URL over HTTP), RFC 6960
appendix A.1 (a status is asked for by GET or by POST).
Whatever leaves a choice to the reader is malformed: a field that stands twice or has a meaning for framing or routing,
a name with a space before its colon, a line that is folded, ends in a bare CR or LF, or holds a control character, a
target that is no plain path. What is left names one host, for every cache and server on its way. It has no body, or
one that is an OCSP request and ends where Content-Length says, which stands once, in plain digits, and alone.
"""

import re
from dataclasses import dataclass
from typing import Final

from appliance.errors import Malformed
from appliance.wire.ocsp_request import OCTETS_MAX, find_ocsp_request, parse_ocsp_request, responder_path

REQUEST_MAX: Final = 2048  # octets; ours. Real clients send 100 to 500
PATH_MAX: Final = 255  # octets; ours, and RFC 5019 section 5 for OCSP by GET

# What clients send. Any other field may mean something to somebody on the way: to a proxy, or to a server.
FIELDS: Final = frozenset(
    {
        *(b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"connection", b"host"),
        *(b"if-modified-since", b"if-none-match", b"pragma", b"user-agent"),
    }
)
POST_FIELDS: Final = FIELDS | {b"content-type", b"content-length"}

_HEAD: Final = re.compile(rb"(GET|POST) ([!-~]+) HTTP/1\.[01]\r\n((?:[!-9;-~]+:[ -~]*\r\n)+)\r\n")
_PATH: Final = re.compile(rb"(?:/(?:[A-Za-z0-9_~()+-]|%20)(?:[A-Za-z0-9._~()+-]|%20)*)+\.crl", re.ASCII)
_LENGTH: Final = re.compile(rb"[1-9][0-9]{0,3}", re.ASCII)
_CODE: Final = "http_plaintext"


@dataclass(frozen=True, slots=True)
class Fetch:
    """What a request asks for.

    `host`: in lower case. `path`: of a list, as it was sent; of an OCSP responder, with a slash at its end.
    """

    host: str
    path: str
    is_ocsp: bool = False


def parse_fetch(stream: bytes) -> Fetch:
    """Return what the request asks for that a client has sent, and nothing beside it.

    Args:
        stream: all octets of the client's direction.

    Raises:
        Malformed: with code `http_plaintext`: it is no such request. The message says why it is none.
    """
    if len(stream) > REQUEST_MAX:
        raise Malformed(f"{len(stream)} octets, a request for a CRL has {REQUEST_MAX} at most", code=_CODE)
    if not stream.startswith((b"GET ", b"POST ")):
        raise Malformed("a CRL is fetched by GET, a certificate's status also by POST", code=_CODE)
    head = _HEAD.match(stream)
    if head is None:
        raise Malformed("no request for a CRL, and for nothing else, in its plainest form", code=_CODE)
    method, target, body = head[1], head[2], stream[head.end() :]
    if len(target) > PATH_MAX:
        raise Malformed(f"a target of {len(target)} octets, {PATH_MAX} are the most", code=_CODE)
    fields = _read_fields(head[3], FIELDS if method == b"GET" else POST_FIELDS)
    host = fields[b"host"].decode("ascii")
    if method == b"POST":
        if len(body) != _length_of_body(fields):
            raise Malformed("the body is not as long as Content-Length says", code=_CODE)
        _insist_on_one_request(body)
        parse_ocsp_request(body)
        return Fetch(host, responder_path(target), is_ocsp=True)
    if body:
        raise Malformed("octets beyond the request", code=_CODE)
    if target == b"/" or _PATH.fullmatch(target):
        return Fetch(host, target.decode("ascii"))
    if target.endswith(b".crl"):
        raise Malformed("the target is no plain path of a .crl", code=_CODE)
    return Fetch(host, find_ocsp_request(target), is_ocsp=True)


def awaits_body(stream: bytes) -> bool:
    """Tell whether a client has sent the head of a request as above, and not yet all of the body that it tells of."""
    head = _HEAD.match(stream) if stream.startswith(b"POST ") else None
    if head is None:
        return False
    try:
        return len(stream) - head.end() < _length_of_body(_read_fields(head[3], POST_FIELDS))
    except Malformed:
        return False


def _read_fields(lines: bytes, known: frozenset[bytes]) -> dict[bytes, bytes]:
    """Return the fields of a head, names and values in lower case."""
    fields: dict[bytes, bytes] = {}
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in fields:
            raise Malformed(f"field {_show(name)} stands twice", code=_CODE)
        if name not in known:
            raise Malformed(f"field {_show(name)} has no place in a request for a CRL", code=_CODE)
        fields[name] = value.strip(b" ").lower()
        if b" http/" in fields[name]:  # to who reads on from the midst of it, the end of a request line
            raise Malformed(f"field {_show(name)} has what looks like another request", code=_CODE)
    if fields.get(b"connection", b"close") not in {b"close", b"keep-alive"}:
        raise Malformed("field connection is neither close nor keep-alive", code=_CODE)
    if b"host" not in fields:
        raise Malformed("no field host", code=_CODE)
    return fields


def _length_of_body(fields: dict[bytes, bytes]) -> int:
    """Return how many octets the body of a POST has, as its head says."""
    if fields.get(b"content-type") != b"application/ocsp-request":
        raise Malformed("what is posted is not an application/ocsp-request", code=_CODE)
    length = fields.get(b"content-length", b"")
    if _LENGTH.fullmatch(length) is None or int(length) > OCTETS_MAX:
        raise Malformed(f"field content-length is no plain number of at most {OCTETS_MAX}", code=_CODE)
    return int(length)


def _insist_on_one_request(body: bytes) -> None:
    """Refuse a body that would be another request to who took it for one. No hash looks like that by chance."""
    if any(word in body.upper() for word in (b"HTTP/", b"GET ")):  # what HTTP/1 and HTTP/0.9 cannot do without
        raise Malformed("the body has what looks like another request", code=_CODE)


def _show(name: bytes) -> str:
    return name[:40].decode("ascii")
