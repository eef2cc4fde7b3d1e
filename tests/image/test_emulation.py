"""The kernel is told to run another architecture's programs by QEMU, and told to forget it again."""

import re
import struct
from pathlib import Path

import pytest

from image import emulation
from image.errors import ImageError
from image.recipe import ARCHITECTURES
from image.tools import Tree

X86_64, ARM64 = ARCHITECTURES["x86_64"], ARCHITECTURES["arm64"]
EXECUTABLE, SHARED, CORE = 2, 3, 4
AARCH64, AMD64 = 183, 62


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's registry of formats, as files, on a machine of x86_64."""
    (tmp_path / "register").touch()
    monkeypatch.setattr(emulation, "BINFMT", tmp_path)
    monkeypatch.setattr(emulation, "native", lambda: X86_64)
    monkeypatch.setattr(emulation, "tools", lambda *_given: Tree(Path("/build/tools/emulate/root")))
    return tmp_path


def test_entry_is_made_and_removed(registry: Path) -> None:
    """It is there while a tree is made; one of a build that was killed is replaced."""
    entry = registry / emulation.NAME
    entry.touch()

    with emulation.of(ARM64, []):
        assert entry.read_text(encoding="ascii") == "-1"
        entry.write_text("enabled", encoding="ascii")
        fields = (registry / "register").read_bytes().split(b":")
        assert fields[1:4] == [b"discriminat-image", b"M", b"0"]
        assert fields[6:] == [b"/build/tools/emulate/root/usr/bin/qemu-aarch64", b"FPOC"]

    assert entry.read_text(encoding="ascii") == "-1"


def test_entry_is_removed_after_a_failure(registry: Path) -> None:
    """A build that fails leaves the kernel as it was."""
    made = emulation.of(ARM64, [])
    made.__enter__()
    (registry / emulation.NAME).touch()

    with pytest.raises(ImageError):
        made.gen.throw(ImageError("no"))

    assert (registry / emulation.NAME).read_text(encoding="ascii") == "-1"


def test_own_programs_need_nothing(registry: Path) -> None:
    """Nothing is registered, and dracut asks ldd."""
    with emulation.of(X86_64, []):
        assert (registry / "register").read_bytes() == b""
    assert emulation.for_dracut(X86_64, registry) == {}


def test_no_way_back(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRUB for BIOS is made on x86_64 only."""
    monkeypatch.setattr(emulation, "native", lambda: ARM64)

    with (
        pytest.raises(ImageError, match="an image for x86_64 is made on a machine of x86_64"),
        emulation.of(X86_64, []),
    ):
        pass


# kind of file, machine, and whether QEMU runs it
HEADERS = [(EXECUTABLE, AARCH64, True), (SHARED, AARCH64, True), (CORE, AARCH64, False), (SHARED, AMD64, False)]


@pytest.mark.parametrize(("kind", "machine", "matches"), HEADERS)
def test_what_is_recognized(kind: int, machine: int, matches: bool) -> None:
    """The bytes and the mask, applied as the kernel does; elf(5)."""
    _, *patterns = emulation.FORMATS["arm64"]
    magic, mask = (bytes.fromhex("".join(_hex(pattern))) for pattern in patterns)
    header = struct.pack("<4sBBBBQHH", b"\x7fELF", 2, 1, 1, 0, 0, kind, machine)

    assert len(magic) == len(mask) == len(header)
    assert (bytes(a & b for a, b in zip(header, mask, strict=True)) == magic) is matches


def _hex(pattern: bytes) -> list[str]:
    """Return the octets of a pattern in hexadecimal, in which letters stand for themselves."""
    return [f"{found[0].decode() or format(ord(found[1]), '02x')}" for found in re.findall(rb"\\x(..)|(.)", pattern)]


def test_dracut_is_told_what_to_ask(registry: Path) -> None:
    """A program of its own instead of ldd."""
    assert emulation.for_dracut(ARM64, registry) == {"DRACUT_ARCH": "aarch64", "DRACUT_LDD": "/work/ldd"}
    assert (registry / "ldd").stat().st_mode & 0o111
