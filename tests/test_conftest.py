"""The rules of the test suite itself hold."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ForbiddenInUnitTest

SKIPPING = """
import pytest

def test_skips():
    pytest.skip("the kernel lacks sorcery")

@pytest.mark.xfail(reason="known")
def test_fails_as_expected():
    raise AssertionError
"""

SKIPPING_MODULE = """
import pytest

pytest.skip("no module of this name", allow_module_level=True)
"""


def test_unit_tests_open_no_socket() -> None:
    """A socket that would leave the process raises what no `except Exception` hides."""
    with contextlib.closing(socket.socket()) as stream, pytest.raises(ForbiddenInUnitTest, match="sockets"):
        stream.connect(("127.0.0.1", 9))
    with pytest.raises(ForbiddenInUnitTest, match="sockets"):
        socket.getaddrinfo("localhost", 80)


def test_unit_tests_start_no_program() -> None:
    """A program is started neither directly nor by asyncio."""
    with pytest.raises(ForbiddenInUnitTest, match="subprocesses"):
        subprocess.run(["true"], check=False)


def test_an_event_loop_needs_no_socket() -> None:
    """Asyncio's own pipe is no socket in the sense of the rule."""
    assert asyncio.run(asyncio.sleep(0, "done")) == "done"


@pytest.mark.subprocesses
def test_marked_tests_start_programs() -> None:
    """The marker opens what it names."""
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0


@pytest.mark.subprocesses
@pytest.mark.parametrize(
    ("source", "strict", "outcome"),
    [
        (SKIPPING, "1", "1 failed, 1 xfailed"),
        (SKIPPING, "0", "1 skipped, 1 xfailed"),
        (SKIPPING_MODULE, "1", "1 error"),
        (SKIPPING_MODULE, "0", "1 skipped"),
    ],
)
def test_a_skip_fails_in_continuous_integration(tmp_path: Path, source: str, strict: str, outcome: str) -> None:
    """A skipped test or module fails a strict run, with its reason; an expected failure does not."""
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "test_sample.py").write_text(source)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"STRICT_TESTS": strict, "CI": ""},
    )

    assert outcome in run.stdout.splitlines()[-1]
    assert ("A skipped test is a failure" in run.stdout) == (strict == "1")
