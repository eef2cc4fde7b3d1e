"""The lock: which packages the image is made of, by version and by the SHA-256 of the file they came in."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from image.errors import ImageError
from image.recipe import Architecture
from image.tools import Tree

DIRECTORY = Path(__file__).with_name("lock")
OWN = ("discriminat", "discriminat-image")  # made here, from the commit


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
    """Return where the lock of an architecture is."""
    return DIRECTORY / f"{arch.name}.txt"


def installed(tree: Tree, work: Path, cache: Path) -> list[Package]:
    """Return Debian's packages in the tree at work/root, each found in the files that were downloaded."""
    form = "${Package} ${Version} ${Architecture}\\n"
    listed = tree.run(["dpkg-query", "--admindir=/work/root/var/lib/dpkg", "--show", f"--showformat={form}"], work)
    return sorted(_package(*line.split(), cache) for line in listed.splitlines() if line.split()[0] not in OWN)


def _package(name: str, version: str, arch: str, cache: Path) -> Package:
    file = cache / f"{name}_{version.replace(':', '%3a')}_{arch}.deb"
    if not file.exists():
        raise ImageError(f"{file.name} is installed, but is not among the downloaded files: remove {cache}")
    return Package(name, version, hashlib.sha256(file.read_bytes()).hexdigest())


def write(target: Path, packages: list[Package]) -> None:
    """Write the lock."""
    target.parent.mkdir(exist_ok=True)
    target.write_text("".join(f"{package.line()}\n" for package in packages), encoding="ascii")


def compare(locked: Path, packages: list[Package]) -> None:
    """Refuse packages that are not those of the lock, and say which."""
    hint = "if the new ones are wanted, renew it: make image ARGS=--renew-lock"
    if not locked.exists():
        raise ImageError(f"there is no {locked.name} in image/lock; {hint}")
    wanted = set(locked.read_text(encoding="ascii").splitlines())
    found = {package.line() for package in packages}
    if wanted != found:
        differences = [f"  - {line}" for line in sorted(wanted - found)] + [f"  + {line}" for line in sorted(found - wanted)]
        told = "\n".join(line.rsplit(" ", 1)[0] for line in differences)
        raise ImageError(f"the archive's packages are not those of image/lock/{locked.name}; {hint}\n{told}")
