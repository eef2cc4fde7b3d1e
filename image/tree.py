"""The files of an image, laid out in a directory, and read as the machine would: links never lead out of it."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

MOST_LINKS = 40  # Linux's own bound


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as the image has it.

    `path` begins with `/`, `changed` is in seconds since 1970, `capabilities` is the extended attribute if it has one.
    """

    path: str
    mode: int
    size: int
    changed: int
    capabilities: bytes = b""

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


class FileTree:
    """A directory that stands for `/`. Paths are the image's: absolute, with `/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every file, directory and link by its path, `/` itself left out."""
        return {entry.path: entry for entry in self._walk(self.root, "")}

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """The paths in each directory that holds something."""
        found: dict[str, list[str]] = {}
        for path in self.entries:
            found.setdefault(path.rpartition("/")[0], []).append(path)
        return found

    def _walk(self, directory: Path, above: str) -> Iterator[Entry]:
        for found in sorted(os.scandir(directory), key=lambda found: found.name):
            path = f"{above}/{found.name}"
            about = found.stat(follow_symlinks=False)
            yield Entry(path, about.st_mode, about.st_size, int(about.st_mtime), _capabilities(Path(found.path)))
            if found.is_dir(follow_symlinks=False):
                yield from self._walk(Path(found.path), path)

    def place(self, path: str) -> Path | None:
        """Return where `path` lies outside the image, its links followed inside it; None where there is nothing."""
        waiting = list(PurePosixPath(path).parts[1:])[::-1]
        at: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                at = at[:-1]
                continue
            here = self.root.joinpath(*at, part)
            if here.is_symlink():
                links += 1
                if links > MOST_LINKS:
                    return None
                target = PurePosixPath(here.readlink())
                at = [] if target.is_absolute() else at
                waiting += [step for step in target.parts if step != "/"][::-1]
            else:
                at.append(part)
        here = self.root.joinpath(*at)
        return here if os.path.lexists(here) else None

    def has(self, path: str) -> bool:
        """Say whether `path` leads to something."""
        return self.place(path) is not None

    def text(self, path: str) -> str:
        """Return a file's text; nothing where there is no such file."""
        found = self.place(path)
        return found.read_text(encoding="utf-8", errors="replace") if found and found.is_file() else ""

    def octets(self, path: str) -> bytes:
        """Return a file's content; nothing where there is no such file."""
        found = self.place(path)
        return found.read_bytes() if found and found.is_file() else b""

    def under(self, *folders: str) -> Iterator[Entry]:
        """Yield what lies in these directories, at any depth."""
        for path, entry in self.entries.items():
            if path.startswith(tuple(f"{folder.rstrip('/')}/" for folder in folders)):
                yield entry

    def named(self, *names: str) -> Iterator[Entry]:
        """Yield everything whose last part is one of these names."""
        return (entry for path, entry in self.entries.items() if path.rpartition("/")[2] in names)


def _capabilities(path: Path) -> bytes:
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:  # none, or a file system without
        return b""
