"""Requests for revocation lists: which are read, which hosts are known, and what becomes of a flow that makes one."""

import dataclasses

import pytest

from appliance.errors import Malformed
from appliance.limits import Limits
from appliance.policy.addresses import AddressBook
from appliance.policy.crls import CRL_HOSTS, OCSP_HOSTS, PUBLIC_ENDPOINTS, ROOT_LISTS, decide_fetch
from appliance.policy.decision import Decision
from appliance.policy.fqdn import Fqdn
from appliance.policy.kind import URLS_MAX
from appliance.policy.preferences import DEFAULTS, Crls, Gating, Preferences
from appliance.reason import Reason
from appliance.wire.fetch import PATH_MAX, REQUEST_MAX, Fetch, parse_fetch
from appliance.wire.ocsp_request import WORDS_MAX
from tests.playbook import (
    CLIENT,
    ELSEWHERE,
    HELLO,
    NOW,
    SEEING,
    SERVER,
    STRANGER,
    Play,
    allowed,
    answer,
    make_policy,
    refused,
    resets,
    verdict,
)

HOST = "crl3.digicert.com"
NAME = Fqdn.parse(HOST)
FETCH = Preferences(x509_crls=Crls.ALLOW)
STATUS = b"HTTP/1.1 200 OK\r\n\r\n"


def request(target: str = "/DigiCertGlobalRootG2.crl", *fields: str, version: str = "HTTP/1.1") -> bytes:
    lines = (f"GET {target} {version}", *(fields or (f"Host: {HOST}", "User-Agent: curl/8", "Accept: */*")), "", "")
    return "\r\n".join(lines).encode("latin-1")


GOOD = [
    # request                                                                               path
    (request(), "/DigiCertGlobalRootG2.crl"),
    (request(version="HTTP/1.0"), "/DigiCertGlobalRootG2.crl"),
    (request("/pki/crl/a-b_c~d(1)%20e.2.crl"), "/pki/crl/a-b_c~d(1)%20e.2.crl"),
    (request("/" + "a" * (PATH_MAX - 5) + ".crl"), "/" + "a" * (PATH_MAX - 5) + ".crl"),
    (request("/a.crl", f"HOST:{HOST.upper()}"), "/a.crl"),
    (request("/a.crl", "Connection: Keep-Alive", f"host:  {HOST} "), "/a.crl"),
    (request("/a.crl", "User-Agent: okhttp/4.12", f"Host: {HOST}", "Connection: close"), "/a.crl"),
    # Windows
    (
        request(
            "/a.crl",
            "Cache-Control: max-age = 3600",
            "Connection: Keep-Alive",
            "Accept: */*",
            "If-Modified-Since: Mon, 02 Nov 2026 00:00:00 GMT",
            'If-None-Match: "5f-61"',
            "User-Agent: Microsoft-CryptoAPI/10.0",
            f"Host: {HOST}",
        ),
        "/a.crl",
    ),
]


@pytest.mark.parametrize(("stream", "path"), GOOD)
def test_a_request_that_real_clients_send_is_read(stream: bytes, path: str) -> None:
    """Host in lower case, path as it is."""
    assert parse_fetch(stream) == Fetch(HOST, path)


