"""The programs that make, check and boot a disk: Debian trees of their own, so that the building machine's versions do
not matter. Made by mmdebstrap under build/tools when they are first needed, entered by chroot.
"""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from image import apt, lock
from image.command import CONTAINED, missing, run
from image.errors import ImageError
from image.order import BUILD
from image.recipe import Architecture, native

CACHE = BUILD / "packages"  # what was downloaded
SUITE = "trixie"
MOUNTS = Path("/proc/self/mountinfo")
INHERITED = re.compile(r"PATH|HOME|TMPDIR|APT_CONFIG|SSL_CERT_(?:FILE|DIR)|(?:https?|ftp|no|all)_proxy", re.IGNORECASE)

_COMPILER = ("dpkg-dev", "python3-dev", "python3-mypy", "python3-pip", "python3-setuptools", "python3-wheel")
KINDS = {
    "bake": (
        *("cpio", "cryptsetup-bin", "dosfstools", "dracut-core", "e2fsprogs", "erofs-utils", "fdisk", "gdisk"),
        *("kmod", "mtools", "pax-utils", "python3-pefile", "systemd", "systemd-ukify", "udev", "zstd"),
    ),
    "engine": ("gcc", "libc6-dev", *_COMPILER),
    "cross": ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "libpython3-dev:arm64", *_COMPILER),
    "boot": (
        *("ovmf", "qemu-efi-aarch64", "qemu-system-arm", "qemu-system-x86", "qemu-utils", "seabios", "socat", "swtpm"),
    ),
    "clients": (  # of the lab's workloads: tests/lab/clients.py
        *("chromium", "curl", "default-jdk-headless", "git", "gnutls-bin", "libio-socket-ssl-perl", "libnss3-tools"),
        *("mount", "nodejs", "openssh-client", "openssl", "python3-paramiko", "python3-requests", "rclone", "wget"),
    ),
    "emulate": ("qemu-user",),
}
LOCKED = ("bake", "engine", "cross")  # what they make is in the image
FOREIGN = {"cross": "arm64"}
GRUB = {"amd64": ("grub-common", "grub-pc-bin")}

# In a mount namespace and a process namespace of its own: whatever ends the command, nothing stays mounted or running.
# One command a line: `sh -e` goes on after `a && b` when a has failed, and would run the rest in this machine's root.
ENTER = """
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp
if [ -n "$2" ]; then mount --bind "$2" work; fi
shift 2
exec chroot . /usr/bin/env -i -C /work "$@"
"""
ENVIRONMENT = {
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "MTOOLS_SKIP_CHECK": "1",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
}


@dataclass(frozen=True)
class Tree:
    """A root directory whose programs can be run."""

    root: Path

    def command(self, arguments: Sequence[str], work: Path | None = None, **environment: str) -> list[str]:
        """Return the command that runs `arguments` in the tree, in /work, which is `work` outside."""
        words = (f"{name}={value}" for name, value in (ENVIRONMENT | environment).items())
        inside = ("enter", str(self.root), str(work.resolve()) if work else "")
        return [*CONTAINED, "sh", "-euc", ENTER, *inside, *words, *arguments]

    def run(self, arguments: Sequence[str], work: Path | None = None, **environment: str) -> str:
        """Run a command in the tree and return what it printed."""
        return run(self.command(arguments, work, **environment), name=arguments[0])


def tools(
    kind: str,
    sources: Sequence[apt.Source] | None = None,
    *,
    renew_lock: bool = False,
    machine: Architecture | None = None,
) -> Tree:
    """Return a tree of one of KINDS; make it if it is not there, or not the one that its list and its lock ask for.

    It is for this machine, unless another is named, of whose tools the lock is wanted.
    """
    machine = machine or native()
    packages = sorted({*KINDS[kind], *(GRUB.get(machine.debian, ()) if kind == "bake" else ())})
    directory = BUILD / "tools" / (kind if machine == native() else f"{kind}.{machine.name}")
    locked = lock.tools_path(kind, machine) if kind in LOCKED else None
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory / "lock"):
        if renew_lock or not _is_current(directory / "stamp", packages, locked):
            (directory / "stamp").unlink(missing_ok=True)
            remove(directory / "root")
            archives = apt.sources(SUITE) if sources is None else sources
            architectures = [machine.debian, *([FOREIGN[kind]] if kind in FOREIGN else [])]
            bootstrap(
                directory / "root",
                SUITE,
                packages,
                [source.line() for source in archives],
                options=[f"--architectures={','.join(architectures)}"],
                fresh=renew_lock,
            )
            (directory / "root/work").mkdir(exist_ok=True)
            if locked:
                found = lock.installed(directory / "root", CACHE)
                lock.settle(locked, found, renew=renew_lock)
            (directory / "stamp").write_text(_stamp(packages, locked), encoding="utf-8")
    return Tree(directory / "root")


