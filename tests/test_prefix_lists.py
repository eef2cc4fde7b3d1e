"""Managed prefix lists: how they are read, what they grant, and what is said of those that cannot be read."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.address import Ipv4, Network, parse_ipv4
from appliance.edge import ec2
from appliance.edge.prefix_lists import GONE, UNVERSIONED_AGE, PrefixListReader, parse_entries
from appliance.errors import AwsError, InputError
from appliance.lint import lint
from appliance.policy.destination import Destination, PrefixList, destination_of
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.policy.listed import list_changes
from appliance.policy.policy import Policy, Rule, compile_policy, diff_policy
from appliance.report import Check
from appliance.sources import Source, check
from tests.test_check import TODAY

ID = "pl-0123456789abcdef0"
NETS = ("203.0.113.0/25", "198.51.100.0/24")
INSIDE, OUTSIDE = parse_ipv4("203.0.113.10"), parse_ipv4("203.0.113.130")


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(Network.parse, texts))


def group(destination: str = ID, description: str = "discriminat:tls:a.com") -> SecurityGroup:
    return SecurityGroup("sg-1", "web", (EgressRule("tcp", 443, 443, destination, description),))


def inventory(*lists: PrefixList, destination: str = ID) -> Inventory:
    return Inventory((group(destination),), (), lists)


def compiled(*lists: PrefixList) -> Policy:
    return compile_policy(inventory(*lists))


def only_rule(*lists: PrefixList) -> Rule:
    (rule,) = compiled(*lists).rules
    return rule


# ---- what a list grants ----


def test_a_rule_leads_to_the_networks_of_its_list() -> None:
    """To each of them, and to nothing beside them."""
    destination = only_rule(PrefixList(ID, networks(*NETS))).destination

    assert destination is not None
    assert INSIDE in destination
    assert OUTSIDE not in destination
    assert parse_ipv4("198.51.100.255") in destination
    assert parse_ipv4("198.51.101.0") not in destination
    assert parse_ipv4("0.0.0.1") not in destination
    assert str(destination) == f"{ID} of 2 networks"


@pytest.mark.parametrize(
    ("entries", "spelled"),
    [
        (("0.0.0.0/0",), None),
        (("203.0.113.0/24", "0.0.0.0/0"), None),
        (("0.0.0.0/1",), f"{ID},0.0.0.0/1"),  # not as in a rule: a list may hold what it likes
        (("203.0.113.0/24", "203.0.113.7/32"), f"{ID},203.0.113.0/24"),
    ],
)
def test_a_list_with_everything_means_anywhere(entries: tuple[str, ...], spelled: str | None) -> None:
    """No other entry is read otherwise than it is written."""
    destination = only_rule(PrefixList(ID, networks(*entries))).destination

    assert (destination.spelled if destination else None) == spelled


REFUSED = [
    # what was read, message
    ((), f"what prefix list {ID} holds is not known here"),
    ((PrefixList(ID, None, trouble="denied"),), f"prefix list {ID} cannot be read: denied"),
    ((PrefixList(ID, ()),), f"prefix list {ID} is empty"),
    ((PrefixList(ID, (), is_ipv6=True),), f"prefix list {ID} is of IPv6, which is not supported yet"),
]


@pytest.mark.parametrize(("lists", "message"), REFUSED)
def test_what_is_not_known_of_a_list_grants_nothing(lists: tuple[PrefixList, ...], message: str) -> None:
    """The rule is named, and its neighbour still works."""
    both = SecurityGroup(
        "sg-1", "web", (*group().rules, EgressRule("tcp", 443, 443, "0.0.0.0/0", "discriminat:tls:b.com"))
    )
    policy = compile_policy(Inventory((both,), (), lists))
    (rejection,) = policy.rejections

    assert rejection.fault.message == message
    assert rejection.reference == f"tcp/443 {ID}"
    assert [str(name) for name in policy.names] == ["b.com"]


def test_a_list_that_is_edited_changes_the_policy_and_is_told() -> None:
    """The rule stays the same rule: its names neither go nor come."""
    old, new = compiled(PrefixList(ID, networks(NETS[0]))), compiled(PrefixList(ID, networks(*NETS)))
    (change,) = diff_policy(old, new)

    assert old.digest != new.digest
    assert (change.cat, change.outcome, change.gid, change.rule) == ("prefix-list", "accepted", "sg-1", f"tcp/443 {ID}")
    assert change.reason == f"{ID} of 2 networks, was {ID} of 1 network"


def test_trouble_is_told_rule_by_rule_while_the_last_entries_stand() -> None:
    """Once, and again when it is over; it changes nothing in the policy."""
    well, ill = (inventory(PrefixList(ID, networks(*NETS), trouble=text)) for text in ("", "throttled"))

    assert compile_policy(well).digest == compile_policy(ill).digest
    (failed,) = list_changes(well, ill)
    (recovered,) = list_changes(ill, well)
    assert (failed.cat, failed.outcome, failed.rule) == ("error", "failed", f"tcp/443 {ID}")
    assert failed.reason == f"prefix list {ID} cannot be read, its last entries stand: throttled"
    assert recovered.outcome == "recovered"
    assert not [*list_changes(ill, ill), *list_changes(well, well), *list_changes(Inventory((), ()), well)]


NETWORKS = st.builds(
    lambda address, length: Network(Ipv4(address >> 32 - length << 32 - length), length),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)


@given(st.lists(NETWORKS, max_size=12), st.data())
def test_an_address_is_inside_exactly_if_an_entry_has_it(entries: list[Network], data: st.DataObject) -> None:
    """However many entries, nested or not; also after a trip to another process."""
    edges = [edge for each in entries for edge in (each.address - 1, each.address, each.address + each.size - 1)]
    edges += [each.address + each.size for each in entries]
    near = [edge for edge in edges if 0 <= edge < 2**32]
    address = Ipv4(data.draw(st.sampled_from(near) if near else st.integers(0, 2**32 - 1)))
    found = destination_of(ID, {ID: PrefixList(ID, tuple(entries))})

    assert found is not None
    travelled = Destination.parse(found.spelled)
    assert travelled == found
    assert (address in found) is (address in travelled) is any(address in each for each in entries)


# ---- how lists are read ----


class ScriptedLists:
    """An EC2 with prefix lists: entries by version, two on a page; it counts what it is asked."""

    def __init__(self, *lists: dict[str, Any]) -> None:
        self.lists = {each["PrefixListId"]: each for each in lists}
        self.asked: list[str] = []
        self.failing: set[str] = set()

    def get_paginator(self, operation_name: str) -> "ScriptedPages":
        return ScriptedPages(self, operation_name)


class ScriptedPages:
    def __init__(self, aws: ScriptedLists, operation: str) -> None:
        self.aws, self.operation = aws, operation

    def paginate(self, **arguments: Any) -> Iterable[Mapping[str, Any]]:
        self.aws.asked.append(self.operation)
        if self.operation in self.aws.failing:
            raise AwsError(f"{self.operation}: throttled")
        if self.operation == "describe_managed_prefix_lists":
            (wanted,) = arguments["Filters"]
            assert wanted["Name"] == "prefix-list-id"
            key, found = (
                "PrefixLists",
                [each for each in self.aws.lists.values() if each["PrefixListId"] in wanted["Values"]],
            )
        else:
            described = self.aws.lists[arguments["PrefixListId"]]
            assert arguments.get("TargetVersion") == described.get("Version")
            key, found = "Entries", [{"Cidr": each} for each in described["entries"]]
        return [{key: found[start : start + 2]} for start in range(0, max(len(found), 1), 2)]


def described(version: int | None = 1, *, family: str = "IPv4", entries: Iterable[str] = NETS) -> dict[str, Any]:
    numbered = {} if version is None else {"Version": version}
    return {"PrefixListId": ID, "AddressFamily": family, "entries": entries, **numbered}


def test_all_pages_of_a_list_are_read_and_only_once_for_a_version() -> None:
    """An unchanged list costs one question for all of them; a new version is read again."""
    aws = ScriptedLists(described(entries=[*NETS, "192.0.2.0/24"]))
    reader = PrefixListReader(aws)

    assert reader.follow([group()]) == reader.follow([group()]) == (PrefixList(ID, networks(*NETS, "192.0.2.0/24")),)
    assert aws.asked.count("get_managed_prefix_list_entries") == 1
    aws.lists[ID] = described(2, entries=["192.0.2.0/25"])
    assert reader.follow([group()]) == (PrefixList(ID, networks("192.0.2.0/25")),)


@pytest.mark.parametrize(
    "unused", [group(description=""), group(description="discriminat:see-thru:2031-12-31"), group("0.0.0.0/0")]
)
def test_only_lists_that_names_lead_to_are_read(unused: SecurityGroup) -> None:
    """EC2 is asked nothing for the others."""
    aws = ScriptedLists(described())

    assert PrefixListReader(aws).follow([unused]) == ()
    assert aws.asked == []


def test_a_list_without_version_is_read_again_after_a_while() -> None:
    """As AWS's own have none."""
    now = 0.0
    aws = ScriptedLists(described(None))
    reader = PrefixListReader(aws, clock=lambda: now)
    reader.follow([group()])
    aws.lists[ID] = described(None, entries=["192.0.2.0/24"])

    now = UNVERSIONED_AGE - 1
    assert reader.follow([group()]) == (PrefixList(ID, networks(*NETS)),)
    now = UNVERSIONED_AGE
    assert reader.follow([group()]) == (PrefixList(ID, networks("192.0.2.0/24")),)


