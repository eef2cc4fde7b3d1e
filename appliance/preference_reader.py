"""The reader of the preferences: asks for their parameter again and again, and puts in force what has changed.

What cannot be read, or not understood, changes nothing. Until it has been read once the defaults hold, which are the
safe values; they hold again when the parameter is gone, for nobody asks for anything else then.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from appliance.address import Network, without
from appliance.edge.suffix_list import read_suffixes
from appliance.errors import AwsError
from appliance.policy.exposure import Guard
from appliance.policy.policy import Change
from appliance.policy.preferences import (
    DEFAULTS,
    Ech,
    Preferences,
    diff_preferences,
    parse_preferences,
    state_preferences,
    write_preferences,
)
from appliance.settings import Settings

RETRY = 10.0  # seconds until it is tried again after a failure, unless the interval is shorter
JITTER = 0.1  # share of a wait
SHOWN = 5  # networks in a sentence


class Source(Protocol):
    """Where the preferences are kept, as `edge.ssm.Parameter` is."""

    name: str

    def read(self) -> str | None:
        """Return the text, or None if there is none.

        Raises:
            AwsError: nobody knows.
        """


class PreferenceReader:
    """Keeps the preferences up to date. Runs on the supervisor's event loop; AWS is called from threads.

    Args:
        source: None to go by the settings alone.
        own: networks of the VPC, and those as good as its own; they are never private destinations.
        put_in_force: called with the preferences that `current` has just become.
        tell: writes config events.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source | None,
        *,
        own: tuple[Network, ...] = (),
        put_in_force: Callable[[Preferences], Awaitable[None]],
        tell: Callable[[Iterable[Change]], None],
    ) -> None:
        self._source = source
        self._usual_interval = settings.preferences_interval
        self._own = own
        self._put_in_force = put_in_force
        self._tell = tell
        self._text: str | None = None  # as it was last read
        self._has_read = False
        self._failure = ""  # why the last reading failed
        self._read_at: float | None = None  # when SSM last gave an answer, monotonic seconds
        self._found = ("", "")  # what came of the text that was last read: outcome, and what is wrong
        self._outcome = ("", "")  # the same of the last reading, which may have failed
        self.current = DEFAULTS if source or not settings.tls_ech else Preferences(ech=Ech.ALLOW)
        self.settled = asyncio.Event()  # the first reading is over, for better or worse
        if source is None:
            self.settled.set()

    @property
    def guard(self) -> Guard:
        """What patterns are judged by."""
        return Guard(self.current.wildcard_exposure, read_suffixes())

    async def follow(self) -> None:
        """Read again and again; return at once if there is nothing to read."""
        while self._source is not None:
            await self._read(self._source)
            self.settled.set()
            interval = self.current.preferences_interval or self._usual_interval
            wait = min(interval, RETRY) if self._failure else interval
            await asyncio.sleep(wait * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 -- spreads load

    def report(self) -> dict[str, object]:
        """Return what /healthz says of the preferences. May be called from any thread."""
        outcome, failure = self._outcome
        return {
            "parameter": self._source.name if self._source else "",
            "age_seconds": None if self._read_at is None else round(time.monotonic() - self._read_at, 1),
            "outcome": outcome,
            "failure": failure,
            "in_force": write_preferences(self.current),
        }

    async def _read(self, source: Source) -> None:
        began = time.monotonic()
        try:
            text = await asyncio.to_thread(source.read)
        except AwsError as fault:
            if fault.message != self._failure:
                stands = "the last ones stand" if self._has_read else "the safe defaults are in force"
                why = f"{fault.message}; {fault.hint}" if fault.hint else fault.message
                self._tell([Change("error", "failed", reason=f"the preferences cannot be read, {stands}: {why}")])
            self._failure = fault.message
            self._outcome = ("failed", f"{fault.message}; {fault.hint}" if fault.hint else fault.message)
            return
        if self._failure:
            self._failure = ""
            self._tell([Change("error", "recovered", reason="the preferences can be read again")])
        if not self._has_read or text != self._text:
            self._found = await self._adopt(source.name, text)
        self._outcome, self._read_at = self._found, began
        self._text, self._has_read = text, True

    def _close_own(self) -> Iterator[Change]:
        """Take the VPC's own networks out of the private destinations; it does not route to itself through here."""
        wanted = self.current.private_destinations
        opened = without(wanted, (*self._own, *self.current.clients))
        if opened != wanted:
            self.current = replace(self.current, private_destinations=opened)
            what = "what the VPC or its clients have of private_destinations stays closed"
            yield Change("error", "ignored", reason=f"preferences: {what}; open are {_some(opened)}")

    async def _adopt(self, name: str, text: str | None) -> tuple[str, str]:
        """Put in force what a text says, then tell it; return how that went, and what is wrong."""
        told: list[Change] = []
        before = self.current
        if text is None:
            self.current = DEFAULTS
            hint = "create it, or empty [preferences] parameter"
            reason = f"SSM parameter {name} does not exist, and the safe defaults are in force; {hint}"
            told.append(Change("error", "missing", reason=reason))
        else:
            self.current, problems = parse_preferences(text, before)
            told += (problem.change for problem in problems)
            told += self._close_own()
            if not self._text:
                reason = f"read from SSM parameter {name}: {state_preferences(self.current)}"
                told.append(Change("preferences", "accepted", reason=reason))
        if self.current != before:
            await self._put_in_force(self.current)
        self._tell([*told, *diff_preferences(before, self.current)])
        wrong = [change for change in told if change.outcome in {"missing", "rejected"}]
        return (wrong[0].outcome, "; ".join(change.reason for change in wrong)) if wrong else ("accepted", "")


def _some(networks: tuple[Network, ...]) -> str:
    shown = ", ".join(map(str, networks[:SHOWN])) or "none"
    return f"{shown} and {len(networks) - SHOWN} more" if len(networks) > SHOWN else shown
