"""Trees of tools are made once, again when what they should be has changed, and the same on every machine."""

import subprocess
from pathlib import Path

import pytest

from image import lock, tools
from image.errors import ImageError
from image.lock import Package
from image.recipe import ARCHITECTURES
from tests.image.twice import BUILDER

ONE = "1" * 64


class Machine:
    """A machine of x86_64 on which trees are made at once, of what the archive has."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.archive = [Package("mtools", "1", ONE)]
        self.made: list[str] = []

    def bootstrap(self, target, _suite, packages, sources, *, options, fresh):
        target.mkdir()
        self.made.append(f"{packages[0]} {options[0].rpartition('=')[2]}{' fresh' if fresh else ''}")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(tools, "BUILD", tmp_path / "build")
    monkeypatch.setattr(tools, "bootstrap", machine.bootstrap)
    monkeypatch.setattr(tools, "native", lambda: ARCHITECTURES["x86_64"])
    monkeypatch.setattr(tools, "KINDS", {"bake": ("mtools",), "boot": ("qemu",), "cross": ("gcc",)})
    monkeypatch.setattr(lock, "DIRECTORY", tmp_path / "lock")
    monkeypatch.setattr(lock, "installed", lambda *_given: machine.archive)
    lock.settle(lock.tools_path("bake", ARCHITECTURES["x86_64"]), machine.archive, renew=True)
    return machine


def test_made_once(machine: Machine) -> None:
    """Later it is there."""
    first, second = tools.tools("bake", []), tools.tools("bake", [])

    assert first == second == tools.Tree(machine.directory / "build/tools/bake/root")
    assert machine.made == ["grub-common amd64"]


def test_made_again_for_another_list(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool was added."""
    tools.tools("bake", [])
    monkeypatch.setattr(tools, "KINDS", {"bake": ("dosfstools", "mtools")})
    tools.tools("bake", [])

    assert machine.made == ["grub-common amd64", "dosfstools amd64"]


def test_made_again_for_another_lock(machine: Machine) -> None:
    """Somebody has renewed it: the old tree is not what it asks for."""
    tools.tools("bake", [])
    machine.archive = [Package("mtools", "2", ONE)]
    lock.settle(lock.tools_path("bake", ARCHITECTURES["x86_64"]), machine.archive, renew=True)
    tools.tools("bake", [])

    assert len(machine.made) == 2


def test_other_tools_than_the_locks_are_refused(machine: Machine) -> None:
    """And are not taken the next time either, until the lock is renewed."""
    machine.archive = [Package("mtools", "2", ONE)]

    for _ in range(2):
        with pytest.raises(ImageError, match=r"not those of image/lock/tools/bake\.x86_64\.txt"):
            tools.tools("bake", [])
    tools.tools("bake", [], renew_lock=True)
    tools.tools("bake", [])

    assert machine.made == ["grub-common amd64", "grub-common amd64", "grub-common amd64 fresh"]


def test_what_makes_no_image_has_no_lock(machine: Machine) -> None:
    """The boot test's QEMU may be any."""
    tools.tools("boot", [])

    assert machine.made == ["qemu amd64"]


def test_another_machines_tools(machine: Machine) -> None:
    """They have a tree and a lock of their own, and no GRUB for BIOS."""
    tree = tools.tools("bake", [], renew_lock=True, machine=ARCHITECTURES["arm64"])

    assert tree.root == machine.directory / "build/tools/bake.arm64/root"
    assert (machine.directory / "lock/tools/bake.arm64.txt").exists()
    assert machine.made == ["mtools arm64 fresh"]


def test_cross_compiler_has_both(machine: Machine) -> None:
    """Libraries of the other architecture beside programs of this one."""
    tools.tools("cross", [], renew_lock=True)

    assert machine.made == ["gcc amd64,arm64 fresh"]


@pytest.fixture
def tree(machine: Machine) -> Path:
    """A tree in build/, with a file in it, and one beside build/."""
    for place in ("build/tree/etc", "beside/etc"):
        (machine.directory / place).mkdir(parents=True)
        (machine.directory / place / "file").touch()
    return machine.directory / "build/tree"


def test_tree_is_removed(tree: Path) -> None:
    """One that is not there is removed already."""
    tools.remove(tree)
    tools.remove(tree)

    assert list(tree.parent.iterdir()) == []


