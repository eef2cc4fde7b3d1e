"""Linters, formatter and type checker find nothing: one command checks everything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [path for path in (ROOT / "tests/setup.sh", ROOT / "image/provision.sh", ROOT / ".ci/run") if path.exists()]


@pytest.mark.subprocesses
@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--output-format=concise"),
        ("ruff", "format", "--check"),
        ("mypy", "--strict"),
    ],
    ids=" ".join,
)
def test_linter_is_content(command: tuple[str, ...]) -> None:
    """The linter exits with 0."""
    run = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert run.returncode == 0, f"{' '.join(command)}:\n{run.stdout}"


@pytest.mark.subprocesses
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shell_script_parses(script: Path) -> None:
    """bash reads the script to its end, and it may be executed."""
    run = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)

    assert run.stderr == ""
    assert script.stat().st_mode & 0o111
