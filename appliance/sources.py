"""Sources: where `check`, `explain` and `replay` read Security Groups, interfaces and preferences from.

Live AWS, as the appliance reads it; or files, as `aws ec2 describe-security-groups`,
`describe-network-interfaces` and `aws ssm get-parameter` print them. What is not given is asked of the
metadata service, which answers on the appliance itself. Nothing a file may hold leads to anything but InputError.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError

from appliance.address import Ipv4
from appliance.directory import parse_addresses
from appliance.edge import ec2, hosts, name_lists, prefix_lists, ssm, system
from appliance.edge.imds import Imds
from appliance.edge.suffix_list import read_suffixes
from appliance.errors import AwsError, InputError, InvalidAddress, InvalidList, PolicyError
from appliance.explanation import Explanation, explain
from appliance.lint import lint
from appliance.policy.destination import PrefixList
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import Inventory, NetworkInterface
from appliance.policy.location import parse_aliases
from appliance.policy.name_list import NameList, parse_list
from appliance.policy.preferences import DEFAULTS, Ech, Preferences
from appliance.policy.reference import Reference, Store
from appliance.preferred import Preferred
from appliance.question import Question
from appliance.reading import connect
from appliance.report import Report
from appliance.saved import (
    STANDARD_INPUT,
    Item,
    check_types,
    ids_of,
    name_of,
    read_items,
    read_octets,
    text_or_answer,
    texts_and_ports,
    unusable,
)
from appliance.settings import Settings


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
    name_lists: tuple[str, ...] = ()  # as `@ssm/...=FILE`


def check(
    source: Source,
    exposure: Exposure = Exposure.PROHIBIT_PUBLIC_SUFFIX,
    *,
    read_settings: Callable[[str], Settings] = lambda _: Settings(),
) -> Report:
    """Return what is to be said about the annotations of a source.

    Args:
        source: the VPC.
        exposure: the preference of this name.
        read_settings: returns the settings of `run` on this machine, given its user data or nothing.

    Raises:
        AwsError: AWS cannot be read.
        InputError: a file cannot be used, or there is nothing to read from.
        SettingsError: the settings on this machine cannot be understood.
    """
    if source.security_groups is None:
        place = _locate(source)
        inventory = _read_aws(place, _settings(place, read_settings))
    else:
        inventory = _read_files(source, source.security_groups, one_vpc=False)
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
        settings = _settings(place, read_settings)
        inventory = _read_aws(place, settings)
        given = source.preferences
        preferred = saved_preferences(given) if given else _read_parameter(place, source.parameter, settings)
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
    return _parse_interfaces(path, read_items(path, "NetworkInterfaces"))


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
        return parse_addresses(json.loads(read_octets(path, "Addresses")))
    except (ValueError, RecursionError) as fault:
        raise unusable(path, "Addresses", f"it is not JSON: {fault}") from fault
    except PolicyError as fault:
        raise InputError(f"{name_of(path)}: {fault.message}", hint=fault.hint) from fault


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


def _settings(place: _Place, read_settings: Callable[[str], Settings]) -> Settings:
    """Return the settings here, with those of the user data where this is the appliance."""
    settings = read_settings("")
    if place.imds is not None and settings.aws_user_data:
        settings = read_settings(place.imds.user_data())
    return settings


def _read_aws(place: _Place, settings: Settings) -> Inventory:
    try:
        discovery, _ = connect(place.region, place.vpc_id, parse_aliases(settings.lists_arns))
        return discovery.inventory()
    except (BotoCoreError, ValueError) as fault:  # of a profile or region that does not exist
        raise InputError(f"no client for AWS: {fault}", hint="look at --region and the AWS_ variables") from fault


def _read_parameter(place: _Place, name: str, settings: Settings) -> Preferred:
    """Return the preferences in a parameter: the one that is named, or the one that the settings here name."""
    if not name:
        name = settings.preferences_parameter
        if not name:
            ech = Preferences(ech=Ech.ALLOW) if settings.tls_ech else DEFAULTS
            return Preferred(ech, "the settings, which name no parameter" if place.imds or settings.tls_ech else "")
    return Preferred.parse(ssm.Parameter(ssm.connect(place.region), name).read(), f"SSM parameter {name}")


# Files


def _read_files(source: Source, security_groups: Path, *, one_vpc: bool) -> Inventory:
    group_items = read_items(security_groups, "SecurityGroups")
    interface_items: list[Item] = []
    if source.network_interfaces is not None:
        interface_items = read_items(source.network_interfaces, "NetworkInterfaces")
        vpcs = sorted({str(item["VpcId"]) for item in interface_items if "VpcId" in item})
        if one_vpc and not source.vpc_id and len(vpcs) > 1:  # addresses mean something within a VPC only
            shown = ", ".join(vpcs[:3]) + (", ..." if len(vpcs) > 3 else "")
            name = name_of(source.network_interfaces)
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
        raise unusable(security_groups, "SecurityGroups", fault.message) from fault
    check_types(security_groups, "SecurityGroups", texts_and_ports(groups))
    lists = tuple(map(_read_list, source.prefix_lists))
    return Inventory(groups, interfaces, lists, tuple(map(_read_name_list, source.name_lists)))


def _read_list(given: str) -> PrefixList:
    """Return the prefix list that is given as `pl-...=FILE`."""
    list_id, _, name = given.partition("=")
    if not (list_id.startswith("pl-") and name):
        raise InputError(f"--prefix-list {given!r} is not ID=FILE", hint="as in --prefix-list pl-0a1b2c3d=entries.json")
    path = Path(name)
    try:
        return prefix_lists.parse_entries(list_id, read_items(path, "Entries"))
    except (InvalidAddress, KeyError, TypeError) as fault:
        raise unusable(path, "Entries", f"an entry is no CIDR block: {fault!r}") from fault


def _read_name_list(given: str) -> NameList:
    """Return the list of names that is given as `@ssm/...=FILE`: plain text, or an answer of AWS that holds it."""
    # A secret's name may hold the sign, and no other.
    spelled, _, name = given.rpartition("=") if given.startswith("@secret/") else given.partition("=")
    if not (spelled and name):
        raise InputError(f"--list {given!r} is not @REF=FILE", hint="as in --list '@ssm/apps/acme/allow=list.txt'")
    try:
        reference = Reference.parse(spelled)
    except PolicyError as fault:
        raise InputError(f"--list: {fault.message}", hint="as in --list '@ssm/apps/acme/allow=list.txt'") from fault
    path = Path(name)
    document, text = text_or_answer(path, "List")
    is_secret = reference.store is Store.SECRET
    try:
        if isinstance(document, dict) and isinstance(document.get("Parameter"), dict):
            text = name_lists.read_parameter(document["Parameter"])
        elif isinstance(document, dict) and "ARN" in document and {"SecretString", "SecretBinary"} & document.keys():
            text, is_secret = name_lists.read_secret(document), True
        return NameList(reference, parse_list(text, is_secret=is_secret))
    except InvalidList as fault:  # the appliance has the list as it was before, or nothing
        return NameList(reference, None, f"{fault.message}; {fault.hint}" if fault.hint else fault.message)


def _parse_interfaces(path: Path, items: Iterable[Item]) -> tuple[NetworkInterface, ...]:
    try:
        interfaces = ec2.parse_network_interfaces(items)
    except AwsError as fault:
        raise unusable(path, "NetworkInterfaces", fault.message) from fault
    check_types(path, "NetworkInterfaces", ids_of(interfaces))
    return interfaces


def saved_preferences(path: Path) -> Preferred:
    """Return the preferences in a file: the bare text of the parameter, or the answer that holds it.

    Raises:
        InputError: the file cannot be used.
    """
    document, text = text_or_answer(path, "Parameter")
    if isinstance(document, dict) and "Parameter" in document:
        parameter = document["Parameter"]
        value = parameter.get("Value") if isinstance(parameter, dict) else None
        if not isinstance(value, str):
            raise unusable(path, "Parameter", "its Parameter has no Value")
        text = value
    return Preferred.parse(text, name_of(path))