BAD = {
    # in the request line
    "POST": request().replace(b"GET", b"POST"),
    "HEAD": request().replace(b"GET", b"HEAD"),
    "lower case": request().replace(b"GET", b"get"),
    "CONNECT": b"CONNECT evil.example.net:443 HTTP/1.1\r\nHost: crl3.digicert.com\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /a.crl\r\n",
    "HTTP/0.9 with a field": b"GET /a.crl\r\nHost: crl3.digicert.com\r\n\r\n",
    "HTTP/2.0": request(version="HTTP/2.0"),
    "http/1.1": request(version="http/1.1"),
    "two spaces": request(" /a.crl"),
    "tab": request("/a.crl\t"),
    "absolute form": request("http://evil.example.net/a.crl"),
    "absolute form of the same": request(f"http://{HOST}/a.crl"),
    "two slashes": request("//evil.example.net/a.crl"),
    "userinfo": request(f"http://me@{HOST}/a.crl"),
    "at": request("@evil.example.net/a.crl"),
    "query": request("/a.crl?secret"),
    "query that ends well": request("/a?b=c.crl"),
    "fragment": request("/a#.crl"),
    "parameter": request("/a;b.crl"),
    "colon": request("/a:b.crl"),
    "dots": request("/../a.crl"),
    "hidden": request("/.a.crl"),
    "dot": request("/./a.crl"),
    "dots, encoded": request("/%2e%2e/a.crl"),
    "NUL, encoded": request("/a%00.crl"),
    "line end, encoded": request("/a%0d%0a.crl"),
    "backslash": request("/a\\b.crl"),
    "other suffix": request("/a.exe"),
    "no suffix": request("/a"),
    "suffix in the midst": request("/a.crl/b"),
    "upper suffix": request("/a.CRL"),
    "nothing before the suffix": request("/.crl"),
    "long": request("/" + "a" * (PATH_MAX - 4) + ".crl"),
    "high octet": request("/\xe9.crl"),
    "asterisk": request("*"),
    # in the fields
    "no Host": request("/a.crl", "Accept: */*"),
    "two Hosts": request("/a.crl", f"Host: {HOST}", f"Host: {HOST}"),
    "two Hosts, another": request("/a.crl", f"Host: {HOST}", "HOST: evil.example.net"),
    "space before the colon": request("/a.crl", f"Host: {HOST}", "Host : evil.example.net"),
    "space before the name": request("/a.crl", f"Host: {HOST}", " Host: evil.example.net"),
    "folded": request("/a.crl", f"Host: {HOST}", "User-Agent: a", "\tevil"),
    "tab in a value": request("/a.crl", f"Host:\t{HOST}"),
    "bare LF": request("/a.crl", f"Host: {HOST}\nHost: evil.example.net"),
    "bare CR": request("/a.crl", f"Host: {HOST}\rHost: evil.example.net"),
    "LF alone": request().replace(b"\r\n", b"\n"),
    "NUL": request("/a.crl", f"Host: {HOST}", "User-Agent: a\0b"),
    "high octet in a value": request("/a.crl", f"Host: {HOST}", "User-Agent: \xfc"),
    "no colon": request("/a.crl", f"Host: {HOST}", "Host"),
    "length": request("/a.crl", f"Host: {HOST}", "Content-Length: 5"),
    "length of nothing": request("/a.crl", f"Host: {HOST}", "Content-Length: 0"),
    "chunked": request("/a.crl", f"Host: {HOST}", "Transfer-Encoding: chunked"),
    "upgrade": request("/a.crl", f"Host: {HOST}", "Connection: Upgrade", "Upgrade: h2c"),
    "upgrade alone": request("/a.crl", f"Host: {HOST}", "Connection: upgrade"),
    "h2c settings": request("/a.crl", f"Host: {HOST}", "HTTP2-Settings: AAMAAABkAAQAAP"),
    "forwarded host": request("/a.crl", f"Host: {HOST}", "X-Forwarded-Host: evil.example.net"),
    "rewritten target": request("/a.crl", f"Host: {HOST}", "X-Original-URL: /evil"),
    "cookie": request("/a.crl", f"Host: {HOST}", "Cookie: secret"),
    "expect": request("/a.crl", f"Host: {HOST}", "Expect: 100-continue"),
    "another request in a value": request(
        "/a.crl", f"Host: {HOST}", "User-Agent: GET http://evil.example.net/ HTTP/1.1"
    ),
    # beyond it
    "body": request() + b"secret",
    "another": request() + request(),
    "blank line before": b"\r\n" + request(),
    "cut": request()[:-2],
    "long head": request("/a.crl", f"Host: {HOST}", "User-Agent: " + "a" * REQUEST_MAX),
    "nothing": b"",
}


@pytest.mark.parametrize("stream", BAD.values(), ids=BAD)
def test_what_somebody_could_read_otherwise_is_none(stream: bytes) -> None:
    """Each is refused as any plaintext is."""
    with pytest.raises(Malformed) as caught:
        parse_fetch(stream)
    assert caught.value.code == "http_plaintext"


def decide(host: str, path: str, book: AddressBook, *, is_ocsp: bool = False) -> Decision:
    return decide_fetch(PUBLIC_ENDPOINTS, host, path, SERVER, book, NOW, is_ocsp=is_ocsp)


@pytest.mark.parametrize(
    "host", ["crl3.digicert.com:80", "me@crl3.digicert.com", "crl3.digicert.com.", "", "[::1]", "a b"]
)
def test_a_host_is_a_name_as_it_stands_in_the_table(host: str) -> None:
    """No port, no user, no root dot."""
    asked = parse_fetch(request("/a.crl", f"Host: {host}"))
    assert decide(asked.host, asked.path, AddressBook()).reason is Reason.HTTP_PLAINTEXT


def test_hosts_are_names_in_lower_case_and_few() -> None:
    """A SYN that is held back asks for all of them at once; paths end in a slash, so that they end where they say."""
    assert len(PUBLIC_ENDPOINTS.rules.tls) == len(CRL_HOSTS | OCSP_HOSTS)
    assert len(PUBLIC_ENDPOINTS.rules.tls) + URLS_MAX <= Limits().names_per_look_up
    for host in CRL_HOSTS | OCSP_HOSTS:
        assert str(Fqdn.parse(host)) == host
    assert all(0 <= words <= WORDS_MAX for words in OCSP_HOSTS.values())
    for prefix in CRL_HOSTS.values():
        assert prefix.startswith("/")
        assert prefix.endswith("/")


def test_a_host_with_other_content_serves_crls_alone() -> None:
    """Below one folder."""
    book = AddressBook()
    book.learn(answer(Fqdn.parse("www.microsoft.com"), SERVER), NOW)
    good = decide("www.microsoft.com", "/pkiops/crl/Microsoft%20TLS.crl", book)
    assert (good.allow, good.reason, good.rule) == (True, Reason.CRL_LISTED, "x509_crls")
    assert not decide("www.microsoft.com", "/a.crl", book).allow
    assert not decide("microsoft.com", "/pkiops/crl/a.crl", book).allow


def test_lists_of_some_roots_are_at_the_root_of_their_hosts() -> None:
    """And nothing else is there, at no other host."""
    assert parse_fetch(request("/", "Host: x1.c.lencr.org")) == Fetch("x1.c.lencr.org", "/")
    assert set(CRL_HOSTS) > ROOT_LISTS
    book = AddressBook()
    for host in ("x1.c.lencr.org", HOST):
        book.learn(answer(Fqdn.parse(host), SERVER), NOW)
    assert decide("x1.c.lencr.org", "/", book).reason is Reason.CRL_LISTED
    assert decide("x1.c.lencr.org", "/", book).allow
    other = decide(HOST, "/", book)
    assert (other.allow, other.reason) == (False, Reason.HTTP_PLAINTEXT)


# ---- flows ----


def play(**options: object) -> Play:
    known: dict[str, object] = {"port": 80, "preferences": FETCH, "answers": (answer(NAME, SERVER),)}
    return Play(**(known | options))  # type: ignore[arg-type]


ASKED = request()
LISTED = allowed("client", "crl_listed")
AGREED = allowed("server", "server_agreed")


