"""The tables of inputs and outputs in the READMEs of the Terraform modules, from their variables.tf and outputs.tf.

    python -m tests.terraform.tables        writes them; test_tables.py compares

A README has each between `<!-- inputs: ... -->` or `<!-- outputs: ... -->` and `<!-- end -->`.
"""

import re
import textwrap
from functools import partial
from pathlib import Path

from tests.readme import fill

MODULE = Path(__file__).parents[2] / "terraform"
README = MODULE / "README.md"
MODULES = {"terraform": MODULE, "allowlist": MODULE / "modules" / "allowlist"}

BLOCK = r'^{kind} "(?P<name>[a-z_]+)" {{\n(?P<body>.*?)^}}'
DESCRIPTION = re.compile(
    r'^  description = (?:"(?P<line>(?:[^"\\]|\\.)*)"|<<-EOT\n(?P<lines>.*?)^  EOT)', re.MULTILINE | re.DOTALL
)
DEFAULT = re.compile(r"^  default +=", re.MULTILINE)


def blocks(kind: str, module: Path = MODULE) -> dict[str, str]:
    """Return the bodies of a kind of block (`variable`, `output`) of a module, by name."""
    text = (module / f"{kind}s.tf").read_text()
    return {
        found["name"]: found["body"] for found in re.finditer(BLOCK.format(kind=kind), text, re.MULTILINE | re.DOTALL)
    }


def description(body: str) -> str:
    """Return the description of a block, on one line."""
    found = DESCRIPTION.search(body)
    assert found is not None, f"no description: {body[:80]}"
    return " ".join(textwrap.dedent(found["lines"] or found["line"]).replace('\\"', '"').split())


def render_inputs(module: Path) -> str:
    """Return the table of variables: their types stand in variables.tf, with the default of each attribute."""
    rows = [
        f"| `{name}` | {'' if DEFAULT.search(body) else 'yes'} | {description(body)} |"
        for name, body in blocks("variable", module).items()
    ]
    return "\n".join(["| Input | Required | |", "| --- | --- | --- |", *rows])


def render_outputs(module: Path) -> str:
    """Return the table of outputs."""
    rows = [f"| `{name}` | {description(body)} |" for name, body in blocks("output", module).items()]
    return "\n".join(["| Output | |", "| --- | --- |", *rows])


def written(module: Path) -> str:
    """Return the README of a module with its tables as they are now."""
    tables = {"inputs": partial(render_inputs, module), "outputs": partial(render_outputs, module)}
    return fill((module / "README.md").read_text(), tables)


if __name__ == "__main__":
    for module in MODULES.values():
        (module / "README.md").write_text(written(module))
