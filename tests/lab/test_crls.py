"""Revocation lists and OCSP: real clients get both if the preferences say so, and nothing else gets out that way."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp

from appliance.wire.http import looks_like_http
from tests.lab.appliance import Appliance
from tests.lab.lab import Lab, wait_until
from tests.lab.preferring import prefer, preferred, running, wait_told, write
from tests.lab.programs import TRUST, Programs, tree
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import allowed, converse, launch, nothing_arrives, refused, tls
from tests.lab.tcp import Peer
from tests.lab.workload import Workload
from tests.test_crls import BAD, request
from tests.test_ocsp import ASKED, post
from tests.test_ocsp import BAD as NO_QUESTIONS
from tests.test_ocsp import HOST as RESPONDER

HOST, FILES = "crl3.digicert.com", "crl.sectigo.com"  # our own servers in their places
STATUS = "ocsp.sectigo.com"  # where a real responder is; at RESPONDER is a web server
OWN = "pki.corp.test"
JAVA = Path(__file__).parent / "Status.java"
EVIL = b"GET / HTTP/1.1\r\nHost: evil.example.net\r\n\r\n"
LONG = 10_000_000  # octets; the longest lists of public CAs
COULD_NOT_CONNECT = 7  # of curl
RESET = {35, 52, 56}  # of curl: the connection was reset, or ended without a word


@pytest.fixture(scope="module", autouse=True)
def appliance(lab: Lab) -> Iterator[Appliance]:
    """The appliance, which lets revocation lists be fetched."""
    with running(lab) as started, preferred(lab, x509_crls="allow"):
        yield started


@pytest.fixture(scope="module")
def windows(lab: Lab, appliance: object) -> Workload:
    """A client whose Security Group lets port 80 out, and has no annotation for it."""
    return launch(lab, "windows", tls("listed.crl.test"), egress("tcp", 80))


@pytest.fixture(scope="module")
def host(lab: Lab) -> Server:
    """A server that says what it was asked."""
    return lab.internet.http(HOST)


@pytest.fixture
def fresh(host: Server) -> Server:
    """The same, with nothing on record."""
    host.forget()
    return host


@pytest.fixture(scope="module")
def status(lab: Lab) -> Server:
    """The same, where a responder is known to be."""
    return lab.internet.http(RESPONDER)


@pytest.fixture
def responder(status: Server) -> Server:
    """The same, with nothing on record."""
    status.forget()
    return status


@pytest.fixture(scope="module")
def revoked(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Certificates, one good and one revoked; a web server has the list, in the name of a public CA."""
    url = f"http://{FILES}/lab.crl"
    good, bad = (lab.internet.authority.issue(f"{each}.crl.test", crl=url) for each in ("good", "bad"))
    folder = tmp_path_factory.mktemp("crls")
    (folder / "lab.crl").write_bytes(lab.internet.authority.revoke(bad))
    (folder / "long.crl").write_bytes(bytes(LONG))
    address, here = lab.internet.address(FILES), lab.internet.namespace
    lab.names[FILES] = [address]
    command = ("python3", "-m", "http.server", "--bind", address, "--directory", str(folder), "80")
    with here.popen(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        assert wait_until(lambda: f"{address}:80" in here.run("ss", "-Hltn").stdout)
        yield good, bad
        server.kill()


def test_a_list_is_fetched(lab: Lab, windows: Workload, fresh: Server) -> None:
    """By curl, which is told what it asked for; both sides are logged."""
    done = windows.curl(f"http://{HOST}/DigiCertGlobalRootG2.crl")

    assert done.json["path"] == "/DigiCertGlobalRootG2.crl"
    first, reply = allowed(lab, fresh)
    assert (first["code"], first["proto"], first["rule"]) == ("crl_listed", "http", "x509_crls")
    assert (first["http_path"], reply["http_code"]) == ("/DigiCertGlobalRootG2.crl", 200)


def test_openssl_verifies_by_a_list_that_it_fetches(lab: Lab, windows: Workload, revoked: tuple[Path, Path]) -> None:
    """It tells the good certificate from the revoked one."""
    check = ("openssl", "verify", "-CAfile", str(lab.internet.authority.bundle), "-crl_check", "-crl_download")
    good, bad = (windows.run(*check, str(path)) for path in revoked)

    assert good.ok, good
    assert "certificate revoked" in bad.err + bad.out, bad


@pytest.mark.usefixtures("revoked")
def test_a_long_list_is_fetched_whole(windows: Workload) -> None:
    """Packet by packet, ten megabytes of them."""
    done = windows.curl(f"http://{FILES}/long.crl", "-o", "/dev/null", "-w", "%{size_download} %{time_total}")

    size, seconds = done.out.split()
    assert int(size) == LONG
    assert float(seconds) < 10, seconds


class Known(NamedTuple):
    """Certificates that a responder knows, in files."""

    good: Path
    bad: Path
    relay: Server


@pytest.fixture(scope="module")
def known(lab: Lab) -> Iterator[Known]:
    """A real responder of the lab's authority, in the name of a public CA's."""
    authority, here, port = lab.internet.authority, lab.internet.namespace, 2560
    good, bad = (authority.issue(f"{each}.ocsp.test", ocsp=f"http://{STATUS}") for each in ("good", "bad"))
    command = ("openssl", "ocsp", "-port", str(port), "-index", str(authority.write_index(good, revoked=(bad,))))
    command += ("-CA", str(authority.bundle), "-rsigner", str(authority.bundle), "-rkey", str(authority.key))
    with here.popen(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as responder:
        assert wait_until(lambda: f":{port}" in here.run("ss", "-Hltn").stdout)
        real = Server("", lab.internet.address(), port)
        yield Known(good, bad, lab.internet.relay(real, name=STATUS, port=80))
        responder.kill()


def ask(lab: Lab, windows: Workload, path: Path, option: str) -> str:
    """Return what openssl learns of a certificate's status; its question is posted."""
    bundle = str(lab.internet.authority.bundle)
    command = ("openssl", "ocsp", option, "-CAfile", bundle, "-issuer", bundle, "-cert", str(path))
    done = windows.run(*command, "-url", f"http://{STATUS}/")
    return done.out + done.err


@pytest.mark.parametrize("option", ["-nonce", "-no_nonce", "-sha256"])
def test_openssl_asks_for_a_status(lab: Lab, windows: Workload, known: Known, option: str) -> None:
    """By POST, and tells the good certificate from the revoked one."""
    assert "good.ocsp.test.pem: good" in ask(lab, windows, known.good, option)
    assert "bad.ocsp.test.pem: revoked" in ask(lab, windows, known.bad, option)

    first, reply = allowed(lab, known.relay)
    assert (first["code"], first["http_method"], first["rule"]) == ("ocsp_listed", "POST", "x509_crls")
    assert reply["http_code"] == 200


def test_java_asks_for_a_status(lab: Lab, windows: Workload, known: Known) -> None:
    """Its own checker does, which takes no list in its place."""
    made = tree()
    if made is None:
        pytest.skip("there is no tree of clients: make test-clients, as root")
    programs = Programs(made, lab, "checkers")
    shutil.copy(JAVA, programs.folder)
    for path, word in ((known.good, "good"), (known.bad, "REVOKED")):
        certificate = programs.folder / path.name
        certificate.write_bytes(path.read_bytes()[path.read_bytes().index(b"-----BEGIN CERTIFICATE") :])
        done = programs.run(windows, "java", JAVA.name, TRUST, certificate.name)
        assert done.out.strip() == word, done
    agents = {event["http_user_agent"] for event in lab.appliance.flow_events() if event["code"] == "ocsp_listed"}
    assert any(agent.startswith("Java/") for agent in agents)


def test_a_status_is_asked_for_by_get(lab: Lab, windows: Workload, known: Known, tmp_path: Path) -> None:
    """By curl, with what openssl would ask in the path."""
    bundle, asked, answer = str(lab.internet.authority.bundle), tmp_path / "asked", tmp_path / "answer"
    told = []
    for path in (known.good, known.bad):
        windows.run("openssl", "ocsp", "-issuer", bundle, "-cert", str(path), "-no_nonce", "-reqout", str(asked))
        text = quote(base64.b64encode(asked.read_bytes()).decode(), safe="")
        assert windows.curl(f"http://{STATUS}/{text}", "-o", str(answer)).ok
        told.append(ocsp.load_der_ocsp_response(answer.read_bytes()).certificate_status)

    assert told == [ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED]
    first, _ = allowed(lab, known.relay)
    assert first["code"] == "ocsp_listed"
    assert windows.curl(f"http://{STATUS}/{base64.b64encode(b'secret').decode()}").code in RESET


@pytest.mark.parametrize(
    "what",
    [
        *("GET, something else", "GET, a question and more", "GET, a query", "GET, dots before it", "GET, a body"),
        *("POST, something else", "POST, octets beyond", "POST, a shorter length", "POST, two lengths"),
        *("POST, chunked", "POST, another kind", "POST, to a list", "POST, another request in the nonce"),
    ],
)
def test_no_other_question_gets_out(lab: Lab, windows: Workload, responder: Server, what: str) -> None:
    """Not one octet of it."""
    with nothing_arrives(lab, windows, responder):
        heard = converse(windows, responder.address, NO_QUESTIONS[what], port=80)

    assert (heard.octets, heard.reset) == (b"", True)
    refused(lab, responder, "http_plaintext", spt=heard.port)


def test_a_question_goes_to_responders_alone(lab: Lab, windows: Workload, fresh: Server) -> None:
    """Not to a host of lists, though it is the CA's too."""
    octets = post().replace(RESPONDER.encode(), HOST.encode())
    with nothing_arrives(lab, windows, fresh):
        heard = converse(windows, fresh.address, octets, port=80)

    assert heard.reset
    refused(lab, fresh, "http_plaintext", spt=heard.port, dhost=HOST)


def test_a_body_that_comes_late_is_read(windows: Workload, responder: Server) -> None:
    """As Java sends it; the head does not go before it."""
    octets = post()
    head = len(octets) - len(ASKED)
    with Peer(windows, responder.address, 80) as peer:
        peer.connect()
        peer.send(octets[:head])
        peer.send(octets[head:], at=head)
        assert peer.read(9, sent=len(octets)).startswith(b"HTTP/1.")
    assert responder.received() == octets


def test_an_answer_that_is_not_http_is_refused(lab: Lab, windows: Workload) -> None:
    """Whatever a server would rather speak."""
    other = lab.internet.lines("crl.usertrust.com", port=80, reply=b"SSH-2.0-OpenSSH_9.2\r\n")
    octets = request("/a.crl", f"Host: {other.name}")

    heard = converse(windows, other.address, octets, port=80)

    assert (heard.octets, heard.reset) == (b"", True)
    refused(lab, other, "server_not_http", cat="server", saw=octets)


@pytest.mark.parametrize("what", [what for what, octets in BAD.items() if octets.endswith(b"\r\n\r\n")])
def test_no_other_request_gets_out(lab: Lab, windows: Workload, fresh: Server, what: str) -> None:
    """Not one octet of it."""
    octets = BAD[what]
    with nothing_arrives(lab, windows, fresh):
        heard = converse(windows, fresh.address, octets, port=80)

    assert (heard.octets, heard.reset) == (b"", True)
    refused(lab, fresh, "http_plaintext" if looks_like_http(octets) else "port_not_listed", spt=heard.port)


@pytest.mark.parametrize("path", ["/a.crl?secret", "/secret", "/a.crl/../b"])
def test_curl_gets_nothing_else_there(lab: Lab, windows: Workload, fresh: Server, path: str) -> None:
    """Nor by POST."""
    for options in ((), ("-d", "secret")):
        assert windows.curl(f"http://{HOST}{path}", "--path-as-is", *options).code in RESET
    refused(lab, fresh, "http_plaintext")


def test_another_host_at_the_same_address_is_refused(lab: Lab, windows: Workload, fresh: Server) -> None:
    """As it is at a CDN."""
    octets = request("/a.crl", "Host: evil.example.net")
    with nothing_arrives(lab, windows, fresh):
        heard = converse(windows, fresh.address, octets, port=80)

    assert heard.reset
    refused(lab, fresh, "http_plaintext", spt=heard.port, dhost="evil.example.net")


def test_the_host_at_another_address_is_refused(lab: Lab, windows: Workload) -> None:
    """Our own look-ups say where it is."""
    elsewhere = lab.internet.http("evil.example.net")

    done = windows.curl(f"http://{HOST}/a.crl", "--resolve", f"{HOST}:80:{elsewhere.address}")

    assert done.code in RESET
    refused(lab, elsewhere, "address_mismatch", dhost=HOST)


def test_a_second_request_does_not_get_out(lab: Lab, windows: Workload, fresh: Server) -> None:
    """Whether it waits for the reply or not; the first has arrived alone."""
    with Peer(windows, fresh.address, 80) as peer:
        peer.connect()
        peer.send(request("/a.crl"))
        peer.read(9, sent=len(request("/a.crl")))
        peer.send(EVIL, at=len(request("/a.crl")))
        assert peer.was_reset()
        refused(lab, fresh, "http_plaintext", spt=peer.source_port, saw=request("/a.crl"))
    fresh.forget()
    heard = converse(windows, fresh.address, request("/a.crl") + EVIL, port=80)
    assert (heard.octets, heard.reset) == (b"", True)
    assert fresh.received() == b""


def name_own(lab: Lab, *hosts: str) -> None:
    """Make these the hosts of a CA of one's own; lists go on to be allowed."""
    skip = len(lab.appliance.config_events())
    write(lab, json.dumps({"%default": {"x509_crls": "allow", "x509_crl_hosts": hosts}}))
    wait_told(lab, skip, "x509_crl_hosts: ")


def test_a_host_of_ones_own_is_fetched_from(lab: Lab, windows: Workload) -> None:
    """Where the preferences name it, below its path, and at its addresses."""
    own = lab.internet.http(OWN)
    url = f"http://{OWN}/CertEnroll/Corp-CA+.crl"
    assert windows.curl(url).code in RESET
    refused(lab, own, "http_plaintext")
    name_own(lab, f"{OWN}/CertEnroll")

    assert windows.curl(url).ok

    assert allowed(lab, own)[0]["code"] == "crl_listed"
    own.forget()
    assert windows.curl(f"http://{OWN}/a.crl").code in RESET
    refused(lab, own, "http_plaintext")
    name_own(lab)
    assert windows.curl(url).code in RESET


def test_the_end_of_the_preference_is_the_end_of_it(lab: Lab, windows: Workload, fresh: Server) -> None:
    """New requests are refused again, at once, before anything is sent."""
    prefer(lab, x509_crls="ignore")
    assert windows.curl(f"http://{HOST}/a.crl").code == COULD_NOT_CONNECT
    refused(lab, fresh, "port_not_listed")
    prefer(lab, x509_crls="allow")
    assert windows.curl(f"http://{HOST}/a.crl").ok
