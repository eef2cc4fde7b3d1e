"""Inspection: what the first octets of each side say, as facts."""

import pytest

from appliance.inspection import Greeting, Hello, inspect_client, inspect_second_hello, inspect_server
from appliance.policy.fqdn import Fqdn
from appliance.reason import Reason
from tests import hellos
from tests.playbook import HELLO, REPLY, REQUEST, RETRY, SSH

FQDN = Fqdn.parse(hellos.NAME)

CLIENTS = [
    # octets                                                             hello
    (HELLO, Hello("tls", "TLS 1.3", hellos.NAME, len(HELLO), fqdn=FQDN)),
    (HELLO + b"early", Hello("tls", "TLS 1.3", hellos.NAME, len(HELLO), fqdn=FQDN)),
    (
        hellos.client_stream(hellos.client_hello(versions=None)),
        Hello("tls", "TLS 1.2", hellos.NAME, len(hellos.client_stream(hellos.client_hello(versions=None))), fqdn=FQDN),
    ),
    (SSH, Hello("ssh", "2.0", "", len(SSH))),
    (SSH + b"key exchange", Hello("ssh", "2.0", "", len(SSH))),
    (b"SSH-1.99-x\n", Hello("ssh", "1.99", "", 11, Reason.SSH_TOO_OLD)),
    (b"", None),
    (b"\x16", None),
    (HELLO[:-1], None),
    (SSH[:-1], None),
    (REQUEST[:-1], None),
    (b"GE", None),
    (b"\x80\x2e", None),
]


@pytest.mark.parametrize(("octets", "hello"), CLIENTS)
def test_client(octets: bytes, hello: Hello | None) -> None:
    """A hello, or None while octets are missing."""
    assert inspect_client(octets) == hello


REFUSED_CLIENTS = {
    "zero": (b"\x00", "unknown", Reason.NOT_TLS),
    "data": (b"\x17\x03\x03", "unknown", Reason.NOT_TLS),
    "SMTP": (b"EHLO x\r\nSTARTTLS\r\n" + HELLO, "unknown", Reason.NOT_TLS),
    "PROXY line": (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + HELLO, "unknown", Reason.NOT_TLS),
    "binary PROXY header": (b"\r\n\r\n\x00\r\nQUIT\n" + HELLO, "unknown", Reason.NOT_TLS),
    "SOCKS 4": (b"\x04\x01\x01\xbb" + HELLO, "unknown", Reason.NOT_TLS),
    "SOCKS 5": (b"\x05\x01\x00" + HELLO, "unknown", Reason.NOT_TLS),
    "SSL 2.0": (b"\x80\x2e\x01", "tls", Reason.SSLV2_HELLO),
    "SSL 2.0, no hello": (b"\x80\x2e\x02", "unknown", Reason.NOT_TLS),
    "record of version 3.9": (b"\x16\x03\x09", "tls", Reason.NOT_TLS),
    "SSH with NUL": (b"SSH-2.0-\x00\r\n", "ssh", Reason.NOT_SSH),
    "HTTP": (REQUEST, "http", Reason.HTTP_PLAINTEXT),
    "CONNECT, then a hello": (b"CONNECT a:443 HTTP/1.1\r\n\r\n" + HELLO, "http", Reason.HTTP_PLAINTEXT),
    "no name": (hellos.client_stream(hellos.client_hello(None)), "tls", Reason.NO_SNI),
    "ECH": (hellos.client_stream(hellos.client_hello(ech=True)), "tls", Reason.ECH),
    "ESNI": (hellos.client_stream(hellos.client_hello(extra=hellos.extension(hellos.ESNI))), "tls", Reason.ECH),
    "TLS 1.1": (hellos.client_stream(hellos.client_hello(versions=(hellos.TLS_1_1,))), "tls", Reason.TLS_TOO_OLD),
    "draft and GREASE": (
        hellos.client_stream(hellos.client_hello(versions=(hellos.DRAFT_28, hellos.GREASE))),
        "tls",
        Reason.TLS_TOO_OLD,
    ),
    # several faults: the first in the order of the design counts
    "no name, TLS 1.1, ECH": (
        hellos.client_stream(hellos.client_hello(None, versions=(hellos.TLS_1_1,), ech=True)),
        "tls",
        Reason.TLS_TOO_OLD,
    ),
    "no name, ECH": (hellos.client_stream(hellos.client_hello(None, ech=True)), "tls", Reason.ECH),
}


