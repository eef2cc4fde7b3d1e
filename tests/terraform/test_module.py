"""The module by itself: its form, and what it refuses at plan. The other files here apply it."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.terraform.tables import MODULE, blocks
from tests.terraform.terraform import Terraform

EXAMPLES = sorted(path.name for path in (MODULE / "examples").iterdir())
EFFECTS = "tests/module.tftest.hcl"
REFUSALS = "tests/refusals.tftest.hcl"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """A copy of the module."""
    made = Terraform.copy(tmp_path_factory.mktemp("module"))
    made.init()
    return made


def test_it_is_formatted(module: Terraform) -> None:
    """terraform fmt has nothing to change, in the examples and tests either."""
    assert module.run("fmt", "-check", "-recursive").out == ""


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid(tmp_path: Path, example: str) -> None:
    """Each example is a configuration that Terraform takes."""
    copy = Terraform.copy(tmp_path, f"examples/{example}")
    copy.init()

    assert copy.validate().ok


def test_no_example_ships_an_open_see_thru() -> None:
    """Who applies an example as it is gets a filter."""
    for example in EXAMPLES:
        text = (MODULE / "examples" / example / "main.tf").read_text()
        assert "discriminat:see-thru" not in text
        assert re.findall(r"^\s*see_thru\s*=\s*(.*)$", text, re.MULTILINE) in ([], ["null"])


def test_what_is_wrong_is_refused_at_plan(module: Terraform) -> None:
    """Each run of the file breaks one thing, and that is what the plan refuses."""
    said = module.test(f"-filter={REFUSALS}").out

    assert re.search(r"(\d+) passed, 0 failed", said), said[-3000:]


def test_every_variable_does_something(module: Terraform) -> None:
    """What is given arrives, and what is not given has its default."""
    said = module.test(f"-filter={EFFECTS}").out

    assert re.search(r"(\d+) passed, 0 failed", said), said[-3000:]


def test_every_variable_and_output_is_tested() -> None:
    """A new variable is set in some run, and a new output is asserted."""
    text = (MODULE / EFFECTS).read_text()

    assert [
        name for name in blocks("variable", "variables.tf") if not re.search(rf"^ +{name} +=", text, re.MULTILINE)
    ] == []
    assert [name for name in blocks("output", "outputs.tf") if f"output.{name}" not in text] == []


def test_every_validation_has_a_refusal() -> None:
    """A new validation, precondition or postcondition needs a run that shows it."""
    expected = Counter(re.findall(r"expect_failures = \[([^\]\[]+)", (MODULE / REFUSALS).read_text()))
    wanted = {
        f"var.{name}": body.count("validation {")
        for name, body in blocks("variable", "variables.tf").items()
        if "validation {" in body
    }
    for path in MODULE.glob("*.tf"):
        for kind, type_, name, body in re.findall(
            r'^(data|resource) "(\w+)" "(\w+)" {\n(.*?)^}', path.read_text(), re.MULTILINE | re.DOTALL
        ):
            conditions = len(re.findall(r"(?:pre|post)condition {", body))
            if conditions:
                wanted[f"data.{type_}.{name}" if kind == "data" else f"{type_}.{name}"] = conditions

    assert len(wanted) > 15
    assert {what: count for what, count in wanted.items() if expected[what] < count} == {}
