"""First-octets reassembly: order does not matter, an accepted octet never changes."""

import itertools

import pytest

from appliance.errors import Malformed
from appliance.wire.stream import Stream

Segment = tuple[int, bytes]  # offset, payload

TEXT = b"0123456789abcdef"


def fed(*segments: Segment, limit: int = 64, max_segments: int = 16) -> Stream:
    stream = Stream(limit, max_segments)
    for offset, payload in segments:
        stream.feed(offset, payload)
    return stream


def test_pieces_in_any_order_make_the_same_stream() -> None:
    """Four pieces that overlap and touch come out the same in each of their 24 orders."""
    pieces = [(0, TEXT[:4]), (3, TEXT[3:8]), (8, TEXT[8:12]), (10, TEXT[10:])]
    for order in itertools.permutations(pieces):
        stream = fed(*order)
        assert stream.contiguous == TEXT
        assert stream.held == 0


ACCEPTED = [
    # segments                                               in order       held beyond a gap
    ([], b"", 0),
    ([(0, b"ab")], b"ab", 0),
    ([(0, b"ab"), (2, b"cd")], b"abcd", 0),
    ([(0, b"ab"), (0, b"ab")], b"ab", 0),  # retransmission
    ([(0, b"ab"), (0, b"abcd")], b"abcd", 0),  # retransmission with more
    ([(0, b"abcd"), (1, b"bc")], b"abcd", 0),  # retransmission of the middle
    ([(2, b"cd")], b"", 2),
    ([(2, b"cd"), (2, b"cd"), (3, b"de")], b"", 3),
    ([(2, b"cd"), (6, b"gh")], b"", 4),
    ([(2, b"cd"), (6, b"gh"), (4, b"ef")], b"", 6),
    ([(2, b"cd"), (6, b"gh"), (0, b"ab")], b"abcd", 2),
    ([(2, b"cd"), (6, b"gh"), (0, b"abcdefgh")], b"abcdefgh", 0),
    ([(0, b"ab"), (4, b"ef"), (1, b"bcde")], b"abcdef", 0),
    ([(0, b""), (40, b""), (-1, b"")], b"", 0),  # segments without payload say nothing
]


@pytest.mark.parametrize(("segments", "contiguous", "held"), ACCEPTED)
def test_octets_in_order_are_contiguous_and_the_rest_is_held(
    segments: list[Segment], contiguous: bytes, held: int
) -> None:
    """Octets count once, however often they come, and appear when everything before them has."""
    stream = fed(*segments)
    assert (stream.contiguous, stream.held) == (contiguous, held)


REFUSED = [
    # accepted before                  then             code
    ([(0, b"abcd")], (0, b"abXd"), "tcp_conflict"),
    ([(0, b"abcd")], (3, b"Xe"), "tcp_conflict"),
    ([(0, b"abcd")], (0, b"X"), "tcp_conflict"),
    ([(4, b"ef")], (0, b"abcdX"), "tcp_conflict"),
    ([(4, b"ef")], (5, b"Xg"), "tcp_conflict"),
    ([(4, b"ef"), (0, b"ab")], (1, b"bcdeX"), "tcp_conflict"),
    ([], (-1, b"a"), "tcp_conflict"),
    ([(0, b"ab")], (-1, b"zab"), "tcp_conflict"),
    ([], (0, bytes(65)), "hello_too_long"),
    ([(0, bytes(64))], (64, b"a"), "hello_too_long"),
    ([], (63, b"ab"), "hello_too_long"),
    ([], (1 << 31, b"a"), "hello_too_long"),
    ([(0, b"a")] * 16, (0, b"a"), "too_many_segments"),
    ([(2 * at, b"a") for at in range(1, 17)], (0, b"a"), "too_many_segments"),
]


@pytest.mark.parametrize(("before", "then", "code"), REFUSED)
def test_conflict_and_excess_are_refused_and_change_nothing(before: list[Segment], then: Segment, code: str) -> None:
    """A refused segment has its reason, and leaves the stream as it was."""
    stream = fed(*before)
    was = (stream.contiguous, stream.held)
    with pytest.raises(Malformed) as caught:
        stream.feed(*then)
    assert caught.value.code == code
    assert (stream.contiguous, stream.held) == was


def test_limits_are_reached_before_they_are_exceeded() -> None:
    """Exactly `limit` octets in exactly `max_segments` segments are fine."""
    assert fed(*((at, b"a") for at in range(8)), limit=8, max_segments=8).contiguous == b"a" * 8
