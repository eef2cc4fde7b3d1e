"""The module by itself: its form, and what its variables do. What it refuses is in test_refusals.py."""

import re
from pathlib import Path

import pytest

from tests.terraform.tables import MODULE, blocks
from tests.terraform.terraform import Terraform

EXAMPLES = sorted(path.name for path in (MODULE / "examples").iterdir())
EFFECTS = "tests/module.tftest.hcl"


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


def test_every_variable_does_something(module: Terraform) -> None:
    """What is given arrives, and what is not given has its default."""
    said = module.test(f"-filter={EFFECTS}").out

    assert re.search(r"(\d+) passed, 0 failed", said), said[-3000:]


def test_every_variable_and_output_is_tested() -> None:
    """A run that asserts something gives each variable another value than it has unasked; outputs are asserted."""
    text = (MODULE / EFFECTS).read_text()
    unasked = {
        name: value
        for name, body in blocks("variable").items()
        for value in re.findall(r"^  default += (.*)", body, re.MULTILINE)
    } | given(re.search(r"^variables {\n.*?^}", text, re.MULTILINE | re.DOTALL)[0])
    changed = {
        name
        for run in re.findall(r"^run .*?^}", text, re.MULTILINE | re.DOTALL)
        if "  assert {" in run and "expect_failures" not in run
        for variables in re.findall(r"^  variables {\n.*?^  }", run, re.MULTILINE | re.DOTALL)
        for name, value in given(variables).items()
        if value != unasked[name]
    }

    assert blocks("variable").keys() - changed == set()
    assert [name for name in blocks("output") if f"output.{name}" not in text] == []


def given(block: str) -> dict[str, str]:
    """Return what a `variables` block sets, by name, with one space between words."""
    indent = len(block) - len(block.lstrip()) + 2
    parts = re.split(rf"^ {{{indent}}}(\w+) += ", block.rpartition("\n")[0], flags=re.MULTILINE)[1:]
    return {name: " ".join(value.split()) for name, value in zip(parts[::2], parts[1::2], strict=True)}
