"""The survey: what `suggest` reads, from CloudWatch Logs or from files, and how far it is.

Composition root of `suggest`. Nothing a log or a file may hold leads to anything but InputError.
"""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from botocore.exceptions import BotoCoreError

from appliance.edge import log_reader
from appliance.edge.suffix_list import read_suffixes
from appliance.errors import InputError, PolicyError
from appliance.family import Terms
from appliance.offer import offer_document, render_annotations, render_table, render_terraform
from appliance.order import STANDARD_INPUT, Order
from appliance.page import find_place, render_page, write_page
from appliance.period import parse_moment
from appliance.policy.exposure import Guard
from appliance.sighting import LINE_MAX, write_time
from appliance.sources import Source, find_region, read_interfaces, saved_inventory
from appliance.suggestion import suggest
from appliance.usage import Usage, Wearers

SINCE: Final = "14d"  # of CloudWatch, unless it is given: a group may hold years
PROGRESS: Final = 3.0  # seconds between two lines about it
STEP: Final = 1000  # lines of a file between two looks at the clock
MARGIN: Final = timedelta(minutes=1)

Say = Callable[[str], object]


def fulfil(order: Order, say: Say) -> dict[str, object] | str:
    """Return what is to be printed, as text or as JSON values; write the page that was asked for.

    Raises:
        AwsError: CloudWatch cannot be read.
        InputError: a file cannot be used, or there is nothing to read from.
        PolicyError: a time cannot be understood, or none is left.
    """
    if order.html is not None:
        find_place(order.html)
    existing = saved_inventory(Source(order.security_groups)).groups if order.security_groups else ()
    terms = Terms(Guard(order.exposure, read_suffixes()), order.wildcards_from) if order.wildcards_from else None
    suggestion = suggest(survey(order, say), min_count=order.min_count, kept=order.kept, existing=existing, terms=terms)
    if order.html is not None:
        write_page(order.html, render_page(suggestion, order.module))
    match order.format:
        case "json":
            return offer_document(suggestion)
        case "terraform":
            return render_terraform(suggestion, order.module)
        case "annotations":
            return render_annotations(suggestion)
        case _:
            return render_table(suggestion)


def survey(order: Order, say: Say) -> Usage:
    """Return what the log tells; `say` is told, now and then, how far it is. Raises as `fulfil` does."""
    now = datetime.now(UTC)
    since = parse_moment(order.since or SINCE, now) if order.since or not order.files else None
    until = parse_moment(order.until, now) if order.until else None
    end = until or (None if order.files else now)
    if since and end and since >= end:
        raise PolicyError(
            "there is no time between --since and --until", hint="--until has to be later, and is now by default"
        )
    usage = Usage(
        wanted=order.groups,
        since=write_time(since) if since else "",
        until=write_time(until) if until else "",
        wearers=Wearers(read_interfaces(order.network_interfaces) if order.network_interfaces else ()),
    )
    progress = _Progress(say)
    if order.files:
        lines: Iterator[bytes | str] = _read_files(order.files, progress)
    else:
        lines = _read_cloudwatch(order, since or now, until or now, progress)
    for line in lines:
        usage.read(line)
    if order.files and usage.unread == usage.lines:
        raise InputError(
            f"{', '.join(map(_name, order.files))}: there is no flow event in it",
            hint="give flow.jsonl as the appliance writes it, one JSON object a line",
        )
    return usage


class _Progress:
    """Tells how far it is, every now and then."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._told_at = time.monotonic()

    def tell(self, what: str, lines: int, reached: str = "") -> None:
        """Say so, if it is time to."""
        if time.monotonic() - self._told_at >= PROGRESS:
            self._told_at = time.monotonic()
            self._say(f"reading {what}: {lines:,} so far{reached}")


# CloudWatch


def _read_cloudwatch(order: Order, since: datetime, until: datetime, progress: _Progress) -> Iterator[str]:
    try:
        client = log_reader.connect(find_region(order.region))
    except (BotoCoreError, ValueError) as fault:  # of a profile or region that does not exist
        raise InputError(f"no client for AWS: {fault}", hint="look at --region and the AWS_ variables") from fault
    reader = log_reader.LogReader(client, order.log_group, order.log_stream)

    def on_page(lines: int, last: int) -> None:
        reached = f", up to {datetime.fromtimestamp(last / 1000, UTC):%Y-%m-%d %H:%M}" if last else ""
        progress.tell(f"{order.log_group}/{order.log_stream}", lines, reached)

    # CloudWatch has one time for lines written together, a moment off that of the event, which counts.
    return reader.lines(_millis(since - MARGIN), _millis(until + MARGIN), on_page)


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


# Files


def _read_files(files: tuple[Path, ...], progress: _Progress) -> Iterator[bytes]:
    for path in files:
        try:
            if path == STANDARD_INPUT:
                yield from _counted(sys.stdin.buffer, path, progress)
            else:
                with path.open("rb") as file:
                    yield from _counted(file, path, progress)
        except OSError as fault:
            hint = "give the appliance's flow.jsonl, or - for standard input"
            raise InputError(f"{_name(path)}: {fault.strerror}", hint=hint) from fault


def _counted(file: BinaryIO, path: Path, progress: _Progress) -> Iterator[bytes]:
    for count, line in enumerate(_lines(file), start=1):
        yield line
        if count % STEP == 0:
            progress.tell(_name(path), count)


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
