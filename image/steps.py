"""How the image is made: STEPS, in this order. Each leaves a file or a tree in the working directory for the next."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from image import apt, disk, files, lock, manifest, package
from image.errors import ImageError
from image.recipe import Architecture, Recipe
from image.tools import Tree, bootstrap, tools

ROOTFS = Path(__file__).with_name("rootfs")
CACHE = "packages"  # of downloaded packages, beside the working directory


@dataclass
class Bake:
    """One build: what is asked for, and what the steps have found so far."""

    recipe: Recipe
    arch: Architecture
    revision: manifest.Revision
    work: Path
    sources: list[apt.Source]
    renew_lock: bool = False
    tools: Tree = field(init=False)
    kernel: str = ""
    roothash: str = ""
    packages: list[lock.Package] = field(default_factory=list)
    partitions: list[disk.Partition] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The tree that becomes the root file system."""
        return self.work / "root"

    @property
    def command_line(self) -> str:
        """The kernel's command line; its root hash is what all that is read from the root is checked against."""
        kernel = self.recipe.kernel
        return " ".join([f"roothash={self.roothash}", *kernel.command_line, *kernel.console[self.arch.name]])

    def tool(self, *arguments: str, **environment: str) -> str:
        """Run a tool in the working directory; times that it writes are the commit's."""
        return self.tools.run(arguments, self.work, SOURCE_DATE_EPOCH=str(self.revision.epoch), **environment)


def make_tools(bake: Bake) -> None:
    """Make the trees that the other steps work with, unless they are there."""
    bake.tools = tools("bake", bake.sources)
    tools("engine", bake.sources)


def make_packages(bake: Bake) -> None:
    """Compile the engine and pack it; the packages become an archive that apt reads."""
    compiler = tools("engine", bake.sources)
    debs, version, epoch = bake.work / "debs", bake.revision.version, bake.revision.epoch
    debs.mkdir()
    (bake.work / "engine").mkdir()
    made = package.engine(compiler, bake.work / "engine", bake.arch, version, epoch)
    shutil.copy(made, debs)
    shutil.copy(made, bake.work.parent)
    shutil.copy(package.whole(compiler, bake.work / "engine", bake.arch, bake.recipe, version, epoch), debs)
    package.index(debs, compiler)


def make_root(bake: Bake) -> None:
    """Install Debian's packages and ours into the tree that becomes the root file system."""
    cache = bake.work.parent / CACHE / bake.arch.debian
    cache.mkdir(parents=True, exist_ok=True)
    archives = "var/cache/apt/archives"
    bootstrap(
        bake.root,
        bake.recipe.suite,
        ["discriminat-image"],
        [f"deb [trusted=yes] copy:{bake.work / 'debs'} ./", *(source.line() for source in bake.sources)],
        options=[
            f"--architectures={bake.arch.debian}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in bake.recipe.exclude),
            *(f"--dpkgopt=path-include={pattern}" for pattern in bake.recipe.include),
            "--skip=download/empty,essential/unlink",
            f'--setup-hook=mkdir -p "$1/{archives}" && cp --link --update=none {cache}/*.deb "$1/{archives}/" || true',
            f'--customize-hook=cp --no-clobber "$1/{archives}"/*.deb {cache}/',
        ],
        environment={"SOURCE_DATE_EPOCH": str(bake.revision.epoch)},
    )
    bake.packages = lock.installed(bake.tools, bake.work, cache)


def compare_lock(bake: Bake) -> None:
    """Refuse packages that are not those of the lock."""
    path = lock.path(bake.arch)
    if bake.renew_lock:
        lock.write(path, bake.packages)
    lock.compare(path, bake.packages)


def furnish_root(bake: Bake) -> None:
    """Lay our files over Debian's, switch on what runs, remove what no box needs, say what is in it."""
    bake.kernel = manifest.kernel(bake.root)
    shutil.copyfile(bake.root / f"boot/vmlinuz-{bake.kernel}", bake.work / "vmlinuz")
    files.remove(bake.root, bake.recipe.remove)
    files.lay(ROOTFS, bake.root)
    bake.tool("systemctl", "--root=/work/root", "preset-all")
    bake.tool("systemd-hwdb", "--root=/work/root", "--usr", "--strict", "update")
    debian = (bake.root / "etc/debian_version").read_text(encoding="ascii").strip()
    told = manifest.inner(bake.revision, bake.arch, bake.recipe, debian, bake.kernel, bake.packages)
    manifest.write(bake.root / "usr/lib/discriminat/manifest.json", told)
    files.backdate(bake.root, bake.revision.epoch)


def make_initrd(bake: Bake) -> None:
    """Make the initrd, of the root's own programs: it opens the verified root and does nothing else."""
    bake.tool(
        *("dracut", "--sysroot=/work/root", "--kver", bake.kernel, "--no-hostonly", "--reproducible", "--force"),
        *("--no-early-microcode", "--tmpdir=/tmp", "--compress=zstd -15 -T1 -q"),
        *("--modules", "systemd systemd-initrd systemd-udevd systemd-veritysetup dm base udev-rules rootfs-block shutdown"),
        *("--drivers", " ".join(bake.recipe.kernel.drivers), "--force-drivers", "dm_verity erofs softdog"),
        "/work/initrd",
        dracutbasedir="/usr/lib/dracut",
    )


