"""What is in it is what was asked for, from whom, and nothing is left of how it was made."""

import re
from collections.abc import Iterator

from image.lock import AGENT, OWN
from image.opened import Opened
from image.promises.promise import Promise

NAME = "discriminat"
ENDPOINTS = {"endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"}
BOTOCORE = "/usr/lib/python3/dist-packages/botocore/data/"
SESSION_MANAGER = re.compile(r"/(?:amazon-ssm-agent|ssm-agent-worker|ssm-session-worker)$")
EMPTY = ("/etc/apt", "/var/lib/apt", "/var/cache/apt", "/var/log", "/var/tmp", "/tmp", "/root", "/home", "/run")  # noqa: S108
ARCHIVE = re.compile(
    r"https?://[^\s\"'<>]+/debian(?:-security)?(?:/|\s|$)|^\s*Acquire::|^\s*https?_proxy=", re.MULTILINE
)
GENERATED = ("/var/cache/ldconfig/aux-cache", "/var/lib/dpkg/available-old", "/var/lib/dpkg/status-old")


def report(image: Opened) -> Iterator[str]:
    """Find where the document beside the image tells of another one."""
    expected = {
        "architecture": image.architecture,
        "octets": image.disk.get("octets"),
        "roothash": image.disk.get("verity", {}).get("roothash"),
        "sha256": image.disk.get("sha256"),
        "version": image.manifest.get("version"),
    }
    for name, value in expected.items():
        if image.report.get(name) != value:
            yield f"it tells of the {name} {image.report.get(name, 'nothing')}, the image has {value or 'none'}"


def manifest(image: Opened) -> Iterator[str]:
    """Find where what the machine says of itself is not so."""
    if not image.manifest:
        yield "there is no manifest"
        return
    expected = {
        "schema": 1,
        "name": NAME,
        "architecture": image.architecture,
        "version": image.packages[NAME].version if NAME in image.packages else "",
        "kernel": image.kernel,
    }
    for name, value in expected.items():
        if image.manifest.get(name) != value:
            yield f"its {name} is {image.manifest.get(name)}, the image has {value or 'none'}"
    for name in ("commit", "source_date_epoch", "debian", "suite"):
        if not image.manifest.get(name):
            yield f"it has no {name}"
    yield from _differences("the manifest", image.manifest.get("packages", {}), _debian(image))


def locked(image: Opened) -> Iterator[str]:
    """Find packages other than those of the lock."""
    listed = {name: version for name, (version, _) in image.wanted.lock.items()}
    yield from _differences("the lock", listed, _debian(image))
    for name in OWN:
        if name not in image.packages:
            yield f"the package {name} is not installed"


def sbom(image: Opened) -> Iterator[str]:
    """Find packages that the bill of materials leaves out, or has otherwise."""
    if not image.sbom:
        yield "there is no bill of materials beside the image"
    components = {item.get("name"): item for item in image.sbom.get("components", [])}
    installed = {name: package.version for name, package in image.packages.items()}
    listed = {str(name): str(item.get("version")) for name, item in components.items()}
    yield from _differences("the bill of materials", listed, installed)
    for name, item in components.items():
        if not item.get("licenses"):
            yield f"the bill of materials has no licence of {name}"
        hashes = {entry["content"] for entry in item.get("hashes", []) if entry.get("alg") == "SHA-256"}
        if name in image.wanted.lock and hashes != {image.wanted.lock[name][1]}:
            yield f"the bill of materials has another digest of {name} than the lock"


def botocore(image: Opened) -> Iterator[str]:
    """Find descriptions of AWS services that the engine does not use."""
    services = {
        entry.path.removeprefix(BOTOCORE).split("/")[0]
        for entry in image.tree.under(BOTOCORE)
        if not entry.is_directory
    }
    for name in sorted(services - set(image.wanted.services) - ENDPOINTS):
        yield f"botocore knows {name}, which the engine does not use"
    for name in sorted(set(image.wanted.services) - services):
        yield f"botocore does not know {name}, which the engine uses"


def session_manager(image: Opened) -> Iterator[str]:
    """Find the agent that lets people in, where the recipe has not asked for it."""
    found = [path for path in image.tree.entries if SESSION_MANAGER.search(path)]
    if image.wanted.session_manager and not found:
        yield "the recipe asks for the agent of Session Manager, and it is not there"
    if not image.wanted.session_manager:
        yield from (f"{path} is there, and the recipe does not ask for it" for path in found)


def nothing_left(image: Opened) -> Iterator[str]:
    """Find traces of how the image was made."""
    for entry in image.tree.under(*EMPTY):
        if not entry.is_directory and not (entry.is_file and entry.size == 0 and entry.path.startswith("/var/log/")):
            yield f"{entry.path} is left over"
    for path in GENERATED:
        if image.tree.has(path):
            yield f"{path} is left over"
    for entry in image.tree.under("/etc", "/var"):
        if entry.is_file and ARCHIVE.search(image.tree.text(entry.path)):
            yield f"{entry.path} names an archive or a proxy"


def not_newer(image: Opened) -> Iterator[str]:
    """Find files whose time is that of the build rather than of the commit."""
    epoch = image.manifest.get("source_date_epoch", 0)
    for path, entry in image.tree.entries.items():
        if entry.changed > epoch:
            yield f"{path} is newer than the commit"


def _debian(image: Opened) -> dict[str, str]:
    """Return the versions of the packages that are not made from the commit."""
    others = (*OWN, AGENT) if image.wanted.session_manager else OWN
    return {name: package.version for name, package in image.packages.items() if name not in others}


def _differences(where: str, listed: dict[str, str], installed: dict[str, str]) -> Iterator[str]:
    for name in sorted(listed.keys() | installed.keys()):
        if listed.get(name) != installed.get(name):
            yield f"{name}: {where} has {listed.get(name, 'nothing')}, the image {installed.get(name, 'nothing')}"


CONTENT = (
    Promise("report", "The document beside it has its digest, size and root hash.", report),
    Promise(
        "manifest",
        "`discriminat version` shows the truth: the manifest on the machine matches what is installed.",
        manifest,
    ),
    Promise("locked", "Its packages are those of the lock file, version by version.", locked),
    Promise("sbom", "The bill of materials lists every package, with licence and the lock's digest.", sbom),
    Promise("botocore", "AWS's descriptions are cut down to the services that are used.", botocore),
    Promise(
        "session-manager", "The agent of Session Manager is there only if the recipe asks for it.", session_manager
    ),
    Promise("nothing-left", "Nothing is left of the build: no logs, no lists, no archive's address.", nothing_left),
    Promise("not-newer", "No file carries the time of the build.", not_newer),
)
