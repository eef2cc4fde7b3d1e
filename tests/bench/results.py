"""Results: medians of what was measured, ratios to plain NAT and to HAProxy, the targets, a table and a JSON file."""

import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench.measure import QUIET, Sample

NAT, OURS, HAPROXY = "nat", "discriminat", "haproxy"
BEFORE = "before"  # another build of ours
MANY_NAMES, MANY_CLIENTS = "discriminat-names", "discriminat-clients"
TARGETS: Final = {  # least ratio
    "conn_rate_vs_nat": 0.6,
    "conn_rate_vs_haproxy": 1.3,
    "conn_rate_vs_before": 0.9,
    "bulk_vs_nat": 0.95,
    "names_100k_vs_10": 0.9,
    "clients_10k_vs_10": 0.9,
}
FAILURES: Final = 0.001  # share of connections that may fail before a system counts as not working


@dataclass(slots=True)
class Results:
    """Everything measured, by system, in the order of the rounds."""

    command: str
    rates: dict[str, list[Sample]] = field(default_factory=dict)
    latencies: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # p50 and p99, microseconds
    bulk: dict[str, list[float]] = field(default_factory=dict)  # Gbit/s
    iperf3: dict[str, list[float]] = field(default_factory=dict)  # Gbit/s
    resident: dict[str, float] = field(default_factory=dict)  # MiB
    scale: dict[str, list[Sample]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def check(self, name: str, sample: Sample) -> None:
        """Note as a fault when too many connections of a measurement failed."""
        if sample.failures > FAILURES * (sample.rate + sample.failures) or not sample.rate:
            self.faults.append(f"{name}: {sample.failures} connections failed, {sample.rate:.0f} a second did not")

    def ratios(self) -> dict[str, float]:
        """Return the ratios whose two sides were measured: the median of those of the single rounds."""
        rates = {name: [sample.rate for sample in samples] for name, samples in self.rates.items()}
        scale = {name: [sample.rate for sample in samples] for name, samples in self.scale.items()}
        pairs = {
            "conn_rate_vs_nat": (rates.get(OURS), rates.get(NAT)),
            "conn_rate_vs_haproxy": (rates.get(OURS), rates.get(HAPROXY)),
            "conn_rate_vs_before": (rates.get(OURS), rates.get(BEFORE)),
            "bulk_vs_nat": (self.bulk.get(OURS), self.bulk.get(NAT)),
            "names_100k_vs_10": (scale.get(MANY_NAMES), scale.get(OURS)),
            "clients_10k_vs_10": (scale.get(MANY_CLIENTS), scale.get(OURS)),
        }
        return {name: round(_paired(ours, theirs), 3) for name, (ours, theirs) in pairs.items() if ours and theirs}

    def document(self) -> dict[str, object]:
        """Return what is written to the JSON file."""
        ratios = self.ratios()
        return {
            "conn_rate": {name: round(_median(s.rate for s in samples)) for name, samples in self.rates.items()},
            "first_byte_us": {
                name: {"p50": round(_median(p50 for p50, _ in pairs)), "p99": round(_median(p99 for _, p99 in pairs))}
                for name, pairs in self.latencies.items()
            },
            "cpu_us_per_conn": {
                name: round(_median(s.cpu_us for s in samples), 1) for name, samples in self.rates.items()
            },
            "processes_us_per_conn": {
                name: round(_median(s.processes_us for s in samples), 1) for name, samples in self.rates.items()
            },
            "bulk_gbps": {name: round(_median(values), 2) for name, values in self.bulk.items()},
            "iperf3_gbps": {name: round(_median(values), 2) for name, values in self.iperf3.items()},
            "rss_mib": {name: round(value, 1) for name, value in self.resident.items()},
            "ratios": ratios,
            "targets": {
                name: {"least": least, "met": ratios[name] >= least}
                for name, least in TARGETS.items()
                if name in ratios
            },
            "rounds": {
                name: [round(s.rate) for s in samples] for name, samples in (self.rates | self._named_scale()).items()
            },
            "foreign_processors": {
                "median": round(_median(self._foreign()), 2),
                "most": round(max(self._foreign()), 2),
            },
            "faults": self.faults,
            "kernel": platform.release(),
            "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "command": self.command,
        }

    def table(self) -> str:
        """Return the figures and the targets for reading."""
        heads = f"{'first byte p50':>16}{'p99 us':>9}{'bulk Gbit/s':>13}{'RSS MiB':>9}"
        lines = [f"{'':<12}{'conn/s':>9}{'of nat':>9}{'cpu us':>9}{heads}"]
        nat = [sample.rate for sample in self.rates.get(NAT, [])]
        for name, samples in self.rates.items():
            rates = [sample.rate for sample in samples]
            p50, p99 = (_median(each[index] for each in self.latencies[name]) for index in (0, 1))
            lines.append(
                f"{name:<12}{_median(rates):>9,.0f}{_paired(rates, nat) if nat else 0:>9.2f}"
                f"{_median(s.cpu_us for s in samples):>9.0f}{p50:>16,.0f}{p99:>9,.0f}"
                f"{_median(self.bulk.get(name, [0.0])):>13.1f}{self.resident.get(name, 0.0):>9.0f}"
            )
        ratios = self.ratios()
        lines += ["", f"{'ratio':<24}{'measured':>9}{'target':>9}"]
        lines += [
            f"{name:<24}{ratios[name]:>9.2f}{least:>9.2f}  {'met' if ratios[name] >= least else 'MISSED'}"
            if name in ratios
            else f"{name:<24}{'-':>9}{least:>9.2f}  not measured"
            for name, least in TARGETS.items()
        ]
        lines += [f"FAULT: {fault}" for fault in self.faults]
        if (disturbed := sum(foreign > QUIET for foreign in self._foreign())) > 0:
            lines += ["", f"Other programs disturbed {disturbed} of {len(self._foreign())} measurements."]
        return "\n".join(lines)

    def _foreign(self) -> list[float]:
        """Processors that others used during each of the measurements."""
        every = [sample for samples in (*self.rates.values(), *self.scale.values()) for sample in samples]
        return [sample.foreign for sample in every] or [0.0]

    def _named_scale(self) -> dict[str, list[Sample]]:
        return {f"{name} (scale)": samples for name, samples in self.scale.items()}


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _paired(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of round-by-round ratios: what disturbs a whole round disturbs both its sides."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=False) if b)
