"""Where the packages come from: the building machine's own apt configuration, its release replaced by the image's.

So that no mirror's address stands in the repository, and a machine behind a proxy or with a mirror of its own needs
no second configuration. Options that weaken a source (`trusted=yes`) are not taken over.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from image.command import run
from image.errors import ImageError

CONFIGURATION = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
POCKETS = ("", "-updates", "-security")  # never backports or proposed updates
SETTINGS = re.compile(r"Acquire::(https?::.+|Retries|ForceIPv[46]|Check-Valid-Until|Check-Date)")


@dataclass(frozen=True)
class Source:
    """One archive: a suite at an address, and the keyring that signs it."""

    uri: str
    suite: str
    signed_by: str = ""

    def line(self) -> str:
        """As a line of sources.list, of the component that is Debian itself."""
        options = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {options}{self.uri} {self.suite} main"


def sources(suite: str, mirror: str = "", security_mirror: str = "") -> list[Source]:
    """Return the archives of `suite`: at the mirrors given, or as this machine's configuration has them."""
    if mirror:
        security = security_mirror or f"{mirror.rstrip('/')}-security"
        return [Source(security if pocket == "-security" else mirror, suite + pocket) for pocket in POCKETS]
    found = list(replaced(configured(CONFIGURATION), suite, names(OS_RELEASE.read_text(encoding="utf-8"))))
    if not found:
        raise ImageError(f"no archive of Debian in {CONFIGURATION}: name one with --mirror and --security-mirror")
    return found


def names(os_release: str) -> set[str]:
    """Return what this machine's configuration may call its own release of Debian; nothing on another distribution."""
    values = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    if values.get("ID", "").strip('"') != "debian":
        return set()
    return {values.get("VERSION_CODENAME", "").strip('"'), "stable", "oldstable", "testing"} - {""}


def replaced(archives: Iterable[Source], suite: str, own: set[str]) -> Iterator[Source]:
    """Yield the archives of this machine's release, or of the suite itself, as the suite's; each once."""
    seen = set()
    for archive in archives:
        for pocket in POCKETS:
            release = archive.suite.removesuffix(pocket) if pocket else archive.suite
            if release + pocket == archive.suite and release in own | {suite}:
                source = Source(archive.uri, suite + pocket, archive.signed_by)
                if source not in seen:
                    seen.add(source)
                    yield source


def configured(directory: Path) -> Iterator[Source]:
    """Yield every archive of binary packages in an apt configuration that holds Debian's main component."""
    for path in sorted([directory / "sources.list", *directory.glob("sources.list.d/*")]):
        if path.suffix == ".list" and path.is_file():
            yield from one_line(path.read_text(encoding="utf-8"))
        elif path.suffix == ".sources":
            yield from deb822(path.read_text(encoding="utf-8"))


def one_line(text: str) -> Iterator[Source]:
    """Read `deb [signed-by=KEYRING] URI SUITE COMPONENT…` lines."""
    for line in text.splitlines():
        found = re.fullmatch(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<rest>[^#]+?)\s*(?:#.*)?", line)
        if found is None:
            continue
        options = dict(option.partition("=")[::2] for option in shlex.split(found["options"] or ""))
        suite, *components = found["rest"].split()
        if "main" in components:
            yield Source(found["uri"], suite, options.get("signed-by", ""))


def deb822(text: str) -> Iterator[Source]:
    """Read stanzas of `Types:`, `URIs:`, `Suites:`, `Components:`, `Signed-By:`; of that, paths alone."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", lines):
        fields = {
            name.lower(): value.strip()
            for name, value in re.findall(r"^([\w-]+):((?:.*(?:\n[ \t].*)*))", stanza, flags=re.MULTILINE)
        }
        wanted = "deb" in fields.get("types", "").split() and "main" in fields.get("components", "").split()
        if not wanted or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        keyring = fields.get("signed-by", "")
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, keyring if keyring.startswith("/") else "")


def settings() -> list[str]:
    """Return this machine's settings of how packages are fetched, proxies above all, as lines of apt.conf."""
    return list(network_settings(run(["apt-config", "dump", "--no-empty", "Acquire"])))


def network_settings(dump: str) -> Iterator[str]:
    """Yield those lines of `apt-config dump` that say how an archive is reached, not those on what to believe."""
    for line in dump.splitlines():
        if SETTINGS.fullmatch(line.partition(" ")[0]):
            yield line