def test_a_list_is_fetched() -> None:
    """Every packet is looked at, and none tells the kernel to open the flow; both sides are logged."""
    it = play()
    assert it.client(ASKED) == [LISTED, *verdict("pass", 1)]
    assert it.client(ASKED) == verdict("pass", 2)
    assert it.server(STATUS, received=len(ASKED)) == [AGREED, *verdict("pass", 3)]
    assert it.server(bytes(9000), len(STATUS)) == verdict("pass", 4)
    assert it.client(ASKED[10:], 10) == verdict("pass", 5)
    first, second = it.events
    assert (first["proto"], first["dhost"], first["gid"], first["rule"]) == ("http", HOST, "%default", "x509_crls")
    assert (first["http_method"], first["http_path"]) == ("GET", "/DigiCertGlobalRootG2.crl")
    assert (second["http_code"], second["dhost"], second["rule"]) == (200, HOST, "x509_crls")


def test_nothing_of_it_passes_by_default() -> None:
    """Nor on another port."""
    assert play(preferences=DEFAULTS).client(ASKED)[0] == refused("client", "port_not_listed")
    assert play(port=443).client(ASKED)[0] == refused("client", "http_plaintext")
    assert play(port=8080).client(ASKED)[0] == refused("client", "port_not_listed")


def test_no_other_protocol_gets_out_that_way() -> None:
    """TLS on port 80 is what it was."""
    assert play().client(HELLO)[0] == refused("client", "port_not_listed")
    assert play().server(b"220 hello\r\n", received=0)[0] == refused("server", "port_not_listed")


def test_clients_without_annotations_fetch_and_strangers_do_not() -> None:
    """The preference is the deployment's; who no interface has is asked for, and refused."""
    policy = make_policy(names="other.example.com", port=9999)
    assert play(policy=policy).client(ASKED)[0] == LISTED
    stranger = play(client=STRANGER)
    stranger.client(ASKED)
    assert stranger.aws_answered(STRANGER)[0] == refused("client", "client_unknown")


def test_a_list_is_fetched_from_an_address_of_its_host_alone() -> None:
    """A fresh look-up may bring another; what it does not bring is refused."""
    it = play(server=ELSEWHERE)
    assert [type(command).__name__ for command in it.client(ASKED)] == ["Resolve"]
    assert it.answers(answer(NAME, SERVER))[0] == refused("client", "address_mismatch")
    it = play(answers=())
    it.client(ASKED)
    assert it.answers(answer(NAME, SERVER)) == [LISTED, *verdict("pass", 1)]
    it = play(answers=())
    it.client(ASKED)
    assert it.client(b"GET /x", len(ASKED)) == []
    assert it.answers(answer(NAME, SERVER))[0] == refused("client", "http_plaintext")


@pytest.mark.parametrize(
    ("payload", "at", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: evil.example.net\r\n\r\n", len(ASKED), "http_plaintext"),
        (ASKED, len(ASKED), "http_plaintext"),
        (b"x", len(ASKED) + 100, "http_plaintext"),
        (ASKED[10:] + b"x", 10, "http_plaintext"),
        (ASKED.replace(b"Root", b"Loot"), 0, "tcp_conflict"),
        (b"x" + ASKED[:10], -1, "tcp_conflict"),
    ],
)
@pytest.mark.parametrize("replied", [False, True])
def test_whatever_else_a_client_says_ends_the_flow(payload: bytes, at: int, code: str, replied: bool) -> None:
    """Another request could ask for any site that the server has."""
    it = play()
    it.client(ASKED)
    if replied:
        it.server(STATUS, received=len(ASKED))
    sent = it.client(payload, at, received=len(STATUS) if replied else 0)
    server_sent = len(STATUS) if replied else 0
    assert sent == [
        refused("client", code),
        *resets(len(ASKED), server_sent=server_sent, port=80),
        *verdict("drop", it.packets),
    ]
    assert it.client(ASKED) == verdict("drop", it.packets)


@pytest.mark.parametrize("streams", [(ASKED + b"x",), (ASKED[:-2], ASKED[-2:] + b"x"), (b"x" * 9 + b"\r\n\r\n",)])
def test_octets_that_come_with_the_request_are_refused(streams: tuple[bytes, ...]) -> None:
    """Not one goes on."""
    it = play()
    at = 0
    for stream in streams:
        told = it.client(stream, at)
        at += len(stream)
    assert told[0].outcome == "disallowed"  # type: ignore[union-attr]
    assert not any("pass" in str(command) for command in told)


