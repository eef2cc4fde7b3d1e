"""The survey: what `suggest` reads, from CloudWatch Logs or from files, and how far it is.

Composition root of `suggest`. Nothing a log or a file may hold leads to anything but InputError.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from botocore.exceptions import BotoCoreError

from appliance.edge import log_reader
from appliance.errors import InputError
from appliance.period import parse_moment
from appliance.sighting import LINE_MAX, write_time
from appliance.sources import STANDARD_INPUT, find_region, read_interfaces
from appliance.usage import Usage, Wearers

SINCE: Final = "14d"  # of CloudWatch, unless it is given: a group may hold years
PROGRESS: Final = 3.0  # seconds between two lines about it
MARGIN: Final = timedelta(minutes=1)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LogSource:
    """Where to read. No files: CloudWatch. `since`, `until`: as on the command line; empty where not given."""

    files: tuple[Path, ...] = ()
    log_group: str = "discrimiNAT"
    log_stream: str = "flow"
    region: str = ""
    network_interfaces: Path | None = None
    since: str = ""
    until: str = ""


def survey(source: LogSource, wanted: tuple[str, ...], say: Say) -> Usage:
    """Return what a source tells.

    Args:
        source: the flow log.
        wanted: the groups to look at; none for all.
        say: is told, now and then, how far it is.

    Raises:
        AwsError: CloudWatch cannot be read.
        InputError: a file cannot be used, or there is nothing to read from.
        PolicyError: a time cannot be understood.
    """
    now = datetime.now(UTC)
    since = parse_moment(source.since or SINCE, now) if source.since or not source.files else None
    until = parse_moment(source.until, now) if source.until else None
    wearers = Wearers(read_interfaces(source.network_interfaces) if source.network_interfaces else ())
    usage = Usage(
        wanted=wanted,
        since=write_time(since) if since else "",
        until=write_time(until) if until else "",
        wearers=wearers,
    )
    lines = _read_files(source) if source.files else _read_cloudwatch(source, since or now, until or now, say)
    for line in lines:
        usage.read(line)
    if source.files and usage.unread == usage.lines:
        raise InputError(
            f"{', '.join(map(_name, source.files))}: there is no flow event in it",
            hint="give flow.jsonl as the appliance writes it, one JSON object a line",
        )
    return usage


# CloudWatch


def _read_cloudwatch(source: LogSource, since: datetime, until: datetime, say: Say) -> Iterator[str]:
    try:
        client = log_reader.connect(find_region(source.region))
    except (BotoCoreError, ValueError) as fault:  # of a profile or region that does not exist
        raise InputError(f"no client for AWS: {fault}", hint="look at --region and the AWS_ variables") from fault
    reader = log_reader.LogReader(client, source.log_group, source.log_stream)
    told_at = time.monotonic()

    def on_page(lines: int, last: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= PROGRESS:
            told_at = time.monotonic()
            reached = f", up to {datetime.fromtimestamp(last / 1000, UTC):%Y-%m-%d %H:%M}" if last else ""
            say(f"reading {source.log_group}/{source.log_stream}: {lines:,} so far{reached}")

    # CloudWatch has one time for lines written together, a moment off that of the event, which counts.
    return reader.lines(_millis(since - MARGIN), _millis(until + MARGIN), on_page)


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


# Files


def _read_files(source: LogSource) -> Iterator[bytes]:
    for path in source.files:
        try:
            if path == STANDARD_INPUT:
                yield from _lines(sys.stdin.buffer)
            else:
                with path.open("rb") as file:
                    yield from _lines(file)
        except OSError as fault:
            hint = "give the appliance's flow.jsonl, or - for standard input"
            raise InputError(f"{_name(path)}: {fault.strerror}", hint=hint) from fault


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines that are not empty; of one that is too long only so much that it is seen to be."""
    while line := file.readline(LINE_MAX + 2):
        whole = line.endswith(b"\n")
        while not whole and (rest := file.readline(LINE_MAX)):
            whole = rest.endswith(b"\n")
        if line.strip():
            yield line.rstrip(b"\r\n")


def _name(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)
