"""Questions to OCSP responders: which are read, by GET and by POST, and what becomes of a flow that asks one."""

import base64
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from appliance.errors import Malformed
from appliance.policy.addresses import AddressBook
from appliance.policy.crls import decide_fetch, endpoints_of
from appliance.policy.fqdn import Fqdn
from appliance.policy.preferences import Crls, Preferences
from appliance.reason import Reason
from appliance.wire.fetch import Fetch, awaits_body, parse_fetch
from appliance.wire.ocsp_request import CERTIFICATES_MAX, NONCE_MAX, OCTETS_MAX, parse_ocsp_request
from tests.lab.authority import Authority
from tests.playbook import ELSEWHERE, NOW, SERVER, Play, allowed, answer, refused, verdict

HOST = "ocsp.digicert.com"
NAME = Fqdn.parse(HOST)
FETCH = Preferences(x509_crls=Crls.ALLOW)
SHA_1, SHA_256 = bytes.fromhex("300906052b0e03021a0500"), bytes.fromhex("300d06096086480165030402010500")
NONCE_OID = bytes.fromhex("06092b0601050507300102")


def der(tag: int, *parts: bytes) -> bytes:
    """Return a value in DER, of less than 65,536 octets."""
    content = b"".join(parts)
    size = len(content)
    length = bytes((size,)) if size < 128 else b"\x81" + bytes((size,)) if size < 256 else b"\x82" + size.to_bytes(2)
    return bytes((tag,)) + length + content


def cert(algorithm: bytes = SHA_1, hashed: int = 20, serial: bytes = b"\x7f" * 16, behind: bytes = b"") -> bytes:
    """Return a Request."""
    hashes_ = der(4, b"\xab" * hashed), der(4, b"\xcd" * hashed)
    return der(0x30, der(0x30, algorithm, *hashes_, der(2, serial)), behind)


def nonce(octets: bytes = bytes(32), *, oid: bytes = NONCE_OID, critical: bytes = b"", behind: bytes = b"") -> bytes:
    """Return requestExtensions."""
    return der(0xA2, der(0x30, der(0x30, oid, critical, der(4, der(4, octets))), behind))


def question(*parts: bytes, before: bytes = b"", behind: bytes = b"", signature: bytes = b"") -> bytes:
    """Return an OCSPRequest, for these certificates."""
    return der(0x30, der(0x30, before, der(0x30, *(parts or (cert(),))), behind), signature)


ASKED = question()
INNER = der(4, der(4, b"n"))
READ = {
    "as Windows asks": ASKED,
    "no parameters": question(cert(bytes.fromhex("300706052b0e03021a"))),
    "SHA-256": question(cert(SHA_256, 32)),
    "SHA-256, no parameters": question(cert(bytes.fromhex("300b0609608648016503040201"), 32)),
    "a short serial number": question(cert(serial=b"\0")),
    "a serial number above its sign": question(cert(serial=b"\0\x80")),
    "the longest serial number": question(cert(serial=b"\x7f" + bytes(19))),
    "a chain": question(*[cert()] * CERTIFICATES_MAX),
    "a short nonce": question(behind=nonce(b"n")),
    "the longest nonce": question(behind=nonce(bytes(NONCE_MAX))),
}


@pytest.mark.parametrize("octets", READ.values(), ids=READ)
def test_a_question_is_read(octets: bytes) -> None:
    """What is chosen by its sender is told; a reader of another make agrees."""
    asked = parse_ocsp_request(octets)

    if octets is not READ["a chain"]:  # of which it reads none
        other = ocsp.load_der_ocsp_request(octets)
        (first,) = asked.certificates
        assert (other.issuer_name_hash, other.issuer_key_hash) == (first.name_hash, first.key_hash)
        assert other.serial_number == int.from_bytes(first.serial)
        assert [each.value.nonce for each in other.extensions] == [asked.nonce] * bool(asked.nonce)  # type: ignore[attr-defined]


