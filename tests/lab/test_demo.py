"""The demo comes out as it says: what a user can do, as `make demo` shows it."""

from pathlib import Path

import pytest

from tests.demo.playing import play
from tests.demo.scenarios import scenarios

TITLES = [scenario.title for scenario in scenarios(lambda: Path("not used here"))]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What `python -m tests.demo` reports; it runs in this enclosure, with a lab of its own."""
    return play(tmp_path_factory.mktemp("demo") / "demo.json")


@pytest.mark.parametrize("title", TITLES)
def test_scenario(played: dict[str, dict[str, list[str]]], title: str) -> None:
    """Client, log and server agree with what the scenario says."""
    assert played["scenarios"][title] == []


def test_nothing_else_happened(played: dict[str, object]) -> None:
    """The appliance logged nothing else, complained of nothing, and CloudWatch has the same lines as the disk."""
    assert played["faults"] == []
    assert played["status"] == 0


def test_table_fits_a_terminal(played: dict[str, str]) -> None:
    """No line but those of the log is wider than 120 columns, and there is no colour where there is no terminal."""
    lines = [line for line in played["output"].splitlines() if not line.startswith("{")]

    assert [line for line in lines if len(line) > 120] == []
    assert "\033" not in played["output"]
