"""Story: what every end-to-end test asks. Did it pass? What does the log say? What did the server see?"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.hellos import client_hello, client_stream, server_stream
from tests.lab.appliance import Config
from tests.lab.event_log import Event
from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import Group, Rule, egress
from tests.lab.servers import Server
from tests.lab.tcp import Peer, Tap
from tests.lab.workload import Workload

SHORT_WAITS: Config = {
    "policy": {"poll_interval": 0.5},
    "engine": {"hello_wait": 2.0, "reply_wait": 2.0, "look_up_wait": 2.0},
}


def tls(*names: str, port: int = 443, peer: str = "0.0.0.0/0") -> Rule:
    """Return an egress rule that lists names for TLS."""
    return egress("tcp", port, peer, f"discriminat:tls:{','.join(names)}")


def ssh(*names: str, port: int = 22) -> Rule:
    """Return an egress rule that lists names for SSH."""
    return egress("tcp", port, description=f"discriminat:ssh:{','.join(names)}")


def prefix_list(lab: Lab, *networks: str, family: str = "IPv4") -> str:
    """Make a list of this account, and return its id."""
    made = lab.ec2.create_managed_prefix_list(
        PrefixListName="servers",
        AddressFamily=family,
        MaxEntries=500,
        Entries=[{"Cidr": each} for each in networks],
    )
    return str(made["PrefixList"]["PrefixListId"])


def launch(lab: Lab, name: str, *rules: Rule, **options: Any) -> Workload:
    """Launch a client whose only group has these rules, and wait until the appliance knows both."""
    return launch_in(lab, name, [lab.security_group(name, *rules)], **options)


def launch_in(lab: Lab, name: str, groups: list[Group], **options: Any) -> Workload:
    """Launch a client in groups, and wait until the appliance knows it."""
    client = lab.workload(name, groups=groups, **options)
    wait_known(lab, client)
    return client


def wait_known(lab: Lab, client: Workload) -> None:
    """Wait until the appliance has the client in its policy."""
    for group in set(lab.state().interfaces[client.interface].groups):
        lab.appliance.wait_for_event(
            lambda event, gid=group: gid in event["gid"],  # type: ignore[misc]
            cat="client",
            outcome="accepted",
            client=client.address,
        )


def hello(name: str | None, **options: Any) -> bytes:
    """Return a client's first octets."""
    return client_stream(client_hello(name, **options))


def allowed(lab: Lab, server: Server, *, dhost: str = "") -> tuple[Event, Event]:
    """Return the log's two events of an allowed flow to a server: the client's side and the server's."""
    common = {"dst": server.address, "dpt": server.port, "outcome": "allowed", "dhost": dhost or server.name}
    client = lab.appliance.wait_for_event(cat="client", **common)
    return client, lab.appliance.wait_for_event(cat="server", **common, code="server_agreed", spt=client["spt"])


def refused(
    lab: Lab, server: Server, code: str, *, cat: str = "client", saw: bytes | None = b"", **fields: object
) -> Event:
    """Return the log's event of the last refused flow to a server.

    Args:
        saw: the octets that the server has got since its record began, None for any: by default not one.
    """
    here = {"dst": server.address, "cat": cat, "outcome": "disallowed", **fields}
    event = lab.appliance.wait_for_event(**here)
    if event["code"] != code:  # an earlier flow to the same server
        event = lab.appliance.wait_for_event(**here, code=code)
    if saw is not None:
        assert server.received() == saw
    return event


class Heard(NamedTuple):
    """What a client got back."""

    octets: bytes
    reset: bool
    port: int  # the client's


def converse(client: Workload, address: str, octets: bytes, *, port: int = 443, enough: int = 1) -> Heard:
    """Send octets and read until a reset, or until so many octets have come back."""
    heard = b""
    with client.connect(address, port, timeout=8) as stream:
        own = stream.getsockname()[1]
        try:
            stream.sendall(octets)
            while len(heard) < enough and (data := stream.recv(65536)):
                heard += data
        except ConnectionResetError:
            return Heard(heard, True, own)
    return Heard(heard, False, own)


@contextmanager
def nothing_arrives(lab: Lab, client: Workload, server: Server) -> Iterator[None]:
    """Assert that not one octet of what a client sends in this block reaches a server's host.

    A handshake at the end shows that nothing is still on its way, for there is one path.
    """
    with Tap(lab.internet.namespace) as tap:
        yield
        client.connect(server.address, server.port).close()
        assert not [segment for segment in tap.segments(server.address, server.port) if segment.payload]


def assert_closed(lab: Lab, web: Workload) -> None:
    """Assert that nothing of a new connection arrives, whatever becomes of the connection."""
    server = lab.internet.lines("", reply=server_stream())
    with Peer(web, server.address, 443) as peer:
        try:
            peer.connect()
        except (ConnectionResetError, TimeoutError):
            assert server.received() == b""
            return
        peer.send(hello("evil.closed.test"))
        peer.receive(0.3)
        peer.send(hello("evil.closed.test"))
        peer.receive(0.3)
    assert server.received() == b""


CONVERSATION = """
import socket, ssl, sys
plain = socket.create_connection((sys.argv[1], 443), 5)
stream = ssl.create_default_context().wrap_socket(plain, server_hostname=sys.argv[1])
for path in sys.stdin:
    stream.sendall(f"GET {path.strip()} HTTP/1.1\\r\\n\\r\\n".encode())
    print(len(stream.recv(4096)), flush=True)
"""


@contextmanager
def conversation(client: Workload, name: str) -> Iterator[Callable[[str], bool]]:
    """Hold an allowed TLS connection; yield a function that asks for a path over it and tells if it was answered."""
    with client.popen(sys.executable, "-c", CONVERSATION, name, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as talk:
        assert talk.stdin is not None
        assert talk.stdout is not None
        say, hear = talk.stdin, talk.stdout

        def ask(path: str = "/") -> bool:
            say.write(f"{path}\n".encode())
            say.flush()
            return hear.readline().strip() not in {b"", b"0"}  # nothing, or an end of the stream

        try:
            assert ask()
            yield ask
        finally:
            say.close()


def health(lab: Lab, key: str) -> Any:
    """Return a number of the health page."""
    return lab.appliance.details()[key]


def last_inspected(lab: Lab) -> int:
    """Return how many packets the workers have inspected, once they have reported twice without a change."""
    seen: list[int] = []

    def settled() -> bool:
        seen.append(health(lab, "packets_inspected"))
        return len(seen) > 110 and len(set(seen[-110:])) == 1

    assert wait_until(settled, 10)
    return seen[-1]
