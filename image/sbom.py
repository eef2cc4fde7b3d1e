"""The bill of materials: CycloneDX 1.6 of every Debian package and of our own, the same octets for the same image.

Source: CycloneDX 1.6 (ECMA-424), JSON; Package URL Specification, type `deb`.

Beside it stands a list of source packages and versions, which is how Debian's security tracker names what is
vulnerable; `upstream` in a package's URL says the same to scanners.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from image import lock
from image.debian import STATUS, Package, installed
from image.licences import is_spdx, licences
from image.tree import FileTree

OWN_LICENCE = "Apache-2.0"  # and that of AWS's agent
NAMESPACE = uuid.UUID("6f3f1d5c-6c0e-5d0b-9a55-0f4a3b1c7e21")  # ours: of serial numbers made from content

Json = dict[str, Any]


def write(root: Path, locked: Iterable[lock.Package], destination: Path, *, epoch: int, name: str) -> None:
    """Write the bill of materials of a root tree, and beside it the list of source packages.

    Args:
        root: the tree as it goes into the image, with dpkg's status and the copyright files.
        locked: Debian's packages as the lock has them, for the digests of their files.
        destination: `NAME.cdx.json`; the list goes into `NAME.sources.txt`.
        epoch: SOURCE_DATE_EPOCH, in seconds.
        name: what the image is called.
    """
    tree = FileTree(root)
    packages = installed(tree.text(STATUS))
    digests = {package.name: package.sha256 for package in locked}
    document = bill(tree, packages, digests, epoch=epoch, name=name)
    destination.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    listed = destination.with_name(destination.name.removesuffix(".cdx.json") + ".sources.txt")
    listed.write_text(sources(packages), encoding="utf-8")


def sources(packages: Mapping[str, Package]) -> str:
    """Return `source version` lines, sorted, each once: of Debian's packages, not of ours."""
    found = {f"{package.source} {package.source_version}" for name, package in packages.items() if name not in lock.OWN}
    return "".join(f"{line}\n" for line in sorted(found))


def bill(tree: FileTree, packages: Mapping[str, Package], digests: Mapping[str, str], *, epoch: int, name: str) -> Json:
    """Return the bill of materials as CycloneDX's JSON; `digests` has the SHA-256 of each .deb by package."""
    release = dict(line.split("=", 1) for line in tree.text("/etc/os-release").splitlines() if "=" in line)
    distribution = f"{release.get('ID', 'debian')}-{release.get('VERSION_ID', '')}".replace('"', "").rstrip("-")
    urls = {package.name: url(package, distribution) for package in packages.values()}
    components = [_component(tree, packages[key], urls[key], digests.get(key, "")) for key in sorted(packages)]
    own = packages.get(lock.OWN[0])
    subject = f"image:{name}"
    document: Json = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "operating-system",
                "bom-ref": subject,
                "name": name,
                "version": own.version if own else "",
                "licenses": [{"license": {"id": OWN_LICENCE}}],
            },
        },
        "components": components,
        "dependencies": [
            {"ref": subject, "dependsOn": sorted(urls.values())},
            *({"ref": urls[key], "dependsOn": _needs(packages[key], urls)} for key in sorted(packages)),
        ],
    }
    content = json.dumps(document, sort_keys=True)
    return {"serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}", **document}


def url(package: Package, distribution: str) -> str:
    """Return the package URL; that of ours says that it is not Debian's."""
    version = quote(package.version, safe=":")
    if package.name in lock.OWN:
        return f"pkg:generic/{package.name}@{version}"
    upstream = "" if package.source == package.name else f"&upstream={quote(package.source)}"
    if package.source_version != package.version:
        upstream = f"&upstream={quote(package.source)}%40{quote(package.source_version, safe=':')}"
    name = quote(package.name)
    return f"pkg:deb/debian/{name}@{version}?arch={package.architecture}&distro={quote(distribution)}{upstream}"


def _component(tree: FileTree, package: Package, reference: str, sha256: str) -> Json:
    own = package.name in lock.OWN
    names = (
        [OWN_LICENCE]
        if own or package.name == lock.AGENT
        else licences(tree.text(f"/usr/share/doc/{package.name}/copyright"))
    )
    component: Json = {
        "type": "application" if own else "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
        "purl": reference,
        "licenses": [{"license": {"id" if is_spdx(name) else "name": name}} for name in names],
        "properties": [
            {"name": "debian:source", "value": package.source},
            {"name": "debian:source-version", "value": package.source_version},
        ],
    }
    if description := package.fields.get("description", "").partition("\n")[0]:
        component["description"] = description
    if maintainer := package.fields.get("maintainer"):
        component["supplier"] = {"name": maintainer.partition(" <")[0]}
    if sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    return component


def _needs(package: Package, urls: Mapping[str, str]) -> list[str]:
    """Return the references of what a package depends on, of each alternative those that are installed."""
    words = f"{package.fields.get('pre-depends', '')},{package.fields.get('depends', '')}"
    names = {
        choice.split()[0].partition(":")[0] for part in words.split(",") for choice in part.split("|") if choice.split()
    }
    return sorted(urls[name] for name in names & urls.keys())