@pytest.mark.parametrize("operation", ["describe_managed_prefix_lists", "get_managed_prefix_list_entries"])
def test_what_cannot_be_read_stays_as_it_was(operation: str) -> None:
    """And says why; what was never read has no networks."""
    aws = ScriptedLists(described())
    aws.failing = {operation}
    reader = PrefixListReader(aws)
    trouble = f"{operation}: throttled"
    assert reader.follow([group()]) == (PrefixList(ID, None, trouble=trouble),)
    aws.failing = set()
    reader.follow([group()])
    aws.failing, aws.lists[ID] = {operation}, described(2, entries=["192.0.2.0/24"])

    assert reader.follow([group()]) == (PrefixList(ID, networks(*NETS), trouble=trouble),)


def test_a_list_that_is_gone_counts_no_more() -> None:
    """Nor do its last entries when it comes back and cannot be read."""
    aws = ScriptedLists(described())
    reader = PrefixListReader(aws)
    reader.follow([group()])
    lost = aws.lists.pop(ID)

    assert reader.follow([group()]) == (PrefixList(ID, None, trouble=GONE),)
    aws.lists[ID], aws.failing = lost, {"get_managed_prefix_list_entries"}
    assert reader.follow([group()])[0].networks is None


def test_the_groups_of_a_new_client_ask_for_new_lists_alone() -> None:
    """What was read is not asked for again on their account."""
    aws = ScriptedLists(described())
    reader = PrefixListReader(aws)
    first = reader.of([group()])
    asked = list(aws.asked)

    assert first == reader.of([group()]) == (PrefixList(ID, networks(*NETS)),)
    assert aws.asked == asked


