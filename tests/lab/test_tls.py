"""TLS through the appliance: the name, the address, the protocol and the version must all agree."""

import contextlib
import re
import socket

import pytest

from tests import hellos
from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import allowed, converse, health, hello, last_inspected, launch, refused, tls
from tests.lab.tcp import Tap
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")

RESET = {35, 56}  # curl's exit status: in the handshake, or while it reads
LISTED = ("api", "tls12", "retry", "old", "old11", "alert", "mute", "junk", "big", "swap", "dribble", "target")


def name(of: str) -> str:
    return f"{of}.tls.test"


@pytest.fixture(scope="module")
def web(lab: Lab, appliance: object) -> Workload:
    """A client with the names of this module."""
    return launch(
        lab,
        "tls",
        tls(*map(name, LISTED)),
        tls(name("narrow"), port=8443, peer="198.18.0.0/15"),  # where no server of the lab is
        egress("tcp", 8443),
        egress("tcp", 80),
        egress("tcp", 9443, description="no annotation"),
    )


@pytest.fixture(scope="module")
def api(lab: Lab) -> Server:
    """The server that is listed and behaves."""
    return lab.internet.tls(name("api"))


@pytest.fixture(scope="module")
def target(lab: Lab) -> Server:
    """A listed server for clients that do not behave."""
    return lab.internet.lines(name("target"), reply=hellos.server_stream())


# ---- allowed ----


@pytest.mark.parametrize(
    ("host", "settings", "version"),
    [
        ("api", None, "TLS 1.3"),
        ("API", None, "TLS 1.3"),  # names have no case
        ("tls12", {"newest": "TLSv1_2"}, "TLS 1.2"),
        ("retry", {"curve": "secp384r1"}, "TLS 1.3"),  # after a HelloRetryRequest
    ],
    ids=["tls13", "upper case", "tls12", "hello retry request"],
)
def test_a_listed_name_at_its_own_address_is_allowed(
    lab: Lab, web: Workload, api: Server, *, host: str, settings: dict[str, str] | None, version: str
) -> None:
    """Client and server both speak TLS 1.2 or newer: the request arrives, and both sides are logged."""
    server = api if settings is None else lab.internet.tls(name(host), **settings)  # type: ignore[arg-type]

    answer = web.curl(f"https://{name(host)}/{host}")

    assert answer.ok, answer
    assert f"GET /{host}".encode() in server.connections[-1].plain
    client, reply = allowed(lab, server)
    assert (client["proto"], client["code"], reply["proto_v"]) == ("tls", "name_listed", version)
    assert (client.get("pqc"), reply["pqc"]) == (None, False)  # as these servers offer no such group
    assert client["src"] == web.address
    assert client["gid"].startswith("sg-")
    assert "443" in client["rule"]


def test_a_hello_of_many_segments_is_allowed(lab: Lab, web: Workload) -> None:
    """Hellos with post-quantum key shares need two segments; six thousand octets pass as well, whole and in order."""
    sent = hello(name("big"), extra=hellos.extension(0xABCD, bytes(range(256)) * 23))
    server = lab.internet.lines(name("big"), reply=hellos.server_stream(), after=len(sent))

    assert converse(web, server.address, sent).octets == hellos.server_stream()
    assert server.received() == sent
    allowed(lab, server)


def test_a_client_that_dribbles_is_allowed(lab: Lab, web: Workload) -> None:
    """A real TCP that sends its hello octet by octet gets through, and so do its octets."""
    sent = hello(name("dribble"))
    server = lab.internet.lines(name("dribble"), reply=hellos.server_stream(), after=len(sent))

    with web.connect(server.address, 443) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in sent:
            stream.sendall(bytes([octet]))
        assert wait_until(lambda: server.received() == sent)
        assert stream.recv(8)
    allowed(lab, server)


def test_a_flow_leaves_the_queue_once_it_is_allowed(lab: Lab, web: Workload, api: Server) -> None:
    """Hello and reply are inspected; megabytes that follow, and the very next segment, are the kernel's alone."""
    assert web.curl(f"https://{name('api')}/").ok
    before = last_inspected(lab)

    assert len(web.curl(f"https://{name('api')}/octets/20000000").out) == 20_000_000

    assert last_inspected(lab) - before <= 8  # of about fourteen thousand segments
    known = lab.appliance.namespace.run("conntrack", "-L", "-s", web.address).stdout
    assert any(int(mark) >> 28 == 0xA for mark in re.findall(r"mark=(\d+)", known))  # the rest says by which entry


