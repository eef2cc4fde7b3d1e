"""Deployment: the examples as the real Terraform applies them to the lab's AWS API, with real appliances in them.

    with Deployment.make(lab, directory) as deployment:
        deployment.vpc.plan(**deployment.variables).changes        # False
        deployment.fleet.appliances["egress-eu-west-1a"]
        deployment.groups()["web"]                                 # of examples/workloads, a Group of the lab

`apply` returns when every appliance has completed its launch hook, as it does on AWS.
"""

import textwrap
from pathlib import Path
from typing import Any, Self

from tests.lab.appliance import Appliance, Config
from tests.lab.emulator import ACCOUNT
from tests.lab.fleet import Fleet
from tests.lab.lab import Lab
from tests.lab.security_group import Group
from tests.terraform.terraform import Terraform, TerraformError, aws

NAME = "egress"
IMAGE = "discriminat-0.1.0-arm64"
ROOT_DEVICE = "/dev/xvda"
FAR = "us-east-1"
CENTRAL = f"arn:aws:ssm:{FAR}:{ACCOUNT}:parameter/egress/central"
LISTS = f"""
lists = {{
  parameters = ["/apps/acme/allow"]
  secrets    = ["apps/acme/allow"]
  elsewhere  = {{ central = "{CENTRAL}" }}
}}
"""


def publish_image(ec2: Any, name: str = IMAGE) -> str:
    """Register an image as the project publishes it, and return its id."""
    return str(
        ec2.register_image(
            Name=name,
            Architecture=name.rpartition("-")[2],
            RootDeviceName=ROOT_DEVICE,
            VirtualizationType="hvm",
            BootMode="uefi",
            ImdsSupport="v2.0",
            BlockDeviceMappings=[{"DeviceName": ROOT_DEVICE, "Ebs": {"VolumeSize": 4}}],
        )["ImageId"]
    )


class Deployment:
    """examples/three-zones, and examples/workloads in its VPC once they are asked for."""

    def __init__(self, lab: Lab, directory: Path, settings: Config | None = None, *, arguments: str = "") -> None:
        """Prepare; `make` applies as well.

        Args:
            directory: for the copies of the module and the states.
            settings: of the file on every appliance, see Fleet.
            arguments: of the module's block, beside those of the example.
        """
        environment = aws(lab.emulator.url, lab.region)
        self.lab = lab
        self.image = publish_image(lab.ec2)
        self.fleet = Fleet(lab, settings)
        self.vpc = Terraform.copy(directory, "examples/three-zones", environment)
        self.workloads = Terraform.copy(directory, "examples/workloads", environment)
        self.variables: dict[str, object] = {"region": lab.region, "name": NAME}
        self._arguments = arguments
        self._groups: dict[str, Group] = {}
        self._outputs: dict[str, Any] = {}

    @classmethod
    def make(cls, lab: Lab, directory: Path, settings: Config | None = None, *, arguments: str = "") -> Self:
        """Return a deployment with its VPC and its appliances."""
        made = cls(lab, directory, settings, arguments=arguments)
        made.override("")
        lab.log_group = made.outputs["log_group_name"]
        lab.find_subnets()
        return made

    def apply(self) -> None:
        """Apply the VPC's example.

        Raises:
            TerraformError: with what became of the appliances, for which Terraform has waited.
        """
        self._outputs = {}
        try:
            self.vpc.apply(**self.variables)
        except TerraformError as fault:
            said = [f"{each.name} {each.instance}: {each.said()[-500:]}" for each in self.fleet.appliances.values()]
            raise TerraformError("\n".join([str(fault), f"fleet: {self.fleet.fault or 'follows'}", *said])) from None

    def override(self, text: str) -> None:
        """Lay arguments over those of the example's module block, in a file of their own, and apply; "" for no more."""
        text = self._arguments + text
        block = f'module "discriminat" {{\n{textwrap.indent(text, "  ")}\n}}\n' if text else ""
        (self.vpc.folder / "test_override.tf").write_text(block)
        self.vpc.init()
        self.apply()

    @property
    def outputs(self) -> dict[str, Any]:
        """All that the module gives."""
        return dict(self.example_outputs["discriminat"])

    @property
    def example_outputs(self) -> dict[str, Any]:
        """The outputs of the example, as of the last apply."""
        self._outputs = self._outputs or self.vpc.outputs()
        return self._outputs

    @property
    def zones(self) -> list[str]:
        """Names of the Availability Zones, in order."""
        return sorted(self.outputs["network_interface_ids"])

    def appliance(self, zone: str) -> Appliance:
        """Return the appliance that a zone has now."""
        return self.fleet.appliances[f"{NAME}-{zone}"]

    def groups(self) -> dict[str, Group]:
        """Return the Security Groups of the workloads, by the name the example gives them."""
        if not self._groups:
            self.workloads.init()
            self.workloads.apply(region=self.lab.region, vpc_id=self.lab.vpc)
            ids = self.workloads.outputs()["security_group_ids"]
            self._groups = {name: self.lab.group(id) for name, id in ids.items()}
        return self._groups

    def destroy(self) -> None:
        """Take all away again, the workloads first."""
        if self._groups:
            self.workloads.destroy(region=self.lab.region, vpc_id=self.lab.vpc)
        self.vpc.destroy(**self.variables)

    def close(self) -> None:
        """Switch the appliances off; the emulator's state is left to itself."""
        self.fleet.close()

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
