"""What the lab's tests share: the enclosure they run in, and one lab for all of them."""

import sys
from collections.abc import Iterator

import pytest

from tests.lab import enclosure
from tests.lab.appliance import Appliance
from tests.lab.hostile import Stage, hostile_client, listed_server, staged
from tests.lab.lab import Lab
from tests.lab.servers import Server
from tests.lab.story import SHORT_WAITS
from tests.lab.workload import Workload

OBSTACLE = enclosure.obstacle()


def pytest_configure(config: pytest.Config) -> None:
    """Start pytest again inside an enclosure, unless it is in one or none can be had."""
    if OBSTACLE or enclosure.inside():
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()
    print("lab: running again inside an enclosure of namespaces", file=sys.stderr)
    enclosure.ensure()


@pytest.fixture(autouse=True)
def _enclosed() -> None:
    if OBSTACLE:
        pytest.skip(f"no namespaces: {OBSTACLE}")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A running lab; tests add their own servers and workloads, and put back what they change."""
    if OBSTACLE:
        pytest.skip(f"no namespaces: {OBSTACLE}")
    with Lab.start() as started:
        yield started


@pytest.fixture(scope="module")
def appliance(lab: Lab) -> Iterator[Appliance]:
    """The appliance running, with short waits; every module begins with empty logs and a kernel without rules."""
    lab.appliance.start(SHORT_WAITS)
    yield lab.appliance
    lab.appliance.wipe()


# ---- a client of which nothing is to be trusted ----


@pytest.fixture(scope="module")
def listed(lab: Lab) -> Server:
    """A listed server that answers once it has a whole hello."""
    return listed_server(lab)


@pytest.fixture(scope="module")
def host(lab: Lab, appliance: object, listed: Server, request: pytest.FixtureRequest) -> Workload:
    """A client that may reach it, and sends what it likes; it is called as the module of tests is."""
    return hostile_client(lab, str(request.module.__name__).rpartition("test_")[2])


@pytest.fixture
def stage(lab: Lab, host: Workload, listed: Server) -> Iterator[Stage]:
    """Both, with empty records."""
    with staged(lab, host, listed) as made:
        yield made
