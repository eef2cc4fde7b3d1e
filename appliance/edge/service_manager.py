"""The service manager: what systemd wants to hear of a service of Type=notify. Nothing happens where there is none.

Source: sd_notify(3).
"""

import asyncio
import os
import socket
from collections.abc import Callable

START_INTERVALS = 4  # signs of life that may be missed while starting


class ServiceManager:
    """Tells systemd how we are; does nothing where there is no systemd."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    @classmethod
    def from_environment(cls) -> "ServiceManager":
        """Return the manager that systemd has named to us, if any."""
        return cls(os.environ.get("NOTIFY_SOCKET"))

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two signs of life, or None if none is wanted."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        return int(microseconds) / 2_000_000 if microseconds.isdigit() else None

    async def feed_watchdog(self, is_alive: Callable[[], bool]) -> None:
        """Tell that we live, as often as is wanted, while `is_alive` says so.

        The watchdog begins with READY=1. Before that it is the time to start that would run out.
        """
        interval = self.watchdog_interval
        while interval is not None:
            if is_alive():
                self.notify(f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={int(interval * START_INTERVALS * 1_000_000)}")
            await asyncio.sleep(interval)

    def notify(self, state: str) -> None:
        """Send a state such as READY=1; a manager that does not listen is no fault of ours."""
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            try:
                channel.sendto(state.encode(), address)
            except OSError:
                return
