"""Boots that must not end in filtering leave everything closed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from image.tools import tools
from tests.demo.scenarios import API
from tests.image.boot import credentials
from tests.image.boot.guest import START, Guest
from tests.image.boot.machine import Firmware
from tests.image.boot.network import Network
from tests.lab.lab import Lab, wait_until
from tests.lab.story import assert_closed, tls
from tests.lab.workload import Workload

FIREWALL = "discriminat-firewall.service"
ENGINE = "/usr/lib/python3/dist-packages/appliance/engine.cpython-313-x86_64-linux-gnu.so"


@pytest.fixture
def web(lab: Lab) -> Workload:
    """A client with a listed name, and its server."""
    lab.internet.tls(API)
    return lab.workload("web", groups=[lab.security_group("web", tls(API))])


class TestWithoutItsFirewall:
    """The unit that loads the closed ruleset fails."""

    def test_no_interface_comes_up(
        self, lab: Lab, machine_room: Callable[[str, Firmware], Guest], web: Workload, network: Network
    ) -> None:
        """The machine has neither an address nor an engine, and the console says which unit failed."""
        guest = machine_room("without-firewall", Firmware.BIOS)
        guest.start(wait=False, extra=credentials.failing(FIREWALL))
        guest.wait_channel()

        def settled() -> bool:
            links[:] = guest.run("ip", "-json", "link").json
            return len(links) > 1 and guest.property("ActiveState", "multi-user.target") == "active"

        links: list[dict[str, Any]] = []
        assert wait_until(settled, START), guest.machine.tail()
        assert wait_until(lambda: guest.property("ActiveState", FIREWALL) == "failed", START)
        assert guest.property("ActiveState", "systemd-networkd.service") == "inactive"
        assert guest.property("ActiveState") == "inactive"
        assert [each["ifname"] for each in links if "UP" in each["flags"]] == ["lo"]
        assert network.leases == []
        assert guest.run("cat", "/proc/sys/net/ipv4/ip_forward").out == "0\n"
        assert FIREWALL in guest.said()
        assert_closed(lab, web)
        assert not web.curl(f"https://{API}/").ok


class TestTampered:
    """One octet of the root partition is another one."""

    @pytest.fixture
    def guest(self, machine_room: Callable[[str, Firmware], Guest], image: Path) -> Guest:
        """A machine whose disk differs from the image in an octet of the engine, which no file system would notice."""
        guest = machine_room("tampered", Firmware.BIOS)
        described = json.loads(image.with_name(f"{image.name}.json").read_text())
        start = next(each["start"] for each in described["partitions"] if each["name"] == "root")
        at = start + place_of(ENGINE, image, start)
        with image.open("rb") as file:
            file.seek(at)
            wrong = file.read(1)[0] ^ 1
        guest.machine.write_disk(at, wrong)
        return guest

    def test_it_does_not_filter(self, lab: Lab, guest: Guest, web: Workload) -> None:
        """The kernel reads nothing that is not as it was built: it says so, stops, and starts again, and so on."""
        guest.start(wait=False)

        assert wait_until(lambda: not guest.machine.is_on, START), guest.machine.tail()  # QEMU ends at a restart
        said = guest.said()
        assert "device-mapper: verity:" in said
        assert "Kernel panic - not syncing: dm-verity device corrupted" in said
        assert "Rebooting in 10 seconds" in said
        assert "the policy is in force" not in said
        assert not web.curl(f"https://{API}/").ok


def place_of(path: str, image: Path, start: int) -> int:
    """Return where the content of a file begins, in octets from the start of the root partition."""
    inside, tree = f"/work/{image.name}", tools("bake")
    options = ("dump.erofs", f"--offset={start}", f"--path={path}")
    told = tree.run([*options, "-e", inside], image.parent)
    [first, *_] = re.findall(r"^\s*0:.*:\s*(\d+)\.\.", told, re.MULTILINE)
    return int(first)
