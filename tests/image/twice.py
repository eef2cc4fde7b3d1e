"""The image a second time, by another machine: bit for bit the same.

    python -m tests.image.twice [FILE]

The other machine is a Debian tree made for this, which has of this clone only its sources, packed as they are. It has
no git, another time zone, locale, umask, home and host name, and it runs `image/provision.sh` as Packer's builder does:
the same steps, and the same proof of the promises. Only what was downloaded for the first image is given to it, as
the lock has the digest of each file.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from image import apt, gpt
from image.errors import ImageError
from image.opened import Opened, file_digest
from image.opening import PIECE, open_image
from image.order import BUILD, ROOT, baked_images
from image.tools import CACHE, SUITE, bootstrap, remove
from image.verify import MOST_SHOWN

# In namespaces of its own, so that whatever ends it, nothing stays mounted or running.
BUILDER = """
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mkdir -p work
mount --bind "$2" work
hostname elsewhere
umask 0077
shift 2
exec chroot . /usr/bin/env -i HOME=/nonexistent LANG=C PYTHONHASHSEED=7 TZ=Pacific/Chatham "$@"
"""


def pack(archive: Path) -> None:
    """Pack the sources as they lie here, committed or not: what git knows, and what it does not ignore."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
        capture_output=True,
        check=True,
    )
    with tarfile.open(archive, "w:gz") as packed:
        for name in sorted(os.fsdecode(listed.stdout).split("\0")):
            if name and os.path.lexists(ROOT / name):
                packed.add(ROOT / name, arcname=name, recursive=False)


def bake_elsewhere(work: Path, report: dict[str, object]) -> Path:
    """Bake the image of these sources on a machine of its own, and return it."""
    builder, second = BUILD / "builder", work / "second.raw"
    remove(builder)
    bootstrap(builder, SUITE, ["apt", "ca-certificates", "mount"], [source.line() for source in apt.sources(SUITE)])
    pack(work / "sources.tar.gz")
    variables = {"ARCHIVE": "/work/sources.tar.gz", "DISK": "/work/second.raw", "PACKAGES": "/work/packages"}
    variables |= {"COMMIT": str(report["commit"]), "EPOCH": str(report["source_date_epoch"])}
    shutil.copy(ROOT / "image/provision.sh", work)
    (work / "packages").mkdir()
    if CACHE.is_dir():
        shutil.copytree(CACHE, work / "packages", dirs_exist_ok=True)
    subprocess.run(
        [
            *("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--propagation", "private"),
            *("sh", "-euc", BUILDER, "builder", builder, work),
            *(f"{name}={value}" for name, value in variables.items()),
            "PATH=/usr/sbin:/usr/bin",
            "/work/provision.sh",
        ],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    remove(builder)
    return second


def differences(first: Path, second: Path) -> Iterator[str]:
    """Yield where two disks differ: pieces of a mebibyte, by partition."""
    if first.stat().st_size != second.stat().st_size:
        yield f"{first.stat().st_size} octets and {second.stat().st_size}"
    partitions = gpt.read_table(first).partitions
    with first.open("rb") as one, second.open("rb") as other:
        for at in range(0, first.stat().st_size, PIECE):
            if one.read(PIECE) != other.read(PIECE):
                name = next((part.name for part in partitions if part.start <= at < part.end), "the partition table")
                yield f"the mebibyte at octet {at}: {name}"


def files_that_differ(first: Path, second: Path, work: Path) -> Iterator[str]:
    """Yield the files of the two roots that differ, and in what."""
    trees = []
    for path, name in ((first, "1"), (second, "2")):
        open_image(path, work / name)
        trees.append(Opened(work / name).tree)
    one, other = trees
    for path in sorted(one.entries.keys() | other.entries.keys()):
        if one.entries.get(path) != other.entries.get(path):
            yield f"{path}: {one.entries.get(path, 'is not there')}, {other.entries.get(path, 'is not there')}"
        elif not one.entries[path].is_link and one.octets(path) != other.octets(path):
            yield f"{path}: its content"


def main() -> int:
    """Bake and compare; 0 if both are the same. If they are not, both stay in build/twice, taken apart."""
    first = Path(sys.argv[1]) if len(sys.argv) > 1 else baked_images()[0]
    report = json.loads(first.with_name(f"{first.name}.json").read_text())
    work = BUILD / "twice"
    remove(work)
    work.mkdir(parents=True)
    try:
        second = bake_elsewhere(work, report)
    except subprocess.CalledProcessError as fault:
        print(f"twice: error: the second build ended with exit code {fault.returncode}", file=sys.stderr)
        return 1
    found = list(differences(first, second))
    for path, which in ((first, "first"), (second, "second")):
        print(f"{file_digest(path)}  {which}")
    if not found:
        print("the same, bit for bit")
        remove(work)
        return 0
    print("\n".join(["they differ:", *found[:MOST_SHOWN], *list(files_that_differ(first, second, work))[:MOST_SHOWN]]))
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ImageError as fault:
        sys.exit(f"twice: error: {fault}")
