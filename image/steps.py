"""How the image is made: STEPS, in this order. Each leaves a file or a tree in the working directory for the next."""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from image import agent, apt, disk, emulation, files, lock, manifest, package, sbom
from image.errors import ImageError
from image.order import Order
from image.recipe import native
from image.tools import CACHE, Tree, bootstrap, tools

ROOTFS = Path(__file__).with_name("rootfs")
GRUB_MODULES = ("biosdisk", "part_gpt", "fat", "linux", "serial", "terminal", "normal")
GRUB_SCRIPT = """\
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
linux /boot/vmlinuz {command_line}
initrd /boot/initrd
boot
"""


@dataclass
class Bake:
    """One build: what is asked for, and what the steps have found so far."""

    order: Order
    work: Path
    sources: list[apt.Source]
    renew_lock: bool = False
    locks: dict[Path, bytes] = field(default_factory=lock.contents)  # as they were when it began
    tools: Tree = field(init=False)
    compiler: Tree = field(init=False)
    kernel: str = ""
    roothash: str = ""
    packages: list[lock.Package] = field(default_factory=list)
    partitions: list[disk.Partition] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The tree that becomes the root file system."""
        return self.work / "root"

    @property
    def epoch(self) -> str:
        """The image's time, as programs take it."""
        return str(self.order.revision.epoch)

    @property
    def foreign(self) -> bool:
        """Whether this machine cannot run the image's programs by itself."""
        return self.order.arch != native()

    @property
    def command_line(self) -> str:
        """The kernel's command line; its root hash is what all that is read from the root is checked against."""
        kernel = self.order.recipe.kernel
        return " ".join([f"roothash={self.roothash}", *kernel.command_line, *kernel.console[self.order.arch.name]])

    def tool(self, *arguments: str, **environment: str) -> str:
        """Run a tool in the working directory; times that it writes are the commit's."""
        return self.tools.run(arguments, self.work, SOURCE_DATE_EPOCH=self.epoch, **environment)


def make_tools(bake: Bake) -> None:
    """Make the trees that the other steps work with, unless they are there."""
    bake.tools = tools("bake", bake.sources, renew_lock=bake.renew_lock)
    bake.compiler = tools("cross" if bake.foreign else "engine", bake.sources, renew_lock=bake.renew_lock)


def make_packages(bake: Bake) -> None:
    """Compile the engine and pack it; our packages become an archive that apt reads."""
    debs, built = bake.work / "debs", bake.work / "packages"
    debs.mkdir()
    built.mkdir()
    also = agent.fetch(bake.order, debs)
    shutil.copy(package.make_engine(bake.compiler, built, bake.order, cross=bake.foreign), debs)
    shutil.copy(package.make_whole(bake.compiler, built, bake.order, also), debs)
    package.index(debs, bake.compiler)


def make_root(bake: Bake) -> None:
    """Install Debian's packages and ours into the tree that becomes the root file system."""
    recipe = bake.order.recipe
    own = f"deb [trusted=yes] copy:{quote(str(bake.work / 'debs'))} ./"
    with emulation.of(bake.order.arch, bake.sources):
        bootstrap(
            bake.root,
            recipe.suite,
            ["discriminat-image"],
            [own, *(source.line() for source in bake.sources)],
            options=[
                f"--architectures={bake.order.arch.debian}",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.exclude),
                *(f"--dpkgopt=path-include={pattern}" for pattern in recipe.include),
            ],
            environment={"SOURCE_DATE_EPOCH": bake.epoch},
            fresh=bake.renew_lock,
        )


def compare_lock(bake: Bake) -> None:
    """Refuse packages that are not those of the lock. A lock that was renewed is not the commit's any more."""
    own = [path.name.split("_")[0] for path in (bake.work / "debs").glob("*.deb")]
    bake.packages = lock.installed(bake.root, CACHE, own)
    lock.settle(lock.path(bake.order.arch), bake.packages, renew=bake.renew_lock)
    if lock.contents() != bake.locks:
        bake.order = replace(bake.order, revision=bake.order.revision.as_changed())


