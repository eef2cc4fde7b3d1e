"""The partition table of a disk image, read as strictly as the worst firmware would.

Source: UEFI Specification 2.10, section 5 (GUID Partition Table). Sectors have 512 octets. Both copies of the table
have to be sound and say the same, as firmware may use either. Nothing is mounted, and no device is made.
"""

import struct
import uuid
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

SECTOR = 512
ENTRIES = 128  # what every tool writes, and the least that the specification allows
ENTRY = 128  # octets
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY_FIELDS = struct.Struct("<16s16sQQQ72s")
TABLE_SECTORS = ENTRIES * ENTRY // SECTOR
PROTECTIVE = 0xEE


class BrokenTable(ValueError):
    """The table, or a copy of it, is not what the specification says. The image is refused."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry: `start` and `size` in octets, `type` and `id` as they are written in a recipe."""

    number: int
    name: str
    type: uuid.UUID
    id: uuid.UUID
    start: int
    size: int

    @property
    def end(self) -> int:
        """First octet behind it."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Table:
    """A sound table: `size` of the disk in octets, partitions in the order of their numbers."""

    id: uuid.UUID
    size: int
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class _Header:
    here: int
    other: int
    first: int
    last: int
    disk: uuid.UUID
    entries: bytes


def read_table(path: Path) -> Table:
    """Return the partition table of a disk.

    Raises:
        BrokenTable: a copy is missing, damaged, or differs from the other; a partition is out of place.
    """
    with path.open("rb") as disk:
        size = disk.seek(0, 2)
        sectors = size // SECTOR
        if size % SECTOR or sectors < 3 + 2 * (TABLE_SECTORS + 1):
            raise BrokenTable(f"{size} octets are no disk of whole sectors with room for a table")
        _require_protection(_read(disk, 0, 1), sectors)
        first = _read_header(disk, 1)
        second = _read_header(disk, sectors - 1)
    if (first.other, second.other) != (sectors - 1, 1):
        raise BrokenTable(f"the copies of the table point to sectors {first.other} and {second.other}")
    if (first.first, first.last, first.disk, first.entries) != (second.first, second.last, second.disk, second.entries):
        raise BrokenTable("the two copies of the table differ")
    if not 2 + TABLE_SECTORS <= first.first <= first.last < sectors - 1 - TABLE_SECTORS:
        raise BrokenTable(f"sectors {first.first} to {first.last} cannot all be used: the tables need their own")
    return Table(first.disk, size, _partitions(first))


def _require_protection(record: bytes, sectors: int) -> None:
    if record[510:] != b"\x55\xaa":
        raise BrokenTable("sector 0 has no boot signature")
    kind, start, length = record[450], *struct.unpack_from("<II", record, 454)
    if (kind, start, length) != (PROTECTIVE, 1, min(sectors - 1, 0xFFFFFFFF)) or any(record[462:510]):
        raise BrokenTable("the protective partition of sector 0 does not cover exactly the disk")


def _read(disk: BinaryIO, sector: int, count: int) -> bytes:
    disk.seek(sector * SECTOR)
    return disk.read(count * SECTOR)


def _read_header(disk: BinaryIO, sector: int) -> _Header:
    raw = _read(disk, sector, 1)
    fields = HEADER.unpack_from(raw)
    signature, revision, length, checksum, reserved, here, other, first, last, disk_id, entries_at, *shape = fields
    count, width, entries_checksum = shape
    if (signature, revision, length, reserved) != (b"EFI PART", 0x10000, HEADER.size, 0):
        raise BrokenTable(f"sector {sector} holds no table of revision 1.0")
    if zlib.crc32(raw[:16] + bytes(4) + raw[20 : HEADER.size]) != checksum:
        raise BrokenTable(f"the checksum of the table in sector {sector} is wrong")
    expected = 2 if sector == 1 else sector - TABLE_SECTORS
    if (here, count, width, entries_at) != (sector, ENTRIES, ENTRY, expected):
        raise BrokenTable(f"the table in sector {sector} is not laid out as usual: {count} entries at {entries_at}")
    entries = _read(disk, entries_at, TABLE_SECTORS)
    if zlib.crc32(entries) != entries_checksum:
        raise BrokenTable(f"the checksum of the entries in sector {entries_at} is wrong")
    return _Header(here, other, first, last, uuid.UUID(bytes_le=disk_id), entries)


def _partitions(header: _Header) -> tuple[Partition, ...]:
    found = []
    for number in range(1, ENTRIES + 1):
        raw = header.entries[(number - 1) * ENTRY : number * ENTRY]
        if not any(raw):
            continue
        kind, unique, first, last, _attributes, name = ENTRY_FIELDS.unpack(raw)
        if not header.first <= first <= last <= header.last:
            raise BrokenTable(f"partition {number} lies outside the disk's usable sectors")
        try:
            text = name.decode("utf-16-le").rstrip("\0")
        except UnicodeDecodeError as fault:
            raise BrokenTable(f"the name of partition {number} is no text") from fault
        start, size = first * SECTOR, (last - first + 1) * SECTOR
        found.append(Partition(number, text, uuid.UUID(bytes_le=kind), uuid.UUID(bytes_le=unique), start, size))
    for before, after in pairwise(sorted(found, key=lambda partition: partition.start)):
        if before.end > after.start:
            raise BrokenTable(f"partitions {before.number} and {after.number} overlap")
    if len({partition.id for partition in found}) != len(found):
        raise BrokenTable("two partitions have the same identifier")
    return tuple(found)
