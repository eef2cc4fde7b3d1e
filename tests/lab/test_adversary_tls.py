"""A hostile client, and servers that would serve it: names and hellos that another filter may take for something else.

Source: SECURITY.md, rows N1 to N17 and T1 to T14, and what is in no list. What is refused here does not reach the
server's host with a single octet; where a real TLS server stands at the other end, the same octets are first sent to
it past the appliance, to show that it would have served them.
"""

import contextlib
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from tests import hellos
from tests.hellos import (
    DRAFT_28,
    GREASE,
    P256,
    P384,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    X25519,
    agreeable,
    block,
    client_hello,
    extension,
    handshake,
    record,
    records,
    server_name,
)
from tests.lab.lab import Lab, wait_until
from tests.lab.namespaces import Namespace
from tests.lab.servers import Server
from tests.lab.story import allowed, converse, hello, launch, nothing_arrives, refused, tls
from tests.lab.tcp import Peer
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")

ZONE = "adversary.test"
TARGET = f"target.{ZONE}"
A_LABEL = f"xn--bcher-kva.{ZONE}"
HOMOGRAPH = f"xn--trget-4ve.{ZONE}"  # target, with a Cyrillic a
OTHER = f"other.{ZONE}"  # never listed
LISTED = ("shared", "retry", "odd", "old", "tls12", "tls13", "junk", "front", "early")
REPLY = hellos.server_stream()
CCS = hellos.CHANGE_CIPHER_SPEC_RECORD
HELLO = handshake(1, client_hello(TARGET))  # without its record
STREAM = record(HELLO)
START, REST = record(HELLO[:50]), record(HELLO[50:])


def name(of: str) -> str:
    return f"{of}.{ZONE}"


@pytest.fixture(scope="module")
def web(lab: Lab, appliance: object) -> Workload:
    """A client of which nothing is to be trusted."""
    return launch(lab, "adversary", tls(TARGET, A_LABEL, *map(name, LISTED)))


@pytest.fixture(scope="module")
def listening(lab: Lab) -> Server:
    """A listed server that answers whatever it hears."""
    server = lab.internet.lines(TARGET, reply=REPLY)
    lab.names[A_LABEL] = [server.address]
    return server


@pytest.fixture
def target(listening: Server) -> Server:
    """The same with an empty record."""
    listening.forget()
    return listening


def past_the_appliance(lab: Lab, server: Server) -> socket.socket:
    """Return a connection to a server from its own Internet."""
    stream = lab.internet.namespace.open_socket()
    stream.settimeout(5)
    stream.connect((server.address, server.port))
    return stream


def client_context(**options: int) -> ssl.SSLContext:
    return hellos.tls_context(**options)


# ---- N: which name ----


@pytest.mark.parametrize("spelt", [TARGET, TARGET.upper(), f"{TARGET}.", A_LABEL, A_LABEL.upper()])
def test_a_listed_name_is_known_however_it_is_spelt(lab: Lab, web: Workload, target: Server, spelt: str) -> None:
    """Case and a root dot do not count (N12); an internationalised name is its A-labels (N13)."""
    assert converse(web, target.address, hello(spelt)).octets == REPLY
    assert target.received() == hello(spelt)
    allowed(lab, target, dhost=spelt.lower().removesuffix("."))


