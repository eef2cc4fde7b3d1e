"""TLS records, and the one handshake message at the start of them that policy looks at.

Source: RFC 8446 sections 4 (handshake header), 5.1 (records), 6 (alerts) and D.4 (middlebox
compatibility); RFC 5246 section 6.2.1 is the same for TLS 1.2.
A message may be spread over many records, and a record over many segments: octets are joined first,
parsed after. Records of another type in between, and empty ones, are refused: RFC 8446 forbids both.
Everything is checked in the order of the stream, so the outcome does not depend on how it was cut.
"""

import struct
from typing import Final, NamedTuple

from appliance.errors import Malformed

HELLO_MAX: Final = 16384  # octets of a hello, without its header; ours
RECORDS_MAX: Final = 2048  # records that one hello may be spread over, or that may be skipped; ours

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23

CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2

FATAL: Final = 2
WARNING: Final = 1
UNRECOGNIZED_NAME: Final = 112

_RECORD_HEADER: Final = 5  # octets: type, version, length
_MESSAGE_HEADER: Final = 4  # octets: type, length
_PLAINTEXT_MAX: Final = 1 << 14  # octets in a record
_CIPHERTEXT_MAX: Final = _PLAINTEXT_MAX + 256  # octets; TLS 1.3, RFC 8446 section 5.2
_NEWEST_MINOR: Final = 4
_HIGH_BIT: Final = 0x80
_SSLV2_TYPE: Final = 2  # offset

_RECORD: Final = struct.Struct("!BBBH")  # type, version major and minor, length
# The same; then message type, length in 8 + 16 bits
_HEADERS: Final = struct.Struct("!BBBHBBH")

_ALERT_NAMES: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    40: "handshake_failure",
    42: "bad_certificate",
    47: "illegal_parameter",
    49: "access_denied",
    50: "decode_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    UNRECOGNIZED_NAME: "unrecognized_name",
    116: "certificate_required",
    120: "no_application_protocol",
    121: "ech_required",
}


class Framed(NamedTuple):
    """A complete handshake message. A tuple, because two are built for every flow.

    `body`: without its 4-octet header, at most HELLO_MAX octets. `end`: offset in the stream of the
    octet after its last.
    """

    body: bytes
    end: int


class Alert(NamedTuple):
    """An alert in place of a ServerHello. `end`: offset in the stream of the octet after it."""

    level: int
    description: int
    end: int

    @property
    def is_warning(self) -> bool:
        """The handshake goes on: a TLS 1.2 server does not know the name, and says so (RFC 6066 section 3)."""
        return self.level == WARNING and self.description == UNRECOGNIZED_NAME

    @property
    def name(self) -> str:
        """The name of the description in RFC 8446 section 6, or its number."""
        return _ALERT_NAMES.get(self.description, str(self.description))


class _Side(NamedTuple):
    """What differs between the two ends: the hello's type, and the reasons for refusing."""

    hello: int
    hello_name: str
    not_tls: str
    malformed: str
    too_long: str
    hello_is_alone: bool  # nothing may share its last record


# A client waits for the server after its hello, so nothing can follow in the same record. A TLS 1.2
# server goes on with its certificate there.
_CLIENT: Final = _Side(CLIENT_HELLO, "ClientHello", "not_tls", "malformed", "hello_too_long", hello_is_alone=True)
_SERVER: Final = _Side(
    SERVER_HELLO, "ServerHello", "server_not_tls", "server_malformed", "server_malformed", hello_is_alone=False
)


