"""Packing: names into descriptions that AWS takes, and these onto rules that it takes beside each other.

AWS takes 255 characters in a description, and refuses two rules of a group with the same protocol, port and
destination; the appliance takes 0.0.0.0/0, /1, ... /32 for anywhere. So a port has 33 descriptions, which are filled
one after the other. The Terraform module packs by itself, and otherwise. Everything here is pure.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from appliance.lint import DESCRIPTION_MAX
from appliance.policy.annotation import KEYWORD, Protocol
from appliance.policy.pattern import ONE, ONE_IN_AWS, Entry

MASKS: Final = 33  # 0.0.0.0/0 to 0.0.0.0/32

Listed = tuple[int, Protocol, Entry]  # port, protocol, name or pattern
Place = tuple[int, str]  # port and destination of a rule for TCP


class AnnotatedRule(NamedTuple):
    """An egress rule for TCP. `destination`: empty where no mask is left, so that another group has to take it."""

    port: int
    destination: str
    description: str


def pack(listed: Iterable[Listed], taken: Collection[Place] = ()) -> list[AnnotatedRule]:
    """Return the rules that list exactly these, by port, beside those that are taken.

    A name fits into a description by itself.
    """
    ports: dict[int, list[str]] = {}
    for port, protocol, names in _runs(listed):
        ports.setdefault(port, []).extend(_descriptions(protocol, names))
    rules = []
    for port, descriptions in ports.items():
        masks = (f"0.0.0.0/{length}" for length in range(MASKS))
        free = (mask for mask in masks if (port, mask) not in taken)
        rules += [AnnotatedRule(port, next(free, ""), description) for description in descriptions]
    return rules


def write_entry(entry: Entry) -> str:
    """Return a name or a pattern as a description holds it, in AWS's characters."""
    return str(entry).replace(ONE, ONE_IN_AWS)


def _place(listed: Listed) -> tuple[int, Protocol, tuple[str, ...]]:
    port, protocol, entry = listed
    return port, protocol, entry.labels


def _runs(listed: Iterable[Listed]) -> Iterator[tuple[int, Protocol, list[str]]]:
    runs: dict[tuple[int, Protocol], list[str]] = {}
    for port, protocol, name in sorted(set(listed), key=_place):
        runs.setdefault((port, protocol), []).append(write_entry(name))
    return ((port, protocol, names) for (port, protocol), names in runs.items())


def _descriptions(protocol: Protocol, names: Iterable[str]) -> Iterator[str]:
    head = f"{KEYWORD}:{protocol}:"
    text = ""
    for name in names:
        longer = f"{text},{name}" if text else f"{head}{name}"
        if text and len(longer) > DESCRIPTION_MAX:
            yield text
            longer = f"{head}{name}"
        text = longer
    yield text
