"""What a parser of ours says: its value, or a refusal that is fit for the log. Anything else is a failure."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from appliance.errors import Malformed
from appliance.reason import Reason

REFUSAL_MAX = 200  # characters of its message
CUTS = 64  # of a stream that is too long for all of them
NEIGHBOURS = 16  # of octets


class Refusal(NamedTuple):
    """Why a parser refused: a code that the log knows, and a message that is fit for it."""

    code: str
    message: str


def outcome(function: Callable[[bytes], object], octets: bytes) -> object:
    """Return what a function says of octets, a Refusal included."""
    try:
        return function(octets)
    except Malformed as fault:
        refusal = Refusal(fault.code, fault.message)
    assert Reason(refusal.code).value == refusal.code
    assert refusal.message.isascii()
    assert refusal.message.isprintable()
    assert len(refusal.message) < REFUSAL_MAX
    return refusal


def outcome_of_cuts(function: Callable[[bytes], object], stream: bytes) -> object:
    """Return what a function says of a stream, having seen that how it is cut changes nothing.

    It says None until some octet, and from there on for good what it says of the whole.
    """
    whole = outcome(function, stream)
    size = len(stream)
    low, high = 0, size  # where it begins to tell: found by bisection, and confirmed by the cuts below
    while low < high:
        middle = (low + high) // 2
        if outcome(function, stream[:middle]) is None:
            low = middle + 1
        else:
            high = middle
    for cut in {*range(0, size, max(size // CUTS, 1)), *range(max(low - 4, 0), min(low + 4, size))}:
        said = outcome(function, stream[:cut])
        assert said == (None if cut < low else whole), f"{said} after {cut} octets of {size}, {whole} after all"
    return whole


def neighbours(octets: bytes) -> Iterator[bytes]:
    """Yield octets that differ in one place; which ones depends on all of them, so that a fuzzer comes to each."""
    step = len(octets) // NEIGHBOURS + 1
    for at in range(sum(octets) % step, len(octets), step):
        yield octets[:at] + bytes((octets[at] ^ (1 + sum(octets) % 255),)) + octets[at + 1 :]
