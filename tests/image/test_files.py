"""Files of the image do not show who laid them there, and give nobody another's rights."""

import os
import stat
from pathlib import Path

import pytest

from image import files
from image.errors import ImageError

EPOCH = 1_700_000_000


def modes(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.lstat().st_mode & 0o7777 for path in files.everything(directory)}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_are_the_same_for_everybody(umask: int, tmp_path: Path) -> None:
    """Whatever the umask was when the clone was made."""
    source, target = tmp_path / "source", tmp_path / "target"
    before = os.umask(umask)
    try:
        (source / "usr/bin").mkdir(parents=True)
        (source / "usr/bin/run").write_text("run", encoding="utf-8")
        (source / "usr/bin/run").chmod(0o777 & ~umask)
        (source / "plain").write_text("plain", encoding="utf-8")
        os.umask(0o022)
        files.lay(source, target)
    finally:
        os.umask(before)

    assert modes(target) == {".": 0o755, "plain": 0o644, "usr": 0o755, "usr/bin": 0o755, "usr/bin/run": 0o755}


def test_what_a_program_left_is_not_laid(tmp_path: Path) -> None:
    """Neither bytecode nor compiled modules of the machine that bakes."""
    source = tmp_path / "source"
    (source / "__pycache__").mkdir(parents=True)
    for name in ("a.py", "a.pyc", "a.cpython-311-x86_64-linux-gnu.so", "__pycache__/a.cpython-311.pyc"):
        (source / name).touch()

    files.lay(source, tmp_path / "target")

    assert [path.name for path in (tmp_path / "target").iterdir()] == ["a.py"]


def test_a_link_is_laid_as_a_link_and_never_followed(tmp_path: Path) -> None:
    """What lies over a link of the tree takes its place, not that of what it leads to."""
    source, target, elsewhere = (tmp_path / name for name in ("source", "target", "elsewhere"))
    for directory in (source, target):
        directory.mkdir()
    elsewhere.write_text("of this machine", encoding="utf-8")
    (target / "file").symlink_to(elsewhere)
    (target / "masked").write_text("a unit", encoding="utf-8")
    (source / "file").write_text("ours", encoding="utf-8")
    (source / "masked").symlink_to("/dev/null")

    files.lay(source, target)

    assert elsewhere.read_text(encoding="utf-8") == "of this machine"
    assert (target / "file").read_text(encoding="utf-8") == "ours"
    assert (target / "masked").readlink() == Path("/dev/null")


def test_a_directory_is_not_laid_through_a_link(tmp_path: Path) -> None:
    """A link of the tree may lead out of it."""
    (tmp_path / "source/var").mkdir(parents=True)
    (tmp_path / "target").mkdir()
    (tmp_path / "target/var").symlink_to(tmp_path)

    with pytest.raises(ImageError, match="/target/var is a link: lay files where it leads to"):
        files.lay(tmp_path / "source", tmp_path / "target")


def test_nothing_is_newer_than_the_commit(tmp_path: Path) -> None:
    """What is older stays, also of a link."""
    for name, changed in (("old", EPOCH - 5), ("new", EPOCH + 5)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (changed, changed))
    (tmp_path / "link").symlink_to("nowhere")

    files.backdate(tmp_path, EPOCH)

    times = {path.name: path.lstat().st_mtime for path in tmp_path.iterdir()}
    assert times == {"old": EPOCH - 5, "new": EPOCH, "link": EPOCH}
    assert tmp_path.stat().st_mtime == EPOCH


def test_what_matches_is_removed(tmp_path: Path) -> None:
    """A pattern that leaves by `..` or by a link removes nothing elsewhere."""
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for path in (root / "var/log/apt", root / "var/lib", elsewhere):
        path.mkdir(parents=True)
    (root / "var/log/dpkg.log").touch()
    (root / "var/log/link").symlink_to(elsewhere)
    (elsewhere / "kept").touch()

    files.remove(root, ("var/log/*", "etc/nothing"))

    (root / "way").symlink_to(elsewhere)
    for pattern in ("way/*", "../elsewhere/*", "../elsewhere", "var/..", ".."):
        with pytest.raises(ImageError, match="leads out of the tree"):
            files.remove(root, (pattern,))

    assert list((root / "var/log").iterdir()) == []
    assert (root / "var/lib").is_dir()
    assert (elsewhere / "kept").exists()


def test_nobody_gets_the_rights_of_another(tmp_path: Path) -> None:
    """No setuid, no setgid, no shell to log in to; the sticky bit of /tmp stays."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\nsync:x:4:65534:sync:/bin:/bin/sync\n", encoding="utf-8"
    )
    (tmp_path / "mount").touch()
    (tmp_path / "mount").chmod(0o4755)
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail").chmod(0o2775)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)

    files.harden(tmp_path)

    assert {name: modes(tmp_path)[name] for name in ("mount", "mail", "tmp")} == {
        "mount": 0o755,
        "mail": 0o775,
        "tmp": 0o777 | stat.S_ISVTX,
    }
    assert (tmp_path / "etc/passwd").read_text(encoding="utf-8") == (
        "root:x:0:0:root:/root:/usr/sbin/nologin\nsync:x:4:65534:sync:/bin:/usr/sbin/nologin\n"
    )
