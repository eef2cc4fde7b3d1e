"""Run the harnesses for a while, and tell what they found: `python -m tests.fuzz --seconds 60 [HARNESS...]`.

A crash, a hang or a memory bomb becomes a vector in tests/fuzz/vectors, and the exit code 1. What the fuzzer learns
stays in build/fuzz, where the next run goes on.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import catalogue

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "fuzz"
TIMEOUT = 10  # seconds that one input may take
MEMORY = 1024  # MiB that the process may have

_LAST_LINE = re.compile(r"^#(\d+)\s.*\bcov: (\d+) ft: (\d+)", re.MULTILINE)
_EXECUTIONS = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)
_FAILURE = re.compile(r"^(AssertionError.*|[\w.]+(?:Error|Exception)\b.*|.*ERROR: libFuzzer.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What came of one harness. `crashes`: the vectors it left; `trouble`: why it did not run, or why it stopped."""

    name: str
    seconds: float
    executions: int
    edges: int
    features: int
    crashes: tuple[Path, ...]
    trouble: str = ""


def run(name: str, seconds: int, *, work: Path = WORK, vectors: Path | None = None) -> Run:
    """Fuzz one harness, starting from its seeds, its vectors, and what earlier runs in `work` have learnt."""
    harness = catalogue.load(name)
    corpus, found = work / name / "corpus", work / name / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for left in found.iterdir():
        left.unlink()
    words = work / name / "words"
    words.write_text("".join(f'"{escaped(word)}"\n' for word in harness.WORDS))
    folders = [corpus, catalogue.HERE / "seeds" / name, catalogue.HERE / "vectors" / name]
    command = [
        *(sys.executable, "-m", "tests.fuzz.target", name),
        *(f"-max_total_time={seconds}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}", f"-max_len={harness.MAX}"),
        *(f"-artifact_prefix={found}/", "-use_value_profile=1", "-print_final_stats=1"),
        *([f"-dict={words}"] if harness.WORDS else []),  # it refuses an empty one
        *(str(folder) for folder in folders if folder.exists()),
    ]
    log = work / name / "log"
    begun = time.monotonic()
    with log.open("wb") as output:
        done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=output, stderr=output, check=False)
    told = log.read_text(errors="replace")
    crashes = tuple(keep(found, vectors or catalogue.HERE / "vectors" / name))
    trouble = ""
    if crashes or done.returncode:
        failures = _FAILURE.findall(told)
        trouble = failures[0] if failures else f"exit code {done.returncode}: see {log}"
    return Run(name, time.monotonic() - begun, *figures(told), crashes, trouble)


def escaped(word: bytes) -> str:
    """Return a word as libFuzzer's dictionaries have it."""
    return "".join(f"\\x{octet:02x}" for octet in word)


def environment() -> Mapping[str, str]:
    """Return the variables of a target: none by which Python would import a compiled appliance."""
    return {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONSAFEPATH"}}


def figures(told: str) -> tuple[int, int, int]:
    """Return executions, edges and features, as libFuzzer told them last."""
    lines = _LAST_LINE.findall(told)
    executions, edges, features = map(int, lines[-1]) if lines else (0, 0, 0)
    final = _EXECUTIONS.search(told)
    return max(executions, int(final[1]) if final else 0), edges, features


def keep(found: Path, vectors: Path) -> Iterable[Path]:
    """Move what libFuzzer left (crash-..., timeout-..., oom-...) to the vectors; yield each of these."""
    for artifact in sorted(found.iterdir()):
        vectors.mkdir(parents=True, exist_ok=True)
        vector = vectors / artifact.name[:20]
        vector.write_bytes(artifact.read_bytes())
        yield vector


def table(runs: Iterable[Run]) -> str:
    """Return the runs as a table for people."""
    rows = [("harness", "seconds", "executions", "a second", "edges", "features", "crashes")]
    rows += [
        (
            each.name,
            f"{each.seconds:.0f}",
            f"{each.executions:,}",
            f"{each.executions / max(each.seconds, 1):,.0f}",
            f"{each.edges:,}",
            f"{each.features:,}",
            str(len(each.crashes)),
        )
        for each in runs
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            (row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))
        )
        for row in rows
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long each harness runs")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at a time")
    parser.add_argument(
        "harnesses", nargs="*", metavar="HARNESS", help=f"of {', '.join(catalogue.NAMES)}; all by default"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.harnesses) - set(catalogue.NAMES)
    if unknown:
        parser.error(f"there is no harness {', '.join(sorted(unknown))}: choose of {', '.join(catalogue.NAMES)}")
    names = arguments.harnesses or catalogue.NAMES
    for name in names:
        catalogue.load(name)  # all of them now: a run is long, and somebody may be at work on the next
    runs = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for each in pool.map(lambda name: run(name, arguments.seconds), names):
            runs.append(each)
            then = f", then {each.trouble}" if each.trouble else ""
            print(f"{each.name}: {each.executions:,} executions{then}", flush=True)
    print(f"\n{table(runs)}")
    for each in runs:
        for vector in each.crashes:
            print(f"\n{each.name} fails: {each.trouble}")
            print(f"  saved as {vector.relative_to(ROOT)}, see also {WORK.relative_to(ROOT) / each.name / 'log'}")
            print(f"  again, alone: make test-unit ARGS='-k {vector.name}'")
    return int(any(each.crashes or each.trouble for each in runs))


if __name__ == "__main__":
    sys.exit(main())
