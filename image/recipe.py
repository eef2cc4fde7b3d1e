"""The recipe: recipe.toml, typed. A key that is unknown, missing or of another type is refused with its name."""

import dataclasses
import platform
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image.errors import ImageError

PATH = Path(__file__).with_name("recipe.toml")


@dataclass(frozen=True)
class Architecture:
    """What one architecture is called, by AWS, Debian, compilers and UEFI, and the types of its root partitions."""

    name: str
    debian: str
    triplet: str
    efi_arch: str
    root_type: str
    verity_type: str
    bios: bool  # whether machines without UEFI have to be started


ARCHITECTURES = {
    "x86_64": Architecture(
        name="x86_64",
        debian="amd64",
        triplet="x86_64-linux-gnu",
        efi_arch="x64",
        root_type="4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
        verity_type="2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5",
        bios=True,
    ),
    "arm64": Architecture(
        name="arm64",
        debian="arm64",
        triplet="aarch64-linux-gnu",
        efi_arch="aa64",
        root_type="B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
        verity_type="DF3300CE-D69F-4C92-978C-9BFB0F38D820",
        bios=False,
    ),
}


def architecture(name: str) -> Architecture:
    """Return an architecture by AWS's name for it."""
    if name not in ARCHITECTURES:
        raise ImageError(f"unknown architecture {name!r}: use one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def native() -> Architecture:
    """Return this machine's own architecture."""
    return architecture({"aarch64": "arm64"}.get(platform.machine(), platform.machine()))


@dataclass(frozen=True)
class Kernel:
    """Debian's kernel and how it is started."""

    package: Mapping[str, str]
    command_line: tuple[str, ...]
    console: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Initrd:
    """Which of dracut's modules make the initrd, and which drivers are in it."""

    modules: tuple[str, ...]
    drivers: tuple[str, ...]
    force_drivers: tuple[str, ...]
    omit_drivers: tuple[str, ...]


@dataclass(frozen=True)
class Disk:
    """Names and sizes on the disk."""

    uuid: str
    bios_uuid: str
    esp_uuid: str
    state_uuid: str
    root_uuid: str
    verity_uuid: str
    verity_salt: str
    esp_serial: str
    esp_mib: int
    state_mib: int
    max_mib: int
    max_compressed_mib: int


@dataclass(frozen=True)
class SessionManager:
    """The .deb of Amazon's agent by architecture, and what it has to hash to; none while `package` is empty."""

    package: Mapping[str, str]
    sha256: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuse a package that nobody has vouched for."""
        for arch in self.package:
            if not re.fullmatch("[0-9a-f]{64}", self.sha256.get(arch, "")):
                raise ImageError(f"session_manager.package.{arch} is set: give session_manager.sha256.{arch} too")


@dataclass(frozen=True)
class Recipe:
    """What the image is made of."""

    suite: str
    packages: tuple[str, ...]
    exclude: tuple[str, ...]
    include: tuple[str, ...]
    remove: tuple[str, ...]
    kernel: Kernel
    initrd: Initrd
    disk: Disk
    session_manager: SessionManager


def read_recipe(path: Path = PATH) -> Recipe:
    """Read the recipe from a file."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return typing.cast("Recipe", _typed(values, Recipe, ""))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ImageError(f"{path} cannot be read: {error}") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def _typed(value: object, wanted: Any, name: str) -> object:  # noqa: ANN401 -- a type, of which typing has no type
    """Return `value` as the type that a field declares."""
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return _record(value, wanted, name)
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(item, arguments[0], name) for item in value)
    if origin is Mapping and isinstance(value, dict):
        for key in value:
            architecture(key)
        return types.MappingProxyType({key: _typed(item, arguments[1], f"{name}.{key}") for key, item in value.items()})
    if type(value) is wanted:
        return value
    raise ImageError(f"{name} has the wrong type: {value!r}")


def _record(value: object, wanted: type, name: str) -> object:
    """Return a table as a dataclass, whose fields are its keys."""
    if not isinstance(value, dict):
        raise ImageError(f"{name} has to be a table")
    prefix = f"{name}." if name else ""
    fields = {field.name: field.type for field in dataclasses.fields(wanted)}
    for key in value:
        if key not in fields:
            raise ImageError(f"unknown key {prefix}{key}: known are {', '.join(fields)}")
    for key in fields:
        if key not in value:
            raise ImageError(f"{prefix}{key} is missing")
    return wanted(**{key: _typed(value[key], kind, f"{prefix}{key}") for key, kind in fields.items()})
