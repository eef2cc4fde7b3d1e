"""The release manifest: which AMI in which region is which image, for people and for the Terraform module.

    manifest = merge(read(path), add={"arm64": entry}, account=..., version=...)
    write(path, render(manifest), signature)

One version, each architecture with its regions. Publishing the other architecture, or another region, adds to it. Its
octets are canonical, so that a signature is for one text: JSON as in RFC 8785, which for texts and whole numbers means
sorted keys and no white space.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from image.ami import Ami
from image.baked import Baked
from image.ebs import Disk
from image.errors import ImageError

SCHEMA: Final = 1
SIGNATURE: Final = ".sig"  # behind the manifest's name, where ssh-keygen puts it too

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Image:
    """An image to be published: what was baked, and the blocks it has."""

    baked: Baked
    disk: Disk


def entry(image: Image, amis: Mapping[str, Ami], provenance: Mapping[str, Any], published: str) -> Manifest:
    """Return what the manifest says of one architecture.

    Args:
        amis: by region.
        published: UTC, RFC 3339.
    """
    baked, disk = image.baked, image.disk
    return {
        "name": baked.name,
        "published": published,
        "regions": {name: {"image": ami.id, "snapshot": ami.snapshot} for name, ami in amis.items()},
        "disk": {
            "sha256": disk.sha256,
            "octets": disk.octets,
            "ebs": {
                "checksum": disk.checksum,
                "checksum_algorithm": "SHA256",
                "checksum_aggregation_method": "LINEAR",
                "blocks": len(disk.blocks),
                "volume_gib": disk.gib,
            },
        },
        "sbom": {"name": baked.sbom.name, "sha256": baked.sbom_sha256},
        "provenance": provenance,
    }


def merge(before: Manifest, add: Mapping[str, Manifest], *, product: str, version: str, account: str) -> Manifest:
    """Return a manifest with entries added, by architecture. What is the same as before keeps its time.

    Raises:
        ImageError: see `require`.
    """
    about = {"schema": SCHEMA, "name": product, "version": version, "account": account}
    require(before, about, {architecture: new["disk"]["sha256"] for architecture, new in add.items()})
    images = dict(before.get("images", {}))
    for architecture, new in add.items():
        old = images.get(architecture, new)
        merged = {**new, "regions": {**old["regions"], **new["regions"]}}
        images[architecture] = old if {**merged, "published": old["published"]} == old else merged
    return {**about, "images": images}


def require(before: Manifest, about: Mapping[str, object], disks: Mapping[str, str]) -> None:
    """Refuse to add to a manifest what does not belong to it.

    Args:
        about: its name, version and account.
        disks: SHA-256 by architecture.

    Raises:
        ImageError: it is of another version or account, or has another disk for an architecture.
    """
    for key, value in about.items():
        if before and before.get(key) != value:
            raise ImageError(f"the manifest has {key} {before.get(key)}, not {value}: give another file to --manifest")
    for architecture, sha256 in disks.items():
        old = before.get("images", {}).get(architecture)
        if old and old["disk"]["sha256"] != sha256:
            raise ImageError(
                f"the manifest has another disk for {architecture}, {old['disk']['sha256']}: a version is one disk, so"
                " raise the version, or give another file to --manifest"
            )


def read(path: Path) -> Manifest:
    """Return the manifest in a file, empty if there is no file.

    Raises:
        ImageError: the file holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as fault:
        raise ImageError(f"{path} is no release manifest ({fault}): give another file to --manifest") from None
    if not isinstance(found, dict) or not isinstance(found.get("images"), dict) or found.get("schema") != SCHEMA:
        raise ImageError(f"{path} is no release manifest of schema {SCHEMA}: give another file to --manifest")
    return found


def render(manifest: Manifest) -> bytes:
    """Return the canonical octets of a manifest."""
    return json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write(path: Path, octets: bytes, signature: bytes) -> None:
    """Put a manifest in its place, and its signature beside it; an empty one for none, which removes the former.

    At no time is there a manifest with a signature of another: the old signature goes before, the new one comes last.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    signature_path = path.with_name(path.name + SIGNATURE)
    for target in (path, signature_path):
        target.with_name(target.name + ".new").unlink(missing_ok=True)
    _write(path.with_name(path.name + ".new"), octets)
    signature_path.unlink(missing_ok=True)
    path.with_name(path.name + ".new").replace(path)
    if signature:
        fresh = signature_path.with_name(signature_path.name + ".new")
        _write(fresh, signature)
        fresh.replace(signature_path)


def _write(path: Path, octets: bytes) -> None:
    try:
        with path.open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        raise ImageError(f"{path}: {fault.strerror}: give another file to --manifest") from None