NAMES = {
    # what                              code               the server_name extension
    "N2, a neighbour":                  ("name_not_listed", server_name(OTHER)),
    "N6, an empty extension":           ("sni_empty",       extension(0)),
    "N6, an empty list":                ("sni_empty",       extension(0, block(b""))),
    "N6, an empty name":                ("sni_empty",       server_name("")),
    "N7, the same name twice":          ("sni_multiple",    server_name(TARGET, TARGET)),
    "N7, another name first":           ("sni_multiple",    server_name(OTHER, TARGET)),
    "N7, another name last":            ("sni_multiple",    server_name(TARGET, OTHER)),
    "N7, an empty name last":           ("sni_multiple",    server_name(TARGET, "")),
    "N9, an unknown type":              ("sni_multiple",    server_name(TARGET, kinds=[1])),
    "N9, an unknown type first":        ("sni_multiple",    server_name(OTHER, TARGET, kinds=[9, 0])),
    "N9, an unknown type last":         ("sni_multiple",    server_name(TARGET, OTHER, kinds=[0, 255])),
    "N10, a list that is too long":     ("malformed",       server_name(TARGET, list_lie=1)),
    "N10, a list that is too short":    ("malformed",       server_name(TARGET, list_lie=-1)),
    "N10, a name that is too long":     ("malformed",       server_name(TARGET, name_lie=1)),
    "N10, a name that is too short":    ("malformed",       server_name(TARGET, name_lie=-1)),
    "N10, octets behind the list":      ("malformed",       extension(0, server_name(TARGET)[4:] + b"x")),
    "N11, NUL":                         ("sni_bad_chars",   server_name(f"{TARGET}\0.evil.test")),
    "N11, NUL at the end":              ("sni_bad_chars",   server_name(f"{TARGET}\0")),
    "N11, bell":                        ("sni_bad_chars",   server_name(f"\a{TARGET}")),
    "N11, escape":                      ("sni_bad_chars",   server_name(f"\x1b[2J{TARGET}")),
    "N11, newline":                     ("sni_bad_chars",   server_name(f"{TARGET}\n")),
    "N11, space":                       ("sni_bad_chars",   server_name(f"{TARGET} ")),
    "N11, backslash":                   ("sni_bad_chars",   server_name(f"{TARGET}\\x00")),
    "N12, two root dots":               ("sni_bad_chars",   server_name(f"{TARGET}..")),
    "N12, a dot in front":              ("sni_bad_chars",   server_name(f".{TARGET}")),
    "N12, two dots in between":         ("sni_bad_chars",   server_name(f"target..{ZONE}")),
    "N12, the root alone":              ("sni_bad_chars",   server_name(".")),
    "N13, a U-label in UTF-8":          ("sni_bad_chars",   server_name(f"bücher.{ZONE}".encode())),
    "N13, a U-label in Latin-1":        ("sni_bad_chars",   server_name(f"bücher.{ZONE}".encode("latin-1"))),
    "N13, a U-label of mixed scripts":  ("sni_bad_chars",   server_name(f"t\u0430rget.{ZONE}".encode())),
    "N13, an A-label of mixed scripts": ("name_not_listed", server_name(HOMOGRAPH)),
    "N13, full-width letters":          ("sni_bad_chars",   server_name(f"\uff54arget.{ZONE}".encode())),
    "N13, an ideographic full stop":    ("sni_bad_chars",   server_name(f"target\u3002{ZONE}".encode())),
    "N14, a label of 64":               ("sni_too_long",    server_name(f"{'a' * 64}.{TARGET}")),
    "N14, a name of 254":               ("sni_too_long",    server_name("a." * 126 + "bb")),
    "N14, a name of 304":               ("sni_too_long",    server_name(".".join(["a" * 60] * 5))),
    "N15, an address":                  ("sni_ip_literal",  server_name("203.0.113.10")),
    "N15, an address as a number":      ("sni_ip_literal",  server_name("3405803786")),
    "N15, an IPv6 address":             ("sni_bad_chars",   server_name("[2001:db8::1]")),
    "N16, a longer first label":        ("name_not_listed", server_name(f"evil-{TARGET}")),
    "N16, a letter in front":           ("name_not_listed", server_name(f"a{TARGET}")),
    "N16, a label behind":              ("name_not_listed", server_name(f"{TARGET}.evil.test")),
    "N16, a letter behind":             ("name_not_listed", server_name(f"{TARGET}a")),
    "N16, a label in front":            ("name_not_listed", server_name(f"www.{TARGET}")),
    "N16, the zone":                    ("name_not_listed", server_name(ZONE)),
    "N16, another letter for a dot":    ("name_not_listed", server_name(f"target-{ZONE}")),
    "N17, a port":                      ("sni_bad_chars",   server_name(f"{TARGET}:443")),
    "N17, a port of another":           ("sni_bad_chars",   server_name(f"{OTHER}:443")),
    "a URL":                            ("sni_bad_chars",   server_name(f"https://{TARGET}/")),
    "a wildcard":                       ("sni_bad_chars",   server_name(f"*.{ZONE}")),
    "a single label":                   ("name_not_listed", server_name("target")),
}  # fmt: skip


