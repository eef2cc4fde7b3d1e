"""Unit files of the image, as systemd reads them: sections of keys, each key as often as it was written.

Source: systemd.syntax(7).
"""

from pathlib import Path

TREE = Path(__file__).parents[1] / "appliance" / "systemd"  # laid over / by the image
UNITS = TREE / "usr/lib/systemd/system"

Section = dict[str, list[str]]


def read_unit(path: str | Path) -> dict[str, Section]:
    """Return the sections of a unit; an empty value takes back those before it.

    Args:
        path: below the units' folder.
    """
    sections: dict[str, Section] = {}
    section: Section = {}
    for number, line in enumerate((UNITS / path).read_text().splitlines(), 1):
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(line[1:-1], {})
            continue
        key, equals, value = line.partition("=")
        assert equals, f"{path}:{number}: {line}"
        assert not line.endswith("\\"), f"{path}:{number}: this reader joins no lines"
        section[key] = [*section.get(key, []), value.strip()] if value.strip() else []
    return sections


def words(section: Section, key: str) -> list[str]:
    """Return the words of all lines of a key."""
    return " ".join(section.get(key, [])).split()
