"""Packing: names into descriptions that AWS takes, and these onto rules that it takes beside each other.

AWS takes 255 characters in a description, and refuses two rules of a group with the same protocol, port and
destination; the appliance takes 0.0.0.0/0, /1, ... /32 for anywhere. So a port has 33 descriptions, which are filled
one after the other. The Terraform module packs by itself, and otherwise. Everything here is pure.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from appliance.lint import DESCRIPTION_MAX
from appliance.policy.annotation import KEYWORD, Protocol
from appliance.policy.fqdn import Fqdn

MASKS: Final = 33  # 0.0.0.0/0 to 0.0.0.0/32

Listed = tuple[int, Protocol, Fqdn]  # port, protocol, name


class AnnotatedRule(NamedTuple):
    """An egress rule for TCP. `destination`: empty where no mask is left, so that another group has to take it."""

    port: int
    destination: str
    description: str


def pack(listed: Iterable[Listed]) -> list[AnnotatedRule]:
    """Return the rules that list exactly these, by port; a name of each fits into a description by itself."""
    ports: dict[int, list[str]] = {}
    for port, protocol, names in _runs(listed):
        ports.setdefault(port, []).extend(_descriptions(protocol, names))
    return [
        AnnotatedRule(port, f"0.0.0.0/{mask}" if mask < MASKS else "", description)
        for port, descriptions in ports.items()
        for mask, description in enumerate(descriptions)
    ]


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
