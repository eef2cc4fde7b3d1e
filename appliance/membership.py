"""Membership of an Auto Scaling group: a launch is over once flows are filtered, and who stays unwell is replaced.

Until the launch hook is completed the group does not count this instance as in service, and ends it when the hook
runs out: a machine that cannot filter never becomes one that is relied upon. AWS that cannot be read is no illness,
for another machine could not read it either.
"""

import asyncio
import time
from collections.abc import Callable

from appliance.edge.autoscaling import Group
from appliance.errors import AwsError
from appliance.settings import Settings

LOOK = 1.0  # seconds between two looks at the health
RETRY = 15.0  # seconds until AWS is told again after a failure


class Membership:
    """Tells the group how this instance is. Runs on the supervisor's event loop; AWS is called from threads.

    Args:
        is_well: whether flows are filtered as policy says.
        tell: writes a config event: category, outcome, reason.
    """

    def __init__(
        self, group: Group, settings: Settings, *, is_well: Callable[[], bool], tell: Callable[[str, str, str], None]
    ) -> None:
        self._group = group
        self._hook = settings.aws_launch_hook
        self._replace_after = settings.aws_replace_after
        self._is_well = is_well
        self._tell = tell

    async def keep(self) -> None:
        """Complete the launch when well; from then on, ask to be replaced after a long illness. Never returns."""
        if self._hook:
            # If it never is, the hook runs out, and the group ends this instance.
            while not self._is_well():  # noqa: ASYNC110 -- several things make it so, and none of them tells
                await asyncio.sleep(LOOK)
            await self._until_told(self._complete)
        well_at = time.monotonic()
        while True:
            await asyncio.sleep(LOOK)
            if self._is_well():
                well_at = time.monotonic()
            elif self._replace_after and time.monotonic() - well_at >= self._replace_after:
                await self._until_told(self._give_up)
                well_at = time.monotonic()

    def _complete(self) -> None:
        if self._group.complete_launch(self._hook):
            self._tell("appliance", "in service", f"the launch hook {self._hook} is completed")

    def _give_up(self) -> None:
        self._group.give_up()
        self._tell("appliance", "unhealthy", f"unwell for {self._replace_after:g} s: the group replaces this instance")

    async def _until_told(self, call: Callable[[], None]) -> None:
        while True:
            try:
                await asyncio.to_thread(call)
            except AwsError as fault:
                self._tell("error", "failed", f"the Auto Scaling group could not be told: {fault.message}")
                await asyncio.sleep(RETRY)
            else:
                return
