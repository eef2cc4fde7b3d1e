"""Metrics: how the appliance is doing, as a log line that CloudWatch reads numbers from.

The one place where the names, units and dimensions of the metrics stand; the alarms of the Terraform
module are tested against it. Everything here is pure.

Source: CloudWatch User Guide, "Specification: Embedded metric format"; CloudWatch API reference, Dimension.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.event import Event

NAMESPACE = "discriminat"
DIMENSIONS = ("Deployment", "Zone")
DIMENSION_LONGEST = 1024  # characters

METRICS = {  # name: unit
    # as it is now
    "Ready": "None",  # 1 when flows are filtered as policy says, as /healthz tells, else 0
    "PolicyAge": "Seconds",  # since AWS was last read; absent before the first reading
    "ConntrackUse": "Percent",  # of the connection tracking table; absent while the kernel does not tell
    "Clients": "Count",  # in the policy in force
    "Names": "Count",  # in the policy in force
    "PacketsHeld": "Count",  # that wait for a verdict now
    # since the line before
    "PacketsInspected": "Count",
    "FlowEvents": "Count",  # allowed and refused, as in the stream `flow`
    "QueueDrops": "Count",  # packets that the kernel dropped because a queue was full
    "LogLinesLost": "Count",  # on disk, on the way to CloudWatch, or between worker and supervisor
    "WorkerRestarts": "Count",
    "EngineErrors": "Count",  # packets denied because the engine failed on them
}

# Something that counts, by what it is: a worker, a queue, a log. Each starts at 0, when it likes.
Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of the appliance at one time. The counts only grow while their source lives."""

    ready: bool = False
    policy_age: float | None = None  # seconds; None before AWS was first read
    conntrack_entries: int = 0
    conntrack_most: int | None = None  # entries; None if unknown, 0 if the kernel has no limit
    clients: int = 0
    names: int = 0
    packets_held: int = 0
    packets_inspected: Counts = field(default_factory=dict)
    flow_events: Counts = field(default_factory=dict)
    queue_drops: Counts = field(default_factory=dict)
    log_lines_lost: Counts = field(default_factory=dict)
    worker_restarts: Counts = field(default_factory=dict)
    engine_errors: Counts = field(default_factory=dict)


class MetricsLine:
    """Makes the line of each minute from two readings.

    Args:
        deployment: the name that the deployment's appliances share.
        zone: the availability zone, such as `eu-west-2a`.
        instance: told beside the metrics, but no dimension: each would be a metric of its own, billed as one.

    Raises:
        ValueError: `deployment` or `zone` cannot be a dimension, so that CloudWatch would drop every metric.
    """

    def __init__(self, *, deployment: str, zone: str, instance: str) -> None:
        self._dimensions = dict(zip(DIMENSIONS, (deployment, zone), strict=True))
        self._instance = instance
        for name, value in self._dimensions.items():
            if not _is_dimension(value):
                raise ValueError(
                    f"{name} of the metrics is {value!r}: it has to be 1 to {DIMENSION_LONGEST} printable ASCII "
                    f"characters, not only spaces"
                )

    def event(self, before: Reading, now: Reading, millis: int) -> Event:
        """Return the line's event; what is not known is left out.

        Args:
            before: the reading of the line before; an empty one makes the first line.
            now: the reading to tell.
            millis: when it was taken, in milliseconds since 1970.
        """
        values = _values(before, now)
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [list(DIMENSIONS)],
            "Metrics": [{"Name": name, "Unit": METRICS[name]} for name in values],
        }
        return {
            "_aws": {"Timestamp": millis, "CloudWatchMetrics": [directive]},
            **self._dimensions,
            "instance": self._instance,
            **values,
        }


def _values(before: Reading, now: Reading) -> dict[str, int | float]:
    told: dict[str, int | float | None] = {
        "Ready": int(now.ready),
        "PolicyAge": None if now.policy_age is None else round(now.policy_age, 1),
        "ConntrackUse": _percent(now.conntrack_entries, now.conntrack_most),
        "Clients": now.clients,
        "Names": now.names,
        "PacketsHeld": now.packets_held,
        "PacketsInspected": grown(before.packets_inspected, now.packets_inspected),
        "FlowEvents": grown(before.flow_events, now.flow_events),
        "QueueDrops": grown(before.queue_drops, now.queue_drops),
        "LogLinesLost": grown(before.log_lines_lost, now.log_lines_lost),
        "WorkerRestarts": grown(before.worker_restarts, now.worker_restarts),
        "EngineErrors": grown(before.engine_errors, now.engine_errors),
    }
    return {name: value for name, value in told.items() if value is not None}


def grown(before: Counts, now: Counts) -> int:
    """Return by how much the counts grew together. One that fell began anew, and counts from 0; one that went, not."""
    more = 0
    for source, count in now.items():
        counted = before.get(source, 0)
        more += count - counted if count >= counted else count
    return more


def _percent(entries: int, most: int | None) -> float | None:
    if most is None:
        return None
    return round(100 * entries / most, 1) if most else 0.0


def _is_dimension(value: str) -> bool:
    return value.isascii() and value.isprintable() and value.strip() != "" and len(value) <= DIMENSION_LONGEST
