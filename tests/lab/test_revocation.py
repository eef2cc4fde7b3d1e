"""Open flows end when nothing allows them any more, and only then; marks are ours alone (X1 to X4, D2)."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.dns_server import Record
from tests.hellos import server_stream
from tests.lab.appliance import Appliance
from tests.lab.event_log import Event
from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import Group, egress
from tests.lab.servers import Server
from tests.lab.story import SHORT_WAITS, conversation, hello, launch, launch_in, refused, ssh, tls
from tests.lab.tcp import ACK, FIN, RST, SYN, Peer
from tests.lab.test_see_thru import see_thru
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")

NAME = "api.revoke.test"
NOTHING = "discriminat:tls:nothing.revoke.test"
REPLY = server_stream()
REQUEST = b"GET / HTTP/1.1\r\n\r\n"
CUT = (ConnectionResetError, ssl.SSLEOFError)  # OpenSSL takes a reset in the middle of nothing for an end


def open_flow(client: Workload, server: Server, name: str) -> socket.socket:
    """Return a connection over which hello and reply have passed; the server keeps silent from then on."""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(client.connect(server.address, server.port))
        stream.sendall(hello(name))
        assert stream.recv(len(REPLY), socket.MSG_WAITALL) == REPLY
        stack.pop_all()
    return stream


def silent_tls(lab: Lab, name: str) -> Server:
    """Return a server that replies to a hello of `name` and then only listens."""
    return lab.internet.lines(name, reply=REPLY, after=len(hello(name)))


@contextlib.contextmanager
def tls_session(lab: Lab, client: Workload, server: Server) -> Iterator[ssl.SSLSocket]:
    """Hold a TLS session, of OpenSSL, that was answered once."""
    context = ssl.create_default_context(cafile=str(lab.internet.authority.bundle))
    plain = client.connect(server.address, 443)
    with context.wrap_socket(plain, server_hostname=server.name, suppress_ragged_eofs=False) as session:
        session.sendall(REQUEST)
        assert b"200 OK" in session.recv(4096)
        yield session


def ended(lab: Lab, stream: socket.socket, code: str = "rule_removed") -> Event:
    """Wait until the log says that a flow was ended, and return what it says.

    Hundreds of flows have been ended before, and another may have had the same port.
    """
    (client, port), (server, _) = stream.getsockname(), stream.getpeername()
    return lab.appliance.wait_for_event(src=client, spt=port, dst=server, code=code)


def talk(stream: socket.socket, octets: bytes) -> bytes:
    """Send octets, and return the answer."""
    stream.sendall(octets)
    return stream.recv(100)


def assert_nothing_more_passes(stream: socket.socket, server: Server) -> None:
    """Assert that the client is reset when it speaks, if it was not before, and that not one octet of it arrives."""
    before = server.received()
    with pytest.raises(ConnectionError):
        talk(stream, b"one octet too many")
    assert server.received() == before


@contextlib.contextmanager
def killed(program: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Have a program end with the block, whatever it waits for."""
    try:
        yield
    finally:
        program.kill()


def in_force(lab: Lab) -> str:
    """Return the digest of the policy once the kernel, the workers and the open flows agree with AWS."""
    launch(lab, "marker", tls("marker.revoke.test"))
    return str(lab.appliance.details()["policy_digest"])


# ---- X1: what is not listed any more ----


