"""The pruner: which flows without a hello are forgotten. What the kernel says of them is the lab's (test_bounds)."""

import pytest

from appliance.edge.conntrack import Connection
from appliance.edge.system import ESTABLISHED_WAIT, UNACKNOWLEDGED_WAIT
from appliance.policy.entry import OpenFlow
from appliance.pruner import choose, silence
from appliance.reason import Reason
from tests.playbook import CLIENT, SEEING, SERVER

LATE, MANY = Reason.HELLO_TIMEOUT, Reason.TOO_MANY_FLOWS


def idle(port: int, seconds: int, *, client: int = CLIENT, is_idle: bool = True, left: int | None = None) -> Connection:
    """Return a connection that has been silent for so many seconds."""
    left = ESTABLISHED_WAIT - seconds if left is None else left
    flow = OpenFlow(client, port, SERVER, 443, 0)
    original = client.to_bytes(4) + port.to_bytes(2)
    return Connection(flow, is_closed=False, is_idle=is_idle, left=left, original=original)


def chosen(*undecided: Connection, wait: float = 60, most: int = 3) -> list[tuple[int, Reason]]:
    return [(each.flow.client_port, reason) for each, reason in choose(undecided, wait=wait, most=most)]


def test_what_is_silent_for_too_long_is_forgotten() -> None:
    """From the very second on."""
    assert chosen(idle(1, 60), idle(2, 59), idle(3, 7000)) == [(3, LATE), (1, LATE)]


def test_of_too_many_those_silent_for_longest_are_forgotten() -> None:
    """Each client has a share of its own."""
    others = [idle(port, 5, client=SEEING) for port in (8, 9)]
    assert chosen(*(idle(port, port) for port in range(1, 6)), *others) == [(5, MANY), (4, MANY)]


def test_those_forgotten_for_their_silence_make_room() -> None:
    """They are the first of the excess."""
    assert chosen(idle(1, 80), idle(2, 70), idle(3, 3), idle(4, 2), idle(5, 1)) == [(1, LATE), (2, LATE)]


def test_only_open_flows_of_clients_count() -> None:
    """Neither the machine's own connections nor handshakes, which the kernel forgets by itself."""
    assert chosen(*(idle(port, 100, is_idle=False) for port in range(9))) == []


def test_one_that_the_kernel_tells_of_twice_counts_once() -> None:
    """The table changes while it is read."""
    assert chosen(idle(1, 1), idle(1, 1), idle(2, 1), idle(2, 1), most=2) == []


@pytest.mark.parametrize(
    ("left", "seconds"),
    [(ESTABLISHED_WAIT, 0), (ESTABLISHED_WAIT - 61, 61), (UNACKNOWLEDGED_WAIT, 0), (UNACKNOWLEDGED_WAIT - 9, 9)],
)
def test_a_hello_that_is_held_is_no_silence(left: int, seconds: int) -> None:
    """The kernel gives less time to what is not acknowledged yet."""
    assert silence(idle(1, 0, left=left)) == seconds
