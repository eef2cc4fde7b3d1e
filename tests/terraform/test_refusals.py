"""What the module refuses at plan, and that it does so for the reason that is meant.

`expect_failures` of a run names a variable or a resource, and holds whichever of its conditions fails. So each run is
made once more without it, in a file of its own, as a failure ends a file: then Terraform says which condition it was.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.tables import MODULE
from tests.terraform.terraform import Terraform

REFUSALS = "tests/refusals.tftest.hcl"
EXPECTED = re.compile(r"^  expect_failures = \[(.*)\]\n", re.MULTILINE)

Place = tuple[str, int]  # file of the module, and line


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy of the module."""
    made = Terraform.copy(tmp_path_factory.mktemp("refusals"))
    made.init()
    return made


def runs() -> dict[str, str]:
    """Return each run of the file, by name."""
    text = (MODULE / REFUSALS).read_text()
    return {run.split('"')[1]: run for run in re.findall(r"^run .*?^}\n", text, re.MULTILINE | re.DOTALL)}


def conditions() -> dict[Place, str]:
    """Return the address that each validation, precondition and postcondition belongs to."""
    found, address = {}, ""
    for path in MODULE.glob("*.tf"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if head := re.fullmatch(r'(variable|data|resource|output) (".+") {', line):
                kind = {"variable": "var.", "data": "data.", "output": "output."}.get(head[1], "")
                address = kind + head[2].replace('" "', ".").strip('"')
            elif re.fullmatch(r" +(validation|precondition|postcondition) {", line):
                found[path.name, number] = address
    return found


def place(told: dict[str, Any]) -> Place:
    """Return where the condition begins that an error is about."""
    named = re.search(r"validation rule at (\S+):(\d+),", told["detail"])
    if named:
        return named[1], int(named[2])
    file, line = told["range"]["filename"], told["range"]["start"]["line"]
    return max(where for where in conditions() if where[0] == file and where[1] <= line)


def test_what_is_wrong_is_refused_at_plan(module: Terraform) -> None:
    """Each run of the file breaks one thing, and that is what the plan refuses."""
    said = module.test(f"-filter={REFUSALS}").out

    assert re.search(r"(\d+) passed, 0 failed", said), said[-3000:]


def test_each_refusal_has_a_reason_of_its_own(module: Terraform) -> None:
    """One condition of what is expected refuses each run, and each condition of the module refuses one."""
    expected = {name: EXPECTED.findall(run) for name, run in runs().items()}
    head = (MODULE / REFUSALS).read_text().partition("\nrun ")[0]
    files = {name: Path(f"tests/only-{name}.tftest.hcl") for name in expected}
    for name, run in runs().items():
        (module.folder / files[name]).write_text(f"{head}\n{EXPECTED.sub('', run)}")

    out = module.test("-json", *(f"-filter={file}" for file in files.values()), check=False).out
    messages = [json.loads(line) for line in out.splitlines()]
    refused: dict[str, set[Place]] = {name: set() for name in expected}
    for message in messages:
        if message["type"] == "diagnostic":
            refused[message["@testrun"]].add(place(message["diagnostic"]))

    of = conditions()
    assert {name: [of[where] for where in wheres] for name, wheres in refused.items()} == expected
    assert of.keys() - {where for wheres in refused.values() for where in wheres} == set()
    assert len(of) > 40
