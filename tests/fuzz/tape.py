"""A tape: octets read as instructions, so that whatever a fuzzer makes up is a story, and a good one is soon found."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Tape:
    """Reads from the front; beyond the end there are zeros."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._octets)

    def take(self, size: int) -> bytes:
        """Return the next octets, fewer at the end."""
        self._at += size
        return self._octets[self._at - size : self._at]

    def number(self, size: int = 1) -> int:
        return int.from_bytes(self.take(size), "big")

    def choose(self, items: Sequence[Item]) -> Item:
        return items[self.number() % len(items)]
