"""Channel: whole messages over a socket pair, both ways, however the octets are cut."""

import asyncio
import pickle
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from appliance.edge import channel
from appliance.edge.channel import HEADER, Channel, WorkerChannel
from appliance.messages import NewAnswers, Ready, WantName
from tests.playbook import NAME, POLICY, SERVER, answer

pytestmark = pytest.mark.sockets

LARGE = b"x" * 3_000_000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def play(story: Callable[[Channel, WorkerChannel], Awaitable[None]]) -> None:
    """Run a story between both ends, within ten seconds."""

    async def told() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            supervisor = await Channel.open(ours)
            try:
                async with asyncio.timeout(10):
                    await story(supervisor, WorkerChannel(theirs))
            finally:
                supervisor.close()

    asyncio.run(told())


def test_messages_arrive_whole_and_in_order() -> None:
    """Small and large ones; what was sent at once is received at once."""

    async def story(supervisor: Channel, worker: WorkerChannel) -> None:
        for message in (Ready(), WantName(NAME), "three"):
            assert worker.send(message)
        assert [await supervisor.receive() for _ in range(3)] == [Ready(), WantName(NAME), "three"]
        assert supervisor.send(NewAnswers((answer(NAME, SERVER),)))
        assert supervisor.send("second")
        await asyncio.sleep(0)
        received = worker.wait()
        while len(received) < 2:
            received += worker.wait()
        assert received == [NewAnswers((answer(NAME, SERVER),)), "second"]
        assert worker.receive() == []

    play(story)


def test_large_messages_take_their_time_but_block_nobody() -> None:
    """More than the kernel keeps: the worker goes on with its work, and passes on the rest later."""

    async def story(supervisor: Channel, worker: WorkerChannel) -> None:
        assert worker.send(LARGE)
        assert worker._waiting
        received = asyncio.create_task(supervisor.receive())
        while not received.done():
            worker.flush()
            await asyncio.sleep(0.001)
        assert await received == LARGE
        supervisor.send(LARGE)
        messages: list = []
        while not messages:
            await asyncio.sleep(0.001)
            messages = worker.receive()
        assert messages == [LARGE]

    play(story)


def test_a_policy_travels_whole() -> None:
    """With its indexes."""

    async def story(supervisor: Channel, worker: WorkerChannel) -> None:
        supervisor.send(POLICY)
        await asyncio.sleep(0)
        (policy,) = worker.wait()
        assert policy == POLICY

    play(story)


def test_droppable_messages_are_dropped_when_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others never are."""
    monkeypatch.setattr(channel, "BACKLOG_MAX", 1000)

    async def story(supervisor: Channel, worker: WorkerChannel) -> None:
        for end in (supervisor, worker):
            assert end.send(LARGE, droppable=True)
            assert not end.send("lost", droppable=True)
            assert end.send("kept")

    play(story)


def test_the_end_of_the_other_process_is_an_error() -> None:
    """For both; the supervisor's sends then say that they are in vain."""

    async def story(supervisor: Channel, worker: WorkerChannel) -> None:
        worker.send("last words")
        worker._socket.close()
        assert await supervisor.receive() == "last words"
        with pytest.raises(EOFError):
            await supervisor.receive()
        supervisor.close()
        assert not supervisor.send("anything")

    play(story)

    async def other_way(supervisor: Channel, worker: WorkerChannel) -> None:
        supervisor.close()
        await asyncio.sleep(0.01)
        with pytest.raises(EOFError):
            worker.wait()
        assert worker.send("in vain")  # noticed where messages are received
        worker.drain(0.1)

    play(other_way)


def test_half_a_message_at_the_end_is_no_message() -> None:
    """The other process died while it sent."""

    async def story(supervisor: Channel, worker: WorkerChannel) -> None:
        worker._socket.send((100).to_bytes(HEADER) + b"half")
        worker._socket.close()
        with pytest.raises(EOFError):
            await supervisor.receive()

    play(story)


def test_cuts_are_invisible(pair: tuple[socket.socket, socket.socket]) -> None:
    """Octet by octet, a message comes with its last."""
    ours, theirs = pair
    worker = WorkerChannel(theirs)
    body = pickle.dumps("hello")
    octets = len(body).to_bytes(HEADER) + body
    for octet in octets[:-1]:
        ours.send(bytes((octet,)))
        assert worker.receive() == []
    ours.send(octets[-1:])
    assert worker.receive() == ["hello"]


def test_drain_passes_on_what_is_taken_in_time(pair: tuple[socket.socket, socket.socket]) -> None:
    """And gives up where nobody reads."""
    ours, theirs = pair
    worker = WorkerChannel(theirs)
    worker.send(LARGE)
    worker.drain(0.05)
    assert worker._waiting
    taken = bytearray()

    def read() -> None:
        while len(taken) < len(LARGE):
            taken.extend(ours.recv(1 << 20))

    reader = threading.Thread(target=read)
    reader.start()
    worker.drain(10)
    reader.join(10)
    assert not worker._waiting