def test_a_tls_session_ends_with_its_rule(lab: Lab) -> None:
    """The client's next octets are answered with a reset; the log says whose flow it was, and which rule went."""
    server = lab.internet.tls("tls.revoke.test")
    group = lab.security_group("tls-revoke", tls(server.name))
    client = launch_in(lab, "tls-revoke", [group])
    before = lab.appliance.details()["flows_ended"]
    with tls_session(lab, client, server) as session:
        port = session.getsockname()[1]
        received = server.received()

        lab.edit_rule(group, description=NOTHING)

        event = ended(lab, session)
        assert event["outcome"] == "disallowed"
        assert (event["dhost"], event["proto"], event["gid"]) == (server.name, "tls", group.id)
        assert (event["src"], event["spt"], event["dst"], event["dpt"]) == (client.address, port, server.address, 443)
        with pytest.raises(CUT):
            talk(session, REQUEST)
        assert server.received() == received
    assert not client.curl(f"https://{server.name}/").ok
    assert lab.appliance.details()["flows_ended"] == before + 1
    lab.appliance.wait_for_event(cat="policy", outcome="ended")


def test_a_programs_session_ends_with_its_rule(lab: Lab) -> None:
    """OpenSSL's own client says what any program would: reset by peer."""
    server = lab.internet.tls("program.revoke.test")
    group = lab.security_group("program", tls(server.name))
    client = launch_in(lab, "program", [group])
    command = ("openssl", "s_client", "-connect", f"{server.address}:443", "-servername", server.name, "-quiet")
    pipe = subprocess.PIPE
    with client.popen(*command, stdin=pipe, stdout=pipe, stderr=pipe) as program, killed(program):
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(REQUEST)
        program.stdin.flush()
        assert program.stdout.readline() == b"HTTP/1.1 200 OK\r\n"
        received = server.received()

        lab.edit_rule(group, description=NOTHING)

        lab.appliance.wait_for_event(src=client.address, code="rule_removed")
        program.stdin.write(REQUEST)
        program.stdin.flush()
        assert b"errno=104" in program.communicate(timeout=5)[1]  # ECONNRESET
    assert server.received() == received


