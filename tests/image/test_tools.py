"""Trees are filled the same whatever machine fills them."""

import subprocess
from pathlib import Path

import pytest

from image.tools import ENTER, surroundings
from tests.image.twice import BUILDER


def test_nothing_of_the_machine_shows_in_a_tree() -> None:
    """Where things are is told; how Python, languages and time are set on this machine is not."""
    machine = {
        "PATH": "/usr/bin", "https_proxy": "http://proxy.example:3128", "HTTP_PROXY": "x", "NO_PROXY": "localhost",
        "PYTHONDONTWRITEBYTECODE": "0", "PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "LC_ALL": "de_DE.UTF-8",
        "LANGUAGE": "de", "TZ": "Pacific/Chatham", "SOURCE_DATE_EPOCH": "1", "DPKG_ROOT": "/x",
    }  # fmt: skip

    assert surroundings(machine) == {
        "PATH": "/usr/bin", "https_proxy": "http://proxy.example:3128", "HTTP_PROXY": "x", "NO_PROXY": "localhost",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC",
    }  # fmt: skip


@pytest.mark.parametrize("script", [ENTER, BUILDER], ids=["tools", "builder"])
def test_a_tree_is_not_entered_by_halves(script: str) -> None:
    """`sh -e` goes on after `a && b` when a has failed, and what follows would run in this machine's own root."""
    assert "&&" not in script
    assert "||" not in script


@pytest.mark.subprocesses
def test_what_cannot_be_mounted_is_not_entered(tmp_path: Path) -> None:
    """Whoever may not mount gets an error, and the command does not run anywhere."""
    (tmp_path / "root").mkdir()

    done = subprocess.run(
        ["/bin/sh", "-euc", ENTER, "enter", tmp_path / "root", "", "touch", tmp_path / "ran"],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 127
    assert done.stderr.count("not found") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]
