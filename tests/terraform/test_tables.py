"""The READMEs of the Terraform modules say what these are: inputs, outputs, rights, and a block that can be pasted."""

import re
from pathlib import Path

import pytest

from appliance.metrics import METRICS
from tests.terraform.plugins import ROOT
from tests.terraform.tables import MODULE, MODULES, README, blocks, written
from tests.terraform.terraform import Terraform


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_tables_are_up_to_date(module: Path) -> None:
    """Inputs and outputs are those of the code: python -m tests.terraform.tables writes them."""
    assert written(module) == (module / "README.md").read_text()
    for kind in ("variable", "output"):
        text = (module / f"{kind}s.tf").read_text()
        assert len(blocks(kind, module)) == len(re.findall(rf'^{kind} "', text, re.MULTILINE)) > 0


def test_every_right_is_explained() -> None:
    """Each statement of the role's policy has a line with its actions, and no line is about one that is not there."""
    role = (MODULE / "iam.tf").read_text().partition('"aws_iam_policy_document" "role"')[2]
    explained = README.read_text().partition("## What the role may do")[2].partition("\n## ")[0]
    statements = re.findall(r'(?:sid += |\? \[)"(\w+)".*?actions += \[(.*?)\]', role, re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", explained, re.MULTILINE)

    assert {sid: re.findall(r"`(\S+)`", actions) for sid, actions in rows} == {
        sid: re.findall(r'"(\S+)"', actions) for sid, actions in statements
    }
    assert len(statements) == len(re.findall(r"actions += ", role)) == 8


ALARMS = set(
    re.findall(r"^    ([a-z-]+) = {\n      namespace", (MODULE / "observability.tf").read_text(), re.MULTILINE)
)


def test_every_failure_has_its_alarm() -> None:
    """The table of failures names every alarm in its last column, and nothing that is none; so does the handbook."""
    failures = README.read_text().partition("## When something fails")[2].partition("\n## ")[0]
    _, _, *column = re.findall(r"^\|.*\|([^|]+)\|$", failures, re.MULTILINE)
    handbook = (MODULE / "ALARMS.md").read_text()

    assert all("`" in cell for cell in column)
    assert set(re.findall(r"`([^`]+)`", " ".join(column))) == ALARMS
    assert set(re.findall(r"^## (\S+)$", handbook, re.MULTILINE)) == ALARMS


def test_the_bill_counts_what_is_made() -> None:
    """Alarms and metrics of a zone are as many as the README and the handbook say."""
    bills = [
        README.read_text().partition("## What is billed")[2],
        (MODULE / "ALARMS.md").read_text().partition("# What it costs")[2],
    ]

    for bill in bills:
        assert re.findall(r"(\d+) alarms", bill) == [str(len(ALARMS))]
        assert re.findall(r"(\d+) (?:custom )?metrics", bill) == [str(len(METRICS))]


# What a README leaves out of a block: resources that its reader has already.
MINIMAL = {
    "aws_vpc": 'cidr_block = "10.0.0.0/16"',
    "aws_subnet": 'vpc_id = "vpc-0a1b2c3d4e5f60718"\n  cidr_block = "10.0.0.0/24"',
    "aws_route_table": 'vpc_id = "vpc-0a1b2c3d4e5f60718"',
    "aws_security_group": "",
}


@pytest.mark.parametrize(
    ("readme", "folder"),
    [
        ("README.md", "."),
        ("terraform/README.md", "."),
        ("terraform/modules/allowlist/README.md", "terraform/examples/x"),
    ],
)
def test_blocks_can_be_pasted(tmp_path: Path, readme: str, folder: str) -> None:
    """With the resources that they name, the blocks of a README are a configuration that Terraform takes."""
    text = "\n".join(re.findall(r"^```hcl\n(.*?)^```", (ROOT / readme).read_text(), re.MULTILINE | re.DOTALL))
    named = dict.fromkeys(re.findall(r"= \[?(aws_\w+)\.(\w+)\.", text))
    beside = [f'resource "{kind}" "{name}" {{\n  {MINIMAL[kind]}\n}}\n' for kind, name in named]
    Terraform.copy(tmp_path)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "main.tf").write_text("\n".join([text, *beside]))
    root = Terraform(tmp_path / folder)
    root.init()

    assert 'module "' in text
    assert named
    assert root.validate().ok
