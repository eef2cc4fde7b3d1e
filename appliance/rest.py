"""Rest: the wait between two readings of AWS, which may be cut short."""

import asyncio
import contextlib
import random

from appliance.pace import pause


class Rest:
    """Used inside one event loop.

    One reading that took long was an accident, such as a lost packet or a host that stood still; only two in a row tell
    how much there is to read. With the interval of ten seconds, nobody waits two minutes for one late answer.
    """

    def __init__(self) -> None:
        self._is_over = asyncio.Event()
        self._spent = 0.0

    async def take(self, interval: float, *, spent: float, failures: int) -> None:
        """Wait as `pace.pause` says of the quicker of this reading and the one before, or until `end`."""
        self._is_over.clear()
        usual, self._spent = min(spent, self._spent), spent
        wait = pause(interval, spent=usual, failures=failures, dice=random.random())  # noqa: S311 -- spreads load
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_over.wait(), wait)

    def end(self) -> None:
        """Let whoever waits go on: what the wait was reckoned by has changed."""
        self._is_over.set()