def test_octets_beyond_a_gap_are_refused() -> None:
    """They would be read once the gap is filled."""
    it = play()
    assert it.client(b"GET / HTTP/1.1", len(ASKED) + 5) == []
    assert it.client(ASKED)[0] == refused("client", "http_plaintext")


def test_a_reply_is_http_and_no_longer_than_a_list() -> None:
    """The rest is refused."""
    it = play()
    it.client(ASKED)
    assert it.server(b"SSH-2.0-OpenSSH\r\n", received=len(ASKED)) == [
        refused("server", "server_not_http"),
        *resets(len(ASKED), port=80),
        *verdict("drop", 2),
    ]
    it = play(limits=Limits(crl_octets=1000))
    it.client(ASKED)
    it.server(STATUS, received=len(ASKED))
    assert it.server(bytes(1000 - len(STATUS)), len(STATUS)) == verdict("pass", 3)
    assert it.server(b"x", 1000) == [
        refused("server", "crl_too_long"),
        *resets(len(ASKED), server_sent=1000, port=80),
        *verdict("drop", 4),
    ]


def test_a_fetch_that_is_silent_is_ended_at_both_ends() -> None:
    """Its next packet must not count as the first of a flow; the resets have the numbers that both ends want."""
    it = play()
    it.client(ASKED)
    it.server(STATUS, received=len(ASKED))
    it.server(bytes(500), len(STATUS))
    assert it.wait(61) == resets(len(ASKED), server_sent=len(STATUS) + 500, port=80)
    it = play()
    it.client(ASKED)
    assert it.wait(61) == [refused("server", "server_timeout"), *resets(len(ASKED), port=80)]


def test_a_new_connection_on_the_ports_of_a_fetch_is_one_of_its_own() -> None:
    """The old one is not complained of, unless its server never answered."""
    for replied in (True, False):
        it = play()
        it.client(ASKED)
        if replied:
            it.server(STATUS, received=len(ASKED))
        it.isn += 1000
        told = it.client(ASKED)
        assert told == [
            *([] if replied else [refused("server", "server_timeout")]),
            LISTED,
            *verdict("pass", it.packets),
        ]


def test_what_is_preferred_holds_for_fetches_that_run() -> None:
    """So does what AWS says of their clients."""
    it = play()
    it.client(ASKED)
    it.engine.on_preferences(DEFAULTS)
    assert it.server(STATUS, received=len(ASKED))[0] == refused("client", "port_not_listed")
    it = play()
    it.client(ASKED)
    it.policy(make_policy(names="www.example.org"))
    assert it.server(STATUS, received=len(ASKED))[0] == AGREED
    it.policy(make_policy((), names="www.example.net"))
    assert it.server(bytes(10), len(STATUS))[0] == refused("client", "client_unknown")


def test_under_see_thru_a_second_request_passes() -> None:
    """As anything does, with its line in the log."""
    it = play(client=SEEING)
    assert it.client(ASKED)[0] == LISTED
    assert it.client(ASKED, len(ASKED)) == [refused("client", "http_plaintext"), *verdict("allow", 2)]


def test_syns_go_to_addresses_of_hosts_where_syns_are_looked_at() -> None:
    """A host that is not known yet is looked up."""
    gated = dataclasses.replace(FETCH, syn_gate=Gating.ON)
    assert play().syn() == verdict("pass", 1)
    assert play(preferences=gated).syn() == verdict("pass", 1)
    it = play(preferences=gated, server=ELSEWHERE)
    assert len(it.syn()) == len(CRL_HOSTS | OCSP_HOSTS)
    assert play(preferences=DEFAULTS).syn()[0] == verdict("deny", 1)[0]
    assert play(preferences=FETCH, port=81).syn()[0] == verdict("deny", 1)[0]
    assert CLIENT != SEEING
