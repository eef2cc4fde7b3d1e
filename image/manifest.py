"""What was built: for the box itself, in /usr/lib/discriminat/manifest.json, and beside the disk, in ….raw.json."""

import dataclasses
import hashlib
import json
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image.disk import Partition
from image.errors import ImageError
from image.lock import Package
from image.recipe import Architecture, Recipe

ROOT = Path(__file__).parents[1]
SCHEMA = 1


@dataclass(frozen=True)
class Revision:
    """What is built: a version, of a commit, whose time is the image's only time."""

    version: str
    commit: str
    epoch: int


def read_revision(commit: str = "", epoch: int = 0) -> Revision:
    """Return what is checked out; or, where there is no git, what the caller says it is."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if commit and epoch:
        return Revision(version, commit, epoch)
    try:
        head, time = _git("log", "-1", "--format=%H %ct").split()
        changed = _git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        raise ImageError("git does not know this directory: give --commit and --epoch, its time") from None
    return Revision(version, f"{head}-dirty" if changed else head, int(time))


def _git(*arguments: str) -> str:
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def kernel(root: Path) -> str:
    """Return the version of the one kernel in a tree."""
    found = sorted(path.name for path in (root / "usr/lib/modules").iterdir())
    if len(found) != 1:
        raise ImageError(f"the tree has {len(found)} kernels, want one: {', '.join(found)}")
    return found[0]


def inner(
    revision: Revision, arch: Architecture, recipe: Recipe, debian: str, version: str, packages: Sequence[Package]
) -> dict[str, Any]:
    """Return what `discriminat version` shows."""
    return {
        "schema": SCHEMA,
        "name": "discriminat",
        "version": revision.version,
        "architecture": arch.name,
        "commit": revision.commit,
        "source_date_epoch": revision.epoch,
        "debian": debian,
        "suite": recipe.suite,
        "kernel": version,
        "packages": {package.name: package.version for package in packages},
    }


def outer(
    file: Path,
    revision: Revision,
    arch: Architecture,
    version: str,
    roothash: str,
    partitions: Sequence[Partition],
    compressed: int,
) -> dict[str, Any]:
    """Return what the disk is, measured."""
    with file.open("rb") as reader:
        digest = hashlib.file_digest(reader, "sha256").hexdigest()
    return {
        "schema": SCHEMA,
        "name": "discriminat",
        "version": revision.version,
        "architecture": arch.name,
        "commit": revision.commit,
        "source_date_epoch": revision.epoch,
        "kernel": version,
        "roothash": roothash,
        "sha256": digest,
        "octets": file.stat().st_size,
        "compressed_octets": compressed,
        "partitions": [dataclasses.asdict(partition) for partition in partitions],
    }


def write(path: Path, values: dict[str, Any]) -> None:
    """Write a document for programs, readable by people."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
