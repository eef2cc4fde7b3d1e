"""The two C programs of the benchmark, compiled on the spot: a load generator and a reply server.

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
    """Compile both into a folder.

    Raises:
        subprocess.CalledProcessError: the compiler refused; it has said why on standard error.
    """
    return Programs(_compile("load", folder), _compile("reply", folder))


def _compile(name: str, folder: Path) -> Path:
    target = folder / name
    subprocess.run(["cc", *FLAGS, "-o", str(target), str(SOURCES / f"{name}.c")], check=True, timeout=120)
    return target
