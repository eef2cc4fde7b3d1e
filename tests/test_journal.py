"""Events become JSON lines, and lines a journal that survives its disk."""

import errno
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.edge.journal import Journal, render

EVENT = {"stream": "flow", "dhost": "api.example.com", "outcome": "allowed", "spt": 40000, "see_thru_exerted": False}

TIMES = [
    # Unix time           RFC 3339
    (0.0, "1970-01-01T00:00:00.000Z"),
    (1795362013.25, "2026-11-22T15:40:13.250Z"),
    (1795362013.9996, "2026-11-22T15:40:14.000Z"),  # rounds up into the next second
    (1709164800.001, "2024-02-29T00:00:00.001Z"),
]


@pytest.mark.parametrize(("when", "text"), TIMES)
def test_a_line_begins_with_its_time(when: float, text: str) -> None:
    """The time is the first field, in UTC to the millisecond."""
    assert render({"cat": "client"}, when) == f'{{"time":"{text}","cat":"client"}}\n'.encode()


def test_a_line_holds_the_fields_of_its_event_and_no_other() -> None:
    """What the event says is what the line says, in its order; the event is not changed."""
    event = dict(EVENT)

    line = json.loads(render(event, 0.0))

    assert list(line.items())[1:] == list(EVENT.items())
    assert event == EVENT


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_any_event_is_one_line_of_ascii(fields: dict[str, object]) -> None:
    """No text in an event, whoever chose it, ends its line early or leaves ASCII."""
    line = render(fields, 1.0)

    assert line.isascii()
    assert line.endswith(b"\n")
    assert len(line.splitlines()) == 1
    assert {"time": "1970-01-01T00:00:01.000Z", **fields} == json.loads(line)


def test_threads_do_not_mix_their_events() -> None:
    """Two threads that render at once get their own lines."""
    mixed = []

    def render_many(name: str) -> None:
        mixed.extend(line for _ in range(2000) if name.encode() not in (line := render({"name": name}, 0.0)))

    threads = [threading.Thread(target=render_many, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert mixed == []


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_journal_rotates_by_size_and_keeps_the_newest(tmp_path: Path) -> None:
    """A full file becomes `.1`; the oldest beyond `backups` goes."""
    journal = Journal(tmp_path / "events.json", max_octets=10, backups=2)

    for line in (b"1111\n", b"2222\n", b"3333\n", b"4444\n", b"5555\n", b"6666\n", b"7777\n"):
        journal.write(line)

    assert contents(tmp_path) == {
        "events.json": b"7777\n",
        "events.json.1": b"5555\n6666\n",
        "events.json.2": b"3333\n4444\n",
    }
    assert journal.lost == 0


def test_journal_without_backups_starts_over(tmp_path: Path) -> None:
    """With no backups a full file is dropped."""
    journal = Journal(tmp_path / "events.json", max_octets=10, backups=0)

    for line in (b"1111\n", b"2222\n", b"3333\n"):
        journal.write(line)

    assert contents(tmp_path) == {"events.json": b"3333\n"}


def test_a_write_longer_than_the_file_has_a_file_of_its_own(tmp_path: Path) -> None:
    """Lines of one write stay together, and are written however long they are."""
    journal = Journal(tmp_path / "events.json", max_octets=10, backups=1)

    journal.write(b"1\n")
    journal.write(b"2222\n3333\n4444\n")

    assert contents(tmp_path) == {"events.json": b"2222\n3333\n4444\n", "events.json.1": b"1\n"}


def test_journal_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A restart appends, makes missing folders, and counts what is there towards the size."""
    path = tmp_path / "var/log/events.json"
    first = Journal(path, max_octets=10, backups=1)
    first.write(b"1111\n")
    first.close()

    second = Journal(path, max_octets=10, backups=1)
    second.write(b"2222\n")
    second.write(b"3333\n")

    assert contents(path.parent) == {"events.json": b"3333\n", "events.json.1": b"1111\n2222\n"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"1111\n22", b"1111\nnew\n"),
        (b"22", b"new\n"),
        (b"1111\n", b"1111\nnew\n"),
        (b"1111\n" + b"\0" * 100_000, b"1111\nnew\n"),
    ],
    ids=["half a line", "nothing whole", "whole lines", "noughts"],
)
def test_a_line_that_a_power_cut_left_half_is_taken_away(tmp_path: Path, before: bytes, after: bytes) -> None:
    """The file holds whole lines only, and new ones do not stick to the rest."""
    (tmp_path / "events.json").write_bytes(before)
    journal = Journal(tmp_path / "events.json", max_octets=1_000_000, backups=1)

    journal.write(b"new\n")

    assert contents(tmp_path) == {"events.json": after}


class SmallDisk:
    """`os.write` of a disk with so much room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.write = os.write

    def __call__(self, descriptor: int, data: bytes | memoryview) -> int:
        taken = self.write(descriptor, data[: self.room]) if self.room else 0
        self.room -= taken
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return taken


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is counted, leaves no half line, and the journal goes on when there is room."""
    journal = Journal(tmp_path / "events.json", max_octets=1000, backups=1)
    journal.write(b"1111\n")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", SmallDisk(room=7))
        journal.write(b"2222\n3333\n")
        assert (journal.lost, journal.failure) == (2, "[Errno 28] No space left on device")
    journal.write(b"4444\n")

    assert contents(tmp_path) == {"events.json": b"1111\n4444\n"}
    assert (journal.lost, journal.failure) == (2, "")


def test_a_folder_that_cannot_be_is_counted(tmp_path: Path) -> None:
    """A path that cannot be opened loses lines; it raises nothing."""
    (tmp_path / "file").write_text("in the way")
    journal = Journal(tmp_path / "file/events.json", max_octets=1000, backups=1)

    journal.write(b"1\n2\n")

    assert journal.lost == 2
    assert "Not a directory" in journal.failure or "File exists" in journal.failure
