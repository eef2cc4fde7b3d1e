"""A machine: QEMU with the image's disk, one network interface and two serial ports, as near to EC2's as it gets.

The image is a backing file, never written; what the machine writes is in an overlay, which outlives its power. The
console goes to a log, whose end is in the message of whatever fails. QEMU is that of the tools tree.
"""

import enum
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from image.tools import Tree
from tests.image.boot.channel import Channel, connect
from tests.image.boot.credentials import write
from tests.lab.namespaces import Namespace

MEMORY = 1024  # MiB
PROCESSORS = 2
POWER_OFF = 10.0  # seconds
SOCKETS = 10.0  # seconds for QEMU to listen
TAIL = 40  # lines


class MachineError(Exception):
    """The machine could not be started, or did not do what was waited for; the text has the console's end."""


class Firmware(enum.StrEnum):
    """What starts the disk."""

    UEFI = "uefi"
    BIOS = "bios"


@dataclass(frozen=True)
class Model:
    """A kind of machine: how QEMU is called for it. `files`: of the firmware, in the tools tree: code, variables."""

    program: str
    options: tuple[str, ...]
    files: tuple[str, str] | None
    channel: str  # the second serial port, as Linux calls it

    @classmethod
    def of(cls, architecture: str, firmware: Firmware, accelerator: str) -> "Model":
        """Return the model for an architecture as AWS spells it."""
        if architecture == "arm64":
            return cls(
                "qemu-system-aarch64",
                ("-machine", "virt,gic-version=3", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "neoverse-n1"),
                ("/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
                "/dev/ttyAMA1",
            )
        # Without five-level page tables, which firmware and kernel would only walk more slowly.
        speed = ("-accel", "kvm", "-cpu", "host") if accelerator == "kvm" else (
            *("-accel", "tcg,thread=multi,tb-size=512"), *("-cpu", "max,la57=off"),
        )  # fmt: skip
        uefi = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")
        return cls(
            "qemu-system-x86_64", ("-machine", "q35", *speed), uefi if firmware is Firmware.UEFI else None, "/dev/ttyS1"
        )


@dataclass
class Machine:
    """One machine and its disk.

    Args:
        name: of its files.
        tree: the tools tree that has QEMU.
        place: the network namespace that QEMU runs in.
        work: folder that holds the image and `folder`; QEMU sees nothing else of this machine's disk.
        folder: of the machine's files, inside of `work`.
        image: the disk image, inside of `work`.
        cable: tap device in `place`; without one the machine has no network interface.
    """

    name: str
    tree: Tree
    place: Namespace
    work: Path
    folder: Path
    image: Path
    model: Model
    cable: str = ""
    mac: str = ""
    boots: int = 0
    powered_at: float = 0.0  # monotonic seconds
    channel: Channel | None = None
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def make_disk(self) -> None:
        """Begin with the image as it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        disk, backing = self._inside(self.disk), self._inside(self.image)
        self.disk.unlink(missing_ok=True)
        self.tree.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, disk], self.work)

    def write_disk(self, at: int, octet: int) -> None:
        """Change one octet of the disk while the power is off."""
        self.tree.run(["qemu-io", "-f", "qcow2", "-c", f"write -P {octet} {at} 1", self._inside(self.disk)], self.work)

    @property
    def disk(self) -> Path:
        """The overlay with everything the machine has written."""
        return self.folder / f"{self.name}.qcow2"

    @property
    def console(self) -> Path:
        """The log of the serial console since the power was last switched on."""
        return self.folder / f"{self.name}-{self.boots}.log"

    @property
    def complaints(self) -> Path:
        """What QEMU itself has said."""
        return self.folder / f"{self.name}-{self.boots}.qemu.log"

    def power_on(self, credentials: dict[str, str]) -> None:
        """Start QEMU and connect to the command channel.

        Args:
            credentials: for systemd, by name.
        """
        assert self.process is None, "it is on"
        self.boots += 1
        for old in (self.console, self.complaints, self._socket("console"), self._socket("channel")):
            old.unlink(missing_ok=True)
        command = self.tree.command([self.model.program, *self._options(credentials)], self.work)
        with self.complaints.open("wb") as said:
            self.process = self.place.popen(*command, stdout=said, stderr=said)
        self.powered_at = time.monotonic()
        self.channel = self._connect_channel()

    def pull_power(self) -> None:
        """End QEMU at once (SIGKILL): what the machine has not written to its disk is lost."""
        if self.process is None:
            return
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if self.is_on else ():
            qemu = os.pidfd_open(int(child))
            try:
                signal.pidfd_send_signal(qemu, signal.SIGKILL)
                select.select([qemu], [], [], POWER_OFF)
            finally:
                os.close(qemu)
        self.process.kill()
        self.process.wait(POWER_OFF)
        self.process = None

    @property
    def is_on(self) -> bool:
        """Whether QEMU runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def age(self) -> float:
        """Seconds since the power was switched on."""
        return time.monotonic() - self.powered_at

    def said(self) -> str:
        """Everything on the console since the power was switched on."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def tail(self) -> str:
        """The last lines of the console and of QEMU, for messages."""
        complaints = self.complaints.read_text(errors="replace") if self.complaints.exists() else ""
        lines = [line for line in self.said().replace("\r", "\n").splitlines() if line.strip()][-TAIL:]
        state = "is on" if self.is_on else "is off"
        return "\n".join([f"---- {self.name} {state}; its console ends ({self.console}):", *lines, complaints.strip()])

    def type(self, text: str) -> None:
        """Type on the serial console; what it prints goes to the log."""
        with connect(self._socket("console")) as keyboard:
            keyboard.sendall(text.encode())

    def _options(self, credentials: dict[str, str]) -> list[str]:
        options = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *self.model.options]
        options += ["-m", str(MEMORY), "-smp", str(PROCESSORS)]
        if self.model.files is not None:
            code, variables = self.model.files
            own = self.folder / f"{self.name}.variables"
            if not own.exists():
                own.write_bytes((self.tree.root / variables.lstrip("/")).read_bytes())
            options += ["-drive", f"if=pflash,format=raw,unit=0,file={code},readonly=on"]
            options += ["-drive", f"if=pflash,format=raw,unit=1,file={self._inside(own)}"]
        options += ["-drive", f"if=none,id=disk,format=qcow2,file={self._inside(self.disk)}"]
        options += ["-device", "nvme,drive=disk,serial=vol00000000000000001"]
        if self.cable:
            options += ["-netdev", f"tap,id=cable,ifname={self.cable},script=no,downscript=no"]
            options += ["-device", f"virtio-net-pci,netdev=cable,mac={self.mac},romfile="]
        for name in ("console", "channel"):
            log = f",logfile={self._inside(self.console)}" if name == "console" else ""
            path = self._inside(self._socket(name))
            options += [
                "-chardev",
                f"socket,id={name},path={path},server=on,wait=off{log}",
                "-serial",
                f"chardev:{name}",
            ]
        for path in write(credentials, self.folder / f"{self.name}.credentials"):
            options += ["-smbios", f"type=11,path={self._inside(path)}"]
        return options

    def _socket(self, name: str) -> Path:
        return self.folder / f"{self.name}.{name}"

    def _inside(self, path: Path) -> str:
        """Return a path as QEMU sees it."""
        return f"/work/{path.relative_to(self.work)}"

    def _connect_channel(self) -> Channel:
        end = time.monotonic() + SOCKETS
        while True:
            try:
                return Channel(self._socket("channel"))
            except (FileNotFoundError, ConnectionRefusedError):
                if not self.is_on or time.monotonic() > end:
                    raise MachineError(f"QEMU did not start:\n{self.tail()}") from None
                assert self.process is not None
                try:
                    self.process.wait(0.02)
                except subprocess.TimeoutExpired:
                    continue


def architecture_of_this_machine() -> str:
    """Return it as AWS spells it."""
    return {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
