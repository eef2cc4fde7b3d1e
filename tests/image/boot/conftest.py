"""What the boot tests share. They run when they are asked for (`make image-test`), in an enclosure as the lab's tests.

Nothing is skipped here: without an image, root or the tools tree they fail, and say what to do.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from image.errors import ImageError
from image.order import BUILD, read_version
from image.tools import Tree, tools
from tests.demo.scenarios import scenarios
from tests.demo.stage import Outcome, Stage
from tests.image.boot.accelerator import Accelerator, choose
from tests.image.boot.guest import Guest
from tests.image.boot.machine import Firmware, Machine, Model
from tests.image.boot.network import Network
from tests.image.boot.report import REPORT
from tests.lab import enclosure
from tests.lab.conftest import OBSTACLE, pytest_configure  # noqa: F401 -- enters the enclosure
from tests.lab.event_log import Event
from tests.lab.lab import Lab
from tests.lab.namespaces import Namespace
from tests.lab.workload import Workload

FOLDER = BUILD / "image-test"

pytest.register_assert_rewrite("tests.image.boot.booting")

collect_ignore = ["test_arm64.py"]  # a target of its own


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how long the boots took."""
    if REPORT.boots:
        terminalreporter.section("from power on to filtering")
        terminalreporter.write_line(REPORT.accelerator)
        for each in REPORT.boots:
            terminalreporter.write_line(each.line())


@pytest.fixture(scope="session", autouse=True)
def _enclosed() -> None:
    """Replace the lab's fixture of that name, which skips."""
    assert not OBSTACLE, f"no namespaces: {OBSTACLE}"
    assert os.geteuid() == 0, "root is needed: run it as root, or under sudo"
    assert enclosure.inside()


@pytest.fixture(scope="session")
def tree() -> Tree:
    """The tools tree that has QEMU."""
    try:
        return tools("boot")
    except ImageError as fault:
        pytest.fail(str(fault), pytrace=False)


def image_of(architecture: str) -> Path:
    """Return the image that `make image` has made for an architecture; it is the one that its description names."""
    path = BUILD / f"discriminat-{read_version()}-{architecture}.raw"
    if not path.exists():
        pytest.fail(f"{path} is not there: run make image ARCH={architecture}", pytrace=False)
    if not is_as_built(path):
        pytest.fail(f"{path} is not what was built: run make image ARCH={architecture}", pytrace=False)
    return path


def is_as_built(path: Path) -> bool:
    """Whether an image has the digest of its description."""
    described: str = json.loads(path.with_name(f"{path.name}.json").read_text())["sha256"]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == described


@pytest.fixture(scope="session")
def image() -> Iterator[Path]:
    """The x86_64 image, which is as it was when all is over."""
    path = image_of("x86_64")
    yield path
    assert is_as_built(path), "a machine has written to the image"


@pytest.fixture(scope="session")
def accelerator(tree: Tree, image: Path) -> Accelerator:
    """KVM, or emulation and why."""
    with Namespace("probe") as place:
        model = Model.of("x86_64", Firmware.BIOS, "kvm")
        chosen = choose(Machine("probe", tree, place, BUILD, FOLDER, image, model))
    REPORT.accelerator = f"{chosen.name}: {chosen.reason}"
    return chosen


@pytest.fixture(scope="class")
def lab() -> Iterator[Lab]:
    """A lab of the class's own, so that its logs are those of one machine's disk."""
    with Lab.start() as started:
        yield started


@pytest.fixture(scope="class")
def network(lab: Lab) -> Iterator[Network]:
    """What AWS's network tells a machine."""
    with Network(lab) as network:
        yield network


@pytest.fixture(scope="class")
def machine_room(
    lab: Lab, tree: Tree, image: Path, accelerator: Accelerator, network: Network
) -> Iterator[Callable[[str, Firmware], Guest]]:
    """Return a function that puts a machine, still off, into the place of the lab's appliance."""
    guests: list[Guest] = []

    def put(name: str, firmware: Firmware) -> Guest:
        model = Model.of("x86_64", firmware, accelerator.name)
        machine = Machine(name, tree, lab.fabric.namespace, BUILD, FOLDER, image, model)
        machine.make_disk()
        guests.append(Guest(lab, machine))
        return guests[-1]

    yield put
    for each in guests:
        each.close()


@pytest.fixture(scope="class")
def guest(request: pytest.FixtureRequest, machine_room: Callable[[str, Firmware], Guest]) -> Guest:
    """The machine of a test class, which says under which firmware."""
    firmware: Firmware = request.cls.firmware
    return machine_room(str(firmware), firmware)


@pytest.fixture(scope="class")
def stage(lab: Lab, guest: Guest) -> Stage:
    """The demo's servers, groups and workloads around the machine, which filters."""
    return Stage.set_up(lab)


@pytest.fixture(scope="class")
def web(stage: Stage) -> Workload:
    """A client with listed names."""
    return stage.workloads["web"]


@pytest.fixture(scope="class")
def played(lab: Lab, stage: Stage) -> dict[str, Outcome]:
    """What came of each of the demo's scenarios, by its title and in their order."""
    return {each.title: stage.play(each) for each in scenarios(lambda: lab.internet.authority.bundle)}


@pytest.fixture(scope="class")
def waiting() -> list[Event]:
    """Flow events that were in the spool when the power went."""
    return []
