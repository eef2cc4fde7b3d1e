"""Real clients through the appliance: each gets where it may, as itself, and says what CLIENTS.md says if not."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from appliance.wire.client_hello import ClientHello, parse_client_hello
from tests import hellos
from tests.lab.appliance import Appliance
from tests.lab.clients import GREETING, SHARE, SSH_CLIENTS, TLS_CLIENTS, Client, Hello
from tests.lab.lab import Lab, wait_until
from tests.lab.preferring import preferred, running
from tests.lab.programs import Programs, tree
from tests.lab.security_group import Rule, egress
from tests.lab.servers import Connection, Server
from tests.lab.story import allowed, launch_in, refused, ssh, tls
from tests.lab.tcp import Segment, Tap
from tests.lab.workload import Workload

OFFERED = {hellos.TLS_1_0: "1.0", hellos.TLS_1_1: "1.1", hellos.TLS_1_2: "1.2", hellos.TLS_1_3: "1.3"}
PQ_ONLY, ECH_DENIED, QUIC = "pq.may.test", "ech.may.test", "quic.may.test"
COULD_NOT_CONNECT, TIMED_OUT = 7, 28  # of curl
NAMES_OF_A_RULE = 8  # a description has 255 characters


def listed(client: Client) -> str:
    return f"{client.id}.may.test"


def unlisted(client: Client) -> str:
    return f"{client.id}.may-not.test"


def every(clients: Iterable[Client]) -> pytest.MarkDecorator:
    """Run a test with each of these."""
    rows = tuple(clients)
    return pytest.mark.parametrize("client", rows, ids=[each.id for each in rows])


CHROMIUM = next(each for each in TLS_CLIENTS if each.hello and each.hello.ech)
POST_QUANTUM = [each for each in TLS_CLIENTS if each.hello and each.hello.post_quantum]


@pytest.fixture(scope="module", autouse=True)
def programs(lab: Lab) -> Programs:
    """The clients, with the lab's authority trusted."""
    made = tree()
    if made is None:
        pytest.skip("there is no tree of clients: make test-clients, as root")
    programs = Programs(made, lab)
    shutil.copy(Path(__file__).with_name("Fetch.java"), programs.folder)
    return programs


@pytest.fixture(scope="module", autouse=True)
def appliance(lab: Lab, programs: Programs) -> Iterator[Appliance]:
    """The appliance, with preferences that can be edited."""
    with running(lab) as started:
        yield started


@pytest.fixture(scope="module")
def desk(lab: Lab, appliance: Appliance) -> Workload:
    """A workload that may reach one name for each client."""
    names = [*map(listed, TLS_CLIENTS), PQ_ONLY, ECH_DENIED]
    rules: list[Rule] = [tls(*names[i : i + NAMES_OF_A_RULE]) for i in range(0, len(names), NAMES_OF_A_RULE)]
    rules += [ssh(*map(listed, SSH_CLIENTS))]
    for name in map(listed, SSH_CLIENTS):  # or the refusal of another would say that they have no address
        lab.names[name] = [lab.internet.address(name)]
    return launch_in(lab, "desk", [lab.security_group(f"desk-{i}", rule) for i, rule in enumerate(rules)])


def ech_as_needed(lab: Lab, client: Client) -> AbstractContextManager[None]:
    """Permit ECH while a client is tried that always offers it."""
    return preferred(lab, ech="allow") if client.hello and client.hello.ech else contextlib.nullcontext()


def hello_of(connection: Connection) -> tuple[ClientHello, int]:
    """Return the hello that reached a server, and its octets; all of our clients send it in one record."""
    octets = bytes(connection.octets)
    end = 5 + int.from_bytes(octets[3:5])
    return parse_client_hello(octets[9:end]), end


def segments_of(seen: list[Segment], hello: bytes) -> int:
    """Return how many segments a hello came in, not counting those that were sent again, or by other connections."""
    first = next(each for each in seen if hello.startswith(each.payload))
    starts = {(each.sequence - first.sequence) % 2**32 for each in seen}
    return len([start for start in starts if start < len(hello)])


def describe(connection: Connection, seen: list[Segment]) -> Hello:
    """Return what a client has sent."""
    hello, octets = hello_of(connection)
    versions = sorted({*hello.supported_versions} & OFFERED.keys()) or [hello.best_version]
    return Hello(
        octets,
        segments_of(seen, bytes(connection.octets[:octets])),
        f"{OFFERED[versions[0]]} - {OFFERED[versions[-1]]}",
        hellos.X25519MLKEM768 in (hello.key_share_groups or ()),
        hello.alpn,
        hello.offers_ech,
    )


