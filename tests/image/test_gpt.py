"""A partition table is read if both copies are sound, and refused with the fault's name if not."""

import contextlib
import struct
import uuid
import zlib
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from image.gpt import ENTRY_FIELDS, HEADER, SECTOR, BrokenTable, Partition, read_table
from image.opening import cut, stray

SECTORS = 4096
KIND, DISK = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4"), uuid.UUID("5c1fb2ac-7be4-4a35-8f0c-6d1f6ad51c01")
FIRST, SECOND = (uuid.UUID(int=number) for number in (1, 2))


def entry(first: int, last: int, unique: uuid.UUID, name: str) -> bytes:
    return ENTRY_FIELDS.pack(KIND.bytes_le, unique.bytes_le, first, last, 0, name.encode("utf-16-le"))


def header(here: int, other: int, entries_at: int, entries: bytes, **changes: int) -> bytes:
    fields = {
        "revision": 0x10000,
        "size": HEADER.size,
        "first": 34,
        "last": SECTORS - 34,
        "count": 128,
        "width": 128,
    } | changes
    shape = (fields["count"], fields["width"], zlib.crc32(entries))
    raw = HEADER.pack(
        b"EFI PART", fields["revision"], fields["size"], 0, 0, here, other, fields["first"], fields["last"],
        DISK.bytes_le, entries_at, *shape,
    )  # fmt: skip
    return (raw[:16] + struct.pack("<I", zlib.crc32(raw)) + raw[20:]).ljust(SECTOR, b"\0")


def disk(*entries: bytes, **changes: int) -> bytearray:
    """Return a disk with these entries; changes go into both copies."""
    table = b"".join(entries).ljust(128 * 128, b"\0")
    protection = bytes(446) + struct.pack("<B3sB3sII", 0, bytes(3), 0xEE, bytes(3), 1, SECTORS - 1)
    octets = bytearray(SECTORS * SECTOR)
    octets[:SECTOR] = protection.ljust(510, b"\0") + b"\x55\xaa"
    octets[SECTOR : 2 * SECTOR] = header(1, SECTORS - 1, 2, table, **changes)
    octets[2 * SECTOR : 34 * SECTOR] = table
    octets[-33 * SECTOR : -SECTOR] = table
    octets[-SECTOR:] = header(SECTORS - 1, 1, SECTORS - 33, table, **changes)
    return octets


def good() -> bytearray:
    return disk(entry(2048, 3071, FIRST, "esp"), entry(3072, 3999, SECOND, "root"))


def test_a_sound_table_is_read(tmp_path: Path) -> None:
    """Offsets and sizes are in octets, names and identifiers as a recipe writes them."""
    path = tmp_path / "disk"
    path.write_bytes(good())

    table = read_table(path)

    assert table.partitions == (
        Partition(1, "esp", KIND, FIRST, 2048 * 512, 1024 * 512),
        Partition(2, "root", KIND, SECOND, 3072 * 512, 928 * 512),
    )
    assert (table.id, table.size) == (DISK, SECTORS * SECTOR)


def changed(at: int, octets: bytes) -> bytearray:
    image = good()
    image[at : at + len(octets)] = octets
    return image


def copies_differ() -> bytearray:
    image = good()
    image[-33 * SECTOR :] = disk(entry(2048, 3071, FIRST, "esp"))[-33 * SECTOR :]
    return image


BROKEN = [
    (good()[:-100], "whole sectors"),
    (bytearray(10 * SECTOR), "room for a table"),
    (changed(510, b"\0\0"), "boot signature"),
    (changed(450, b"\x83"), "protective"),
    (changed(462, b"\x80"), "protective"),
    (changed(458, struct.pack("<I", 100)), "protective"),
    (changed(SECTOR, b"EFI PANT"), "sector 1 holds no table"),
    (changed(len(good()) - SECTOR, b"x"), f"sector {SECTORS - 1} holds no table"),
    (changed(SECTOR + 40, b"\x23"), "checksum of the table in sector 1"),
    (changed(2 * SECTOR + 32, b"\x09"), "checksum of the entries in sector 2"),
    (changed(len(good()) - 33 * SECTOR + 32, b"\x09"), "checksum of the entries in sector 4063"),
    (disk(revision=0x20000), "revision 1.0"),
    (disk(size=512), "revision 1.0"),
    (disk(count=1 << 30), "not laid out as usual"),
    (disk(width=256), "not laid out as usual"),
    (disk(first=2), "cannot all be used"),
    (disk(last=SECTORS - 33), "cannot all be used"),
    (copies_differ(), "copies of the table differ"),
    (disk(entry(2048, 1, FIRST, "x")), "outside the disk's usable"),
    (disk(entry(33, 40, FIRST, "x")), "outside the disk's usable"),
    (disk(entry(2048, 1 << 40, FIRST, "x")), "outside the disk's usable"),
    (disk(entry(2048, 3000, FIRST, "x"), entry(3000, 3001, SECOND, "y")), "1 and 2 overlap"),
    (disk(entry(2048, 2999, FIRST, "x"), entry(3000, 3001, FIRST, "y")), "same identifier"),
    (disk(ENTRY_FIELDS.pack(KIND.bytes_le, FIRST.bytes_le, 2048, 2049, 0, b"\x00\xd8" * 36)), "no text"),
]


@pytest.mark.parametrize(("octets", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_a_broken_table_is_refused(tmp_path: Path, octets: bytearray, words: str) -> None:
    """Each fault is named; no value of a broken table is used."""
    path = tmp_path / "disk"
    path.write_bytes(octets)

    with pytest.raises(BrokenTable, match=words):
        read_table(path)


@hypothesis.given(st.integers(0, 34 * SECTOR - 1), st.binary(min_size=1, max_size=64))
def test_what_is_changed_is_refused_or_of_no_meaning(
    tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    """Octets changed anywhere before the partitions are found, or lie where nothing reads: never another error."""
    path = tmp_path_factory.mktemp("gpt") / "disk"
    path.write_bytes(good())
    whole = read_table(path)
    path.write_bytes(changed(at, noise))

    with contextlib.suppress(BrokenTable):
        assert read_table(path) == whole


def test_what_lies_between_the_partitions_is_found(tmp_path: Path) -> None:
    """Data before, between and behind the partitions is told; the partitions' own is not."""
    path = tmp_path / "disk"
    places = {
        34 * SECTOR: True,
        2048 * SECTOR: False,
        3999 * SECTOR: False,
        4000 * SECTOR: True,
        (SECTORS - 34) * SECTOR: True,
    }
    for at, is_stray in places.items():
        path.write_bytes(changed(at, b"x"))
        found = list(stray(path, read_table(path)))

        assert any(start <= at < end for start, end in found) == is_stray, at
        assert bool(found) == is_stray


def test_a_partition_is_cut_out_whole(tmp_path: Path) -> None:
    """The file has the partition's octets, its empty end included."""
    path = tmp_path / "disk"
    path.write_bytes(changed(2048 * SECTOR + 5, b"content"))

    cut(path, read_table(path).partitions[0], tmp_path / "esp")

    assert (tmp_path / "esp").read_bytes() == (bytes(5) + b"content").ljust(1024 * SECTOR, b"\0")
