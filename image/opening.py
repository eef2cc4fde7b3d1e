"""Takes an image apart: neither booted nor mounted, with the tools tree's programs on plain files.

Partitions are cut out of the disk, each a file; erofs is extracted, FAT copied, ext4 listed, dm-verity verified. What
is found wrong on the way is written down in `disk.json` for the checks to say; only a missing tool ends it.
"""

import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from image import cpio, gpt, grub, pe
from image.errors import ImageError
from image.opened import LOADERS, Opened, file_digest, write_document
from image.tools import Tree, require_root, tools

PIECE = 1 << 20
EROFS_MAGIC = (1024, b"\xe2\xe1\xf5\xe0")  # where, and what; Linux fs/erofs/erofs_fs.h
EXT_MAGIC = (1080, b"\x53\xef")
GRUB_SECTOR_AT = 0x5C  # boot.img: sector of core.img; GRUB include/grub/i386/pc/boot.h


def open_image(path: Path, directory: Path) -> None:
    """Take the image at `path` apart into an empty directory, as `Opened` reads it.

    Raises:
        ImageError: there is no such file, a tool is missing, or we are not root.
    """
    if not path.is_file():
        raise ImageError(f"{path} is not there: bake an image first: make image")
    for folder in ("root", "esp"):
        (directory / folder).mkdir(parents=True)
    for beside, name in ((f"{path.name}.json", "report.json"), (f"{path.stem}.cdx.json", "sbom.json")):
        if path.with_name(beside).is_file():
            shutil.copyfile(path.with_name(beside), directory / name)
    disk: dict[str, Any] = {"octets": path.stat().st_size, "sha256": file_digest(path)}
    try:
        table = gpt.read_table(path)
    except gpt.BrokenTable as fault:
        write_document(directory / "disk.json", disk | {"broken": str(fault)})
        return
    require_root()
    tree = tools("bake")
    parts = {partition.name: partition for partition in table.partitions}
    disk["partitions"] = [
        {"number": p.number, "name": p.name, "type": str(p.type), "id": str(p.id), "start": p.start, "size": p.size}
        for p in table.partitions
    ]
    disk["stray"] = list(stray(path, table))
    for name, partition in parts.items():
        cut(path, partition, directory / f"{name}.part")
    disk["filesystems"] = {name: _file_system(directory / f"{name}.part") for name in parts}
    disk["compressed"] = _compressed(tree, path)
    if "esp" in parts:
        disk |= _read_esp(tree, directory)
    if "bios" in parts:
        disk["bios"] = list(bios_faults(path, parts["bios"]))
        try:
            disk["grub"] = grub.configuration((directory / "bios.part").read_bytes())
        except grub.BrokenCore as fault:
            disk["bios"].append(str(fault))
    write_document(directory / "disk.json", disk)
    if "root" in parts:
        disk["verity"] = _read_root(tree, directory, Opened(directory).uefi.command_line)
    if "state" in parts:
        disk["state"] = _read_state(tree, directory)
    for name in parts:
        (directory / f"{name}.part").unlink()
    write_document(directory / "disk.json", disk)


def cut(path: Path, partition: gpt.Partition, target: Path) -> None:
    """Copy a partition into a file of its own, leaving holes where it is empty."""
    with path.open("rb") as disk, target.open("wb") as file:
        disk.seek(partition.start)
        for at in range(0, partition.size, PIECE):
            octets = disk.read(min(PIECE, partition.size - at))
            if octets.count(0) != len(octets):
                file.seek(at)
                file.write(octets)
        file.truncate(partition.size)


def stray(path: Path, table: gpt.Table) -> Iterator[tuple[int, int]]:
    """Yield from where to where the disk holds data that belongs to no partition, in pieces of a mebibyte."""
    tables = gpt.SECTOR * (2 + gpt.TABLE_SECTORS)
    at = tables
    with path.open("rb") as disk:
        for start, end in [*sorted((p.start, p.end) for p in table.partitions), (table.size - tables + gpt.SECTOR, 0)]:
            disk.seek(at)
            while at < start:
                octets = disk.read(min(PIECE, start - at))
                if octets.count(0) != len(octets):
                    yield at, at + len(octets)
                at += len(octets)
            at = end