# ---- TLS ----


@every(TLS_CLIENTS)
def test_a_listed_name_is_reached(lab: Lab, desk: Workload, programs: Programs, client: Client) -> None:
    """The answer comes back, both sides are logged, and what was sent is what the table says."""
    server = lab.internet.tls(listed(client))
    with ech_as_needed(lab, client), Tap(lab.internet.namespace) as tap:
        done = programs.run(desk, *client.argv(server.name), input=client.asks)
        seen = [each for each in tap.segments(server.address, 443) if each.payload]

    assert f'"server": "{server.name}"' in done.out, done
    assert any(each.plain.startswith(b"GET / ") for each in server.connections)  # browsers open some to spare
    first, reply = allowed(lab, server)
    assert (first["code"], first["proto_v"], first["src"]) == ("name_listed", reply["proto_v"], desk.address)
    sent, row = describe(server.connections[0], seen), client.hello
    assert row is not None
    assert abs(sent.octets - row.octets) <= row.octets // 10
    assert sent == Hello(sent.octets, row.segments, row.versions, row.post_quantum, row.alpn, row.ech)


@every(TLS_CLIENTS)
def test_a_name_that_is_not_listed_is_refused(lab: Lab, desk: Workload, programs: Programs, client: Client) -> None:
    """Not one octet arrives, and the client says what the table says."""
    server = lab.internet.tls(unlisted(client))
    with ech_as_needed(lab, client):
        done = programs.run(desk, *client.argv(server.name), input=client.asks)

    assert client.refused in done.out + done.err
    assert done.code == client.code
    refused(lab, server, "name_not_listed", dhost=server.name, src=desk.address)
    assert server.connections != []  # it came as far as a TCP connection


@every([*TLS_CLIENTS, *SSH_CLIENTS])
def test_the_version_is_the_tables_or_newer(desk: Workload, programs: Programs, client: Client) -> None:
    """Or the table is of something else."""
    done = programs.run(desk, *client.show_version)
    found = re.search(r"\d+(\.\d+)+", done.out + done.err)

    assert found is not None
    numbers = [[int(part) for part in text.split(".")] for text in (client.version, found[0])]
    assert numbers[1][: len(numbers[0])] >= numbers[0]


def test_a_browser_that_offers_ech_is_refused(lab: Lab, desk: Workload, programs: Programs) -> None:
    """By default, and under a code of its own: its GREASE could be a hidden name as well."""
    server = lab.internet.tls(ECH_DENIED)

    done = programs.run(desk, *CHROMIUM.argv(server.name))

    assert CHROMIUM.refused in done.err
    refused(lab, server, "ech", dhost=server.name)
    assert len(server.connections) > 1  # it tries again


# ---- a server that insists on post-quantum keys ----

