"""The C programs of the benchmark, compiled on the spot: a load generator, a reply server, and the floor (`floor.py`).

They are C because Python would measure itself.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11")


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the executables are."""

    load: Path
    reply: Path


def compile_programs(folder: Path) -> Programs:
    """Compile what every run needs into a folder.

    Raises:
        subprocess.CalledProcessError: the compiler refused; it has said why on standard error.
    """
    return Programs(compile_program("load", folder), compile_program("reply", folder))


def compile_program(name: str, folder: Path) -> Path:
    """Compile one into a folder, and return the path of the executable."""
    target = folder / name
    subprocess.run(["cc", *FLAGS, "-o", str(target), str(SOURCES / f"{name}.c")], check=True, timeout=120)
    return target
