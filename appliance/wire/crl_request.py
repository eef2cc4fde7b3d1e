"""A request for a certificate revocation list, in the one spelling that every server reads alike.

Source: RFC 9112 (HTTP/1.1 messages), RFC 5280 section 4.2.1.13 (a list is fetched by its URL over HTTP).
Whatever leaves a choice to the reader is malformed: a field that stands twice or has a meaning for framing or routing,
a name with a space before its colon, a line that is folded, ends in a bare CR or LF, or holds a control character, a
target that is no plain path. What is left has no body and names one host, for every cache and server on its way.
"""

import re
from dataclasses import dataclass
from typing import Final

from appliance.errors import Malformed

REQUEST_MAX: Final = 2048  # octets; ours. Real clients send 100 to 400
PATH_MAX: Final = 255  # octets; ours

# What clients send. Any other field may mean something to somebody on the way: to a proxy, or to a server.
FIELDS: Final = frozenset(
    {
        *(b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"connection", b"host"),
        *(b"if-modified-since", b"if-none-match", b"pragma", b"user-agent"),
    }
)

_HEAD: Final = re.compile(rb"GET ([!-~]+) HTTP/1\.[01]\r\n((?:[!-9;-~]+:[ -~]*\r\n)+)\r\n")
_PATH: Final = re.compile(rb"(?:/(?:[A-Za-z0-9_~()-]|%20)(?:[A-Za-z0-9._~()-]|%20)*)+\.crl", re.ASCII)
_CODE: Final = "http_plaintext"


@dataclass(frozen=True, slots=True)
class CrlRequest:
    """What a request asks for. `host`: in lower case. `path`: as it was sent."""

    host: str
    path: str


def parse_crl_request(stream: bytes) -> CrlRequest:
    """Return what the request asks for that a client has sent, and nothing beside it.

    Args:
        stream: all octets of the client's direction.

    Raises:
        Malformed: with code `http_plaintext`: it is no such request. The message says why it is none.
    """
    if len(stream) > REQUEST_MAX:
        raise Malformed(f"{len(stream)} octets, a request for a CRL has {REQUEST_MAX} at most", code=_CODE)
    if not stream.startswith(b"GET "):
        raise Malformed("a CRL is fetched by GET", code=_CODE)
    head = _HEAD.fullmatch(stream)
    if head is None:
        raise Malformed("no request for a CRL, and for nothing else, in its plainest form", code=_CODE)
    path = head[1]
    if len(path) > PATH_MAX or _PATH.fullmatch(path) is None:
        raise Malformed(f"the target is no plain path of a .crl, of {PATH_MAX} octets at most", code=_CODE)
    fields: dict[bytes, bytes] = {}
    for line in head[2].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in fields:
            raise Malformed(f"field {_show(name)} stands twice", code=_CODE)
        if name not in FIELDS:
            raise Malformed(f"field {_show(name)} has no place in a request for a CRL", code=_CODE)
        fields[name] = value.strip(b" ").lower()
        if b" http/" in fields[name]:  # to who reads on from the midst of it, the end of a request line
            raise Malformed(f"field {_show(name)} has what looks like another request", code=_CODE)
    if fields.get(b"connection", b"close") not in {b"close", b"keep-alive"}:
        raise Malformed("field connection is neither close nor keep-alive", code=_CODE)
    if b"host" not in fields:
        raise Malformed("no field host", code=_CODE)
    return CrlRequest(fields[b"host"].decode("ascii"), path.decode("ascii"))


def _show(name: bytes) -> str:
    return name[:40].decode("ascii")
