"""The tools that make, check and boot a disk: a Debian tree of their own, so that the building machine's versions
do not matter. Made once by mmdebstrap under build/tools, entered by chroot.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from image import apt
from image.errors import ImageError

BUILD = Path(__file__).parents[1] / "build"
SUITE = "trixie"

KINDS = {
    "bake": (
        *("binutils", "cpio", "cryptsetup-bin", "dosfstools", "dracut-core", "e2fsprogs", "erofs-utils", "fdisk", "gdisk"),
        *("kmod", "mtools", "python3-pefile", "systemd", "systemd-ukify", "udev", "zstd"),
    ),
    "engine": (
        *("dpkg-dev", "gcc", "libc6-dev", "python3-dev", "python3-mypy", "python3-pip", "python3-setuptools"),
        *("python3-wheel",),
    ),
    "boot": (
        *("ovmf", "qemu-efi-aarch64", "qemu-system-arm", "qemu-system-x86", "qemu-utils", "seabios", "socat", "swtpm"),
    ),
}
GRUB = {"x86_64": ("grub-pc-bin", "grub-common")}  # legacy BIOS is x86_64's alone

# In a mount namespace and a process namespace of its own: whatever ends the command, nothing stays mounted or running.
ENTER = """
mount --bind "$1" "$1" && cd "$1"
mount -t proc proc proc && mount --rbind /dev dev && mount -t tmpfs tmpfs tmp
if [ -n "$2" ]; then mkdir -p work && mount --bind "$2" work; fi
shift 2
exec chroot . /usr/bin/env -i -C /work "$@"
"""
ENVIRONMENT = {
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "MTOOLS_SKIP_CHECK": "1",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TZ": "UTC",
}


@dataclass(frozen=True)
class Tree:
    """A root directory whose programs can be run."""

    root: Path

    def command(self, arguments: Sequence[str], work: Path | None = None, **environment: str) -> list[str]:
        """Return the command that runs `arguments` in the tree, in /work, which is `work` outside."""
        words = [f"{name}={value}" for name, value in (ENVIRONMENT | environment).items()]
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"),
            *("sh", "-euc", ENTER, "enter", str(self.root), str(work.resolve() if work else "")),
            *words,
            *arguments,
        ]

    def run(self, arguments: Sequence[str], work: Path | None = None, **environment: str) -> str:
        """Run a command in the tree and return what it printed."""
        return run(self.command(arguments, work, **environment), name=arguments[0])


def run(command: Sequence[str], name: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed; what it said last goes into the error."""
    name = name or command[0]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, umask=0o022,
            env=None if environment is None else dict(environment), stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        raise ImageError(f"{command[0]} is missing: run tests/setup.sh packages image") from None
    if done.returncode:
        said = "\n".join(f"  {line}" for line in (done.stdout + done.stderr).strip().splitlines()[-12:])
        raise ImageError(f"{name} failed with exit code {done.returncode}:\n{said}")
    return done.stdout


def tools(kind: str, sources: Sequence[apt.Source] | None = None) -> Tree:
    """Return the tree of a kind ("bake", "engine", "boot"), made if it is not there or should have other packages."""
    packages = sorted({*KINDS[kind], *(GRUB.get(platform.machine(), ()) if kind == "bake" else ())})
    directory = BUILD / "tools" / kind
    stamp = directory / "stamp"
    wanted = "\n".join([SUITE, *packages]) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory / "lock"):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            require_root()
            stamp.unlink(missing_ok=True)
            shutil.rmtree(directory / "root", ignore_errors=True)
            archives = apt.sources(SUITE) if sources is None else sources
            bootstrap(directory / "root", SUITE, packages, [source.line() for source in archives])
            (directory / "root/work").mkdir(exist_ok=True)
            stamp.write_text(wanted, encoding="utf-8")
    return Tree(directory / "root")


def require_root() -> None:
    """Refuse to go on as anybody but root: chroot and mounts need it."""
    if os.geteuid() != 0:
        raise ImageError("root is needed to make a Debian tree: run it as root, or under sudo")


def bootstrap(
    target: Path,
    suite: str,
    packages: Sequence[str],
    sources: Sequence[str],
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> None:
    """Make a Debian tree with mmdebstrap, from lines of sources.list.

    In namespaces of its own: if it is killed, all that it started and mounted goes with it.
    """
    run(
        [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"),
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--format=directory"),
            f"--include={','.join(packages)}",
            '--aptopt=APT::Install-Recommends "false"',
            *(f"--aptopt={line}" for line in apt.settings()),
            *options,
            *(suite, str(target), *sources),
        ],
        name="mmdebstrap",
        environment={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", **(environment or {})},
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make a tree."""
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
