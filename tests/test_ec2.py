"""Discovery, against answers as the AWS CLI prints them and against an EC2 in memory."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.stub import ANY, Stubber

from appliance.address import Network, parse_ipv4
from appliance.edge.ec2 import (
    PREFIX_SCAN,
    Discovery,
    connect,
    parse_network_interfaces,
    parse_security_groups,
)
from appliance.errors import AwsError
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup

# Printed by `aws ec2 describe-security-groups`, with other people's identifiers replaced.
SECURITY_GROUPS: dict[str, Any] = {
    "SecurityGroups": [
        {
            "GroupId": "sg-0a1b2c3d4e5f60718",
            "IpPermissionsEgress": [
                {
                    "IpProtocol": "tcp",
                    "FromPort": 443,
                    "ToPort": 443,
                    "UserIdGroupPairs": [
                        {
                            "Description": "discriminat:tls:group.example.com",
                            "UserId": "111122223333",
                            "GroupId": "sg-0ffffffffffffffff",
                        }
                    ],
                    "IpRanges": [
                        {"Description": "api: discriminat:tls:api.example.com", "CidrIp": "0.0.0.0/0"},
                        {"CidrIp": "198.51.100.0/24"},
                    ],
                    "Ipv6Ranges": [{"Description": "six", "CidrIpv6": "::/0"}],
                    "PrefixListIds": [{"Description": "discriminat:tls:s3.example.com", "PrefixListId": "pl-6da54004"}],
                },
                {
                    "IpProtocol": "-1",
                    "UserIdGroupPairs": [],
                    "IpRanges": [{"Description": "discriminat:see-thru:2031-12-31", "CidrIp": "0.0.0.0/0"}],
                    "Ipv6Ranges": [],
                    "PrefixListIds": [],
                },
                {
                    "IpProtocol": "icmp",
                    "FromPort": -1,
                    "ToPort": -1,
                    "UserIdGroupPairs": [],
                    "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
                    "Ipv6Ranges": [],
                    "PrefixListIds": [],
                },
            ],
            "VpcId": "vpc-0123456789abcdef0",
            "SecurityGroupArn": "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-0a1b2c3d4e5f60718",
            "OwnerId": "111122223333",
            "GroupName": "workers",
            "Description": "what the workers may reach",
            "IpPermissions": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "UserIdGroupPairs": []}],
        },
        {"GroupId": "sg-0000000000000000a", "GroupName": "silent", "IpPermissionsEgress": []},
    ]
}

NETWORK_INTERFACES: dict[str, Any] = {
    "NetworkInterfaces": [
        {
            "Attachment": {"AttachmentId": "eni-attach-0123", "DeviceIndex": 0, "Status": "attached"},
            "AvailabilityZone": "eu-west-1a",
            "Description": "aws-K8S-i-0123456789abcdef0",
            "Groups": [
                {"GroupName": "workers", "GroupId": "sg-0a1b2c3d4e5f60718"},
                {"GroupName": "silent", "GroupId": "sg-0000000000000000a"},
            ],
            "InterfaceType": "interface",
            "Ipv6Addresses": [],
            "NetworkInterfaceId": "eni-0a000000000000001",
            "PrivateIpAddress": "10.0.1.10",
            "PrivateIpAddresses": [
                {"Primary": True, "PrivateDnsName": "ip-10-0-1-10.internal", "PrivateIpAddress": "10.0.1.10"},
                {"Primary": False, "PrivateIpAddress": "10.0.1.11"},
            ],
            "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.1.208/28"}, {"Ipv4Prefix": "10.0.1.224/28"}],
            "Status": "in-use",
            "VpcId": "vpc-0123456789abcdef0",
        },
        {
            "Groups": [],
            "Ipv6Addresses": [{"Ipv6Address": "2001:db8::1"}],
            "Ipv6Native": True,
            "NetworkInterfaceId": "eni-0a000000000000002",
            "PrivateIpAddresses": [],
        },
        {
            "Groups": [{"GroupName": "silent", "GroupId": "sg-0000000000000000a"}],
            "InterfaceType": "lambda",
            "NetworkInterfaceId": "eni-0a000000000000003",
            "PrivateIpAddress": "10.0.2.9",
        },
    ]
}

PARSED_GROUPS = (
    SecurityGroup(
        "sg-0a1b2c3d4e5f60718",
        "workers",
        (
            EgressRule("tcp", 443, 443, "0.0.0.0/0", "api: discriminat:tls:api.example.com"),
            EgressRule("tcp", 443, 443, "198.51.100.0/24", ""),
            EgressRule("tcp", 443, 443, "::/0", "six"),
            EgressRule("tcp", 443, 443, "pl-6da54004", "discriminat:tls:s3.example.com"),
            EgressRule("tcp", 443, 443, "sg-0ffffffffffffffff", "discriminat:tls:group.example.com"),
            EgressRule("-1", None, None, "0.0.0.0/0", "discriminat:see-thru:2031-12-31"),
            EgressRule("icmp", -1, -1, "10.0.0.0/8", ""),
        ),
    ),
    SecurityGroup("sg-0000000000000000a", "silent", ()),
)

PARSED_INTERFACES = (
    NetworkInterface(
        "eni-0a000000000000001",
        ("sg-0a1b2c3d4e5f60718", "sg-0000000000000000a"),
        (parse_ipv4("10.0.1.10"), parse_ipv4("10.0.1.11")),
        (Network.parse("10.0.1.208/28"), Network.parse("10.0.1.224/28")),
    ),
    NetworkInterface("eni-0a000000000000002", (), (), ()),
    NetworkInterface("eni-0a000000000000003", ("sg-0000000000000000a",), (parse_ipv4("10.0.2.9"),), ()),
)


def test_the_cli_output_and_its_list_are_read_alike() -> None:
    """A saved answer may be the whole document or the list inside; ingress and the rest is left out."""
    for document in (SECURITY_GROUPS, SECURITY_GROUPS["SecurityGroups"]):
        assert parse_security_groups(document) == PARSED_GROUPS
    for document in (NETWORK_INTERFACES, NETWORK_INTERFACES["NetworkInterfaces"]):
        assert parse_network_interfaces(document) == PARSED_INTERFACES


NOT_DESCRIPTIONS: dict[str, Any] = {
    "the other file": NETWORK_INTERFACES,
    "another program's JSON": {"Reservations": []},
    "a list of text": ["sg-1"],
    "a group without an id": [{"IpPermissionsEgress": []}],
    "a group without egress rules": [{"GroupId": "sg-1"}],
    "a rule without a protocol": [{"GroupId": "sg-1", "IpPermissionsEgress": [{"IpRanges": [{"CidrIp": "::/0"}]}]}],
    "nothing": None,
}


@pytest.mark.parametrize("document", NOT_DESCRIPTIONS.values(), ids=NOT_DESCRIPTIONS)
def test_what_is_no_description_is_an_error(document: Any) -> None:
    """A document of another shape is refused with a hint, never taken for an empty one."""
    with pytest.raises(AwsError) as refused:
        parse_security_groups(document)

    assert "SecurityGroups" in refused.value.message
    assert "describe-security-groups" in refused.value.hint


def test_an_address_that_is_none_is_an_error() -> None:
    """An interface with an unreadable address spoils the document: half a list would refuse workloads silently."""
    with pytest.raises(AwsError):
        parse_network_interfaces(
            [{"NetworkInterfaceId": "eni-1", "Groups": [], "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.256"}]}]
        )


# ---- an EC2 in memory ----


@pytest.fixture
def aws(aws_in_memory: None) -> Any:
    return boto3.client("ec2", region_name="eu-west-1")


class Vpc:
    """A VPC with one subnet, made through the API."""

    def __init__(self, ec2: Any, block: str = "10.0.0.0/16") -> None:
        self.ec2 = ec2
        self.id = ec2.create_vpc(CidrBlock=block)["Vpc"]["VpcId"]
        self.subnet = ec2.create_subnet(VpcId=self.id, CidrBlock=block)["Subnet"]["SubnetId"]

    def group(self, name: str, description: str) -> str:
        group = self.ec2.create_security_group(VpcId=self.id, GroupName=name, Description=name)["GroupId"]
        ranges = [{"CidrIp": "0.0.0.0/0", "Description": description}]
        self.ec2.authorize_security_group_egress(
            GroupId=group,
            IpPermissions=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": ranges}],
        )
        return str(group)

    def interface(self, address: str, *groups: str, secondary: Iterable[str] = (), prefixes: int = 0) -> str:
        arguments: dict[str, Any] = {"SubnetId": self.subnet, "Groups": list(groups)}
        if secondary:
            each = [{"PrivateIpAddress": other, "Primary": False} for other in secondary]
            arguments["PrivateIpAddresses"] = [{"PrivateIpAddress": address, "Primary": True}, *each]
        else:
            arguments["PrivateIpAddress"] = address
        made = self.ec2.create_network_interface(**arguments)["NetworkInterface"]["NetworkInterfaceId"]
        if prefixes:
            self.ec2.assign_private_ip_addresses(NetworkInterfaceId=made, Ipv4PrefixCount=prefixes)
        return str(made)


def test_a_vpc_is_read_whole_and_nothing_else(aws: Any) -> None:
    """The inventory holds the VPC's groups and interfaces, with secondary addresses, and no other VPC's."""
    vpc, other = Vpc(aws), Vpc(aws, "10.9.0.0/16")
    group = vpc.group("workers", "discriminat:tls:api.example.com,files.example.com")
    first = vpc.interface("10.0.1.10", group, secondary=["10.0.1.11"])
    other.interface("10.9.1.10", other.group("strangers", ""))
    inventory = Discovery(connect("eu-west-1"), vpc.id).inventory()

    assert inventory.interfaces == (
        NetworkInterface(first, (group,), (parse_ipv4("10.0.1.10"), parse_ipv4("10.0.1.11")), ()),
    )
    assert {found.name for found in inventory.groups} == {"workers", "default"}
    rules = next(found.rules for found in inventory.groups if found.id == group)
    assert EgressRule("tcp", 443, 443, "0.0.0.0/0", "discriminat:tls:api.example.com,files.example.com") in rules


def test_a_group_of_another_vpc_is_read_when_an_interface_wears_it(aws: Any) -> None:
    """Groups may be associated with a second VPC; the VPC filter alone would lose their rules."""
    vpc, other = Vpc(aws), Vpc(aws, "10.9.0.0/16")
    foreign = other.group("foreign", "discriminat:tls:api.example.com")
    vpc.interface("10.0.1.10", foreign)
    inventory = Discovery(connect("eu-west-1"), vpc.id).inventory()

    assert foreign in {group.id for group in inventory.groups}


def test_an_empty_vpc_is_an_empty_inventory(aws: Any) -> None:
    """An answer that lists nothing is believed; only a missing answer is an error."""
    assert Discovery(connect("eu-west-1"), "vpc-0123456789abcdef0").inventory() == Inventory((), ())


HOLDERS = [("10.0.1.10", True), ("10.0.1.12", False), ("10.0.1.1", False)]  # the emulator's filter knows no secondary


@pytest.mark.parametrize(("address", "held"), HOLDERS)
def test_an_unknown_client_is_found_by_its_address(aws: Any, address: str, held: bool) -> None:
    """The targeted look-up finds an address exactly, not as a prefix of another, and brings the groups along."""
    vpc = Vpc(aws)
    group = vpc.group("workers", "discriminat:tls:api.example.com")
    interface = vpc.interface("10.0.1.10", group, secondary=["10.0.1.11"])
    vpc.interface("10.0.1.100", vpc.group("others", ""))
    found = Discovery(connect("eu-west-1"), vpc.id).interface_of(parse_ipv4(address))

    if not held:
        assert found is None
        return
    assert found is not None
    assert [each.id for each in found.interfaces] == [interface]
    assert [each.id for each in found.groups] == [group]


# ---- an EC2 that answers what it is told to ----


class ScriptedEc2:
    """A client whose pages are functions of the operation and its filters; it counts what it is asked."""

    def __init__(self, interfaces: list[dict[str, Any]], groups: list[dict[str, Any]]) -> None:
        self.interfaces, self.groups = interfaces, groups
        self.asked: list[tuple[str, str]] = []
        self.page_sizes: set[int] = set()

    def get_paginator(self, operation_name: str) -> "ScriptedPages":
        return ScriptedPages(self, operation_name)


class ScriptedPages:
    def __init__(self, ec2: ScriptedEc2, operation: str) -> None:
        self.ec2, self.operation = ec2, operation

    def paginate(self, **arguments: Any) -> Iterable[Mapping[str, Any]]:
        filters = {each["Name"]: each["Values"] for each in arguments["Filters"]}
        assert all(len(values) <= 200 for values in filters.values())
        self.ec2.asked.append((self.operation, ",".join(filters)))
        self.ec2.page_sizes.add(arguments["PaginationConfig"]["PageSize"])
        if self.operation == "describe_network_interfaces":
            wanted = filters.get("addresses.private-ip-address")
            found = [
                each
                for each in self.ec2.interfaces
                if wanted is None or any(held["PrivateIpAddress"] in wanted for held in each["PrivateIpAddresses"])
            ]
            key = "NetworkInterfaces"
        else:
            ids = filters.get("group-id")
            found = [each for each in self.ec2.groups if ids is None or each["GroupId"] in ids]
            key = "SecurityGroups"
        return [{key: found[start : start + 3]} for start in range(0, max(len(found), 1), 3)]


def interface(number: int, *prefixes: str, group: str = "sg-1") -> dict[str, Any]:
    return {
        "NetworkInterfaceId": f"eni-{number}",
        "Groups": [{"GroupId": group}],
        "PrivateIpAddresses": [{"PrivateIpAddress": f"10.{third}.1.{number % 250}"} for third in (number // 250, 200)],
        "Ipv4Prefixes": [{"Ipv4Prefix": prefix} for prefix in prefixes],
    }


GROUP = {"GroupId": "sg-1", "GroupName": "workers", "IpPermissionsEgress": []}


def test_all_pages_are_read() -> None:
    """Seven interfaces on three pages are seven interfaces; pages are asked for at their largest."""
    ec2 = ScriptedEc2([interface(number) for number in range(7)], [GROUP])
    inventory = Discovery(ec2, "vpc-1").inventory()

    assert [each.id for each in inventory.interfaces] == [f"eni-{number}" for number in range(7)]
    assert ec2.page_sizes == {1000}


def test_missing_groups_are_asked_for_in_filters_of_at_most_200() -> None:
    """An interface list that mentions 450 unknown groups leads to three more questions."""
    interfaces = [interface(number, group=f"sg-{number:03}") for number in range(450)]
    ec2 = ScriptedEc2(interfaces, [])
    Discovery(ec2, "vpc-1").inventory()

    assert ec2.asked.count(("describe_security_groups", "group-id")) == 3


def test_an_unknown_client_is_found_by_a_secondary_address() -> None:
    """The filter that is used covers every address of an interface; no full reading takes place."""
    ec2 = ScriptedEc2([interface(1), interface(2)], [GROUP])
    found = Discovery(ec2, "vpc-1").interface_of(parse_ipv4("10.200.1.2"))

    assert found is not None
    assert [each.id for each in found.interfaces] == ["eni-2"]
    assert ec2.asked == [
        ("describe_network_interfaces", "vpc-id,addresses.private-ip-address"),
        ("describe_security_groups", "group-id"),
    ]


def test_a_client_in_a_new_prefix_is_found_by_reading_all_interfaces_now_and_then() -> None:
    """EC2 has no filter for prefixes: all interfaces are read, but once in a while, and only if prefixes are in use."""
    now = [100.0]
    ec2 = ScriptedEc2([interface(1, "10.0.1.32/28"), interface(2)], [GROUP])
    discovery = Discovery(ec2, "vpc-1", clock=lambda: now[0])
    full = ("describe_network_interfaces", "vpc-id")
    discovery.inventory()

    assert discovery.interface_of(parse_ipv4("10.0.1.64")) is None
    assert ec2.asked.count(full) == 1  # the inventory is too young to be read again

    now[0] += PREFIX_SCAN
    ec2.interfaces[1]["Ipv4Prefixes"] = [{"Ipv4Prefix": "10.0.1.64/28"}]
    found = discovery.interface_of(parse_ipv4("10.0.1.79"))

    assert found is not None
    assert [each.id for each in found.interfaces] == ["eni-2"]
    assert [each.id for each in found.groups] == ["sg-1"]
    assert ec2.asked.count(full) == 2

    assert discovery.interface_of(parse_ipv4("10.0.1.80")) is None
    assert discovery.interface_of(parse_ipv4("10.0.1.78")) is not None
    assert ec2.asked.count(full) == 2


def test_without_prefixes_unknown_clients_never_cause_a_full_reading() -> None:
    """A stranger who knocks costs one filtered question, however often and whenever."""
    now = [100.0]
    ec2 = ScriptedEc2([interface(1), interface(2)], [GROUP])
    discovery = Discovery(ec2, "vpc-1", clock=lambda: now[0])
    discovery.inventory()
    for _ in range(5):
        now[0] += 60
        assert discovery.interface_of(parse_ipv4("10.0.1.64")) is None

    assert ec2.asked.count(("describe_network_interfaces", "vpc-id")) == 1


# ---- bad days ----

REFUSALS = [
    # code                     status  says                        hints
    ("RequestLimitExceeded",   503,    "throttled by AWS",         "too often"),
    ("Throttling",             400,    "throttled by AWS",         "too often"),
    ("UnauthorizedOperation",  403,    "not permitted",            "allow ec2:DescribeNetworkInterfaces"),
    ("AuthFailure",            401,    "credentials not accepted", "clock"),
    ("RequestExpired",         400,    "credentials not accepted", "clock"),
    ("InternalError",          500,    "InternalError",            ""),
]  # fmt: skip


@pytest.fixture
def client(credentials: None) -> Any:
    return connect("eu-west-1", "http://127.0.0.1:9")


@pytest.mark.parametrize(("code", "status", "says", "hints"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_a_refusal_is_named(client: Any, code: str, status: int, says: str, hints: str) -> None:
    """An error code of EC2 becomes an error that says what to do; the inventory is not touched."""
    with Stubber(client) as ec2:
        ec2.add_client_error("describe_network_interfaces", code, "no", http_status_code=status)
        with pytest.raises(AwsError) as refused:
            Discovery(client, "vpc-1").inventory()

    assert says in refused.value.message
    assert "ec2:DescribeNetworkInterfaces" in refused.value.message
    assert hints in refused.value.hint


def test_a_failure_on_a_later_page_loses_the_earlier_ones(client: Any) -> None:
    """Half an answer is no answer."""
    expected = {"Filters": ANY, "MaxResults": 1000}
    with Stubber(client) as ec2:
        page = {"NetworkInterfaces": [], "NextToken": "second"}
        ec2.add_response("describe_network_interfaces", page, expected)
        ec2.add_client_error("describe_network_interfaces", "RequestLimitExceeded", http_status_code=503)
        with pytest.raises(AwsError, match="throttled"):
            Discovery(client, "vpc-1").inventory()


UNREACHABLE = [
    (botocore.exceptions.EndpointConnectionError(endpoint_url="https://ec2"), "cannot be reached"),
    (botocore.exceptions.ConnectTimeoutError(endpoint_url="https://ec2"), "cannot be reached"),
    (botocore.exceptions.ReadTimeoutError(endpoint_url="https://ec2"), "cannot be reached"),
    (botocore.exceptions.SSLError(endpoint_url="https://ec2", error="expired"), "cannot be reached"),
    (botocore.exceptions.NoCredentialsError(), "no credentials"),
    (botocore.exceptions.PaginationError(message="the same token twice"), "the same token twice"),
    (KeyError("NetworkInterfaces"), "without NetworkInterfaces"),
]


@pytest.mark.parametrize(("fault", "says"), UNREACHABLE, ids=[type(row[0]).__name__ for row in UNREACHABLE])
def test_no_answer_is_an_error(fault: Exception, says: str) -> None:
    """Whatever keeps AWS from answering is told from an empty answer."""

    class Broken:
        def get_paginator(self, operation_name: str) -> "Broken":
            return self

        def paginate(self, **arguments: Any) -> Iterable[Mapping[str, Any]]:
            raise fault

    with pytest.raises(AwsError, match=says):
        Discovery(Broken(), "vpc-1").interface_of(parse_ipv4("10.0.1.10"))


def test_the_client_retries_and_gives_up(client: Any) -> None:
    """Retries are adaptive and bounded, and so is the wait for a connection and for an answer."""
    config = client.meta.config

    assert config.retries["mode"] == "adaptive"
    assert (config.connect_timeout, config.read_timeout) == (5.0, 10.0)


def test_the_client_reads_only_what_is_wanted_of_an_answer(client: Any) -> None:
    """The parser is told to leave tags and the like alone, without a change to other clients of the process."""
    ours = client.meta.service_model.shape_for("NetworkInterface").members
    theirs = boto3.client("ec2", region_name="eu-west-1").meta.service_model.shape_for("NetworkInterface").members

    assert set(ours) == {
        "NetworkInterfaceId",
        "Groups",
        "PrivateIpAddress",
        "PrivateIpAddresses",
        "Ipv4Prefixes",
    }
    assert "TagSet" in theirs


def test_readings_from_several_threads_agree() -> None:
    """The poll and the look-ups of unknown clients run side by side."""
    ec2 = ScriptedEc2([interface(number, f"10.0.{number}.0/28") for number in range(2, 60)], [GROUP])
    discovery = Discovery(ec2, "vpc-1")
    found: list[Inventory | None] = []

    def ask(number: int) -> None:
        discovery.inventory()
        found.append(discovery.interface_of(parse_ipv4(f"10.0.{number}.5")))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(found) == 10
    assert all(each is not None and len(each.interfaces) == 1 for each in found)
