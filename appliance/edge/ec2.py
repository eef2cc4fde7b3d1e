"""EC2's description of the VPC: Security Groups and network interfaces, read page by page.

Source: EC2 API, DescribeSecurityGroups and DescribeNetworkInterfaces (filters, pagination, error codes).

Rules that hold throughout:

- A question that got no answer raises AwsError. Nothing here turns it into an empty inventory, and the
  caller keeps the one it had.
- Interfaces are read before groups, so that a group made between the two is not missed.
- What EC2 does not show us does not exist here. In a shared VPC, a participant is shown neither the
  owner's nor the other participants' interfaces: their workloads are unknown clients to an appliance in
  its account, and are refused.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import boto3
import botocore.session

from appliance.address import Ipv4, Network, format_ipv4, parse_ipv4
from appliance.aws import asking, client_config
from appliance.errors import AwsError, InvalidAddress
from appliance.policy.destination import PrefixList
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.name_list import NameList

PAGE: Final = 1000  # items: the most EC2 returns at once
FILTER_VALUES: Final = 200  # values: the most one filter takes
PREFIX_SCAN: Final = 5.0  # seconds between two readings of all interfaces for the sake of unknown clients

# All that is read of an answer. The rest (tags, attachments, IPv6) is four fifths of what botocore's parser
# would build, and 10,000 interfaces are parsed every few seconds: 1.1 s of processor time instead of 2.5 s (measured).
WANTED: Final = {
    "NetworkInterface": {"NetworkInterfaceId", "Groups", "PrivateIpAddress", "PrivateIpAddresses", "Ipv4Prefixes"},
    "NetworkInterfacePrivateIpAddress": {"PrivateIpAddress"},
    "SecurityGroup": {"GroupId", "GroupName", "IpPermissionsEgress"},
}

# Where a permission keeps its destinations, and what each of them is called there.
_DESTINATIONS: Final = (
    ("IpRanges", "CidrIp"),
    ("Ipv6Ranges", "CidrIpv6"),
    ("PrefixListIds", "PrefixListId"),
    ("UserIdGroupPairs", "GroupId"),
)

Item = TypeVar("Item")
Listed_co = TypeVar("Listed_co", covariant=True)


class Paginator(Protocol):
    """The part of a boto3 paginator that is used here."""

    def paginate(self, **arguments: Any) -> Iterable[Mapping[str, Any]]:
        """Yield the pages of an answer."""


class Ec2(Protocol):
    """The part of a boto3 EC2 client that is used here."""

    def get_paginator(self, operation_name: str) -> Paginator:
        """Return the paginator of an operation."""


class ListReader(Protocol[Listed_co]):
    """What reads the lists of groups, of prefixes or of names; a list that it leaves out grants nothing."""

    def follow(self, groups: Iterable[SecurityGroup]) -> tuple[Listed_co, ...]:
        """Return the lists of all groups there are, as they are now."""

    def of(self, groups: Iterable[SecurityGroup]) -> tuple[Listed_co, ...]:
        """Return the lists of some groups, as they were read last."""


def connect(region: str, endpoint: str | None = None) -> Any:
    """Return a boto3 EC2 client with timeouts and adaptive retries; its descriptions hold WANTED members only.

    Args:
        region: such as `eu-west-1`.
        endpoint: URL of EC2's stand-in; None for AWS or what AWS_ENDPOINT_URL says.
    """
    session = botocore.session.Session()
    # The loader hands the same parsed model to the client. Were that to change, we would only be slower.
    model = session.get_component("data_loader").load_service_model("ec2", "service-2", api_version=None)
    for shape, wanted in WANTED.items():
        members = model["shapes"][shape]["members"]
        for member in members.keys() - wanted:
            del members[member]
    return boto3.Session(botocore_session=session).client(
        "ec2", region_name=region, endpoint_url=endpoint, config=client_config()
    )


class Discovery:
    """Reads one VPC. Every method asks AWS, blocks until it has answered, and may be called from any thread."""

    def __init__(
        self,
        client: Ec2,
        vpc_id: str,
        lists: ListReader[PrefixList] | None = None,
        names: ListReader[NameList] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._vpc = {"Name": "vpc-id", "Values": [vpc_id]}
        self._clock = clock
        self._prefixed: tuple[NetworkInterface, ...] = ()  # interfaces with prefixes, as of the last full reading
        self._read: float | None = None  # when that was
        self._lists = lists
        self._names = names

    def inventory(self) -> Inventory:
        """Return all interfaces of the VPC, its groups with every other group that an interface wears, and their lists.

        A list that cannot be read holds nothing else up: it says itself what the trouble is.

        Raises:
            AwsError: AWS could not be asked, in whole or in part. The caller keeps what it had.
        """
        interfaces = self._read_interfaces()
        groups = self._describe_groups([self._vpc])
        # A group of another VPC may be associated with this one, and is not found by its filter.
        foreign = {group for interface in interfaces for group in interface.groups} - {group.id for group in groups}
        groups += self._groups_by_id(foreign)
        lists = self._lists.follow(groups) if self._lists else ()
        return Inventory(groups, interfaces, lists, self._names.follow(groups) if self._names else ())

    def interface_of(self, address: Ipv4) -> Inventory | None:
        """Return the interface that holds an address, with its groups; None if AWS says that none does.

        Primary and secondary addresses are found by a filter. EC2 has none for delegated prefixes, so
        all interfaces of the VPC are read for them, at most once in PREFIX_SCAN seconds, and not at all
        while the VPC has no prefix: the first one waits for the next inventory.

        Raises:
            AwsError: AWS could not be asked.
        """
        holder = {"Name": "addresses.private-ip-address", "Values": [format_ipv4(address)]}
        found = self._describe_interfaces([self._vpc, holder])
        if not found:
            found = self._prefix_holders(address)
            if not found and self._may_scan():
                self._read_interfaces()
                found = self._prefix_holders(address)
        if not found:
            return None
        groups = self._groups_by_id({group for interface in found for group in interface.groups})
        lists = self._lists.of(groups) if self._lists else ()
        return Inventory(groups, found, lists, self._names.of(groups) if self._names else ())

    def _prefix_holders(self, address: Ipv4) -> tuple[NetworkInterface, ...]:
        return tuple(
            interface for interface in self._prefixed if any(address in prefix for prefix in interface.prefixes)
        )

    def _may_scan(self) -> bool:
        if self._read is None:
            return True
        return bool(self._prefixed) and self._clock() - self._read >= PREFIX_SCAN

    def _read_interfaces(self) -> tuple[NetworkInterface, ...]:
        interfaces = self._describe_interfaces([self._vpc])
        self._prefixed = tuple(interface for interface in interfaces if interface.prefixes)
        self._read = self._clock()
        return interfaces

    def _describe_interfaces(self, filters: Sequence[Mapping[str, Any]]) -> tuple[NetworkInterface, ...]:
        return parse_network_interfaces(
            _describe(self._client, "describe_network_interfaces", "NetworkInterfaces", filters)
        )

    def _describe_groups(self, filters: Sequence[Mapping[str, Any]]) -> tuple[SecurityGroup, ...]:
        return parse_security_groups(_describe(self._client, "describe_security_groups", "SecurityGroups", filters))

    def _groups_by_id(self, ids: Iterable[str]) -> tuple[SecurityGroup, ...]:
        """Return the groups with these ids. By filter: a group that is gone is left out, not an error."""
        wanted = sorted(ids)
        return tuple(
            group
            for start in range(0, len(wanted), FILTER_VALUES)
            for group in self._describe_groups([{"Name": "group-id", "Values": wanted[start : start + FILTER_VALUES]}])
        )


def parse_security_groups(document: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> tuple[SecurityGroup, ...]:
    """Return the groups of an answer, with their egress rules.

    Args:
        document: the list under `SecurityGroups`, or the whole that `aws ec2 describe-security-groups` prints.

    Raises:
        AwsError: this is something else.
    """
    return _parse(document, "SecurityGroups", _security_group)


def parse_network_interfaces(
    document: Iterable[Mapping[str, Any]] | Mapping[str, Any],
) -> tuple[NetworkInterface, ...]:
    """Return the interfaces of an answer, with their IPv4 addresses and prefixes.

    Args:
        document: the list under `NetworkInterfaces`, or the whole that `aws ec2 describe-network-interfaces` prints.

    Raises:
        AwsError: this is something else.
    """
    return _parse(document, "NetworkInterfaces", _network_interface)


def _parse(
    document: Iterable[Mapping[str, Any]] | Mapping[str, Any], key: str, parse: Callable[[Mapping[str, Any]], Item]
) -> tuple[Item, ...]:
    try:
        items = document[key] if isinstance(document, Mapping) else document
        return tuple([parse(item) for item in items])
    except (KeyError, TypeError, AttributeError, InvalidAddress) as error:
        raise AwsError(
            f"this is not a description of {key} as EC2 gives it: {error!r}",
            hint="give what `aws ec2 describe-security-groups` and `describe-network-interfaces` print as JSON",
        ) from error


def _security_group(item: Mapping[str, Any]) -> SecurityGroup:
    rules = tuple(
        EgressRule(
            permission["IpProtocol"],
            permission.get("FromPort"),
            permission.get("ToPort"),
            destination[name],
            destination.get("Description", ""),
        )
        for permission in item["IpPermissionsEgress"]
        for kind, name in _DESTINATIONS
        for destination in permission.get(kind, ())
    )
    return SecurityGroup(item["GroupId"], item.get("GroupName", ""), rules)


def _network_interface(item: Mapping[str, Any]) -> NetworkInterface:
    # An interface without IPv4 has no addresses; one that is being made may have no more than the first.
    addresses = [each["PrivateIpAddress"] for each in item.get("PrivateIpAddresses", ())]
    if not addresses and "PrivateIpAddress" in item:
        addresses = [item["PrivateIpAddress"]]
    return NetworkInterface(
        item["NetworkInterfaceId"],
        tuple([group["GroupId"] for group in item["Groups"]]),
        tuple([parse_ipv4(address) for address in addresses]),
        tuple([Network.parse(prefix["Ipv4Prefix"]) for prefix in item.get("Ipv4Prefixes", ())]),
    )


def _describe(client: Ec2, operation: str, key: str, filters: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the items of all pages.

    Raises:
        AwsError: a page is missing, for the reason that the message gives.
    """
    with asking("ec2", operation) as action:
        try:
            pages = client.get_paginator(operation).paginate(Filters=filters, PaginationConfig={"PageSize": PAGE})
            return [item for page in pages for item in page[key]]
        except KeyError as error:
            raise AwsError(f"{action} answered without {key}") from error
