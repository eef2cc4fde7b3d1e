"""Disks: small synthetic ones, as `make image` would leave them, and a repository that has their commit.

The disks hold the signature of a partition table and random blocks, no system: nothing here boots or keeps promises.
"""

import functools
import hashlib
import json
import random
import subprocess
from pathlib import Path
from typing import Any

BLOCK = 512 * 1024
VERSION = "0.1.0"
BLOCKS = (0, 1, 3, 4, 9, 12)  # those that are not all zeroes
TAIL = 512 * 3  # octets of the last block, which is not whole


class Bakery:
    """Makes disks in a directory, and remembers the repository's commit."""

    def __init__(self, directory: Path, repository: "Repository") -> None:
        self.directory = directory
        self.repository = repository.folder
        self.commit = repository.commit

    def bake(
        self, architecture: str = "arm64", *, version: str = VERSION, seed: int = 0, blocks: tuple[int, ...] = BLOCKS
    ) -> Path:
        """Write a disk and what lies beside it; other seeds are other contents under the same name."""
        path = self.directory / f"discriminat-{version}-{architecture}.raw"
        path.unlink(missing_ok=True)
        content = random.Random(f"{architecture} {version} {seed}")
        with path.open("wb") as file:
            for index in blocks:
                file.seek(index * BLOCK)
                file.write(content.randbytes(TAIL if index == blocks[-1] else BLOCK))
            file.seek(510)
            file.write(b"\x55\xaaEFI PART")
        self.report(path)
        sbom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}
        path.with_name(f"{path.stem}.cdx.json").write_text(json.dumps(sbom))
        return path

    def report(self, path: Path, **other: object) -> None:
        """Write what the baker says of a disk, with other values where they are given."""
        report = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "octets": path.stat().st_size,
            "commit": self.commit,
            "source_date_epoch": 1_790_000_000,
            "architecture": path.stem.rpartition("-")[2],
        }
        path.with_name(f"{path.name}.json").write_text(json.dumps(report | other))

    def key(self, name: str) -> Path:
        """Make an SSH key."""
        path = self.directory / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
        return path

    def manifest(self, version: str = VERSION) -> dict[str, Any]:
        """Return the release manifest that was written beside the disks."""
        return dict(json.loads((self.directory / f"discriminat-{version}.manifest.json").read_text()))


class Repository:
    """A clone with a commit, from which the disks say they were baked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("image/recipe.toml", "image/lock/arm64.txt", "image/lock/x86_64.txt"):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{name}\n")
        git = functools.partial(subprocess.run, cwd=folder, check=True, capture_output=True, text=True)
        git(["git", "init", "--quiet"])
        git(["git", "add", "."])
        who = ("-c", "user.name=baker", "-c", "user.email=baker@example.com", "-c", "commit.gpgsign=false")
        git(["git", *who, "commit", "--quiet", "--message", "all"])
        self.commit = git(["git", "rev-parse", "HEAD"]).stdout.strip()


def content(path: Path) -> dict[int, bytes]:
    """Return a disk's blocks that are not all zeroes, filled up to whole ones."""
    data = path.read_bytes()
    whole = [data[at : at + BLOCK].ljust(BLOCK, b"\0") for at in range(0, len(data), BLOCK)]
    return {index: block for index, block in enumerate(whole) if any(block)}
