"""The accelerator: KVM where the image's own kernel runs under it, else emulation.

That /dev/kvm is there says little: some machines offer one that starts no stock kernel. So the image is started under
it, without a network, until its first user program speaks.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.image.boot.machine import Machine, MachineError

PROBE = 20.0  # seconds; under a KVM that works it takes two
ALIVE = "systemd["
VARIABLE = "IMAGE_TEST_ACCELERATOR"  # environment: kvm or tcg, instead of a probe


@dataclass(frozen=True, slots=True)
class Accelerator:
    """`name`: kvm or tcg; `reason`: why, for the report."""

    name: str
    reason: str

    @property
    def is_real(self) -> bool:
        """Whether times measured with it say something about a real machine."""
        return self.name == "kvm"


def choose(probe: Machine) -> Accelerator:
    """Return what to run machines with.

    Args:
        probe: a machine of the KVM model with the image, which is off.
    """
    if wanted := os.environ.get(VARIABLE, ""):
        return Accelerator(wanted, f"{VARIABLE} says so")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator("tcg", "there is no /dev/kvm here that may be used")
    probe.make_disk()
    try:
        probe.power_on({})
        while probe.age < PROBE and probe.is_on and "KVM internal error" not in probe.complaints.read_text():
            if ALIVE in probe.said():
                return Accelerator("kvm", f"the image's kernel was up after {probe.age:.1f} s of a probe")
            time.sleep(0.05)
    except MachineError:
        pass
    finally:
        probe.pull_power()
    return Accelerator("tcg", f"/dev/kvm does not run the image's kernel: {_first_line(probe.complaints)}")


def _first_line(complaints: Path) -> str:
    lines = complaints.read_text(errors="replace").splitlines()
    return lines[0] if lines else "no user program spoke in time"
