"""The tables of inputs and outputs in the README of the Terraform module, from its variables.tf and outputs.tf.

    python -m tests.terraform.tables        writes them; test_tables.py compares

A README has each between `<!-- inputs: ... -->` or `<!-- outputs: ... -->` and `<!-- end -->`.
"""

import re
import textwrap
from pathlib import Path

from tests.readme import fill

MODULE = Path(__file__).parents[2] / "terraform"
README = MODULE / "README.md"

BLOCK = r'^{kind} "(?P<name>[a-z_]+)" {{\n(?P<body>.*?)^}}'
DESCRIPTION = re.compile(
    r'^  description = (?:"(?P<line>(?:[^"\\]|\\.)*)"|<<-EOT\n(?P<lines>.*?)^  EOT)', re.MULTILINE | re.DOTALL
)
DEFAULT = re.compile(r"^  default +=", re.MULTILINE)


def blocks(kind: str, file: str) -> dict[str, str]:
    """Return the bodies of a kind of block (`variable`, `output`) in a file of the module, by name."""
    text = (MODULE / file).read_text()
    return {
        found["name"]: found["body"] for found in re.finditer(BLOCK.format(kind=kind), text, re.MULTILINE | re.DOTALL)
    }


def description(body: str) -> str:
    """Return the description of a block, on one line."""
    found = DESCRIPTION.search(body)
    assert found is not None, f"no description: {body[:80]}"
    return " ".join(textwrap.dedent(found["lines"] or found["line"]).replace('\\"', '"').split())


def render_inputs() -> str:
    """Return the table of variables: their types stand in variables.tf, with the default of each attribute."""
    rows = [
        f"| `{name}` | {'' if DEFAULT.search(body) else 'yes'} | {description(body)} |"
        for name, body in blocks("variable", "variables.tf").items()
    ]
    return "\n".join(["| Input | Required | |", "| --- | --- | --- |", *rows])


def render_outputs() -> str:
    """Return the table of outputs."""
    rows = [f"| `{name}` | {description(body)} |" for name, body in blocks("output", "outputs.tf").items()]
    return "\n".join(["| Output | |", "| --- | --- |", *rows])


TABLES = {"inputs": render_inputs, "outputs": render_outputs}

if __name__ == "__main__":
    README.write_text(fill(README.read_text(), TABLES))
