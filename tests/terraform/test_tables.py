"""The README of the Terraform module says what the module is: its inputs, its outputs, its rights."""

import re

from tests.readme import fill
from tests.terraform.tables import MODULE, README, TABLES, blocks


def test_tables_are_up_to_date() -> None:
    """Inputs and outputs are those of the code: python -m tests.terraform.tables writes them."""
    text = README.read_text()

    assert fill(text, TABLES) == text
    assert len(blocks("variable", "variables.tf")) == (MODULE / "variables.tf").read_text().count('\nvariable "')
    assert len(blocks("output", "outputs.tf")) == (MODULE / "outputs.tf").read_text().count('output "')


def test_every_right_is_explained() -> None:
    """Each statement of the role's policy has a line, and no line is about one that is not there."""
    role = (MODULE / "iam.tf").read_text().partition('"aws_iam_policy_document" "role"')[2]
    explained = README.read_text().partition("## What the role may do")[2].partition("\n## ")[0]

    sids = {*re.findall(r'sid += "(\w+)"', role), *re.findall(r'\? \["(\w+)"\] : \[\]', role)}

    assert set(re.findall(r"^\| `(\w+)` \|", explained, re.MULTILINE)) == sids
    assert len(sids) == 5
