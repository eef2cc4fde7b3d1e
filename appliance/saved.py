"""Saved answers: files that hold what AWS's command line prints, as far as reading them goes.

Nothing that a file may hold leads to anything but InputError.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from appliance.directory import ADDRESSES_HINT
from appliance.errors import InputError
from appliance.policy.inventory import NetworkInterface, SecurityGroup

STANDARD_INPUT = Path("-")
OTHER_KEYS = {"SecurityGroups": "NetworkInterfaces", "NetworkInterfaces": "SecurityGroups"}
OPTIONS = {
    "SecurityGroups": "--security-groups",
    "NetworkInterfaces": "--network-interfaces",
    "Parameter": "--preferences",
    "Entries": "--prefix-list",
    "Addresses": "--addresses",
    "List": "--list",
}
COMMANDS = {
    "SecurityGroups": "ec2 describe-security-groups",
    "NetworkInterfaces": "ec2 describe-network-interfaces",
    "Parameter": "ssm get-parameter",
    "Entries": "ec2 get-managed-prefix-list-entries",
}
HINTS = {
    "Addresses": ADDRESSES_HINT,
    "List": "give the list as plain text, one name per line, or what `aws ssm get-parameter` prints",
}

Item = Mapping[str, object]


def text_or_answer(path: Path, key: str) -> tuple[object, str]:
    """Return what a file says as JSON, if it does, and as text."""
    octets = read_octets(path, key)
    try:
        text = octets.decode(json.detect_encoding(octets))
    except UnicodeDecodeError:
        raise unusable(path, key, "it is not text") from None  # whose octets may be a secret's
    try:
        return json.loads(text), text
    except (ValueError, RecursionError):
        return None, text  # what is wrong with it is told as the appliance tells it


def read_octets(path: Path, key: str) -> bytes:
    """Return what a file holds. `key`: of OPTIONS.

    Raises:
        InputError: it cannot be read, or holds nothing.
    """
    try:
        octets = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    except OSError as fault:
        raise InputError(f"{name_of(path)}: {fault.strerror}", hint=f"{OPTIONS[key]} wants a file to read") from fault
    if not octets.strip():
        raise unusable(path, key, "there is nothing in it")
    return octets


def read_items(path: Path, key: str) -> list[Item]:
    """Return the items of an answer, given whole or as the bare list of them."""
    octets = read_octets(path, key)
    try:
        document: object = json.loads(octets)
    except (ValueError, RecursionError) as fault:
        raise unusable(path, key, f"it is not JSON: {fault}") from fault
    if isinstance(document, dict):
        if key not in document and OTHER_KEYS.get(key) in document:
            raise InputError(
                f"{name_of(path)} holds {OTHER_KEYS[key]}, not {key}",
                hint=f"was it meant for {OPTIONS[OTHER_KEYS[key]]}?",
            )
        document = document.get(key)
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        raise unusable(path, key, f"it has no list of {key}")
    return document


def texts_and_ports(groups: Iterable[SecurityGroup]) -> Iterator[tuple[str, object, type]]:
    """Yield what is found where a text or a number belongs: a file may be anybody's work."""
    for group in groups:
        yield "GroupId", group.id, str
        yield f"GroupName of {group.id}", group.name, str
        for egress in group.rules:
            yield f"IpProtocol of {group.id}", egress.protocol, str
            yield f"a destination of {group.id}", egress.destination, str
            yield f"a Description of {group.id}", egress.description, str
            for port in (egress.from_port, egress.to_port):
                if port is not None:
                    yield f"a port of {group.id}", port, int


def ids_of(interfaces: Iterable[NetworkInterface]) -> Iterator[tuple[str, object, type]]:
    """Yield what is found where the id of an interface or a group belongs."""
    for interface in interfaces:
        yield "NetworkInterfaceId", interface.id, str
        yield from ((f"GroupId of {interface.id}", gid, str) for gid in interface.groups)


def check_types(path: Path, key: str, found: Iterable[tuple[str, object, type]]) -> None:
    """Refuse a file in which something is not of its type.

    Raises:
        InputError: so it is.
    """
    for what, value, kind in found:
        if type(value) is not kind:
            raise unusable(path, key, f"{what} is {value!r}")


def name_of(path: Path) -> str:
    """Return what messages call a file."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def unusable(path: Path, key: str, why: str) -> InputError:
    """Return why a file cannot be used, with what it should hold."""
    hint = f"give what `aws {COMMANDS[key]} --output json` prints" if key in COMMANDS else HINTS[key]
    return InputError(f"{name_of(path)}: {why}", hint=hint)