def bios_faults(path: Path, core: gpt.Partition) -> Iterator[str]:
    """Yield what keeps the boot sector from reaching GRUB in its partition."""
    with path.open("rb") as disk:
        boot = disk.read(gpt.SECTOR)
        disk.seek(core.start)
        first = disk.read(gpt.SECTOR)
    sector = core.start // gpt.SECTOR
    if not any(boot[:GRUB_SECTOR_AT]):
        yield "the boot sector is empty"
    elif struct.unpack_from("<Q", boot, GRUB_SECTOR_AT)[0] != sector:
        yield "the boot sector does not lead to the partition of GRUB"
    following, sectors = struct.unpack_from("<QH", first, grub.LIST_AT)
    if following != sector + 1 or not 0 < sectors < core.size // gpt.SECTOR:
        yield "GRUB's first sector does not lead to the rest of it"


def _file_system(part: Path) -> str:
    with part.open("rb") as file:
        octets = file.read(2048)
    for name, (at, magic) in (("erofs", EROFS_MAGIC), ("ext4", EXT_MAGIC)):
        if octets[at : at + len(magic)] == magic:
            return name
    return "vfat" if octets[82:90] == b"FAT32   " else ""


def _compressed(tree: Tree, path: Path) -> int:
    return int(tree.run(["sh", "-c", 'zstd -T0 -q -c "$0" | wc -c', path.name], work=path.parent))


def _read_esp(tree: Tree, directory: Path) -> dict[str, Any]:
    """Copy the EFI partition's files; say what machine the loader is for, what GRUB is told, what the initrd holds."""
    try:
        tree.run(["mcopy", "-s", "-m", "-Q", "-i", "esp.part", "::/", "esp"], work=directory)
    except ImageError as fault:
        return {"esp": str(fault)}
    image = Opened(directory)
    found: dict[str, Any] = {}
    octets = image.esp.octets(f"/{LOADERS.get(image.architecture, '')}")
    try:
        found["loader_machine"] = pe.machine(octets)
    except pe.BrokenExecutable as fault:
        found["loader_machine"] = str(fault)
    try:
        found["initrd"] = sorted(set(cpio.names(image.loader.get(".initrd", b""), _unzstd(tree, directory))))
    except cpio.BrokenArchive as fault:
        found["initrd_broken"] = str(fault)
    return found


def _unzstd(tree: Tree, directory: Path) -> cpio.Decompress:
    def unzstd(octets: bytes) -> bytes:
        (directory / "initrd.zst").write_bytes(octets)
        tree.run(["zstd", "-d", "-q", "-f", "initrd.zst", "-o", "initrd.cpio"], work=directory)
        plain = (directory / "initrd.cpio").read_bytes()
        for name in ("initrd.zst", "initrd.cpio"):
            (directory / name).unlink()
        return plain

    return unzstd


def _read_root(tree: Tree, directory: Path, command_line: str) -> dict[str, Any]:
    """Verify the root against the hash that the loader's command line has, and extract it, verified or not."""
    said = []
    hashes = re.findall(r"(?:^|\s)roothash=([0-9a-f]{64})(?=\s|$)", command_line)
    if len(hashes) != 1:
        said.append("the command line of the loader has no root hash")
    commands = [
        *(["veritysetup", "verify", "root.part", "root-verity.part", roothash] for roothash in hashes),
        ["fsck.erofs", "--extract=root", "--overwrite", "--preserve", "--xattrs", "root.part"],
    ]
    for command in commands:
        try:
            tree.run(command, work=directory)
        except ImageError as fault:
            said.append(str(fault))
    return {"roothash": "".join(hashes[:1]), "verified": not said, "said": "; ".join(said)}


def _read_state(tree: Tree, directory: Path) -> dict[str, Any]:
    """Say what the state partition is called and holds."""
    try:
        tree.run(["e2fsck", "-f", "-n", "state.part"], work=directory)
        about = tree.run(["dumpe2fs", "-h", "state.part"], work=directory)
        listing = tree.run(["debugfs", "-R", "ls -p /", "state.part"], work=directory)
    except ImageError as fault:
        return {"said": str(fault)}
    label = re.search(r"^Filesystem volume name:\s+(.*)$", about, re.MULTILINE)
    names = (line.split("/")[5] for line in listing.splitlines() if line.count("/") >= 6)
    return {"label": label[1] if label else "", "files": sorted(set(names) - {".", ".."})}
