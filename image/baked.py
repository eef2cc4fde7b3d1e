"""A baked image: the raw disk, and what was written beside it while it was made.

baked = open_baked(Path("build/discriminat-0.1.0-arm64.raw"))
baked.name, baked.version, baked.architecture, baked.commit
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from image.errors import ImageError

NAME: Final = re.compile(
    r"(?P<product>[a-z][a-z0-9]*)-(?P<version>[0-9]+\.[0-9]+\.[0-9]+)-(?P<architecture>[a-z0-9_]+)\.raw"
)
ARCHITECTURES: Final = ("x86_64", "arm64")  # as AWS says it
COMMIT: Final = re.compile(r"[0-9a-f]{40}(?P<dirty>-dirty)?")
SHA256: Final = re.compile(r"[0-9a-f]{64}")
SECTOR: Final = 512  # octets
AGAIN: Final = "bake it again: make image"


@dataclass(frozen=True, slots=True)
class Baked:
    """An image as it lies in build/.

    Attributes:
        sha256: of the disk, in hexadecimal, as its baker wrote it down.
        report: all that its baker wrote down, `….raw.json`.
        sbom: CycloneDX bill of materials, `….cdx.json`.
    """

    path: Path
    product: str
    version: str
    architecture: str
    sha256: str
    commit: str
    report: Mapping[str, Any]
    sbom: Path

    @property
    def name(self) -> str:
        """What the AMI is called, in every region."""
        return f"{self.product}-{self.version}-{self.architecture}"

    @property
    def is_dirty(self) -> bool:
        """Whether it was baked from what no commit holds."""
        return self.commit.endswith("-dirty")

    @property
    def sbom_sha256(self) -> str:
        """SHA-256 of the bill of materials, in hexadecimal."""
        return hashlib.sha256(self.sbom.read_bytes()).hexdigest()


def open_baked(path: Path) -> Baked:
    """Return an image, looked at as far as that takes no time.

    Raises:
        ImageError: something is missing, or does not belong together.
    """
    if not path.is_file():
        raise ImageError(f"{path}: there is no such file: bake an image first: make image")
    name = NAME.fullmatch(path.name)
    if name is None:
        raise ImageError(
            f"{path}: this is no raw disk of a release: want NAME-VERSION-ARCHITECTURE.raw, such as"
            " discriminat-1.2.3-arm64.raw, as `make image` leaves it in build/"
        )
    product, version, architecture = name["product"], name["version"], name["architecture"]
    if architecture not in ARCHITECTURES:
        raise ImageError(f"{path}: AWS knows no architecture {architecture}: it is x86_64 or arm64")
    _require_disk(path)
    report_path = path.with_name(f"{path.name}.json")
    report = _read(report_path)
    for key, pattern in (("sha256", SHA256), ("commit", COMMIT)):
        if not pattern.fullmatch(str(report.get(key, ""))):
            raise ImageError(f"{report_path} does not say the image's {key}: {AGAIN}")
    for key, value in (("version", version), ("architecture", architecture)):
        if str(report.get(key, value)) != value:
            raise ImageError(f"{path}: the name says {value}, {report_path.name} says {report[key]}: {AGAIN}")
    sbom = path.with_name(f"{path.name.removesuffix('.raw')}.cdx.json")
    if _read(sbom).get("bomFormat") != "CycloneDX":
        raise ImageError(f"{sbom} is no bill of materials in the CycloneDX form: {AGAIN}")
    return Baked(path, product, version, architecture, str(report["sha256"]), str(report["commit"]), report, sbom)


def _require_disk(path: Path) -> None:
    """Refuse what is no disk with a GUID partition table; whether that is sound, image.verify says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(2 * SECTOR)
    if size % SECTOR or head[SECTOR - 2 : SECTOR + 8] != b"\x55\xaaEFI PART":
        raise ImageError(f"{path}: {size} octets that are no disk with a partition table: {AGAIN}")


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ImageError(f"{path} is missing, which lies beside the image: {AGAIN}") from None
    except (OSError, ValueError) as fault:
        raise ImageError(f"{path} cannot be read ({fault}): {AGAIN}") from None
    if not isinstance(found, dict):
        raise ImageError(f"{path} holds no JSON object: {AGAIN}")
    return found
