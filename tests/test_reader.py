"""The bounded reader: every length is checked, every octet is accounted for."""

from collections.abc import Callable

import pytest

from appliance.errors import Malformed
from appliance.wire.reader import Reader

OCTETS = b"\x01\x02\x03\x00\x02ab\xff"

REFUSED = [
    # read                                                   message
    (lambda r: r.take(9, "random"), "random: wants 9 octets at offset 0, 8 left"),
    (lambda r: (r.take(7, "head"), r.uint(2, "size")), "size: wants 2 octets at offset 7, 1 left"),
    (lambda r: (r.take(5, "head"), r.block(1, "names")), "names: wants 97 octets at offset 6, 2 left"),
    (lambda r: (r.take(6, "head"), r.block(3, "names")), "names: wants 3 octets at offset 6, 2 left"),
    (lambda r: r.block(2, "names"), "names: wants 258 octets at offset 2, 6 left"),
    (lambda r: r.inner(2, "names"), "names: wants 258 octets at offset 2, 6 left"),
    (lambda r: (r.take(8, "all"), r.inner(1, "names")), "names: wants 1 octets at offset 8, 0 left"),
    (lambda r: r.finish("hello"), "hello: 8 octets left over at offset 0"),
]


@pytest.mark.parametrize(("read", "message"), REFUSED)
def test_refusal_says_what_where_and_how_much(read: Callable[[Reader], object], message: str) -> None:
    """A read past the end or an early finish names the field, its offset, what it wants and what is left."""
    with pytest.raises(Malformed) as caught:
        read(Reader(OCTETS, "server_malformed"))
    assert (caught.value.code, caught.value.message) == ("server_malformed", message)


def test_reads_advance_and_finish_at_the_end() -> None:
    """Integers, octets and blocks follow one another; a reader used up may finish."""
    reader = Reader(OCTETS)
    assert reader.uint(1, "one") == 1
    assert reader.uint(2, "two") == 0x0203
    assert reader.block(2, "block") == b"ab"
    assert reader.left == 1
    assert reader.take(1, "last") == b"\xff"
    assert reader.left == 0
    reader.finish("message")


def test_inner_reader_ends_where_its_block_ends() -> None:
    """A block's reader sees nothing beyond it, counts offsets from the whole, and leaves the rest to the outer."""
    outer = Reader(b"\x02abXY")
    inner = outer.inner(1, "block")
    assert inner.take(1, "a") == b"a"
    with pytest.raises(Malformed) as caught:
        inner.take(2, "b and more")
    assert caught.value.message == "b and more: wants 2 octets at offset 2, 1 left"
    with pytest.raises(Malformed) as caught:
        inner.finish("block")
    assert caught.value.message == "block: 1 octets left over at offset 2"
    assert outer.take(2, "rest") == b"XY"


def test_failed_read_leaves_the_reader_where_it_was() -> None:
    """After a refusal nothing has been consumed."""
    reader = Reader(b"\x00\x05abc")
    with pytest.raises(Malformed):
        reader.take(6, "too much")
    assert reader.left == 5
