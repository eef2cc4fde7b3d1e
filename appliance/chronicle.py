"""The chronicle: where events go. JSON lines on local disk always, CloudWatch Logs where wanted.

Nothing here blocks on the network: the shipper has a thread and a bounded spool of its own.
"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from appliance.edge import cloudwatch
from appliance.edge.journal import Journal, render
from appliance.event import Event, config_event
from appliance.settings import Settings

FLOW = "flow"
CONFIG = "config"
METRICS = "metrics"

WRITE_OCTETS = 65536  # that one write of ours has, about: a larger one would rotate a file before its time


class Chronicle:
    """The streams, `flow`, `config` and `metrics`, each to both places."""

    def __init__(self, settings: Settings, *, instance: str, region: str) -> None:
        self._instance = instance
        self._write_octets = min(WRITE_OCTETS, settings.logs_max_octets // 16)
        self._lock = threading.Lock()
        self._journals = {
            stream: Journal(
                Path(settings.logs_directory) / f"{stream}.jsonl", settings.logs_max_octets, settings.logs_backups
            )
            for stream in (FLOW, CONFIG, METRICS)
        }
        self._shipper: cloudwatch.LogShipper | None = None
        if settings.logs_cloudwatch:
            self._shipper = cloudwatch.LogShipper(
                cloudwatch.connect(region),
                settings.logs_group,
                instance,
                Path(settings.logs_spool),
                cloudwatch.ShippingLimits(spool_octets=settings.logs_spool_octets),
                on_loss=self._on_loss,
            )
            self._shipper.start()

    def write(self, stream: str, lines: bytes, millis: int) -> None:
        """Write rendered lines of about one time, `millis` since 1970."""
        with self._lock:  # losses are told from the shipper's thread
            self._journals[stream].write(lines)
        if self._shipper is not None:
            self._shipper.put(stream, lines.splitlines(keepends=True), millis)

    def tell(self, *events: Event) -> None:
        """Write config events, of now."""
        self._write_now(CONFIG, events)

    def log(self, events: Sequence[Event]) -> None:
        """Write flow events, of now: those that no worker tells."""
        self._write_now(FLOW, events)

    def _write_now(self, stream: str, events: Sequence[Event]) -> None:
        now = time.time()
        lines, size = [], 0
        for event in events:
            lines.append(render(event, now))
            size += len(lines[-1])
            if size >= self._write_octets:
                self.write(stream, b"".join(lines), int(now * 1000))
                lines, size = [], 0
        if lines:
            self.write(stream, b"".join(lines), int(now * 1000))

    @property
    def lost(self) -> int:
        """Lines that did not get where they belong: to the disk, or to CloudWatch."""
        shipper = 0 if self._shipper is None else self._shipper.stats().lost
        return shipper + sum(journal.lost for journal in self._journals.values())

    def report(self) -> dict[str, object]:
        """Return what /healthz says of the logs."""
        report: dict[str, object] = {"lines_lost_on_disk": sum(journal.lost for journal in self._journals.values())}
        if self._shipper is not None:
            stats = self._shipper.stats()
            report["cloudwatch"] = {
                "shipped": stats.shipped,
                "queued": stats.queued,
                "spooled": stats.spooled,
                "lost": stats.lost,
                "failure": stats.failure,
            }
        return report

    def close(self) -> None:
        """Ship or spool what waits, and close the files."""
        if self._shipper is not None:
            self._shipper.close()
        for journal in self._journals.values():
            journal.close()

    def _on_loss(self, events: int, why: str) -> None:
        """Say in the log that some of it was lost. Called from the shipper's thread."""
        reason = f"{events} log events were lost on their way to CloudWatch: {why}"
        self.tell(config_event(cat="error", outcome="lost", reason=reason, instance=self._instance))
