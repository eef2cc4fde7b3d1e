"""Programs of another architecture, run by QEMU: the kernel is told for as long as a tree is being made."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from image import apt
from image.command import run
from image.errors import ImageError
from image.recipe import Architecture, native
from image.tools import tools

BINFMT = Path("/proc/sys/fs/binfmt_misc")
NAME = "discriminat-image"  # our entry there
# ELF's header, from EI_CLASS to e_machine, and which bits of it count; Linux's Documentation/admin-guide/binfmt-misc.
FORMATS = {
    "arm64": (
        "qemu-aarch64",
        rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
        rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff",
    )
}

# ldd runs what it is asked about. This reads it, as dracut wants it told: first comes the program, then its libraries.
LDD = r"""#!/bin/sh
lddtree --root /work/root --no-auto-root --skip-non-elfs --list "$1" | sed -n '2,$s|.*/\(.*\)|\t\1 => & (0x0)|p'
"""


@contextlib.contextmanager
def of(arch: Architecture, sources: Sequence[apt.Source]) -> Iterator[None]:
    """Let this machine run programs of `arch`, by a QEMU of the tools' release."""
    if arch == native():
        yield
        return
    if arch.name not in FORMATS:
        raise ImageError(f"an image for {arch.name} is made on a machine of {arch.name}")
    program, magic, mask = FORMATS[arch.name]
    interpreter = tools("emulate", sources).root / "usr/bin" / program
    # F: the interpreter is opened now, and so is found from within any tree.
    line = b":".join((b"", NAME.encode(), b"M", b"0", magic, mask, os.fsencode(interpreter), b"FPOC"))
    with _binfmt():
        _forget()  # of a build that was killed
        (BINFMT / "register").write_bytes(line)
        try:
            yield
        finally:
            _forget()


def for_dracut(arch: Architecture, work: Path) -> dict[str, str]:
    """Return the variables by which dracut makes an initrd of programs that this machine cannot run."""
    if arch == native():
        return {}
    (work / "ldd").write_text(LDD, encoding="ascii")
    (work / "ldd").chmod(0o755)
    return {"DRACUT_ARCH": arch.triplet.partition("-")[0], "DRACUT_LDD": "/work/ldd"}


@contextlib.contextmanager
def _binfmt() -> Iterator[None]:
    """Have the kernel's registry of formats mounted: most machines have."""
    if (BINFMT / "register").exists():
        yield
        return
    run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    try:
        yield
    finally:
        run(["umount", str(BINFMT)])


def _forget() -> None:
    """Take our entry out of the registry."""
    if (BINFMT / NAME).exists():
        (BINFMT / NAME).write_text("-1", encoding="ascii")
