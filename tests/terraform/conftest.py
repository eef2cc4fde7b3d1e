"""What the tests of Terraform share: they need Terraform, and run where the lab's tests run, in an enclosure.

There is one deployment for all of them, applied once: tests change it, and the last one (test_teardown.py) destroys it.
"""

from collections.abc import Iterator

import pytest

from tests.lab import conftest as lab_conftest
from tests.lab.conftest import pytest_configure  # noqa: F401 -- enters the enclosure
from tests.lab.lab import Lab
from tests.terraform.deployment import LISTS, Deployment
from tests.terraform.plugins import obstacle

OBSTACLE = obstacle()


@pytest.fixture(scope="session", autouse=True)
def _terraform() -> None:
    if OBSTACLE:
        pytest.skip(OBSTACLE)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Lab]:
    """A lab of which only the Internet and the AWS API are there."""
    if lab_conftest.OBSTACLE:
        pytest.skip(f"no namespaces: {lab_conftest.OBSTACLE}")
    with Lab.without_vpc() as started:
        yield started


@pytest.fixture(scope="session")
def deployment(cloud: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """examples/three-zones, applied, with its appliances in service, which may read some lists."""
    with Deployment.make(cloud, tmp_path_factory.mktemp("deployment"), arguments=LISTS) as made:
        yield made
