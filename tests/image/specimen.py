"""A small image that keeps every promise, as `image/opening.py` lays one out: the tests break it, one thing at a time.

The engine's units and the image's own files are the real ones, copied; of Debian there is as much as a check looks at.
"""

import json
import os
import shutil
import struct
from pathlib import Path

from image.lock import OWN
from image.opened import LOADERS, MANIFEST, Opened, Wanted
from image.promises import disk
from image.recipe import read_recipe

# ruff: noqa: S108 -- /tmp is the image's

ROOT = Path(__file__).parents[2]
VERSION, KERNEL, EPOCH = "0.1.0", "6.12.57+deb13-cloud-amd64", 1_790_000_000
DIGEST = "5" * 64
ROOTHASH = "ab" * 32
KERNEL_OF = read_recipe().kernel
COMMAND_LINE = " ".join([f"roothash={ROOTHASH}", *KERNEL_OF.command_line, *KERNEL_OF.console["x86_64"]])
INITRD = [f"usr/lib/modules/{KERNEL}/kernel/{name}.ko.xz" for name in ("erofs", "dm-verity")]
LOCK = {"chrony": ("4.6.1-3", DIGEST), "libc6": ("2.41-12", DIGEST)}
WANTED = Wanted(
    lock=LOCK,
    services=frozenset({"ec2", "logs"}),
    units=frozenset(
        {
            "chrony.service",
            "discriminat-firewall.service",
            "discriminat.service",
            "systemd-networkd.service",
            "systemd-resolved.service",
        }
    ),
)

SYSTEMD = "/usr/lib/systemd/system"
TREE = {
    "/etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\ndiscriminat:x:999:999::/nonexistent:/usr/sbin/nologin\n",
    "/etc/shadow": "root:*:20000:0:99999:7:::\ndiscriminat:!*:20000::::::\n",
    "/usr/lib/os-release": 'ID=debian\nVERSION_ID="13"\n',
    f"{SYSTEMD}/default.target": "[Unit]\nRequires=multi-user.target\n",
    f"{SYSTEMD}/multi-user.target": "[Unit]\nRequires=basic.target\nWants=chrony.service systemd-networkd.service\n",
    f"{SYSTEMD}/local-fs.target": "[Unit]\nRequires=var.mount\nWants=tmp.mount var-lib-discriminat.mount\n",
    f"{SYSTEMD}/tmp.mount": "[Mount]\nWhere=/tmp\nOptions=mode=1777,strictatime,nosuid,nodev,size=50%%\n",
    f"{SYSTEMD}/basic.target": "[Unit]\nRequires=sysinit.target\nWants=sockets.target\n",
    f"{SYSTEMD}/sysinit.target": "[Unit]\nWants=local-fs.target systemd-resolved.service\n",
    f"{SYSTEMD}/sockets.target": "[Unit]\nWants=systemd-journald.socket\n",
    f"{SYSTEMD}/systemd-journald.socket": "[Socket]\nListenStream=/run/systemd/journal/stdout\n",
    f"{SYSTEMD}/systemd-journald.service": "[Service]\nExecStart=/usr/lib/systemd/systemd-journald\n",
    f"{SYSTEMD}/systemd-networkd.service": "[Service]\nExecStart=!!/usr/lib/systemd/systemd-networkd\n",
    f"{SYSTEMD}/systemd-resolved.service": "[Service]\nExecStart=!!/usr/lib/systemd/systemd-resolved\n",
    f"{SYSTEMD}/chrony.service": "[Service]\nExecStart=!/usr/sbin/chronyd\n",
    f"/usr/lib/modules/{KERNEL}/modules.builtin": "kernel/drivers/nvme/host/nvme.ko\nkernel/fs/ext4/ext4.ko\n",
    **{
        f"/usr/lib/modules/{KERNEL}/kernel/{name}.ko.xz": "module"
        for name in (
            *("ena", "softdog", "erofs", "dm-verity"),
            *("nf_tables", "nfnetlink_queue", "nf_conntrack", "nf_conntrack_netlink"),
        )
    },
    "/usr/lib/python3/dist-packages/botocore/data/endpoints.json": "{}",
    "/usr/lib/python3/dist-packages/botocore/data/ec2/2016-11-15/service-2.json.gz": "ec2",
    "/usr/lib/python3/dist-packages/botocore/data/logs/2014-03-28/service-2.json.gz": "logs",
    "/usr/bin/discriminat": "#!/usr/bin/python3\n",
    "/usr/bin/nsupdate-assembly": "ends in `as`, and is no assembler\n",
}


def put(directory: Path, path: str, content: str | bytes, mode: int = 0o644) -> Path:
    """Write a file of the image, with the directories above it."""
    place = directory / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    assert place.parent.resolve().is_relative_to(directory.resolve()), f"{path} leads out of the image"
    place.unlink(missing_ok=True)  # it may be a link to elsewhere, such as a mask
    place.write_bytes(content.encode() if isinstance(content, str) else content)
    place.chmod(mode)
    return place


