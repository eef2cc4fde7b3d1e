"""The first octets of one direction of a flow, put in order.

Source: RFC 9293 section 3.10.7.4 (segment arrives).
An octet, once accepted, is never replaced: a retransmission must repeat it exactly, or the flow is
killed. What was inspected is then what the server gets, whichever copy it prefers.
"""

from typing import Final

from appliance.errors import Malformed


class Stream:
    """Reassembles up to `limit` octets from at most `max_segments` segments.

    `contiguous`: the octets from offset 0 on, without gaps. Octets beyond a gap are kept apart until
    the gap is filled; no octet is stored twice.
    """

    __slots__ = ("_held", "_limit", "_max_segments", "_segments", "contiguous")

    def __init__(self, limit: int, max_segments: int) -> None:
        """Begin empty. `limit` in octets; every segment with payload counts, repeated or not."""
        self.contiguous: bytes = b""
        self._limit: Final = limit
        self._max_segments: Final = max_segments
        self._segments = 0
        self._held: list[tuple[int, bytes]] = []  # (offset, octets), beyond a gap, apart from each other

    def feed(self, offset: int, payload: bytes) -> None:
        """Accept a segment's payload. `offset`: of its first octet, relative to the stream's first.

        Raises:
            Malformed: with code `tcp_conflict` if it changes an octet already accepted or lies before
                the stream, `hello_too_long` if it goes beyond the limit, `too_many_segments`. The
                stream is then as it was; the caller denies the flow.
        """
        if not payload:
            return
        end = offset + len(payload)
        if offset < 0:
            raise Malformed(f"{len(payload)} octets at offset {offset}, before the stream", code="tcp_conflict")
        if end > self._limit:
            raise Malformed(f"{end} octets, limit is {self._limit}", code="hello_too_long")
        if self._segments >= self._max_segments:
            raise Malformed(f"more than {self._max_segments} segments", code="too_many_segments")
        if self._held or offset != len(self.contiguous):
            self._merge(offset, payload)
        elif offset:
            self.contiguous += payload
        else:
            self.contiguous = payload
        self._segments += 1

    @property
    def held(self) -> int:
        """Number of octets that wait beyond a gap."""
        return sum(len(octets) for _, octets in self._held)

    def _merge(self, offset: int, payload: bytes) -> None:
        """Join a piece with every piece it overlaps or touches."""
        apart: list[tuple[int, bytes]] = []
        joined = (offset, payload)
        for piece in ((0, self.contiguous), *self._held):
            if piece[0] + len(piece[1]) < joined[0] or joined[0] + len(joined[1]) < piece[0]:
                apart.append(piece)
            else:
                joined = _join(piece, joined)
        if joined[0] == 0:
            self.contiguous = joined[1]
            self._held = [piece for piece in apart if piece[0]]
        else:
            self._held = [*(piece for piece in apart if piece[0]), joined]


def _join(one: tuple[int, bytes], other: tuple[int, bytes]) -> tuple[int, bytes]:
    """Return two pieces that overlap or touch as one."""
    (first, first_octets), (second, second_octets) = (one, other) if one[0] <= other[0] else (other, one)
    overlap = first_octets[second - first :][: len(second_octets)]
    if second_octets[: len(overlap)] != overlap:
        raise Malformed(f"{len(overlap)} octets at offset {second} differ from those accepted", code="tcp_conflict")
    return first, first_octets + second_octets[len(overlap) :]