@pytest.mark.parametrize("family", ["IPv6", "IPv4"])
def test_lists_of_ipv6_are_known_by_family_or_entries(family: str) -> None:
    """A file tells no family."""
    aws = ScriptedLists(described(family=family, entries=["2001:db8::/32"]))

    assert PrefixListReader(aws).follow([group()]) == (PrefixList(ID, (), is_ipv6=True),)


def test_an_entry_that_is_none_spoils_its_list_alone() -> None:
    """Half a list would be another list."""
    (found,) = PrefixListReader(ScriptedLists(described(entries=["203.0.113.0/24", "x"]))).follow([group()])

    assert found.networks is None
    assert "'x' is not an IPv4 address" in found.trouble


def test_an_inventory_holds_its_lists(aws_in_memory: None) -> None:
    """Read through boto3's paginators, of the emulator."""
    client = boto3.client("ec2", region_name="eu-west-1")
    entries = [{"Cidr": each} for each in NETS]
    wanted = {"PrefixListName": "servers", "MaxEntries": 5, "AddressFamily": "IPv4"}
    made = client.create_managed_prefix_list(**wanted, Entries=entries)["PrefixList"]["PrefixListId"]
    reader = PrefixListReader(ec2.connect("eu-west-1"))

    assert reader.follow([group(made)]) == (PrefixList(made, networks(*NETS)),)
    client.modify_managed_prefix_list(PrefixListId=made, CurrentVersion=1, RemoveEntries=[{"Cidr": NETS[0]}])
    assert reader.follow([group(made)]) == (PrefixList(made, networks(NETS[1])),)
    part = Inventory((), (), reader.of([group(made)]))
    assert Inventory((), ()).with_part(part).lists[made].networks == networks(NETS[1])


