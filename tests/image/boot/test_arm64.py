"""The arm64 image, emulated, under UEFI: it boots, lets what is listed through, and nothing else."""

from collections.abc import Iterator

import pytest

from image.order import BUILD
from image.tools import Tree
from tests.demo.stage import Stage
from tests.image.boot.accelerator import Accelerator
from tests.image.boot.booting import measure
from tests.image.boot.conftest import FOLDER, image_of
from tests.image.boot.guest import Guest
from tests.image.boot.machine import Firmware, Machine, Model
from tests.image.boot.network import Network
from tests.image.boot.report import REPORT
from tests.lab.lab import Lab
from tests.lab.story import allowed, refused

ARCHITECTURE = "arm64"
EMULATED = Accelerator("tcg", "another architecture is emulated")
PATIENCE = 900.0  # seconds until healthy


class TestArm64:
    @pytest.fixture(scope="class")
    @classmethod
    def guest(cls, lab: Lab, tree: Tree, network: Network) -> Iterator[Guest]:
        """The machine in the place of the lab's appliance, off."""
        REPORT.accelerator = f"{EMULATED.name}: {EMULATED.reason}"
        model = Model.of(ARCHITECTURE, Firmware.UEFI, EMULATED.name)
        image = image_of(ARCHITECTURE)
        machine = Machine(ARCHITECTURE, tree, lab.fabric.namespace, BUILD, FOLDER, image, model)
        machine.make_disk()
        guest = Guest(lab, machine, patience=PATIENCE)
        yield guest
        guest.close()

    def test_it_filters(self, lab: Lab, guest: Guest, stage: Stage) -> None:
        """A listed name passes, another one is reset, and both are logged."""
        web = stage.workloads["web"]
        measure(guest, web, EMULATED)
        allowed(lab, stage.servers["api.example.com"][0])
        server = lab.internet.tls("elsewhere.arm.test")

        assert not web.curl("https://elsewhere.arm.test/").ok
        refused(lab, server, "name_not_listed", dhost="elsewhere.arm.test")

    def test_it_is_of_its_architecture(self, guest: Guest) -> None:
        """With the engine compiled for it, and the kernel's own `queue` statement."""
        assert guest.run("uname", "-m").out == "aarch64\n"
        started = guest.wait_for_event(cat="appliance", outcome="started")
        assert "engine compiled" in started["reason"]
        assert "the nft queue statement" in started["reason"]
