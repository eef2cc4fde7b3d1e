"""Lines reach CloudWatch Logs in order and within its limits, or wait, or are counted."""

import errno
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.edge.cloudwatch import (
    BATCH_EVENTS,
    BATCH_OCTETS,
    BATCH_SPAN,
    EVENT_OCTETS,
    LOSS_NOTICE,
    LogEvent,
    LogShipper,
    ShippingLimits,
    Spool,
    batches,
    connect,
)

DAY = 24 * 3600 * 1000  # milliseconds
NOON = 1_795_348_800_000  # Unix milliseconds


def aws_refusal(code: str) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": "in a test"}}, "PutLogEvents")


class CloudWatch:
    """The service, with the limits that its documentation gives, and switches for its bad days."""

    def __init__(self) -> None:
        self.clock = NOON
        self.groups = {"discrimiNAT"}
        self.streams: dict[str, list[str]] = defaultdict(list)
        self.calls = 0
        self.outage: Exception | None = None
        self.lost_answers = 0  # so many of the next calls work, and time out

    def create_log_stream(self, *, logGroupName: str, logStreamName: str) -> None:
        self._refuse_if_out(logGroupName)
        if logStreamName in self.streams:
            raise aws_refusal("ResourceAlreadyExistsException")
        self.streams[logStreamName] = []

    def put_log_events(self, *, logGroupName: str, logStreamName: str, logEvents: list[dict]) -> dict:
        self.calls += 1
        self._refuse_if_out(logGroupName)
        if logStreamName not in self.streams:
            raise aws_refusal("ResourceNotFoundException")
        times = [event["timestamp"] for event in logEvents]
        sizes = [len(event["message"].encode()) + 26 for event in logEvents]
        if not (
            1 <= len(logEvents) <= 10_000
            and sum(sizes) <= 1_048_576
            and min(sizes) > 26
            and max(sizes) <= 262_144
            and times == sorted(times)
            and times[-1] - times[0] <= DAY
        ):
            raise aws_refusal("InvalidParameterException")
        old = sum(at < self.clock - 14 * DAY for at in times)
        new = sum(at > self.clock + DAY // 12 for at in times)
        self.streams[logStreamName] += [event["message"] for event in logEvents[old : len(times) - new]]
        if self.lost_answers:
            self.lost_answers -= 1
            raise botocore.exceptions.ReadTimeoutError(endpoint_url="https://logs")
        info = {"tooOldLogEventEndIndex": old} if old else {}
        return {"rejectedLogEventsInfo": info | ({"tooNewLogEventStartIndex": len(times) - new} if new else {})}

    def _refuse_if_out(self, group: str) -> None:
        if self.outage is not None:
            raise self.outage
        if group not in self.groups:
            raise aws_refusal("ResourceNotFoundException")


class Rig:
    """A shipper that is stepped by hand, and the service it ships to."""

    def __init__(self, folder: Path, **limits: float) -> None:
        self.cloudwatch = CloudWatch()
        self.folder = folder
        self.limits = ShippingLimits(**limits)
        self.losses: list[tuple[int, str]] = []
        self.now = 1000.0
        self.restart()

    def restart(self) -> None:
        self.shipper = LogShipper(
            self.cloudwatch,
            "discrimiNAT",
            "i-1",
            self.folder,
            self.limits,
            on_loss=lambda *loss: self.losses.append(loss),
        )

    def put(self, *lines: str, stream: str = "flow", millis: int = NOON) -> None:
        self.shipper.put(stream, [line.encode() + b"\n" for line in lines], millis)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 120.0  # longer than any wait before a retry
            self.shipper.turn(self.now)

    def counts(self) -> tuple[int, int, int, int]:
        stats = self.shipper.stats()
        return stats.shipped, stats.queued, stats.spooled, stats.lost


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "spool")


# ---- batches ----

event_lists = st.lists(
    st.builds(
        LogEvent, st.integers(NOON, NOON + 3 * DAY), st.sampled_from([b"x", b"y" * 300_000, b"z" * EVENT_OCTETS])
    ),
    max_size=20,
)


