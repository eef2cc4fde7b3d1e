"""Verdict messages: what the kernel reads is what we meant, and a burst of them is one system call."""

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from appliance.edge.verdicts import Verdicts

pytestmark = pytest.mark.sockets

DROP, ACCEPT = 0, 1


@pytest.fixture
def kernel() -> Iterator[tuple[socket.socket, Verdicts]]:
    """Our end of a socket in place of netlink, and the verdicts on queue 7 that are written to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        verdicts = Verdicts(7, theirs.fileno())
        yield ours, verdicts
        verdicts.close()


def messages(octets: bytes) -> Iterator[tuple[int, int, int, int | None]]:
    """Yield (queue, packet id, verdict, mark) of each netlink message; check all that is constant."""
    while octets:
        length, kind, flags, _, _ = struct.unpack_from("=IHHII", octets)
        assert (kind >> 8, kind & 0xFF, flags) == (3, 1, 1)  # nfnetlink_queue, verdict, a request
        queue = struct.unpack_from("!H", octets, 18)[0]
        size, attribute, verdict, packet_id = (
            *struct.unpack_from("=HH", octets, 20),
            *struct.unpack_from("!II", octets, 24),
        )
        assert (size, attribute) == (12, 2)
        mark = None
        if length > 32:
            assert struct.unpack_from("=HH", octets, 32) == (8, 3)
            mark = struct.unpack_from("!I", octets, 36)[0]
        yield queue, packet_id, verdict, mark
        octets = octets[length:]


def test_a_burst_of_verdicts_is_one_message_to_the_kernel(kernel: tuple[socket.socket, Verdicts]) -> None:
    """Verdicts go out together and in order, each with the packet's number and its mark."""
    ours, verdicts = kernel
    verdicts.accept(1, Verdicts.mark_attribute(0xA0000000))
    verdicts.drop(2)
    verdicts.accept(0xFFFFFFFE, Verdicts.mark_attribute(0x10000000))

    verdicts.send()

    assert list(messages(ours.recv(4096))) == [
        (7, 1, ACCEPT, 0xA0000000),
        (7, 2, DROP, None),
        (7, 0xFFFFFFFE, ACCEPT, 0x10000000),
    ]


def test_verdicts_are_sent_once(kernel: tuple[socket.socket, Verdicts]) -> None:
    """What was sent is forgotten, and nothing to send is no system call."""
    ours, verdicts = kernel
    verdicts.drop(1)
    verdicts.send()
    verdicts.send()
    ours.settimeout(0)

    assert len(list(messages(ours.recv(4096)))) == 1
    with pytest.raises(BlockingIOError):
        ours.recv(4096)


def test_the_queue_s_own_socket_stays_open(kernel: tuple[socket.socket, Verdicts]) -> None:
    """Closing our copy leaves the package's descriptor alone."""
    ours, _ = kernel
    copy = Verdicts(0, ours.fileno())

    copy.close()

    assert os.fstat(ours.fileno())
