"""Revocation lists: real clients fetch them if the preferences say so, and nothing else gets out that way."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.wire.http import looks_like_http
from tests.lab.appliance import Appliance
from tests.lab.lab import Lab, wait_until
from tests.lab.preferring import prefer, preferred, running
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import allowed, converse, launch, nothing_arrives, refused, tls
from tests.lab.tcp import Peer
from tests.lab.workload import Workload
from tests.test_crls import BAD, request

HOST, FILES = "crl3.digicert.com", "crl.sectigo.com"  # our own servers in their places
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


def test_the_end_of_the_preference_is_the_end_of_it(lab: Lab, windows: Workload, fresh: Server) -> None:
    """New requests are refused again, at once, before anything is sent."""
    prefer(lab, x509_crls="ignore")
    assert windows.curl(f"http://{HOST}/a.crl").code == COULD_NOT_CONNECT
    refused(lab, fresh, "port_not_listed")
    prefer(lab, x509_crls="allow")
    assert windows.curl(f"http://{HOST}/a.crl").ok
