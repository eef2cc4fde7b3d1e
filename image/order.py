"""What is to be baked: a recipe, for an architecture, at a revision."""

import subprocess
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from image.errors import ImageError
from image.recipe import Architecture, Recipe

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
DIRTY = "-dirty"  # what the name of a commit ends in where something is not the commit's


@dataclass(frozen=True)
class Revision:
    """A version, of a commit, whose time is the image's only time."""

    version: str
    commit: str
    epoch: int

    @property
    def dirty(self) -> "Revision":
        """This one, with changes that the commit does not have."""
        return replace(self, commit=self.commit.removesuffix(DIRTY) + DIRTY)


@dataclass(frozen=True)
class Order:
    """All that decides which octets come out."""

    recipe: Recipe
    arch: Architecture
    revision: Revision

    @property
    def name(self) -> str:
        """What the image is called."""
        return f"discriminat-{self.revision.version}-{self.arch.name}"


def read_revision(commit: str = "", epoch: int = 0) -> Revision:
    """Return what is checked out; or, where there is no git, what the caller says it is."""
    if not (commit and epoch):
        try:
            commit, told = _git("log", "-1", "--format=%H %ct").split()
            commit, epoch = commit + (DIRTY if _git("status", "--porcelain") else ""), int(told)
        except (OSError, subprocess.CalledProcessError):
            raise ImageError("git does not know this directory: give --commit, and its time in --epoch") from None
    if epoch > time.time():
        raise ImageError("the commit is younger than this machine's clock says it is: set the clock")
    return Revision(read_version(), commit, epoch)


def read_version() -> str:
    """Return the program's version."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def baked_images(version: str) -> list[Path]:
    """Return the disks of a version that lie in build/."""
    return sorted(BUILD.glob(f"discriminat-{version}-*.raw"))


def _git(*arguments: str) -> str:
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