@pytest.mark.parametrize(("octets", "protocol", "refusal"), REFUSED_CLIENTS.values(), ids=REFUSED_CLIENTS)
def test_refused_client(octets: bytes, protocol: str, refusal: Reason) -> None:
    """What can never be allowed says so, and what it is."""
    hello = inspect_client(octets)
    assert hello is not None
    assert (hello.protocol, hello.refusal) == (protocol, refusal)


def test_ech_on_demand() -> None:
    """Wanted, it is no fault, also in a second hello."""
    stream = hellos.client_stream(hellos.client_hello(ech=True))
    hello = inspect_client(stream, allow_ech=True)
    assert hello is not None
    assert hello.refusal is None
    second = inspect_second_hello(HELLO + stream, len(HELLO), allow_ech=True)
    assert second is not None
    assert second.refusal is None


def test_request_keeps_what_the_log_wants() -> None:
    """Host as name, the head as request."""
    hello = inspect_client(REQUEST)
    assert hello is not None
    assert hello.name == "www.example.com"
    assert hello.request is not None
    assert hello.request.path == "/secret"


SECOND_HELLOS = [
    (b"", None),
    (hellos.CHANGE_CIPHER_SPEC_RECORD, None),
    (HELLO[:-1], None),
    (HELLO, Hello("tls", "TLS 1.3", hellos.NAME, 2 * len(HELLO), fqdn=FQDN)),
    (
        hellos.CHANGE_CIPHER_SPEC_RECORD + hellos.record(b"early", kind=23) + HELLO,
        Hello("tls", "TLS 1.3", hellos.NAME, 2 * len(HELLO) + 6 + 10, fqdn=FQDN),
    ),
]


@pytest.mark.parametrize(("octets", "hello"), SECOND_HELLOS)
def test_second_hello(octets: bytes, hello: Hello | None) -> None:
    """What may stand before it is skipped; its end counts from the start of the stream."""
    assert inspect_second_hello(HELLO + octets, len(HELLO)) == hello


def test_refused_second_hello() -> None:
    """For the same reasons as the first."""
    for octets, refusal in [
        (hellos.client_stream(hellos.client_hello(None)), Reason.NO_SNI),
        (hellos.alert(2, 40), Reason.MALFORMED),
        (b"GET / HTTP/1.1\r\n\r\n", Reason.MALFORMED),
    ]:
        second = inspect_second_hello(HELLO + octets, len(HELLO))
        assert second is not None
        assert second.refusal is refusal


SERVERS = [
    ("tls", REPLY, Greeting("TLS 1.3", len(REPLY), is_post_quantum=False)),
    ("tls", RETRY, Greeting("TLS 1.3", len(RETRY), is_retry=True)),
    ("tls", hellos.alert(1, 112), Greeting(end=7, is_final=False)),
    ("tls", hellos.alert(2, 112), Greeting(end=7, refusal=Reason.SERVER_REFUSED, detail="unrecognized_name")),
    ("tls", hellos.alert(1, 0), Greeting(end=7, refusal=Reason.SERVER_REFUSED, detail="close_notify")),
    ("tls", b"", None),
    ("tls", REPLY[:-1], None),
    ("ssh", SSH, Greeting("2.0", len(SSH))),
    ("ssh", b"hello\nSSH-1.99-x\n", Greeting("1.99", 17)),
    ("ssh", b"SSH-1.5-x\n", Greeting("1.5", 10, Reason.SERVER_SSH_TOO_OLD)),
    ("ssh", b"hello", None),
]


@pytest.mark.parametrize(("protocol", "octets", "greeting"), SERVERS)
def test_server(protocol: str, octets: bytes, greeting: Greeting | None) -> None:
    """A greeting, or None while octets are missing."""
    assert inspect_server(protocol, octets) == greeting


@pytest.mark.parametrize(
    ("version", "refusal"),
    [(hellos.TLS_1_0, Reason.SERVER_TLS_TOO_OLD), (hellos.TLS_1_1, Reason.SERVER_TLS_TOO_OLD), (hellos.TLS_1_2, None)],
)
def test_version_that_a_server_chose(version: int, refusal: Reason | None) -> None:
    """TLS 1.2 is the oldest that passes."""
    stream = hellos.server_stream(hellos.server_hello(None, legacy_version=version, group=None))
    greeting = inspect_server("tls", stream)
    assert greeting is not None
    assert greeting.refusal is refusal


def test_change_cipher_spec_stands_only_after_a_retry() -> None:
    """RFC 8446 section D.4."""
    stream = hellos.CHANGE_CIPHER_SPEC_RECORD + REPLY
    assert inspect_server("tls", stream).refusal is Reason.SERVER_NOT_TLS
    assert inspect_server("tls", stream, after_retry=True).refusal is None