UNREAD = {
    "nothing": b"",
    "no certificate": der(0x30, der(0x30, der(0x30))),
    "too many certificates": question(*[cert()] * (CERTIFICATES_MAX + 1)),
    "a version": question(before=der(0xA0, der(2, b"\0"))),
    "a requestor's name": question(before=der(0xA1, der(0x82, b"secret.example.net"))),
    "a signature": question(signature=der(0xA0, der(0x30, SHA_256, der(3, bytes(64))))),
    "an extension of a certificate": question(cert(behind=nonce().replace(b"\xa2", b"\xa0", 1))),
    "another extension": question(behind=nonce(oid=bytes.fromhex("06092b0601050507300107"))),
    "a critical nonce": question(behind=nonce(critical=b"\x01\x01\xff")),
    "two extensions": question(behind=nonce(behind=der(0x30, NONCE_OID, der(4, der(4, b"n"))))),
    "no extension": question(behind=der(0xA2, der(0x30))),
    "an empty nonce": question(behind=nonce(b"")),
    "a long nonce": question(behind=nonce(bytes(NONCE_MAX + 1))),
    "a bare nonce": question(behind=der(0xA2, der(0x30, der(0x30, NONCE_OID, der(4, b"secret"))))),
    "MD5": question(cert(bytes.fromhex("300c06082a864886f70d02050500"), 16)),
    "SHA-512": question(cert(bytes.fromhex("300d06096086480165030402030500"), 64)),
    "parameters": question(cert(bytes.fromhex("300d06052b0e03021a0404") + b"data")),
    "a hash of another length": question(cert(hashed=32)),
    "a long serial number": question(cert(serial=b"\x7f" + bytes(20))),
    "no serial number": question(cert(serial=b"")),
    "a serial number below zero": question(cert(serial=b"\xff")),
    "a serial number with zeros before it": question(cert(serial=b"\0\x7f")),
    "octets behind it": ASKED + b"x",
    "octets in it": question(behind=b"\x05\0"),
    "octets behind the extensions": question(behind=nonce() + b"\x05\0"),
    "octets in the extensions": question(behind=der(0xA2, der(0x30, der(0x30, NONCE_OID, INNER)), b"\x05\0")),
    "octets in an extension": question(behind=der(0xA2, der(0x30, der(0x30, NONCE_OID, INNER, b"\x05\0")))),
    "octets behind the nonce": question(
        behind=der(0xA2, der(0x30, der(0x30, NONCE_OID, der(4, der(4, b"n"), b"\x05\0"))))
    ),
    "octets behind a serial number": question(der(0x30, cert()[2:].replace(b"\x30\x49", b"\x30\x4b", 1) + b"\x05\0")),
    "cut": ASKED[:-1],
    "a length that is longer than needed": b"\x30\x81" + ASKED[1:],
    "a length in two octets": b"\x30\x82\0" + ASKED[1:],
    "a length in three": b"\x30\x83\0\0" + ASKED[1:],
    "no length": b"\x30\x80" + ASKED[2:] + b"\0\0",
    "a set": b"\x31" + ASKED[1:],
    "long": bytes((0x30, 0x82, 2, 0)) + bytes(OCTETS_MAX),
}


@pytest.mark.parametrize("octets", UNREAD.values(), ids=UNREAD)
def test_what_is_more_than_a_question_is_refused(octets: bytes) -> None:
    """So that the least is left for a sender to choose."""
    with pytest.raises(Malformed) as caught:
        parse_ocsp_request(octets)
    assert caught.value.code == "http_plaintext"


@pytest.mark.parametrize("octets", READ.values(), ids=READ)
def test_no_beginning_of_a_question_is_one(octets: bytes) -> None:
    """Whatever is cut off."""
    for end in range(len(octets)):
        with pytest.raises(Malformed):
            parse_ocsp_request(octets[:end])


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()], ids=["SHA-1", "SHA-256"])  # noqa: S303 -- as clients do
@pytest.mark.parametrize("with_nonce", [False, True])
def test_what_cryptography_asks_is_read(tmp_path: Path, algorithm: hashes.HashAlgorithm, with_nonce: bool) -> None:
    """Of a real certificate."""
    authority = Authority(tmp_path)
    issued, issuer = (
        x509.load_pem_x509_certificate(path.read_bytes())
        for path in (authority.issue("a.example.com"), authority.bundle)
    )
    builder = ocsp.OCSPRequestBuilder().add_certificate(issued, issuer, algorithm)
    if with_nonce:
        builder = builder.add_extension(x509.OCSPNonce(bytes(range(32))), critical=False)
    octets = builder.build().public_bytes(serialization.Encoding.DER)

    (found,) = parse_ocsp_request(octets).certificates

    assert int.from_bytes(found.serial) == issued.serial_number
    assert parse_fetch(get(octets)) == Fetch(HOST, "/", is_ocsp=True)


