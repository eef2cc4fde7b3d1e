"""VpcState: what the AWS API says about networks, interfaces, routes and Security Groups, in one snapshot.

The fabric is programmed from this and from nothing else; the metadata service reads it too.
`read_state` is the only function that asks; everything else here is data.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Permission:
    """One line of a Security Group, flattened: one peer each."""

    protocol: str  # "tcp", "udp", "icmp", a number, or "-1"
    from_port: int
    to_port: int
    peer: str  # CIDR, "sg-..." or "pl-..."


@dataclass(frozen=True, slots=True)
class Group:
    """A Security Group; IPv4 only."""

    id: str
    name: str
    egress: tuple[Permission, ...]
    ingress: tuple[Permission, ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """An ENI. `addresses`: the primary one first; `prefixes`: delegated /28s."""

    id: str
    mac: str
    subnet: str
    addresses: tuple[str, ...]
    prefixes: tuple[str, ...]
    groups: tuple[str, ...]
    source_dest_check: bool
    public: str  # Elastic IP of the primary address, or ""
    instance: str  # or ""

    @property
    def networks(self) -> tuple[str, ...]:
        """Everything it may send from and receive at, in prefix notation."""
        return (*(f"{address}/32" for address in self.addresses), *self.prefixes)


@dataclass(frozen=True, slots=True)
class Route:
    """One route: `target` is "eni-...", "igw-..." or anything else, which is a black hole here."""

    destination: str
    target: str


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet with the routes that packets leaving its interfaces obey."""

    id: str
    network: str
    zone: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class VpcState:
    """One VPC at one moment; mappings by id."""

    id: str
    networks: tuple[str, ...]  # primary CIDR first
    owner: str
    subnets: dict[str, Subnet]
    groups: dict[str, Group]
    interfaces: dict[str, Interface]
    prefix_lists: dict[str, tuple[str, ...]] = field(default_factory=dict)  # networks

    def members(self, group: str) -> Iterator[Interface]:
        """Interfaces that are in a Security Group."""
        return (each for each in self.interfaces.values() if group in each.groups)

    def holder(self, address: str) -> Interface | None:
        """Return the interface with this primary or secondary address."""
        return next((each for each in self.interfaces.values() if address in each.addresses), None)


def read_state(ec2: Any, vpc: str) -> VpcState:
    """Return the present state of a VPC, from the Describe calls any AWS client has; nothing is in one that is gone."""
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    found = ec2.describe_vpcs(Filters=here)["Vpcs"]
    if not found:
        return VpcState(vpc, networks=(), owner="", subnets={}, groups={}, interfaces={})
    described = found[0]
    tables = ec2.describe_route_tables(Filters=here)["RouteTables"]
    interfaces = _pages(ec2, "describe_network_interfaces", "NetworkInterfaces", here)
    groups = _pages(ec2, "describe_security_groups", "SecurityGroups", here)
    subnets = ec2.describe_subnets(Filters=here)["Subnets"]
    read = {each["GroupId"]: _group(each) for each in groups}
    permissions = [each for group in read.values() for each in (*group.egress, *group.ingress)]
    return VpcState(
        id=vpc,
        networks=tuple(each["CidrBlock"] for each in described["CidrBlockAssociationSet"]),
        owner=described.get("OwnerId", ""),
        subnets={each["SubnetId"]: _subnet(each, tables) for each in subnets},
        groups=read,
        interfaces={each["NetworkInterfaceId"]: _interface(each) for each in interfaces},
        prefix_lists=_prefix_lists(ec2, permissions),
    )


def _pages(ec2: Any, call: str, key: str, filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for page in ec2.get_paginator(call).paginate(Filters=filters):
        yield from page[key]


def _prefix_lists(ec2: Any, permissions: list[Permission]) -> dict[str, tuple[str, ...]]:
    ids = sorted({each.peer for each in permissions if each.peer.startswith("pl-")})
    reading = ec2.get_paginator("get_managed_prefix_list_entries")
    return {
        id: tuple(each["Cidr"] for page in reading.paginate(PrefixListId=id) for each in page["Entries"]) for id in ids
    }


def _subnet(subnet: dict[str, Any], tables: list[dict[str, Any]]) -> Subnet:
    def associated(table: dict[str, Any]) -> bool:
        return any(each.get("SubnetId") == subnet["SubnetId"] for each in table["Associations"])

    def main(table: dict[str, Any]) -> bool:
        return any(each.get("Main") for each in table["Associations"])

    table = next(filter(associated, tables), None) or next(filter(main, tables))
    routes = tuple(
        Route(each["DestinationCidrBlock"], each.get("NetworkInterfaceId") or each.get("GatewayId") or "blackhole")
        for each in table["Routes"]
        if "DestinationCidrBlock" in each and each.get("GatewayId") != "local"
    )
    return Subnet(subnet["SubnetId"], subnet["CidrBlock"], subnet["AvailabilityZone"], routes)


def _group(group: dict[str, Any]) -> Group:
    return Group(
        id=group["GroupId"],
        name=group["GroupName"],
        egress=tuple(_permissions(group["IpPermissionsEgress"])),
        ingress=tuple(_permissions(group["IpPermissions"])),
    )


def _permissions(permissions: list[dict[str, Any]]) -> Iterator[Permission]:
    for each in permissions:
        peers = [
            *(item["CidrIp"] for item in each.get("IpRanges", [])),
            *(item["GroupId"] for item in each.get("UserIdGroupPairs", [])),
            *(item["PrefixListId"] for item in each.get("PrefixListIds", [])),
        ]
        for peer in peers:
            yield Permission(each["IpProtocol"], each.get("FromPort", -1), each.get("ToPort", -1), peer)


def _interface(interface: dict[str, Any]) -> Interface:
    addresses = sorted(interface["PrivateIpAddresses"], key=lambda each: not each["Primary"])
    return Interface(
        id=interface["NetworkInterfaceId"],
        mac=interface["MacAddress"],
        subnet=interface["SubnetId"],
        addresses=tuple(each["PrivateIpAddress"] for each in addresses),
        prefixes=tuple(each["Ipv4Prefix"] for each in interface.get("Ipv4Prefixes", [])),
        groups=tuple(each["GroupId"] for each in interface["Groups"]),
        source_dest_check=interface["SourceDestCheck"],
        public=interface.get("Association", {}).get("PublicIp", ""),
        instance=interface.get("Attachment", {}).get("InstanceId", ""),
    )
