"""systemd's units and drop-in configuration as an image has them, read as systemd reads them.

Source: systemd.unit(5) (load path, drop-ins, masks, `.wants`), systemd.syntax(7), sysctl.d(5) (which file wins).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from image.tree import FileTree

LOAD_PATH = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
PULLS = ("Wants", "Requires", "BindsTo", "Requisite", "Upholds", "PartOf")
STARTS = ("Wants", "Requires", "BindsTo", "Upholds")

Settings = dict[tuple[str, str], list[str]]


@dataclass(frozen=True)
class Unit:
    """A unit with its drop-ins: `settings` by section and name, each a list, which `X=` without a value has emptied."""

    name: str
    masked: bool = False
    settings: Settings = field(default_factory=dict)

    def values(self, section: str, name: str) -> list[str]:
        """Return every word of a list setting."""
        return " ".join(self.settings.get((section, name), [])).split()

    def value(self, section: str, name: str) -> str:
        """Return what a setting says last; nothing where it is not set."""
        return (self.settings.get((section, name)) or [""])[-1]


def parse(texts: Iterable[str]) -> Settings:
    """Return the settings of files that are laid over one another, in this order."""
    found: Settings = {}
    for text in texts:
        section = ""
        for line in re.sub(r"\\\n", " ", re.sub(r"^[#;].*\n?", "", text, flags=re.MULTILINE)).splitlines():
            line = line.strip()  # noqa: PLW2901 - what is around it says nothing
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1]
            elif "=" in line:
                name, _, value = (part.strip() for part in line.partition("="))
                if value:
                    found.setdefault((section, name), []).append(value)
                else:
                    found[section, name] = []
    return found


def configuration(tree: FileTree, name: str) -> Settings:
    """Return the settings of a daemon, such as `systemd/journald.conf`, with its drop-ins."""
    main = next((path for top in ("/etc", "/usr/lib") if tree.has(path := f"{top}/{name}")), "")
    drop_ins: dict[str, str] = {}
    for top in ("/usr/lib", "/etc"):
        for path in _files(tree, f"{top}/{name}.d", ".conf"):
            drop_ins[PurePosixPath(path).name] = path
    return parse(tree.text(path) for path in [main, *(drop_ins[key] for key in sorted(drop_ins))] if path)


def sysctl(tree: FileTree) -> dict[str, str]:
    """Return the kernel settings that stand after boot; a file in /etc hides its namesake elsewhere."""
    files: dict[str, str] = {}
    for top in ("/usr/lib/sysctl.d", "/etc/sysctl.d"):
        for path in _files(tree, top, ".conf"):
            files[PurePosixPath(path).name] = path
    found = {}
    for path in [*(files[key] for key in sorted(files)), "/etc/sysctl.conf"]:
        for line in tree.text(path).splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.lstrip().startswith(("#", ";")):
                found[name.strip().lstrip("-").replace("/", ".")] = value.strip()
    return found


class Units:
    """The units of an image."""

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree

    def unit(self, name: str) -> Unit | None:
        """Return a unit by name, an instance by its template; None where the image has none."""
        template = re.sub(r"@[^.]+\.", "@.", name)
        for candidate in dict.fromkeys((name, template)):
            for folder in LOAD_PATH:
                path = f"{folder}/{candidate}"
                entry = self.tree.entries.get(path)
                if entry is None:
                    continue
                place = self.tree.place(path)
                if place is None or not place.is_file() or place.stat().st_size == 0:
                    return Unit(name, masked=True)  # a link to /dev/null, or an empty file
                drop_ins = self._drop_ins(name, template)
                return Unit(name, settings=parse(self.tree.text(file) for file in [path, *drop_ins]))
        return None

    def _drop_ins(self, *names: str) -> list[str]:
        kind = names[0].rpartition(".")[2]
        found: dict[str, str] = {}
        for folder in reversed(LOAD_PATH):
            for name in (kind, *reversed(names)):  # what holds for all units of a kind, for the template, for the unit
                for path in _files(self.tree, f"{folder}/{name}.d", ".conf"):
                    found[PurePosixPath(path).name] = path
        return [found[key] for key in sorted(found)]

    def enabled(self) -> set[str]:
        """Return the units that links in /etc pull in: what was enabled, by a package or by the recipe."""
        return {
            path.rpartition("/")[2]
            for path, entry in self.tree.entries.items()
            if re.fullmatch(r"/etc/systemd/system/[^/]+\.(wants|requires|upholds)/[^/]+", path) and entry.is_link
        }

    @cached_property
    def _links(self) -> dict[str, list[str]]:
        """What stands in the `.wants`, `.requires` and `.upholds` directories, by the unit that they are of."""
        found: dict[str, list[str]] = {}
        for path in self.tree.entries:
            folder, _, linked = path.rpartition("/")
            top, _, owner = folder.rpartition("/")
            name, _, kind = owner.rpartition(".")
            if top in LOAD_PATH and kind in {"wants", "requires", "upholds"}:
                found.setdefault(name, []).append(linked)
        return found

    def pulled_by(self, name: str, relations: Iterable[str] = STARTS) -> Iterator[str]:
        """Yield the units that come with one: named in it, or linked into its `.wants` and `.requires`."""
        unit = self.unit(name)
        if unit is None or unit.masked:
            return
        for relation in relations:
            yield from unit.values("Unit", relation)
        yield from self._links.get(name, ())

    def started(self, *roots: str) -> set[str]:
        """Return every unit that is there and that booting starts, from `default.target` if nothing else is said."""
        waiting = list(roots or ("default.target", "basic.target"))
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            unit = self.unit(name)
            if name in found or unit is None or unit.masked:
                continue
            found.add(name)
            waiting += [*self.pulled_by(name), self.alias(name)]
            if name.endswith((".socket", ".timer", ".path")):
                waiting.append(self.triggered(unit))
        return found

    def alias(self, name: str) -> str:
        """Return the name of the unit that this one is another name of; its own where it is none."""
        place = next(
            (self.tree.place(path) for folder in LOAD_PATH if (path := f"{folder}/{name}") in self.tree.entries), None
        )
        return place.name if place and "@" not in place.name else name

    @staticmethod
    def triggered(unit: Unit) -> str:
        """Return the unit that a socket, timer or path starts."""
        stem, _, kind = unit.name.rpartition(".")
        section = {"socket": "Socket", "timer": "Timer", "path": "Path"}[kind]
        return unit.value(section, "Service" if kind == "socket" else "Unit") or f"{stem}.service"


def _files(tree: FileTree, folder: str, suffix: str) -> list[str]:
    return [path for path in tree.children.get(folder, ()) if path.endswith(suffix)]