@pytest.mark.parametrize("code_and_extension", NAMES.values(), ids=NAMES)
def test_a_name_that_is_not_plainly_the_listed_one_is_refused(
    lab: Lab, web: Workload, target: Server, code_and_extension: tuple[str, bytes]
) -> None:
    """The address is the listed name's, so that only the name is wrong; the log has plain names alone."""
    code, named = code_and_extension
    with nothing_arrives(lab, web, target):
        heard = converse(web, target.address, hello(None, extra=named))
        assert (heard.octets, heard.reset) == (b"", True)
        event = refused(lab, target, code, spt=heard.port)
    assert code == "name_not_listed" or event["dhost"] == target.address


REPEATED = {
    "server_name": server_name(TARGET),
    "server_name of another": server_name(OTHER),
    "supported_versions": hellos.supported_versions(TLS_1_3),
    "ALPN": hellos.alpn(b"h2"),
    "supported_groups": extension(10, block(hellos.numbers([X25519]))),
    "key_share": hellos.key_share((X25519, 32)),
    "extended_master_secret": extension(23),
    "one nobody knows": extension(0xABCD) * 2,
    "GREASE": extension(GREASE) * 2,
}


@pytest.mark.parametrize("extra", REPEATED.values(), ids=REPEATED)
def test_an_extension_that_comes_twice_is_refused(lab: Lab, web: Workload, target: Server, extra: bytes) -> None:
    """Whichever it is: parsers differ on which one counts (N8)."""
    with nothing_arrives(lab, web, target):
        heard = converse(web, target.address, hello(TARGET, extra=extra))
        assert (heard.octets, heard.reset) == (b"", True)
        refused(lab, target, "ext_duplicate", spt=heard.port)


def test_another_site_at_the_same_address_is_refused(lab: Lab, web: Workload) -> None:
    """The server serves both names at one address; who lists one of them does not get the other (N2)."""
    server = lab.internet.tls(name("shared"))
    lab.names[OTHER] = [server.address]
    with client_context().wrap_socket(past_the_appliance(lab, server), server_hostname=OTHER):
        assert wait_until(lambda: server.connections[-1].server_names == [OTHER])
    server.forget()

    with nothing_arrives(lab, web, server):
        assert not web.curl(f"https://{OTHER}/", "-k").ok
        refused(lab, server, "name_not_listed", dhost=OTHER)
    assert web.curl(f"https://{name('shared')}/").ok


def test_a_relay_with_a_real_sites_certificate_is_refused(lab: Lab, web: Workload) -> None:
    """Name and certificate are right, for a host elsewhere passes all octets on to the real one (T12, N1)."""
    real = lab.internet.tls(name("front"))
    relay = lab.internet.relay(real)
    checked = ssl.create_default_context(cafile=str(lab.internet.authority.bundle))
    with checked.wrap_socket(past_the_appliance(lab, relay), server_hostname=real.name) as stream:
        assert stream.getpeercert()  # who looks at the certificate alone is content
    assert wait_until(lambda: relay.received() == real.received() != b"")
    relay.forget()
    real.forget()

    with nothing_arrives(lab, web, relay):
        done = web.curl(f"https://{real.name}/", "--connect-to", f"{real.name}:443:{relay.address}:443")
        assert not done.ok
        refused(lab, relay, "address_mismatch", dhost=real.name)
    assert real.received() == b""


# ---- T: what is no clear hello ----

SSLV2 = bytes((0x80, 0x2E, 1, 3, 3, 0, 21, 0, 0, 0, 16)) + bytes(37)
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes((10, 0, 1, 9, 203, 0, 113, 1, 0, 80, 1, 187))
CONNECT = f"CONNECT {TARGET}:443 HTTP/1.1\r\nHost: {TARGET}\r\n\r\n".encode()
OLD = TLS_1_1

