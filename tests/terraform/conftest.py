"""What the tests of Terraform share: they need Terraform, and run where the lab's tests run, in an enclosure."""

import pytest

from tests.lab.conftest import pytest_configure  # noqa: F401 -- enters the enclosure
from tests.terraform.plugins import obstacle

OBSTACLE = obstacle()


@pytest.fixture(scope="session", autouse=True)
def _terraform() -> None:
    if OBSTACLE:
        pytest.skip(OBSTACLE)