# ---- refused: who is asked for, and where ----


def test_a_name_that_is_not_listed_is_refused(lab: Lab, web: Workload) -> None:
    """The client gets a reset at once, the server not one octet."""
    server = lab.internet.tls("evil.example.net")

    assert web.curl("https://evil.example.net/").code in RESET
    event = refused(lab, server, "name_not_listed", dhost="evil.example.net", proto="tls", proto_v="TLS 1.3")
    assert (event["src"], event["dpt"], event["instance"]) == (web.address, 443, lab.appliance.instance)
    assert wait_until(lambda: not server.connections[0].open)
    assert server.connections[0].reset


def test_a_listed_name_sent_to_another_address_is_refused(lab: Lab, web: Workload, api: Server) -> None:
    """SNI spoofing: the address must be one that our own look-ups of that name returned."""
    attacker = lab.internet.tls("attacker.example.net")
    url, spoof = f"https://{name('api')}/", ("--connect-to", f"{name('api')}:443:{attacker.address}:443", "-k")

    assert web.curl(url, *spoof).code in RESET
    event = refused(lab, attacker, "address_mismatch", dhost=name("api"))
    assert api.address in event["reason"]


def test_a_rule_holds_for_its_network_only(lab: Lab, web: Workload) -> None:
    """The rule's destination CIDR is part of the policy even where another rule lets the packet leave."""
    server = lab.internet.lines(name("narrow"), port=8443)

    assert converse(web, server.address, hello(name("narrow")), port=8443).reset
    refused(lab, server, "destination_not_in_rule", dhost=name("narrow"))


def test_a_port_without_annotation_is_refused(lab: Lab, web: Workload) -> None:
    """An ordinary rule opens nothing: the SYN itself is refused."""
    server = lab.internet.tls("unannotated.example.net", port=9443)

    with pytest.raises(ConnectionRefusedError):
        web.connect(server.address, 9443)
    refused(lab, server, "port_not_listed", dpt=9443)
    assert server.connections == []


def test_a_client_without_annotation_is_refused(lab: Lab) -> None:
    """A workload whose groups have no annotation reaches nothing."""
    server = lab.internet.tls("none.example.net")
    client = launch(lab, "plain", egress("tcp", 443))

    with pytest.raises(ConnectionRefusedError):
        client.connect(server.address, 443)
    refused(lab, server, "client_not_annotated", src=client.address)
    assert server.connections == []


# ---- refused: what is said ----


def test_a_client_that_offers_only_tls_1_1_is_refused(lab: Lab, web: Workload, target: Server) -> None:
    """A real client with an old configuration."""
    done = web.curl(f"https://{name('target')}/", "--tls-max", "1.1", "--tlsv1.1", "--ciphers", "DEFAULT@SECLEVEL=0")

    assert done.code in RESET
    refused(lab, target, "tls_too_old", dhost=name("target"), proto_v="TLS 1.1")


def test_a_client_that_never_finishes_its_hello_is_refused(lab: Lab, web: Workload, target: Server) -> None:
    """Half a hello, then silence: refused after the wait, and none of the half arrives."""
    heard = converse(web, target.address, hello(name("target"))[:100])

    assert (heard.octets, heard.reset) == (b"", True)
    refused(lab, target, "hello_timeout", spt=heard.port)


def test_the_user_agent_of_plain_http_is_logged(lab: Lab, web: Workload, target: Server) -> None:
    """Refused plaintext names its host, its method and its program."""
    done = web.curl(f"http://{name('target')}:443/path", "-A", "lab/1")

    assert done.code in RESET
    event = refused(lab, target, "http_plaintext", proto="http", http_path="/path")
    assert event["dhost"] == name("target")
    assert (event["http_method"], event["http_path"], event["http_user_agent"]) == ("GET", "/path", "lab/1")


# ---- refused: what the server says ----


@pytest.mark.parametrize(("host", "version", "shown"), [("old", "TLSv1", "TLS 1.0"), ("old11", "TLSv1_1", "TLS 1.1")])
def test_a_server_that_chooses_an_old_version_is_refused(
    lab: Lab, web: Workload, host: str, version: str, shown: str
) -> None:
    """The client offers newer ones too; the server's answer decides, and the client never gets it."""
    server = lab.internet.tls(name(host), oldest=version, newest=version)

    done = web.curl(f"https://{name(host)}/", "--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0")

    assert done.code in RESET
    refused(lab, server, "server_tls_too_old", cat="server", saw=None, dhost=name(host), proto_v=shown)
    assert server.connections[-1].version == ""


