"""The chronicle: both streams reach the disk, and CloudWatch where it is wanted."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance import chronicle as chronicle_module
from appliance.chronicle import CONFIG, FLOW, Chronicle
from appliance.event import config_event
from appliance.settings import Settings

EVENT = config_event(cat="policy", outcome="accepted", reason="first reading", instance="i-1", digest="abc")


class Shipper:
    """Stands for the one to CloudWatch."""

    def __init__(self, *arguments: Any, on_loss: Callable[[int, str], None]) -> None:
        self.arguments = arguments
        self.on_loss = on_loss
        self.calls: list[tuple[Any, ...]] = []

    def start(self) -> None:
        self.calls.append(("start",))

    def put(self, stream: str, lines: list[bytes], millis: int) -> None:
        self.calls.append((stream, lines, millis))

    def stats(self) -> SimpleNamespace:
        return SimpleNamespace(shipped=1, queued=2, spooled=3, lost=4, failure="throttled")

    def close(self) -> None:
        self.calls.append(("close",))


@pytest.fixture
def shippers(monkeypatch: pytest.MonkeyPatch) -> list[Shipper]:
    made: list[Shipper] = []

    def make(*arguments: Any, **named: Any) -> Shipper:
        made.append(Shipper(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(chronicle_module.cloudwatch, "LogShipper", make)
    monkeypatch.setattr(chronicle_module.cloudwatch, "connect", lambda *_: None)
    return made


def make(folder: Path, *, cloudwatch: bool, max_octets: int = 1 << 26) -> Chronicle:
    settings = Settings(
        logs_directory=str(folder / "log"),
        logs_spool=str(folder / "spool"),
        logs_cloudwatch=cloudwatch,
        logs_max_octets=max_octets,
    )
    return Chronicle(settings, instance="i-1", region="eu-west-1")


def read(folder: Path, stream: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log" / f"{stream}.jsonl").read_text().splitlines()]


def test_disk_alone(tmp_path: Path, shippers: list[Shipper]) -> None:
    """Each stream has its file; nothing is shipped that is not wanted."""
    chronicle = make(tmp_path, cloudwatch=False)
    chronicle.write(FLOW, b'{"a":1}\n{"a":2}\n', 1000)
    chronicle.tell(EVENT, EVENT)
    chronicle.tell()
    assert chronicle.report() == {"lines_lost_on_disk": 0}
    chronicle.close()
    assert read(tmp_path, FLOW) == [{"a": 1}, {"a": 2}]
    assert [line["digest"] for line in read(tmp_path, CONFIG)] == ["abc", "abc"]
    assert shippers == []


def test_disk_and_cloudwatch(tmp_path: Path, shippers: list[Shipper]) -> None:
    """The same lines go to both; the report has what the shipper says."""
    chronicle = make(tmp_path, cloudwatch=True)
    chronicle.write(FLOW, b'{"a":1}\n', 1000)
    assert shippers[0].calls == [("start",), (FLOW, [b'{"a":1}\n'], 1000)]
    assert chronicle.report()["cloudwatch"] == {
        "shipped": 1,
        "queued": 2,
        "spooled": 3,
        "lost": 4,
        "failure": "throttled",
    }
    chronicle.close()
    assert shippers[0].calls[-1] == ("close",)


def test_loss_is_told(tmp_path: Path, shippers: list[Shipper]) -> None:
    """In the config stream: how many, and why."""
    chronicle = make(tmp_path, cloudwatch=True)
    shippers[0].on_loss(7, "the spool is full")
    chronicle.close()
    (line,) = read(tmp_path, CONFIG)
    assert (line["cat"], line["outcome"], line["instance"]) == ("error", "lost", "i-1")
    assert line["reason"] == "7 log events were lost on their way to CloudWatch: the spool is full"


def test_a_flood_of_events_is_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    chronicle = make(tmp_path, cloudwatch=False, max_octets=65536)
    monkeypatch.setattr(chronicle, "write", lambda _, lines, __: writes.append(lines))
    chronicle.tell(*[EVENT] * 1000)
    assert sum(lines.count(b"\n") for lines in writes) == 1000
    assert max(map(len, writes)) < 65536 // 8
    assert all(lines.endswith(b"\n") for lines in writes)
