"""What `python -m image publish` has made is what the module finds: the program, the AWS provider, one AWS API."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from image.cloud import Patience
from image.publish import Wishes
from image.publisher import Publisher
from tests.image.publish.disks import Bakery, Repository
from tests.lab.lab import Lab
from tests.terraform.terraform import Terraform, aws

VERSION, ARCHITECTURES = "1.2.3", ("arm64", "x86_64")
ELSEWHERE, NOWHERE = "eu-central-1", "ap-south-1"


@pytest.fixture(scope="module")
def release(cloud: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bakery]:
    """Disks of both architectures, published in the lab's region and in another one."""
    directory = tmp_path_factory.mktemp("release")
    bakery = Bakery(directory, Repository(directory / "repository"))
    disks = [bakery.bake(architecture, version=VERSION) for architecture in ARCHITECTURES]
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws(cloud.emulator.url, cloud.region).items():
            patch.setenv(name, value)
        publisher = Publisher(
            boto3.Session(region_name=cloud.region),
            Wishes(region=cloud.region, copy_to=(ELSEWHERE,)),
            say=said.append,
            patience=Patience(scale=0.0),
            check=lambda path: [],  # they hold no system
            repository=bakery.repository,
        )
        assert publisher.publish(disks) == 0, said
    yield bakery
    cloud.emulator.client("ssm").delete_parameters(
        Names=[f"/discriminat/ami/{VERSION}/{disk}" for disk in ARCHITECTURES]
    )


@pytest.fixture(scope="module")
def example(cloud: Lab, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """examples/one-zone, initialised."""
    made = Terraform.copy(
        tmp_path_factory.mktemp("published"), "examples/one-zone", aws(cloud.emulator.url, cloud.region)
    )
    override(made, "")
    made.init()
    return made


def override(example: Terraform, text: str) -> None:
    block = f'module "discriminat" {{\n{textwrap.indent(text, "  ")}\n}}\n'
    (example.folder / "test_override.tf").write_text(block)


def launched(example: Terraform, region: str) -> str:
    """Return the image that a plan would launch."""
    (module,) = example.planned(region=region)["planned_values"]["root_module"]["child_modules"]
    (template,) = (each for each in module["resources"] if each["type"] == "aws_launch_template")
    return str(template["values"]["image_id"])


def published(release: Bakery, architecture: str, region: str) -> str:
    image: dict[str, Any] = release.manifest(VERSION)["images"][architecture]["regions"][region]
    return str(image["image"])


def test_the_look_up_finds_what_was_published(cloud: Lab, release: Bakery, example: Terraform) -> None:
    """By owner, name and version, and of the two architectures the one of the instance type."""
    override(example, f'ami = {{ version = "{VERSION}" }}')

    assert launched(example, cloud.region) == published(release, "arm64", cloud.region)


def test_the_manifest_leads_to_what_was_published(release: Bakery, example: Terraform) -> None:
    """In another region, for another type, without a name or a version."""
    manifest = release.directory / f"discriminat-{VERSION}.manifest.json"
    override(example, f'ami           = {{ manifest = "{manifest}" }}\ninstance_type = "t3.small"')

    assert launched(example, ELSEWHERE) == published(release, "x86_64", ELSEWHERE)


def test_a_region_that_the_manifest_lacks_is_told(release: Bakery, example: Terraform, cloud: Lab) -> None:
    """At plan, with the regions that it has."""
    manifest = release.directory / f"discriminat-{VERSION}.manifest.json"
    override(example, f'ami = {{ manifest = "{manifest}" }}')

    refused = example.plan(check=False, region=NOWHERE)

    assert not refused.ok
    assert f"has no image for arm64 in {NOWHERE}, only in {ELSEWHERE}, {cloud.region}: publish it" in refused.complaint


def test_an_image_that_is_gone_is_told(release: Bakery, example: Terraform, cloud: Lab, tmp_path: Path) -> None:
    """The manifest is older than what its publisher still has."""
    text = (release.directory / f"discriminat-{VERSION}.manifest.json").read_text()
    old = tmp_path / "old.manifest.json"
    old.write_text(text.replace(published(release, "arm64", cloud.region), "ami-0bad0bad0bad0bad0"))
    override(example, f'ami = {{ manifest = "{old}" }}')

    refused = example.plan(check=False, region=cloud.region)

    assert not refused.ok
    assert f"has no image with the id ami-0bad0bad0bad0bad0 in {cloud.region}" in refused.complaint