@pytest.mark.subprocesses
@pytest.mark.parametrize("options", [(), ("-no_nonce",), ("-sha256",), ("-sha256", "-no_nonce")], ids=" ".join)
def test_what_openssl_asks_is_read(tmp_path: Path, options: tuple[str, ...]) -> None:
    """With its own nonce, and for two certificates."""
    authority = Authority(tmp_path)
    asked = tmp_path / "asked.der"
    digest = options[:1] if options[:1] == ("-sha256",) else ()
    names = [word for name in "ab" for word in (*digest, "-cert", str(authority.issue(f"{name}.example.com")))]
    command = ("openssl", "ocsp", "-issuer", str(authority.bundle), *names, "-reqout", str(asked))
    command += ("-no_nonce",) * ("-no_nonce" in options)
    subprocess.run(command, check=True, capture_output=True, timeout=20)

    found = parse_ocsp_request(asked.read_bytes())

    assert len(found.certificates) == 2
    assert bool(found.nonce) == ("-no_nonce" not in options)
    assert {len(each.name_hash) for each in found.certificates} == {32 if digest else 20}


# ---- in HTTP ----


def get(octets: bytes = ASKED, *, before: str = "/", safe: str = "", host: str = HOST) -> bytes:
    text = quote(base64.b64encode(octets).decode(), safe=safe)
    return f"GET {before}{text} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n".encode()


def post(body: bytes = ASKED, target: str = "/", *fields: str, length: str = "", kind: str = "") -> bytes:
    lines = (
        f"POST {target} HTTP/1.0",
        f"Host: {HOST}",
        f"Content-Type: {kind or 'application/ocsp-request'}",
        f"Content-Length: {length or len(body)}",
        *fields,
        *("", ""),
    )
    return "\r\n".join(lines).encode() + body


PLUS = question(cert(serial=b"\x7f" + b"\xfb\xef\xbe" * 6))  # of which base64 has pluses
SLASH = question(cert(serial=b"\x7f" + b"\xff" * 18))  # and slashes
ODD = question(cert(serial=b"\x7f" * 15))  # and equals signs at the end
IN_HTTP = {
    "GET": (get(), "/"),
    "GET, pluses": (get(PLUS), "/"),
    "GET, bare pluses": (get(PLUS, safe="+"), "/"),
    "GET, slashes": (get(SLASH), "/"),
    "GET, bare slashes": (get(SLASH, safe="/"), "/"),
    "GET, lower case": (get(PLUS).replace(b"%2B", b"%2b").replace(b"%3D", b"%3d"), "/"),
    "GET, bare": (get(ODD, safe="+/="), "/"),
    "GET, a path before it": (get(before="/ocsp/"), "/ocsp/"),
    "GET, three words before it": (get(SLASH, before="/s/we1/X_-28/", safe="/"), "/s/we1/X_-28/"),
    "POST": (post(), "/"),
    "POST, a path": (post(target="/ocsp"), "/ocsp/"),
    "POST, a path with a slash": (post(target="/s/we1/abc/"), "/s/we1/abc/"),
    "POST, as Java does": (
        post(ASKED, "/", "User-Agent: Java/21", "Accept: text/html, */*; q=.2", "Connection: keep-alive"),
        "/",
    ),
}


@pytest.mark.parametrize(("stream", "path"), IN_HTTP.values(), ids=IN_HTTP)
def test_a_question_in_http_is_read(stream: bytes, path: str) -> None:
    """Wherever the responder is."""
    assert parse_fetch(stream) == Fetch(HOST, path, is_ocsp=True)


