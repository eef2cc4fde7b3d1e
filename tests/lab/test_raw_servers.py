"""Servers whose TCP is as hostile as their client's: what they agree on between them opens nothing (P11).

The server is a peer in user space too. It has the address of the listed name where the client's good hello should be
worth something, and another one where nothing should.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.lab.hostile import EVIL, GOOD, HALF, NAME, REPLY, arrived, hostile_client
from tests.lab.lab import Lab
from tests.lab.servers import Server
from tests.lab.story import refused
from tests.lab.tcp import ACK, MD5_OPTION, PSH, RST, SYN, URG, End, Peer, Tap
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")

PORT = 25443  # one that the kernel in the server's namespace keeps quiet about


class Pair(NamedTuple):
    """Both ends of a connection that is not open yet, and what reaches the server's host."""

    client: Peer
    server: Peer
    tap: Tap

    def open(self) -> None:
        """Shake hands in the ordinary way."""
        self.client.send_syn()
        self.server.accept()
        self.client.finish_handshake()
        assert self.server.receive_where(lambda segment: segment.flags == ACK)

    def arrived(self) -> list[bytes]:
        """Return the payloads that have reached the server's host since the last time."""
        here = self.server.host.namespace
        return arrived(self.tap, here, Peer(self.client.host, self.server.source, PORT))


@pytest.fixture(scope="module")
def addresses(lab: Lab) -> tuple[str, str]:
    """Of the listed name, and of nobody; no kernel listens at either."""
    listed, other = lab.internet.address(), lab.internet.address()
    lab.names[NAME] = [listed]
    return listed, other


@pytest.fixture(scope="module")
def host(lab: Lab, appliance: object, addresses: tuple[str, str]) -> Workload:
    """The client."""
    return hostile_client(lab, "raw", port=PORT)


@pytest.fixture
def pair(lab: Lab, host: Workload, addresses: tuple[str, str]) -> Iterator[Pair]:
    """A client and a server at the listed address."""
    yield from _paired(lab, host, addresses[0])


@pytest.fixture
def unlisted(lab: Lab, host: Workload, addresses: tuple[str, str]) -> Iterator[Pair]:
    """A client and a server somewhere else."""
    yield from _paired(lab, host, addresses[1])


def _paired(lab: Lab, host: Workload, address: str) -> Iterator[Pair]:
    here = lab.internet.namespace
    with Tap(here) as tap, Peer(host, address, PORT) as client:
        end = End(here, address)
        with Peer(end, lab.appliance.public, client.source_port, source_port=PORT) as server:
            yield Pair(client, server, tap)


def refusal(lab: Lab, pair: Pair, code: str, *, cat: str = "client") -> None:
    refused(lab, Server("", pair.server.source, PORT), code, cat=cat, saw=None, spt=pair.client.source_port)


# ---- agreeing on numbers ----


@pytest.mark.parametrize("shift", [5, len(GOOD), 70_000, -70_000, 1 << 24, 1 << 31])
@pytest.mark.parametrize("where", ["pair", "unlisted"])
def test_several_answers_to_a_syn_open_nothing(
    lab: Lab, request: pytest.FixtureRequest, where: str, shift: int
) -> None:
    """Whatever number a later SYN acknowledges, and whichever of both the hello goes by (P11)."""
    pair: Pair = request.getfixturevalue(where)
    pair.open()
    pair.server.expects = (pair.server.expects + shift) % 2**32
    pair.server.send(b"", at=-1, flags=SYN | ACK)
    pair.server.send(b"", at=shift - 1, flags=SYN | ACK)
    octets = EVIL if where == "pair" else GOOD
    for at in (0, shift, 0):
        pair.client.send(octets, at=at)
        pair.client.send(octets[HALF:], at=at + HALF)
    assert pair.client.was_reset()
    assert pair.arrived() == []


