r"""CloudWatch Logs: lines go there in batches, in order, and wait on disk while it is away.

    put() -> queue in memory -> PutLogEvents
                          \-> spool on disk -> PutLogEvents, oldest first, when it answers again

While anything is in the spool new lines go behind it, so that a stream keeps its order across an
outage and a restart. A line is sent at least once: after a failure it may be there twice. A crash
costs what is in memory (at most `batch_wait` of it, as long as CloudWatch answers). Queue and spool
are bounded, and what does not fit is counted. The log group is Terraform's; streams are made here.

Source: CloudWatch Logs API reference, PutLogEvents.
"""

import collections
import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import botocore.config
import botocore.exceptions

from appliance.aws import code_of
from appliance.errors import AwsError

BATCH_OCTETS = 1_048_576  # octets of UTF-8, with EVENT_OVERHEAD for each event
BATCH_EVENTS = 10_000
BATCH_SPAN = 24 * 3600 * 1000  # milliseconds between the oldest and the newest event
EVENT_OVERHEAD = 26  # octets
EVENT_OCTETS = 262_144 - EVENT_OVERHEAD  # AWS now takes four times as much; no event of ours is near

SEGMENT_OCTETS = 768 * 1024  # octets of a file in the spool, unless one batch is more; makes one batch again

CONNECT_TIMEOUT = 3  # seconds
READ_TIMEOUT = 5  # seconds
LOSS_NOTICE = 10.0  # seconds between two calls of `on_loss`, as each of them makes an event


@dataclass(frozen=True, slots=True)
class ShippingLimits:
    """How much may wait, and for how long."""

    batch_wait: float = 5.0  # seconds that a line may wait for others
    queue_octets: int = 32 * 1024 * 1024  # in memory; what a full queue refuses is lost
    spool_octets: int = 256 * 1024 * 1024  # on disk; a full spool loses its oldest lines
    retry_first: float = 1.0  # seconds after the first failure; doubles with each that follows
    retry_last: float = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class ShippingStats:
    """Events since the start, and those that wait: a power cut costs the queued ones. `failure`: of the last try."""

    shipped: int
    queued: int
    spooled: int
    lost: int
    failure: str


class LogEvent(NamedTuple):
    """One line without its newline, and its time as Unix milliseconds."""

    millis: int
    line: bytes


def batches(events: Iterable[LogEvent]) -> Iterator[list[LogEvent]]:
    """Cut events into batches that PutLogEvents takes, in their order."""
    batch: list[LogEvent] = []
    octets = oldest = newest = 0
    for event in events:
        size = len(event.line) + EVENT_OVERHEAD
        octets += size
        oldest = min(oldest, event.millis) if batch else event.millis
        newest = max(newest, event.millis) if batch else event.millis
        if octets > BATCH_OCTETS or len(batch) == BATCH_EVENTS or newest - oldest >= BATCH_SPAN:
            yield batch
            batch = []
            octets, oldest, newest = size, event.millis, event.millis
        batch.append(event)
    if batch:
        yield batch


@dataclass(slots=True)
class Segment:
    """A file of the spool with events of one stream, each a line `MILLIS SPACE EVENT`."""

    path: Path
    stream: str
    events: int
    octets: int


class Spool:
    """Events on disk, oldest first, `max_octets` in all. Used by one thread; survives a restart and a power cut."""

    def __init__(self, folder: Path, max_octets: int) -> None:
        self.folder = folder
        self.max_octets = max_octets
        self.events = 0
        self._octets = 0
        self._segments: collections.deque[Segment] = collections.deque()
        self._next = 0  # number of the next segment
        for path in sorted(folder.glob("[0-9]*-*.spool")):
            number, _, stream = path.stem.partition("-")
            with contextlib.suppress(OSError, ValueError):  # what is not ours, or cannot be read, stays where it is
                self._next = int(number) + 1
                text = path.read_bytes()
                whole = text.rfind(b"\n") + 1
                os.truncate(path, whole)  # a crash may have cut off the last line
                self._add(Segment(path, stream, text.count(b"\n"), whole))

    def append(self, stream: str, batch: list[LogEvent]) -> int:
        """Store a batch behind the others; return how many older events had to go for it.

        Raises:
            OSError: nothing of the batch was stored.
        """
        evicted = 0
        text = b"".join(b"%d %s\n" % event for event in batch)
        while self._segments and self._octets + len(text) > self.max_octets:
            evicted += self._segments[0].events
            self.remove(self._segments[0])
        segment = self._tail(stream, len(text))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with segment.path.open("ab") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(segment.path, segment.octets)  # a full disk takes the beginning
            raise
        segment.events += len(batch)
        segment.octets += len(text)
        self.events += len(batch)
        self._octets += len(text)
        return evicted

    def oldest(self) -> Segment | None:
        """Return the segment to ship next."""
        return self._segments[0] if self._segments else None

    def read(self, segment: Segment) -> list[LogEvent]:
        """Return the events of a segment, without the lines that make no sense."""
        events = []
        for line in segment.path.read_bytes().splitlines():
            millis, space, event = line.partition(b" ")
            if space and event and millis.isdigit():
                events.append(LogEvent(int(millis), event))
        return events

    def remove(self, segment: Segment) -> None:
        """Forget a segment and delete its file."""
        self._segments.remove(segment)
        self.events -= segment.events
        self._octets -= segment.octets
        with contextlib.suppress(OSError):  # it would be shipped again after a restart, no more
            segment.path.unlink()

    def _add(self, segment: Segment) -> Segment:
        self._segments.append(segment)
        self.events += segment.events
        self._octets += segment.octets
        return segment

    def _tail(self, stream: str, octets: int) -> Segment:
        """Return the stream's last segment if so much fits into it, or a new one."""
        last = next((segment for segment in reversed(self._segments) if segment.stream == stream), None)
        if last is not None and last.octets + octets <= SEGMENT_OCTETS:
            return last
        path = self.folder / f"{self._next:012}-{stream}.spool"
        self._next += 1
        return self._add(Segment(path, stream, events=0, octets=0))


