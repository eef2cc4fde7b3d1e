"""The run itself: a harness that holds, one that does not, one that hangs, and what is told of each."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzz
from tests.fuzz import catalogue

needs_atheris = pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="there is no atheris here")

TOLD = """\
#2      INITED cov: 24 ft: 25 corp: 1/1b exec/s: 0 rss: 45Mb
#1024   NEW    cov: 87 ft: 310 corp: 9/80b lim: 14 exec/s: 512 rss: 46Mb L: 9/14 MS: 1 ChangeBit-
#4000   DONE   cov: 88 ft: 319 corp: 9/80b lim: 14 exec/s: 2000 rss: 46Mb
stat::number_of_executed_units: 4001
"""


@needs_atheris
@pytest.mark.subprocesses
def test_a_harness_is_fuzzed(tmp_path: Path) -> None:
    """The real target: it executes, covers the appliance, finds nothing, and keeps what it has learnt."""
    run = fuzz.run("packet", 1, work=tmp_path, vectors=tmp_path / "vectors")

    assert (run.crashes, run.trouble) == ((), "")
    assert run.executions > 1000
    assert run.edges > 20
    assert any((tmp_path / "packet" / "corpus").iterdir())
    log = (tmp_path / "packet" / "log").read_text()
    assert "Instrumenting appliance.wire.ip" in log


@needs_atheris
@pytest.mark.subprocesses
def test_a_crash_becomes_a_vector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A harness that fails on an octet that no seed has: it is found, kept, and its failure told."""
    world = copy_with_harness(
        tmp_path, 'def check(octets):\n    assert octets[:1] != b"\\x07", "seven is not liked"\n    return "liked"\n'
    )

    done = run_copy(world)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "picky fails: AssertionError: seven is not liked" in done.stdout
    (vector,) = (world / "tests/fuzz/vectors/picky").iterdir()
    assert vector.name.startswith("crash-")
    assert vector.read_bytes()[:1] == b"\x07"
    assert str(vector.relative_to(world)) in done.stdout


@needs_atheris
@pytest.mark.subprocesses
def test_a_hang_is_a_crash(tmp_path: Path) -> None:
    """An input that takes too long becomes a vector too."""
    world = copy_with_harness(
        tmp_path, 'def check(octets):\n    while octets[:1] == b"\\x07":\n        pass\n    return "done"\n'
    )
    main = world / "tests/fuzz/__main__.py"
    main.write_text(main.read_text().replace("TIMEOUT = 10", "TIMEOUT = 1"))

    done = run_copy(world)

    assert done.returncode == 1, done.stdout + done.stderr
    (vector,) = (world / "tests/fuzz/vectors/picky").iterdir()
    assert vector.name.startswith("timeout-")


@needs_atheris
@pytest.mark.subprocesses
def test_a_memory_bomb_is_a_crash(tmp_path: Path) -> None:
    """An input that takes too much memory becomes a vector too."""
    world = copy_with_harness(
        tmp_path,
        'def check(octets):\n    kept = []\n    while octets[:1] == b"\\x07":\n        kept.append(bytes(1 << 20))\n'
        '    return "done"\n',
    )
    main = world / "tests/fuzz/__main__.py"
    main.write_text(main.read_text().replace("MEMORY = 1024", "MEMORY = 256"))

    done = run_copy(world)

    assert done.returncode == 1, done.stdout + done.stderr
    (vector,) = (world / "tests/fuzz/vectors/picky").iterdir()
    assert vector.name.startswith("oom-")


def copy_with_harness(folder: Path, check: str) -> Path:
    """Return a world in which there is one harness, and its failures can be kept."""
    fuzzing = folder / "tests" / "fuzz"
    (fuzzing / "harnesses").mkdir(parents=True)
    (folder / "tests" / "__init__.py").touch()
    for name in ("__init__", "__main__", "catalogue", "target"):
        (fuzzing / f"{name}.py").write_text((catalogue.HERE / f"{name}.py").read_text())
    (fuzzing / "harnesses" / "picky.py").write_text(f"MAX = 4\nWORDS = ()\n\n\n{check}")
    return folder


def run_copy(world: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "20"]
    return subprocess.run(command, cwd=world, capture_output=True, text=True, timeout=60, check=False)


def test_what_libfuzzer_tells_is_read() -> None:
    """Executions as it ended, edges and features as they were last."""
    assert fuzz.figures(TOLD) == (4001, 88, 319)
    assert fuzz.figures("no such thing") == (0, 0, 0)


def test_the_table_shows_each_run() -> None:
    """A line for each, under a heading."""
    run = fuzz.Run("ssh", 60.2, 6_020, 24, 186, (), "")

    assert fuzz.table([run]).splitlines() == [
        "harness  seconds  executions  a second  edges  features  crashes",
        "ssh           60       6,020       100     24       186        0",
    ]


def test_an_unknown_harness_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It names those that there are."""
    monkeypatch.setattr(sys, "argv", ["fuzz", "nosuch"])

    with pytest.raises(SystemExit):
        fuzz.main()

    assert "there is no harness nosuch: choose of annotations, " in capsys.readouterr().err


def test_a_target_meets_no_compiled_appliance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make` tells Python about the installed package is kept from it."""
    monkeypatch.setenv("PYTHONPATH", "build/engine")

    assert "PYTHONPATH" not in fuzz.environment()
