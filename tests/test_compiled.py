"""The compiled engine does what its source does: the core's own tests pass on the installed package too.

mypyc checks types while it runs and has its own classes, so that what is true of the source need not be true of what
is shipped. The tests are copied beside the package, so that nothing of the source can be imported instead.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import installed

ROOT = Path(__file__).parents[1]
# Of the modules that setup.py compiles, and of `replay`: they touch nothing but the core.
CORE = (
    *("address", "client_hello", "crls", "decision", "engine", "event", "flow", "fqdn", "gate", "holding", "http"),
    *(
        "inspection",
        "ip",
        "learnt",
        "ocsp",
        "pattern",
        "preferences",
        "reach",
        "reader",
        "server_hello",
        "server_name",
        "sniff",
        "ssh",
        "stream",
        "tls",
    ),
    *("tls_record", "waiting"),
    *("capture", "player"),  # not compiled themselves, but they drive what is
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package and a copy of the tests, and nothing else of the repository."""
    build = installed.build()
    if build is None:
        pytest.skip("ENGINE_BUILD names no installed package: run `make test`")
    folder = tmp_path_factory.mktemp("shipped")
    shutil.copytree(build, folder, dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.subprocesses
def test_the_engine_is_compiled(shipped: Path) -> None:
    """What is installed is machine code, and it is what is imported here."""
    script = "from appliance import engine; from appliance.wire import tls; print(engine.__file__, tls.__file__)"

    origins = run(shipped, "-c", script)

    assert [(Path(origin).is_relative_to(shipped), Path(origin).suffix) for origin in origins.split()] == [
        (True, ".so"),
        (True, ".so"),
    ]


@pytest.mark.subprocesses
def test_the_core_passes_its_tests_compiled(shipped: Path) -> None:
    """Tables and properties of the core hold for the compiled modules."""
    tests = [f"tests/test_{name}.py" for name in CORE]
    tests += ["tests/property", "tests/fuzz/test_harnesses.py"]

    said = run(shipped, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)

    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) > 1000
    assert "failed" not in said


def test_every_compiled_module_exists() -> None:
    """setup.py names modules that are there, and those a packet meets are among them."""
    listed = re.findall(
        r'"([a-z_/]+)"', (ROOT / "setup.py").read_text().partition("COMPILED = [")[2].partition("\n]")[0]
    )

    assert [name for name in listed if not (ROOT / f"appliance/{name}.py").exists()] == []
    assert {"engine", "recall", "inspection", "wire/client_hello"} <= set(listed)