@given(event_lists)
def test_batches_keep_order_and_limits(events: list[LogEvent]) -> None:
    """Whatever the events, nothing is lost or moved, and each batch is one that AWS takes."""
    cut = list(batches(events))

    assert [event for batch in cut for event in batch] == events
    for batch in cut:
        assert len(batch) >= 1
        assert sum(len(event.line) + 26 for event in batch) <= BATCH_OCTETS
        assert max(event.millis for event in batch) - min(event.millis for event in batch) < BATCH_SPAN


def test_a_batch_has_so_many_events_at_most() -> None:
    """The ten thousand and first event opens another batch."""
    cut = [len(batch) for batch in batches([LogEvent(NOON, b"x")] * (2 * BATCH_EVENTS + 1))]

    assert cut == [BATCH_EVENTS, BATCH_EVENTS, 1]


def test_a_batch_is_filled_to_the_octet() -> None:
    """Four of the longest events make exactly one batch, as each counts 26 octets more."""
    assert [len(batch) for batch in batches([LogEvent(NOON, b"x" * EVENT_OCTETS)] * 5)] == [4, 1]


# ---- good days ----


def test_lines_arrive_in_their_streams(rig: Rig) -> None:
    """A turn ships what was put, making the streams that are missing."""
    rig.put("one", "two")
    rig.put("loaded", stream="config")
    rig.put("three")

    rig.turn()

    assert rig.cloudwatch.streams == {"flow": ["one", "two", "three"], "config": ["loaded"]}
    assert rig.counts() == (4, 0, 0, 0)
    assert rig.losses == []


def test_a_stream_that_somebody_else_made_is_used(rig: Rig) -> None:
    """Appliances of one group share its streams: to be second in making one is no failure."""
    rig.cloudwatch.create_log_stream(logGroupName="discrimiNAT", logStreamName="flow")
    rig.put("one")

    rig.turn()

    assert rig.cloudwatch.streams["flow"] == ["one"]


def test_an_idle_turn_calls_nobody(rig: Rig) -> None:
    """Nothing to ship, no call."""
    rig.turn(times=3)

    assert rig.cloudwatch.calls == 0


def test_times_of_a_batch_ascend(rig: Rig) -> None:
    """A clock that stepped back does not make AWS refuse the batch."""
    rig.put("later", millis=NOON + 5)
    rig.put("earlier", millis=NOON)

    rig.turn()

    assert rig.cloudwatch.streams["flow"] == ["earlier", "later"]


def test_many_lines_are_several_calls(rig: Rig) -> None:
    """More than a batch at once is cut into batches."""
    lines = [f"{number:05}" for number in range(25_000)]
    rig.put(*lines)

    rig.turn()

    assert rig.cloudwatch.streams["flow"] == lines
    assert rig.cloudwatch.calls == 4  # the first finds no stream


# ---- what AWS will not take ----


@pytest.mark.parametrize(
    ("line", "arrives"),
    [
        ("x" * EVENT_OCTETS, True),
        ("x" * (EVENT_OCTETS + 1), False),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}" * (EVENT_OCTETS // 2 + 1), False),
    ],
)
def test_an_event_that_is_too_long_is_lost_alone(rig: Rig, line: str, arrives: bool) -> None:
    """Length is counted in octets; the neighbours of a long event are shipped."""
    rig.put("before", line, "after")

    rig.turn()

    assert rig.cloudwatch.streams["flow"] == ["before", *[line] * arrives, "after"]
    assert rig.counts() == (2 + arrives, 0, 0, 1 - arrives)
    assert rig.losses == [(1, "the event was too long")] * (not arrives)


