"""The stage as Terraform makes it: VPC and appliances by examples/three-zones, the demo's groups by groups/main.tf."""

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.demo.scenarios import INGRESS, security_groups
from tests.demo.stage import Stage, open_servers
from tests.lab.lab import Lab
from tests.lab.security_group import Group
from tests.terraform.deployment import NAME, Deployment
from tests.terraform.terraform import Terraform

GROUPS = Path(__file__).parent / "groups"


@contextmanager
def applied_stage(lab: Lab) -> Iterator[Stage]:
    """Yield a stage in the first of three zones, its appliance in service.

    Args:
        lab: without a VPC.
    """
    directory = Path(tempfile.mkdtemp(prefix="demo-", dir="/run"))
    with Deployment.make(lab, directory) as deployment:
        zone = deployment.zones[0]
        groups = _apply_groups(lab, directory / "groups", deployment.vpc.environment)
        subnet = f"{NAME}-private-{zone}"
        stage = Stage(lab, deployment.appliance(zone), open_servers(lab), groups, subnet=subnet)
        stage.launch_all()
        yield stage


def _apply_groups(lab: Lab, folder: Path, environment: dict[str, str]) -> dict[str, Group]:
    """Return the Security Groups, which Terraform has made from the scenarios' table."""
    rules = security_groups(datetime.now(UTC).date())
    described = {
        name: {
            "egress": [dataclasses.asdict(each) for each in egress],
            "ingress": [dataclasses.asdict(each) for each in INGRESS.get(name, ())],
        }
        for name, egress in rules.items()
    }
    shutil.copytree(GROUPS, folder)
    terraform = Terraform(folder, environment)
    terraform.init()
    terraform.apply(vpc_id=lab.vpc, groups=described)
    return {name: Group(id, name, rules[name]) for name, id in terraform.outputs()["security_group_ids"].items()}
