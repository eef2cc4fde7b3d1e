"""Sources: where `check` and `explain` read Security Groups and interfaces from.

Live AWS, as the appliance reads it; or files, as `aws ec2 describe-security-groups` and
`describe-network-interfaces` print them. What is not given is asked of the metadata service, which
answers on the appliance itself. Nothing a file may hold leads to anything but InputError.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError

from appliance.edge import ec2, hosts, system
from appliance.edge.imds import Imds
from appliance.errors import AwsError, InputError
from appliance.explanation import Explanation, explain
from appliance.lint import lint
from appliance.policy.inventory import Inventory, NetworkInterface, SecurityGroup
from appliance.question import Question
from appliance.report import Report

STANDARD_INPUT = Path("-")
OTHER_KEYS = {"SecurityGroups": "NetworkInterfaces", "NetworkInterfaces": "SecurityGroups"}
OPTIONS = {"SecurityGroups": "--security-groups", "NetworkInterfaces": "--network-interfaces"}
COMMANDS = {"SecurityGroups": "describe-security-groups", "NetworkInterfaces": "describe-network-interfaces"}

_Item = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Source:
    """Where to read. Files are None, and texts empty, where they are not given; no files: live AWS."""

    security_groups: Path | None = None
    network_interfaces: Path | None = None
    vpc_id: str = ""
    region: str = ""


def check(source: Source) -> Report:
    """Return what is to be said about the annotations of a source.

    Raises:
        AwsError: AWS cannot be read.
        InputError: a file cannot be used, or there is nothing to read from.
    """
    inventory = _read(source)
    with_interfaces = source.security_groups is None or source.network_interfaces is not None
    return lint(inventory, system.utc_today(), with_interfaces=with_interfaces)


def answer(source: Source, question: Question, *, resolve: bool) -> Explanation:
    """Return the explanation of a connection.

    Args:
        source: the client's VPC.
        question: the connection.
        resolve: whether to ask this machine's resolver for the addresses of the name.

    Raises:
        AwsError: AWS cannot be read.
        InputError: a file cannot be used, holds more than one VPC, or there is nothing to read from.
    """
    inventory = _read(source, one_vpc=True)
    return explain(inventory, question, system.utc_today(), hosts.look_up(question.name) if resolve else None)


def _read(source: Source, *, one_vpc: bool = False) -> Inventory:
    if source.security_groups is None:
        return _read_aws(source)
    return _read_files(source, source.security_groups, one_vpc=one_vpc)


# AWS


def _read_aws(source: Source) -> Inventory:
    region = source.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
    vpc_id = source.vpc_id
    if not (region and vpc_id):
        try:
            identity = Imds().identity()
        except AwsError as fault:
            missing = " and ".join(
                option for option, value in (("--vpc-id", vpc_id), ("--region", region)) if not value
            )
            raise InputError(
                f"{missing}: not given, and there is no asking the metadata service ({fault.message})",
                hint="give both, or files with --security-groups and --network-interfaces",
            ) from fault
        region, vpc_id = region or identity.region, vpc_id or identity.vpc_id
    try:
        return ec2.Discovery(ec2.connect(region), vpc_id).inventory()
    except (BotoCoreError, ValueError) as fault:  # of a profile or region that does not exist
        raise InputError(f"no client for AWS: {fault}", hint="look at --region and the AWS_ variables") from fault


# Files


def _read_files(source: Source, security_groups: Path, *, one_vpc: bool) -> Inventory:
    group_items = _read_items(security_groups, "SecurityGroups")
    interface_items: list[_Item] = []
    if source.network_interfaces is not None:
        interface_items = _read_items(source.network_interfaces, "NetworkInterfaces")
        vpcs = sorted({str(item["VpcId"]) for item in interface_items if "VpcId" in item})
        if one_vpc and not source.vpc_id and len(vpcs) > 1:  # addresses mean something within a VPC only
            shown = ", ".join(vpcs[:3]) + (", ..." if len(vpcs) > 3 else "")
            name = _name(source.network_interfaces)
            raise InputError(f"{name} holds {len(vpcs)} VPCs: {shown}", hint="choose the client's with --vpc-id")
    if source.vpc_id:
        interface_items = [item for item in interface_items if item.get("VpcId", source.vpc_id) == source.vpc_id]
    try:
        interfaces = ec2.parse_network_interfaces(interface_items)
    except AwsError as fault:
        raise _unusable(source.network_interfaces or STANDARD_INPUT, "NetworkInterfaces", fault.message) from fault
    _check_types(source.network_interfaces or STANDARD_INPUT, "NetworkInterfaces", _ids(interfaces))
    if source.vpc_id:  # a group of another VPC may be worn in this one
        worn = {gid for interface in interfaces for gid in interface.groups}
        group_items = [
            item
            for item in group_items
            if item.get("VpcId", source.vpc_id) == source.vpc_id or str(item.get("GroupId")) in worn
        ]
    try:
        groups = ec2.parse_security_groups(group_items)
    except AwsError as fault:
        raise _unusable(security_groups, "SecurityGroups", fault.message) from fault
    _check_types(security_groups, "SecurityGroups", _texts_and_ports(groups))
    return Inventory(groups, interfaces)


def _read_items(path: Path, key: str) -> list[_Item]:
    """Return the items of an answer, given whole or as the bare list of them."""
    try:
        octets = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    except OSError as fault:
        raise InputError(f"{_name(path)}: {fault.strerror}", hint=f"{OPTIONS[key]} wants a file to read") from fault
    if not octets.strip():
        raise _unusable(path, key, "there is nothing in it")
    try:
        document: object = json.loads(octets)
    except (ValueError, RecursionError) as fault:
        raise _unusable(path, key, f"it is not JSON: {fault}") from fault
    if isinstance(document, dict):
        if key not in document and OTHER_KEYS[key] in document:
            raise InputError(
                f"{_name(path)} holds {OTHER_KEYS[key]}, not {key}",
                hint=f"was it meant for {OPTIONS[OTHER_KEYS[key]]}?",
            )
        document = document.get(key)
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        raise _unusable(path, key, f"it has no list of {key}")
    return document


def _texts_and_ports(groups: Iterable[SecurityGroup]) -> Iterator[tuple[str, object, type]]:
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


def _ids(interfaces: Iterable[NetworkInterface]) -> Iterator[tuple[str, object, type]]:
    for interface in interfaces:
        yield "NetworkInterfaceId", interface.id, str
        yield from ((f"GroupId of {interface.id}", gid, str) for gid in interface.groups)


def _check_types(path: Path, key: str, found: Iterable[tuple[str, object, type]]) -> None:
    for what, value, kind in found:
        if type(value) is not kind:
            raise _unusable(path, key, f"{what} is {value!r}")


def _name(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)


def _unusable(path: Path, key: str, why: str) -> InputError:
    hint = f"give what `aws ec2 {COMMANDS[key]} --output json` prints"
    return InputError(f"{_name(path)}: {why}", hint=hint)
