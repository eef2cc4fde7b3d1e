"""The disk boots one way only: two firmwares, one kernel, one command line, one root that cannot be changed."""

import re
import uuid
from collections.abc import Iterator

from image.opened import Boot, Opened
from image.promises.promise import Promise

# UAPI Group, "Discoverable Partitions Specification"; UEFI 2.10, section 5.3.3; the first is GRUB's own
BIOS = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ROOT = {
    "x86_64": uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    "arm64": uuid.UUID("b921b045-1df0-41c3-af44-4c6f280d3fae"),
}
VERITY = {
    "x86_64": uuid.UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
    "arm64": uuid.UUID("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
}
LAYOUT = ("bios", "esp", "root", "root-verity", "state")
MIB = 1 << 20
LARGEST = 1024 * MIB  # octets of the whole disk
LARGEST_COMPRESSED = 300 * MIB
STATE = 512 * MIB
STATE_LABEL = "discriminat-state"[:16]  # all that ext4 keeps

GRUB_COMMANDS = {"serial", "terminal_input", "terminal_output", "linux", "initrd", "boot"}
CONSOLES = {"x86_64": "ttyS0", "arm64": "ttyS0"}  # EC2's serial console of both
WANTED_WORDS = (
    "nvme_core.io_timeout=4294967295",  # as AWS advises for EBS
    "panic=10",
    "rd.emergency=reboot",
    "rd.shell=0",
    "systemd.gpt_auto=0",
    "systemd.verity_root_options=panic-on-corruption",
)
# What may stand beside them. Anything else could open a door, as init=, rd.break or systemd.debug_shell would.
HARMLESS_WORDS = re.compile(
    r"ro|quiet|loglevel=[0-7]|console=(?:tty0|(?:ttyS0|ttyAMA0)(?:,115200(?:n8)?)?)|root=/dev/mapper/root|"
    r"rootfstype=erofs|roothash=[0-9a-f]{64}|systemd\.show_status=(?:auto|error|no|yes)"
)


def layout(image: Opened) -> Iterator[str]:
    """Find what is wrong with the partition table, and what lies outside the partitions."""
    if broken := image.disk.get("broken"):
        yield f"the partition table is broken: {broken}"
        return
    arch = image.architecture
    kinds = {"bios": BIOS, "esp": ESP, "root": ROOT.get(arch), "root-verity": VERITY.get(arch)}
    expected = LAYOUT if arch == "x86_64" else LAYOUT[1:]
    found = image.disk.get("partitions", [])
    if tuple(partition["name"] for partition in found) != expected:
        yield f"the partitions are {', '.join(p['name'] for p in found) or 'none'}, expected {', '.join(expected)}"
    for partition in found:
        kind = kinds.get(partition["name"])
        if kind is not None and uuid.UUID(partition["type"]) != kind:
            yield f"the partition {partition['name']} has the type {partition['type']}"
    for start, end in image.disk.get("stray", []):
        yield f"octets {start} to {end} hold data outside every partition"


def verified_root(image: Opened) -> Iterator[str]:
    """Find why the root that is mounted might not be the one that was built."""
    verity = image.disk.get("verity", {})
    for name, boot in _boots(image):
        roots = re.findall(r"(?:^|\s)roothash=(\S+)", boot.command_line)
        if roots != [verity.get("roothash")]:
            yield f"{name}: the command line has the root hash {', '.join(roots) or 'of nothing'}"
    if not verity.get("verified"):
        yield f"the root does not match its hash: {verity.get('said') or 'it was not verified'}"
    if image.disk.get("filesystems", {}).get("root") != "erofs":
        yield "the root is no erofs, which nothing can write to"
    for line in image.tree.text("/etc/fstab").splitlines():
        fields = line.split()
        if len(fields) > 3 and not line.startswith("#") and fields[1] == "/" and "ro" not in fields[3].split(","):
            yield "/etc/fstab mounts the root writable"


def command_line(image: Opened) -> Iterator[str]:
    """Find words that the kernel is not given, and words that could open a door."""
    for name, boot in _boots(image):
        words = boot.command_line.split()
        for word in WANTED_WORDS:
            if word not in words:
                yield f"{name}: {word} is missing"
        for word in words:
            if word not in WANTED_WORDS and HARMLESS_WORDS.fullmatch(word) is None:
                yield f"{name}: {word} is not one of the words that may be there"


def serial_console(image: Opened) -> Iterator[str]:
    """Find why EC2's console output would stay empty."""
    for name, boot in _boots(image):
        last = re.findall(r"(?:^|\s)console=([^\s,]+)", boot.command_line)[-1:]
        if last != [CONSOLES.get(image.architecture)]:
            yield f"{name}: the console is {', '.join(last) or 'nowhere'}"


def boots_uefi(image: Opened) -> Iterator[str]:
    """Find why UEFI would not boot it."""
    if not image.architecture:
        yield "the EFI partition has no loader where firmware looks for it"
        return
    if image.disk.get("loader_machine") != image.architecture:
        yield f"the loader is for {image.disk.get('loader_machine') or 'no known machine'}"
    for section in (".linux", ".initrd", ".cmdline"):
        if not image.loader.get(section):
            yield f"the loader has no {section}"
    version, kernels = image.kernel, _kernels(image)
    if [version] != kernels:
        yield f"the loader's kernel is {version or 'unnamed'}, its modules are {', '.join(kernels) or 'missing'}"


def boots_bios(image: Opened) -> Iterator[str]:
    """Find why legacy BIOS would not boot it, or would boot something else."""
    if image.architecture == "arm64":
        return  # arm64 machines have no BIOS
    for fault in image.disk.get("bios", ["the boot sector was not read"]):
        yield str(fault)
    for line in image.grub_configuration.splitlines() or ["no configuration"]:
        if line.split()[:1] and line.split()[0] not in GRUB_COMMANDS:
            yield f"GRUB is told {line}"
    for command in ("linux", "initrd"):
        if len(re.findall(rf"^\s*{command}\s", image.grub_configuration, re.MULTILINE)) != 1:
            yield f"GRUB is not told exactly once which {command} to load"
    if image.bios != image.uefi:
        parts = [
            name
            for name in ("command_line", "kernel", "initrd")
            if getattr(image.bios, name) != getattr(image.uefi, name)
        ]
        yield f"BIOS and UEFI lead to another {', '.join(parts)}"


def drivers(image: Opened) -> Iterator[str]:
    """Find what the kernel or the initrd lacks for disk, root and network of an EC2 Nitro instance."""
    initrd = {_module(path) for path in image.disk.get("initrd", [])}
    for version in _kernels(image) or ("",):
        folder = f"/usr/lib/modules/{version}"
        built_in = {_module(line) for line in image.tree.text(f"{folder}/modules.builtin").splitlines()}
        modules = {_module(entry.path) for entry in image.tree.under(folder) if ".ko" in entry.path}
        for name in ("nvme", "erofs", "dm_verity"):
            if name not in built_in | initrd:
                yield f"{name} is neither in the kernel nor in the initrd: the root would not be found"
        netfilter = ("nf_tables", "nfnetlink_queue", "nf_conntrack", "nf_conntrack_netlink")
        for name in ("ena", "ext4", "softdog", *netfilter):
            if name not in built_in | modules:
                yield f"the kernel {version or 'is missing, and with it'} {name}"


def state_bounded(image: Opened) -> Iterator[str]:
    """Find what is wrong with the one place that outlives a boot."""
    state = image.disk.get("state", {})
    size = next((p["size"] for p in image.disk.get("partitions", []) if p["name"] == "state"), 0)
    if size != STATE:
        yield f"the state partition has {size} octets, expected {STATE}"
    if (state.get("label"), image.disk.get("filesystems", {}).get("state")) != (STATE_LABEL, "ext4"):
        yield f"the state partition is no ext4 with the label {STATE_LABEL}"
    if state.get("files") != ["lost+found"]:
        yield f"the state partition is not empty: {', '.join(state.get('files', [])) or 'it could not be read'}"


def sizes(image: Opened) -> Iterator[str]:
    """Find a disk that is too large to keep or to send."""
    raw, compressed = image.disk.get("octets", 0), image.disk.get("compressed", 0)
    if not 0 < raw < LARGEST:
        yield f"the disk has {raw / MIB:.0f} MiB, the bound is {LARGEST // MIB}"
    if not 0 < compressed < LARGEST_COMPRESSED:
        yield f"it compresses to {compressed / MIB:.0f} MiB, the bound is {LARGEST_COMPRESSED // MIB}"


def _boots(image: Opened) -> Iterator[tuple[str, Boot]]:
    yield "UEFI", image.uefi
    if image.architecture != "arm64":
        yield "BIOS", image.bios


def _kernels(image: Opened) -> list[str]:
    return sorted(
        entry.path.rpartition("/")[2]
        for entry in image.tree.under("/usr/lib/modules")
        if entry.is_directory and entry.path.count("/") == 4
    )


def _module(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


DISK = (
    Promise(
        "layout",
        "The disk has the recipe's partitions, both copies of its table are sound, and nothing lies between.",
        layout,
    ),
    Promise(
        "verified-root",
        "The root is read-only and verified block by block against the hash on the command line.",
        verified_root,
    ),
    Promise("boots-uefi", "UEFI boots it.", boots_uefi),
    Promise("boots-bios", "Legacy BIOS boots it (x86_64), with the same kernel, initrd and command line.", boots_bios),
    Promise(
        "command-line", "The kernel's command line holds what EC2 needs and nothing that opens a door.", command_line
    ),
    Promise("serial-console", "What it says at boot is in EC2's console output.", serial_console),
    Promise("drivers", "Kernel and initrd have what Nitro needs (NVMe, ENA), and the filter.", drivers),
    Promise("state-bounded", "What outlives a boot is a file system of 512 MiB, empty at first.", state_bounded),
    Promise("sizes", "It is smaller than 1 GiB, and than 300 MiB compressed.", sizes),
)
