"""Runs the steps: progress, one build at a time, and a name only for a disk that is whole."""

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from image import apt
from image.disk import copy_sparse
from image.errors import ImageError
from image.order import BUILD, Order
from image.steps import LOCKING, STEPS, Bake, Step
from image.tools import remove, require_root

FREE_MIB = 4096  # for two trees, their packages, and the disk
BESIDE = ("raw.json", "cdx.json", "sources.txt")


def build(
    order: Order,
    sources: list[apt.Source],
    output: Path | None = None,
    *,
    renew_lock: bool = False,
    keep: bool = False,
) -> Path:
    """Bake the disk, and return where it is: under its name in build/, or at `output`, which may be a block device."""
    target = output or BUILD / f"{order.name}.raw"
    with _working_directory(BUILD / f"bake-{order.arch.name}", keep=keep) as work:
        _run(STEPS, Bake(order, work, sources, renew_lock))
        _hand_over(work, target, order)
    return target


def renew_locks(order: Order, sources: list[apt.Source]) -> None:
    """Write the locks anew, of the packages that the archive has now."""
    with _working_directory(BUILD / f"bake-{order.arch.name}") as work:
        _run(LOCKING, Bake(order, work, sources, renew_lock=True))


def _run(steps: Sequence[Step], bake: Bake) -> None:
    """Run steps, and say which, and how long each took."""
    started = time.monotonic()
    for number, step in enumerate(steps, 1):
        _say(f"[{number:2}/{len(steps)}] {step.name:22}")
        begun = time.monotonic()
        step.run(bake)
        _say(f"{time.monotonic() - begun:6.1f} s\n")
    _say(f"        {'done':22}{time.monotonic() - started:6.1f} s\n")


def _hand_over(work: Path, target: Path, order: Order) -> None:
    """Give the disk its name: last, and in one step, so that what has the name is whole. A device is written to."""
    device = target.is_block_device()
    about = BUILD / f"{order.name}.raw" if device else target
    if not device:
        target.unlink(missing_ok=True)  # it has not what will lie beside it
    for kind in BESIDE:
        shutil.move(work / f"disk.{kind}", about.with_suffix(f".{kind}"))
    engine = f"discriminat_{order.revision.version}_{order.arch.debian}.deb"
    shutil.move(work / "debs" / engine, BUILD / engine)
    if device:
        copy_sparse(work / "disk.raw", target, 0)
    else:
        nearby = target.with_suffix(".part")  # the target may be on another disk than the working directory
        shutil.move(work / "disk.raw", nearby)
        nearby.replace(target)


@contextlib.contextmanager
def _working_directory(path: Path, *, keep: bool = False) -> Iterator[Path]:
    """Make an empty directory that nobody else works in, and remove it in the end, however it ends."""
    require_root()
    os.umask(0o022)
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free // 1024**2
    if free < FREE_MIB:
        raise ImageError(f"{free} MiB are free where {path.parent} is, {FREE_MIB} are needed: make room")
    with path.with_suffix(".lock").open("w", encoding="ascii") as file, _ended_by_signals():
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImageError("another build of this architecture is under way in this clone: wait for it") from None
        remove(path)  # of a build that was killed
        path.mkdir()
        try:
            yield path
        finally:
            if not keep:
                remove(path)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a build as Ctrl-C does: in order."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
