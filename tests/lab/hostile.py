"""Hostile: a client of which nothing is to be trusted, a listed server, and two hellos as long as each other.

The server is the kernel's TCP with fixed octets on top. It answers a whole hello, so that only one which really arrived
is answered; `Stage.assert_only` looks at what its application read and at what reached its host at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests import hellos
from tests.lab.lab import Lab, wait_until
from tests.lab.namespaces import Namespace
from tests.lab.servers import Server
from tests.lab.story import hello, launch, tls
from tests.lab.tcp import MSS, RST, SACK_PERMITTED, WINDOW_SCALE, Peer, Tap, timestamps
from tests.lab.workload import Workload

NAME = "api.packets.test"
GOOD = hello(NAME)
EVIL = hello("www.packets.test")  # as long, and not listed
REPLY = hellos.server_stream()
HALF = len(GOOD) // 2
CHANGED = [at for at, (one, other) in enumerate(zip(GOOD, EVIL, strict=True)) if one != other]
NEW, OLD = 1_000_000, 1000  # timestamps
LINUX = MSS + SACK_PERMITTED + timestamps(NEW) + WINDOW_SCALE  # what its SYN has


@dataclass(frozen=True)
class Stage:
    """A hostile client and a listed server, with a tap at the server's host."""

    lab: Lab
    host: Workload
    server: Server
    tap: Tap

    def peer(self, *, source_port: int = 0) -> Peer:
        """Return a connection that is not open yet."""
        return Peer(self.host, self.server.address, self.server.port, source_port=source_port)

    def settle(self) -> list[bytes]:
        """Return the payloads that have reached the server's host since the last time."""
        return arrived(self.tap, self.lab.internet.namespace, self.peer())

    def assert_only(self, inspected: bytes = b"") -> None:
        """Assert that no octet has come but those of a hello that was inspected, by default none at all."""
        strange = [payload for payload in self.settle() if payload not in inspected]
        assert not strange, strange
        read = self.server.received()
        assert inspected.startswith(read), read


def arrived(tap: Tap, namespace: Namespace, last: Peer) -> list[bytes]:
    """Return the payloads that a tap has seen on their way to a server.

    What was sent before a packet that has arrived cannot still be on its way: there is one path.

    Args:
        namespace: the server's host.
        last: a connection to the server that is not open yet; it sends that packet.
    """
    with Tap(namespace) as behind, last:
        last.send_syn()
        assert wait_until(lambda: any(behind.segments(last.destination, last.port)))
        last.send(b"", flags=RST)
    return tap.payloads(last.destination)


@contextmanager
def staged(lab: Lab, host: Workload, server: Server) -> Iterator[Stage]:
    """Begin with empty records."""
    server.forget()
    with Tap(lab.internet.namespace) as tap:
        yield Stage(lab, host, server, tap)


def listed_server(lab: Lab) -> Server:
    """Start a listed server that answers once it has a whole hello; it takes the name from a former one."""
    server = lab.internet.lines("", reply=REPLY, after=len(GOOD))
    lab.names[NAME] = [server.address]
    return server


def hostile_client(lab: Lab, name: str = "packets", *, port: int = 443) -> Workload:
    """Launch the client, once its name is resolved."""
    client = launch(lab, name, tls(NAME, port=port))
    assert wait_until(lambda: lab.dns.asked(NAME))
    return client


def strays(lab: Lab, counter: str = "stray") -> int:
    """Return how many packets a counter of the ruleset has seen; by default those that belong to no flow."""
    listing = lab.appliance.namespace.run("nft", "list", "counter", "inet", "discriminat", counter).stdout
    return int(listing.partition("packets ")[2].split()[0])