# ---- from files ----


def saved(folder: Path, document: object) -> Path:
    path = folder / "entries.json"
    path.write_text(json.dumps(document))
    return path


def groups_file(folder: Path) -> Path:
    permission = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    leads = [{"PrefixListId": ID, "Description": "discriminat:tls:a.com"}]
    path = folder / "groups.json"
    path.write_text(
        json.dumps(
            {"SecurityGroups": [{"GroupId": "sg-1", "IpPermissionsEgress": [{**permission, "PrefixListIds": leads}]}]}
        )
    )
    return path


def test_check_says_what_it_does_not_know(tmp_path: Path) -> None:
    """As a warning: the appliance knows what is in the list."""
    report = check(Source(groups_file(tmp_path)))

    assert (report.rejected, report.warnings) == (0, 1)
    assert report.findings[0].check is Check.PREFIX_LIST_UNKNOWN
    assert f"--prefix-list {ID}=FILE" in report.findings[0].fault.hint


def test_check_reads_entries_from_a_file(tmp_path: Path) -> None:
    """As the AWS CLI prints them; what is wrong with the list is a rejection then."""
    for entries, findings in ([{"Cidr": each} for each in NETS], []), ([], [Check.ANNOTATION]):
        path = saved(tmp_path, {"Entries": entries})
        report = check(Source(groups_file(tmp_path), prefix_lists=(f"{ID}={path}",)))
        assert [finding.check for finding in report.findings] == findings


@pytest.mark.parametrize(
    "document", [{"Entries": [{"Cidr": "x"}]}, {"Entries": [{}]}, {"Entries": [{"Cidr": 7}]}, {}, []]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, document: object) -> None:
    """With what to give; an empty list alone is a list."""
    given_here = f"{ID}={saved(tmp_path, document)}"
    if document == []:
        assert check(Source(groups_file(tmp_path), prefix_lists=(given_here,))).rejected == 1
        return
    with pytest.raises(InputError) as refused:
        check(Source(groups_file(tmp_path), prefix_lists=(given_here,)))
    assert "get-managed-prefix-list-entries" in refused.value.hint


@pytest.mark.parametrize("text", ["entries.json", f"{ID}=", "sg-1=entries.json"])
def test_a_list_wants_its_id(tmp_path: Path, text: str) -> None:
    """AWS's answer does not tell it."""
    with pytest.raises(InputError, match="is not ID=FILE"):
        check(Source(groups_file(tmp_path), prefix_lists=(text,)))


def test_a_list_beside_one_as_wide_narrows_nothing() -> None:
    """Repetitions are found across lists and CIDR blocks."""
    rules = (
        *group().rules,
        EgressRule("tcp", 443, 443, "203.0.113.0/26", "discriminat:tls:a.com"),
        EgressRule("tcp", 443, 443, "192.0.2.0/24", "discriminat:tls:a.com"),
    )
    listed = PrefixList(ID, networks(*NETS))
    report = lint(Inventory((SecurityGroup("sg-1", "web", rules),), (), (listed,)), TODAY, with_interfaces=False)

    assert [(each.check, each.rule) for each in report.findings] == [(Check.NAME_REPEATED, "tcp/443 203.0.113.0/26")]


def test_entries_that_are_no_text_are_an_error() -> None:
    """A file may be anybody's work."""
    with pytest.raises((TypeError, KeyError)):
        parse_entries(ID, [{"Cidr": None}])
