"""`python -m image check FILE`: opens an image, neither booting nor mounting it, and proves each promise.

A promise that cannot be looked at is broken: a check finds what is missing as much as what is wrong.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from image import lock
from image.errors import ImageError
from image.opened import Opened, Wanted
from image.opening import open_image
from image.order import baked_images
from image.promises import PROMISES, Finding
from image.recipe import Recipe, architecture, read_recipe
from image.steps import ROOTFS

PRESET = ROOTFS / "usr/lib/systemd/system-preset/00-discriminat.preset"
MOST_SHOWN = 20  # findings of one promise in the table; ours


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of `check`."""
    parser.description = "Open an image, without booting or mounting it, and prove what is promised of it."
    parser.epilog = "exit 0 when every promise is kept, 1 when one is broken or the image cannot be opened"
    add = parser.add_argument
    add("file", type=Path, nargs="*", metavar="FILE", help="raw disk (those of this version in build/)")
    add("--extracted", type=Path, metavar="DIR", help="look at an image that `--keep` has left, instead of a FILE")
    add("--keep", type=Path, metavar="DIR", help="leave what was taken apart in this new directory")


def run(arguments: argparse.Namespace) -> int:
    """Check, print the table, and return the exit code.

    Raises:
        ImageError: there is nothing to check.
    """
    if arguments.extracted:
        return _tell(str(arguments.extracted), check_opened(arguments.extracted))
    paths = arguments.file or baked_images()
    if arguments.keep and len(paths) > 1:
        raise ImageError("--keep takes one image apart: name it")
    return max(_tell(str(path), check(path, keep=arguments.keep)) for path in paths)


def _tell(name: str, findings: list[Finding]) -> int:
    broken = {finding.promise for finding in findings}
    summary = f"{len(broken)} of {len(PROMISES)} promises are broken" if broken else f"{len(PROMISES)} promises kept"
    sys.stdout.write(f"{name}\n{table(findings)}\n{summary}\n")
    return 1 if broken else 0


def check(path: Path, *, keep: Path | None = None) -> list[Finding]:
    """Return where the image at `path` breaks a promise; nothing of one that keeps them all.

    Args:
        keep: a directory that is not there yet, for what is taken apart; it is removed again where none is given.

    Raises:
        ImageError: there is no such image, or a tool is missing.
    """
    if keep:
        keep.mkdir(parents=True)
        open_image(path, keep)
        return check_opened(keep)
    if not path.is_file():
        raise ImageError(f"{path} is not there: bake an image first: make image")
    with tempfile.TemporaryDirectory(prefix="check-", dir=path.parent) as directory:
        open_image(path, Path(directory))
        return check_opened(Path(directory))


def check_opened(directory: Path) -> list[Finding]:
    """Return where an image that lies in a directory, taken apart, breaks a promise."""
    return judge(Opened(directory, wanted(read_recipe(), Opened(directory).architecture)))


def wanted(recipe: Recipe, arch: str) -> Wanted:
    """Return what recipe and lock ask for; of no known architecture, an empty lock."""
    path = lock.path(architecture(arch)) if arch else None
    locked = path.read_text(encoding="ascii").splitlines() if path and path.exists() else []
    patterns = (re.fullmatch(r".*/botocore/data/([a-z0-9-]+)/\*", pattern) for pattern in recipe.include)
    units = re.findall(r"^enable (\S+)$", PRESET.read_text(encoding="utf-8"), re.MULTILINE)
    agent = bool(recipe.session_manager.package)
    return Wanted(
        lock={name: (version, sha256) for name, version, sha256 in (line.split() for line in locked)},
        services=frozenset(found[1] for found in patterns if found),
        units=frozenset(units + ([f"{lock.AGENT}.service"] if agent else [])),
        session_manager=agent,
    )


def judge(image: Opened) -> list[Finding]:
    """Return where an image that is open already breaks a promise."""
    return [Finding(promise.id, text) for promise in PROMISES for text in promise.check(image)]


def table(findings: Iterable[Finding]) -> str:
    """Return the promises as text, one a line, each with `ok` or `broken` and with what was found."""
    by_promise: dict[str, list[str]] = {}
    for finding in findings:
        by_promise.setdefault(finding.promise, []).append(finding.text)
    lines = []
    for promise in PROMISES:
        found = by_promise.get(promise.id, [])
        lines.append(f"{'broken' if found else 'ok':8}{promise.id:18}{promise.text}")
        lines += [f"{'':10}{text}" for text in found[:MOST_SHOWN]]
        if len(found) > MOST_SHOWN:
            lines.append(f"{'':10}… and {len(found) - MOST_SHOWN} more")
    return "\n".join(lines)
