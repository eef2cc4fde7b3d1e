"""The crew: the worker processes, kept alive.

A worker that dies is started again at once; until it has bound its queue and has a policy, the
kernel drops what it would have been given. Runs on the supervisor's event loop.
"""

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import Callable

from appliance.edge.channel import Channel
from appliance.edge.netfilter import NetfilterConfig
from appliance.limits import Limits
from appliance.messages import Configure, Confirm, Confirmed, Ready, Statistics, Stop
from appliance.settings import Settings

Send = Callable[[object], object]

log = logging.getLogger("discriminat")

RESTART_WAIT = 1.0  # seconds between two starts of one worker
SILENCE = 10.0  # seconds without a report after which a worker counts as stuck
STUCK = 30.0  # seconds without a report after which a worker is killed
STOP_WAIT = 5.0  # seconds for a worker to exit by itself


class _Member:
    """One worker process as the supervisor sees it."""

    def __init__(self, configuration: Configure) -> None:
        self.configuration = configuration
        self.process: asyncio.subprocess.Process | None = None
        self.channel: Channel | None = None
        self.is_ready = False
        self.confirmed = 0  # the last number
        self.heard_at = 0.0  # monotonic seconds
        self.statistics = Statistics()
        self.restarts = -1  # the first start is none


def configurations(settings: Settings, config: NetfilterConfig, instance: str) -> list[Configure]:
    """Return the first message to each worker, one for each queue."""
    limits = Limits(
        hello_wait=settings.engine_hello_wait,
        reply_wait=settings.engine_reply_wait,
        look_up_wait=settings.engine_look_up_wait,
    )
    return [
        Configure(
            queue=config.first_queue + number,
            instance=instance,
            limits=limits,
            grace=settings.names_grace,
            isn_reversed=config.isn_reversed,
        )
        for number in range(config.queues)
    ]


class Crew:
    """Starts the workers, passes messages, restarts who dies.

    Args:
        configurations: one per worker.
        on_start: called with a function that sends to the worker that has just started.
        on_message: called with each message but Ready, Confirmed and Statistics, and a function that replies.
        on_death: called with the queue number and the exit code.
    """

    def __init__(
        self,
        configurations: list[Configure],
        *,
        on_start: Callable[[Send], None],
        on_message: Callable[[object, Send], None],
        on_death: Callable[[int, int], None],
    ) -> None:
        self._members = [_Member(configuration) for configuration in configurations]
        self._on_start = on_start
        self._on_message = on_message
        self._on_death = on_death
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._progress = asyncio.Condition()  # somebody is ready, has confirmed, or is gone
        self._confirming = 0  # the last number that was to be confirmed

    def start(self) -> None:
        """Start every worker, and keep each alive."""
        self._tasks = [asyncio.create_task(self._keep(member)) for member in self._members]

    async def wait_ready(self) -> None:
        """Wait until every worker has bound its queue and put a policy in force."""
        async with self._progress:
            await self._progress.wait_for(lambda: self.is_ready)

    async def wait_obeyed(self) -> None:
        """Wait until every worker that runs has obeyed all it was sent before.

        One that dies meanwhile decides nothing any more; the next one in its place is told the newest.
        """
        self._confirming += 1
        number = self._confirming
        self.broadcast(Confirm(number))
        async with self._progress:
            await self._progress.wait_for(
                lambda: all(member.channel is None or member.confirmed >= number for member in self._members)
            )

    @property
    def is_ready(self) -> bool:
        """Every worker has bound its queue and put a policy in force."""
        return all(member.is_ready for member in self._members)

    def is_alive(self, now: float) -> bool:
        """Tell whether every worker is ready and has reported lately; a stuck one is as bad as a dead one."""
        return all(member.is_ready and now - member.heard_at < SILENCE for member in self._members)

    @property
    def restarts(self) -> int:
        """How often a worker was started again, over all of them."""
        return sum(max(member.restarts, 0) for member in self._members)

    @property
    def statistics(self) -> list[Statistics]:
        """The last report of each worker."""
        return [member.statistics for member in self._members]

    @property
    def losses(self) -> dict[str, int]:
        """Events that were not written, over all workers: too many of one kind, or too slow a reader."""
        return {
            "suppressed": sum(member.statistics.suppressed for member in self._members),
            "events_lost": sum(member.statistics.events_lost for member in self._members),
        }

    def broadcast(self, message: object) -> None:
        """Send to every worker that runs; one that starts later is told by `on_start`."""
        for member in self._members:
            if member.channel is not None:
                member.channel.send(message)

    def kill_silent(self, now: float) -> None:
        """Kill workers that have not reported for long: they are stuck, and are started again."""
        for member in self._members:
            process = member.process
            if process is not None and process.returncode is None and now - member.heard_at > STUCK:
                process.kill()

    async def stop(self, seconds: float) -> None:
        """Let the workers decide what they hold, and wait for them to exit."""
        self._stopping = True
        self.broadcast(Stop(seconds))
        _, late = await asyncio.wait(self._tasks, timeout=seconds + STOP_WAIT)
        if late:
            for member in self._members:
                if member.process is not None and member.process.returncode is None:
                    member.process.kill()
            await asyncio.wait(late, timeout=STOP_WAIT)

    async def _keep(self, member: _Member) -> None:
        while not self._stopping:
            started_at = time.monotonic()
            member.restarts += 1
            try:
                code = await self._run(member)
            except Exception:
                log.exception("serving the worker of queue %s failed", member.configuration.queue)
                code = -1
            if not self._stopping:
                self._on_death(member.configuration.queue, code)
                await asyncio.sleep(max(0.0, RESTART_WAIT - (time.monotonic() - started_at)))

    async def _run(self, member: _Member) -> int:
        """Start a worker, serve its messages until it is gone, and return its exit code."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "appliance", "worker", str(theirs.fileno()), pass_fds=(theirs.fileno(),)
                )
            except OSError as fault:  # no memory or no descriptors: there may be some in a moment
                ours.close()
                return fault.errno or -1
        channel = await Channel.open(ours)
        member.process, member.channel, member.heard_at = process, channel, time.monotonic()
        member.confirmed = 0
        channel.send(member.configuration)
        self._on_start(channel.send)
        channel.send(Confirm(self._confirming))
        try:
            with contextlib.suppress(EOFError):
                while True:
                    await self._dispatch(member, await channel.receive(), channel)
        except BaseException:
            process.kill()  # nobody would read what it says
            raise
        finally:
            member.channel, member.is_ready = None, False
        async with self._progress:
            self._progress.notify_all()
        channel.close()
        return await process.wait()

    async def _dispatch(self, member: _Member, message: object, channel: Channel) -> None:
        match message:
            case Ready():
                async with self._progress:
                    member.is_ready = True
                    self._progress.notify_all()
            case Confirmed(number):
                async with self._progress:
                    member.confirmed = number
                    self._progress.notify_all()
            case Statistics():
                member.statistics = message
                member.heard_at = time.monotonic()
            case _:
                self._on_message(message, channel.send)
