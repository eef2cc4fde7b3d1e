"""The lab's view of a log: every complete line once, of the file that has the name now."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.event_log import EventLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is going to be."""
    return tmp_path / "flow.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[EventLog]:
    """The lab's view of it."""
    log = EventLog(path)
    yield log
    log.close()


def line(number: int) -> bytes:
    """Return a line of a log."""
    return json.dumps({"number": number}).encode() + b"\n"


def numbers(log: EventLog) -> list[int]:
    """Return what is seen of it."""
    return [event["number"] for event in log.events()]


def test_lines_are_seen_as_they_come(path: Path, log: EventLog) -> None:
    assert numbers(log) == []
    with path.open("ab", buffering=0) as file:
        for written in range(3):
            assert numbers(log) == list(range(written))
            file.write(line(written))
    assert numbers(log) == numbers(log) == [0, 1, 2]


def test_half_a_line_waits_for_its_other_half(path: Path, log: EventLog) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(line(0) + line(1)[:5])
        assert numbers(log) == numbers(log) == [0]
        file.write(line(1)[5:] + b"\n" + line(2))
    assert numbers(log) == [0, 1, 2]


def rotate(path: Path) -> None:
    """Give the file another name."""
    path.rename(path.with_suffix(".1"))


@pytest.mark.parametrize("end", [Path.unlink, rotate])
def test_a_log_begun_anew_is_read_from_its_start(path: Path, log: EventLog, end: Callable[[Path], object]) -> None:
    """Though a new file may have the inode number of one that was taken away, and be longer by then."""
    path.write_bytes(line(0) + line(1))
    assert numbers(log) == [0, 1]
    end(path)
    path.write_bytes(line(2) * 40)
    assert numbers(log) == [2] * 40
    end(path)
    assert numbers(log) == []


def test_a_log_that_was_cut_is_read_from_its_start(path: Path, log: EventLog) -> None:
    path.write_bytes(line(0) + line(1))
    assert numbers(log) == [0, 1]
    path.write_bytes(line(2))
    assert numbers(log) == [2]
