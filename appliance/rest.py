"""Rest: the wait between two readings of AWS, which may be cut short."""

import asyncio
import contextlib
import random

from appliance.pace import pause


class Rest:
    """Used inside one event loop."""

    def __init__(self) -> None:
        self._is_over = asyncio.Event()

    async def take(self, interval: float, *, spent: float, failures: int) -> None:
        """Wait as `pace.pause` says, or until `end`."""
        self._is_over.clear()
        wait = pause(interval, spent=spent, failures=failures, dice=random.random())  # noqa: S311 -- spreads load
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_over.wait(), wait)

    def end(self) -> None:
        """Let whoever waits go on: what the wait was reckoned by has changed."""
        self._is_over.set()