def executable(sections: dict[str, bytes], machine: int = 0x8664) -> bytes:
    """Return a PE file with these sections, and nothing that could run."""
    header = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    table, content = b"", b""
    start = 0x40 + 24 + 40 * len(sections)
    for name, octets in sections.items():
        padded = octets + bytes(-len(octets) % 16)
        table += struct.pack(
            "<8sIIIIIIHHI", name.encode(), len(octets), 0, len(padded), start + len(content), 0, 0, 0, 0, 0
        )
        content += padded
    return header + b"PE\0\0" + struct.pack("<HHIIIHH", machine, len(sections), 0, 0, 0, 0, 0) + table + content


def loader(command_line: str = COMMAND_LINE, kernel: bytes = b"kernel", initrd: bytes = b"initrd") -> bytes:
    """Return a unified kernel image."""
    return executable(
        {
            ".linux": kernel,
            ".initrd": initrd,
            ".cmdline": command_line.encode(),
            ".uname": KERNEL.encode(),
            ".osrel": b"ID=debian",
        }
    )


def grub(command_line: str = COMMAND_LINE) -> str:
    """Return GRUB's configuration."""
    return f"linux /vmlinuz {command_line}\ninitrd /initrd\nboot\n"


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON document."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def make(directory: Path, arch: str = "x86_64") -> Opened:
    """Lay out an image that keeps every promise."""
    root = directory / "root"
    shutil.copytree(ROOT / "appliance/systemd/usr", root / "usr", symlinks=True)
    shutil.copytree(ROOT / "image/rootfs", root, symlinks=True, dirs_exist_ok=True)
    for path, content in TREE.items():
        put(root, path, content)
    debian = {name: version for name, (version, _) in LOCK.items()}
    packages = debian | dict.fromkeys(OWN, VERSION)
    put(root, "/var/lib/dpkg/status", "\n".join(stanza(name, version) for name, version in packages.items()))
    for folder in ("tmp", "var/tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder).chmod(0o1777)
    about = {
        "schema": 1, "name": "discriminat", "version": VERSION, "architecture": arch, "commit": "c0ffee",
        "source_date_epoch": EPOCH, "debian": "13.2", "suite": "trixie", "kernel": KERNEL, "packages": debian,
    }  # fmt: skip
    put(root, MANIFEST, json.dumps(about))

    esp = directory / "esp"
    put(esp, f"/{LOADERS[arch]}", loader())
    facts = {
        "octets": 800 << 20, "sha256": DIGEST, "compressed": 120 << 20, "stray": [],
        "partitions": layout(arch), "loader_machine": arch, "initrd": INITRD,
        "filesystems": {"bios": "", "esp": "vfat", "root": "erofs", "root-verity": "", "state": "ext4"},
        "verity": {"roothash": ROOTHASH, "verified": True, "said": ""},
        "state": {"label": disk.STATE_LABEL, "files": ["lost+found"]},
    }  # fmt: skip
    if arch == "x86_64":
        put(esp, "/vmlinuz", b"kernel")
        put(esp, "/initrd", b"initrd")
        facts |= {"bios": [], "grub": grub()}
    put(directory, "disk.json", json.dumps(facts))
    told = {"sha256": DIGEST, "octets": 800 << 20, "roothash": ROOTHASH, "version": VERSION, "architecture": arch}
    put(directory, "report.json", json.dumps(told))
    components = [
        {
            "name": name, "version": version, "licenses": [{"license": {"id": "MIT"}}],
            "hashes": [{"alg": "SHA-256", "content": DIGEST}] if name in LOCK else [],
        }
        for name, version in packages.items()
    ]  # fmt: skip
    put(directory, "sbom.json", json.dumps({"components": components}))
    for path in root.rglob("*"):
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
    return Opened(directory, WANTED)


def layout(arch: str = "x86_64") -> list[dict[str, object]]:
    """Return the partitions as `disk.json` has them."""
    partitions = [
        *([("bios", disk.BIOS, 1)] if arch == "x86_64" else []),
        ("esp", disk.ESP, 64),
        ("root", disk.ROOT[arch], 200),
        ("root-verity", disk.VERITY[arch], 2),
        ("state", "0fc63daf-8483-4772-8e79-3d69d8477de4", 512),
    ]
    found, start = [], 1 << 20
    for number, (name, kind, size) in enumerate(partitions, 1):
        place = {"number": number, "name": name, "type": str(kind), "id": str(kind), "start": start, "size": size << 20}
        found.append(place)
        start += size << 20
    return found


def stanza(name: str, version: str) -> str:
    """Return what dpkg writes of an installed package."""
    return f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