def frame_client_hello(stream: bytes) -> Framed | None:
    """Return the ClientHello that opens a TLS stream, or None while octets are missing.

    Joins the fragments of as many records as it takes; ignores what follows.

    Args:
        stream: octets from the start of the client's direction, in order, without gaps.

    Raises:
        Malformed: with code `not_tls` or `sslv2_hello` as soon as the first octets tell, `malformed`
            if records or message break the protocol, `hello_too_long` beyond HELLO_MAX octets or
            RECORDS_MAX records. The caller denies the flow.

    Source: RFC 8446 sections 4 and 5.1.
    """
    if len(stream) >= _HEADERS.size:
        # Nearly all hellos are alone in one record, and complete: one look at both headers settles it.
        kind, major, minor, length, message, size_high, size_low = _HEADERS.unpack_from(stream)
        end = _RECORD_HEADER + length
        if (
            kind == HANDSHAKE
            and major == 3
            and minor <= _NEWEST_MINOR
            and message == CLIENT_HELLO
            and size_high == 0
            and size_low == length - _MESSAGE_HEADER
            and length <= _PLAINTEXT_MAX
            and end <= len(stream)
        ):
            return Framed(stream[_RECORD_HEADER + _MESSAGE_HEADER : end], end)
    if stream and stream[0] & _HIGH_BIT:
        _refuse_sslv2(stream)
        return None
    return _frame_hello(stream, 0, _CLIENT)


def frame_retry(stream: bytes, start: int) -> Framed | None:
    """Return the second ClientHello, which answers a HelloRetryRequest, or None while octets are missing.

    Skips what may stand before it: ChangeCipherSpec for the sake of middleboxes, and early data, which
    a server that asks for a retry has to skip too.

    Args:
        stream: octets from the start of the client's direction, in order, without gaps.
        start: where the first ClientHello ended, `Framed.end`.

    Returns:
        `end` counts from the start of `stream`, not from `start`.

    Raises:
        Malformed: as `frame_client_hello`.

    Source: RFC 8446 sections 4.1.2, 4.2.10 and D.4.
    """
    at = _skip(stream, start, (CHANGE_CIPHER_SPEC, APPLICATION_DATA), _CLIENT)
    return None if at is None else _frame_hello(stream, at, _CLIENT)


def frame_server_reply(stream: bytes, *, after_retry: bool = False) -> Framed | Alert | None:
    """Return the ServerHello or the alert that opens a server's direction, or None while octets are missing.

    Args:
        stream: octets from the start of the server's direction, or from the end of its
            HelloRetryRequest or warning, in order, without gaps.
        after_retry: a HelloRetryRequest came before. Only then may ChangeCipherSpec stand before the
            ServerHello: RFC 8446 section D.4 puts it after the server's first handshake message.

    Raises:
        Malformed: with code `server_not_tls` or `server_malformed`. The caller denies the flow.

    Source: RFC 8446 sections 4, 5.1, 6 and D.4. Section 5 lets a client drop a ChangeCipherSpec even
    before the first ServerHello; no server sends it there, so we refuse it.
    """
    at = _skip(stream, 0, (CHANGE_CIPHER_SPEC,), _SERVER) if after_retry else 0
    if at is None or at == len(stream):
        return None
    if stream[at] == ALERT:
        return _frame_alert(stream, at)
    return _frame_hello(stream, at, _SERVER)


def _frame_hello(stream: bytes, at: int, side: _Side) -> Framed | None:
    """Join the fragments of the message in the records from offset `at` on."""
    message = bytearray()
    size: int | None = None
    for _ in range(RECORDS_MAX):
        length = _record_length(stream, at, (HANDSHAKE,), side)
        if length is None:
            return None
        begin = at + _RECORD_HEADER
        fragment = stream[begin : begin + length]
        before = len(message)
        message += fragment
        if size is None:
            size = _message_size(message, side)
        if size is not None:
            if side.hello_is_alone and before + length > size:
                raise Malformed(
                    f"{before + length - size} octets after the {side.hello_name} in its last record, "
                    f"at offset {begin + size - before}",
                    code=side.malformed,
                )
            if len(message) >= size:
                return Framed(bytes(message[_MESSAGE_HEADER:size]), begin + size - before)
        if len(fragment) < length:
            return None
        at = begin + length
    raise Malformed(f"{side.hello_name} in more than {RECORDS_MAX} records", code=side.too_long)


def _message_size(message: bytearray, side: _Side) -> int | None:
    """Return how many octets a message has with its header, or None while the header is incomplete."""
    if message and message[0] != side.hello:
        raise Malformed(f"handshake message of type {message[0]}, want {side.hello_name}", code=side.malformed)
    if len(message) < _MESSAGE_HEADER:
        return None
    size = int.from_bytes(message[1:_MESSAGE_HEADER])
    if size > HELLO_MAX:
        raise Malformed(f"{side.hello_name} of {size} octets, limit is {HELLO_MAX}", code=side.too_long)
    return _MESSAGE_HEADER + size


