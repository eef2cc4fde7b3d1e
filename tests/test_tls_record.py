"""TLS records, and the hello at the start of them, of both directions."""

import pytest

from appliance.wire import tls
from tests import hellos
from tests.hellos import (
    CHANGE_CIPHER_SPEC_RECORD,
    TLS_1_2,
    X25519,
    X25519MLKEM768,
    client_hello,
    client_stream,
    handshake,
    record,
    records,
    server_hello,
    server_stream,
)
from tests.refusal import ids, refusal

POST_QUANTUM = client_hello(groups=[(X25519MLKEM768, 1216), (X25519, 32)])  # 1.3 kB: two segments
HELLO = handshake(1, client_hello())
EARLY_DATA = record(b"0" * 100, kind=23)

# ---- framing the client's direction ----


@pytest.mark.parametrize("split", [1, 2, 3, 4, 5, 7, 100, 16384])
@pytest.mark.parametrize("body", [client_hello(), POST_QUANTUM, b""], ids=["usual", "post-quantum", "empty"])
def test_same_hello_however_it_arrives(body: bytes, split: int) -> None:
    """A ClientHello is the same whatever the record boundaries, cuts and trailing octets."""
    stream = client_stream(body, split=split)
    for cut in range(0, len(stream), 1 + len(stream) // 1000):
        assert tls.frame_client_hello(stream[:cut]) is None
    assert tls.frame_client_hello(stream[:-1]) is None
    assert tls.frame_client_hello(stream) == (body, len(stream))
    assert tls.frame_client_hello(stream + b"trailing") == (body, len(stream))


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302, 0x0303, 0x0304])
def test_record_version_is_any_of_major_3(version: int) -> None:
    """The version of a record says nothing (RFC 8446 section 5.1), as long as it is one there is."""
    assert tls.frame_client_hello(records(HELLO, version=version)) == (client_hello(), 5 + len(HELLO))


def test_longest_hello_is_framed() -> None:
    """A hello of exactly HELLO_MAX octets is framed; it takes two records."""
    body = bytes(tls.HELLO_MAX)
    assert tls.frame_client_hello(client_stream(body)) == (body, 5 + 5 + 4 + tls.HELLO_MAX)


def test_records_are_counted() -> None:
    """A hello may be spread over RECORDS_MAX records, not over one more."""
    body = bytes(tls.RECORDS_MAX - 4)
    assert tls.frame_client_hello(client_stream(body, split=1)) == (body, 6 * tls.RECORDS_MAX)
    code, message = refusal(tls.frame_client_hello, client_stream(body + b"1", split=1))
    assert (code, message) == ("hello_too_long", "ClientHello in more than 2048 records")


