"""What breaks each promise: a fault, how it is made in the image of `specimen.py`, and words of what is found."""

# ruff: noqa: S108 -- /tmp is the image's

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from image.opened import MANIFEST
from tests.image import specimen
from tests.image.specimen import COMMAND_LINE, KERNEL, SYSTEMD, edit, loader, put

Break = Callable[[Path], object]

DROP_IN = f"{SYSTEMD}/discriminat.service.d/90.conf"
STATUS = "/var/lib/dpkg/status"
STATE_MOUNT = f"{SYSTEMD}/var-lib-discriminat.mount"
NETWORKD_NEEDS_IT = f"{SYSTEMD}/systemd-networkd.service.d/10-discriminat.conf"
VERITY = "systemd.verity_root_options=panic-on-corruption"
DATA = "/usr/lib/python3/dist-packages/botocore/data"
KEY = "-----BEGIN PRIVATE KEY-----\n" + "A" * 64 + "\n"


def write(path: str, content: str, mode: int = 0o644) -> Break:
    """Put a file into the root."""
    return lambda image: put(image / "root", path, content, mode)


def replace(path: str, old: str, new: str) -> Break:
    """Change the text of a file of the root."""

    def change(image: Path) -> None:
        place = image / "root" / path.lstrip("/")
        text = place.read_text()
        assert old in text
        place.write_text(text.replace(old, new))

    return change


def remove(path: str) -> Break:
    """Take a file out of the root."""
    return lambda image: (image / "root" / path.lstrip("/")).unlink()


def both(*damages: Break) -> Break:
    """Do one after the other."""
    return lambda image: [damage(image) for damage in damages]


def pulled_in(name: str, text: str) -> Break:
    """Have a unit started at boot."""
    return both(write(f"{SYSTEMD}/{name}", text), write(f"/etc/systemd/system/multi-user.target.wants/{name}", text))


def unmasked(name: str) -> Break:
    """Have a unit there that the image masks."""
    return both(remove(f"/etc/systemd/system/{name}"), write(f"{SYSTEMD}/{name}", "[Service]\nExecStart=/x\n"))


def facts(**changes: object) -> Break:
    """Change what is true of the disk."""
    return lambda image: edit(image / "disk.json", **changes)


def boot(command_line: str, *, uefi: bool = True, bios: bool = True) -> Break:
    """Change the command line of one way of booting, or of both."""

    def change(image: Path) -> None:
        if uefi:
            put(image / "esp", "/EFI/BOOT/BOOTX64.EFI", loader(command_line))
        if bios:
            edit(image / "disk.json", grub=specimen.grub(command_line))

    return change


def without(word: str) -> str:
    assert f" {word}" in COMMAND_LINE
    return COMMAND_LINE.replace(f" {word}", "")


def sized(name: str, octets: int) -> Break:
    return facts(partitions=[part | {"size": octets} if part["name"] == name else part for part in specimen.layout()])


def esp(path: str, content: bytes) -> Break:
    return lambda image: put(image / "esp", path, content)


def describe(**changes: object) -> Break:
    return lambda image: edit(image / "root" / MANIFEST.lstrip("/"), **changes)


def component(**changes: object) -> Break:
    """Change a package in the bill of materials; nothing given takes it out."""

    def change(image: Path) -> None:
        bill = json.loads((image / "sbom.json").read_text())
        first, *others = bill["components"]
        (image / "sbom.json").write_text(json.dumps({"components": [first | changes, *others] if changes else others}))

    return change


def mode(path: str, bits: int) -> Break:
    return lambda image: (image / "root" / path.lstrip("/")).chmod(bits)


