"""`make demo-terraform` shows the same as `make demo`, in a VPC that Terraform has made."""

from pathlib import Path
from typing import Any

import pytest

from tests.demo.playing import play
from tests.demo.scenarios import scenarios


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the demo reports."""
    return play(tmp_path_factory.mktemp("demo") / "demo.json", "--terraform")


def test_every_scenario_comes_out_as_it_says(played: dict[str, Any]) -> None:
    """Client, log and server agree with each scenario, in the order of the table."""
    titles = [scenario.title for scenario in scenarios(lambda: Path("not used here"))]

    assert played["scenarios"] == {title: [] for title in titles}


def test_nothing_else_happened(played: dict[str, Any]) -> None:
    """The appliance logged nothing else, complained of nothing, and CloudWatch has the same lines as the disk."""
    assert played["faults"] == []
    assert played["status"] == 0
