"""Files, units and settings of an image are read as the machine itself would read them."""

from pathlib import Path

import pytest

from image.debian import installed
from image.tree import FileTree
from image.units import Units, configuration, sysctl
from tests.image.specimen import SYSTEMD, put


def tree(directory: Path, files: dict[str, str]) -> FileTree:
    """Lay files out; a text that begins with `->` is where a link leads."""
    for path, text in files.items():
        if text.startswith("-> "):
            place = directory / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(text.removeprefix("-> "))
        else:
            put(directory, path, text)
    return FileTree(directory)


# ---- links ----


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/usr/bin/a", "a"),
        ("/bin/a", "a"),
        ("/etc/absolute", "a"),
        ("/etc/relative", "a"),
        ("/etc/outside", "a"),
        ("/etc/loop", ""),
        ("/etc/dangling", ""),
        ("/nothing", ""),
        ("/usr/bin", ""),
        ("/usr/bin/../bin/a", "a"),
    ],
)
def test_links_stay_inside_the_image(tmp_path: Path, path: str, text: str) -> None:
    """A link leads where it would lead on the machine, never to a file of the machine that checks."""
    files = tree(
        tmp_path / "root",
        {
            "/usr/bin/a": "a", "/bin": "-> usr/bin", "/etc/absolute": "-> /bin/a", "/etc/relative": "-> ../usr/bin/a",
            "/etc/outside": "-> ../../../../bin/a", "/etc/loop": "-> loop", "/etc/dangling": "-> /etc/hostname",
        },
    )  # fmt: skip

    assert files.text(path) == text


# ---- units ----


def test_drop_ins_are_laid_over_a_unit(tmp_path: Path) -> None:
    """In the order of their names, wherever they lie; a list goes on, and an empty value clears it."""
    units = Units(
        tree(
            tmp_path,
            {
                f"{SYSTEMD}/a.service": "[Unit]\nAfter=b.service\n[Service]\n#User=0\nUser=one\nExecStart=x \\\n y\n",
                "/etc/systemd/system/a.service.d/50.conf": "[Unit]\nAfter=c.service\n[Service]\nUser=three\n",
                f"{SYSTEMD}/a.service.d/20.conf": "[Service]\nUser=two\n",
                f"{SYSTEMD}/a.service.d/60.conf": "[Unit]\nAfter=\nAfter=d.service\n",
                f"{SYSTEMD}/a.service.d/70.conf": "[Service]\nUser=hidden\n",
                "/etc/systemd/system/a.service.d/70.conf": "",
                f"{SYSTEMD}/service.d/10.conf": "[Service]\nNice=1\n",
            },
        )
    )

    unit = units.unit("a.service")

    assert unit is not None
    assert (unit.value("Service", "User"), unit.value("Service", "Nice")) == ("three", "1")
    assert unit.values("Unit", "After") == ["d.service"]
    assert unit.values("Service", "ExecStart") == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("here.service", False),
        ("null.service", True),
        ("empty.service", True),
        ("instance@ttyS0.service", False),
        ("masked@ttyS0.service", True),
        ("absent.service", None),
    ],
)
def test_masks(tmp_path: Path, name: str, masked: bool | None) -> None:
    """A unit is masked by a link to /dev/null or an empty file in /etc, an instance with its template."""
    units = Units(
        tree(
            tmp_path,
            {
                f"{SYSTEMD}/here.service": "[Service]\n",
                f"{SYSTEMD}/null.service": "[Service]\n",
                "/etc/systemd/system/null.service": "-> /dev/null",
                f"{SYSTEMD}/empty.service": "[Service]\n",
                "/etc/systemd/system/empty.service": "",
                f"{SYSTEMD}/instance@.service": "[Service]\n",
                f"{SYSTEMD}/masked@.service": "[Service]\n",
                "/etc/systemd/system/masked@.service": "-> /dev/null",
            },
        )
    )

    unit = units.unit(name)

    assert (unit.masked if unit else None) is masked


def test_what_booting_starts(tmp_path: Path) -> None:
    """From the default target on: named, linked, under another name, by a socket or a timer; not what is masked."""
    units = Units(
        tree(
            tmp_path,
            {
                f"{SYSTEMD}/default.target": "-> graphical.target",
                f"{SYSTEMD}/graphical.target": "[Unit]\nRequires=multi-user.target\n",
                f"{SYSTEMD}/graphical.target.wants/linked.service": "-> ../linked.service",
                f"{SYSTEMD}/linked.service": "[Unit]\nWants=masked.service absent.service\n",
                f"{SYSTEMD}/masked.service": "[Service]\n",
                "/etc/systemd/system/masked.service": "-> /dev/null",
                f"{SYSTEMD}/multi-user.target": "[Unit]\nWants=a.socket b.timer c.path\nAfter=ordered.service\n",
                f"{SYSTEMD}/a.socket": "[Socket]\nListenStream=/run/a\n",
                f"{SYSTEMD}/a.service": "[Service]\n",
                f"{SYSTEMD}/b.timer": "[Timer]\nUnit=other.service\n",
                f"{SYSTEMD}/other.service": "[Service]\n",
                f"{SYSTEMD}/c.path": "[Path]\n",
                f"{SYSTEMD}/c.service": "[Service]\n",
                f"{SYSTEMD}/ordered.service": "[Service]\n",
                f"{SYSTEMD}/b.service": "[Service]\n",
            },
        )
    )

    started = {"a.service", "a.socket", "b.timer", "c.path", "c.service", "linked.service", "other.service"}
    assert units.started() == started | {"default.target", "graphical.target", "multi-user.target"}


# ---- settings ----


def test_settings_of_a_daemon(tmp_path: Path) -> None:
    """A file of /etc takes the place of its namesake, and is read in the order of all names."""
    files = tree(
        tmp_path,
        {
            "/usr/lib/systemd/journald.conf": "[Journal]\nStorage=auto\n",
            "/usr/lib/systemd/journald.conf.d/10.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=1M\n",
            "/usr/lib/systemd/journald.conf.d/20.conf": "[Journal]\nRuntimeMaxUse=2M\n",
            "/etc/systemd/journald.conf.d/20.conf": "[Journal]\n;RuntimeMaxUse=3M\n",
        },
    )

    found = configuration(files, "systemd/journald.conf")

    assert found[("Journal", "Storage")][-1] == "volatile"
    assert found[("Journal", "RuntimeMaxUse")] == ["1M"]


def test_kernel_settings(tmp_path: Path) -> None:
    """The last one counts; names may have slashes, a dash in front, and comments are none."""
    files = tree(
        tmp_path,
        {
            "/usr/lib/sysctl.d/50-a.conf": "net.ipv4.ip_forward = 0\n-kernel.panic = 1\n# kernel.panic = 9\n",
            "/usr/lib/sysctl.d/60-b.conf": "net/ipv4/ip_forward=1\n",
            "/etc/sysctl.d/60-b.conf": "kernel.panic=10\n",
        },
    )

    assert sysctl(files) == {"net.ipv4.ip_forward": "0", "kernel.panic": "10"}


# ---- packages ----

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.41-12)
Version: 2.41-12+b1
Depends: libgcc-s1,
 libcrypt1
Description: GNU C Library

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: zstd
Status: install ok installed
Architecture: amd64
Version: 1.5.7
"""


def test_installed_packages() -> None:
    """What is removed but for its configuration is not there; a source package may have another name and version."""
    found = installed(STATUS)

    assert [(each.name, each.version, each.source, each.source_version) for each in found.values()] == [
        ("libc6", "2.41-12+b1", "glibc", "2.41-12"),
        ("zstd", "1.5.7", "zstd", "1.5.7"),
    ]
    assert "libcrypt1" in found["libc6"].fields["depends"]
