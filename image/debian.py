"""What Debian writes down about a system: installed packages and accounts.

Source: Debian Policy 5.3 (control fields), passwd(5), shadow(5).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

STATUS = "/var/lib/dpkg/status"
SOURCE = re.compile(r"(?P<name>\S+)(?: \((?P<version>[^)]+)\))?")


@dataclass(frozen=True)
class Package:
    """An installed binary package, and the source package that Debian's security tracker knows it by."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    fields: dict[str, str] = field(default_factory=dict, compare=False)


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """Yield the fields of each stanza of a control file, their names in lower case."""
    for stanza in re.split(r"\n[ \t]*\n", text):
        found = re.findall(r"^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, flags=re.MULTILINE)
        if found:
            yield {name.lower(): value.strip() for name, value in found}


def installed(status: str) -> dict[str, Package]:
    """Return the packages that dpkg's status says are installed, by name."""
    found = {}
    for fields in stanzas(status):
        if fields.get("status", "").split()[-1:] != ["installed"]:
            continue
        name, version = fields["package"], fields["version"]
        source = SOURCE.fullmatch(fields.get("source", name))
        found[name] = Package(
            name,
            version,
            fields["architecture"],
            source["name"] if source else name,
            (source["version"] if source else None) or version,
            fields,
        )
    return found


def accounts(text: str) -> list[list[str]]:
    """Return the fields of each line of passwd, shadow, group or gshadow."""
    return [line.split(":") for line in text.splitlines() if line]
