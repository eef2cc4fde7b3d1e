"""SSH through the appliance: both sides speak version 2.0, and the address belongs to a listed name."""

import pytest

from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import allowed, hello, launch, refused, ssh
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")

LISTED = ("git", "old", "ancient", "quiet", "shy", "lines", "junk", "listener")


def name(of: str) -> str:
    return f"{of}.ssh.test"


BOTH = egress("tcp", 2222, description=f"discriminat:ssh:{name('git')} discriminat:tls:{name('git')}")


@pytest.fixture(scope="module")
def git(lab: Lab) -> Server:
    """A listed host with a real sshd."""
    return lab.internet.ssh(name("git"))


@pytest.fixture(scope="module")
def dev(lab: Lab, appliance: object, git: Server) -> Workload:
    """A client that may reach the listed hosts."""
    return launch(lab, "ssh", ssh(*map(name, LISTED)), BOTH)


def test_a_listed_host_is_reached(lab: Lab, dev: Workload, git: Server) -> None:
    """A login, a command and its output; both sides are logged under the host's name."""
    assert dev.ssh(name("git"), "echo", "hello").out == "hello\n"

    client, server = allowed(lab, git)
    assert (client["proto"], client["proto_v"], client["code"]) == ("ssh", "2.0", "address_listed")
    assert (server["proto"], server["proto_v"]) == ("ssh", "2.0")
    assert client["rule"].endswith("tcp/22 0.0.0.0/0")


def test_megabytes_go_through(lab: Lab, dev: Workload, git: Server) -> None:
    """What follows the identification strings is the kernel's."""
    assert len(dev.ssh(name("git"), "head", "-c", "3000000", "/dev/zero").out) == 3_000_000


def test_a_host_that_is_not_listed_is_refused(lab: Lab, dev: Workload) -> None:
    """The server gets nothing, and its identification string does not reach the client."""
    server = lab.internet.ssh("elsewhere.ssh.test")

    done = dev.ssh("elsewhere.ssh.test", "true")

    assert done.code == 255
    refused(lab, server, "address_mismatch", cat=lab.appliance.wait_for_event(dst=server.address)["cat"])
    with dev.connect(server.address, 22) as stream, pytest.raises(ConnectionResetError):
        stream.recv(100)


def test_a_server_of_version_1_99_is_version_2(lab: Lab, dev: Workload) -> None:
    """It speaks both (RFC 4253 section 5.1)."""
    server = lab.internet.lines(name("old"), port=22, greeting=b"SSH-1.99-old\r\n")

    with dev.connect(server.address, 22) as stream:
        assert stream.recv(100) == b"SSH-1.99-old\r\n"
        stream.sendall(b"SSH-2.0-lab\r\n")
        assert wait_until(lambda: server.received() == b"SSH-2.0-lab\r\n")
    assert allowed(lab, server, dhost=name("old"))[1]["proto_v"] == "1.99"


def test_lines_before_the_identification_string_are_passed_on(lab: Lab, dev: Workload) -> None:
    """A server may greet its users first (RFC 4253 section 4.2)."""
    greeting = b"Welcome.\r\nMind the gap.\r\nSSH-2.0-polite\r\n"
    server = lab.internet.lines(name("lines"), port=22, greeting=greeting)

    with dev.connect(server.address, 22) as stream:
        assert stream.recv(200) == greeting
        stream.sendall(b"SSH-2.0-lab\r\n")
        assert wait_until(lambda: server.received() == b"SSH-2.0-lab\r\n")


def test_a_server_that_waits_for_its_client_is_allowed(lab: Lab, dev: Workload) -> None:
    """Either side may speak first."""
    server = lab.internet.lines(name("shy"), port=22, reply=b"SSH-2.0-shy\r\n")

    with dev.connect(server.address, 22) as stream:
        stream.sendall(b"SSH-2.0-lab\r\n")
        assert stream.recv(100) == b"SSH-2.0-shy\r\n"
    allowed(lab, server)


SERVERS = [
    # host        greeting                        code
    ("ancient",  b"SSH-1.5-ancient\r\n",          "server_ssh_too_old"),
    ("junk",     b"HTTP/1.1 400 Bad Request\r\n" * 400, "server_not_ssh"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "greeting", "code"), SERVERS, ids=[row[0] for row in SERVERS])
def test_servers_of_another_kind_are_refused(lab: Lab, dev: Workload, host: str, greeting: bytes, code: str) -> None:
    """Nothing of them reaches the client."""
    server = lab.internet.lines(name(host), port=22, greeting=greeting)

    with dev.connect(server.address, 22) as stream, pytest.raises(ConnectionResetError):
        assert stream.recv(100) == b""
    refused(lab, server, code, cat="server")


CLIENTS = {
    "ssh 1.5": (b"SSH-1.5-lab\r\n", "ssh_too_old"),
    "ssh 1.99": (b"SSH-1.99-lab\r\n", "ssh_too_old"),
    "tls": (hello(name("listener")), "not_ssh"),
    "noise": (bytes(range(128, 160)), "not_ssh"),
    "lines before": (b"hello\r\nSSH-2.0-lab\r\n", "not_ssh"),
    "http": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not_ssh"),
    "a string without end": (b"SSH-2.0-" + b"x" * 300, "not_ssh"),
}


@pytest.fixture(scope="module")
def listener(lab: Lab) -> Server:
    """A listed host that waits for its client to speak."""
    return lab.internet.lines(name("listener"), port=22, reply=b"SSH-2.0-shy\r\n")


@pytest.mark.parametrize(("octets", "code"), CLIENTS.values(), ids=CLIENTS)
def test_clients_of_another_kind_are_refused(
    lab: Lab, dev: Workload, listener: Server, octets: bytes, code: str
) -> None:
    """An SSH rule is for SSH 2.0; nothing of anything else arrives."""
    with dev.connect(listener.address, 22) as stream:
        port = stream.getsockname()[1]
        stream.sendall(octets)
        with pytest.raises(ConnectionResetError):
            assert stream.recv(100) == b""
    refused(lab, listener, code, spt=port)


def test_tls_and_ssh_may_share_a_port(lab: Lab, dev: Workload) -> None:
    """Two annotations of one port are a union."""
    server = lab.internet.ssh(name("git"), port=2222)

    assert dev.ssh(name("git"), "echo", "both", port=2222).out == "both\n"
    allowed(lab, server)


def test_a_half_identification_string_times_out(lab: Lab, dev: Workload) -> None:
    """Neither side says enough."""
    server = lab.internet.lines(name("quiet"), port=22)

    with dev.connect(server.address, 22, timeout=8) as stream:
        stream.sendall(b"SSH-2.0-half")
        with pytest.raises(ConnectionResetError):
            stream.recv(100)
    refused(lab, server, "hello_timeout")
