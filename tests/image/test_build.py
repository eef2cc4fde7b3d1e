"""A build leaves a whole image or none, and says what it does and what is wrong."""

import errno
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from image import __main__ as program
from image import build, order, steps, tools
from image.build import BESIDE
from image.errors import ImageError
from image.order import Order, Revision
from image.recipe import ARCHITECTURES, read_recipe

ORDER = Order(read_recipe(), ARCHITECTURES["x86_64"], Revision("1.2.3", "c0ffee", 1_700_000_000))
NAME = "discriminat-1.2.3-x86_64"
ENGINE = "discriminat_1.2.3_amd64.deb"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """build/, of a machine where everybody may bake."""
    for module in (build, tools):
        monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(build, "require_root", lambda: None)
    return tmp_path / "build"


def bakes(monkeypatch: pytest.MonkeyPatch, *runs: Callable[[steps.Bake], None]) -> None:
    """Replace the steps."""
    monkeypatch.setattr(build, "STEPS", [steps.Step(f"step {n}", run) for n, run in enumerate(runs, 1)])


def make(bake: steps.Bake) -> None:
    """Leave all that the real steps leave."""
    (bake.work / "debs").mkdir()
    (bake.work / "debs" / ENGINE).touch()
    for kind in ("raw", *BESIDE):
        (bake.work / f"disk.{kind}").write_text(kind, encoding="ascii")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.suffix != ".lock")


def test_whole_image(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It has its name, its papers are beside it, and each step was told with its time."""
    bakes(monkeypatch, make, lambda _bake: None)

    made = build.build(ORDER, [])

    assert made == folder / f"{NAME}.raw"
    assert names(folder) == sorted([*(f"{NAME}.{kind}" for kind in ("raw", *BESIDE)), ENGINE])
    pattern = r"\[ 1/2\] step 1 +\d+\.\d s\n\[ 2/2\] step 2 +\d+\.\d s\n +done +\d+\.\d s\n"
    assert re.fullmatch(pattern, capsys.readouterr().out)


def full(_bake: steps.Bake) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")


def wrong(_bake: steps.Bake) -> None:
    raise ImageError("something is wrong: do something about it")


def interrupted(_bake: steps.Bake) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def ended(_bake: steps.Bake) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


# what happens in a step, what is told, and the exit code
BAD_DAYS = [
    (full, "image: error: the disk is full at /somewhere: make room, and start again", 1),
    (wrong, "image: error: something is wrong: do something about it", 1),
    (interrupted, "image: interrupted: nothing was left under the image's name", 130),
    (ended, "image: interrupted: nothing was left under the image's name", 130),
]


@pytest.mark.usefixtures("hears_interrupts")
@pytest.mark.parametrize("bad_day", BAD_DAYS, ids=lambda day: day[0].__name__)
def test_bad_day_leaves_nothing(
    bad_day: tuple[Callable[[steps.Bake], None], str, int],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One sentence, an exit code, and no half image: neither under its name nor under another."""
    day, told, code = bad_day
    bakes(monkeypatch, make, day)
    monkeypatch.setattr(program, "read_revision", lambda *_given: ORDER.revision)
    before = signal.getsignal(signal.SIGTERM)

    assert program.main(["build", "--arch", "x86_64", "--mirror", "http://archive.test/debian"]) == code

    assert capsys.readouterr().err == f"\n{told}\n"
    assert names(folder) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_earlier_image_outlives_a_build_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as whole as it was."""
    bakes(monkeypatch, make)
    made = build.build(ORDER, [])
    bakes(monkeypatch, make, wrong)

    with pytest.raises(ImageError, match="something is wrong"):
        build.build(ORDER, [])

    assert made.read_text(encoding="ascii") == "raw"
    assert names(folder) == sorted([*(f"{NAME}.{kind}" for kind in ("raw", *BESIDE)), ENGINE])


def test_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The papers go with the disk."""
    bakes(monkeypatch, make)
    (tmp_path / "elsewhere").mkdir()

    build.build(ORDER, [], tmp_path / "elsewhere/my.raw")

    assert names(tmp_path / "elsewhere") == sorted(f"my.{kind}" for kind in ("raw", *BESIDE))


def test_kept_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left if asked for, and the next build starts anew."""
    bakes(monkeypatch, make)
    build.build(ORDER, [], keep=True)
    assert "bake-x86_64" in names(folder)

    build.build(ORDER, [])
    assert "bake-x86_64" not in names(folder)


def test_second_build_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would take each other's files away."""

    def again(_bake: steps.Bake) -> None:
        build.build(ORDER, [])

    bakes(monkeypatch, make, again)

    with pytest.raises(ImageError, match="another build of this architecture is under way"):
        build.build(ORDER, [])


def test_too_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is done."""
    bakes(monkeypatch, make)
    monkeypatch.setattr(build, "FREE_MIB", 1 << 40)

    with pytest.raises(ImageError, match=r"^\d+ MiB are free where .*, \d+ are needed: make room$"):
        build.build(ORDER, [])


def test_locks_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewing them bakes nothing."""
    renewed = []
    monkeypatch.setattr(build, "LOCKING", [steps.Step("lock", lambda bake: renewed.append(bake.renew_lock))])

    build.renew_locks(ORDER, [])

    assert renewed == [True]
    assert names(folder) == []


# words after `python3 -m image`, and what is said
REFUSALS = [
    (["build", "--arch", "amd64"], "unknown architecture 'amd64': use one of x86_64, arm64"),
    (["lock", "--arch", "sparc"], "unknown architecture 'sparc': use one of x86_64, arm64"),
    (["build", "--commit", "c0ffee", "--epoch", "99999999999"], "the commit is younger than this machine's clock"),
]


@pytest.mark.parametrize(("words", "said"), REFUSALS)
def test_refusal(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is done, with exit code 1."""
    assert program.main(words) == 1
    assert said in capsys.readouterr().err


def test_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespaces and chroot are root's."""
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ImageError, match="root is needed to make a Debian tree: run this as root, or under sudo"):
        build.build(ORDER, [])


def test_revision_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone that was copied without its history can be told what it is."""

    def no_git(*_arguments: str) -> str:
        raise FileNotFoundError("git")

    monkeypatch.setattr(order, "_git", no_git)

    with pytest.raises(ImageError, match="give --commit, and its time in --epoch"):
        order.read_revision()
    assert order.read_revision("c0ffee", 1_700_000_000).commit == "c0ffee"


@pytest.mark.parametrize(("changes", "commit"), [("", "c0ffee"), (" M README.md", "c0ffee-dirty")])
def test_revision_of_a_changed_clone(changes: str, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not committed is not passed off as the commit."""
    monkeypatch.setattr(order, "_git", lambda verb, *_rest: "c0ffee 1700000000" if verb == "log" else changes)

    assert order.read_revision() == Revision(order.read_revision().version, commit, 1_700_000_000)