CLIENT_REFUSED = [
    # what                      octets                              code              message
    ("HTTP", b"G", "not_tls", "record of type 71 at offset 0, want 22"),
    ("SSH", b"SSH-2.0-x\r\n", "not_tls", "record of type 83 at offset 0, want 22"),
    ("PROXY line", b"PROXY TCP4 ", "not_tls", "record of type 80 at offset 0, want 22"),
    ("SOCKS 5", b"\x05\x01\x00", "not_tls", "record of type 5 at offset 0, want 22"),
    ("SMTP", b"EHLO x", "not_tls", "record of type 69 at offset 0, want 22"),
    ("alert first", hellos.alert(2, 40), "not_tls", "record of type 21 at offset 0, want 22"),
    ("data first", EARLY_DATA, "not_tls", "record of type 23 at offset 0, want 22"),
    ("second octet", b"\x16\x02", "not_tls", "record of version 2.x at offset 0, want 3.x"),
    ("third octet", b"\x16\x03\x05", "not_tls", "record of version 3.5 at offset 0"),
    ("DTLS", b"\x16\xfe\xfd\x00", "not_tls", "record of version 254.x at offset 0, want 3.x"),
    ("SSL 2.0", b"\x80\x2e\x01\x00\x02", "sslv2_hello", "ClientHello in SSL 2.0 format"),
    ("SSL 2.0 for TLS 1.2", b"\x80\x2e\x01\x03\x03", "sslv2_hello", "ClientHello in SSL 2.0 format"),
    ("high bit", b"\x80\x2e\x02", "not_tls", "record of type 128 at offset 0, want 22"),
    ("empty record", b"\x16\x03\x01\x00\x00", "malformed", "record of 0 octets at offset 0, want 1 to 16384"),
    ("long record", b"\x16\x03\x01\x40\x01", "malformed", "record of 16385 octets at offset 0, want 1 to 16384"),
    (
        "empty record between",
        record(HELLO[:50]) + record(b"") + record(HELLO[50:]),
        "malformed",
        "record of 0 octets at offset 55, want 1 to 16384",
    ),
    (
        "data between",
        record(HELLO[:50]) + EARLY_DATA + record(HELLO[50:]),
        "malformed",
        "record of type 23 at offset 55, want 22",
    ),
    (
        "alert between",
        record(HELLO[:50]) + hellos.alert(1, 0) + record(HELLO[50:]),
        "malformed",
        "record of type 21 at offset 55, want 22",
    ),
    (
        "ChangeCipherSpec between",
        record(HELLO[:2]) + CHANGE_CIPHER_SPEC_RECORD,
        "malformed",
        "record of type 20 at offset 7, want 22",
    ),
    ("ServerHello", server_stream()[:6], "malformed", "handshake message of type 2, want ClientHello"),
    (
        "more in its record",
        record(HELLO + b"\x01"),
        "malformed",
        f"1 octets after the ClientHello in its last record, at offset {5 + len(HELLO)}",
    ),
    (
        "more in its last record",
        record(HELLO[:50]) + record(HELLO[50:] + HELLO),
        "malformed",
        f"{len(HELLO)} octets after the ClientHello in its last record, at offset {10 + len(HELLO)}",
    ),
    (
        "message shorter than record",
        record(handshake(1, client_hello(), lie=-1)),
        "malformed",
        f"1 octets after the ClientHello in its last record, at offset {4 + len(HELLO)}",
    ),
    ("17 kB", record(b"\x01\x00\x40\x01"), "hello_too_long", "ClientHello of 16385 octets, limit is 16384"),
    ("16 MB", record(b"\x01\xff\xff\xff"), "hello_too_long", "ClientHello of 16777215 octets, limit is 16384"),
]


@pytest.mark.parametrize(("what", "octets", "code", "message"), CLIENT_REFUSED, ids=ids(CLIENT_REFUSED))
def test_client_stream_that_is_no_hello_is_refused(what: str, octets: bytes, code: str, message: str) -> None:
    """What is not a ClientHello in records is refused with its reason, its place and the numbers."""
    assert refusal(tls.frame_client_hello, octets) == (code, message)


@pytest.mark.parametrize("first", [octet for octet in range(256) if octet != 0x16 and octet < 0x80])
def test_first_octet_is_enough_to_refuse(first: int) -> None:
    """Nothing but a handshake record is waited for."""
    assert refusal(tls.frame_client_hello, bytes((first,)))[0] == "not_tls"


def test_message_announced_longer_than_its_record_waits_for_the_next() -> None:
    """A message that does not fit into its record goes on in the next one."""
    assert tls.frame_client_hello(record(handshake(1, client_hello(), lie=1))) is None


# ---- after a HelloRetryRequest ----

SECOND = client_stream(client_hello("second.example.com"))

RETRIES = [
    # what                         between the hellos
    ("nothing", b""),
    ("ChangeCipherSpec", CHANGE_CIPHER_SPEC_RECORD),
    ("two ChangeCipherSpecs", CHANGE_CIPHER_SPEC_RECORD * 2),
    ("early data", EARLY_DATA * 3),
    ("ChangeCipherSpec and early data", CHANGE_CIPHER_SPEC_RECORD + EARLY_DATA),
    ("longest early data", record(bytes(16384 + 256), kind=23)),
]


