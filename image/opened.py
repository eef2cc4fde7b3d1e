"""An image that has been taken apart: what the checks look at.

A directory holds `root/` and `esp/`, the files of the two file systems; `disk.json`, what is true of the disk and of
what cannot be laid out as files (`image/opening.py` writes it); and the documents that were beside the image.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from image import pe
from image.debian import STATUS, Package, installed
from image.tree import FileTree
from image.units import Units

LOADERS = {"x86_64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}  # UEFI 2.10, section 3.5.1.1
MANIFEST = "/usr/lib/discriminat/manifest.json"

Json = dict[str, Any]


@dataclass(frozen=True)
class Boot:
    """What one way of booting leads to: a command line, and the digests of kernel and initrd."""

    command_line: str
    kernel: str
    initrd: str


@dataclass(frozen=True)
class Wanted:
    """What the recipe and the lock ask for.

    `lock`: version and SHA-256 by Debian package; `services`: what botocore describes; `units`: services, sockets,
    timers and paths that booting starts.
    """

    lock: Mapping[str, tuple[str, str]]
    services: frozenset[str]
    units: frozenset[str]
    session_manager: bool = False


NOTHING = Wanted({}, frozenset(), frozenset())


class Opened:
    """The parts of an image. What is missing is empty, so that each check can say so in its own words."""

    def __init__(self, directory: Path, wanted: Wanted = NOTHING) -> None:
        self.directory = directory
        self.wanted = wanted
        self.tree = FileTree(directory / "root")
        self.esp = FileTree(directory / "esp")
        self.units = Units(self.tree)

    @cached_property
    def disk(self) -> Json:
        """What is true of the disk: see `opening.py`."""
        return _document(self.directory / "disk.json")

    @cached_property
    def report(self) -> Json:
        """What the build wrote beside the image."""
        return _document(self.directory / "report.json")

    @cached_property
    def sbom(self) -> Json:
        """The bill of materials beside the image."""
        return _document(self.directory / "sbom.json")

    @cached_property
    def manifest(self) -> Json:
        """What the image says that it holds."""
        try:
            found = json.loads(self.tree.text(MANIFEST) or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def packages(self) -> dict[str, Package]:
        """What dpkg says is installed."""
        return installed(self.tree.text(STATUS))

    @cached_property
    def architecture(self) -> str:
        """The architecture, as AWS calls it, by the name of the loader."""
        return next((name for name, path in LOADERS.items() if self.esp.has(f"/{path}")), "")

    @cached_property
    def loader(self) -> dict[str, bytes]:
        """Sections of what UEFI starts; none where it is missing or broken."""
        octets = self.esp.octets(f"/{LOADERS.get(self.architecture, '')}")
        try:
            return pe.sections(octets) if octets else {}
        except pe.BrokenExecutable:
            return {}

    @property
    def kernel(self) -> str:
        """The version of the loader's kernel, as `uname -r` says it."""
        return self.loader.get(".uname", b"").rstrip(b"\0").decode("utf-8", "replace")

    @cached_property
    def uefi(self) -> Boot:
        """What UEFI leads to."""
        words = self.loader.get(".cmdline", b"").rstrip(b"\0").decode("utf-8", "replace")
        return Boot(words.strip(), digest(self.loader.get(".linux", b"")), digest(self.loader.get(".initrd", b"")))

    @cached_property
    def grub_configuration(self) -> str:
        """The text by which GRUB boots."""
        return str(self.disk.get("grub", ""))

    @cached_property
    def bios(self) -> Boot:
        """What GRUB's one entry leads to."""
        linux = re.search(r"^\s*linux\s+(\S+)[ \t]*(.*)$", self.grub_configuration, re.MULTILINE)
        initrd = re.search(r"^\s*initrd\s+(\S+)\s*$", self.grub_configuration, re.MULTILINE)
        kernel, words = linux.groups() if linux else ("", "")
        return Boot(words.strip(), *(digest(self.esp.octets(path)) for path in (kernel, initrd[1] if initrd else "")))


def digest(octets: bytes) -> str:
    """Return the SHA-256 of octets in hexadecimal; nothing of nothing."""
    return hashlib.sha256(octets).hexdigest() if octets else ""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_document(path: Path, found: Json) -> None:
    """Write one of the documents that an `Opened` reads."""
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _document(path: Path) -> Json:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
