"""Policy follows AWS while everything runs: rules, groups, clients, names."""

import contextlib
import json
import os
import signal
import time

import pytest

from tests.lab.appliance import Appliance
from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import egress
from tests.lab.story import SHORT_WAITS, allowed, conversation, launch, launch_in, refused, tls

pytestmark = pytest.mark.usefixtures("appliance")


def test_an_edited_description_takes_effect(lab: Lab) -> None:
    """Within a poll: the old name is refused, the new one allowed, and both are in the config log."""
    old, new = lab.internet.tls("old.edit.test"), lab.internet.tls("new.edit.test")
    group = lab.security_group("edit", tls(old.name))
    client = launch_in(lab, "edit", [group])
    assert client.curl(f"https://{old.name}/").ok
    assert not client.curl(f"https://{new.name}/").ok
    old.forget()

    lab.edit_rule(group, description=f"discriminat:tls:{new.name}")

    event = lab.appliance.wait_for_event(cat="fqdn", outcome="accepted", fqdn=new.name)
    assert (event["gid"], event["proto"]) == (group.id, "tls")
    lab.appliance.wait_for_event(cat="fqdn", outcome="removed", fqdn=old.name, gid=group.id)
    assert client.curl(f"https://{new.name}/").ok
    assert not client.curl(f"https://{old.name}/").ok
    refused(lab, old, "name_not_listed", src=client.address)
    assert new.received() != b""


def test_an_established_connection_survives_an_edit(lab: Lab) -> None:
    """As long as its name is listed; what is not, ends (test_revocation.py)."""
    server = lab.internet.tls("stay.edit.test")
    group = lab.security_group("stay", tls(server.name))
    client = launch_in(lab, "stay", [group])
    with conversation(client, server.name) as ask:
        lab.edit_rule(group, description=f"discriminat:tls:other.edit.test,{server.name}")
        lab.appliance.wait_for_event(cat="fqdn", outcome="accepted", fqdn="other.edit.test", gid=group.id)
        assert ask("/after")
    assert b"GET /after" in server.connections[0].plain


def test_groups_of_a_client_are_a_union(lab: Lab) -> None:
    """Rules of every group count; taking a group away takes its names away, and its port."""
    one, two = lab.internet.tls("one.union.test"), lab.internet.tls("two.union.test", port=8443)
    first = lab.security_group("first", tls(one.name))
    second = lab.security_group("second", tls(two.name, port=8443))
    client = launch_in(lab, "union", [first, second])
    assert client.curl(f"https://{one.name}/").ok
    assert client.curl(f"https://{two.name}:8443/").ok
    two.forget()

    lab.set_groups(client, [first, lab.security_group("plain", egress("tcp", 8443))])

    lab.appliance.wait_for_event(cat="client", outcome="removed", client=client.address)
    assert wait_until(lambda: not client.curl(f"https://{two.name}:8443/").ok)
    refused(lab, two, "port_not_listed", src=client.address, saw=None)
    assert client.curl(f"https://{one.name}/").ok


def test_the_log_says_which_group_and_rule_allowed(lab: Lab) -> None:
    """Of several groups, the one whose rule lists the name."""
    server = lab.internet.tls("which.union.test")
    right = lab.security_group("right", tls("x.union.test", port=8443), tls(server.name, peer="203.0.113.0/24"))
    wrong = lab.security_group("wrong", tls("y.union.test"))
    client = launch_in(lab, "which", [wrong, right])

    assert client.curl(f"https://{server.name}/").ok
    event, reply = allowed(lab, server)
    assert event["gid"] == reply["gid"] == right.id
    assert "203.0.113.0/24" in event["rule"]


def test_a_workload_that_is_gone_is_no_client(lab: Lab) -> None:
    """Its address comes back with whoever gets it next, and that one's groups."""
    server = lab.internet.tls("next.edit.test")
    client = launch(lab, "gone", tls(server.name))
    assert client.curl(f"https://{server.name}/").ok

    lab.terminate(client)
    lab.appliance.wait_for_event(cat="client", outcome="removed", client=client.address)
    heir = launch(lab, "heir", tls("other.edit.test"))

    assert heir.address == client.address
    server.forget()
    assert not heir.curl(f"https://{server.name}/").ok
    refused(lab, server, "name_not_listed")


