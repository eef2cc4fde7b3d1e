"""Entries: the listed names that let flows open, each as a number that a conntrack mark has room for.

The number of the entry that allowed a flow stands in the flow's mark, in the kernel, so that it is known for as long as
the flow lives, whatever becomes of the programs that judged it. It says whether the entry is listed still, and nothing
more. Two entries of one policy may have the same number, once in some hundred million; a flow of one of them then goes
on while the other is listed. Everything here is pure.
"""

import hashlib
from typing import NamedTuple

from appliance.address import Ipv4

ENTRY_BITS = 27
ENTRY_MASK = (1 << ENTRY_BITS) - 1
SEEN_THRU = 0  # no entry: the flow passed because of see-thru alone
_REMEMBERED = 65536  # numbers


def entry_number(protocol: str, name: str, port: int) -> int:
    """Return the number of a name that is listed for a protocol (tls or ssh) on a port: 1 to 2^ENTRY_BITS - 1.

    It hangs on nothing else, so that another process, or another version of the program, comes to the same.
    """
    digest = hashlib.blake2b(f"{protocol}:{name}:{port}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % ENTRY_MASK + 1


class OpenFlow(NamedTuple):
    """A flow that the kernel forwards by itself; addresses and ports as its client sees them, ports 0 if it has none.

    `entry`: number of the listed entry that let it open, or SEEN_THRU.
    """

    client: Ipv4
    client_port: int
    server: Ipv4
    server_port: int
    entry: int

    @property
    def key(self) -> tuple[Ipv4, int, Ipv4, int]:
        """Addresses and ports, as the log wants them."""
        return self[:4]


class EntryNumbers:
    """The function above, with a memory: the same few entries let most flows open."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], int] = {}

    def of(self, protocol: str, name: str, port: int) -> int:
        """Return what `entry_number` does."""
        key = (protocol, name, port)
        number = self._known.get(key)
        if number is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = number = entry_number(protocol, name, port)
        return number
