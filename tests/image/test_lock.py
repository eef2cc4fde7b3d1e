"""An image of other packages than the lock's is refused, with what is different and what to do."""

import hashlib
from pathlib import Path

import pytest

from image import lock, manifest, steps
from image.errors import ImageError
from image.lock import Package
from image.order import Order, Revision
from image.recipe import ARCHITECTURES, read_recipe

STATUS = """\
Package: chrony
Status: install ok installed
Version: 4.6.1-3
Architecture: amd64

Package: passwd
Status: install ok installed
Version: 1:4.17.4-2
Architecture: amd64

Package: discriminat
Status: install ok installed
Version: 0.1.0
Architecture: amd64
"""
FILES = ("chrony_4.6.1-3_amd64.deb", "passwd_1%3a4.17.4-2_amd64.deb")
ONE, OTHER = "1" * 64, "2" * 64


def tree(directory: Path) -> tuple[Path, Path]:
    """Return a root tree with that status, and what was downloaded for it."""
    status = directory / "root/var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(STATUS, encoding="utf-8")
    cache = directory / "cache"
    cache.mkdir()
    for name in FILES:
        (cache / name).write_text(name, encoding="utf-8")
    return directory / "root", cache


def test_packages_are_known_by_their_files(tmp_path: Path) -> None:
    """Ours are not Debian's; an epoch is written in a file's name as apt writes it."""
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in FILES]

    assert lock.installed(*tree(tmp_path)) == [
        Package("chrony", "4.6.1-3", digests[0]),
        Package("passwd", "1:4.17.4-2", digests[1]),
    ]


def test_package_without_its_file(tmp_path: Path) -> None:
    """Nothing is made up."""
    root, cache = tree(tmp_path)
    (cache / FILES[1]).unlink()

    with pytest.raises(ImageError, match=r"passwd_1%3a4\.17\.4-2_amd64\.deb is installed, but not among"):
        lock.installed(root, cache)


def test_renewed_lock_is_kept(tmp_path: Path) -> None:
    """It is one line a package, and then holds."""
    path, packages = tmp_path / "new/lock.txt", [Package("a", "1", ONE), Package("b", "1:2-3", OTHER)]

    lock.settle(path, packages, renew=True)
    lock.settle(path, packages)

    assert path.read_text(encoding="ascii") == f"a 1 {ONE}\nb 1:2-3 {OTHER}\n"


# packages of the lock, packages found, and what is told
DIFFERENCES = [
    ([("a", "1", ONE)], [("a", "2", OTHER)], [f"  - a 1 {ONE[:12]}", f"  + a 2 {OTHER[:12]}"]),
    ([("a", "1", ONE)], [("a", "1", OTHER)], [f"  - a 1 {ONE[:12]}", f"  + a 1 {OTHER[:12]}"]),
    ([("a", "1", ONE)], [], [f"  - a 1 {ONE[:12]}"]),
    ([], [("a", "1", ONE)], [f"  + a 1 {ONE[:12]}"]),
]


@pytest.mark.parametrize(("known", "found", "told"), DIFFERENCES)
def test_differences_are_told(
    known: list[tuple[str, str, str]], found: list[tuple[str, str, str]], told: list[str], tmp_path: Path
) -> None:
    """What was locked, what there is, and how to go on."""
    path = tmp_path / "lock.txt"
    lock.settle(path, [Package(*package) for package in known], renew=True)

    with pytest.raises(ImageError) as caught:
        lock.settle(path, [Package(*package) for package in found])

    summary, *lines = str(caught.value).splitlines()
    assert "lock.txt" in summary
    assert "make image ARGS=--renew-lock" in summary
    assert lines == told


def test_the_missing_lock_locks_nothing_out(tmp_path: Path) -> None:
    """Without a lock nothing is built, and a long list is cut."""
    packages = [Package(f"p{number:03}", "1", ONE) for number in range(100)]

    with pytest.raises(ImageError) as caught:
        lock.settle(tmp_path / "none.txt", packages)

    assert str(caught.value).splitlines()[-1] == "  … and 76 more"


# a lock that the build has renewed, what was in it, and the commit as the image tells it
RENEWALS = [
    ("x86_64.txt", "as it was", "c0ffee"),
    ("x86_64.txt", "other packages", "c0ffee-dirty"),
    ("tools/bake.x86_64.txt", "other packages", "c0ffee-dirty"),
]


@pytest.mark.parametrize(("renewed", "before", "commit"), RENEWALS)
def test_an_image_of_a_lock_that_was_renewed_is_not_the_commits(
    renewed: str, before: str, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called so only if its lock is the one that was committed."""
    root, cache = tree(tmp_path / "bake")
    (root.parent / "debs").mkdir()
    (root.parent / "debs/discriminat_0.1.0_amd64.deb").touch()
    monkeypatch.setattr(lock, "DIRECTORY", tmp_path / "lock")
    monkeypatch.setattr(steps, "CACHE", cache)
    found = lock.installed(root, cache)
    lock.settle(lock.path(ARCHITECTURES["x86_64"]), found, renew=True)
    (tmp_path / "lock/tools").mkdir()
    as_found = (tmp_path / "lock/x86_64.txt").read_text()
    (tmp_path / "lock" / renewed).write_text(as_found if before == "as it was" else before)
    order = Order(read_recipe(), ARCHITECTURES["x86_64"], Revision("1.2.3", "c0ffee", 1_700_000_000))
    bake = steps.Bake(order, root.parent, [], renew_lock=True)
    (tmp_path / "lock" / renewed).write_text(as_found)  # the tools' lock is renewed in a step before

    steps.compare_lock(bake)

    assert manifest.inner(bake.order, "13.1", "6.12", bake.packages)["commit"] == commit
    steps.compare_lock(bake)
    assert bake.order.revision.commit == commit
