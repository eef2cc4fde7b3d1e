"""Measurements: how many connections, how soon, at what cost in processor time and memory.

The machine is shared: what other processes use of it goes into the rate and into the processor time of every
system alike. So a measurement waits until the machine is quiet, for a while, and knows how much others used while
it ran; a disturbed one is made again. Processor time is the whole machine's (clients, servers, fabric and box).
"""

import os
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.site import Load

TICK: Final = 1.0 / os.sysconf("SC_CLK_TCK")  # seconds, unit of /proc/stat
PAGE: Final = os.sysconf("SC_PAGE_SIZE")  # octets
QUIET: Final = 0.15  # processors that others may use
QUIET_SPAN: Final = 0.3  # seconds of quiet before a measurement
QUIET_WAIT: Final = 3.0  # seconds that quiet is waited for at one time
PATIENCE: Final = 60.0  # seconds spent waiting and measuring again, in all
ATTEMPTS: Final = 2  # measurements of which the least disturbed one counts


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one system."""

    rate: float  # connections per second
    cpu_us: float  # processor time per connection, microseconds, whole machine
    processes_us: float  # of that, what the system's own processes used in user and system mode
    busy: float  # processors in use
    foreign: float  # processors that others used
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time so far, seconds: of the machine, and of processes (without what the kernel does for packets)."""

    machine: float
    processes: float  # on the machine, user and system
    ours: float
    when: float

    @classmethod
    def now(cls) -> "Usage":
        fields = [int(each) * TICK for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        user, nice, system, _idle, _wait, irq, softirq, _stolen = fields
        processes = user + nice + system
        return cls(processes + irq + softirq, processes, _our_seconds(), time.monotonic())


class Meter:
    """Measures when the machine is quiet, as long as its patience with others lasts."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience  # seconds left

    def measure(self, run: Callable[[], Load], pids: Iterable[int]) -> Sample:
        """Run a load; if others disturbed it, once more, and return the calmer result.

        Args:
            run: produces the load.
            pids: processes of the system under test; their descendants count as well.
        """
        samples: list[Sample] = []
        while not samples or (samples[-1].foreign > QUIET and len(samples) < ATTEMPTS and self._patience > 0):
            self.wait_for_quiet()
            if samples:
                self._patience -= samples[-1].seconds
            samples.append(_measure_once(run, set(pids)))
        return min(samples, key=lambda sample: sample.foreign)

    def wait_for_quiet(self) -> None:
        """Return as soon as others have used little of the machine for a moment, or patience has run out."""
        deadline = time.monotonic() + min(QUIET_WAIT, self._patience)
        while time.monotonic() < deadline:
            before = Usage.now()
            time.sleep(QUIET_SPAN)
            after = Usage.now()
            if (after.machine - before.machine) / QUIET_SPAN <= QUIET:
                return
            self._patience -= QUIET_SPAN


def _measure_once(run: Callable[[], Load], pids: set[int]) -> Sample:
    before, own = Usage.now(), _seconds_of(_family(pids))
    load = run()
    after, own = Usage.now(), _seconds_of(_family(pids)) - own
    busy = after.machine - before.machine
    foreign = (after.processes - before.processes) - (after.ours - before.ours)
    span = after.when - before.when
    return Sample(
        rate=load.completed / load.seconds,
        cpu_us=busy * 1e6 / max(load.completed, 1),
        processes_us=own * 1e6 / max(load.completed, 1),
        busy=busy / span,
        foreign=max(0.0, foreign / span),
        failures=load.failures,
        seconds=span,
    )


def resident_mib(pids: Iterable[int]) -> float:
    """Return the resident memory of processes and all their descendants; pages they share count in each."""
    return sum(int(stat[21]) for pid in _family(set(pids)) if (stat := _stat(pid))) * PAGE / 2**20


def _our_seconds() -> float:
    """Processor time of every process in the enclosure, and of those that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return _seconds_of(_all_pids()) + ended.ru_utime + ended.ru_stime


def _seconds_of(pids: Iterable[int]) -> float:
    """Return the processor time of processes, user and system."""
    return sum(int(stat[11]) + int(stat[12]) for pid in pids if (stat := _stat(pid))) * TICK


def _family(pids: set[int]) -> set[int]:
    """Return processes with all their descendants."""
    stats = {pid: _stat(pid) for pid in _all_pids()} if pids else {}
    family = set(pids)
    while more := {pid for pid, stat in stats.items() if stat and int(stat[1]) in family} - family:
        family |= more
    return family


def _all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (state, parent ...), or none if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []
