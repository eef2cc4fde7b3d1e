"""Debian packages of our own: the engine, compiled in a tree of the image's suite, and one that depends on all else.

They are made by dpkg-deb from a staged directory, without debhelper: what is in them is what is laid out here.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from image.errors import ImageError
from image.files import backdate, lay
from image.order import ROOT, Order
from image.tools import Tree

SOURCES = ("appliance", "LICENSE", "README.md", "pyproject.toml", "setup.py")
DEPENDS = (
    *("nftables", "python3 (>= 3.13)", "python3 (<< 3.14)", "python3-boto3", "python3-dnspython", "python3-jinja2"),
    *("python3-netfilterqueue", "python3-orjson", "python3-pythonjsonlogger", "publicsuffix"),
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
# For a compiler of this machine that writes programs for another: Python's own settings of the other.
CROSS = {
    "aarch64-linux-gnu": {
        "CC": "aarch64-linux-gnu-gcc",
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "_PYTHON_SYSCONFIGDATA_NAME": "_sysconfigdata__aarch64-linux-gnu",
    }
}


@dataclass(frozen=True)
class Control:
    """What a package says of itself."""

    name: str
    architecture: str
    section: str
    depends: tuple[str, ...]
    description: str
    provides: str = ""
    scripts: Mapping[str, str] = field(default_factory=dict)

    def text(self, version: str, octets: int) -> str:
        """As dpkg reads it; an empty field is left out."""
        fields = {
            "Package": self.name,
            "Version": version,
            "Architecture": self.architecture,
            "Maintainer": "discriminat <discriminat@localhost>",
            "Section": self.section,
            "Priority": "optional",
            "Installed-Size": str(-(-octets // 1024)),
            "Depends": ", ".join(self.depends),
            "Provides": self.provides,
            "Description": self.description,
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def make_engine(tree: Tree, work: Path, order: Order, *, cross: bool = False) -> Path:
    """Compile the engine in `tree` and return its package; one that was not compiled is none."""
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
        SOURCE_DATE_EPOCH=str(order.revision.epoch),
        **(CROSS[order.arch.triplet] if cross else {}),
    )
    packages = stage / "usr/lib/python3/dist-packages"
    extensions = sorted(packages.rglob(f"*-{order.arch.triplet}.so"))
    if not extensions:
        raise ImageError(f"the engine is not compiled for {order.arch.name}: see `extensions` in setup.py")
    strip = [f"{order.arch.triplet}-strip", "--strip-unneeded"]
    tree.run([*strip, *(f"/work/{path.relative_to(work)}" for path in extensions)], work=work)
    for told in ("direct_url.json", "RECORD", "REQUESTED"):  # of this one installation by pip
        for path in packages.glob(f"discriminat-*.dist-info/{told}"):
            path.unlink()
    shutil.rmtree(packages / "appliance/systemd", ignore_errors=True)
    lay(ROOT / "appliance/systemd", stage)
    description = "egress firewall and NAT for AWS VPCs"
    control = Control("discriminat", order.arch.debian, "net", DEPENDS, description, scripts=SCRIPTS)
    return _pack(tree, stage, control, order)


def make_whole(tree: Tree, work: Path, order: Order, also: tuple[str, ...] = ()) -> Path:
    """Return a package that holds nothing and depends on all that the image is made of.

    It stands for the program that makes initrds, which Debian's kernel wants: the image's is made outside of it.
    """
    kernel, engine = order.recipe.kernel.package[order.arch.name], f"discriminat (= {order.revision.version})"
    depends = (*order.recipe.packages, *also, kernel, engine)
    description = "what the image of discriminat is made of"
    control = Control("discriminat-image", "all", "metapackages", depends, description, provides="linux-initramfs-tool")
    return _pack(tree, work / "whole", control, order)


def index(directory: Path, tree: Tree) -> None:
    """Make a directory of packages an archive that apt can read: write its list, Packages."""
    stanzas = []
    for path in sorted(directory.glob("*.deb")):
        control = tree.run(["dpkg-deb", "--field", f"/work/{path.name}"], work=directory).strip()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stanzas.append(f"{control}\nFilename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {digest}\n")
    (directory / "Packages").write_text("\n".join(stanzas), encoding="utf-8")


def _pack(tree: Tree, stage: Path, control: Control, order: Order) -> Path:
    """Make a package of a staged directory, beside it."""
    lay(ROOT / "LICENSE", stage / f"usr/share/doc/{control.name}/copyright")
    contents = {
        path.relative_to(stage): path.read_bytes()
        for path in sorted(stage.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    # MD5 is what dpkg --verify reads; what is trusted is the SHA-256 of the whole.
    sums = (f"{hashlib.md5(octets, usedforsecurity=False).hexdigest()}  {path}\n" for path, octets in contents.items())
    about = stage / "DEBIAN"
    about.mkdir()
    (about / "control").write_text(
        control.text(order.revision.version, sum(len(octets) for octets in contents.values())), encoding="utf-8"
    )
    (about / "md5sums").write_text("".join(sums), encoding="utf-8")
    for name, script in control.scripts.items():
        (about / name).write_text(script, encoding="utf-8")
        (about / name).chmod(0o755)
    backdate(stage, order.revision.epoch)
    name = f"{control.name}_{order.revision.version}_{control.architecture}.deb"
    tree.run(
        ["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", f"/work/{stage.name}", f"/work/{name}"],
        work=stage.parent,
        SOURCE_DATE_EPOCH=str(order.revision.epoch),
    )
    return stage.with_name(name)
