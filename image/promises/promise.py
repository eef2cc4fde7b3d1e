"""What a promise is: a sentence, and a check that says where an image breaks it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from image.opened import Opened

Check = Callable[[Opened], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Promise:
    """`text` is what a user may rely on; `check` yields a sentence for each place where it is not so."""

    id: str
    text: str
    check: Check


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where an image breaks a promise."""

    promise: str
    text: str