def test_an_alert_reaches_the_client(lab: Lab, web: Workload) -> None:
    """A server that refuses the name may say so."""
    server = lab.internet.tls(name("alert"), refuse=True)

    assert "unrecognized name" in web.curl(f"https://{name('alert')}/").err
    refused(lab, server, "server_refused", cat="server", saw=None, dhost=name("alert"))


def test_a_server_that_does_not_answer_is_given_up(lab: Lab, web: Workload) -> None:
    """After the wait both ends are reset."""
    server = lab.internet.lines(name("mute"))
    sent = hello(name("mute"))

    assert converse(web, server.address, sent)[:2] == (b"", True)
    refused(lab, server, "server_timeout", cat="server", saw=sent)
    assert wait_until(lambda: server.connections[0].reset)


def test_a_server_that_speaks_first_is_refused(lab: Lab, web: Workload) -> None:
    """Nothing of it reaches the client."""
    server = lab.internet.lines("", greeting=b"220 mail.example.com ESMTP\r\n")

    with pytest.raises(ConnectionResetError), web.connect(server.address, 443) as stream:
        stream.recv(100)
    refused(lab, server, "server_first", cat="server")


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 200 OK\r\n\r\n", b"SSH-2.0-x\r\n", bytes(100)], ids=["http", "ssh", "zeroes"]
)
def test_a_server_that_is_not_tls_is_refused(lab: Lab, web: Workload, reply: bytes) -> None:
    """The hello was good; what comes back is not, and the client does not see it."""
    server = lab.internet.lines("", reply=reply)
    lab.names[name("junk")] = [server.address]
    sent = hello(name("junk"))

    assert converse(web, server.address, sent)[:2] == (b"", True)
    refused(lab, server, "server_not_tls", cat="server", saw=sent)


@pytest.mark.parametrize(
    ("second", "code"),
    [(name("swap"), ""), ("evil.example.net", "hello_name_changed"), (None, "no_sni")],
    ids=["same name", "other name", "no name"],
)
def test_the_second_hello_must_name_the_same_server(lab: Lab, web: Workload, second: str | None, code: str) -> None:
    """After a HelloRetryRequest a client may not ask for somebody else (T4)."""
    request = hellos.server_stream(hellos.hello_retry_request())
    server = lab.internet.lines("", reply=request)
    server.name = name("swap")
    lab.names[name("swap")] = [server.address]
    first, again = hello(name("swap")), hello(second, groups=((hellos.P384, 97),))
    middlebox = hellos.CHANGE_CIPHER_SPEC_RECORD

    with web.connect(server.address, 443) as stream:
        stream.sendall(first)
        assert stream.recv(65536) == request
        stream.sendall(middlebox + again)
        if code:
            with pytest.raises(ConnectionResetError):
                stream.recv(65536)
            refused(lab, server, code, saw=first)
        else:
            assert wait_until(lambda: server.received() == first + middlebox + again)
            allowed_hello = lab.appliance.wait_for_event(dst=server.address, cat="client", dhost=name("swap"))
            assert allowed_hello["outcome"] == "allowed"


# ---- what the packets look like ----


def test_clients_are_told_of_a_segment_size_that_can_be_inspected(lab: Lab, web: Workload, api: Server) -> None:
    """The MSS of both directions is 1460 at most, and servers see packets of a full life."""
    with Tap(lab.internet.namespace) as tap:
        assert web.curl(f"https://{name('api')}/").ok
        segments = list(tap.segments(api.address, 443))

    assert bytes((2, 4)) + (1460).to_bytes(2) in segments[0].options
    assert {segment.ttl for segment in segments[:3]} == {63}  # less one for the fabric; a decoy must not die on the way


def test_other_clients_do_not_notice(lab: Lab, web: Workload, api: Server) -> None:
    """A connection that waits for its hello to end delays nobody."""
    silent = [web.connect(api.address, 443) for _ in range(5)]
    try:
        for stream in silent:
            stream.sendall(b"\x16\x03\x01")
        assert web.curl(f"https://{name('api')}/").ok
        assert wait_until(lambda: health(lab, "flows_under_inspection") >= 5)
    finally:
        for stream in silent:
            with contextlib.suppress(OSError):
                stream.close()