@pytest.mark.parametrize(("what", "between"), RETRIES, ids=ids(RETRIES))
def test_second_hello_is_found(what: str, between: bytes) -> None:
    """ChangeCipherSpec and early data are skipped; the end counts from the start of the stream."""
    start = len(client_stream())
    stream = client_stream() + between + SECOND
    for cut in range(start, len(stream), 1 if len(between) < 1000 else 97):
        assert tls.frame_retry(stream[:cut], start) is None
    assert tls.frame_retry(stream + EARLY_DATA, start) == (client_hello("second.example.com"), len(stream))


RETRIES_REFUSED = [
    # what                         after the first hello            code              message begins with
    ("alert", hellos.alert(2, 40), "malformed", "record of type 21 at offset 6, want 22"),
    ("HTTP", b"GET / HTTP/1.1", "malformed", "record of type 71 at offset 6, want 22"),
    ("empty early data", record(b"", kind=23), "malformed", "record of 0 octets at offset 6"),
    ("overlong early data", record(bytes(16641), kind=23), "malformed", "record of 16641 octets at offset 6"),
    ("odd version", b"\x17\x02\x00", "malformed", "record of version 2.x at offset 6"),
    ("ChangeCipherSpec of 2", record(b"\x02", kind=20), "malformed", "ChangeCipherSpec at offset 6 is not"),
    ("long ChangeCipherSpec", record(b"\x01\x01", kind=20), "malformed", "ChangeCipherSpec at offset 6 is not"),
    ("data in the second", record(HELLO[:9]) + EARLY_DATA, "malformed", "record of type 23 at offset 20, want 22"),
    ("endless", CHANGE_CIPHER_SPEC_RECORD * 2048, "hello_too_long", "more than 2048 records before the ClientHello"),
]


@pytest.mark.parametrize(("what", "octets", "code", "message"), RETRIES_REFUSED, ids=ids(RETRIES_REFUSED))
def test_anything_else_in_place_of_the_second_hello_is_refused(
    what: str, octets: bytes, code: str, message: str
) -> None:
    """After a HelloRetryRequest only the second hello may follow, after what middleboxes and 0-RTT need."""
    found_code, found_message = refusal(tls.frame_retry, b"first!" + octets, 6)
    assert found_code == code
    assert found_message.startswith(message)


# ---- the server's reply ----


@pytest.mark.parametrize("split", [1, 2, 3, 4, 5, 7, 16384])
def test_same_reply_however_it_arrives(split: int) -> None:
    """A ServerHello is the same whatever the record boundaries, cuts and what follows."""
    stream = server_stream(split=split)
    for cut in range(len(stream)):
        assert tls.frame_server_reply(stream[:cut]) is None
    assert tls.frame_server_reply(stream) == (server_hello(), len(stream))
    assert tls.frame_server_reply(stream + CHANGE_CIPHER_SPEC_RECORD) == (server_hello(), len(stream))


def test_reply_does_not_wait_for_the_certificate_in_its_record() -> None:
    """A TLS 1.2 server may put its certificate into the same record; the hello is complete before it is."""
    hello = handshake(2, server_hello(None, group=None))
    stream = record(hello + handshake(11, bytes(4000)), version=TLS_1_2)
    end = 5 + len(hello)
    assert tls.frame_server_reply(stream[: end - 1]) is None
    for cut in (end, end + 1, len(stream)):
        assert tls.frame_server_reply(stream[:cut]) == (server_hello(None, group=None), end)


