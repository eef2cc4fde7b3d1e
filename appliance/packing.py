"""Packing: names into descriptions that AWS takes, and these onto rules that it takes beside each other.

AWS takes 255 characters in a description, and refuses two rules of a group with the same protocol, port and
destination; the appliance takes 0.0.0.0/0, /1, ... /32 for anywhere. So a port has 33 descriptions, which are filled
one after the other. The Terraform module packs by itself, and otherwise. Everything here is pure.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from appliance.lint import DESCRIPTION_MAX
from appliance.policy.annotation import KEYWORD, Protocol
from appliance.policy.fqdn import Fqdn

MASKS: Final = 33  # 0.0.0.0/0 to 0.0.0.0/32

Listed = tuple[int, Protocol, Fqdn]  # port, protocol, name
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


def _runs(listed: Iterable[Listed]) -> Iterator[tuple[int, Protocol, list[Fqdn]]]:
    runs: dict[tuple[int, Protocol], list[Fqdn]] = {}
    for port, protocol, name in sorted(set(listed)):
        runs.setdefault((port, protocol), []).append(name)
    return ((port, protocol, names) for (port, protocol), names in runs.items())


def _descriptions(protocol: Protocol, names: Iterable[Fqdn]) -> Iterator[str]:
    head = f"{KEYWORD}:{protocol}:"
    text = ""
    for name in names:
        longer = f"{text},{name}" if text else f"{head}{name}"
        if text and len(longer) > DESCRIPTION_MAX:
            yield text
            longer = f"{head}{name}"
        text = longer
    yield text