def test_an_ssh_session_ends_with_its_rule(lab: Lab) -> None:
    """A shell that was open is cut off as the name of its host goes."""
    server = lab.internet.ssh("git.revoke.test")
    group = lab.security_group("ssh-revoke", ssh(server.name))
    client = launch_in(lab, "ssh-revoke", [group])
    pipe = subprocess.PIPE
    command = ("ssh", *client.ssh_options, server.name, "cat")
    with client.popen(*command, stdin=pipe, stdout=pipe, stderr=pipe) as shell, killed(shell):
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(b"hello\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == b"hello\n"
        received = server.received()

        lab.edit_rule(group, description="discriminat:ssh:other.revoke.test")

        event = lab.appliance.wait_for_event(src=client.address, code="rule_removed")
        assert (event["dhost"], event["proto"], event["gid"]) == (server.name, "ssh", group.id)
        shell.stdin.write(b"more\n")
        shell.stdin.flush()
        assert b"client_loop: send disconnect" in shell.communicate(timeout=5)[1]
        assert shell.returncode == 255
    assert server.received() == received


def test_only_what_lost_its_rule_ends(lab: Lab) -> None:
    """Of one client and one rule: the name that stays keeps its flow, and so does that of another client."""
    stays, goes = lab.internet.tls("stays.revoke.test"), silent_tls(lab, "goes.revoke.test")
    group = lab.security_group("partly", tls(stays.name, goes.name))
    client = launch_in(lab, "partly", [group])
    other = launch(lab, "other", tls(stays.name, goes.name))
    with (
        conversation(client, stays.name) as ask,
        open_flow(client, goes, goes.name) as stream,
        open_flow(other, goes, goes.name) as others,
    ):
        lab.edit_rule(group, description=f"discriminat:tls:{stays.name}")

        ended(lab, stream)
        assert_nothing_more_passes(stream, goes)
        assert ask("/after")
        others.sendall(b"still here")
        assert wait_until(lambda: goes.received().endswith(b"still here"))


def test_the_server_is_cut_off_too(lab: Lab) -> None:
    """What it sends does not reach the client, and it is told at once."""
    server = lab.internet.tls("pushes.revoke.test")
    group = lab.security_group("pushes", tls(server.name))
    client = launch_in(lab, "pushes", [group])
    with tls_session(lab, client, server) as session:
        # The answer is larger than the window of a client that does not read: most of it is yet to come.
        session.sendall(b"GET /octets/30000000 HTTP/1.1\r\n\r\n")
        lab.edit_rule(group, description=NOTHING)
        ended(lab, session)
        with pytest.raises(CUT):
            all(session.recv(65536) for _ in range(1000))
        assert wait_until(lambda: not server.connections[-1].open, 10)


def test_a_narrower_destination_ends_what_lies_outside(lab: Lab) -> None:
    """The rule lists the name still, for other addresses."""
    server = silent_tls(lab, "narrow.revoke.test")
    group = lab.security_group("narrow", tls(server.name, peer="0.0.0.0/0"), egress("tcp", 443, "0.0.0.0/1"))
    client = launch_in(lab, "narrow", [group, lab.security_group("aws", egress("tcp", (1, 65535)))])
    with open_flow(client, server, server.name) as stream:
        lab.add_rule(group, tls(server.name, peer="192.0.2.0/24"))
        in_force(lab)
        stream.sendall(b"still allowed by the first")
        assert wait_until(lambda: server.received().endswith(b"by the first"))

        lab.remove_rule(group, 0)

        assert ended(lab, stream)["dhost"] == server.name
        assert_nothing_more_passes(stream, server)


def test_a_flow_goes_on_by_another_rule(lab: Lab) -> None:
    """The name moves to another group of the client's: nothing is lost in between, and nothing ends."""
    server = lab.internet.tls("moves.revoke.test")
    first, second = lab.security_group("first", tls(server.name)), lab.security_group("second", egress("tcp", 443))
    client = launch_in(lab, "moves", [first, second])
    with conversation(client, server.name) as ask:
        lab.edit_rule(second, description=f"discriminat:tls:{server.name}")
        in_force(lab)
        lab.edit_rule(first, description=NOTHING)
        in_force(lab)
        assert ask("/after")


def test_a_flow_ends_with_its_clients_group(lab: Lab) -> None:
    """As the interface's groups change."""
    server = silent_tls(lab, "group.revoke.test")
    client = launch(lab, "group", tls(server.name))
    with open_flow(client, server, server.name) as stream:
        lab.set_groups(client, [lab.security_group("plain", egress("tcp", 443))])
        ended(lab, stream)
        assert_nothing_more_passes(stream, server)


def test_flows_of_a_client_that_is_gone_are_ended(lab: Lab) -> None:
    """Whoever gets its address and its ports does not get its flows."""
    server = silent_tls(lab, "gone.revoke.test")
    client = launch(lab, "gone", tls(server.name))
    with open_flow(client, server, server.name) as stream:
        port = stream.getsockname()[1]
        lab.terminate(client)
        lab.appliance.wait_for_event(spt=port, code="rule_removed", dhost=server.name)
    assert tracked(lab, client, port) == ""


def test_a_reply_that_comes_after_the_change_opens_nothing(lab: Lab) -> None:
    """The hello was good under the former policy; the flow is judged again before it opens."""
    name = "late.revoke.test"
    server = lab.internet.lines(name, reply=REPLY, after=len(hello(name)) + 1)
    group = lab.security_group("late", tls(name))
    client = launch_in(lab, "late", [group])
    with client.connect(server.address, 443) as stream:
        stream.sendall(hello(name))
        assert wait_until(lambda: server.received() == hello(name))
        lab.edit_rule(group, description=NOTHING)
        lab.appliance.wait_for_event(cat="fqdn", outcome="removed", fqdn=name, gid=group.id)
        server.connections[0].writer.write(REPLY)
        with pytest.raises(ConnectionResetError):
            stream.recv(100)
    refused(lab, server, "name_not_listed", saw=hello(name))


def test_what_a_slow_worker_still_opens_ends(lab: Lab, appliance: Appliance) -> None:
    """It judges a reply that was waiting before it reads of the new policy: flows are looked at after it has obeyed."""
    name = "slow.revoke.test"
    server = lab.internet.lines(name, reply=REPLY, after=len(hello(name)) + 1)
    group = lab.security_group("slow", tls(name))
    client = launch_in(lab, "slow", [group])
    with client.connect(server.address, 443) as stream:
        stream.sendall(hello(name))
        assert wait_until(lambda: server.received() == hello(name))
        workers = appliance.workers()
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        try:
            server.connections[0].writer.write(REPLY)
            lab.edit_rule(group, description=NOTHING)
            polls = len(lab.emulator.switchboard.calls("DescribeSecurityGroups"))
            assert wait_until(lambda: len(lab.emulator.switchboard.calls("DescribeSecurityGroups")) >= polls + 3)
        finally:
            for worker in workers:
                os.kill(worker, signal.SIGCONT)
        lab.appliance.wait_for_event(cat="fqdn", outcome="removed", fqdn=name, gid=group.id)
        with contextlib.suppress(ConnectionResetError):
            stream.recv(len(REPLY))
        assert_nothing_more_passes(stream, server)


def test_none_escapes_at_the_moment_of_the_change(lab: Lab) -> None:
    """Connections are opened as fast as can be while the rule goes: once that is told, not one of them goes on."""
    server = silent_tls(lab, "race.revoke.test")
    group = lab.security_group("race", tls(server.name))
    client = launch_in(lab, "race", [group])
    refusal = threading.Event()

    def keep_opening() -> list[socket.socket]:
        opened = []
        while True:
            try:
                opened.append(open_flow(client, server, server.name))
            except (OSError, AssertionError):
                refusal.set()
                return opened

    with ThreadPoolExecutor(4) as pool, contextlib.ExitStack() as stack:
        openers = [pool.submit(keep_opening) for _ in range(4)]
        assert wait_until(lambda: len(server.connections) > 100)
        assert not refusal.is_set()
        lab.edit_rule(group, description=NOTHING)
        lab.appliance.wait_for_event(cat="fqdn", outcome="removed", fqdn=server.name, gid=group.id)
        streams = [stack.enter_context(stream) for opener in openers for stream in opener.result(10)]
        received = server.received()
        for stream in streams:
            with pytest.raises(ConnectionResetError):
                talk(stream, b"one octet too many")
    assert len(streams) > 100
    assert server.received() == received


# ---- see-thru ----


def test_see_thru_ends_with_its_grant(lab: Lab) -> None:
    """What it let pass ends, TCP or not; what is listed goes on."""
    unlisted, listed = silent_tls(lab, "unlisted.revoke.test"), lab.internet.tls("listed.revoke.test")
    echo = lab.internet.udp("echo.revoke.test", port=5000)
    group = lab.security_group("explores", see_thru(3), egress("tcp", 443))
    client = launch_in(lab, "explores", [group, lab.security_group("lists", tls(listed.name))])
    lab.appliance.wait_for_event(cat="see-thru", outcome="accepted", gid=group.id)
    with (
        open_flow(client, unlisted, unlisted.name) as stream,
        conversation(client, listed.name) as ask,
        client.namespace.open_socket(kind=socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.settimeout(5)
        datagrams.connect((echo.address, 5000))
        datagrams.send(b"ping")
        assert datagrams.recv(100) == b"ping"

        lab.edit_rule(group, description="nothing")

        event = ended(lab, stream, "see_thru_ended")
        assert (event["src"], event["dst"], event["outcome"]) == (client.address, unlisted.address, "disallowed")
        ended(lab, datagrams, "see_thru_ended")
        assert_nothing_more_passes(stream, unlisted)
        datagrams.send(b"pong")
        lab.appliance.wait_for_event(dst=echo.address, spt=datagrams.getsockname()[1], code="protocol_not_supported")
        assert echo.received() == b"ping"
        assert ask("/after")


def test_see_thru_covers_what_is_not_listed_any_more(lab: Lab) -> None:
    """A flow by a rule goes on by the grant, and ends with it."""
    server = silent_tls(lab, "covered.revoke.test")
    group = lab.security_group("covered", tls(server.name), see_thru(3))
    client = launch_in(lab, "covered", [group])
    with open_flow(client, server, server.name) as stream:
        lab.edit_rule(group, 0, description=NOTHING)
        in_force(lab)
        stream.sendall(b"by the grant")
        assert wait_until(lambda: server.received().endswith(b"by the grant"))

        lab.edit_rule(group, 1, description="nothing")

        ended(lab, stream)
        assert_nothing_more_passes(stream, server)


# ---- D2: addresses ----


def test_expired_answers_end_nothing(lab: Lab, appliance: Appliance) -> None:
    """The address is the name's no more, for new flows; the open one goes on, through a change of policy too."""
    appliance.stop()
    appliance.start({**SHORT_WAITS, "names": {"grace": 0.0}})
    server = lab.internet.tls("expires.revoke.test")
    lab.names[server.name] = Record((server.address,), ttl=1)
    client = launch(lab, "expires", tls(server.name))
    with conversation(client, server.name) as ask:
        lab.names[server.name] = [lab.internet.address()]

        def is_expired() -> bool:
            return not client.openssl(server.address, "-servername", server.name).ok

        assert wait_until(is_expired, 15)  # the least time that an answer is believed is five seconds
        in_force(lab)
        assert ask("/after")
    refused(lab, server, "address_mismatch", saw=None)


# ---- across restarts ----


def test_what_was_removed_while_it_was_down_ends_as_it_starts(lab: Lab, appliance: Appliance) -> None:
    """What allowed a flow stands in the kernel: the next run knows it, and ends what is listed no more."""
    goes, stays = silent_tls(lab, "down.revoke.test"), lab.internet.tls("up.revoke.test")
    group = lab.security_group("down", tls(goes.name, stays.name))
    client = launch_in(lab, "down", [group])
    with open_flow(client, goes, goes.name) as stream, conversation(client, stays.name) as ask:
        appliance.stop()
        lab.edit_rule(group, description=f"discriminat:tls:{stays.name}")
        stream.sendall(b"while it is down")
        assert wait_until(lambda: goes.received().endswith(b"while it is down"))

        appliance.start(SHORT_WAITS)

        assert ended(lab, stream)["dst"] == goes.address
        assert_nothing_more_passes(stream, goes)
        assert ask("/after")


def test_flows_may_be_left_alone(lab: Lab, appliance: Appliance) -> None:
    """As on AWS's own firewall, by a setting."""
    server = silent_tls(lab, "left.revoke.test")
    group = lab.security_group("left", tls(server.name))
    appliance.stop()
    appliance.start({**SHORT_WAITS, "engine": {**SHORT_WAITS["engine"], "end_flows": False}})
    try:
        client = launch_in(lab, "left", [group])
        with open_flow(client, server, server.name) as stream:
            lab.edit_rule(group, description=NOTHING)
            in_force(lab)
            stream.sendall(b"left alone")
            assert wait_until(lambda: server.received().endswith(b"left alone"))
            assert appliance.details()["flows_ended"] == 0
    finally:
        appliance.stop()
        appliance.start(SHORT_WAITS)


# ---- X2: from before ----


def test_a_connection_of_before_the_start_does_not_go_on(lab: Lab, appliance: Appliance) -> None:
    """It was made through plain NAT, to a listed name's address: it has no mark of ours, and nothing of it passes."""
    appliance.wipe()
    server = silent_tls(lab, NAME)
    client = lab.workload("early", groups=[lab.security_group("early", tls(NAME))])
    with contextlib.ExitStack() as stack:
        with lab.plain_nat():
            flows = [stack.enter_context(open_flow(client, server, NAME)) for _ in range(3)]
        appliance.start(SHORT_WAITS)
        lab.appliance.wait_for_event(cat="client", outcome="accepted", client=client.address)
        before = server.received()
        for number, payload in enumerate([b"x", hello(NAME), b"y" * 1000]):
            with pytest.raises(ConnectionResetError):
                talk(flows[number], payload)
        assert server.received() == before
    fresh = Peer(client, server.address, 443)
    with fresh.connect():
        fresh.send(hello(NAME))
        assert fresh.read(len(REPLY), sent=len(hello(NAME))) == REPLY


def test_a_server_of_before_the_start_is_not_heard(lab: Lab, appliance: Appliance) -> None:
    """Nothing that it sends over an old connection reaches the client."""
    appliance.wipe()
    server = silent_tls(lab, "old.revoke.test")
    client = lab.workload("hears", groups=[lab.security_group("hears", tls(server.name))])
    with lab.plain_nat():
        stream = open_flow(client, server, server.name)
    appliance.start(SHORT_WAITS)
    with stream:
        server.connections[-1].writer.write(b"a push")
        stream.settimeout(4)
        with pytest.raises((TimeoutError, ConnectionResetError)):
            stream.recv(100)


def test_an_address_that_a_client_knows_from_before_is_asked_for(lab: Lab, appliance: Appliance) -> None:
    """What a client has cached counts only if our own look-ups give it, that while its hello waits included (D11)."""
    appliance.wipe()
    server = lab.internet.tls("cached.revoke.test")
    client = lab.workload("caches", groups=[lab.security_group("caches", tls(server.name))])
    cached = ("--resolve", f"{server.name}:443:{server.address}")
    with lab.plain_nat():
        assert client.curl(f"https://{server.name}/", *cached).ok
    server.forget()
    lab.names[server.name] = [lab.internet.address()]
    appliance.start(SHORT_WAITS)
    lab.appliance.wait_for_event(cat="client", outcome="accepted", client=client.address)

    assert not client.curl(f"https://{server.name}/", *cached).ok
    refused(lab, server, "address_mismatch")

    lab.names[server.name] = [lab.internet.address(), server.address]
    assert client.curl(f"https://{server.name}/", *cached).ok


# ---- X3: the same ports again ----


@pytest.fixture(scope="module")
def reused(lab: Lab, appliance: object) -> tuple[Workload, Server, Group]:
    """A client, a listed server that waits for a hello, and the client's group."""
    server = silent_tls(lab, "reuse.revoke.test")
    group = lab.security_group("reuse", tls(server.name))
    return launch_in(lab, "reuse", [group]), server, group


GOOD, EVIL = hello("reuse.revoke.test"), hello("abuse.revoke.test")


def opened(client: Workload, server: Server, port: int = 0) -> Peer:
    """Return an allowed connection."""
    peer = Peer(client, server.address, 443, source_port=port).connect()
    peer.send(GOOD)
    assert peer.read(len(REPLY), sent=len(GOOD)) == REPLY
    return peer


def parted(lab: Lab, reused: tuple[Workload, Server, Group]) -> int:
    """Close a connection from both sides, so that the kernel has it in TIME_WAIT; return its source port."""
    client, server, _ = reused
    with opened(client, server) as peer:
        peer.send(b"", at=len(GOOD), flags=FIN | ACK)
        answer = peer.receive_where(lambda segment: segment.flags & FIN)
        assert answer is not None
        peer.expects = answer.sequence + 1
        peer.send(b"", at=len(GOOD) + 1, flags=ACK)
        assert wait_until(lambda: f"TIME_WAIT src={client.address}" in tracked(lab, client, peer.source_port))
        return peer.source_port


def denied(lab: Lab, reused: tuple[Workload, Server, Group]) -> int:
    """Have a connection refused; return its source port."""
    client, server, _ = reused
    with Peer(client, server.address, 443).connect() as peer:
        peer.send(EVIL)
        assert peer.was_reset()
        return peer.source_port


def revoked(lab: Lab, reused: tuple[Workload, Server, Group]) -> int:
    """Have an open connection ended that says nothing any more, and list its name again; return its source port."""
    _, server, group = reused
    with opened(*reused[:2]) as peer:
        lab.edit_rule(group, description=NOTHING)
        lab.appliance.wait_for_event(dst=server.address, spt=peer.source_port, code="rule_removed")
        lab.edit_rule(group, description=f"discriminat:tls:{server.name}")
        in_force(lab)
        return peer.source_port


def tracked(lab: Lab, client: Workload, port: int) -> str:
    """Return what the appliance's kernel knows of a client's port; others may have used the same number."""
    own = "--orig-src", client.address, "--orig-port-src", str(port)
    return lab.appliance.namespace.run("conntrack", "-L", "-p", "tcp", *own).stdout


@pytest.mark.parametrize("former", [parted, denied, revoked])
def test_the_next_connection_of_the_same_ports_is_inspected(
    lab: Lab, reused: tuple[Workload, Server, Group], former: Callable[[Lab, tuple[Workload, Server, Group]], int]
) -> None:
    """Whatever became of the former one, and whatever its mark still says."""
    client, server, _ = reused
    port = former(lab, reused)
    server.forget()
    with Peer(client, server.address, 443, source_port=port) as peer:
        shake_hands(peer)
        peer.send(EVIL)
        assert peer.was_reset()
    assert server.received() == b""
    lab.appliance.wait_for_event(spt=port, code="name_not_listed", dhost="abuse.revoke.test")


def shake_hands(peer: Peer) -> None:
    """Connect as a host does: it resets what the server remembers of a former connection (RFC 9293 section 3.5.1)."""
    peer.send_syn()
    answer = peer.receive_where(lambda segment: segment.flags & ACK)
    assert answer is not None
    if not answer.flags & SYN:
        peer.send(b"", at=answer.acknowledgement - peer.isn - 1, flags=RST)
    peer.connect()


def test_a_syn_within_an_open_connection_begins_nothing(lab: Lab, reused: tuple[Workload, Server, Group]) -> None:
    """The server has not forgotten it, and challenges the SYN (RFC 5961 section 4.2): what is open goes on."""
    client, server, _ = reused
    with opened(client, server) as first:
        server.forget()
        with Peer(client, server.address, 443, source_port=first.source_port) as second:
            second.send_syn()
            challenge = second.receive_where(lambda segment: segment.flags == ACK)
            assert challenge is not None
            assert challenge.acknowledgement == (first.isn + 1 + len(GOOD)) % 2**32
            second.send(EVIL)  # numbered as the new connection would be
            second.receive(0.3)
    assert server.received() == b""


# ---- X4: marks from outside ----

SIGNS = [
    # mark       DSCP
    (0x10000000,  0),
    (0xA0000000,  8),
    (0xA0000001, 46),
    (0xFFFFFFFF, 63),
]  # fmt: skip


@pytest.mark.parametrize(("mark", "dscp"), SIGNS)
def test_a_client_marks_nothing(lab: Lab, reused: tuple[Workload, Server, Group], mark: int, dscp: int) -> None:
    """Its packets' mark, priority and DSCP say nothing to us: the unlisted is refused, and no octet of it arrives."""
    client, server, _ = reused
    server.forget()
    with client.namespace.open_socket() as stream:
        stream.settimeout(3)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark.to_bytes(4, sys.byteorder))
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 6)
        stream.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
        stream.connect((server.address, 443))
        port = stream.getsockname()[1]
        stream.sendall(EVIL)
        with pytest.raises(ConnectionResetError):
            stream.recv(100)
    assert server.received() == b""
    lab.appliance.wait_for_event(dst=server.address, spt=port, code="name_not_listed")