def lock_builders(bake: Bake) -> None:
    """Renew the locks of the tools that a machine of the image's own architecture bakes with, as Packer's is."""
    with emulation.of(bake.order.arch, bake.sources):
        for kind in ("bake", "engine"):
            tools(kind, bake.sources, renew_lock=True, machine=bake.order.arch)


def furnish_root(bake: Bake) -> None:
    """Lay our files over Debian's, switch on what runs, remove what no box needs, say what is in it."""
    bake.kernel = disk.only_kernel(bake.root)
    shutil.copyfile(bake.root / f"boot/vmlinuz-{bake.kernel}", bake.work / "vmlinuz")
    files.remove(bake.root, bake.order.recipe.remove)
    files.lay(ROOTFS, bake.root)
    agent.enable(bake.order, bake.root)
    files.harden(bake.root)
    bake.tool("systemctl", "--root=/work/root", "preset-all")
    debian = (bake.root / "etc/debian_version").read_text(encoding="ascii").strip()
    told = manifest.inner(bake.order, debian, bake.kernel, bake.packages)
    manifest.write(bake.root / "usr/lib/discriminat/manifest.json", told)
    files.backdate(bake.root, bake.order.revision.epoch)


def list_materials(bake: Bake) -> None:
    """Write the bill of materials, and the list of source packages, that will lie beside the disk."""
    target, epoch = bake.work / "disk.cdx.json", bake.order.revision.epoch
    sbom.write(bake.root, bake.packages, target, epoch=epoch, name=bake.order.name)


def make_initrd(bake: Bake) -> None:
    """Make the initrd, of the root's own programs: it opens the verified root and does nothing else."""
    initrd = bake.order.recipe.initrd
    bake.tool(
        *("dracut", "--sysroot=/work/root", "--kver", bake.kernel, "--no-hostonly", "--reproducible", "--force"),
        *("--no-early-microcode", "--tmpdir=/tmp", "--compress=zstd -15 -T1 -q"),
        *("--modules", " ".join(initrd.modules), "--drivers", " ".join(initrd.drivers)),
        *("--force-drivers", " ".join(initrd.force_drivers), "--omit-drivers", " ".join(initrd.omit_drivers)),
        "/work/initrd",
        dracutbasedir="/usr/lib/dracut",
        **emulation.for_dracut(bake.order.arch, bake.work),
    )


def make_root_filesystem(bake: Bake) -> None:
    """Make the root file system, and the hash tree that every block of it is checked against."""
    settings = bake.order.recipe.disk
    bake.tool("mkfs.erofs", "--quiet", "-zzstd", "-C65536", "-U", settings.root_uuid, "root.img", "root")
    bake.tool(
        *("veritysetup", "format", "root.img", "root-verity.img", "--root-hash-file=roothash"),
        *("--salt", settings.verity_salt, "--uuid", settings.verity_uuid),
    )
    bake.roothash = (bake.work / "roothash").read_text(encoding="ascii").strip()


def make_kernel_image(bake: Bake) -> None:
    """Join kernel, initrd and command line to one program that UEFI starts."""
    bake.tool(
        *("ukify", "build", "--linux=vmlinuz", "--initrd=initrd", f"--cmdline={bake.command_line}"),
        *("--os-release=@root/usr/lib/os-release", f"--uname={bake.kernel}", f"--efi-arch={bake.order.arch.efi_arch}"),
        *(f"--stub=root/usr/lib/systemd/boot/efi/linux{bake.order.arch.efi_arch}.efi.stub", "--output=uki.efi"),
    )


def make_esp(bake: Bake) -> None:
    """Make the EFI system partition; GRUB, which reads no UKI, finds kernel and initrd beside it."""
    settings, arch = bake.order.recipe.disk, bake.order.arch
    contents = {f"EFI/BOOT/BOOT{arch.efi_arch.upper()}.EFI": "uki.efi"}
    if arch.bios:
        contents |= {"boot/vmlinuz": "vmlinuz", "boot/initrd": "initrd"}
    with (bake.work / "esp.img").open("wb") as file:
        file.truncate(settings.esp_mib * disk.MIB)
    bake.tool("mkfs.vfat", "-F32", "-n", "ESP", "-i", settings.esp_serial, "--invariant", "esp.img")
    parents = (str(parent) for name in contents for parent in reversed(Path(name).parents[:-1]))
    for directory in dict.fromkeys(parents):
        bake.tool("mmd", "-i", "esp.img", f"::{directory}")
    for name, source in contents.items():
        bake.tool("mcopy", "-i", "esp.img", source, f"::{name}")