@pytest.mark.parametrize(
    ("age", "arrives"),
    [
        (-3 * 3600 * 1000, False),  # of the future: two hours are allowed
        (-1 * 3600 * 1000, True),
        (13 * DAY, True),
        (15 * DAY, False),
    ],
)
def test_too_old_and_too_new_events_are_counted(rig: Rig, age: int, arrives: bool) -> None:
    """CloudWatch's own clock decides; what it rejects within a batch is lost and told."""
    rig.put("now")
    rig.put("odd", millis=NOON - age)

    rig.turn()

    assert sorted(rig.cloudwatch.streams["flow"]) == ["now", *["odd"] * arrives]
    assert rig.counts() == (1 + arrives, 0, 0, 1 - arrives)
    assert rig.losses == [(1, "CloudWatch refused the event")] * (not arrives)


def test_a_batch_that_is_never_valid_does_not_hold_up_the_rest(rig: Rig) -> None:
    """A refusal of the parameters is final: the batch is counted as lost, later ones go on."""
    rig.put("one", "two")
    rig.cloudwatch.outage = aws_refusal("InvalidParameterException")
    rig.turn()
    rig.cloudwatch.outage = None
    rig.put("three")
    rig.turn()

    assert rig.cloudwatch.streams["flow"] == ["three"]
    assert rig.counts() == (1, 0, 0, 2)


@pytest.mark.parametrize("text", [b"one\ntwo\n", b"\xff\xfe\n", b"  \n"])
def test_odd_octets_do_not_stop_the_log(rig: Rig, text: bytes) -> None:
    """A newline within a line, octets that are not UTF-8, or nothing at all: shipped, or nothing, and no crash."""
    rig.shipper.put("flow", [text], NOON)

    rig.turn()

    assert rig.counts()[1:] == (0, 0, 0)


# ---- bad days ----

