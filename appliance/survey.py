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
from appliance.errors import InputError, PolicyError
from appliance.offer import offer_document, render_annotations, render_table, render_terraform
from appliance.order import STANDARD_INPUT, Order
from appliance.page import render_page, write_page
from appliance.period import parse_moment
from appliance.sighting import LINE_MAX, write_time
from appliance.sources import Source, find_region, read_interfaces, saved_inventory
from appliance.suggestion import suggest
from appliance.usage import Usage, Wearers

SINCE: Final = "14d"  # of CloudWatch, unless it is given: a group may hold years
PROGRESS: Final = 3.0  # seconds between two lines about it
MARGIN: Final = timedelta(minutes=1)

Say = Callable[[str], object]


def fulfil(order: Order, say: Say) -> dict[str, object] | str:
    """Return what is to be printed, as text or as JSON values; write the page that was asked for.

    Raises:
        AwsError: CloudWatch cannot be read.
        InputError: a file cannot be used, or there is nothing to read from.
        PolicyError: a time cannot be understood, or none is left.
    """
    existing = saved_inventory(Source(order.security_groups)).groups if order.security_groups else ()
    suggestion = suggest(survey(order, say), min_count=order.min_count, kept=order.kept, existing=existing)
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
    lines = _read_files(order.files) if order.files else _read_cloudwatch(order, since or now, until or now, say)
    for line in lines:
        usage.read(line)
    if order.files and usage.unread == usage.lines:
        raise InputError(
            f"{', '.join(map(_name, order.files))}: there is no flow event in it",
            hint="give flow.jsonl as the appliance writes it, one JSON object a line",
        )
    return usage


# CloudWatch


def _read_cloudwatch(order: Order, since: datetime, until: datetime, say: Say) -> Iterator[str]:
    try:
        client = log_reader.connect(find_region(order.region))
    except (BotoCoreError, ValueError) as fault:  # of a profile or region that does not exist
        raise InputError(f"no client for AWS: {fault}", hint="look at --region and the AWS_ variables") from fault
    reader = log_reader.LogReader(client, order.log_group, order.log_stream)
    told_at = time.monotonic()

    def on_page(lines: int, last: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= PROGRESS:
            told_at = time.monotonic()
            reached = f", up to {datetime.fromtimestamp(last / 1000, UTC):%Y-%m-%d %H:%M}" if last else ""
            say(f"reading {order.log_group}/{order.log_stream}: {lines:,} so far{reached}")

    # CloudWatch has one time for lines written together, a moment off that of the event, which counts.
    return reader.lines(_millis(since - MARGIN), _millis(until + MARGIN), on_page)


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


# Files


def _read_files(files: tuple[Path, ...]) -> Iterator[bytes]:
    for path in files:
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