def made(kind: str) -> Tree | None:
    """Return a tree for this machine, of a kind without a lock, if `tools` would have nothing to do."""
    directory = BUILD / "tools" / kind
    return Tree(directory / "root") if _is_current(directory / "stamp", sorted(KINDS[kind]), None) else None


def _is_current(stamp: Path, packages: Sequence[str], locked: Path | None) -> bool:
    return stamp.exists() and stamp.read_text(encoding="utf-8") == _stamp(packages, locked)


def _stamp(packages: Sequence[str], locked: Path | None) -> str:
    """Return all that a tree depends on."""
    known = locked.read_text(encoding="utf-8") if locked and locked.exists() else ""
    return "\n".join([SUITE, *packages, known])


def require_root() -> None:
    """Refuse to go on as anybody but root: chroot and mounts need it."""
    if os.geteuid() != 0:
        raise ImageError("root is needed to make a Debian tree: run this as root, or under sudo")


def bootstrap(
    target: Path,
    suite: str,
    packages: Sequence[str],
    sources: Sequence[str],
    *,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    fresh: bool = False,
) -> None:
    """Make a Debian tree with mmdebstrap, from lines of sources.list.

    What is downloaded is kept, and used again unless `fresh`: apt believes a file of the right name and size, so what
    it believed has to be compared with a lock. Our own packages are never kept.
    """
    require_root()
    if not shutil.which("mmdebstrap"):
        raise missing("mmdebstrap")
    CACHE.mkdir(parents=True, exist_ok=True)
    cache, archives = shlex.quote(str(CACHE)), "var/cache/apt/archives"
    debian = " ".join(['-name "*.deb"', *(f'! -name "{name}_*"' for name in (*lock.OWN, lock.AGENT))])
    run(
        [
            *CONTAINED,
            *("mmdebstrap", "--verbose", "--mode=root", "--variant=essential", "--format=directory"),
            f"--include={','.join(packages)}",
            '--aptopt=APT::Install-Recommends "false"',
            *(f"--aptopt={line}" for line in apt.settings()),
            "--skip=download/empty,essential/unlink,check/qemu",
            f'--setup-hook=mkdir -p "$1/{archives}"',
            *([] if fresh else [f'--setup-hook=find {cache} {debian} -exec ln -f -t "$1/{archives}" {{}} +']),
            f'--customize-hook=find "$1/{archives}" {debian} -exec ln -f -t {cache} {{}} +',
            *options,
            *(suite, str(target), *sources),
        ],
        name="mmdebstrap",
        environment=surroundings(os.environ) | dict(environment or {}),
    )


def surroundings(machine: Mapping[str, str]) -> dict[str, str]:
    """Return what programs that fill a tree are told of this machine: where things are, and nothing that shows in it.

    Debian's scripts compile Python: without PYTHONDONTWRITEBYTECODE the compiler's own modules would be written too, by
    whichever runs first, and by no rule.
    """
    kept = {name: value for name, value in machine.items() if INHERITED.fullmatch(name)}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def remove(directory: Path) -> None:
    """Remove a tree of a build; one in which something is mounted is left alone, as that would be this machine's."""
    place = directory.resolve()
    if BUILD.resolve() not in place.parents:
        raise ImageError(f"{place} is no tree of a build, and is left alone")
    for line in MOUNTS.read_text(encoding="utf-8").splitlines():
        mount = line.split()[4].replace("\\040", " ")
        if Path(mount).is_relative_to(place):
            raise ImageError(f"{mount} is a mount, which no build leaves behind: unmount it")
    if place.exists():
        shutil.rmtree(place)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make a tree."""
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