OUTAGES = {
    "throttled": aws_refusal("ThrottlingException"),
    "down": aws_refusal("ServiceUnavailableException"),
    "role without permission": aws_refusal("AccessDeniedException"),
    "expired credentials": aws_refusal("ExpiredTokenException"),
    "no route": botocore.exceptions.EndpointConnectionError(endpoint_url="https://logs"),
    "no credentials": botocore.exceptions.NoCredentialsError(),
    "no answer": botocore.exceptions.ReadTimeoutError(endpoint_url="https://logs"),
    "something nobody foresaw": RuntimeError("in a test"),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_an_outage_delays_and_loses_nothing(rig: Rig, outage: Exception) -> None:
    """Lines wait on disk while CloudWatch refuses, for whatever reason, and arrive in order."""
    rig.put("one")
    rig.turn()
    rig.cloudwatch.outage = outage
    rig.put("two")
    rig.turn()
    rig.put("three")
    rig.put("reloaded", stream="config")
    rig.turn()

    assert rig.counts() == (1, 0, 3, 0)
    assert str(outage) in rig.shipper.stats().failure

    rig.cloudwatch.outage = None
    rig.put("four")
    rig.turn(times=3)

    assert rig.cloudwatch.streams == {"flow": ["one", "two", "three", "four"], "config": ["reloaded"]}
    assert rig.counts() == (5, 0, 0, 0)
    assert rig.shipper.stats().failure == ""
    assert list(rig.folder.rglob("*.spool")) == []


def test_a_missing_group_is_named_and_waited_for(rig: Rig) -> None:
    """Terraform owns the group: its absence is an error with a hint, and costs nothing once it is there."""
    rig.cloudwatch.groups.clear()
    rig.put("one")
    rig.turn()

    assert rig.shipper.stats().failure.startswith("log group 'discrimiNAT' does not exist: create it")

    rig.cloudwatch.groups.add("discrimiNAT")
    rig.turn()

    assert rig.cloudwatch.streams["flow"] == ["one"]


def test_a_missing_permission_is_named(rig: Rig) -> None:
    """The failure says which permissions the role needs."""
    rig.cloudwatch.outage = aws_refusal("AccessDeniedException")
    rig.put("one")
    rig.turn()

    assert "needs logs:PutLogEvents and logs:CreateLogStream" in rig.shipper.stats().failure


def test_retries_are_spaced(rig: Rig) -> None:
    """An hour of outage, looked at every five seconds, is some dozens of calls."""
    rig.cloudwatch.outage = aws_refusal("ThrottlingException")
    rig.put("one")
    for second in range(0, 3600, 5):
        rig.shipper.turn(rig.now + second)

    assert 60 <= rig.cloudwatch.calls <= 150


def test_a_lost_answer_may_repeat_lines_and_never_drops_them(rig: Rig) -> None:
    """After a time-out nobody knows whether the batch arrived: it is sent again."""
    rig.put("one")
    rig.turn()
    rig.cloudwatch.lost_answers = 1
    rig.put("two")
    rig.turn(times=2)

    assert rig.cloudwatch.streams["flow"] == ["one", "two", "two"]
    assert rig.counts() == (2, 0, 0, 0)


def test_an_outage_makes_few_files(rig: Rig) -> None:
    """A quiet appliance that is cut off for hours does not fill the disk's index."""
    rig.cloudwatch.outage = aws_refusal("ThrottlingException")
    for number in range(500):
        rig.put(str(number))
        rig.turn()

    assert len(list(rig.folder.rglob("*.spool"))) == 1


# ---- restarts and the spool's bounds ----


def test_the_spool_survives_a_restart(rig: Rig) -> None:
    """What waited on disk is shipped by the next run, before its own lines."""
    rig.cloudwatch.outage = aws_refusal("ThrottlingException")
    rig.put("one")
    rig.turn()
    rig.restart()
    rig.put("two")
    rig.turn()
    rig.restart()

    assert rig.counts() == (0, 0, 2, 0)

    rig.cloudwatch.outage = None
    rig.put("three")
    rig.turn(times=3)

    assert rig.cloudwatch.streams["flow"] == ["one", "two", "three"]
    assert rig.counts() == (3, 0, 0, 0)


def test_the_spool_survives_a_power_cut(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts as spooled has been written to the disk, all of it, and not only handed to the kernel."""
    synced: dict[int, int] = {}

    def sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fsync", sync)
    rig.cloudwatch.outage = aws_refusal("ThrottlingException")
    for line in ("one", "two"):
        rig.put(line)
        rig.turn()

    [segment] = rig.folder.rglob("*.spool")
    assert synced == {segment.stat().st_ino: segment.stat().st_size}
    assert rig.counts() == (0, 0, 2, 0)


def test_another_instances_spool_is_left_alone(rig: Rig) -> None:
    """A disk that was copied from another instance does not ship that one's lines again."""
    Spool(rig.folder / "i-2", 1000).append("flow", [LogEvent(NOON, b"theirs")])

    rig.restart()
    rig.put("ours")
    rig.turn(times=2)

    assert rig.cloudwatch.streams["flow"] == ["ours"]


def test_a_full_spool_loses_its_oldest_lines_and_says_so(tmp_path: Path) -> None:
    """The newest lines are kept within the bound, and the number of the others is told."""
    rig = Rig(tmp_path, spool_octets=3_000_000)
    rig.cloudwatch.outage = aws_refusal("ThrottlingException")
    lines = [f"{number:02}" + "x" * 100_000 for number in range(40)]
    for line in lines:
        rig.put(line)
        rig.turn()
    spooled, lost = rig.counts()[2:]

    assert sum(path.stat().st_size for path in tmp_path.rglob("*.spool")) <= 3_000_000
    assert spooled + lost == 40
    assert spooled >= 20
    assert {why for _, why in rig.losses} == {"the spool on disk was full"}
    assert sum(events for events, _ in rig.losses) == lost

    rig.cloudwatch.outage = None
    rig.turn(times=10)

    assert rig.cloudwatch.streams["flow"] == lines[lost:]


@pytest.mark.parametrize("tail", [b"1795348800000 cut off", b"17953488", b""])
def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path, tail: bytes) -> None:
    """The whole lines of a damaged file are shipped, and new ones do not stick to the rest."""
    (tmp_path / "i-1").mkdir()
    (tmp_path / "i-1/000000000007-flow.spool").write_bytes(b"1795348800000 whole\n" + tail)
    rig = Rig(tmp_path)
    rig.cloudwatch.outage = aws_refusal("ThrottlingException")
    rig.put("new")
    rig.turn()
    rig.cloudwatch.outage = None
    rig.turn()

    assert rig.cloudwatch.streams["flow"] == ["whole", "new"]


def test_a_damaged_line_is_counted(tmp_path: Path) -> None:
    """What makes no sense in the spool is lost, and what does is shipped."""
    (tmp_path / "i-1").mkdir()
    (tmp_path / "i-1/000000000007-flow.spool").write_bytes(b"\x00\x00\x00\n1795348800000 \xff\n")
    (tmp_path / "i-1/not-ours.spool").write_bytes(b"1\n")
    rig = Rig(tmp_path)
    rig.turn()

    assert rig.cloudwatch.streams["flow"] == ["\N{REPLACEMENT CHARACTER}"]
    assert rig.losses == [(1, "the spool on disk was damaged")]


def test_a_disk_that_fails_costs_lines_and_nothing_else(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With CloudWatch and the disk both away lines are lost and counted; later ones are not."""
    rig.cloudwatch.outage = aws_refusal("ThrottlingException")

    def full(*_args: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        rig.put("one", "two")
        rig.turn()
    rig.cloudwatch.outage = None
    rig.put("three")
    rig.turn(times=2)

    assert rig.cloudwatch.streams["flow"] == ["three"]
    assert rig.counts() == (1, 0, 0, 2)
    assert rig.losses == [(2, "the spool on disk failed: No space left on device")]


def test_losses_are_told_now_and_then(rig: Rig) -> None:
    """Telling a loss makes an event itself: many losses are told as one."""
    for number in range(int(LOSS_NOTICE)):
        rig.put("x" * (EVENT_OCTETS + 1))
        rig.shipper.turn(rig.now + number)
    rig.shipper.turn(rig.now + LOSS_NOTICE)

    assert rig.losses == [(1, "the event was too long"), (LOSS_NOTICE - 1, "the event was too long")]


# ---- the queue ----


def test_a_full_queue_refuses_and_counts(tmp_path: Path) -> None:
    """Memory is bounded: with nobody to ship, put() drops what does not fit."""
    rig = Rig(tmp_path, queue_octets=10 * (100 + 26))
    for _ in range(15):
        rig.put("x" * 99)  # and its newline

    assert rig.counts() == (0, 10, 0, 5)

    rig.turn()

    assert rig.counts() == (10, 0, 0, 5)
    assert rig.losses == [(5, "the queue in memory was full")]


def test_what_is_being_spooled_is_not_safe_yet(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the disk has it the numbers say that it waits: who pulls the plug when nothing does loses nothing."""
    rig.cloudwatch.outage = aws_refusal("ServiceUnavailableException")
    rig.put("earlier")
    rig.turn()
    real, seen = os.fsync, []

    def sync(descriptor: int) -> None:
        seen.append(rig.shipper.stats().queued)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    rig.put("one", "two")
    rig.turn()

    assert seen
    assert set(seen) == {2}
    assert (rig.shipper.stats().queued, rig.shipper.stats().spooled) == (0, 3)


class Stuck(CloudWatch):
    """A service that takes a call and does not answer until told."""

    def __init__(self) -> None:
        super().__init__()
        self.called = threading.Event()
        self.answer = threading.Event()

    def put_log_events(self, **arguments: object) -> dict:
        self.called.set()
        assert self.answer.wait(10.0)
        return super().put_log_events(**arguments)


def test_put_does_not_wait_for_a_stuck_service(tmp_path: Path) -> None:
    """While the thread hangs in a call, put() returns in microseconds; close() ships the rest."""
    cloudwatch = Stuck()
    limits = ShippingLimits(batch_wait=0.01)
    shipper = LogShipper(cloudwatch, "discrimiNAT", "i-1", tmp_path, limits, on_loss=lambda *_: None)
    shipper.start()
    shipper.put("flow", [b"first"], NOON)
    assert cloudwatch.called.wait(10.0)

    started = time.monotonic()
    for number in range(1000):
        shipper.put("flow", [b"%d" % number], NOON)
    elapsed = time.monotonic() - started
    cloudwatch.answer.set()
    shipper.close()

    assert elapsed < 1.0  # a thousand calls; one that waited would take ten seconds
    assert cloudwatch.streams["flow"] == ["first", *map(str, range(1000))]


def test_a_full_batch_does_not_wait_for_others(tmp_path: Path) -> None:
    """The thread wakes when a batch is full, however long a line may wait."""
    cloudwatch = CloudWatch()
    shipper = LogShipper(
        cloudwatch, "discrimiNAT", "i-1", tmp_path, ShippingLimits(batch_wait=600.0), on_loss=lambda *_: None
    )
    shipper.start()
    shipper.put("flow", [b"x"] * BATCH_EVENTS, NOON)
    deadline = time.monotonic() + 10.0
    while shipper.stats().shipped < BATCH_EVENTS and time.monotonic() < deadline:
        time.sleep(0.01)
    shipped = shipper.stats().shipped
    shipper.close()

    assert shipped == BATCH_EVENTS


def test_close_during_an_outage_spools(tmp_path: Path) -> None:
    """What cannot be shipped at the end is on disk for the next run."""
    cloudwatch = CloudWatch()
    cloudwatch.outage = aws_refusal("ThrottlingException")
    shipper = LogShipper(cloudwatch, "discrimiNAT", "i-1", tmp_path, ShippingLimits(), on_loss=lambda *_: None)
    shipper.start()
    shipper.put("flow", [b"last words"], NOON)
    shipper.close()

    assert Spool(tmp_path / "i-1", 1000).events == 1


# ---- laws, and the real client ----

STEPS: dict[str, Callable[[Rig, int], None]] = {
    "put": lambda rig, step: rig.put(f"{step} a", f"{step} b"),
    "put config": lambda rig, step: rig.put(f"{step} c", stream="config"),
    "turn": lambda rig, step: rig.turn(),
    "outage": lambda rig, step: setattr(rig.cloudwatch, "outage", aws_refusal("ThrottlingException")),
    "recovery": lambda rig, step: setattr(rig.cloudwatch, "outage", None),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=40))
def test_every_line_arrives_once_and_in_order(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """Whatever the order of lines, turns and outages, each stream gets its lines as they were put."""
    rig = Rig(tmp_path_factory.mktemp("spool"))
    expected: dict[str, list[str]] = defaultdict(list)
    for number, step in enumerate(steps):
        STEPS[step](rig, number)
        if step == "put":
            expected["flow"] += [f"{number} a", f"{number} b"]
        elif step == "put config":
            expected["config"] += [f"{number} c"]
    rig.cloudwatch.outage = None
    rig.turn(times=4)

    assert rig.cloudwatch.streams == expected
    assert rig.counts() == (sum(map(len, expected.values())), 0, 0, 0)


def test_the_real_client_ships(tmp_path: Path, aws_in_memory: None) -> None:
    """boto3's own client takes our calls and its answers are read, against an emulator of the service."""
    millis = int(time.time() * 1000)
    client = connect("eu-west-1")
    shipper = LogShipper(client, "discrimiNAT", "i-1", tmp_path, ShippingLimits(), on_loss=lambda *_: None)
    shipper.put("flow", [b"one\n", b"two\n"], millis)
    shipper.turn(0.0)
    failure = shipper.stats().failure
    client.create_log_group(logGroupName="discrimiNAT")
    shipper.turn(120.0)
    found = client.get_log_events(logGroupName="discrimiNAT", logStreamName="flow")["events"]

    assert failure.startswith("log group 'discrimiNAT' does not exist")
    assert [(event["timestamp"], event["message"]) for event in found] == [(millis, "one"), (millis, "two")]
