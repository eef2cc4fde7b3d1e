"""The disk: where each partition lies, and the sectors that a machine without UEFI starts from."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from image.errors import ImageError
from image.recipe import Architecture, Disk

SECTOR = 512
MIB = 1024 * 1024
BIOS_TYPE = "21686148-6449-6E6F-744E-656564454649"
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
STATE_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


@dataclass(frozen=True)
class Partition:
    """A partition: its content is the file of its name. Offsets and sizes in octets, whole MiB."""

    name: str
    type: str
    uuid: str
    size: int
    start: int = 0

    def line(self) -> str:
        """As sfdisk reads it."""
        start, size = self.start // SECTOR, self.size // SECTOR
        return f"start={start}, size={size}, type={self.type}, uuid={self.uuid}, name={self.name}"


def layout(disk: Disk, arch: Architecture, roothash: str, sizes: dict[str, int]) -> list[Partition]:
    """Return the partitions in their order, each at its place."""
    data, tree = partition_uuids(roothash)
    partitions = [
        Partition("bios", BIOS_TYPE, disk.bios_uuid, MIB),
        Partition("esp", ESP_TYPE, disk.esp_uuid, disk.esp_mib * MIB),
        Partition("root", arch.root_type, data, _whole_mib(sizes["root"])),
        Partition("root-verity", arch.verity_type, tree, _whole_mib(sizes["root-verity"])),
        Partition("state", STATE_TYPE, disk.state_uuid, disk.state_mib * MIB),
    ]
    return list(_placed(partitions if arch.bios else partitions[1:]))


def partition_uuids(roothash: str) -> tuple[str, str]:
    """Return the UUIDs of root and hash tree by which systemd finds them: the two ends of the root hash."""

    def uuid(digits: str) -> str:
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    return uuid(roothash[:32]), uuid(roothash[-32:])


def only_kernel(root: Path) -> str:
    """Return the version of the one kernel in a tree."""
    found = sorted(path.name for path in (root / "usr/lib/modules").iterdir())
    if len(found) != 1:
        raise ImageError(f"the tree has {len(found)} kernels, want one: {', '.join(found)}")
    return found[0]


def size(partitions: list[Partition]) -> int:
    """Return the size of the disk: a MiB is left for the second partition table at its end."""
    return partitions[-1].start + partitions[-1].size + MIB


def script(disk: Disk, partitions: list[Partition]) -> str:
    """Return sfdisk's input."""
    head = ("label: gpt", f"label-id: {disk.uuid}", f"first-lba: {MIB // SECTOR}")
    return "\n".join([*head, *(partition.line() for partition in partitions)]) + "\n"


def copy_sparse(source: Path, target: Path, start: int) -> None:
    """Copy a file into another from an offset on, leaving holes where it is empty."""
    empty = bytes(MIB)
    with source.open("rb") as reader, target.open("r+b") as writer:
        while block := reader.read(MIB):
            if block != empty[: len(block)]:
                writer.seek(start)
                writer.write(block)
            start += len(block)


def bios_boot(sector: bytes, boot: bytes, core: bytes, start: int) -> tuple[bytes, bytes]:
    """Return the disk's first sector and GRUB's core, made to find each other; `start` is where the core will lie.

    What grub-install does, which wants a block device: boot.img holds the sector of core.img at 0x5c and a jump at 0x66
    that a hard disk does not need; core.img's first sector holds that of the rest of it at 0x1f4.
    """
    if len(core) > MIB or len(boot) != SECTOR or len(sector) != SECTOR:
        raise ImageError(f"GRUB does not fit: boot of {len(boot)} octets, core of {len(core)}")
    lba = start // SECTOR
    first = bytearray(sector)
    first[:440] = boot[:440]
    struct.pack_into("<Q", first, 0x5C, lba)
    first[0x66:0x68] = b"\x90\x90"
    padded = bytearray(core + bytes(-len(core) % SECTOR))
    struct.pack_into("<Q", padded, 0x1F4, lba + 1)
    return bytes(first), bytes(padded)


def write_at(path: Path, start: int, content: bytes) -> None:
    """Write into a file that is there."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _whole_mib(octets: int) -> int:
    return -(-octets // MIB) * MIB


def _placed(partitions: list[Partition]) -> Iterator[Partition]:
    """Put each partition behind the one before it."""
    start = MIB
    for partition in partitions:
        yield replace(partition, start=start)
        start += partition.size
