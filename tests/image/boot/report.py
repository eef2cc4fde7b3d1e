"""The report: how long it took the machine to filter, for the end of the test run and for a file beside the logs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

KVM_MOST = 10.0  # seconds from power to filtering, where KVM works
FILE = "times.json"


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot. `filtering`: seconds from power on; `ready`: seconds from the kernel's start, by its own clock."""

    name: str
    filtering: float
    ready: float
    systemd: str  # its own account of where the time went

    def line(self) -> str:
        """Return it in words."""
        return (
            f"{self.name}: filtering {self.filtering:.1f} s after power on,"
            f" {self.ready:.1f} s after the kernel's start by its own clock; {self.systemd}"
        )


class Report:
    """All boots of a test run."""

    def __init__(self) -> None:
        self.accelerator = ""
        self.boots: list[Boot] = []

    def add(self, boot: Boot, folder: Path) -> None:
        """Remember a boot, and write all of them to a file of the folder."""
        self.boots.append(boot)
        document = {"accelerator": self.accelerator, "boots": [asdict(each) for each in self.boots]}
        (folder / FILE).write_text(json.dumps(document, indent=2) + "\n")


REPORT = Report()
