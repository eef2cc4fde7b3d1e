"""Packages come from where this machine's come from, its release replaced by the image's; and from nowhere else."""

from pathlib import Path

import pytest

from image import apt
from image.apt import Source, deb822, names, one_line, replaced
from image.errors import ImageError

DEBIAN_12 = 'NAME="Debian GNU/Linux"\nVERSION_CODENAME=bookworm\nID=debian\n'
UBUNTU = "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n"
MAIN, SECURITY = "http://archive.test/debian", "http://security.test/debian"

LINES = f"""\
# deb {MAIN} commented main
deb {MAIN} bookworm main contrib
deb  [ arch=amd64 signed-by=/usr/share/keyrings/debian.gpg ]  {SECURITY}  bookworm-security  main # updates
deb [trusted=yes] {MAIN} bookworm-updates main
deb-src {MAIN} bookworm main
deb {MAIN} bookworm non-free
deb
"""
FROM_LINES = [
    Source(MAIN, "bookworm"),
    Source(SECURITY, "bookworm-security", "/usr/share/keyrings/debian.gpg"),
    Source(MAIN, "bookworm-updates"),
]

STANZAS = f"""\
Types: deb deb-src
# the mirror of the house
URIs: {MAIN}
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

types: deb
uris: {SECURITY}
 {MAIN}-security
suites: bookworm-security
components:
 main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGPL0BUBEADmW5NdOOHwPIJlgPu6JDcKw/NZJPR8lsD3K87ZM18gzyQZJD
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
\t
Types: deb-src
URIs: http://source.test/debian
Suites: bookworm
Components: main
"""
FROM_STANZAS = [
    Source(MAIN, "bookworm", "/usr/share/keyrings/debian.gpg"),
    Source(MAIN, "bookworm-updates", "/usr/share/keyrings/debian.gpg"),
    Source(SECURITY, "bookworm-security"),
    Source(f"{MAIN}-security", "bookworm-security"),
]


def test_lines_are_read() -> None:
    """Options are understood, comments and sources are not packages, and `trusted` is not taken over."""
    assert list(one_line(LINES)) == FROM_LINES


def test_stanzas_are_read() -> None:
    """In any case, over several lines, with a key in their midst; a disabled one is none."""
    assert list(deb822(STANZAS)) == FROM_STANZAS


@pytest.mark.parametrize("text", [LINES, STANZAS, "", "\n\n", "deb [ ] x", "Types\nURIs", ": :\n : x"])
@pytest.mark.parametrize("reader", [one_line, deb822])
def test_no_text_confuses_a_reader(reader: object, text: str) -> None:
    """Each reads the other's files without a fault."""
    assert callable(reader)
    list(reader(text))


# suites of this machine, and what they become on Debian 12 when the image is trixie's
SUITES = [
    ("bookworm", "trixie"),
    ("bookworm-updates", "trixie-updates"),
    ("bookworm-security", "trixie-security"),
    ("stable", "trixie"),
    ("stable-security", "trixie-security"),
    ("trixie", "trixie"),
    ("trixie-updates", "trixie-updates"),
    ("bookworm-backports", None),
    ("bookworm-proposed-updates", None),
    ("cloud-sdk-bookworm", None),
    ("nodistro", None),
    ("bullseye", None),
]


@pytest.mark.parametrize(("suite", "becomes"), SUITES)
def test_release_is_replaced(suite: str, becomes: str | None) -> None:
    """What is not an archive of Debian's own release is left out."""
    found = list(replaced([Source(MAIN, suite, "/key")], "trixie", names(DEBIAN_12)))

    assert found == ([Source(MAIN, becomes, "/key")] if becomes else [])


def test_each_archive_once() -> None:
    """An archive that is named twice, or under two names, is one."""
    twice = [Source(MAIN, suite) for suite in ("bookworm", "stable", "bookworm")]

    assert list(replaced(twice, "trixie", names(DEBIAN_12))) == [Source(MAIN, "trixie")]


def test_another_distribution_is_not_debian() -> None:
    """Ubuntu's archive has no trixie; but a line for trixie that somebody added there is taken."""
    archives = [Source("http://ubuntu.test", "noble"), Source("http://ubuntu.test", "stable"), Source(MAIN, "trixie")]

    assert list(replaced(archives, "trixie", names(UBUNTU))) == [Source(MAIN, "trixie")]


def test_files_of_both_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sources.list, *.list and *.sources count, as apt reads them; anything else does not."""
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text(f"deb {MAIN} bookworm main\n", encoding="utf-8")
    (parts / "a.list").write_text(f"deb {SECURITY} bookworm-security main\n", encoding="utf-8")
    (parts / "b.sources").write_text(STANZAS, encoding="utf-8")
    (parts / "c.list.save").write_text("deb http://old.test bookworm main\n", encoding="utf-8")
    release = tmp_path / "os-release"
    release.write_text(DEBIAN_12, encoding="utf-8")
    monkeypatch.setattr(apt, "CONFIGURATION", tmp_path)
    monkeypatch.setattr(apt, "OS_RELEASE", release)

    assert {source.uri for source in apt.sources("trixie")} == {MAIN, SECURITY, f"{MAIN}-security"}
    assert {source.suite for source in apt.sources("trixie")} == {"trixie", "trixie-updates", "trixie-security"}


def test_no_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the option that helps."""
    monkeypatch.setattr(apt, "CONFIGURATION", tmp_path)

    with pytest.raises(ImageError, match=r"no archive of Debian in .*: name one with --mirror and --security-mirror"):
        apt.sources("trixie")


def test_mirror_is_enough() -> None:
    """The security archive of a mirror is where mirrors have it, or where one says."""
    lines = [source.line() for source in apt.sources("trixie", MAIN)]
    assert lines == [
        f"deb {MAIN} trixie main",
        f"deb {MAIN} trixie-updates main",
        f"deb {MAIN}-security trixie-security main",
    ]
    assert apt.sources("trixie", MAIN, SECURITY)[2] == Source(SECURITY, "trixie-security")


def test_keyring_is_in_the_line() -> None:
    """So that apt believes the archive's own key alone."""
    assert Source(MAIN, "trixie", "/key.gpg").line() == f"deb [signed-by=/key.gpg] {MAIN} trixie main"


SETTINGS = """\
Acquire::https::Verify-Peer "true";
Acquire::http::Proxy "http://proxy.test:3128";
Acquire::Check-Valid-Until "false";
Acquire::Languages:: "none";
Acquire::AllowInsecureRepositories "1";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"""


def test_settings_of_the_network_alone() -> None:
    """A proxy is wanted; what makes apt believe anything is not."""
    assert list(apt.network_settings(SETTINGS)) == SETTINGS.splitlines()[:3]
