"""Debian packages of our own: the engine, compiled in a tree of the image's suite, and one that depends on all else.

They are made by dpkg-deb from a staged directory, without debhelper: what is in them is what is laid out here.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from image.errors import ImageError
from image.files import backdate, lay
from image.recipe import Architecture, Recipe
from image.tools import Tree

ROOT = Path(__file__).parents[1]
SOURCES = ("appliance", "LICENSE", "README.md", "pyproject.toml", "setup.py")
MAINTAINER = "discriminat <discriminat@localhost>"
ENGINE_DEPENDS = (
    *("nftables", "procps", "python3 (>= 3.13)", "python3 (<< 3.14)", "python3-boto3", "python3-dnspython"),
    *("python3-jinja2", "python3-netfilterqueue", "python3-orjson", "python3-pythonjsonlogger"),
)
SCRIPTS = {
    "postinst": """\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    systemd-sysusers discriminat.conf
    py3compile -p discriminat
fi
""",
    "prerm": """\
#!/bin/sh
set -e
py3clean -p discriminat
""",
}


def engine(tree: Tree, work: Path, arch: Architecture, version: str, epoch: int) -> Path:
    """Compile the engine in `tree` and return its package, discriminat_<version>_<architecture>.deb, in `work`."""
    source, stage = work / "source", work / "stage"
    for name in SOURCES:
        lay(ROOT / name, source / name)
    tree.run(
        [
            *("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-compile", "--ignore-installed"),
            *("--break-system-packages", "--root=/work/stage", "--prefix=/usr", "/work/source"),
        ],
        work=work,
        DEB_PYTHON_INSTALL_LAYOUT="deb",
        PIP_CONFIG_FILE="/dev/null",
        PYTHONHASHSEED="0",
        SOURCE_DATE_EPOCH=str(epoch),
    )
    packages = stage / "usr/lib/python3/dist-packages"
    extensions = sorted(packages.rglob("*.so"))
    if not extensions:
        raise ImageError("the engine was installed without being compiled: see what setup.py says in a compiling tree")
    tree.run(
        [f"{arch.triplet}-strip", "--strip-unneeded", *(f"/work/{path.relative_to(work)}" for path in extensions)],
        work=work,
    )
    for told in ("direct_url.json", "RECORD", "REQUESTED"):  # of this one installation by pip
        for path in packages.glob(f"discriminat-*.dist-info/{told}"):
            path.unlink()
    shutil.rmtree(packages / "appliance/systemd", ignore_errors=True)
    lay(ROOT / "appliance/systemd", stage)
    lay(ROOT / "LICENSE", stage / "usr/share/doc/discriminat/copyright")
    control = {
        "Package": "discriminat",
        "Version": version,
        "Architecture": arch.debian,
        "Maintainer": MAINTAINER,
        "Section": "net",
        "Priority": "optional",
        "Depends": ", ".join(ENGINE_DEPENDS),
        "Description": "egress firewall and NAT for AWS VPCs",
    }
    return _pack(tree, work, stage, control, SCRIPTS, epoch)


def whole(tree: Tree, work: Path, arch: Architecture, recipe: Recipe, version: str, epoch: int) -> Path:
    """Return a package that holds nothing and depends on all that the image is made of.

    It stands for the program that makes initrds, which Debian's kernel wants: the image's is made outside of it.
    """
    depends = [*recipe.packages, recipe.kernel.package[arch.name], f"discriminat (= {version})"]
    control = {
        "Package": "discriminat-image",
        "Version": version,
        "Architecture": "all",
        "Maintainer": MAINTAINER,
        "Section": "metapackages",
        "Priority": "optional",
        "Depends": ", ".join(depends),
        "Provides": "linux-initramfs-tool",
        "Description": "what the image of discriminat is made of",
    }
    stage = work / "whole"
    lay(ROOT / "LICENSE", stage / "usr/share/doc/discriminat-image/copyright")
    return _pack(tree, work, stage, control, {}, epoch)


def index(directory: Path, tree: Tree) -> None:
    """Make a directory of packages an archive that apt can read: write its list, Packages."""
    stanzas = []
    for path in sorted(directory.glob("*.deb")):
        control = tree.run(["dpkg-deb", "--field", f"/work/{path.name}"], work=directory).strip()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stanzas.append(f"{control}\nFilename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {digest}\n")
    (directory / "Packages").write_text("\n".join(stanzas), encoding="utf-8")


def _pack(
    tree: Tree, work: Path, stage: Path, control: Mapping[str, str], scripts: Mapping[str, str], epoch: int
) -> Path:
    """Make a package of a staged directory."""
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    # MD5 is what dpkg --verify reads; what is trusted is the SHA-256 of the whole.
    sums = "".join(
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(stage)}\n"
        for path in files
    )
    octets = sum(path.stat().st_size for path in files)
    (stage / "DEBIAN").mkdir()
    fields = {**control, "Installed-Size": str(-(-octets // 1024))}
    (stage / "DEBIAN/control").write_text("".join(f"{k}: {v}\n" for k, v in fields.items()), encoding="utf-8")
    (stage / "DEBIAN/md5sums").write_text(sums, encoding="utf-8")
    for name, script in scripts.items():
        (stage / "DEBIAN" / name).write_text(script, encoding="utf-8")
    backdate(stage, epoch)
    for name in scripts:
        (stage / "DEBIAN" / name).chmod(0o755)
    name = f"{control['Package']}_{control['Version']}_{control['Architecture']}.deb"
    tree.run(
        ["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", f"/work/{stage.name}", f"/work/{name}"],
        work=work,
        SOURCE_DATE_EPOCH=str(epoch),
    )
    return work / name