@pytest.mark.parametrize("place", [".", "..", "../beside", "../beside/etc", "link", "link/etc"])
def test_what_is_not_in_build_is_left_alone(place: str, tree: Path) -> None:
    """Neither build/ itself, nor what lies above or beside it, however it is named."""
    (tree.parent / "link").symlink_to(tree.parent.parent / "beside")

    with pytest.raises(ImageError, match="is no tree of a build, and is left alone"):
        tools.remove(tree.parent / place)

    assert (tree / "etc/file").exists()
    assert (tree.parent.parent / "beside/etc/file").exists()


@pytest.mark.parametrize("mount", ["", "/etc", "/etc/deeper"])
def test_tree_with_a_mount_in_it_is_left_alone(mount: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be removed is this machine's."""
    mounts = tree.parent.parent / "mountinfo"
    place = str(tree).replace(" ", "\\040")
    mounts.write_text(
        f"25 1 8:1 / / rw - ext4 /dev/sda rw\n36 25 8:1 /x {place}{mount} rw - ext4 /dev/sda rw\n", "utf-8"
    )
    monkeypatch.setattr(tools, "MOUNTS", mounts)

    with pytest.raises(ImageError, match=f"{mount} is a mount, which no build leaves behind: unmount it"):
        tools.remove(tree)

    assert (tree / "etc/file").exists()


def test_command_has_an_environment_of_its_own(tmp_path: Path) -> None:
    """Nothing of this machine's gets in; what is asked for does."""
    command = tools.Tree(tmp_path).command(["mke2fs", "-V"], tmp_path, SOURCE_DATE_EPOCH="1")

    words = command[command.index("enter") :]
    assert words[1:3] == [str(tmp_path), str(tmp_path)]
    assert {"LC_ALL=C.UTF-8", "TZ=UTC", "PYTHONHASHSEED=0", "SOURCE_DATE_EPOCH=1"} <= set(words)
    assert words[-2:] == ["mke2fs", "-V"]


def test_nothing_of_the_machine_shows_in_a_tree() -> None:
    """Where things are is told; how Python, languages and time are set on this machine is not."""
    variables = {
        "PATH": "/usr/bin", "https_proxy": "http://proxy.example:3128", "HTTP_PROXY": "x", "NO_PROXY": "localhost",
        "PYTHONDONTWRITEBYTECODE": "0", "PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "LC_ALL": "de_DE.UTF-8",
        "LANGUAGE": "de", "TZ": "Pacific/Chatham", "SOURCE_DATE_EPOCH": "1", "DPKG_ROOT": "/x",
    }  # fmt: skip

    assert tools.surroundings(variables) == {
        "PATH": "/usr/bin", "https_proxy": "http://proxy.example:3128", "HTTP_PROXY": "x", "NO_PROXY": "localhost",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC",
    }  # fmt: skip


@pytest.mark.parametrize("script", [tools.ENTER, BUILDER], ids=["tools", "builder"])
def test_a_tree_is_not_entered_by_halves(script: str) -> None:
    """`sh -e` goes on after `a && b` when a has failed, and what follows would run in this machine's own root."""
    assert "&&" not in script
    assert "||" not in script


@pytest.mark.subprocesses
def test_what_cannot_be_mounted_is_not_entered(tmp_path: Path) -> None:
    """Whoever may not mount gets an error, and the command does not run anywhere."""
    place = tmp_path / "place"
    (place / "root").mkdir(parents=True)

    done = subprocess.run(
        ["/bin/sh", "-euc", tools.ENTER, "enter", place / "root", "", "touch", place / "ran"],
        env={"PATH": str(place)}, capture_output=True, text=True, check=False, cwd=place,
    )  # fmt: skip

    assert done.returncode == 127
    assert done.stderr.count("not found") == 1
    assert sorted(path.name for path in place.iterdir()) == ["root"]


def test_looking_makes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that is there is found, and no longer when its list has changed."""
    assert tools.made("boot") is None
    assert machine.made == []

    assert tools.tools("boot", []) == tools.made("boot")
    monkeypatch.setattr(tools, "KINDS", {"boot": ("qemu", "swtpm")})
    assert tools.made("boot") is None
