"""The benchmark runs: each system that needs no further package carries connections, and has its line in the table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SYSTEMS = ("nat", "floor", "discriminat")  # HAProxy and Squid are packages that the tests do without
TINY = ("--rounds", "1", "--seconds", "0.3", "--bulk-rounds", "1", "--bulk-seconds", "1", "--scale-rounds", "0")
ROOT = Path(__file__).parents[2]

Outcome = tuple["subprocess.CompletedProcess[str]", dict[str, dict[str, float]]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What `python -m tests.bench` prints and writes; it runs in this enclosure, with a network of its own."""
    output = tmp_path_factory.mktemp("bench") / "bench.json"
    command = [sys.executable, "-m", "tests.bench", "--systems", ",".join(SYSTEMS), *TINY, "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert output.exists(), done.stderr
    return done, json.loads(output.read_text())


@pytest.mark.parametrize("system", SYSTEMS)
def test_system(measured: Outcome, system: str) -> None:
    """It carried connections and a stream, and the table says so."""
    done, document = measured
    faults = [fault for fault in document["faults"] if str(fault).startswith(system)]
    assert faults == [], done.stderr
    assert document["conn_rate"][system] > 0
    assert document["bulk_gbps"][system] > 0
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(f"{system} ")]
    assert [line[1].replace(",", "") for line in lines] == [str(document["conn_rate"][system])]


def test_ratio_to_plain_nat(measured: Outcome) -> None:
    """It is measured; nothing is asked of its size, for the machine may have other things to do."""
    done, document = measured
    assert document["ratios"]["conn_rate_vs_nat"] > 0
    assert "conn_rate_vs_haproxy" not in document["ratios"]
    assert any(line.startswith("conn_rate_vs_haproxy") and "not measured" in line for line in done.stdout.splitlines())


def test_a_system_that_is_none_is_refused() -> None:
    """Before anything is built."""
    command = [sys.executable, "-m", "tests.bench", "--systems", "nat,ceiling"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "no such system: ceiling; there are nat, discriminat, haproxy, squid, floor" in done.stderr