# promise: (what is wrong, how it is made wrong, words of the finding)
BREAKS: dict[str, list[tuple[str, Break, str]]] = {
    "closed-first": [
        ("not there", remove(f"{SYSTEMD}/discriminat-firewall.service"), "is not started at boot"),
        ("masked", write("/etc/systemd/system/discriminat-firewall.service", ""), "is not started at boot"),
        (
            "after the network",
            replace(f"{SYSTEMD}/discriminat-firewall.service", "Before=network-pre.target", "Before="),
            "ordered before",
        ),
        (
            "nobody waits",
            replace(f"{SYSTEMD}/discriminat-firewall.service", "Wants=network-pre.target", ""),
            "pull in network-pre",
        ),
        ("network without it", remove(NETWORKD_NEEDS_IT), "comes up although"),
        (
            "the requirement cleared",
            write("/etc/systemd/system/systemd-networkd.service.d/99.conf", "[Unit]\nRequires=\n"),
            "comes up although",
        ),
        ("open ruleset", replace("/usr/lib/discriminat/closed.nft", "policy drop", "policy accept"), "does not drop"),
        ("no ruleset", remove("/usr/lib/discriminat/closed.nft"), "does not drop"),
        (
            "a rule that lets through",
            replace("/usr/lib/discriminat/closed.nft", "- 10; policy drop;", "- 10; policy drop;\n accept"),
            "does not drop",
        ),
        (
            "loads nothing",
            write(f"{SYSTEMD}/discriminat-firewall.service.d/1.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n"),
            "loads no ruleset",
        ),
    ],
    "forwarding-off": [
        ("switched on later", write("/etc/sysctl.d/99-nat.conf", "net.ipv4.ip_forward=1\n"), "ip_forward is 1"),
        ("switched on by another name", write("/etc/sysctl.conf", "net/ipv4/ip_forward = 1\n"), "ip_forward is 1"),
        ("not set", remove("/usr/lib/sysctl.d/60-discriminat.conf"), "ip_forward is not set"),
        ("IPv6", write("/etc/sysctl.d/99.conf", "net.ipv6.conf.all.forwarding = 1\n"), "ipv6.conf.all.forwarding is 1"),
        (
            "networkd does it",
            write("/etc/systemd/network/10.network", "[Network]\nIPv4Forwarding=yes\n"),
            "IPv4Forwarding=yes",
        ),
    ],
    "engine-confined": [
        ("as root", write(DROP_IN, "[Service]\nUser=root\n"), "runs as root"),
        ("not pulled in", remove(f"{SYSTEMD}/multi-user.target.wants/discriminat.service"), "is not started"),
        ("not watched", write(DROP_IN, "[Service]\nWatchdogSec=\n"), "is not watched"),
        ("may gain rights", write(DROP_IN, "[Service]\nNoNewPrivileges=no\n"), "NoNewPrivileges=no"),
        ("may write everywhere", write(DROP_IN, "[Service]\nProtectSystem=full\n"), "ProtectSystem=full"),
        ("one capability more", write(DROP_IN, "[Service]\nCapabilityBoundingSet=CAP_SYS_ADMIN\n"), "CAP_SYS_ADMIN"),
        ("unbounded", write(DROP_IN, "[Service]\nCapabilityBoundingSet=\n"), "everything"),
    ],
    "kernel-settings": [
        ("not set", write(DROP_IN, "[Service]\nExecStartPre=\n"), "discriminat prepare"),
        (
            "without the right to",
            replace(f"{SYSTEMD}/discriminat.service", "=+/usr/bin/discriminat", "=/usr/bin/discriminat"),
            "as root",
        ),
        ("no program", remove("/usr/bin/discriminat"), "/usr/bin/discriminat is not there"),
    ],
    "nothing-else-runs": [
        ("a new service", pulled_in("telemetry.service", "[Service]\nExecStart=/x\n"), "telemetry.service is started"),
        ("a timer", pulled_in("apt-daily.timer", "[Timer]\nOnBootSec=1h\n"), "apt-daily.timer is started"),
        ("one that is missing", remove(f"{SYSTEMD}/chrony.service"), "chrony.service is not started"),
    ],
    "no-listeners": [
        (
            "a socket",
            write(f"{SYSTEMD}/systemd-journald.socket", "[Socket]\nListenStream=[::]:19531\n"),
            "listens at [::]:19531",
        ),
        ("port alone", write(f"{SYSTEMD}/systemd-journald.socket", "[Socket]\nListenDatagram=514\n"), "listens at 514"),
        ("DNS", write("/etc/systemd/resolved.conf.d/99.conf", "[Resolve]\nDNSStubListener=yes\n"), "DNSStubListener"),
        ("LLMNR", write("/etc/systemd/resolved.conf.d/99.conf", "[Resolve]\nLLMNR=resolve\n"), "LLMNR"),
        ("NTP", replace("/etc/chrony/chrony.conf", "\nport 0", ""), "`port 0`"),
        ("chronyc", replace("/etc/chrony/chrony.conf", "\ncmdport 0", ""), "`cmdport 0`"),
    ],
    "time": [
        ("another server", replace("/etc/chrony/chrony.conf", "169.254.169.123", "pool.ntp.org"), "pool.ntp.org"),
        ("one more", write("/etc/chrony/sources.d/a.sources", "pool 2.debian.pool.ntp.org\n"), "2.debian.pool.ntp.org"),
        (
            "whatever DHCP says",
            write("/etc/chrony/conf.d/dhcp.conf", "sourcedir /run/chrony-dhcp\n"),
            "/run/chrony-dhcp",
        ),
        ("not started", remove(f"{SYSTEMD}/chrony.service"), "chrony is not started"),
    ],
    "comes-back": [
        ("panic stays", write("/etc/sysctl.d/99.conf", "kernel.panic = 0\n"), "kernel.panic is 0"),
        ("oops goes on", write("/etc/sysctl.d/99.conf", "kernel.panic_on_oops = 0\n"), "panic_on_oops is 0"),
        (
            "no watchdog",
            write("/etc/systemd/system.conf.d/99.conf", "[Manager]\nRuntimeWatchdogSec=off\n"),
            "RuntimeWatchdogSec",
        ),
        ("no device for it", remove("/usr/lib/modules-load.d/discriminat.conf"), "softdog"),
    ],
    "writing-bounded": [
        (
            "journal on disk",
            write("/etc/systemd/journald.conf.d/99.conf", "[Journal]\nStorage=persistent\n"),
            "on a disk",
        ),
        (
            "journal without end",
            write("/etc/systemd/journald.conf.d/99.conf", "[Journal]\nRuntimeMaxUse=\n"),
            "RuntimeMaxUse",
        ),
        (
            "silent console",
            write("/etc/systemd/journald.conf.d/99.conf", "[Journal]\nForwardToConsole=no\n"),
            "console",
        ),
        (
            "/tmp without end",
            write("/etc/systemd/system/tmp.mount.d/99.conf", "[Mount]\nOptions=\nOptions=mode=1777\n"),
            "/tmp is mounted without",
        ),
        ("programs in the state", replace(STATE_MOUNT, ",noexec", ""), "noexec"),
        ("no /tmp", write("/etc/systemd/system/tmp.mount", ""), "nothing is mounted at /tmp"),
    ],
    "no-sshd": [
        ("the server", write("/usr/sbin/sshd", "ELF", 0o755), "/usr/sbin/sshd"),
        ("another one", write("/opt/x/dropbear", "ELF", 0o755), "dropbear"),
        ("its package", write(STATUS, specimen.stanza("openssh-server", "1:10.0")), "openssh-server"),
        ("its configuration", write("/etc/ssh/sshd_config", "PermitRootLogin yes\n"), "sshd_config"),
    ],
    "no-console-login": [
        ("a getty", unmasked("serial-getty@.service"), "serial-getty@ttyS0"),
        ("logind", unmasked("systemd-logind.service"), "systemd-logind"),
        ("a shell for debugging", unmasked("debug-shell.service"), "debug-shell"),
        (
            "root in an emergency",
            write("/etc/systemd/system/emergency.service.d/1.conf", "[Service]\nEnvironment=SYSTEMD_SULOGIN_FORCE=1\n"),
            "without a password",
        ),
    ],
    "accounts-locked": [
        ("a password", replace("/etc/shadow", "root:*:", "root:$y$j9T$abc:"), "root is not locked"),
        ("an empty one", replace("/etc/shadow", "root:*:", "root::"), "root is not locked"),
        ("a password in passwd", replace("/etc/passwd", "root:x:", "root::"), "root is not locked"),
        ("a shell", replace("/etc/passwd", "/root:/usr/sbin/nologin", "/root:/bin/bash"), "/bin/bash"),
        ("the default shell", replace("/etc/passwd", "/root:/usr/sbin/nologin", "/root:"), "has the shell /bin/sh"),
        ("a second root", replace("/etc/passwd", "discriminat:x:999", "discriminat:x:0"), "second root"),
        ("no shadow", remove("/etc/shadow"), "root is not locked"),
        ("nobody", write("/etc/passwd", ""), "is empty"),
        ("a broken line", write("/etc/passwd", "root:x:0\n"), "3 fields"),
    ],
    "no-secrets": [
        ("a key of SSH", write("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA"), "authorized_keys"),
        ("a host key", write("/etc/ssh/ssh_host_ed25519_key", "x"), "ssh_host_ed25519_key"),
        ("a private key", write("/etc/ssl/private/server.pem", KEY), "holds a private key"),
        ("one inside a text", write("/usr/share/x", "text\n" + KEY), "holds a private key"),
        ("an access key", write("/etc/x.ini", "aws_access_key_id = AKIAQ3EGSWXYZABCDEFG\n"), "AWS access key"),
        ("an identity", write("/etc/machine-id", "5b3a3f6257a34c9b8b5d9ad1f6a1c001\n"), "same identity"),
        ("one for D-Bus", write("/var/lib/dbus/machine-id", "5b3a3f6257a34c9b8b5d9ad1f6a1c001\n"), "same identity"),
        ("a history", write("/root/.bash_history", "ls\n"), ".bash_history"),
        ("a seed", write("/var/lib/systemd/random-seed", "x"), "random-seed"),
    ],
    "no-compilers": [
        ("gcc", write("/usr/bin/x86_64-linux-gnu-gcc-14", "ELF", 0o755), "gcc-14"),
        ("the compiler proper", write("/usr/libexec/gcc/x86_64-linux-gnu/14/cc1", "ELF", 0o755), "cc1"),
        ("ld", write("/usr/bin/ld.bfd", "ELF", 0o755), "ld.bfd"),
        ("as", write("/usr/bin/as", "ELF", 0o755), "/usr/bin/as "),
        ("make", write("/usr/bin/make", "ELF", 0o755), "/usr/bin/make "),
        ("pip", write("/usr/local/bin/pip3.13", "#!", 0o755), "pip3.13"),
        ("pip as a module", write("/usr/lib/python3/dist-packages/pip/__init__.py", ""), "dist-packages/pip "),
    ],
    "no-setuid": [
        ("setuid", write("/usr/bin/su", "ELF", 0o4755), "/usr/bin/su"),
        ("setgid", write("/usr/bin/chage", "ELF", 0o2755), "/usr/bin/chage"),
    ],
    "nothing-writable": [
        ("a file", write("/etc/x", "", 0o666), "/etc/x"),
        ("a directory", lambda image: (image / "root/opt").mkdir() or (image / "root/opt").chmod(0o777), "/opt"),
        (
            "a sticky one elsewhere",
            lambda image: (image / "root/opt").mkdir() or (image / "root/opt").chmod(0o1777),
            "/opt",
        ),
        ("/tmp without the sticky bit", mode("/tmp", 0o777), "/tmp"),
    ],
    "layout": [
        ("a broken table", facts(broken="the checksum of the entries in sector 2 is wrong"), "checksum"),
        ("one partition less", facts(partitions=specimen.layout()[:4]), "expected bios, esp"),
        (
            "another type",
            facts(partitions=[part | {"type": str(specimen.disk.ESP)} for part in specimen.layout()]),
            "has the type",
        ),
        ("data in between", facts(stray=[[17408, 1048576]]), "17408"),
    ],
    "verified-root": [
        (
            "a changed block",
            facts(verity={"roothash": specimen.ROOTHASH, "verified": False, "said": "block 7"}),
            "block 7",
        ),
        (
            "another hash for GRUB",
            boot(COMMAND_LINE.replace("roothash=ab", "roothash=cd"), uefi=False),
            "BIOS: the command line",
        ),
        ("no hash", boot(COMMAND_LINE.replace(f"roothash={specimen.ROOTHASH} ", "")), "of nothing"),
        ("a second hash", boot(f"{COMMAND_LINE} roothash={'cd' * 32}"), "cdcd"),
        ("a file system that can be written to", facts(filesystems={"root": "ext4", "state": "ext4"}), "no erofs"),
        ("mounted writable", write("/etc/fstab", "/dev/mapper/root / erofs rw 0 0\n"), "writable"),
    ],
    "boots-uefi": [
        ("no loader", lambda image: (image / "esp/EFI/BOOT/BOOTX64.EFI").unlink(), "no loader"),
        ("no PE file", esp("/EFI/BOOT/BOOTX64.EFI", b"#!/bin/sh"), "no .linux"),
        ("no initrd", esp("/EFI/BOOT/BOOTX64.EFI", loader(initrd=b"")), "no .initrd"),
        ("for another machine", facts(loader_machine="arm64"), "for arm64"),
        (
            "another kernel's modules",
            lambda image: shutil.move(image / f"root/usr/lib/modules/{KERNEL}", image / "root/usr/lib/modules/6.1"),
            "modules are 6.1",
        ),
    ],
    "boots-bios": [
        ("an empty boot sector", facts(bios=["the boot sector is empty"]), "is empty"),
        ("no configuration", facts(grub=""), "no configuration"),
        ("another kernel", esp("/vmlinuz", b"older"), "another kernel"),
        ("another initrd", esp("/initrd", b"older"), "another initrd"),
        ("another command line", boot(f"{COMMAND_LINE} quiet", uefi=False), "another command_line"),
    ],
    "command-line": [
        ("panic stays", boot(without("panic=10")), "panic=10 is missing"),
        ("NVMe gives up", boot(without("nvme_core.io_timeout=4294967295")), "io_timeout"),
        ("a shell where the root is not found", boot(without("rd.shell=0")), "rd.shell=0 is missing"),
        ("a changed block is an error to live with", boot(without(VERITY)), "panic-on-corruption is missing"),
        ("partitions are guessed", boot(without("systemd.gpt_auto=0")), "gpt_auto"),
        ("another init", boot(f"{COMMAND_LINE} init=/bin/sh"), "init=/bin/sh"),
        ("a shell in the initrd", boot(f"{COMMAND_LINE} rd.break", uefi=False), "BIOS: rd.break"),
        ("a shell for debugging", boot(f"{COMMAND_LINE} systemd.debug_shell"), "debug_shell"),
        ("a writable root", boot(f"{COMMAND_LINE} rw"), "rw is not"),
    ],
    "serial-console": [
        ("nothing on it", boot(without("console=ttyS0,115200")), "the console is tty0"),
        ("not the last", boot(f"{COMMAND_LINE} console=tty0"), "the console is tty0"),
    ],
    "drivers": [
        ("NVMe", write(f"/usr/lib/modules/{KERNEL}/modules.builtin", "kernel/fs/ext4/ext4.ko\n"), "nvme is neither"),
        ("ENA", remove(f"/usr/lib/modules/{KERNEL}/kernel/ena.ko.xz"), "ena"),
        ("queues", remove(f"/usr/lib/modules/{KERNEL}/kernel/nfnetlink_queue.ko.xz"), "nfnetlink_queue"),
        ("open flows", remove(f"/usr/lib/modules/{KERNEL}/kernel/nf_conntrack_netlink.ko.xz"), "nf_conntrack_netlink"),
        ("verity in the initrd", facts(initrd=["erofs.ko"]), "dm_verity is neither"),
        ("no kernel", lambda image: shutil.rmtree(image / "root/usr/lib/modules"), "the kernel is missing"),
    ],
    "state-bounded": [
        ("larger", sized("state", 1 << 30), "1073741824 octets"),
        ("without its label", facts(state={"label": "", "files": ["lost+found"]}), "label"),
        ("another file system", facts(filesystems={"root": "erofs", "state": ""}), "no ext4"),
        ("not empty", facts(state={"label": "discriminat-state", "files": ["lost+found", "log"]}), "not empty"),
    ],
    "sizes": [
        ("a large disk", facts(octets=1 << 30), "1024 MiB"),
        ("does not compress", facts(compressed=301 << 20), "301 MiB"),
    ],
    "report": [
        ("none", lambda image: (image / "report.json").unlink(), "sha256 nothing"),
        ("of another image", lambda image: edit(image / "report.json", sha256="6" * 64), "6666"),
        ("of another root", lambda image: edit(image / "report.json", roothash="cd" * 32), "cdcd"),
        ("of another machine", lambda image: edit(image / "report.json", architecture="arm64"), "arm64"),
    ],
    "manifest": [
        ("none", remove(MANIFEST), "no manifest"),
        ("no JSON", write(MANIFEST, "{"), "no manifest"),
        ("another version", describe(version="0.2.0"), "its version is 0.2.0"),
        ("another kernel", describe(kernel="6.1"), "its kernel is 6.1"),
        ("another architecture", describe(architecture="arm64"), "its architecture"),
        ("no commit", describe(commit=""), "no commit"),
        ("a package that is not there", describe(packages={"curl": "8"}), "curl"),
    ],
    "locked": [
        ("a newer package", replace(STATUS, "2.41-12", "2.41-13"), "libc6: the lock has 2.41-12, the image 2.41-13"),
        (
            "one more",
            replace(STATUS, "Package: chrony", specimen.stanza("curl", "8") + "\nPackage: chrony"),
            "curl",
        ),
        ("ours is missing", replace(STATUS, "Package: discriminat", "Package: other"), "discriminat is not installed"),
    ],
    "sbom": [
        ("one left out", component(), "chrony"),
        ("another version", component(version="4.5"), "4.5"),
        ("no licence", component(licenses=[]), "no licence of chrony"),
        ("another digest", component(hashes=[{"alg": "SHA-256", "content": "6" * 64}]), "another digest of chrony"),
        ("no bill", lambda image: (image / "sbom.json").unlink(), "has nothing"),
    ],
    "botocore": [
        ("one more", write(f"{DATA}/s3/2006-03-01/service-2.json.gz", "x"), "botocore knows s3"),
        ("one less", lambda image: shutil.rmtree(image / f"root{DATA}/logs"), "does not know logs"),
    ],
    "session-manager": [("its agent", write("/usr/bin/amazon-ssm-agent", "ELF", 0o755), "amazon-ssm-agent")],
    "nothing-left": [
        ("a source of packages", write("/etc/apt/sources.list.d/debian.sources", "Types: deb\n"), "debian.sources"),
        ("its lists", write("/var/lib/apt/lists/x_Packages", "x"), "x_Packages"),
        ("a log", write("/var/log/dpkg.log", "x"), "dpkg.log"),
        ("a file of root's", write("/root/notes", "x"), "/root/notes"),
        ("a cache of the build's", write("/var/cache/ldconfig/aux-cache", "x"), "aux-cache"),
        ("a proxy", write("/etc/environment", "http_proxy=http://10.0.0.1:3128\n"), "/etc/environment"),
        ("an archive", write("/etc/motd", "see http://archive.example/debian trixie\n"), "/etc/motd"),
    ],
    "not-newer": [("a file of today", write("/usr/share/x", "x"), "/usr/share/x is newer")],
}
