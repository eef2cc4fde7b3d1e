"""Sections of a PE file, which is how a unified kernel image holds its command line, kernel and initrd.

Source: Microsoft PE Format, "COFF File Header" and "Section Table"; UAPI Group Specification "Unified Kernel Image".
"""

import struct
from typing import Final

MACHINES: Final = {0x8664: "x86_64", 0xAA64: "arm64"}
MOST_SECTIONS = 64  # ours; ukify writes about twelve
FILE_HEADER = struct.Struct("<HHIIIHH")
SECTION = struct.Struct("<8sIIIIIIHHI")


class BrokenExecutable(ValueError):
    """Octets that are no PE file, or one whose sections lie outside it. The image is refused."""


def machine(octets: bytes) -> str:
    """Return the architecture that a PE file is for, as AWS calls it."""
    kind = FILE_HEADER.unpack_from(octets, _header_at(octets))[0]
    if kind not in MACHINES:
        raise BrokenExecutable(f"{kind:#06x} is neither x86_64 nor arm64")
    return MACHINES[kind]


def sections(octets: bytes) -> dict[str, bytes]:
    """Return the content of each section by its name, without what fills it up.

    Raises:
        BrokenExecutable: no PE file; two sections of one name, as firmware and we might take different ones.
    """
    at = _header_at(octets)
    _machine, count, _time, _symbols, _symbol_count, optional, _flags = FILE_HEADER.unpack_from(octets, at)
    at += FILE_HEADER.size + optional
    if count > MOST_SECTIONS or at + count * SECTION.size > len(octets):
        raise BrokenExecutable(f"{count} sections do not fit into {len(octets)} octets")
    found: dict[str, bytes] = {}
    for position in range(at, at + count * SECTION.size, SECTION.size):
        raw_name, size, _address, stored, start, *_rest = SECTION.unpack_from(octets, position)
        name = raw_name.rstrip(b"\0").decode("latin-1")
        if name in found:
            raise BrokenExecutable(f"there are two sections {name}")
        if start + stored > len(octets):
            raise BrokenExecutable(f"section {name} ends outside the file")
        found[name] = octets[start : start + min(size, stored)]
    return found


def _header_at(octets: bytes) -> int:
    if octets[:2] != b"MZ" or len(octets) < 64:
        raise BrokenExecutable("no PE file: it does not begin with MZ")
    at: int = struct.unpack_from("<I", octets, 0x3C)[0]
    if octets[at : at + 4] != b"PE\0\0" or at + 4 + FILE_HEADER.size > len(octets):
        raise BrokenExecutable("no PE file: there is no PE header where it should be")
    return at + 4
