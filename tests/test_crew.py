"""The crew: real processes, with a stub of a worker in them that does as it is told."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import crew as crew_module
from appliance.crew import Crew
from appliance.limits import Limits
from appliance.messages import Configure, Ready, Statistics, WantClient

pytestmark = [pytest.mark.sockets, pytest.mark.subprocesses]

ROOT = Path(__file__).parents[1]

# Answers "hello" with Ready, its number and its process; exits on Stop; "die" and "hang" are what they say.
STUB = """
import os, signal, socket, sys, time
from appliance.edge.channel import WorkerChannel
from appliance.messages import Configure, Confirm, Confirmed, Ready, Statistics, Stop
channel = WorkerChannel(socket.socket(fileno=int(sys.argv[1])))
try:
    while True:
        for message in channel.wait():
            match message:
                case Configure():
                    queue = message.queue
                case "hello":
                    channel.send(Ready())
                    channel.send(Statistics(packets=queue))
                    channel.send(("ready", queue, os.getpid()))
                case "die":
                    os._exit(3)
                case "hang":
                    time.sleep(60)
                case Confirm(number):
                    channel.send(Confirmed(number))
                case Stop():
                    sys.exit(0)
                case _:
                    channel.send(("echo", message))
except EOFError:
    sys.exit(9)
"""


class Story:
    """A crew of stubs, and what was heard of it."""

    def __init__(self, size: int) -> None:
        self.heard: list[Any] = []
        self.deaths: list[tuple[int, int]] = []
        self.crew = Crew(
            [Configure(queue, "i-1", Limits(), 1.0, isn_reversed=False) for queue in range(size)],
            on_start=lambda send: send("hello"),
            on_message=lambda message, send: self.heard.append(message),
            on_death=lambda queue, code: self.deaths.append((queue, code)),
        )

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 -- what is awaited happens in another process
                await asyncio.sleep(0.01)

    def process_of(self, queue: int) -> int:
        """Return the process that serves a queue, the last one heard of."""
        return [message[2] for message in self.heard if message[0] == "ready" and message[1] == queue][-1]


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    start = asyncio.create_subprocess_exec

    async def start_stub(*command: str, **named: Any) -> asyncio.subprocess.Process:
        assert command[:4] == (sys.executable, "-m", "appliance", "worker")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return await start(sys.executable, "-c", STUB, command[4], env=environment, **named)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_stub)
    monkeypatch.setattr(crew_module, "RESTART_WAIT", 0.2)
    monkeypatch.setattr(crew_module, "STOP_WAIT", 0.5)


def play(size: int, told: Callable[[Story], Awaitable[None]]) -> Story:
    async def run() -> Story:
        story = Story(size)
        story.crew.start()
        try:
            async with asyncio.timeout(30):
                await story.crew.wait_ready()
                await story.until(lambda: len(story.heard) >= size)
                await told(story)
        finally:
            await story.crew.stop(0.5)
        return story

    return asyncio.run(run())


def test_workers_start_report_and_stop() -> None:
    """Each is configured first, told what all are told, and exits when asked to; that is no death."""

    async def told(story: Story) -> None:
        crew = story.crew
        assert crew.is_ready
        assert crew.is_alive(time.monotonic())
        assert crew.statistics == [Statistics(packets=0), Statistics(packets=1)]
        assert crew.restarts == 0
        crew.broadcast("news")
        await story.until(lambda: story.heard.count(("echo", "news")) == 2)

    story = play(2, told)
    assert story.deaths == []
    assert not story.crew.is_ready


def test_a_worker_that_dies_is_started_again() -> None:
    """The others go on; it counts as not ready meanwhile, and is told everything anew."""

    async def told(story: Story) -> None:
        victim = story.process_of(1)
        survivor = story.process_of(0)
        os.kill(victim, signal.SIGKILL)
        await story.until(lambda: story.deaths)
        assert story.deaths == [(1, -signal.SIGKILL)]
        assert not story.crew.is_ready
        assert not story.crew.is_alive(time.monotonic())
        await story.crew.wait_ready()
        await story.until(lambda: story.process_of(1) != victim)
        assert story.process_of(0) == survivor
        assert story.crew.restarts == 1

    play(2, told)


def test_a_worker_that_dies_again_and_again_is_not_started_in_a_hurry() -> None:
    """No more often than every RESTART_WAIT."""

    async def told(story: Story) -> None:
        begun = time.monotonic()
        for deaths in range(1, 4):
            story.crew.broadcast("die")
            await story.until(lambda deaths=deaths: len(story.deaths) == deaths)
            await story.crew.wait_ready()
        assert time.monotonic() - begun > 2 * crew_module.RESTART_WAIT
        assert story.deaths == [(0, 3)] * 3

    play(1, told)


def test_a_stuck_worker_counts_as_dead() -> None:
    """It is ready, but silent; in the end it is killed."""

    async def told(story: Story) -> None:
        story.crew.broadcast("hang")
        assert story.crew.is_alive(time.monotonic())
        assert not story.crew.is_alive(time.monotonic() + crew_module.SILENCE + 1)

    story = play(1, told)
    with pytest.raises(ProcessLookupError):
        os.kill(story.process_of(0), 0)


def test_what_was_sent_is_obeyed_once_every_worker_has_said_so() -> None:
    """Not while one of them is stuck; if it dies, the next one in its place is not waited for."""

    async def told(story: Story) -> None:
        victim = story.process_of(1)
        story.crew.broadcast("news")
        await story.crew.wait_obeyed()
        assert story.heard.count(("echo", "news")) == 2

        os.kill(victim, signal.SIGSTOP)
        story.crew.broadcast("more")
        waiting = asyncio.create_task(story.crew.wait_obeyed())
        await story.until(lambda: ("echo", "more") in story.heard)
        await story.crew.wait_ready()  # so that what is heard by now has been acted upon
        assert not waiting.done()
        os.kill(victim, signal.SIGKILL)
        await waiting
        await story.crew.wait_ready()
        await story.crew.wait_obeyed()
        assert story.heard.count(("echo", "more")) == 1

    play(2, told)


def test_a_worker_that_starts_meanwhile_is_waited_for() -> None:
    """It is told the newest as it starts, which takes it a moment."""

    async def run() -> None:
        story = Story(2)
        story.crew.start()
        try:
            async with asyncio.timeout(30):
                await story.until(lambda: all(member.channel for member in story.crew._members))
                await story.crew.wait_obeyed()
                assert story.crew.is_ready
        finally:
            await story.crew.stop(0.5)

    asyncio.run(run())


def test_a_worker_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory for a process now may be there in a moment."""
    start = asyncio.create_subprocess_exec
    failures = [OSError(12, "Cannot allocate memory")]

    async def fail_once(*command: str, **named: Any) -> asyncio.subprocess.Process:
        if failures:
            raise failures.pop()
        return await start(*command, **named)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail_once)

    async def told(story: Story) -> None:
        assert len(story.deaths) == 1

    play(1, told)


def test_messages_reach_whoever_wants_them() -> None:
    """Ready and Statistics are the crew's own business; all else is passed on."""

    async def told(story: Story) -> None:
        story.crew.broadcast(WantClient(1))
        await story.until(lambda: ("echo", WantClient(1)) in story.heard)
        assert not [message for message in story.heard if isinstance(message, Ready | Statistics)]

    play(1, told)