class LogShipper:
    """Ships lines to the streams of one log group from a thread of its own.

    Args:
        client: boto3's client of CloudWatch Logs, as `connect` makes it.
        group: the log group; it has to exist.
        instance: the instance's id. The spool is kept under it, so that an image made from this
            machine's disk does not ship this machine's lines again wherever it is started.
        spool_dir: folder of the spool; made when missing.
        on_loss: called from the thread, with a number of events and why they are lost; must not raise.
    """

    def __init__(
        self,
        client: Any,
        group: str,
        instance: str,
        spool_dir: Path,
        limits: ShippingLimits,
        *,
        on_loss: Callable[[int, str], None],
    ) -> None:
        self._client = client
        self._group = group
        self._limits = limits
        self._on_loss = on_loss
        self._spool = Spool(spool_dir / instance, limits.spool_octets)
        self._thread = threading.Thread(target=self._run, name="log-shipper", daemon=True)

        self._changed = threading.Condition()  # guards what follows; held for moments, never for I/O
        self._queue: list[tuple[str, int, list[bytes]]] = []
        self._queue_octets = 0
        self._queue_events = 0
        self._in_hand = 0  # events that were taken out of it, and are shipped or spooled just now
        self._refused = 0  # events that found the queue full
        self._stopping = False

        self._shipped = 0
        self._lost = 0
        self._losses: collections.Counter[str] = collections.Counter()  # not told to `on_loss` yet
        self._told_at = float("-inf")
        self._failure = ""
        self._failures = 0  # in a row
        self._retry_at = float("-inf")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout: float = 2.0 * (CONNECT_TIMEOUT + READ_TIMEOUT)) -> None:
        """Ship what is queued, or spool it where CloudWatch does not take it, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)

    def put(self, stream: str, lines: list[bytes], millis: int) -> None:
        """Queue lines of one time. Returns at once, whatever the state of the network or the disk."""
        octets = sum(map(len, lines)) + EVENT_OVERHEAD * len(lines)
        with self._changed:
            if self._queue_octets + octets > self._limits.queue_octets:
                self._refused += len(lines)
                return
            self._queue.append((stream, millis, lines))
            self._queue_octets += octets
            self._queue_events += len(lines)
            if self._batch_is_full():
                self._changed.notify()

    def stats(self) -> ShippingStats:
        """Return the counters. May be called from any thread."""
        lost = self._lost + self._refused
        with self._changed:
            queued = self._queue_events + self._in_hand
        return ShippingStats(self._shipped, queued, self._spool.events, lost, self._failure)

    def turn(self, now: float) -> None:
        """Ship or spool what is queued, replay a bit of the spool, tell losses: the thread's one step."""
        for stream, lines in self._take().items():
            for batch in batches(lines):
                self._deliver(stream, batch, now)
        self._in_hand = 0
        self._replay(now)
        if self._losses and now - self._told_at >= LOSS_NOTICE:
            self._told_at = now
            losses, self._losses = self._losses, collections.Counter()
            for why, events in losses.items():
                self._on_loss(events, why)

    def _run(self) -> None:
        while not self._stopping:
            replaying = self._spool.events and time.monotonic() >= self._retry_at
            wait = 0.0 if replaying else self._limits.batch_wait
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._batch_is_full(), wait)
            self.turn(time.monotonic())
        self.turn(time.monotonic())  # what came during the last one

    def _batch_is_full(self) -> bool:
        return self._queue_octets >= BATCH_OCTETS or self._queue_events >= BATCH_EVENTS

    def _take(self) -> dict[str, list[LogEvent]]:
        """Empty the queue; return what can be sent, by stream."""
        with self._changed:
            queue, self._queue = self._queue, []
            self._in_hand = self._queue_events
            self._queue_octets = self._queue_events = 0
            refused, self._refused = self._refused, 0
        self._lose(refused, "the queue in memory was full")
        streams: dict[str, list[LogEvent]] = {}
        too_long = 0
        for stream, millis, lines in queue:
            for text in lines:
                line = text.strip().replace(b"\n", b" ")
                if not line.isascii():  # render() makes none; CloudWatch takes UTF-8 only
                    line = line.decode(errors="replace").encode()
                if len(line) > EVENT_OCTETS:
                    too_long += 1
                elif line:
                    streams.setdefault(stream, []).append(LogEvent(millis, line))
        self._lose(too_long, "the event was too long")
        return streams

    def _deliver(self, stream: str, batch: list[LogEvent], now: float) -> None:
        if not self._spool.events and now >= self._retry_at and self._ship(stream, batch, now):
            return
        try:
            self._lose(self._spool.append(stream, batch), "the spool on disk was full")
        except OSError as error:
            self._lose(len(batch), f"the spool on disk failed: {error.strerror or error}")

    def _replay(self, now: float) -> None:
        segment = self._spool.oldest()
        if segment is None or now < self._retry_at:
            return
        try:
            events = self._spool.read(segment)
        except OSError:
            events = []
        if all(self._ship(segment.stream, batch, now) for batch in batches(events)):
            self._lose(segment.events - len(events), "the spool on disk was damaged")
            self._spool.remove(segment)

    def _ship(self, stream: str, batch: list[LogEvent], now: float) -> bool:
        """Send a batch; return whether it is done with. When not, nothing is sent for a while."""
        try:
            rejected = self._put_log_events(stream, sorted(batch, key=lambda event: event.millis))
        except AwsError as error:
            self._failures += 1
            delay = min(self._limits.retry_last, self._limits.retry_first * 2.0 ** min(self._failures - 1, 16))
            self._retry_at = now + delay * random.uniform(0.5, 1.0)  # noqa: S311  # spreads the instances
            self._failure = f"{error.message}: {error.hint}" if error.hint else error.message
            return False
        self._failures = 0
        self._failure = ""
        self._shipped += len(batch) - rejected
        self._lose(rejected, "CloudWatch refused the event")
        return True

    def _put_log_events(self, stream: str, batch: list[LogEvent], *, may_create: bool = True) -> int:
        """Send a sorted batch, to a new stream where it is missing; return how many events CloudWatch did not take.

        Raises:
            AwsError: the batch may be sent again.
        """
        events = [{"timestamp": event.millis, "message": event.line.decode(errors="replace")} for event in batch]
        try:
            answer = self._client.put_log_events(logGroupName=self._group, logStreamName=stream, logEvents=events)
        except Exception as error:  # what nobody foresaw costs a delay, not the log
            match code_of(error):
                case "ResourceNotFoundException" if may_create:
                    self._create_stream(stream)
                    return self._put_log_events(stream, batch, may_create=False)
                case "DataAlreadyAcceptedException":
                    return 0
                case "InvalidParameterException":  # it never will be valid, and must not hold up the others
                    return len(batch)
                case code:
                    raise AwsError(f"CloudWatch takes no events: {error}", hint=HINTS.get(code, "")) from error
        info: dict[str, int] = answer.get("rejectedLogEventsInfo") or {}
        too_old = max(info.get("tooOldLogEventEndIndex", 0), info.get("expiredLogEventEndIndex", 0))
        return too_old + len(batch) - max(too_old, info.get("tooNewLogEventStartIndex", len(batch)))

    def _create_stream(self, stream: str) -> None:
        try:
            self._client.create_log_stream(logGroupName=self._group, logStreamName=stream)
        except Exception as error:  # as above
            match code_of(error):
                case "ResourceAlreadyExistsException":
                    return
                case "ResourceNotFoundException":
                    hint = "create it, as the Terraform module does; events wait on disk until then"
                    raise AwsError(f"log group {self._group!r} does not exist", hint=hint) from error
                case code:
                    raise AwsError(f"no log stream {stream!r}: {error}", hint=HINTS.get(code, "")) from error

    def _lose(self, events: int, why: str) -> None:
        if events:
            self._lost += events
            self._losses[why] += events


HINTS = {
    "AccessDeniedException": "the instance's role needs logs:PutLogEvents and logs:CreateLogStream on the log group",
    "UnrecognizedClientException": "the instance's credentials are not valid: see its role",
}


def connect(region: str, endpoint: str | None = None) -> Any:
    """Return a client that fails early, since the spool waits better than a retry does."""
    config = botocore.config.Config(
        connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, retries={"total_max_attempts": 1}
    )
    return boto3.client("logs", region_name=region, endpoint_url=endpoint, config=config)
