"""Holding: packets without a verdict, and the resets of a refused flow."""

from appliance.command import SendReset, Verdict
from appliance.flow import Flow
from appliance.holding import FROM_SERVER, Holding, resets
from appliance.limits import Limits
from appliance.wire.stream import Stream
from tests.playbook import CLIENT, SERVER, verdict


def flow(port: int = 1) -> Flow:
    return Flow((CLIENT, port, SERVER, 443), 1000, Stream(100, 10))


def holding(*, held_packets: int = 10, held_per_flow: int = 10) -> Holding:
    return Holding(Limits(held_packets=held_packets, held_per_flow=held_per_flow))


def test_release_gives_all_the_same_verdict_in_the_order_of_arrival() -> None:
    """And nothing is held afterwards."""
    one, held, out = flow(), holding(), []
    for packet, place in [(3, 0), (1, FROM_SERVER), (2, 5)]:
        assert held.hold(one, packet, place)
    held.release(one, Verdict.DROP, out)
    assert out == verdict("drop", 3, 1, 2)
    assert (held.held, one.held) == (0, [])
    held.release(one, Verdict.DROP, out)
    assert len(out) == 3


def test_a_side_passes_alone() -> None:
    """The client's packets that begin before an offset, or the server's."""
    one, held, out = flow(), holding(), []
    for packet, place in [(1, 0), (2, FROM_SERVER), (3, 50), (4, 49)]:
        held.hold(one, packet, place)
    held.pass_client(one, 50, out)
    assert out == verdict("pass", 1, 4)
    assert one.released == 50
    held.pass_server(one, out)
    assert out[2:] == verdict("pass", 2)
    assert (held.held, one.held) == (1, [(3, 50)])


def test_limits() -> None:
    """Per flow and over all; what does not fit is not counted."""
    held = holding(held_packets=3, held_per_flow=2)
    one, other = flow(1), flow(2)
    assert [held.hold(one, packet, 0) for packet in range(3)] == [True, True, False]
    assert not held.is_full
    assert [held.hold(other, packet, 0) for packet in range(3, 5)] == [True, False]
    assert held.is_full
    assert held.held == 3


def test_the_longest_holder() -> None:
    """Whoever began first of those that still hold something."""
    held = holding()
    one, other = flow(1), flow(2)
    for packet, holder in enumerate([one, other, one]):
        held.hold(holder, packet, packet)
    assert held.longest is one
    held.pass_client(one, 1, [])
    assert held.longest is one
    held.release(one, Verdict.PASS, [])
    assert held.longest is other
    held.hold(one, 9, 0)
    assert held.longest is other


def test_resets_fit_what_each_end_has_seen() -> None:
    """The server expects what was released; the client expects what it last acknowledged."""
    one = flow()
    one.client.feed(0, b"hello")
    one.client_expects = 7000
    to_client, to_server = resets(one)
    assert to_client == SendReset(SERVER, 443, CLIENT, 1, 7000, 1005)
    assert to_server == SendReset(CLIENT, 1, SERVER, 443, 1000, 7000)
    one.released = 3
    assert resets(one)[1] == SendReset(CLIENT, 1, SERVER, 443, 1003, 7000)
    one.client_expects, one.server_base = None, 8000
    assert resets(one)[0] == SendReset(SERVER, 443, CLIENT, 1, 8000, 1005)