WIRE = {
    # what                             code              the client's octets
    "N4, CONNECT, then a hello":       ("http_plaintext", CONNECT + hello(OTHER)),
    "N4, CONNECT alone":               ("http_plaintext", CONNECT),
    "N5, no server_name":              ("no_sni",         hello(None)),
    "N10, extensions too long":        ("malformed",      hello(TARGET, extensions_lie=1)),
    "N10, extensions too short":       ("malformed",      hello(TARGET, extensions_lie=-1)),
    "N10, octets behind extensions":   ("malformed",      hello(TARGET, tail=b"\0")),
    "N10, octets behind none":         ("malformed",      hello(None, extensions=b"", tail=server_name(TARGET))),
    "N10, an extension too long":      ("malformed",      hello(TARGET, extra=extension(99, b"abc", lie=1))),
    "N10, a message too short":        ("malformed",      record(handshake(1, client_hello(TARGET), lie=-1))),
    "N14, a hello of 24 kB":           ("hello_too_long", records(b"\x01\x00\x60\x00" + bytes(0x6000))),
    "N14, a hello of 16 MB":           ("hello_too_long", record(b"\x01\xff\xff\xff")),
    "T2, an empty record first":       ("malformed",      record(b"") + STREAM),
    "T2, an empty record between":     ("malformed",      START + record(b"") + REST),
    "T2, data between":                ("malformed",      START + record(b"x", kind=23) + REST),
    "T2, an alert between":            ("malformed",      START + hellos.alert(1, 0) + REST),
    "T2, a heartbeat between":         ("malformed",      START + record(b"\1\0\0", kind=24) + REST),
    "T2, ChangeCipherSpec between":    ("malformed",      START + CCS + REST),
    "T2, a record of 16385 octets":    ("malformed",      b"\x16\x03\x01\x40\x01" + HELLO),
    "T4, another hello in its record": ("malformed",      record(HELLO + handshake(1, client_hello(OTHER)))),
    "T4, another hello behind it":     ("malformed",      STREAM + hello(OTHER)),
    "T4, the same hello behind it":    ("malformed",      STREAM + STREAM),
    "T5, ECH":                         ("ech",            hello(TARGET, ech=True)),
    "T5, ECH of the inner kind":       ("ech",            hello(TARGET, extra=extension(0xFE0D, b"\x01"))),
    "T5, ECH without a name":          ("ech",            hello(None, ech=True)),
    "T5, ECH of draft 10":             ("ech",            hello(TARGET, extra=extension(0xFE0A, bytes(64)))),
    "T5, ESNI":                        ("ech",            hello(TARGET, extra=extension(0xFFCE, bytes(64)))),
    "T6, TLS 1.1":                     ("tls_too_old",    hello(TARGET, versions=None, legacy_version=OLD)),
    "T6, SSL 3.0":                     ("tls_too_old",    hello(TARGET, versions=None, legacy_version=0x0300)),
    "T6, TLS 1.1 in the list":         ("tls_too_old",    hello(TARGET, versions=(TLS_1_1, TLS_1_0))),
    "T6, GREASE and old ones":         ("tls_too_old",    hello(TARGET, versions=(TLS_1_1,), grease=True)),
    "T6, GREASE alone":                ("tls_too_old",    hello(TARGET, versions=(GREASE,))),
    "T6, a draft and an old one":      ("tls_too_old",    hello(TARGET, versions=(DRAFT_28, TLS_1_1))),
    "T6, a draft alone":               ("tls_too_old",    hello(TARGET, versions=(DRAFT_28,))),
    "T6, an empty list":               ("malformed",      hello(TARGET, versions=())),
    "T7, SSL 2.0":                     ("sslv2_hello",    SSLV2),
    "T7, SSL 2.0, then a hello":       ("sslv2_hello",    SSLV2 + STREAM),
    "T7, SSL 2.0 that offers TLS 1.0": ("sslv2_hello",    SSLV2[:4] + b"\1" + SSLV2[5:]),
    "T11, SMTP":                       ("not_tls",        b"EHLO " + TARGET.encode() + b"\r\nSTARTTLS\r\n" + STREAM),
    "T11, IMAP":                       ("not_tls",        b"a STARTTLS\r\n" + STREAM),
    "T11, LDAP":                       ("not_tls",        b"\x30\x1d\x02\x01\x01\x77\x18" + STREAM),
    "T11, PostgreSQL":                 ("not_tls",        b"\x00\x00\x00\x08\x04\xd2\x16\x2f"),
    "T11, a PROXY line":               ("not_tls",        b"PROXY TCP4 10.0.0.1 203.0.113.1 1 443\r\n" + STREAM),
    "T11, a PROXY line alone":         ("not_tls",        b"PROXY TCP4 10.0.0.1 203.0.113.1 1 443\r\n"),
    "T11, a binary PROXY header":      ("not_tls",        PROXY_V2 + STREAM),
    "T11, SOCKS 4":                    ("not_tls",        b"\x04\x01\x01\xbb\xcb\x00\x71\x0a\x00" + STREAM),
    "T11, SOCKS 5":                    ("not_tls",        b"\x05\x01\x00" + STREAM),
    "T11, SOCKS 5 alone":              ("not_tls",        b"\x05\x01\x00"),
    "T11, HTTP":                       ("http_plaintext", b"GET / HTTP/1.1\r\nHost: " + TARGET.encode() + b"\r\n\r\n"),
    "T11, HTTP/2":                     ("http_plaintext", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "T11, SSH":                        ("not_tls",        b"SSH-2.0-OpenSSH_9.2\r\n"),
    "T11, an empty line first":        ("not_tls",        b"\r\n" + STREAM),
    "DTLS":                            ("not_tls",        b"\x16\xfe\xfd" + bytes(8) + block(HELLO)),
    "an alert first":                  ("not_tls",        hellos.alert(1, 0) + STREAM),
    "a server's alert alone":          ("not_tls",        hellos.alert(2, 40)),
    "noise":                           ("not_tls",        bytes(range(200, 250))),
    "ChangeCipherSpec first":          ("not_tls",        CCS + STREAM),
    "data first":                      ("not_tls",        record(b"x", kind=23) + STREAM),
    "a heartbeat first":               ("not_tls",        record(b"\1\0\0", kind=24) + STREAM),
    "HelloRequest first":              ("malformed",      record(handshake(0, b"")) + STREAM),
    "HelloRequest in its record":      ("malformed",      record(handshake(0, b"") + HELLO)),
    "a session id of 33":              ("malformed",      hello(TARGET, session_id=bytes(33))),
    "a session id of 255":             ("malformed",      hello(TARGET, session_id=bytes(255))),
    "compression alone":               ("malformed",      hello(TARGET, compression_methods=b"\1")),
    "a hello of DTLS":                 ("malformed",      hello(TARGET, legacy_version=0xFEFD)),
    "a record of version 3.5":         ("not_tls",        record(HELLO, version=0x0305)),
    "ChangeCipherSpec of 2 behind it": ("malformed",      STREAM + record(b"\x02", kind=20)),
    "an alert behind it":              ("malformed",      STREAM + hellos.alert(1, 0)),
    "HTTP behind it":                  ("malformed",      STREAM + b"GET / HTTP/1.1\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("code_and_octets", WIRE.values(), ids=WIRE)
def test_what_is_no_clear_hello_is_refused(
    lab: Lab, web: Workload, target: Server, code_and_octets: tuple[str, bytes]
) -> None:
    """Each under its own code; the name in it is listed and the address is right."""
    code, octets = code_and_octets
    with nothing_arrives(lab, web, target):
        heard = converse(web, target.address, octets)
        assert (heard.octets, heard.reset) == (b"", True)
        refused(lab, target, code, spt=heard.port)


def test_a_hello_in_too_many_records_is_refused(lab: Lab, web: Workload, target: Server) -> None:
    """It has so many segments that its client is taken for one that dribbles; but it never arrives whole (T2, T3)."""
    sent = records(real_hello(OTHER, extra=AGREEABLE + extension(21, bytes(2048))), split=1)
    heard = converse(web, target.address, sent)
    assert heard.reset
    refused(lab, target, "hello_too_long", saw=None, spt=heard.port)
    assert sent[: 6 * 2048].startswith(target.received())


def test_a_hello_behind_connect_is_not_waited_for(lab: Lab, web: Workload, target: Server) -> None:
    """A client that waits for a proxy's answer is refused at once, and what it sends then goes nowhere (N4)."""
    with nothing_arrives(lab, web, target), web.connect(target.address, 443) as stream:
        stream.sendall(CONNECT)
        with pytest.raises(ConnectionResetError):
            stream.recv(100)
        refused(lab, target, "http_plaintext", dhost=TARGET, http_method="CONNECT")
        with pytest.raises(OSError, match=r"Broken pipe|reset|not connected"):
            stream.sendall(hello(OTHER))


# ---- a real server ----

AGREEABLE = agreeable(X25519, P384, keys=[X25519])


def real_hello(named: str | None, *, extra: bytes = AGREEABLE, **options: object) -> bytes:
    """A hello that OpenSSL goes on with."""
    return handshake(1, client_hello(named, groups=(), extra=extra, **options))  # type: ignore[arg-type]


ODD = {
    "as usual": record(real_hello(name("odd"))),
    "records of one octet": records(real_hello(name("odd")), split=1),
    "records of three octets": records(real_hello(name("odd")), split=3),
    "legacy version 3.4": record(real_hello(name("odd"), legacy_version=TLS_1_3)),
    "record version 3.0": record(real_hello(name("odd")), version=0x0300),
    "record version 3.4": record(real_hello(name("odd")), version=TLS_1_3),
    "no session id": record(real_hello(name("odd"), session_id=b"")),
    "GREASE": record(real_hello(name("odd"), grease=True)),
    "a version twice": record(real_hello(name("odd"), versions=(TLS_1_3, TLS_1_3, TLS_1_2))),
    "padding": record(real_hello(name("odd"), extra=AGREEABLE + extension(21, bytes(4000)))),
    "NPN, delegated credentials, heartbeats": record(
        real_hello(name("odd"), extra=AGREEABLE + extension(13172) + extension(34, b"\0\2\4\3") + extension(15, b"\1"))
    ),
    "DEFLATE beside null": record(
        real_hello(
            name("odd"),
            extra=agreeable(P256),
            versions=[TLS_1_2],
            cipher_suites=[0xC02B],
            compression_methods=b"\1\0",
        )
    ),
}


@pytest.fixture(scope="module")
def odd(lab: Lab) -> Server:
    """A real server."""
    return lab.internet.tls(name("odd"))


@pytest.mark.parametrize("octets", ODD.values(), ids=ODD)
def test_an_odd_hello_that_openssl_takes_is_allowed(lab: Lab, web: Workload, odd: Server, octets: bytes) -> None:
    """It arrives as it was sent, and the reply comes back (T1, T2)."""
    odd.forget()
    heard = converse(web, odd.address, octets, enough=100)
    assert heard.octets[:2] == b"\x16\x03"
    assert odd.received() == octets
    assert odd.connections[0].server_names == [name("odd")]
    lab.appliance.wait_for_event(dst=odd.address, spt=heard.port, cat="server", code="server_agreed")


@pytest.fixture(scope="module")
def retrying(lab: Lab) -> Server:
    """A real server that asks for another key, and goes by the name in the second hello."""
    return lab.internet.tls(name("retry"), curve="secp384r1")


def second_hello(named: str | None, **options: object) -> bytes:
    return real_hello(named, extra=agreeable(X25519, P384, keys=[P384]), **options)


SAME, CHANGED = record(second_hello(name("retry"))), record(second_hello(OTHER))
SECONDS = {
    # what                                   code                  after the HelloRetryRequest
    "the same name":                        ("",                   SAME),
    "behind ChangeCipherSpec":              ("",                   CCS + SAME),
    "the same name, spelt otherwise":       ("",                   record(second_hello(name("RETRY")))),
    "in records of one octet":              ("",                   records(second_hello(name("retry")), split=1)),
    "another name":                         ("hello_name_changed", CHANGED),
    "another listed name":                  ("hello_name_changed", record(second_hello(TARGET))),
    "another name behind ChangeCipherSpec": ("hello_name_changed", CCS + CHANGED),
    "another name in records of one octet": ("hello_name_changed", records(second_hello(OTHER), split=1)),
    "no name":                              ("no_sni",             record(second_hello(None))),
    "ECH":                                  ("ech",                record(second_hello(name("retry"), ech=True))),
    "nothing new":                          ("tls_too_old",        record(second_hello(name("retry"), versions=[OLD]))),
    "two in one record":                    ("malformed",          record(SAME[5:] + CHANGED[5:])),
    "a third":                              ("malformed",          SAME + CHANGED),
}  # fmt: skip


@pytest.mark.parametrize("code_and_octets", SECONDS.values(), ids=SECONDS)
def test_openssl_gets_a_second_hello_for_the_first_ones_name_only(
    lab: Lab, web: Workload, retrying: Server, code_and_octets: tuple[str, bytes]
) -> None:
    """After its HelloRetryRequest OpenSSL takes any name (T4)."""
    code, octets = code_and_octets
    first = record(real_hello(name("retry")))
    retrying.forget()
    with web.connect(retrying.address, 443) as stream:
        stream.sendall(first)
        assert hellos.RETRY_RANDOM in stream.recv(65536)
        stream.sendall(octets)
        if code:
            with pytest.raises(ConnectionResetError):
                stream.recv(65536)
            refused(lab, retrying, code, saw=first, spt=stream.getsockname()[1])
            assert retrying.connections[0].server_names == [name("retry")]
        else:
            assert stream.recv(65536)[:2] in {b"\x16\x03", b"\x14\x03"}
            assert retrying.received() == first + octets
            port = stream.getsockname()[1]
            lab.appliance.wait_for_event(dst=retrying.address, spt=port, cat="server", code="server_agreed")


def test_openssl_does_take_another_name_in_the_second_hello(lab: Lab, retrying: Server) -> None:
    """Or the refusals above would prove nothing."""
    retrying.forget()
    with past_the_appliance(lab, retrying) as stream:
        stream.sendall(record(real_hello(name("retry"))))
        assert hellos.RETRY_RANDOM in stream.recv(65536)
        stream.sendall(record(second_hello(OTHER)))
        assert wait_until(lambda: retrying.connections[0].server_names[-1:] == [OTHER])
        assert stream.recv(65536)[:2] in {b"\x16\x03", b"\x14\x03"}


def test_a_second_hello_sent_ahead_of_its_request_waits_and_is_judged(
    lab: Lab, web: Workload, retrying: Server
) -> None:
    """It would be in the server's buffer when that asks for it (T4)."""
    first = record(real_hello(name("retry")))
    retrying.forget()
    with Peer(web, retrying.address, 443).connect() as peer:
        peer.send(first)
        peer.send(record(second_hello(OTHER)), at=len(first))
        assert peer.was_reset()
    refused(lab, retrying, "hello_name_changed", saw=first, spt=peer.source_port)
    assert retrying.connections[0].server_names == [name("retry")]


def test_a_second_hello_cannot_hide_beyond_what_is_kept(lab: Lab, web: Workload, retrying: Server) -> None:
    """A repetition of the hello's last octet, so far along that what follows it is not kept, does not take it along."""
    kept = 24576  # octets of a direction that the engine keeps
    long = real_hello(name("retry"), extra=AGREEABLE + extension(21, bytes(15900)))
    ones = (kept - len(long) - 25) // 5  # records of one octet cost five more each; the rest is in another one
    first = records(long[:ones], split=1) + record(long[ones:])
    assert kept - 50 < len(first) < kept
    retrying.forget()
    with Peer(web, retrying.address, 443).connect() as peer:
        peer.send_each(first, size=1400)  # before the server asks for another one
        peer.send(first[-1:] + record(second_hello(OTHER)), at=len(first) - 1)
        assert peer.was_reset(8)
    refused(lab, retrying, "server_timeout", cat="server", saw=first, spt=peer.source_port)
    assert retrying.connections[0].server_names == [name("retry")]


@pytest.mark.parametrize("host", ["tls12", "tls13"])
def test_a_resumed_session_is_judged_by_the_name_of_its_own_hello(lab: Lab, web: Workload, host: str) -> None:
    """By ticket or pre-shared key, under the listed name and under another, which OpenSSL does not mind (T9)."""
    version = TLS_1_2 if host == "tls12" else TLS_1_3
    server = lab.internet.tls(name(host), newest="TLSv1_2" if host == "tls12" else "TLSv1_3")
    context = client_context(newest=version, oldest=version)

    def talk(stream: socket.socket, named: str, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
        with context.wrap_socket(stream, server_hostname=named, session=session) as talking:
            talking.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert talking.recv(65536).startswith(b"HTTP/1.1 200")
            return bool(talking.session_reused), talking.session

    _, session = talk(web.connect(server.address, 443), name(host), None)
    assert talk(web.connect(server.address, 443), name(host), session)[0]
    _, session = talk(web.connect(server.address, 443), name(host), None)
    assert talk(past_the_appliance(lab, server), OTHER, session)[0]
    _, session = talk(web.connect(server.address, 443), name(host), None)
    server.forget()
    with nothing_arrives(lab, web, server):
        with pytest.raises(ConnectionResetError):
            talk(web.connect(server.address, 443), OTHER, session)
        refused(lab, server, "name_not_listed", dhost=OTHER)


def test_early_data_of_a_real_client_arrives(lab: Lab, web: Workload, tmp_path: Path) -> None:
    """OpenSSL's own 0-RTT works, for what is held behind the hello goes on with the server's reply (T8)."""
    address, certificate = lab.internet.address(name("early")), str(lab.internet.authority.issue(name("early")))
    lab.names[name("early")] = [address]
    heard, got, told = tmp_path / "heard", tmp_path / "got", tmp_path / "told"
    session, data = tmp_path / "session", tmp_path / "data"
    data.write_bytes(b"early" * 1000)
    serve = ("openssl", "s_server", "-accept", f"{address}:443", "-cert", certificate, "-key", certificate)
    ask = ("openssl", "s_client", "-connect", f"{address}:443", "-servername", name("early"))
    with contextlib.ExitStack() as running:

        def run(host: Namespace, output: Path, *command: str) -> "subprocess.Popen[bytes]":
            said = running.enter_context(output.open("wb"))
            program = host.popen(*command, stdin=subprocess.PIPE, stdout=said, stderr=said)
            running.callback(program.communicate)
            running.callback(program.kill)
            return program

        run(lab.internet.namespace, heard, *serve, "-early_data", "-tls1_3")
        assert wait_until(lambda: b"ACCEPT" in heard.read_bytes())
        first = run(web.namespace, got, *ask, "-sess_out", str(session))
        assert wait_until(lambda: session.exists() and b"END SSL SESSION" in session.read_bytes())
        first.communicate()  # ends it properly, or the server would forget the session
        run(web.namespace, told, *ask, "-sess_in", str(session), "-early_data", str(data))
        assert wait_until(lambda: b"Early data was accepted" in told.read_bytes())


# ---- T: what is no reply ----


def reply(**options: object) -> bytes:
    return hellos.server_stream(hellos.server_hello(**options))  # type: ignore[arg-type]


REPLIES = {
    # what                     code                  the server's octets
    "T6, SSL 3.0":             ("server_tls_too_old", reply(version=None, legacy_version=0x0300, group=None)),
    "T6, TLS 1.0 in the list": ("server_malformed",   reply(version=TLS_1_0)),
    "T6, a draft":             ("server_malformed",   reply(version=DRAFT_28)),
    "T13, HTTP":               ("server_not_tls",     b"HTTP/1.1 200 OK\r\n\r\n"),
    "T13, SSH":                ("server_not_tls",     b"SSH-2.0-x\r\n"),
    "T13, zeroes":             ("server_not_tls",     bytes(100)),
    "T13, SSL 2.0":            ("server_not_tls",     bytes((0x80, 0x2E, 4, 0, 1, 0, 2)) + bytes(41)),
    "T13, data":               ("server_not_tls",     record(bytes(100), kind=23)),
    "T13, ChangeCipherSpec":   ("server_not_tls",     CCS + REPLY),
    "T13, a heartbeat":        ("server_not_tls",     record(b"\1\0\0", kind=24) + REPLY),
    "T13, HelloRequest":       ("server_malformed",   record(handshake(0, b"")) + REPLY),
    "T13, a certificate":      ("server_malformed",   record(handshake(11, bytes(500)))),
    "T13, a client's hello":   ("server_malformed",   STREAM),
    "T13, an empty record":    ("server_malformed",   record(b"") + REPLY),
    "T13, a session id of 33": ("server_malformed",   reply(session_id=bytes(33))),
    "T13, compression":        ("server_malformed",   reply(compression=1)),
    "T13, octets at its end":  ("server_malformed",   reply(tail=b"x")),
    "T13, an extension twice": ("server_malformed",   reply(extra=extension(43, b"\3\4"))),
}  # fmt: skip


@pytest.fixture(scope="module")
def fakes(lab: Lab, web: Workload) -> dict[str, Server]:
    """One server for each reply, all under one listed name."""
    servers = {what: lab.internet.lines("", reply=octets) for what, (_, octets) in REPLIES.items()}
    lab.names[name("junk")] = [server.address for server in servers.values()]
    return servers


@pytest.mark.parametrize("what", REPLIES)
def test_what_is_no_reply_never_reaches_the_client(
    lab: Lab, web: Workload, fakes: dict[str, Server], what: str
) -> None:
    """The hello was good; both ends are reset."""
    server, code, sent = fakes[what], REPLIES[what][0], hello(name("junk"))

    assert converse(web, server.address, sent)[:2] == (b"", True)
    refused(lab, server, code, cat="server", saw=sent)
    assert wait_until(lambda: server.connections[0].reset)
