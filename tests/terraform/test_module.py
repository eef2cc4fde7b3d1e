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


def test_each_refusal_has_a_reason_of_its_own(tmp_path: Path) -> None:
    """What a run gives to a variable is refused by one validation, in its words; and each validation refuses some."""
    variables = (MODULE / "variables.tf").read_text()
    reasons = {flat(text) for text in re.findall(r'error_message = "((?:[^"\\]|\\.)*)"', variables)}
    refusals = (MODULE / REFUSALS).read_text()
    given = arguments(re.search(r"^variables {\n(.*?)^}", refusals, re.MULTILINE | re.DOTALL)[1])
    # Without the rest of the module no provider is needed, and a plan takes no time.
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "variables.tf").write_text(variables)
    (tmp_path / "main.tf").write_text('module "this" { source = "./module" }')
    root = Terraform(tmp_path)
    root.init()
    seen = Counter()

    for name, body in re.findall(r'^run "(\w+)" {\n(.*?)^}', refusals, re.MULTILINE | re.DOTALL):
        if "expect_failures = [var." not in body:
            continue
        wrong = arguments(re.search(r"^  variables {\n(.*?)^  }", body, re.MULTILINE | re.DOTALL)[1])
        lines = "\n".join({"source": 'source = "./module"', **given, **wrong}.values())
        (tmp_path / "main.tf").write_text(f'module "this" {{\n{lines}\n}}\n')
        complaint = flat(root.plan(check=False).complaint)
        told = {reason for reason in reasons if reason in complaint}
        assert len(told) == 1, (name, told or complaint)
        seen.update(told)

    assert reasons - seen.keys() == set()


def arguments(body: str) -> dict[str, str]:
    """Return the arguments of a block, by name, as they are written."""
    found = list(re.finditer(r"^ +(\w+) += ", body, re.MULTILINE))
    least = min((len(one[0]) - len(one[0].lstrip()) for one in found), default=0)
    outer = [one for one in found if len(one[0]) - len(one[0].lstrip()) == least]
    ends = [one.start() for one in outer[1:]] + [len(body)]
    return {one[1]: body[one.start() : end] for one, end in zip(outer, ends, strict=True)}


def flat(text: str) -> str:
    return " ".join(text.replace('\\"', '"').split())


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
