"""What GRUB's core does on a machine without UEFI: the configuration that is compressed inside it.

Source: GRUB 2.12, grub-core/boot/i386/pc/{diskboot,startup_raw}.S and include/grub/{kernel,offsets}.h.

A core is a first sector that loads the rest, a decompressor, and kernel and modules compressed by LZMA. How long the
decompressor is, only a build of GRUB knows; it is found by trying.
"""

import lzma
import struct
from collections.abc import Iterator

SECTOR = 512
LIST_AT = 0x1F4  # in the first sector: where the rest is, and how many sectors it has
SIZES_AT = SECTOR + 8  # in the decompressor: octets compressed and uncompressed
LZMA = ({"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2},)
LARGEST = 1 << 22  # octets of kernel and modules; ours, they have a tenth of it
MAGIC = b"mimg"
MODULES = struct.Struct("<4sII")  # magic, where modules begin, octets of all
MODULE = struct.Struct("<II")  # type, octets with this header
CONFIGURATION = 2


class BrokenCore(ValueError):
    """Octets that are no core of GRUB, or hold no configuration. The image is refused."""


def configuration(core: bytes) -> str:
    """Return the configuration that GRUB's core carries.

    Args:
        core: the partition that it lies in, from its start.

    Raises:
        BrokenCore: there is none, or more than one.
    """
    if len(core) < SIZES_AT + 8:
        raise BrokenCore("the partition of GRUB is too small")
    sectors = struct.unpack_from("<H", core, LIST_AT + 8)[0]
    compressed, whole = struct.unpack_from("<II", core, SIZES_AT)
    end = SECTOR * (1 + sectors)
    if not 0 < compressed < end <= len(core) or not 0 < whole <= LARGEST:
        raise BrokenCore("the partition of GRUB does not begin with a core")
    for start in range(end - compressed - SECTOR + 1, end - compressed + 1):
        if core[start] == 0 and (image := _decompress(core[start : start + compressed], whole)):  # LZMA begins with 0
            return _configuration(image)
    raise BrokenCore("what the core of GRUB has compressed cannot be read")


def _decompress(octets: bytes, whole: int) -> bytes:
    """Return kernel and modules; nothing if the octets are no LZMA of that length."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=LZMA)
    try:
        image = decoder.decompress(octets, whole)
    except lzma.LZMAError:
        return b""
    return image if len(image) == whole and MAGIC in image else b""


def _configuration(image: bytes) -> str:
    found = []
    for start in _module_lists(image):
        at, end = start + MODULES.size, start + MODULES.unpack_from(image, start)[2]
        while at + MODULE.size <= end:
            kind, size = MODULE.unpack_from(image, at)
            if size < MODULE.size or at + size > end:
                raise BrokenCore("a module in the core of GRUB ends outside it")
            if kind == CONFIGURATION:
                found.append(image[at + MODULE.size : at + size].rstrip(b"\0").decode("utf-8", "replace"))
            at += size
    if len(found) != 1:
        raise BrokenCore(f"the core of GRUB carries {len(found)} configurations, expected one")
    return found[0]


def _module_lists(image: bytes) -> Iterator[int]:
    """Yield where a list of modules begins; its magic stands in the kernel's code as well."""
    start = image.find(MAGIC)
    while 0 <= start <= len(image) - MODULES.size:
        _magic, offset, octets = MODULES.unpack_from(image, start)
        if offset == MODULES.size and start + octets <= len(image):
            yield start
        start = image.find(MAGIC, start + 1)
