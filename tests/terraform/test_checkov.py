"""checkov finds nothing in the module, its submodule and its examples but what they say they do on purpose."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
SKIP = re.compile(r"^ *# checkov:skip=(\w+):?(.*)$")
FEWEST = 50  # checks that pass; were nothing read, none would

SKIPS = [
    (file.relative_to(ROOT / "terraform").as_posix(), number, found[1], found[2])
    for file in sorted((ROOT / "terraform").rglob("*.tf"))
    if ".terraform" not in file.parts
    for number, line in enumerate(file.read_text().splitlines(), 1)
    if (found := SKIP.match(line))
]

pytestmark = pytest.mark.skipif(not CHECKOV.exists(), reason="run make checkov")


def checkov(folder: Path, home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run checkov over a folder, knowing nothing of this machine's settings and credentials."""
    home.mkdir(exist_ok=True)
    command = [CHECKOV, "-d", folder, "--framework", "terraform", "--quiet", "--compact", "--skip-download", *options]
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=120)


def read(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return json.loads(run.stdout)


def test_checkov_is_content(tmp_path: Path) -> None:
    """Nothing fails, every file is understood, and there was something to check."""
    run = checkov(ROOT / "terraform", tmp_path, "-o", "json")

    assert run.returncode == 0, run.stdout + run.stderr
    summary = read(run)["summary"]
    assert (summary["failed"], summary["parsing_errors"]) == (0, 0)
    assert summary["passed"] >= FEWEST
    assert summary["skipped"] >= len(SKIPS) > 0


@pytest.mark.parametrize(("file", "number", "check", "reason"), SKIPS, ids=lambda value: str(value)[:20])
def test_exception_has_its_reason(file: str, number: int, check: str, reason: str) -> None:
    """An exception says in a few words why it is one."""
    assert len(reason.split()) >= 4, f"terraform/{file}:{number}: {check}"


def test_exceptions_are_needed(tmp_path: Path) -> None:
    """Without the exceptions, each of them has its failure."""
    copy = tmp_path / "terraform"
    shutil.copytree(ROOT / "terraform", copy, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*"))
    for name in {file for file, *_ in SKIPS}:
        lines = (copy / name).read_text().splitlines()
        (copy / name).write_text("".join(f"{SKIP.sub('#', line)}\n" for line in lines))

    failed = {
        (found["file_path"].lstrip("/"), at, found["check_id"])
        for found in read(checkov(copy, tmp_path / "home", "-o", "json"))["results"]["failed_checks"]
        for at in range(found["file_line_range"][0], found["file_line_range"][1] + 1)
    }

    assert [skip for skip in SKIPS if skip[:3] not in failed] == []
