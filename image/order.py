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
DIRTY = "-dirty"  # what follows the commit if what is built is not what was committed


@dataclass(frozen=True)
class Revision:
    """A version, of a commit, whose time is the image's only time."""

    version: str
    commit: str
    epoch: int

    def as_changed(self) -> "Revision":
        """Return what it is once something of the commit was changed."""
        return self if self.commit.endswith(DIRTY) else replace(self, commit=self.commit + DIRTY)


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


def read_version() -> str:
    """Return the version that is checked out."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def baked_images() -> list[Path]:
    """Return the images of this version that lie in build/.

    Raises:
        ImageError: there is none.
    """
    version = read_version()
    if found := sorted(BUILD.glob(f"discriminat-{version}-*.raw")):
        return found
    raise ImageError(f"build/ has no image of version {version}: bake one (make image), or name it")


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


def _git(*arguments: str) -> str:
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