BAD = {
    "GET, something else": get(b"secret"),
    "GET, a question and more": get(ASKED + b"secret"),
    "GET, base64 and more": get().replace(b" HTTP", b"secret HTTP"),
    "GET, without padding": get(ODD).replace(b"%3D", b""),
    "GET, other bits at the end": get(ODD).replace(b"fw%3D%3D", b"fx%3D%3D"),
    "GET, a query": get().replace(b" HTTP", b"?secret HTTP"),
    "GET, a query before it": get(before="/?"),
    "GET, in two": get(SLASH, safe="/").replace(b"/////", b"//../"),
    "GET, dots before it": get(before="/ocsp/../"),
    "GET, a dot before it": get(before="/a.b/"),
    "GET, two slashes": get(before="//"),
    "GET, no slash": get(before=""),
    "GET, another octet for the slash": get(before="x"),
    "GET, absolute": get(before="http://evil.example.net/"),
    "GET, four words before it": get(before="/a/b/c/d/"),
    "GET, a long word before it": get(before="/" + "a" * 65 + "/"),
    "GET, another escape": get().replace(b"/M", b"/%4D"),
    "GET, too long": get(question(*[cert()] * 3)),
    "GET, a body": get() + ASKED,
    "GET, a body that is told of": post().replace(b"POST", b"GET"),
    "POST, nothing": post(b"", length="0"),
    "POST, something else": post(b"secret"),
    "POST, a question and more": post(ASKED + b"secret"),
    "POST, octets beyond": post(length=str(len(ASKED))) + b"x",
    "POST, a shorter length": post(length=str(len(ASKED) - 1)),
    "POST, a longer length": post(length=str(len(ASKED) + 1)),
    "POST, a sign": post(length=f"+{len(ASKED)}"),
    "POST, a zero": post(length=f"0{len(ASKED)}"),
    "POST, hexadecimal": post(length=f"{len(ASKED):#x}"),
    "POST, two in one": post(length=f"{len(ASKED)}, {len(ASKED)}"),
    "POST, huge": post(length="9" * 40),
    "POST, two lengths": post(ASKED, "/", f"Content-Length: {len(ASKED)}"),
    "POST, chunked": post(ASKED, "/", "Transfer-Encoding: chunked"),
    "POST, a coding": post(ASKED, "/", "Content-Encoding: gzip"),
    "POST, expects": post(ASKED, "/", "Expect: 100-continue"),
    "POST, another method": post(ASKED, "/", "X-HTTP-Method-Override: PUT"),
    "POST, another kind": post(kind="application/x-www-form-urlencoded"),
    "POST, a kind with more": post(kind="application/ocsp-request; charset=secret"),
    "POST, no kind": post().replace(b"Content-Type", b"Accept"),
    "POST, no length": post().replace(b"Content-Length", b"Accept"),
    "POST, to a list": post(target="/a.crl"),
    "POST, a question in the path as well": post(target=f"/{quote(base64.b64encode(ASKED).decode(), safe='')}"),
    "POST, a query": post(target="/?secret"),
    "POST, dots": post(target="/a/../b"),
    "POST, two slashes": post(target="/a//b"),
    "POST, a slash too many": post(target="//"),
    "POST, four words": post(target="/a/b/c/d"),
    "POST, absolute": post(target="http://evil.example.net/"),
    "POST, another request in the nonce": post(question(behind=nonce(b"\r\nGET / HTTP/1.1\r\nHost:a\r\n\r\n"))),
    "POST, an old request in the nonce": post(question(behind=nonce(b"\r\nget /secret\r\n"))),
    "POST, another method in the nonce": post(question(behind=nonce(b"\r\nBAN / hTTp/1.1\r\n\r\n"))),
}


@pytest.mark.parametrize("stream", BAD.values(), ids=BAD)
def test_what_is_more_than_a_question_in_http_is_refused(stream: bytes) -> None:
    """As any plaintext is."""
    assert all(row != stream for row, _ in IN_HTTP.values())
    with pytest.raises(Malformed) as caught:
        parse_fetch(stream)
    assert caught.value.code == "http_plaintext"


# Of BAD: what is wrong with them stands in the target or in the body.
AWAITED = {
    f"POST, {what}"
    for what in (
        *("something else", "a question and more", "octets beyond", "a shorter length", "a longer length"),
        *("to a list", "a question in the path as well", "a query", "dots", "two slashes", "a slash too many"),
        *("four words", "absolute"),
        *("another request in the nonce", "an old request in the nonce", "another method in the nonce"),
    )
}


def test_a_body_is_waited_for_that_may_be_a_question() -> None:
    """And for nothing else, nor any longer."""
    whole = post()
    head = len(whole) - len(ASKED)

    assert [at for at in range(len(whole) + 1) if awaits_body(whole[:at])] == list(range(head, len(whole)))
    assert not awaits_body(whole + b"x")
    for name, stream in BAD.items():
        end = stream.find(b"\r\n\r\n") + 4
        assert awaits_body(stream[:end]) == (name in AWAITED), name


# ---- hosts ----


