"""The harnesses, their seeds and their vectors. Imports nothing of the appliance: atheris has to see that imported."""

import importlib
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in (HERE / "harnesses").glob("[a-z]*.py")))


class Harness(Protocol):
    """A module of `harnesses`."""

    MAX: int  # octets of an input
    WORDS: tuple[bytes, ...]  # that the fuzzer should know of

    def check(self, octets: bytes) -> str:
        """Return a word for what the octets are; raise if something does not hold that always must."""


def load(name: str) -> Harness:
    return importlib.import_module(f"tests.fuzz.harnesses.{name}")


def seeds(name: str) -> list[Path]:
    return sorted((HERE / "seeds" / name).glob("*"))


def vectors(name: str) -> list[Path]:
    return sorted((HERE / "vectors" / name).glob("*"))
