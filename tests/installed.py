"""The program as it is installed: with its engine compiled, as `pip install .` makes it.

`make test`, `make demo` and `make bench` build it in a folder and name that in ENGINE_BUILD; what they start runs from
there. Without the variable the program is interpreted from the source, so that an edit counts at once.
"""

import os
from pathlib import Path


def build() -> Path | None:
    """Return the folder of the installed package, or None to run from the source."""
    folder = os.environ.get("ENGINE_BUILD", "")
    return Path(folder).resolve() if folder else None


def environment(folder: Path | None = None) -> dict[str, str]:
    """Return the variables by which a Python started for the program finds the right one, whatever its folder.

    Args:
        folder: another installed package than that of ENGINE_BUILD.
    """
    folder = folder or build()
    return {} if folder is None else {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
