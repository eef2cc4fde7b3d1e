"""The manifest of the image that this program came in: which commit, which Debian, which packages.

The image's builder writes it (schema 1). A program that was installed in another way has none.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import InputError

PATH = Path("/usr/lib/discriminat/manifest.json")
SCHEMA = 1
_HINT = "it is part of the image: bake it again"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the image is made of. `commit` ends in `-dirty` if what was built is not what was committed.

    `source_date_epoch`: time of the commit, seconds since 1970. `packages`: version by name.
    """

    name: str
    version: str
    architecture: str
    commit: str
    source_date_epoch: int
    debian: str
    suite: str
    kernel: str
    packages: dict[str, str]


_KINDS = {field: int if field == "source_date_epoch" else str for field in Manifest.__slots__ if field != "packages"}


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest; None if there is none.

    Raises:
        InputError: there is one, and it cannot be read or understood.
    """
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise InputError(f"{path}: {fault.strerror}", hint=_HINT) from None
    except ValueError as fault:  # of JSON, or of its encoding
        raise InputError(f"{path}: not JSON: {fault}", hint=_HINT) from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise InputError(f"{path}: not a manifest of schema {SCHEMA}", hint=_HINT)
    for name, kind in _KINDS.items():
        if type(document.get(name)) is not kind:
            raise InputError(f"{path}: {name!r} is {document.get(name)!r}, not {_word(kind)}", hint=_HINT)
    packages = document.get("packages")
    if not isinstance(packages, dict) or not all(isinstance(version, str) for version in packages.values()):
        raise InputError(f"{path}: 'packages' does not give each name a version", hint=_HINT)
    return Manifest(**{name: document[name] for name in _KINDS}, packages=packages)


def _word(kind: type) -> str:
    return "a whole number" if kind is int else "a text"
