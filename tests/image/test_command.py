"""Programs are run so that nothing outlives them, and their failures are told in a sentence."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from image.command import explain, run
from image.errors import ImageError

FAULTS = [
    ("dpkg: error: failed to write (No space left on device)", "the disk is full: make room"),
    ("E: Failed to fetch http://x.test/InRelease  Temporary failure resolving 'x.test'", "cannot be reached"),
    ("Err:1 http://x.test trixie InRelease\n  Could not connect to x.test:80", "cannot be reached"),
    ("W: GPG error: http://x.test trixie InRelease: NO_PUBKEY 6ED0E7B82643E131", "install debian-archive-keyring"),
    ("E: Unable to locate package chorny", "`packages` in image/recipe.toml"),
    ("chroot: failed to run command '/bin/true': Exec format error", "the image's architecture"),
    ("something else", "mke2fs failed, exit code 3"),
]


@pytest.mark.parametrize(("said", "told"), FAULTS)
def test_fault_is_told_in_a_sentence(said: str, told: str) -> None:
    """First what it means and what to do, then what the program said."""
    first, *rest = explain("mke2fs", 3, said).splitlines()

    assert told in first
    assert rest == [f"  {line.strip()}" for line in said.splitlines()]


def test_the_end_of_a_long_complaint() -> None:
    """The last lines are those that say why."""
    lines = explain("apt", 1, "\n".join(map(str, range(100)))).splitlines()

    assert len(lines) == 13
    assert lines[-1] == "  99"


def test_what_tells_nothing_is_left_out() -> None:
    """Cleaning up says much after the error."""
    said = "Unpacking x\nE: x is broken\nI: cleaning up\n y depends on x; however:\nI: done"

    assert explain("apt", 1, said).splitlines()[1:] == ["  E: x is broken", "  y depends on x; however:"]


@pytest.mark.subprocesses
def test_missing_program_is_named() -> None:
    """With what installs it."""
    with pytest.raises(ImageError, match=r"no-such-program is missing: install it \(tests/setup.sh packages image\)"):
        run(["no-such-program"])


@pytest.mark.subprocesses
def test_output_is_returned() -> None:
    """Without what it complained of, and with a umask of its own."""
    assert run(["sh", "-c", "umask; echo told >&2"]) == "0022\n"


@pytest.mark.subprocesses
def test_exit_code_is_an_error() -> None:
    """What it said is in it."""
    with pytest.raises(ImageError, match=r"sh failed, exit code 7\n  why"):
        run(["sh", "-c", "echo why >&2; exit 7"])


@pytest.mark.subprocesses
def test_nothing_outlives_a_killed_build(tmp_path: Path) -> None:
    """Also when Python has no time to clean up. The namespaces, which want root, are left out here."""
    told = tmp_path / "told"
    code = "import sys; from image.command import CONTAINED, run; run([*CONTAINED[:3], 'sh', '-c', sys.argv[1]])"
    os.mkfifo(told)
    script = f"echo $$ >{told}; exec sleep 1000"
    with subprocess.Popen([sys.executable, "-c", code, script], cwd=Path(__file__).parents[2]) as parent:
        child = int(told.read_text(encoding="ascii"))
        watch = os.pidfd_open(child)
        parent.kill()
    try:
        assert select.select([watch], [], [], 10)[0], "it lives on"
    finally:
        os.close(watch)
