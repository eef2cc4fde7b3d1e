"""What boots a machine is read from its octets: sections of the loader, names in the initrd, GRUB's configuration."""

import contextlib
import gzip
import lzma
import struct

import hypothesis
import pytest
from hypothesis import strategies as st

from image import cpio, grub, pe
from tests.image.specimen import executable, loader

# ---- the loader ----


def test_sections_have_their_own_octets() -> None:
    """What fills a section up is not part of it."""
    assert pe.sections(executable({".cmdline": b"quiet", ".linux": b"k" * 40})) == {
        ".cmdline": b"quiet",
        ".linux": b"k" * 40,
    }


@pytest.mark.parametrize(("kind", "name"), [(0x8664, "x86_64"), (0xAA64, "arm64")])
def test_the_machine_is_named_as_aws_does(kind: int, name: str) -> None:
    """The architecture is in the file's header."""
    assert pe.machine(executable({}, machine=kind)) == name


TWICE = executable({".cmdline": b"a", ".cmdlinX": b"b"}).replace(b".cmdlinX", b".cmdline")
NOT_PE = [
    (b"", "begin with MZ"),
    (b"\x7fELF" + bytes(100), "begin with MZ"),
    (b"MZ" + bytes(100), "no PE header"),
    (loader().replace(b"PE\0\0", b"XX\0\0"), "no PE header"),
    (TWICE, "two sections .cmdline"),
    (loader()[:-20], "ends outside"),
    (executable({})[:70] + struct.pack("<H", 60) + executable({})[72:], "60 sections do not fit"),
    (executable({})[:70] + struct.pack("<H", 65) + bytes(9000), "65 sections do not fit"),
]


@pytest.mark.parametrize(("octets", "words"), NOT_PE, ids=[words for _, words in NOT_PE])
def test_what_is_no_executable_is_refused(octets: bytes, words: str) -> None:
    """Firmware would not start it, or start something else than we see."""
    with pytest.raises(pe.BrokenExecutable, match=words):
        pe.sections(octets)


def test_another_machine_is_refused() -> None:
    """There are two architectures."""
    with pytest.raises(pe.BrokenExecutable, match="0x014c"):
        pe.machine(executable({}, machine=0x14C))


@hypothesis.given(st.integers(0, 200), st.binary(max_size=40))
def test_garbage_is_refused_or_read(at: int, noise: bytes) -> None:
    """Never another error than the documented one."""
    octets = loader()
    with contextlib.suppress(pe.BrokenExecutable):
        pe.sections(octets[:at] + noise + octets[at + len(noise) :])


# ---- the initrd ----


def archive(*names: str, content: bytes = b"content") -> bytes:
    """Return an archive as `cpio -H newc` makes it."""
    octets = b""
    for name in (*names, cpio.TRAILER):
        body = b"" if name == cpio.TRAILER else content
        fields = [1, 0o100644, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name) + 1, 0]
        octets += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        octets += bytes(-len(octets) % 4) + body
        octets += bytes(-len(octets) % 4)
    return octets


def undo(octets: bytes) -> bytes:
    """Stand for zstd: what is behind its magic is the archive."""
    return octets.removeprefix(cpio.ZSTD)


INITRDS = [
    (archive("a", "usr/b"), ["a", "usr/b"]),
    (archive("./a", "/b"), ["a", "b"]),
    (archive("early") + bytes(508) + archive("late"), ["early", "late"]),
    (archive("early") + gzip.compress(archive("late")), ["early", "late"]),
    (lzma.compress(archive("late")), ["late"]),
    (archive("early") + cpio.ZSTD + archive("late"), ["early", "late"]),
    (b"", []),
]


@pytest.mark.parametrize(("initrd", "names"), INITRDS)
def test_an_initrd_is_read_to_its_end(initrd: bytes, names: list[str]) -> None:
    """Archives stand behind one another, each plain or compressed."""
    assert list(cpio.names(initrd, undo)) == names


BROKEN_INITRDS = [
    (archive("a")[:-130], "ends outside|no file at"),
    (b"hello", "begins no archive"),
    (archive("a") + b"#!/bin/sh", "begins no archive"),
    (archive("a").replace(b"%08x" % 7, b"zzzzzzzz"), "has no size"),
    (archive("a").replace(b"%08x" % 7, b"ffffffff"), "ends outside"),
    (cpio.ZSTD + cpio.ZSTD + archive("a"), "is no archive"),
    (gzip.compress(b"hello"), "is no archive"),
    (gzip.compress(gzip.compress(archive("a"))), "is no archive"),
]


@pytest.mark.parametrize(("initrd", "words"), BROKEN_INITRDS)
def test_a_broken_initrd_is_refused(initrd: bytes, words: str) -> None:
    """The kernel would stop there, and what is behind it would not be there."""
    with pytest.raises(cpio.BrokenArchive, match=words):
        list(cpio.names(initrd, undo))


# ---- GRUB ----

CONFIGURATION = "linux /boot/vmlinuz panic=10\ninitrd /boot/initrd\nboot\n"


def module(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, 8 + len(content)) + content


def core(*modules: bytes, decompressor: int = 2848) -> bytes:
    """Return a core as grub-mkimage makes it, in a partition of a mebibyte."""
    content = b"".join(modules)
    kernel = b"\x81\x38mimg\x75\x10".ljust(20_000, b"\x90")  # which compares with the magic, as GRUB's does
    image = kernel + grub.MODULES.pack(grub.MAGIC, grub.MODULES.size, grub.MODULES.size + len(content)) + content
    compressed = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=grub.LZMA)
    packed = compressed.compress(image) + compressed.flush()
    rest = bytes(8) + struct.pack("<II", len(packed), len(image))
    rest = rest.ljust(decompressor, b"\xcc") + packed
    first = bytes(grub.LIST_AT) + struct.pack("<QH", 2049, -(-len(rest) // 512)) + bytes(2)
    return (first + rest).ljust(1 << 20, b"\0")


def test_the_configuration_in_the_core_is_read() -> None:
    """It is compressed together with kernel and modules."""
    found = grub.configuration(
        core(module(0, b"\x7fELF" * 1000), module(2, CONFIGURATION.encode() + b"\0\0"), module(3, b"(,gpt2)/boot\0"))
    )

    assert found == CONFIGURATION


BROKEN_CORES = [
    (b"", "too small"),
    (bytes(1 << 20), "does not begin with a core"),
    (core(module(0, b"\x7fELF")), "carries 0 configurations"),
    (core(module(2, b"boot"), module(2, b"boot")), "carries 2 configurations"),
    (core(struct.pack("<II", 2, 4)), "ends outside"),
    (core(module(2, b"boot"))[:512] + bytes(8) + struct.pack("<II", 30, 100) + bytes(1 << 20), "cannot be read"),
]


@pytest.mark.parametrize(("octets", "words"), BROKEN_CORES, ids=[words for _, words in BROKEN_CORES])
def test_what_is_no_core_is_refused(octets: bytes, words: str) -> None:
    """BIOS would start something else, or nothing."""
    with pytest.raises(grub.BrokenCore, match=words):
        grub.configuration(octets)
