"""The locks: which packages the image is made of, and by which it is made, each with its version and the SHA-256 of the
file that it came in. `make image ARGS=--renew-lock` renews them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from image import debian
from image.errors import ImageError
from image.recipe import Architecture

DIRECTORY = Path(__file__).with_name("lock")
OWN = ("discriminat", "discriminat-image")  # made here, from the commit
AGENT = "amazon-ssm-agent"  # AWS's, and only where the recipe asks for it, which has its digest
TOLD = 24  # differences


@dataclass(frozen=True, order=True)
class Package:
    """An installed package."""

    name: str
    version: str
    sha256: str

    def line(self) -> str:
        """As the lock has it."""
        return f"{self.name} {self.version} {self.sha256}"


def path(arch: Architecture) -> Path:
    """Return where the lock of an architecture's image is."""
    return DIRECTORY / f"{arch.name}.txt"


def tools_path(kind: str, machine: Architecture) -> Path:
    """Return where the lock of a tools tree is, on building machines of an architecture."""
    return DIRECTORY / "tools" / f"{kind}.{machine.name}.txt"


def contents() -> dict[Path, bytes]:
    """Return what is in all locks."""
    return {path: path.read_bytes() for path in sorted(DIRECTORY.rglob("*.txt"))}


def installed(root: Path, cache: Path, own: Sequence[str] = OWN) -> list[Package]:
    """Return the packages of a tree but our own, each found among the downloaded files."""
    status = (root / debian.STATUS.lstrip("/")).read_text(encoding="utf-8")
    stanzas = (stanza for stanza in debian.stanzas(status) if stanza["package"] not in own)
    return sorted(_package(stanza["package"], stanza["version"], stanza["architecture"], cache) for stanza in stanzas)


def _package(name: str, version: str, arch: str, cache: Path) -> Package:
    file = cache / f"{name}_{version.replace(':', '%3a')}_{arch}.deb"
    if not file.exists():
        raise ImageError(
            f"{file.name} is installed, but not among the downloaded files: remove {cache}, and start again"
        )
    return Package(name, version, hashlib.sha256(file.read_bytes()).hexdigest())


def settle(locked: Path, packages: Sequence[Package], *, renew: bool = False) -> None:
    """Refuse packages that are not those of a lock; or, if asked, write them as the new one."""
    lines = [package.line() for package in packages]
    if renew:
        locked.parent.mkdir(parents=True, exist_ok=True)
        locked.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        return
    known = locked.read_text(encoding="ascii").splitlines() if locked.exists() else []
    if known == lines:
        return
    name = locked.relative_to(DIRECTORY) if locked.is_relative_to(DIRECTORY) else locked.name
    told = list(differences(known, lines))
    more = [f"  … and {len(told) - TOLD} more"] if len(told) > TOLD else []
    summary = (
        f"the archive's packages are not those of image/lock/{name}: if these are wanted, "
        "`make image ARGS=--renew-lock`; if not, `--mirror` of a snapshot that has the old ones"
    )
    raise ImageError("\n".join([summary, *told[:TOLD], *more]))


def differences(known: Sequence[str], found: Sequence[str]) -> list[str]:
    """Return the lines that only the lock has, and those that only the tree has; a digest by its first digits."""
    gone, new = set(known) - set(found), set(found) - set(known)
    told = [(line, "-") for line in gone] + [(line, "+") for line in new]
    return [f"  {sign} {line[: line.rindex(' ') + 13]}" for line, sign in sorted(told)]
