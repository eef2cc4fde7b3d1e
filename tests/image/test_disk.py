"""Where partitions lie, and what makes a disk start without UEFI."""

import struct
from pathlib import Path

import pytest

from image import disk
from image.disk import MIB, SECTOR
from image.errors import ImageError
from image.recipe import ARCHITECTURES, read_recipe

ROOTHASH = "00112233445566778899aabbccddeeff" + "f" * 31 + "0"
SIZES = {"root": 100 * MIB + 1, "root-verity": 4096}
SETTINGS = read_recipe().disk


def layout(arch: str) -> list[disk.Partition]:
    return disk.layout(SETTINGS, ARCHITECTURES[arch], ROOTHASH, SIZES)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_partitions_follow_one_another(arch: str) -> None:
    """On whole mebibytes, without a gap, room for a partition table before and behind; content fits."""
    partitions = layout(arch)

    end = MIB
    for partition in partitions:
        assert partition.start == end
        assert partition.start % MIB == partition.size % MIB == 0
        assert partition.size >= SIZES.get(partition.name, 1)
        end += partition.size
    assert disk.size(partitions) == end + MIB


def test_names_in_order() -> None:
    """Only where machines without UEFI exist is there a partition for GRUB."""
    names = ["bios", "esp", "root", "root-verity", "state"]

    assert [partition.name for partition in layout("x86_64")] == names
    assert [partition.name for partition in layout("arm64")] == names[1:]


def test_root_is_found_by_its_hash() -> None:
    """systemd looks for partitions called after the root hash: Discoverable Partitions Specification."""
    uuids = {partition.name: partition.uuid for partition in layout("x86_64")}

    assert uuids["root"] == "00112233-4455-6677-8899-aabbccddeeff"
    assert uuids["root-verity"] == "ffffffff-ffff-ffff-ffff-fffffffffff0"
    assert len(set(uuids.values())) == len(uuids)


def test_script_is_what_sfdisk_reads() -> None:
    """In sectors, every partition with its type and name."""
    script = disk.script(SETTINGS, layout("arm64")).splitlines()

    assert script[:3] == ["label: gpt", f"label-id: {SETTINGS.uuid}", "first-lba: 2048"]
    assert script[3] == f"start=2048, size={96 * 2048}, type={disk.ESP_TYPE}, uuid={SETTINGS.esp_uuid}, name=esp"
    assert [line.rpartition("name=")[2] for line in script[3:]] == ["esp", "root", "root-verity", "state"]


def test_bios_boot() -> None:
    """The boot sector leads to GRUB's core, its first sector to the rest; the partition table stays as it was."""
    sector = bytes(440) + b"table" + bytes(SECTOR - 447) + b"\x55\xaa"
    boot, core = b"\x11" * SECTOR, b"\x22" * (3 * SECTOR + 1)

    first, padded = disk.bios_boot(sector, boot, core, MIB)

    assert first[440:] == sector[440:]
    assert struct.unpack_from("<Q", first, 0x5C) == (2048,)
    assert first[0x66:0x68] == b"\x90\x90"
    assert first[:0x5C] == boot[:0x5C]
    assert first[0x68:440] == boot[0x68:440]
    assert struct.unpack_from("<Q", padded, 0x1F4) == (2049,)
    assert len(padded) == 4 * SECTOR
    assert padded[0x1FC : len(core)] == core[0x1FC:]


@pytest.mark.parametrize(("boot", "core"), [(SECTOR, MIB + 1), (SECTOR - 1, MIB)])
def test_grub_that_does_not_fit(boot: int, core: int) -> None:
    """It would write over the next partition."""
    with pytest.raises(ImageError, match="GRUB does not fit"):
        disk.bios_boot(bytes(SECTOR), bytes(boot), bytes(core), MIB)


def test_holes_stay_holes(tmp_path: Path) -> None:
    """A copy is where it belongs, and takes no room for what is empty."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"a" * MIB + bytes(6 * MIB) + b"b")
    with target.open("wb") as file:
        file.truncate(16 * MIB)

    disk.copy_sparse(source, target, 2 * MIB)

    assert target.read_bytes() == bytes(2 * MIB) + source.read_bytes() + bytes(7 * MIB - 1)
    assert target.stat().st_blocks * 512 < 3 * MIB


@pytest.mark.parametrize("kernels", [[], ["6.12.1-cloud-amd64", "6.12.2-cloud-amd64"]])
def test_one_kernel(kernels: list[str], tmp_path: Path) -> None:
    """A tree of two kernels, or of none, is not one to choose from."""
    for name in kernels:
        (tmp_path / "usr/lib/modules" / name).mkdir(parents=True)
    (tmp_path / "usr/lib/modules").mkdir(parents=True, exist_ok=True)

    with pytest.raises(ImageError, match=f"the tree has {len(kernels)} kernels, want one"):
        disk.only_kernel(tmp_path)


def test_the_kernel(tmp_path: Path) -> None:
    """It is called what its modules are called."""
    (tmp_path / "usr/lib/modules/6.12.1-cloud-amd64").mkdir(parents=True)

    assert disk.only_kernel(tmp_path) == "6.12.1-cloud-amd64"
