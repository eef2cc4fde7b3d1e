"""Sources: where `check`, `explain` and `replay` read Security Groups, interfaces and preferences from.

Live AWS, as the appliance reads it; or files, as `aws ec2 describe-security-groups`,
`describe-network-interfaces` and `aws ssm get-parameter` print them. What is not given is asked of the
metadata service, which answers on the appliance itself. Nothing a file may hold leads to anything but InputError.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError

from appliance.address import Ipv4
from appliance.directory import ADDRESSES_HINT, parse_addresses
from appliance.edge import ec2, hosts, prefix_lists, ssm, system
from appliance.edge.imds import Imds
from appliance.edge.suffix_list import read_suffixes
from appliance.errors import AwsError, InputError, InvalidAddress, PolicyError
from appliance.explanation import Explanation, explain
from appliance.lint import lint
from appliance.policy.destination import PrefixList
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import Inventory, NetworkInterface, SecurityGroup
from appliance.policy.preferences import DEFAULTS, Ech, Preferences
from appliance.preferred import Preferred
from appliance.question import Question
from appliance.report import Report
from appliance.settings import Settings

STANDARD_INPUT = Path("-")
OTHER_KEYS = {"SecurityGroups": "NetworkInterfaces", "NetworkInterfaces": "SecurityGroups"}
OPTIONS = {
    "SecurityGroups": "--security-groups",
    "NetworkInterfaces": "--network-interfaces",
    "Parameter": "--preferences",
    "Entries": "--prefix-list",
    "Addresses": "--addresses",
}
COMMANDS = {
    "SecurityGroups": "ec2 describe-security-groups",
    "NetworkInterfaces": "ec2 describe-network-interfaces",
    "Parameter": "ssm get-parameter",
    "Entries": "ec2 get-managed-prefix-list-entries",
}

_Item = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Source:
    """Where to read. Files are None, and texts empty, where they are not given; no files: live AWS."""

    security_groups: Path | None = None
    network_interfaces: Path | None = None
    preferences: Path | None = None
    parameter: str = ""  # of SSM, with the preferences
    vpc_id: str = ""
    region: str = ""
    prefix_lists: tuple[str, ...] = ()  # as `pl-...=FILE`


def check(source: Source, exposure: Exposure = Exposure.PROHIBIT_PUBLIC_SUFFIX) -> Report:
    """Return what is to be said about the annotations of a source. `exposure`: the preference of this name.

    Raises:
        AwsError: AWS cannot be read.
        InputError: a file cannot be used, or there is nothing to read from.
    """
    inventory = _read(source)
    with_interfaces = source.security_groups is None or source.network_interfaces is not None
    guard = Guard(exposure, read_suffixes())
    return lint(inventory, system.utc_today(), with_interfaces=with_interfaces, guard=guard)


def answer(
    source: Source, question: Question, *, resolve: bool, read_settings: Callable[[str], Settings]
) -> Explanation:
    """Return the explanation of a connection.

    Args:
        source: the client's VPC.
        question: the connection.
        resolve: whether to ask this machine's resolver for the addresses of the name.
        read_settings: returns the settings of `run` on this machine, given its user data or nothing.

    Raises:
        AwsError: AWS cannot be read.
        InputError: a file cannot be used, holds more than one VPC, or there is nothing to read from.
        SettingsError: the settings on this machine cannot be understood.
    """
    if source.security_groups is None:
        place = _locate(source)
        inventory = _read_aws(place)
        given = source.preferences
        preferred = saved_preferences(given) if given else _read_parameter(place, source.parameter, read_settings)
    else:
        inventory = _read_files(source, source.security_groups, one_vpc=True)
        preferred = saved_preferences(source.preferences) if source.preferences else Preferred()
    resolved = hosts.look_up(question.name) if resolve else None
    return explain(inventory, question, system.utc_today(), resolved, preferred, suffixes=read_suffixes())


def read_interfaces(path: Path) -> tuple[NetworkInterface, ...]:
    """Return the network interfaces in a saved answer of EC2.

    Raises:
        InputError: the file cannot be used.
    """
    return _parse_interfaces(path, _read_items(path, "NetworkInterfaces"))


def find_region(given: str) -> str:
    """Return the AWS region: the one given, that of the environment, or the one this machine is in.

    Raises:
        InputError: none is told.
    """
    region = given or _region_of_environment()
    if region:
        return region
    try:
        return Imds().identity().region
    except AwsError as fault:
        raise InputError(
            f"--region: not given, and there is no asking the metadata service ({fault.message})",
            hint="give it, or files",
        ) from fault


def saved_inventory(source: Source) -> Inventory:
    """Return what the files of a source hold of one VPC; there must be one of Security Groups.

    Raises:
        InputError: a file cannot be used, or holds more than one VPC.
    """
    return _read_files(source, source.security_groups or STANDARD_INPUT, one_vpc=True)


def saved_addresses(path: Path) -> Mapping[Fqdn, tuple[Ipv4, ...]]:
    """Return what a file says that the addresses of names are.

    Raises:
        InputError: it cannot be used.
    """
    try:
        return parse_addresses(json.loads(_read_octets(path, "Addresses")))
    except (ValueError, RecursionError) as fault:
        raise _unusable(path, "Addresses", f"it is not JSON: {fault}") from fault
    except PolicyError as fault:
        raise InputError(f"{_name(path)}: {fault.message}", hint=fault.hint) from fault


def _read(source: Source) -> Inventory:
    if source.security_groups is None:
        return _read_aws(_locate(source))
    return _read_files(source, source.security_groups, one_vpc=False)


# AWS


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in AWS. `imds`: the metadata service, where it was needed to tell."""

    region: str
    vpc_id: str
    imds: Imds | None = None


