"""Which protocol a client speaks, from its first octets.

Source: RFC 8446 section 5.1 (TLS records), RFC 6101 appendix E (SSL 2.0 hello), RFC 4253 section 4.2
(SSH), RFC 9110 section 9 (HTTP methods).
A guess to choose a parser and a word for the log; the parser says what is really there.
"""

from typing import Final, Literal

from appliance.wire.http import looks_like_http
from appliance.wire.tls_record import CLIENT_HELLO, HANDSHAKE

ClientProtocol = Literal["tls", "ssh", "http", "unknown"]

_TLS: Final = bytes((HANDSHAKE, 3))
_SSH: Final = b"SSH-"
_HIGH_BIT: Final = 0x80


def sniff(stream: bytes) -> ClientProtocol | None:
    """Return what the octets look like, or None while they are too few to tell.

    "tls" includes the SSL 2.0 form of a hello.

    Args:
        stream: octets from the start of the client's direction, in order, without gaps.
    """
    if stream.startswith(_TLS):
        return "tls"
    if not stream or stream == _TLS[:1]:
        return None
    if stream[0] & _HIGH_BIT:
        return _sniff_sslv2(stream)
    if _SSH.startswith(stream[: len(_SSH)]):
        return "ssh" if stream.startswith(_SSH) else None
    is_http = looks_like_http(stream)
    if is_http is None:
        return None
    return "http" if is_http else "unknown"


def _sniff_sslv2(stream: bytes) -> ClientProtocol | None:
    kind = stream[2:3]  # after two octets of length
    if not kind:
        return None
    return "tls" if kind[0] == CLIENT_HELLO else "unknown"
