"""The bill of materials: valid CycloneDX, the same octets each time, with licences, digests and source packages."""

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from image import sbom
from image.licences import SPDX_NAMES, is_spdx, licences
from image.lock import Package
from tests.image.specimen import put, stanza
from tests.image.test_units import STATUS

DIGEST = "5" * 64
OWN = f"\n{stanza('discriminat', '0.1.0')}Depends: zstd, curl | libc6 (>= 2)\n"
DEP5 = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: "


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "root/var/lib/dpkg/status", STATUS + OWN)
    put(tmp_path, "root/etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n')
    put(tmp_path, "root/usr/share/doc/libc6/copyright", f"{DEP5}LGPL-2.1+\n\nFiles: x\nLicense: Inner-Net\n")
    put(tmp_path, "root/usr/share/doc/zstd/copyright", f"{DEP5}BSD-3-clause or GPL-2\n")
    return tmp_path / "root"


def written(root: Path, name: str = "a") -> tuple[str, str]:
    locked = [Package("libc6", "2.41-12+b1", DIGEST), Package("zstd", "1.5.7", DIGEST)]
    path = root.parent / f"{name}.cdx.json"
    sbom.write(root, locked, path, epoch=1_790_000_000, name="discriminat-0.1.0-x86_64")
    return path.read_text(), path.with_name(f"{name}.sources.txt").read_text()


def test_it_is_cyclonedx(root: Path) -> None:
    """The official schema of version 1.6 finds nothing, formats and unknown keys included."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written(root)[0]) is None


def test_it_is_the_same_each_time(root: Path) -> None:
    """No clock, no random number; its serial number follows from its content."""
    first, again = written(root), written(root, "b")
    (root / "var/lib/dpkg/status").write_text(STATUS)
    other = written(root)

    assert first == again
    assert json.loads(first[0])["metadata"]["timestamp"] == "2026-09-21T14:13:20Z"
    assert json.loads(first[0])["serialNumber"] != json.loads(other[0])["serialNumber"]


def test_every_package_is_in_it(root: Path) -> None:
    """By the name that scanners and Debian's security tracker know it by, with its file's digest."""
    document = json.loads(written(root)[0])
    libc6, own, zstd = (
        {each["name"]: each for each in document["components"]}[name] for name in ("libc6", "discriminat", "zstd")
    )

    assert libc6["purl"] == "pkg:deb/debian/libc6@2.41-12%2Bb1?arch=amd64&distro=debian-13&upstream=glibc%402.41-12"
    assert zstd["purl"] == "pkg:deb/debian/zstd@1.5.7?arch=amd64&distro=debian-13"
    assert own["purl"] == "pkg:generic/discriminat@0.1.0"
    assert [component.get("hashes") for component in (libc6, own)] == [[{"alg": "SHA-256", "content": DIGEST}], None]
    assert libc6["licenses"] == [{"license": {"name": "Inner-Net"}}, {"license": {"id": "LGPL-2.1-or-later"}}]
    assert zstd["licenses"] == [{"license": {"name": "BSD-3-Clause OR GPL-2.0-only"}}]
    needs = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    assert needs[own["bom-ref"]] == sorted([libc6["bom-ref"], zstd["bom-ref"]])


def test_source_packages_are_listed(root: Path) -> None:
    """As Debian's security tracker names them, without ours."""
    assert written(root)[1] == "glibc 2.41-12\nzstd 1.5.7\n"


FREE_FORM = """\
This program is free software; you can redistribute it under the terms of the GNU Lesser General Public
License as published by the Free Software Foundation; either version 2.1 of the License, or (at your option)
any later version. See /usr/share/common-licenses/LGPL-2.1, and /usr/share/common-licenses/Apache-2.0.
"""
LICENCES = [
    (f"{DEP5}GPL-2+\n", ["GPL-2.0-or-later"]),
    (f"{DEP5}GPL-3.0-only\n", ["GPL-3.0-only"]),
    (f"{DEP5}Expat\n\nFiles: x\nLicense: Expat\n", ["MIT"]),
    (f"{DEP5}GPL-1+ or Artistic\n", ["GPL-1.0-or-later OR Artistic-1.0-Perl"]),
    (f"{DEP5}ISC and LGPL-2.1+, BSD-2-clause\n", ["BSD-2-Clause", "ISC", "LGPL-2.1-or-later"]),
    (f"{DEP5}GPL-2+ with OpenSSL exception\n", ["GPL-2+ with OpenSSL exception"]),
    (f"{DEP5}Permission to use, copy, modify, and distribute this software for any purpose is granted\n", []),
    (f"{DEP5}public-domain\n", ["public-domain"]),
    (FREE_FORM, ["Apache-2.0", "LGPL-2.1", "LGPL-2.1-or-later"]),
    ("The GNU General Public License, version 3 (or later)\n", ["GPL-3.0-or-later"]),
    ("Permission is hereby granted, free of charge, to any person\nobtaining a copy of it\n", ["MIT"]),
    ("distribute this software and its documentation for any\npurpose with or without fee is hereby granted", ["ISC"]),
    (
        "* The names of the contributors may not be used to endorse or\n  promote products derived from",
        ["BSD-3-Clause"],
    ),
    ("all rights reserved", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "names"), LICENCES)
def test_licences_of_a_copyright_file(text: str, names: list[str]) -> None:
    """SPDX's names where there is one, Debian's where there is none; choices stay choices."""
    assert licences(text) == names


def test_names_of_spdx_are_in_its_list() -> None:
    """Whatever is given as an SPDX identifier is one, as the schema lists them."""
    component = {"type": "library", "name": "a", "licenses": [{"license": {"id": name}} for name in sorted(SPDX_NAMES)]}
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component]}

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    assert not is_spdx("GPL-2.0-or-later OR MIT")