def make_root_filesystem(bake: Bake) -> None:
    """Make the root file system, and the hash tree that every block of it is checked against."""
    bake.tool("mkfs.erofs", "--quiet", "-zzstd", "-C65536", "-U", bake.recipe.disk.root_uuid, "root.img", "root")
    bake.tool(
        *("veritysetup", "format", "root.img", "root-verity.img", "--root-hash-file=roothash"),
        *("--salt", bake.recipe.disk.verity_salt, "--uuid", bake.recipe.disk.verity_uuid),
    )
    bake.roothash = (bake.work / "roothash").read_text(encoding="ascii").strip()


def make_kernel_image(bake: Bake) -> None:
    """Join kernel, initrd and command line to one program that UEFI starts."""
    bake.tool(
        *("ukify", "build", "--linux=vmlinuz", "--initrd=initrd", f"--cmdline={bake.command_line}"),
        *("--os-release=@root/usr/lib/os-release", f"--uname={bake.kernel}"),
        *(f"--stub=root/usr/lib/systemd/boot/efi/{bake.arch.stub}", "--output=uki.efi"),
    )


def make_esp(bake: Bake) -> None:
    """Make the EFI system partition; GRUB, which reads no UKI, finds kernel and initrd beside it."""
    names = {f"EFI/BOOT/{bake.arch.efi}": "uki.efi"}
    if bake.arch.bios:
        names |= {"boot/vmlinuz": "vmlinuz", "boot/initrd": "initrd"}
    with (bake.work / "esp.img").open("wb") as file:
        file.truncate(bake.recipe.disk.esp_mib * disk.MIB)
    bake.tool("mkfs.vfat", "-F32", "-n", "ESP", "-i", bake.recipe.disk.esp_serial, "--invariant", "esp.img")
    for directory in dict.fromkeys(str(parent) for name in names for parent in reversed(Path(name).parents[:-1])):
        bake.tool("mmd", "-i", "esp.img", f"::{directory}")
    for name, source in names.items():
        bake.tool("mcopy", "-i", "esp.img", source, f"::{name}")


def make_state(bake: Bake) -> None:
    """Make the file system that outlives a boot, empty."""
    settings = bake.recipe.disk
    bake.tool(
        *("mke2fs", "-q", "-t", "ext4", "-L", "discriminat-state", "-U", settings.state_uuid, "-m", "0"),
        *("-E", f"hash_seed={settings.state_uuid},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"),
        *("-O", "^orphan_file", "-J", "size=16", "state.img", f"{settings.state_mib}M"),
    )


def assemble_disk(bake: Bake) -> None:
    """Put the partitions onto one disk."""
    target = bake.work / "disk.raw"
    sizes = {name: (bake.work / f"{name}.img").stat().st_size for name in ("root", "root-verity")}
    bake.partitions = disk.layout(bake.recipe.disk, bake.arch, bake.roothash, sizes)
    with target.open("wb") as file:
        file.truncate(disk.size(bake.partitions))
    (bake.work / "table").write_text(disk.script(bake.recipe.disk, bake.partitions), encoding="ascii")
    bake.tool("sh", "-euc", "sfdisk --quiet disk.raw <table")
    for partition in bake.partitions:
        content = bake.work / f"{partition.name}.img"
        if content.exists():
            disk.copy_sparse(content, target, partition.start)


def make_bios_boot(bake: Bake) -> None:
    """Let machines without UEFI start the same kernel, by GRUB."""
    if not bake.arch.bios:
        return
    (bake.work / "grub.cfg").write_text(
        "serial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\n"
        f"linux /boot/vmlinuz {bake.command_line}\ninitrd /boot/initrd\nboot\n",
        encoding="ascii",
    )
    bake.tool(
        *("grub-mkimage", "-O", "i386-pc", "-o", "core.img", "-p", "(,gpt2)/boot", "-c", "grub.cfg"),
        *("biosdisk", "part_gpt", "fat", "linux", "serial", "terminal", "normal"),
    )
    boot = (bake.tools.root / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    target, start = bake.work / "disk.raw", bake.partitions[0].start
    with target.open("rb") as file:
        sector = file.read(disk.SECTOR)
    first, core = disk.bios_boot(sector, boot, (bake.work / "core.img").read_bytes(), start)
    disk.write_at(target, 0, first)
    disk.write_at(target, start, core)


def measure_disk(bake: Bake) -> None:
    """Refuse a disk that is larger than promised, and write what was built beside it."""
    compressed = int(bake.tool("sh", "-euc", "zstd -q -3 -T0 <disk.raw | wc -c"))
    octets = (bake.work / "disk.raw").stat().st_size
    for found, limit, name in (
        (octets, bake.recipe.disk.max_mib, "disk"),
        (compressed, bake.recipe.disk.max_compressed_mib, "compressed disk"),
    ):
        if found > limit * disk.MIB:
            raise ImageError(f"the {name} has {found // disk.MIB} MiB, more than {limit}: see recipe.toml, [disk]")
    told = manifest.outer(
        bake.work / "disk.raw", bake.revision, bake.arch, bake.kernel, bake.roothash, bake.partitions, compressed
    )
    manifest.write(bake.work / "disk.raw.json", told)


@dataclass(frozen=True)
class Step:
    """A named part of the build."""

    name: str
    run: Callable[[Bake], None]


STEPS = (
    Step("tools", make_tools),
    Step("packages of our own", make_packages),
    Step("root tree", make_root),
    Step("lock", compare_lock),
    Step("settings", furnish_root),
    Step("initrd", make_initrd),
    Step("root file system", make_root_filesystem),
    Step("kernel image", make_kernel_image),
    Step("EFI partition", make_esp),
    Step("state partition", make_state),
    Step("disk", assemble_disk),
    Step("BIOS boot", make_bios_boot),
    Step("measures", measure_disk),
)
