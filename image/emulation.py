"""Programs of another architecture, run by QEMU: the kernel is told for as long as a tree is being made."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from image import apt
from image.command import run
from image.errors import ImageError
from image.recipe import Architecture, native
from image.tools import require_root, tools

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# ELF's header, from EI_CLASS to e_machine, and which bits of it count; Linux's Documentation/admin-guide/binfmt-misc.
FORMATS = {
    "arm64": (
        "qemu-aarch64",
        rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
        rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff",
    )
}

FOR_DRACUT: dict[str, dict[str, str]] = {"x86_64": {}, "arm64": {}}


@contextlib.contextmanager
def of(arch: Architecture, sources: Sequence[apt.Source]) -> Iterator[None]:
    """Let this machine run programs of `arch`, by a QEMU of the tools' release."""
    if arch == native():
        yield
        return
    if arch.name not in FORMATS:
        raise ImageError(f"an image for {arch.name} is made on a machine of {arch.name}")
    program, magic, mask = FORMATS[arch.name]
    name = f"discriminat-{arch.name}"
    interpreter = tools("emulate", sources).root / "usr/bin" / program
    require_root()
    if not (BINFMT / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    _forget(name)
    # F: the interpreter is opened now, and so is found from within any tree.
    line = b":".join((b"", name.encode(), b"M", b"0", magic, mask, os.fsencode(interpreter), b"FPOC"))
    (BINFMT / "register").write_bytes(line)
    try:
        yield
    finally:
        _forget(name)


def _forget(name: str) -> None:
    """Unregister it, also after a build that was killed."""
    with contextlib.suppress(FileNotFoundError):
        (BINFMT / name).write_text("-1", encoding="ascii")
