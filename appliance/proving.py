"""The proof that the data plane filters: its self-test, beside the start of the appliance, until it has passed.

`discriminat selftest` is a process of its own, in network namespaces of its own. What is in force here it cannot touch,
so that it may be run at any time.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable

from appliance.edge.netfilter import NetfilterConfig

RETRY_FIRST = 1.0  # seconds
RETRY_MOST = 60.0  # seconds
PATIENCE = 90.0  # seconds; it takes less than one, and under emulation twenty


class Proof:
    """Whether the data plane has been seen to filter. Made and used inside one event loop.

    `state`: for /healthz.

    Args:
        tell: writes a config event: category, outcome, reason.
    """

    def __init__(self, tell: Callable[[str, str, str], None]) -> None:
        self._tell = tell
        self._passed = asyncio.Event()
        self.state = "running"

    async def wait(self) -> float:
        """Wait until the self-test has passed; return how long that took, in seconds."""
        began = time.monotonic()
        await self._passed.wait()
        return time.monotonic() - began

    async def seek(self, config: NetfilterConfig) -> None:
        """Run the self-test until it has passed the way that the ruleset in force goes."""
        wait = RETRY_FIRST
        while not self._passed.is_set():
            failure, summary = await _attempt(config)
            if not failure:
                self.state = "passed"
                self._tell("appliance", "tested", f"the self-test of the data plane has passed: {summary}")
                self._passed.set()
                return
            if self.state != (state := f"failed: {failure}"):
                self.state = state
                self._tell("error", "failed", f"the self-test of the data plane, so all stays closed: {failure}")
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_MOST)


async def _attempt(config: NetfilterConfig) -> tuple[str, str]:
    """Run the self-test once; return why it failed, or nothing and what it found."""
    command = (sys.executable, "-m", "appliance", "selftest", "--json")
    try:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    except OSError as fault:  # no memory or no descriptors: there may be some in a moment
        return f"it could not be started: {fault.strerror}", ""
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        found = json.loads(output)
    except TimeoutError:
        return f"it did not finish within {PATIENCE:.0f} s", ""
    except ValueError:
        return f"it ended with code {process.returncode} and without findings", ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if found["failure"]:
        return " ".join(filter(None, (found["failure"], found["hint"] and f"({found['hint']})"))), ""
    if (found["nft_queue"], found["isn_reversed"]) != (config.nft_queue, config.isn_reversed):
        return f"it passed another way than the ruleset in force goes: {found['summary']}", ""
    return "", str(found["summary"])