def test_a_number_that_was_agreed_on_later_hides_nothing(lab: Lab, pair: Pair) -> None:
    """The good hello goes by the second number, the other one by the first."""
    pair.open()
    pair.server.expects = (pair.server.expects + 70_000) % 2**32
    pair.server.send(b"", at=-1, flags=SYN | ACK)
    assert pair.client.receive_where(lambda segment: segment.flags & SYN) is not None
    pair.client.send(EVIL)
    pair.client.send(GOOD, at=70_000)
    pair.client.send(EVIL)
    assert pair.client.was_reset()
    assert not [each for each in pair.arrived() if each not in GOOD]


@pytest.mark.parametrize("first", [0, ACK], ids=["syn", "ack_then_syn"])
def test_a_split_handshake_opens_nothing(lab: Lab, pair: Pair, first: int) -> None:
    """A server that answers with a SYN of its own, as in a simultaneous open (RFC 9293 section 3.5)."""
    client, server = pair.client, pair.server
    client.send_syn()
    syn = server.receive_where(lambda segment: segment.flags & (SYN | ACK) == SYN)
    assert syn is not None
    server.expects = (syn.sequence + 1) % 2**32
    if first:
        server.send(b"", at=-1, flags=ACK)
    server.send(b"", at=-1, flags=SYN)
    client.expects = (server.isn + 1) % 2**32
    client.receive(0.3)
    client.send(b"", at=-1, flags=SYN | ACK)
    client.receive(0.3)
    server.send(b"", flags=ACK)
    for octets in (GOOD, EVIL):
        client.send(octets)
        client.receive(0.3)
    assert pair.arrived() == []


# ---- answering what was not received ----


@pytest.mark.parametrize("missing", [1, HALF, len(GOOD)])
def test_a_reply_that_does_not_acknowledge_the_hello_opens_nothing(lab: Lab, pair: Pair, missing: int) -> None:
    """What was inspected was a decoy, for all we know (P3, P6)."""
    pair.open()
    pair.client.send(GOOD)
    assert pair.server.receive_where(lambda segment: segment.payload == GOOD)
    pair.server.expects = (pair.server.expects + len(GOOD) - missing) % 2**32
    pair.server.send(REPLY)
    assert pair.client.was_reset()
    refusal(lab, pair, "server_ack_short", cat="server")
    pair.client.send(EVIL)
    pair.client.send(EVIL, at=len(GOOD))
    assert pair.arrived() == [GOOD]


def test_a_reply_before_the_hello_opens_nothing(lab: Lab, pair: Pair) -> None:
    """Neither is it told to the client (X10)."""
    pair.open()
    pair.server.send(REPLY)
    assert pair.client.was_reset()
    refusal(lab, pair, "server_first", cat="server")
    pair.client.send(GOOD)
    pair.client.send(EVIL)
    assert pair.arrived() == []


# ---- odd segments of a server ----

ODD = [
    ("syn", {"flags": SYN | ACK}, ""),  # conntrack knows better
    ("urgent", {"urgent": 3}, "urgent_data"),
    ("urgent without payload", {"flags": ACK | URG, "urgent": 3}, "urgent_data"),
    ("md5", {"options": MD5_OPTION}, "tcp_md5"),
    ("reset", {"flags": RST | ACK}, "malformed_packet"),
    ("reset that acknowledges nothing", {"flags": RST | PSH}, ""),
]


@pytest.mark.parametrize(("what", "odd", "code"), ODD, ids=[row[0] for row in ODD])
def test_odd_segments_of_a_server_do_not_reach_its_client(
    lab: Lab, pair: Pair, what: str, odd: dict[str, int], code: str
) -> None:
    """They end the flow, like the client's."""
    pair.open()
    pair.client.send(GOOD)
    assert pair.server.receive_where(lambda segment: segment.payload == GOOD)
    pair.server.expects = (pair.server.expects + len(GOOD)) % 2**32
    with Tap(pair.client.host.namespace) as tap:
        pair.server.send(b"" if "without" in what else REPLY, **odd)
        if code:
            assert pair.client.was_reset()
            refusal(lab, pair, code, cat="server")
        else:
            pair.client.receive(0.3)
        pair.client.send(EVIL)
        assert pair.arrived() == [GOOD]
        assert tap.payloads(pair.client.source) == []
