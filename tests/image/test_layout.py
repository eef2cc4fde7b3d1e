"""How `image/` is laid out: it bakes and checks with Python alone, and each module is one noun."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_architecture import LONGEST, VAGUE

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "image").rglob("*.py"))

every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())


@every_module
def test_a_module_is_one_noun_and_says_which(path: Path) -> None:
    """It opens with a docstring, and is no longer than a reader's patience."""
    text = path.read_text()

    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= LONGEST
    assert path.stem not in VAGUE


@pytest.mark.subprocesses
def test_a_bare_machine_can_bake_and_check() -> None:
    """Without any package of Python's, the command starts; boto3 is for publishing alone."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; runpy.run_module('image', run_name='__main__')"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, "check", "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "prove what is promised" in done.stdout


@every_module
def test_nothing_of_the_appliance_is_needed(path: Path) -> None:
    """The image knows the engine as a package to install, not as modules to import."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []

        assert [name for name in names if name.partition(".")[0] in {"appliance", "tests"}] == []
