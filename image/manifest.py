"""What was built: for the box itself, in /usr/lib/discriminat/manifest.json, and beside the disk, in ….raw.json."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from image.lock import Package
from image.order import Order

SCHEMA = 1


def about(order: Order) -> dict[str, Any]:
    """Return what both begin with."""
    return {
        "schema": SCHEMA,
        "name": "discriminat",
        "version": order.revision.version,
        "architecture": order.arch.name,
        "commit": order.revision.commit,
        "source_date_epoch": order.revision.epoch,
    }


def inner(order: Order, debian: str, kernel: str, packages: Sequence[Package]) -> dict[str, Any]:
    """Return what `discriminat version` shows."""
    return {
        **about(order),
        "debian": debian,
        "suite": order.recipe.suite,
        "kernel": kernel,
        "packages": {package.name: package.version for package in packages},
    }


def outer(order: Order, disk: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a disk is: its measures, and what the build found on the way."""
    with disk.open("rb") as reader:
        digest = hashlib.file_digest(reader, "sha256").hexdigest()
    return {**about(order), "sha256": digest, "octets": disk.stat().st_size, **found}


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write a document for programs, readable by people."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