def _locate(source: Source) -> _Place:
    region = source.region or _region_of_environment()
    vpc_id = source.vpc_id
    imds = None
    if not (region and vpc_id):
        try:
            imds = Imds()
            identity = imds.identity()
        except AwsError as fault:
            missing = " and ".join(
                option for option, value in (("--vpc-id", vpc_id), ("--region", region)) if not value
            )
            raise InputError(
                f"{missing}: not given, and there is no asking the metadata service ({fault.message})",
                hint="give both, or files with --security-groups and --network-interfaces",
            ) from fault
        region, vpc_id = region or identity.region, vpc_id or identity.vpc_id
    return _Place(region, vpc_id, imds)


def _region_of_environment() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")


def _read_aws(place: _Place) -> Inventory:
    try:
        client = ec2.connect(place.region)
        return ec2.Discovery(client, place.vpc_id, prefix_lists.PrefixListReader(client)).inventory()
    except (BotoCoreError, ValueError) as fault:  # of a profile or region that does not exist
        raise InputError(f"no client for AWS: {fault}", hint="look at --region and the AWS_ variables") from fault


def _read_parameter(place: _Place, name: str, read_settings: Callable[[str], Settings]) -> Preferred:
    """Return the preferences in a parameter: the one that is named, or the one that the settings here name."""
    if not name:
        settings = read_settings("")
        if place.imds is not None and settings.aws_user_data:
            settings = read_settings(place.imds.user_data())
        name = settings.preferences_parameter
        if not name:
            ech = Preferences(ech=Ech.ALLOW) if settings.tls_ech else DEFAULTS
            return Preferred(ech, "the settings, which name no parameter" if place.imds or settings.tls_ech else "")
    return Preferred.parse(ssm.Parameter(ssm.connect(place.region), name).read(), f"SSM parameter {name}")


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
    interfaces = _parse_interfaces(source.network_interfaces or STANDARD_INPUT, interface_items)
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
    return Inventory(groups, interfaces, tuple(map(_read_list, source.prefix_lists)))


def _read_list(given: str) -> PrefixList:
    """Return the prefix list that is given as `pl-...=FILE`."""
    list_id, _, name = given.partition("=")
    if not (list_id.startswith("pl-") and name):
        raise InputError(f"--prefix-list {given!r} is not ID=FILE", hint="as in --prefix-list pl-0a1b2c3d=entries.json")
    path = Path(name)
    try:
        return prefix_lists.parse_entries(list_id, _read_items(path, "Entries"))
    except (InvalidAddress, KeyError, TypeError) as fault:
        raise _unusable(path, "Entries", f"an entry is no CIDR block: {fault!r}") from fault


def _parse_interfaces(path: Path, items: Iterable[_Item]) -> tuple[NetworkInterface, ...]:
    try:
        interfaces = ec2.parse_network_interfaces(items)
    except AwsError as fault:
        raise _unusable(path, "NetworkInterfaces", fault.message) from fault
    _check_types(path, "NetworkInterfaces", _ids(interfaces))
    return interfaces


def saved_preferences(path: Path) -> Preferred:
    """Return the preferences in a file: the bare text of the parameter, or the answer that holds it.

    Raises:
        InputError: the file cannot be used.
    """
    octets = _read_octets(path, "Parameter")
    try:
        text = octets.decode(json.detect_encoding(octets))
    except UnicodeDecodeError as fault:
        raise _unusable(path, "Parameter", "it is not text") from fault
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError):
        document = None  # what is wrong with it is told as the appliance tells it
    if isinstance(document, dict) and "Parameter" in document:
        parameter = document["Parameter"]
        value = parameter.get("Value") if isinstance(parameter, dict) else None
        if not isinstance(value, str):
            raise _unusable(path, "Parameter", "its Parameter has no Value")
        text = value
    return Preferred.parse(text, _name(path))


def _read_octets(path: Path, key: str) -> bytes:
    try:
        octets = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    except OSError as fault:
        raise InputError(f"{_name(path)}: {fault.strerror}", hint=f"{OPTIONS[key]} wants a file to read") from fault
    if not octets.strip():
        raise _unusable(path, key, "there is nothing in it")
    return octets


def _read_items(path: Path, key: str) -> list[_Item]:
    """Return the items of an answer, given whole or as the bare list of them."""
    octets = _read_octets(path, key)
    try:
        document: object = json.loads(octets)
    except (ValueError, RecursionError) as fault:
        raise _unusable(path, key, f"it is not JSON: {fault}") from fault
    if isinstance(document, dict):
        if key not in document and OTHER_KEYS.get(key) in document:
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
    hint = f"give what `aws {COMMANDS[key]} --output json` prints" if key in COMMANDS else ADDRESSES_HINT
    return InputError(f"{_name(path)}: {why}", hint=hint)