@pytest.mark.parametrize(
    ("host", "path", "allow"),
    [
        ("ocsp.digicert.com", "/", True),
        ("ocsp.digicert.com", "/a/", False),
        ("o.pki.goog", "/s/we1/abc/", True),
        ("ocsp.globalsign.com", "/ca/gsatlasr3dvtlsca2023q3/", True),
        ("ocsp.globalsign.com", "/a/b/c/", False),
        ("oneocsp.microsoft.com", "/ocsp/", True),
        ("crl3.digicert.com", "/", False),
        ("www.microsoft.com", "/", False),
        ("digicert.com", "/", False),
        ("evil.ocsp.digicert.com", "/", False),
        ("pki.example.com", "/ocsp/", True),
        ("pki.example.com", "/", False),
        ("pki.example.com", "/ocsp/a/", False),
        ("ca.example.com", "/", True),
        ("ca.example.com", "/a/", False),
    ],
)
def test_a_question_goes_to_a_responder_alone(host: str, path: str, *, allow: bool) -> None:
    """Where it is known to be, or where the preferences say that it is."""
    book = AddressBook()
    book.learn(answer(Fqdn.parse(host), SERVER), NOW)
    endpoints = endpoints_of(("pki.example.com/ocsp", "ca.example.com"))

    decision = decide_fetch(endpoints, host, path, SERVER, book, NOW, is_ocsp=True)

    assert (decision.allow, decision.reason) == (
        (True, Reason.OCSP_LISTED) if allow else (False, Reason.HTTP_PLAINTEXT)
    )
    if allow:
        elsewhere = decide_fetch(endpoints, host, path, ELSEWHERE, book, NOW, is_ocsp=True)
        assert elsewhere.reason is Reason.ADDRESS_MISMATCH


@pytest.mark.parametrize(
    ("path", "allow"),
    [("/CertEnroll/Corp-CA+.crl", True), ("/a/a.crl", True), ("/a.crl", False), ("/CertEnrollment/a.crl", False)],
)
def test_lists_of_ones_own_are_below_their_paths(path: str, *, allow: bool) -> None:
    """Of one host there may be several; what the table has of others is not touched."""
    own = "pki.example.com"
    book = AddressBook()
    book.learn(answer(Fqdn.parse(own), SERVER), NOW)
    endpoints = endpoints_of((f"{own}/CertEnroll", f"{own}/a"))

    assert decide_fetch(endpoints, own, path, SERVER, book, NOW, is_ocsp=False).allow is allow
    assert "crl3.digicert.com" in endpoints
    assert "www.example.com" not in endpoints


# ---- flows ----


def play(**options: object) -> Play:
    known: dict[str, object] = {"port": 80, "preferences": FETCH, "answers": (answer(NAME, SERVER),)}
    return Play(**(known | options))  # type: ignore[arg-type]


LISTED = allowed("client", "ocsp_listed")
STATUS = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize("stream", [get(), post()], ids=["GET", "POST"])
def test_a_status_is_asked_for(stream: bytes) -> None:
    """Packet by packet; both sides are logged."""
    it = play()

    assert it.client(stream) == [LISTED, *verdict("pass", 1)]
    assert it.server(STATUS, received=len(stream)) == [allowed("server", "server_agreed"), *verdict("pass", 2)]
    assert it.client(b"x", len(stream))[0] == refused("client", "http_plaintext")
    assert (it.events[0]["dhost"], it.events[0]["rule"]) == (HOST, "x509_crls")


def test_a_body_may_come_later() -> None:
    """Nothing goes on before it is there."""
    stream = post()
    head = len(stream) - len(ASKED)
    it = play()

    assert it.client(stream[:head]) == []
    assert it.client(stream[head : head + 9], head) == []
    assert it.client(stream[head + 9 :], head + 9) == [LISTED, *verdict("pass", 1, 2, 3)]
    it = play()
    it.client(stream[:head])
    assert it.client(b"x" * len(ASKED), head)[0] == refused("client", "http_plaintext")


def test_a_body_that_does_not_come_is_not_waited_for_any_longer() -> None:
    """Than a hello is."""
    it = play()
    it.client(post()[: -len(ASKED)])

    told = it.wait(61)

    assert told[0] == refused("client", "http_plaintext")
    assert (it.events[0]["http_method"], it.events[0]["dhost"]) == ("POST", HOST)


def test_answers_about_hosts_of_ones_own_are_kept_as_long_as_they_are_preferred() -> None:
    """They are looked up on demand, as no rule lists them."""
    own = Preferences(x509_crls=Crls.ALLOW, x509_crl_hosts=("pki.example.com/CertEnroll",))
    stream = b"GET /CertEnroll/a.crl HTTP/1.1\r\nHost: pki.example.com\r\n\r\n"
    name = Fqdn.parse("pki.example.com")
    it = play(preferences=own)

    assert [type(command).__name__ for command in it.client(stream)] == ["Resolve"]
    assert it.answers(answer(name, SERVER)) == [allowed("client", "crl_listed"), *verdict("pass", 1)]
    it.engine.on_preferences(FETCH)
    assert it.server(STATUS, received=len(stream))[0] == refused("client", "http_plaintext")
    assert not it.engine._judge.known(name, it.now)
    assert play().client(stream)[0] == refused("client", "http_plaintext")
