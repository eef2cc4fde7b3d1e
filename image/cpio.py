"""Names in an initrd: archives one behind the other, each plain or compressed, as the kernel reads them.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
"""

import gzip
import lzma
from collections.abc import Callable, Iterator

MAGIC = (b"070701", b"070702")
HEADER = 110
TRAILER = "TRAILER!!!"
ZSTD = b"\x28\xb5\x2f\xfd"

Decompress = Callable[[bytes], bytes]


class BrokenArchive(ValueError):
    """An initrd that the kernel would not read to its end. The image is refused."""


def names(initrd: bytes, unzstd: Decompress) -> Iterator[str]:
    """Yield the path of each file in an initrd, without a leading `/` or `./`.

    Args:
        initrd: the whole file.
        unzstd: undoes zstd, which Python's own library learns in 3.14 only.
    """
    rest = initrd
    while rest := rest.lstrip(b"\0"):
        if rest[:6] in MAGIC:
            found, rest = _archive(rest)
            yield from found
        else:
            rest = _decompress(rest, unzstd)


def _decompress(octets: bytes, unzstd: Decompress) -> bytes:
    if octets[:4] == ZSTD:
        plain = unzstd(octets)
    elif octets[:2] == b"\x1f\x8b":
        plain = gzip.decompress(octets)
    elif octets[:6] == b"\xfd7zXZ\0":
        plain = lzma.decompress(octets)
    else:
        raise BrokenArchive(f"{octets[:6].hex()} begins no archive")
    if plain[:6] not in MAGIC:  # else two compressions could hide in each other without end
        raise BrokenArchive("what is compressed is no archive")
    return plain


def _archive(octets: bytes) -> tuple[list[str], bytes]:
    found: list[str] = []
    at = 0
    while True:
        header = octets[at : at + HEADER]
        if len(header) < HEADER or header[:6] not in MAGIC:
            raise BrokenArchive(f"there is no file at octet {at} of an archive")
        try:
            size, length = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError as fault:
            raise BrokenArchive(f"the file at octet {at} of an archive has no size") from fault
        name = octets[at + HEADER : at + HEADER + length - 1].decode("utf-8", "replace")
        at = _aligned(_aligned(at + HEADER + length) + size)
        if at > len(octets) + 3:
            raise BrokenArchive(f"{name} ends outside its archive")
        if name == TRAILER:
            return found, octets[at:]
        found.append(name.removeprefix("./").lstrip("/"))


def _aligned(at: int) -> int:
    return (at + 3) & ~3