def make_state(bake: Bake) -> None:
    """Make the file system that outlives a boot, empty."""
    settings = bake.order.recipe.disk
    bake.tool(
        *("mke2fs", "-q", "-t", "ext4", "-L", "discriminat-state", "-U", settings.state_uuid, "-m", "0"),
        *("-E", f"hash_seed={settings.state_uuid},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"),
        *("-O", "^orphan_file", "-J", "size=16", "state.img", f"{settings.state_mib}M"),
    )


def assemble_disk(bake: Bake) -> None:
    """Put the partitions onto one disk."""
    target, settings = bake.work / "disk.raw", bake.order.recipe.disk
    sizes = {name: (bake.work / f"{name}.img").stat().st_size for name in ("root", "root-verity")}
    bake.partitions = disk.layout(settings, bake.order.arch, bake.roothash, sizes)
    with target.open("wb") as file:
        file.truncate(disk.size(bake.partitions))
    (bake.work / "table").write_text(disk.script(settings, bake.partitions), encoding="ascii")
    bake.tool("sh", "-euc", "sfdisk --quiet disk.raw <table")
    for partition in bake.partitions:
        content = bake.work / f"{partition.name}.img"
        if content.exists():
            disk.copy_sparse(content, target, partition.start)


def make_bios_boot(bake: Bake) -> None:
    """Let machines without UEFI start the same kernel, by GRUB."""
    if not bake.order.arch.bios:
        return
    (bake.work / "grub.cfg").write_text(GRUB_SCRIPT.format(command_line=bake.command_line), encoding="ascii")
    esp = 1 + [partition.name for partition in bake.partitions].index("esp")
    where = ("-o", "core.img", "-p", f"(,gpt{esp})/boot", "-c", "grub.cfg")
    bake.tool("grub-mkimage", "-O", "i386-pc", *where, *GRUB_MODULES)
    boot = (bake.tools.root / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    target, start = bake.work / "disk.raw", bake.partitions[0].start
    with target.open("rb") as file:
        sector = file.read(disk.SECTOR)
    first, core = disk.bios_boot(sector, boot, (bake.work / "core.img").read_bytes(), start)
    disk.write_at(target, 0, first)
    disk.write_at(target, start, core)


def measure_disk(bake: Bake) -> None:
    """Refuse a disk that is larger than promised; write down what was built."""
    target, limits = bake.work / "disk.raw", bake.order.recipe.disk
    compressed = int(bake.tool("sh", "-euc", "zstd -q -T0 <disk.raw | wc -c"))
    for name, octets, mib in (
        ("disk", target.stat().st_size, limits.max_mib),
        ("compressed disk", compressed, limits.max_compressed_mib),
    ):
        if octets > mib * disk.MIB:
            raise ImageError(f"the {name} has {octets // disk.MIB} MiB, more than the {mib} of recipe.toml, [disk]")
    found = {
        "compressed_octets": compressed,
        "kernel": bake.kernel,
        "roothash": bake.roothash,
        "partitions": [dataclasses.asdict(partition) for partition in bake.partitions],
    }
    manifest.write(bake.work / "disk.raw.json", manifest.outer(bake.order, target, found))


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
    Step("bill of materials", list_materials),
    Step("initrd", make_initrd),
    Step("root file system", make_root_filesystem),
    Step("kernel image", make_kernel_image),
    Step("EFI partition", make_esp),
    Step("state partition", make_state),
    Step("disk", assemble_disk),
    Step("BIOS boot", make_bios_boot),
    Step("measures", measure_disk),
)
LOCKING = (*STEPS[:4], Step("tools of builders", lock_builders))  # what renews the locks, and bakes nothing
