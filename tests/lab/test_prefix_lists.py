"""Rules that lead to managed prefix lists, and to what is not supported yet."""

import pytest

from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import egress
from tests.lab.story import allowed, launch, prefix_list, refused, tls

ENTRIES = "GetManagedPrefixListEntries"


pytestmark = pytest.mark.usefixtures("appliance")


def edit(lab: Lab, list_id: str, *, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> None:
    """Edit a list, as the console does."""
    (described,) = lab.ec2.describe_managed_prefix_lists(PrefixListIds=[list_id])["PrefixLists"]
    lab.ec2.modify_managed_prefix_list(
        PrefixListId=list_id,
        CurrentVersion=described["Version"],
        AddEntries=[{"Cidr": each} for each in add],
        RemoveEntries=[{"Cidr": each} for each in remove],
    )


def one(address: str) -> str:
    return f"{address}/32"


def test_the_list_of_a_rule_is_enforced_and_its_edits_count(lab: Lab) -> None:
    """Inside passes, outside is refused though AWS lets it out; an edit counts within a poll, and is told."""
    inside, outside = lab.internet.tls("in.list.test"), lab.internet.tls("out.list.test")
    list_id = prefix_list(lab, one(inside.address), "192.0.2.0/24")
    client = launch(lab, "listed", tls(inside.name, outside.name, peer=list_id), egress("tcp", 443))
    assert client.curl(f"https://{inside.name}/").ok
    event, _ = allowed(lab, inside)
    assert list_id in event["rule"]
    assert not client.curl(f"https://{outside.name}/").ok
    event = refused(lab, outside, "destination_not_in_rule", src=client.address)
    assert f"{list_id} of 2 networks" in event["reason"]

    edit(lab, list_id, add=(one(outside.address),), remove=(one(inside.address),))
    event = lab.appliance.wait_for_event(cat="prefix-list", outcome="accepted")
    assert list_id in event["rule"]
    assert client.curl(f"https://{outside.name}/").ok
    inside.forget()
    assert not client.curl(f"https://{inside.name}/").ok
    refused(lab, inside, "destination_not_in_rule", src=client.address)

    # What does not change is not read again.
    read = len(lab.emulator.switchboard.calls(ENTRIES))
    polls = len(lab.emulator.switchboard.calls("DescribeManagedPrefixLists"))
    assert wait_until(lambda: len(lab.emulator.switchboard.calls("DescribeManagedPrefixLists")) >= polls + 2)
    assert len(lab.emulator.switchboard.calls(ENTRIES)) == read


def test_a_long_list_is_read_to_its_end(lab: Lab) -> None:
    """EC2 gives 100 entries at a time."""
    server = lab.internet.tls("long.list.test")
    others = [f"192.0.{third}.{fourth}/32" for third in range(2) for fourth in range(0, 240, 2)]
    list_id = prefix_list(lab, *others, one(server.address))
    client = launch(lab, "long", tls(server.name, peer=list_id))
    assert client.curl(f"https://{server.name}/").ok


def test_the_last_entries_stand_while_a_list_cannot_be_read(lab: Lab) -> None:
    """Each rule is told of once; a list that was never read grants nothing until it is."""
    known, new = lab.internet.tls("known.list.test"), lab.internet.tls("new.list.test")
    old = prefix_list(lab, one(known.address))
    fresh = prefix_list(lab, one(new.address))
    client = launch(lab, "standing", tls(known.name, peer=old))
    skip = len(lab.appliance.config_events())
    with lab.trouble("ec2", "deny", "DescribeManagedPrefixLists", ENTRIES):
        event = lab.appliance.wait_for_event(lambda each: old in each["rule"], cat="error", outcome="failed", skip=skip)
        assert "its last entries stand: ec2:DescribeManagedPrefixLists: not permitted" in event["reason"]
        assert client.curl(f"https://{known.name}/").ok
        late = launch(lab, "late", tls(new.name, peer=fresh), tls(known.name, port=8443))
        lab.appliance.wait_for_event(lambda each: fresh in each["rule"], cat="error", outcome="rejected", skip=skip)
        assert not late.curl(f"https://{new.name}/").ok
        refused(lab, new, "port_not_listed", src=late.address)
    lab.appliance.wait_for_event(lambda each: old in each["rule"], cat="error", outcome="recovered", skip=skip)
    assert wait_until(lambda: late.curl(f"https://{new.name}/").ok)


def test_what_is_not_supported_yet_is_told_and_its_neighbours_work(lab: Lab) -> None:
    """IPv6 networks and lists, groups, and lists with nothing in them."""
    server = lab.internet.tls("beside.list.test")
    other = lab.security_group("other", egress("-1", None))
    six = prefix_list(lab, "2001:db8::/32", family="IPv6")
    empty = prefix_list(lab)
    peers = {
        "2001:db8::/32": "IPv6 destination 2001:db8::/32 is not supported yet",
        other.id: f"Security Group {other.id} is not supported as a destination",
        six: f"prefix list {six} is of IPv6, which is not supported yet",
        empty: f"prefix list {empty} is empty",
    }
    skip = len(lab.appliance.config_events())
    client = launch(lab, "beside", tls(server.name), *(tls("nobody.list.test", peer=each) for each in peers))
    for peer, words in peers.items():
        event = lab.appliance.wait_for_event(
            lambda each, peer=peer: peer in each["rule"],  # type: ignore[misc]
            cat="error",
            outcome="rejected",
            skip=skip,
        )
        assert event["reason"].startswith(words)
    assert client.curl(f"https://{server.name}/").ok