@pytest.mark.parametrize(
    ("level", "description", "name", "is_warning"),
    [
        (2, 40, "handshake_failure", False),
        (2, 70, "protocol_version", False),
        (2, 112, "unrecognized_name", False),
        (1, 112, "unrecognized_name", True),
        (1, 0, "close_notify", False),
        (2, 255, "255", False),
    ],
)
def test_alert_in_place_of_a_reply_is_framed(level: int, description: int, name: str, is_warning: bool) -> None:
    """A refusal is told from a reply; only the warning about the name lets the handshake go on."""
    stream = hellos.alert(level, description)
    for cut in range(len(stream)):
        assert tls.frame_server_reply(stream[:cut]) is None
    alert = tls.frame_server_reply(stream + server_stream())
    assert isinstance(alert, tls.Alert)
    assert alert == (level, description, 7)
    assert (alert.name, alert.is_warning) == (name, is_warning)


def test_change_cipher_spec_comes_only_after_a_retry_request() -> None:
    """A server sends ChangeCipherSpec after its first message, which is then the HelloRetryRequest."""
    stream = CHANGE_CIPHER_SPEC_RECORD + server_stream()
    for cut in range(len(stream)):
        assert tls.frame_server_reply(stream[:cut], after_retry=True) is None
    assert tls.frame_server_reply(stream, after_retry=True) == (server_hello(), len(stream))
    assert tls.frame_server_reply(server_stream(), after_retry=True) == (server_hello(), len(server_stream()))
    alert = CHANGE_CIPHER_SPEC_RECORD + hellos.alert(2, 40)
    assert tls.frame_server_reply(alert, after_retry=True) == (2, 40, len(alert))
    assert refusal(tls.frame_server_reply, stream)[0] == "server_not_tls"


SERVER_REFUSED = [
    # what                octets                                           code                message begins with
    ("HTTP", b"HTTP/1.1 400", "server_not_tls", "record of type 72 at offset 0, want 22"),
    ("SSH", b"S", "server_not_tls", "record of type 83 at offset 0, want 22"),
    ("high bit", b"\x80", "server_not_tls", "record of type 128 at offset 0, want 22"),
    ("data", EARLY_DATA, "server_not_tls", "record of type 23 at offset 0, want 22"),
    ("version", b"\x16\x04", "server_not_tls", "record of version 4.x at offset 0, want 3.x"),
    ("alert version", b"\x15\x02", "server_not_tls", "record of version 2.x at offset 0, want 3.x"),
    ("empty record", record(b""), "server_malformed", "record of 0 octets at offset 0"),
    ("empty alert", record(b"", kind=21), "server_malformed", "record of 0 octets at offset 0"),
    ("long alert", record(b"\x02\x28\x00", kind=21), "server_malformed", "alert of 3 octets at offset 0, want 2"),
    ("short alert", record(b"\x02", kind=21), "server_malformed", "alert of 1 octets at offset 0, want 2"),
    ("alert level", hellos.alert(3, 40), "server_malformed", "alert of level 3 at offset 0, want 1 or 2"),
    ("ClientHello", client_stream(), "server_malformed", "handshake message of type 1, want ServerHello"),
    ("HelloRequest", record(handshake(0, b"")), "server_malformed", "handshake message of type 0, want ServerHello"),
    ("17 kB", record(b"\x02\x00\x40\x01"), "server_malformed", "ServerHello of 16385 octets, limit is 16384"),
    (
        "alert inside",
        record(handshake(2, server_hello())[:9]) + hellos.alert(2, 40),
        "server_malformed",
        "record of type 21 at offset 14, want 22",
    ),
]


@pytest.mark.parametrize(("what", "octets", "code", "message"), SERVER_REFUSED, ids=ids(SERVER_REFUSED))
def test_server_stream_that_is_no_reply_is_refused(what: str, octets: bytes, code: str, message: str) -> None:
    """What is neither ServerHello nor alert is refused with the server's own reasons."""
    found_code, found_message = refusal(tls.frame_server_reply, octets)
    assert found_code == code
    assert found_message.startswith(message)
