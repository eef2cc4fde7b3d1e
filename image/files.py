"""Files as the image has them: with modes and times that do not depend on who laid them there, or when."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from image.errors import ImageError

LEFT_BEHIND = {"__pycache__"}  # by a program that ran in the source
LEFT_BEHIND_SUFFIXES = {".pyc", ".so"}
NOLOGIN = "/usr/sbin/nologin"


def lay(source: Path, target: Path) -> None:
    """Copy a file, a link, or a directory into what is there: readable by all, writable by root alone."""
    if source.name in LEFT_BEHIND or source.suffix in LEFT_BEHIND_SUFFIXES:
        return
    if not target.parent.is_dir():
        target.parent.mkdir(parents=True)
    if source.is_symlink():
        target.unlink(missing_ok=True)
        target.symlink_to(source.readlink())
    elif source.is_dir():
        if target.is_symlink():
            raise ImageError(f"{target} is a link: lay files where it leads to")
        target.mkdir(exist_ok=True)
        for path in sorted(source.iterdir()):
            lay(path, target / path.name)
    else:
        target.unlink(missing_ok=True)  # it may be a link to elsewhere
        shutil.copyfile(source, target)
        target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def everything(directory: Path) -> Iterator[Path]:
    """Yield a directory and all in it, sorted, following no link."""
    yield directory
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from everything(path)
        else:
            yield path


def backdate(directory: Path, epoch: int) -> None:
    """Let nothing be newer than `epoch`. What is older keeps its time: Python compares it with its compiled modules."""
    for path in everything(directory):
        if path.lstat().st_mtime > epoch:
            os.utime(path, (epoch, epoch), follow_symlinks=False)


def remove(root: Path, patterns: tuple[str, ...]) -> None:
    """Remove what matches a pattern relative to `root`, and nothing that a link or `..` leads to."""
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            if ".." in path.parts or not path.parent.resolve().is_relative_to(root.resolve()):
                raise ImageError(f"{pattern} leads out of the tree, to {path.resolve()}: see `remove` in recipe.toml")
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def harden(root: Path) -> None:
    """Take from a tree what only people need: programs with the rights of others, and shells to log in to."""
    for path in everything(root):
        mode = path.lstat().st_mode
        if not path.is_symlink() and mode & (stat.S_ISUID | stat.S_ISGID):
            path.chmod(stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))
        if "security.capability" in os.listxattr(path, follow_symlinks=False):
            os.removexattr(path, "security.capability", follow_symlinks=False)
    accounts = root / "etc/passwd"
    fields = (line.split(":")[:-1] for line in accounts.read_text(encoding="utf-8").splitlines())
    accounts.write_text("".join(":".join([*line, NOLOGIN]) + "\n" for line in fields), encoding="utf-8")