INSIST = """
openssl_conf = openssl
[openssl]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
Groups = X25519MLKEM768
"""
SERVE = """
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"agreed")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("pq.pem")
server = http.server.ThreadingHTTPServer((sys.argv[1], 443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def pq_only(lab: Lab, programs: Programs) -> Iterator[str]:
    """The address of a server that takes X25519MLKEM768 or nothing; its ServerHello has 1,200 octets."""
    address, here = lab.internet.address(PQ_ONLY), lab.internet.namespace
    lab.names[PQ_ONLY] = [address]
    shutil.copy(lab.internet.authority.issue(PQ_ONLY), programs.folder / "pq.pem")
    (programs.folder / "pq.cnf").write_text(INSIST)
    command = programs.argv("env", "OPENSSL_CONF=pq.cnf", "python3", "-c", SERVE, address)
    with here.popen(*command, stderr=subprocess.DEVNULL) as server:
        assert wait_until(lambda: f"{address}:443" in here.run("ss", "-Hltn").stdout)
        yield address
        server.kill()


@every(POST_QUANTUM)
def test_post_quantum_keys_are_agreed(
    lab: Lab, desk: Workload, programs: Programs, pq_only: str, client: Client
) -> None:
    """Hello and reply are long, and both pass."""
    skip = len(lab.appliance.flow_events())
    with ech_as_needed(lab, client):
        done = programs.run(desk, *client.argv(PQ_ONLY), input=client.asks)

    assert "agreed" in done.out, done
    lab.appliance.wait_for_event(dst=pq_only, cat="server", outcome="allowed", skip=skip, proto_v="TLS 1.3", pqc=True)


def test_that_server_insists(desk: Workload, programs: Programs, pq_only: str) -> None:
    """A client without such keys gets its alert, so that the test above shows something."""
    assert "Handshake failed" in programs.run(desk, "wget", "-nv", "--tries=1", f"https://{PQ_ONLY}/").err


# ---- QUIC ----


@pytest.fixture(scope="module", params=[True, False], ids=["udp is refused", "udp is dropped"])
def quic(lab: Lab, appliance: Appliance, request: pytest.FixtureRequest) -> tuple[Workload, bool]:
    """A client whose Security Group lets UDP 443 out and ICMP in, so that it is told; or drops UDP in silence."""
    rules = (tls(QUIC), egress("udp", 443)) if request.param else (tls(QUIC),)
    group = lab.security_group("quic", *rules, ingress=(egress("icmp", (3, 3)),))
    return launch_in(lab, f"quic-{request.param}", [group]), request.param


@pytest.fixture(scope="module")
def h3(lab: Lab) -> tuple[Server, Server]:
    """A server, at UDP and TCP 443."""
    server = lab.internet.tls(QUIC)
    return server, lab.internet.udp("", address=server.address)


def test_http3_falls_back_at_once(
    lab: Lab, programs: Programs, quic: tuple[Workload, bool], h3: tuple[Server, Server]
) -> None:
    """A listed name is reached over TCP, whether the client is told that UDP is refused or not."""
    client, _ = quic
    timed = ("-w", "%{stderr}%{time_total}")
    done = programs.run(client, "curl", "-sS", "--http3", *timed, f"https://{QUIC}/")

    assert done.json["server"] == QUIC
    assert float(done.err) < 2  # seconds
    allowed(lab, h3[0])
    assert h3[1].received() == b""


def test_http3_is_refused_at_once_where_it_is_told(lab: Lab, programs: Programs, quic: tuple[Workload, bool]) -> None:
    """Or else curl goes on to wait for QUIC, long after TCP was reset."""
    client, told = quic
    server = lab.internet.tls(f"quic-{told}.may-not.test".lower())
    datagrams = lab.internet.udp("", address=server.address)

    done = programs.run(client, "curl", "-sS", "--http3", "--max-time", "3", f"https://{server.name}/")

    assert done.code == (COULD_NOT_CONNECT if told else TIMED_OUT), done
    refused(lab, server, "name_not_listed", dhost=server.name)
    assert datagrams.received() == b""


# ---- SSH ----


@pytest.fixture(scope="module", autouse=True)
def share(lab: Lab, programs: Programs) -> None:
    """What every SSH server holds: a file, and a repository with a branch."""
    home = lab.internet.ssh_key.parent / SHARE
    home.mkdir()
    (home / GREETING).write_text(f"{GREETING}\n")
    git = ("git", "-C", str(home), "-c", "user.name=lab", "-c", "user.email=lab@lab.test")
    lab.internet.namespace.run(*git, "init", "--quiet", f"--initial-branch={GREETING}", "repository")
    lab.internet.namespace.run(*git, "-C", "repository", "commit", "--quiet", "--allow-empty", "--message=first")


@every(SSH_CLIENTS)
def test_a_listed_host_is_reached(lab: Lab, desk: Workload, programs: Programs, client: Client) -> None:
    """What it holds comes back, and both sides are logged."""
    server = lab.internet.ssh(listed(client))

    done = programs.run(desk, *client.argv(server.name))

    assert GREETING in done.out, done
    first, reply = allowed(lab, server)
    assert (first["proto"], first["code"], reply["proto_v"]) == ("ssh", "address_listed", "2.0")
    assert server.received().startswith(b"SSH-2.0-")


@every(SSH_CLIENTS)
def test_a_host_that_is_not_listed_is_refused(lab: Lab, desk: Workload, programs: Programs, client: Client) -> None:
    """Not one octet arrives, and the client says what the table says."""
    server = lab.internet.ssh(unlisted(client))

    done = programs.run(desk, *client.argv(server.name))

    assert client.refused in done.out + done.err, done
    assert done.code == client.code
    side = lab.appliance.wait_for_event(dst=server.address)["cat"]  # whoever spoke first
    refused(lab, server, "address_mismatch", cat=side, proto="ssh")