def _record_length(stream: bytes, at: int, kinds: tuple[int, ...], side: _Side) -> int | None:
    """Return the length of the record at offset `at`, of one of `kinds`; None while its header is incomplete."""
    if at + _RECORD_HEADER <= len(stream):
        kind, major, minor, octets = _RECORD.unpack_from(stream, at)
        if kind in kinds and major == 3 and minor <= _NEWEST_MINOR and 0 < octets <= _PLAINTEXT_MAX:
            return int(octets)
    header = stream[at : at + _RECORD_HEADER]
    # At the start of a direction it is not TLS at all; later on it is TLS gone wrong.
    code = side.malformed if at else side.not_tls
    if header and header[0] not in kinds:
        raise Malformed(f"record of type {header[0]} at offset {at}, want {_either(kinds)}", code=code)
    if len(header) > 1 and header[1] != 3:
        raise Malformed(f"record of version {header[1]}.x at offset {at}, want 3.x", code=code)
    if len(header) > 2 and header[2] > _NEWEST_MINOR:
        raise Malformed(f"record of version 3.{header[2]} at offset {at}", code=code)
    if len(header) < _RECORD_HEADER:
        return None
    length = int.from_bytes(header[3:])
    limit = _CIPHERTEXT_MAX if header[0] == APPLICATION_DATA else _PLAINTEXT_MAX
    if not 0 < length <= limit:
        raise Malformed(f"record of {length} octets at offset {at}, want 1 to {limit}", code=side.malformed)
    return length


def _skip(stream: bytes, at: int, kinds: tuple[int, ...], side: _Side) -> int | None:
    """Return the offset of the first record at or after `at` that is not of `kinds`; None while unknown."""
    for _ in range(RECORDS_MAX):
        if at >= len(stream):
            return None
        if stream[at] not in kinds:
            return at
        length = _record_length(stream, at, kinds, side)
        if length is None:
            return None
        if stream[at] == CHANGE_CIPHER_SPEC and not _is_one(stream, at + _RECORD_HEADER, length):
            raise Malformed(f"ChangeCipherSpec at offset {at} is not one octet of value 1", code=side.malformed)
        at += _RECORD_HEADER + length
    raise Malformed(f"more than {RECORDS_MAX} records before the {side.hello_name}", code=side.too_long)


def _is_one(stream: bytes, at: int, length: int) -> bool:
    """Tell whether a record's content, which may be still to come, is the single octet 1."""
    return length == 1 and stream[at : at + 1] in {b"", b"\x01"}


def _frame_alert(stream: bytes, at: int) -> Alert | None:
    length = _record_length(stream, at, (ALERT,), _SERVER)
    if length is None:
        return None
    if length != 2:
        raise Malformed(f"alert of {length} octets at offset {at}, want 2", code="server_malformed")
    content = stream[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
    if content and content[0] not in {WARNING, FATAL}:
        raise Malformed(f"alert of level {content[0]} at offset {at}, want 1 or 2", code="server_malformed")
    if len(content) < length:
        return None
    return Alert(content[0], content[1], at + _RECORD_HEADER + length)


def _refuse_sslv2(stream: bytes) -> None:
    """Refuse a stream whose first octet has the high bit; return until the third tells why."""
    # In SSL 2.0 a high bit and 15 bits of length come first, then the message type (RFC 6101 appendix E).
    if len(stream) < _SSLV2_TYPE + 1:
        return
    if stream[_SSLV2_TYPE] == CLIENT_HELLO:
        raise Malformed("ClientHello in SSL 2.0 format", code="sslv2_hello")
    raise Malformed(f"record of type {stream[0]} at offset 0, want {HANDSHAKE}", code="not_tls")


def _either(kinds: tuple[int, ...]) -> str:
    return " or ".join(str(kind) for kind in kinds)
