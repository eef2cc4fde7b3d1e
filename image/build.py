"""Runs the steps: progress, the lock against a second build, and the name that a disk gets only when it is whole."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from image import apt
from image.disk import copy_sparse
from image.errors import ImageError
from image.manifest import Revision
from image.recipe import Architecture, Recipe, native
from image.steps import STEPS, Bake
from image.tools import BUILD, require_root

FREE_MIB = 4096  # for two trees, their packages, and the disk


def build(
    recipe: Recipe,
    arch: Architecture,
    revision: Revision,
    sources: list[apt.Source],
    output: Path | None = None,
    *,
    renew_lock: bool = False,
) -> Path:
    """Bake the disk, and return where it is: under its name in build/, or at `output`, which may be a block device."""
    require_root()
    target = output or BUILD / f"discriminat-{revision.version}-{arch.name}.raw"
    target.parent.mkdir(parents=True, exist_ok=True)
    BUILD.mkdir(exist_ok=True)
    os.umask(0o022)
    if shutil.disk_usage(BUILD).free < FREE_MIB * 1024 * 1024:
        raise ImageError(f"less than {FREE_MIB} MiB are free where {BUILD} is: make room, or move the clone")
    with _working_directory(BUILD / f"bake-{arch.name}") as work:
        bake = Bake(recipe, arch, revision, work, sources, renew_lock=renew_lock)
        started = time.monotonic()
        for number, step in enumerate(STEPS, 1):
            _say(f"[{number:2}/{len(STEPS)}] {step.name} … ", end="")
            begun = time.monotonic()
            try:
                step.run(bake)
            except OSError as error:
                raise ImageError(_told(error)) from error
            _say(f"{time.monotonic() - begun:.0f} s")
        _say(f"        done in {time.monotonic() - started:.0f} s")
        _publish(work / "disk.raw", target)
        (work / "disk.raw.json").replace(target.with_name(f"{target.name}.json") if target.is_file() else BUILD / "device.json")
    return target


def _publish(made: Path, target: Path) -> None:
    """Give the disk its name, in one step; a block device is written instead."""
    if target.is_block_device():
        copy_sparse(made, target, 0)
    else:
        made.replace(target)


@contextlib.contextmanager
def _working_directory(path: Path) -> Iterator[Path]:
    """Make an empty directory that nobody else works in, and remove it in the end, however it ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with path.with_suffix(".lock").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImageError("another build of this architecture is under way in this clone: wait for it") from None
        shutil.rmtree(path, ignore_errors=True)  # of a build that was killed
        path.mkdir()
        try:
            yield path
        finally:
            if not os.environ.get("KEEP"):
                shutil.rmtree(path, ignore_errors=True)


def _told(error: OSError) -> str:
    """Say what an operating system's error means here."""
    if error.errno == errno.ENOSPC:
        return f"no space is left where {BUILD} is: make room, and build again"
    return f"{error.strerror or error}: {error.filename or ''}"


def _say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()