def test_secondary_addresses_and_prefixes_are_clients(lab: Lab) -> None:
    """Pods send from addresses of their host's interface."""
    server = lab.internet.lines("pods.edit.test", greeting=b"220\r\n")
    client = launch(lab, "pods", tls(server.name), secondary=1, prefixes=("10.0.1.224/28",))
    client.namespace.address("eth0", "10.0.1.229/32")

    for source in (*client.addresses, "10.0.1.229"):
        # The server speaks at once, so that the reset may come before the program here has seen itself connected.
        with pytest.raises(ConnectionResetError), client.connect(server.address, 443, source=source) as stream:
            stream.recv(10)
        lab.appliance.wait_for_event(src=source, code="server_first")


def test_what_is_told_to_be_in_force_is(lab: Lab, appliance: Appliance) -> None:
    """The event comes after the kernel's sets and every worker: whoever waits for it does not come too early."""
    stopped = appliance.workers()[-1]
    os.kill(stopped, signal.SIGSTOP)  # before there is a client: it may be known in a moment
    try:
        client = lab.workload("told", groups=[lab.security_group("told", tls("told.edit.test", port=8443))])
        assert wait_until(lambda: f"{client.address} . 8443" in appliance.kernel_set("annotated"))
        polls = len(lab.emulator.switchboard.calls("DescribeSecurityGroups"))
        assert wait_until(lambda: len(lab.emulator.switchboard.calls("DescribeSecurityGroups")) >= polls + 2)
        told = [event for event in appliance.config_events() if event.get("client") == client.address]
        # On a machine that is slow it may have been silent for so long that it was killed: it decides nothing any more.
        assert told == [] or wait_until(lambda: stopped not in appliance.workers())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGCONT)
    event = appliance.wait_for_event(cat="client", outcome="accepted", client=client.address)
    assert event["digest"] == appliance.details()["policy_digest"]


def test_a_policy_is_named_by_its_digest(lab: Lab) -> None:
    """The health page and the config log agree on which policy is in force."""
    launch(lab, "digest", tls("digest.edit.test"))

    digest = lab.appliance.details()["policy_digest"]

    assert len(digest) == 64
    assert wait_until(
        lambda: (
            [each["digest"] for each in lab.appliance.config_events() if each["cat"] == "policy"][-1]
            == lab.appliance.details()["policy_digest"]
        )
    )


def test_a_client_that_has_just_started_is_looked_up(lab: Lab, appliance: Appliance) -> None:
    """Its first SYN is held while AWS is asked, however long until the next poll."""
    appliance.stop()
    appliance.start({**SHORT_WAITS, "policy": {"poll_interval": 600.0}})
    first, second = lab.internet.tls("first.new.test"), lab.internet.tls("second.new.test")
    polls = len(lab.emulator.switchboard.calls("DescribeSecurityGroups"))
    group = lab.security_group("new", tls(first.name), egress("tcp", 80))

    client = lab.workload("new", groups=[group])
    assert client.curl(f"https://{first.name}/").ok

    assert not client.curl(f"https://{second.name}/").ok
    refused(lab, second, "name_not_listed", src=client.address)
    lab.appliance.wait_for_event(cat="client", outcome="accepted", client=client.address)
    codes = {each["code"] for each in appliance.flow_events() if each["src"] == client.address}
    assert "client_unknown" not in codes
    assert len(lab.emulator.switchboard.calls("DescribeSecurityGroups")) - polls <= 2


def test_an_address_that_aws_does_not_know_is_refused(lab: Lab, appliance: Appliance) -> None:
    """AWS is asked once, then the refusal is logged; the next attempts do not wait."""
    server = lab.internet.tls("stranger.new.test")
    state = lab.emulator.switchboard
    with lab.trouble("ec2", "deny"):
        client = lab.workload("stranger", groups=[lab.security_group("stranger", tls(server.name))])
        with pytest.raises(ConnectionRefusedError):
            client.connect(server.address, 443, timeout=8)
        refused(lab, server, "client_unknown", src=client.address)
        asked = len(state.calls("DescribeNetworkInterfaces"))
        began = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            client.connect(server.address, 443)
        assert time.monotonic() - began < 1
        assert len(state.calls("DescribeNetworkInterfaces")) - asked <= 1
    assert server.connections == []
    assert "ec2:DescribeNetworkInterfaces" in appliance.said()
    assert json.loads(appliance.health()[1])["status"] == "ok"
