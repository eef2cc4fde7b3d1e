"""Licences of a Debian package, from its copyright file, by their SPDX names where there is one.

Source: Debian "Machine-readable debian/copyright file" 1.0 (DEP 5); SPDX License List 3.

A file of that format names the licence of each part; one in free form is searched for what it points to in
/usr/share/common-licenses, and for the words of the short licences. A name without an SPDX name stays as it is written.
"""

import re
from collections.abc import Iterator
from typing import Final

VERSIONED: Final = {
    "AGPL": {"3": "3.0"},
    "GFDL": {"1.1": "1.1", "1.2": "1.2", "1.3": "1.3"},
    "GPL": {"1": "1.0", "2": "2.0", "3": "3.0"},
    "LGPL": {"2": "2.0", "2.1": "2.1", "3": "3.0"},
}
SPDX: Final = {
    "0bsd": "0BSD",
    "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "artistic-2": "Artistic-2.0",
    "artistic-2.0": "Artistic-2.0",
    "beerware": "Beerware",
    "boost-1.0": "BSL-1.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause",
    "bsd-4-clause-uc": "BSD-4-Clause-UC",
    "bsl-1.0": "BSL-1.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "expat": "MIT",
    "fsfap": "FSFAP",
    "fsful": "FSFUL",
    "fsfullr": "FSFULLR",
    "ftl": "FTL",
    "isc": "ISC",
    "latex2e": "Latex2e",
    "libpng": "Libpng",
    "mit": "MIT",
    "mit/x11": "MIT",
    "mpl-1.1": "MPL-1.1",
    "mpl-2.0": "MPL-2.0",
    "openssl": "OpenSSL",
    "psf-2": "PSF-2.0",
    "psf-2.0": "PSF-2.0",
    "python-2.0": "Python-2.0",
    "sunpro": "SunPro",
    "unicode-dfs-2016": "Unicode-DFS-2016",
    "unlicense": "Unlicense",
    "x11": "X11",
    "zlib": "Zlib",
}
SPDX_NAMES: Final = frozenset(
    {"Artistic-1.0-Perl", *SPDX.values()}
    | {
        f"{family}-{version}-{which}"
        for family, versions in VERSIONED.items()
        for version in versions.values()
        for which in ("only", "or-later")
    }
)
GNU = re.compile(
    r"(A?GPL|LGPL|GFDL)(?:-NIV)?(?:-no-invariants)?[- ]?v?([0-9.]+?)(?:\.0)?(\+|-only|-or-later)?", re.IGNORECASE
)
DEP5 = re.compile(r"\A(?:\s*#.*\n)*\s*Format(?:-Specification)?:", re.IGNORECASE)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+/_~-]*(?: (?:with|or|and|or later|exception|[A-Za-z0-9.+/_~-]+))*")
LONGEST_NAME = 60  # characters; a licence's own words stand where some files should have its name
COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])")
GNU_WORDS = re.compile(
    r"GNU (?P<kind>Lesser |Library |)General Public License,? (?:as published by the Free Software Foundation[;,] "
    r"(?:either )?)?version (?P<version>[0-9.]*[0-9])(?P<later>(?: of the License)?,? ?\(?or)?"
)
WORDS: Final = {
    "Permission is hereby granted, free of charge, to any person obtaining a copy": "MIT",
    "Permission to use, copy, modify, and/or distribute this software for any purpose": "ISC",
    "distribute this software and its documentation for any purpose with or without fee is hereby granted": "ISC",
    "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2": "PSF-2.0",
    "Neither the name of": "BSD-3-Clause",
    "names of the contributors may not be used to endorse or promote products": "BSD-3-Clause",
}


def licences(copyright_file: str) -> list[str]:
    """Return the licences that a copyright file names, sorted; an SPDX name each, or what Debian calls it."""
    found = _named(copyright_file) if DEP5.search(copyright_file) else _found_in(copyright_file)
    return sorted(set(found), key=lambda name: (name.lower(), name))


def _named(text: str) -> Iterator[str]:
    for field in re.findall(r"^License:[ \t]*(.*)$", text, re.MULTILINE | re.IGNORECASE):
        name = " ".join(field.split()).rstrip(".,")
        if len(name) > LONGEST_NAME or NAME.fullmatch(name.replace(",", " and")) is None:
            continue  # the licence's words, which a stanza of their own repeats under a name
        for part in re.split(r",? and |, ", name):
            yield " OR ".join(spdx(choice) for choice in re.split(r",? or (?!later)", part))


def _found_in(text: str) -> Iterator[str]:
    words = " ".join(text.split())
    for name in COMMON.findall(text):
        # a pointer to a text does not say "only" or "or later"
        yield name if GNU.fullmatch(name) else spdx(name)
    yield from (name for phrase, name in WORDS.items() if phrase in words)
    for found in GNU_WORDS.finditer(words):
        yield spdx(f"{'L' if found['kind'] else ''}GPL-{found['version']}{'+' if found['later'] else ''}")


def spdx(name: str) -> str:
    """Return the SPDX name of a licence that Debian calls `name`, or `name` where there is none."""
    if found := GNU.fullmatch(name):
        family, version, later = found[1].upper(), found[2], found[3]
        if version in VERSIONED[family]:
            return f"{family}-{VERSIONED[family][version]}-{'or-later' if later in {'+', '-or-later'} else 'only'}"
    if name in {"Artistic", "Artistic-1"}:
        return "Artistic-1.0-Perl"  # the text that Debian's common-licenses has, which is Perl's
    return SPDX.get(name.lower(), name)


def is_spdx(name: str) -> bool:
    """Say whether a name that `licences` returned is one of the SPDX list."""
    return name in SPDX_NAMES
