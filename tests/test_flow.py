"""Flows: sequence numbers, the bounded table, and its timers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.flow import ISN_BITS, Flow, FlowTable, State, base_of, offset_of
from appliance.limits import Limits
from appliance.wire.stream import Stream
from tests.playbook import CLIENT, SEEING, SERVER

SPACE = 1 << 32


def flow(port: int = 1, client: int = CLIENT) -> Flow:
    return Flow((client, port, SERVER, 443), 1000, Stream(100, 10))


# ---- sequence numbers ----


@pytest.mark.parametrize(
    ("sequence", "base", "offset"),
    [
        (1000, 1000, 0),
        (1001, 1000, 1),
        (999, 1000, -1),
        (5, SPACE - 5, 10),
        (SPACE - 5, 5, -10),
        (1 << 31, 0, -(1 << 31)),
    ],
)
def test_offset(sequence: int, base: int, offset: int) -> None:
    """Sequence numbers go round; half of the space lies ahead, half behind."""
    assert offset_of(sequence, base) == offset


@given(isn=st.integers(0, SPACE - 1), ahead=st.integers(-(1 << 23), (1 << 23) - 1))
def test_base_is_told_from_any_number_near_the_start(isn: int, ahead: int) -> None:
    """The low bits in the mark suffice, within 8 MiB of the start, wherever the numbers begin."""
    base = (isn + 1) % SPACE
    low = isn % (1 << ISN_BITS)
    assert base_of((base + ahead) % SPACE, low) == base


# ---- the table ----


def test_table_counts_undecided_flows_of_each_client() -> None:
    """Decided ones no longer count for the client, but still for the table."""
    table = FlowTable(Limits(flows=3, flows_per_client=2))
    flows = [flow(port) for port in range(3)]
    table.add(flows[0])
    assert not table.client_is_full(CLIENT)
    table.add(flows[1])
    assert table.client_is_full(CLIENT)
    assert not table.client_is_full(SEEING)
    table.settle(flows[0], State.DENIED)
    assert not table.client_is_full(CLIENT)
    table.add(flows[2])
    assert table.is_full
    assert table.oldest() is flows[0]
    table.remove(flows[0])
    assert not table.is_full
    assert table.oldest() is flows[1]
    assert table.get(flows[0].key) is None


def test_remove_leaves_a_flow_that_took_the_key() -> None:
    """Only the flow itself is removed, not its successor."""
    table = FlowTable(Limits())
    first, second = flow(), flow()
    table.add(first)
    table.add(second)
    table.remove(first)
    assert table.get(second.key) is second


@pytest.mark.parametrize("seconds", [0.0, 0.1, 2.0, 10.0, 60.0])
@pytest.mark.parametrize("start", [0.0, 0.3, 1e6])
def test_a_flow_expires_never_early_and_at_most_a_quarter_second_late(seconds: float, start: float) -> None:
    """And only once."""
    table = FlowTable(Limits())
    one = flow()
    table.add(one)
    table.arm(one, seconds, start)
    assert table.expired(start + seconds - 0.01) == []
    assert table.expired(start + seconds + 0.26) == [one]
    assert table.expired(start + 1e7) == []


def test_the_last_deadline_counts() -> None:
    """Earlier or later than the one before."""
    table = FlowTable(Limits())
    one = flow()
    table.add(one)
    table.arm(one, 10.0, 0.0)
    table.arm(one, 60.0, 1.0)
    assert table.expired(30.0) == []
    table.arm(one, 2.0, 30.0)
    assert table.expired(32.5) == [one]
    assert table.expired(100.0) == []


def test_expired_flows_come_earliest_first() -> None:
    """In the order of their deadlines, then of arming."""
    table = FlowTable(Limits())
    flows = [flow(port) for port in range(4)]
    for one, seconds in zip(flows, (60.0, 2.0, 10.0, 2.0), strict=True):
        table.arm(one, seconds, 0.0)
    assert table.expired(100.0) == [flows[1], flows[3], flows[2], flows[0]]


def test_nothing_is_kept_of_a_removed_flow() -> None:
    """Its timer goes with it."""
    table = FlowTable(Limits())
    one = flow()
    table.add(one)
    table.arm(one, 60.0, 0.0)
    table.settle(one, State.ALLOWED)
    table.arm(one, 2.0, 0.1)
    table.remove(one)
    assert (table._flows, table._slots, table._undecided) == ({}, {}, {})
