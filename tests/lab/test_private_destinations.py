"""Private networks that preferences open to rules, and the times that they overrule."""

from collections.abc import Iterator
from subprocess import PIPE

import pytest

from tests.dns_server import Record
from tests.lab.appliance import Appliance
from tests.lab.lab import Lab, wait_until
from tests.lab.preferring import preferred, running, wait_told, write
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import allowed, launch, refused, tls
from tests.lab.workload import Workload

DB, BESIDE, UNLISTED = "10.50.0.10", "10.51.0.10", "10.50.0.11"
PEERED = ["10.50.0.0/16"]
POLL = "DescribeSecurityGroups"


@pytest.fixture(scope="module", autouse=True)
def appliance(lab: Lab) -> Iterator[Appliance]:
    """The appliance with a parameter to read, which asks for nothing at first."""
    lab.internet.namespace.ip("route add local 10.50.0.0/15 dev lo")  # where the peer's servers stand
    with running(lab) as started:
        yield started
    lab.internet.namespace.ip("route del local 10.50.0.0/15 dev lo")


@pytest.fixture(scope="module")
def peer(lab: Lab, appliance: object) -> dict[str, Server]:
    """The servers of private networks."""
    servers = {}
    for name, address in (("db", DB), ("beside", BESIDE), ("unlisted", UNLISTED)):
        servers[name] = lab.internet.tls(f"{name}.peer.test", address=address)
        lab.names[f"{name}.peer.test"] = [address]
    return servers


@pytest.fixture(scope="module")
def web(lab: Lab, appliance: object) -> Workload:
    """A client that lists two servers of private networks."""
    return launch(lab, "peering", tls("db.peer.test", "beside.peer.test"), egress("-1", None))


def test_a_rule_reaches_a_private_network_while_it_is_opened(
    lab: Lab, appliance: Appliance, web: Workload, peer: dict[str, Server]
) -> None:
    """Answers inside are believed, and nothing beside it opens; then all is as before, for open flows too."""
    server, beside = peer["db"], peer["beside"]
    assert not web.curl("https://db.peer.test/").ok
    refused(lab, server, "destination_private", src=web.address)

    with preferred(lab, private_destinations=PEERED):
        assert web.curl("https://db.peer.test/").ok
        allowed(lab, server)
        assert not web.curl("https://beside.peer.test/").ok
        refused(lab, beside, "destination_private", src=web.address)
        assert appliance.details()["preferences"]["in_force"]["private_destinations"] == PEERED

    server.forget()
    assert not web.curl("https://db.peer.test/").ok
    refused(lab, server, "destination_private", src=web.address)


def test_an_open_flow_ends_when_its_network_is_closed(
    lab: Lab, appliance: Appliance, web: Workload, peer: dict[str, Server]
) -> None:
    """As one does whose rule has gone: nothing of it arrives any more."""
    server = peer["db"]
    skip = len(appliance.config_events())
    with preferred(lab, private_destinations=PEERED):
        talk = web.popen(
            "openssl", "s_client", "-connect", f"{DB}:443", "-servername", server.name, "-quiet", stdin=PIPE
        )
        assert talk.stdin is not None
        talk.stdin.write(b"GET /before HTTP/1.1\r\n\r\n")
        talk.stdin.flush()
        assert wait_until(lambda: any(b"GET /before" in each.plain for each in server.connections))
    appliance.wait_for_event(lambda each: "open flows were ended" in each["reason"], cat="policy", skip=skip)
    appliance.wait_for_event(dst=DB, dhost=server.name, code="destination_private", src=web.address)
    server.forget()
    talk.stdin.write(b"GET /after HTTP/1.1\r\n\r\n")
    talk.stdin.flush()
    assert talk.wait(5) != 0  # reset by peer
    talk.stdin.close()
    assert server.received() == b""
    assert not any(b"GET /after" in each.plain for each in server.connections)


def test_see_thru_does_not_reach_it(lab: Lab, appliance: Appliance, web: Workload, peer: dict[str, Server]) -> None:
    """It is opened to rules alone."""
    with preferred(lab, private_destinations=PEERED, see_thru="2099-01-01"):
        assert not web.curl("https://unlisted.peer.test/").ok
        event = refused(lab, peer["unlisted"], "name_not_listed", src=web.address)
        assert event["see_thru_exerted"] is False


def test_the_vpc_itself_stays_closed_and_a_flush_changes_nothing(
    lab: Lab, appliance: Appliance, web: Workload, peer: dict[str, Server]
) -> None:
    """Whatever is written; the kernel's set and the workers say the same, also after the ruleset was put back."""
    skip = len(appliance.config_events())
    write(lab, '{"%default": {"private_destinations": ["10.0.0.0/8"]}}')
    appliance.wait_for_event(
        lambda each: "of private_destinations stays closed" in each["reason"], cat="error", outcome="ignored", skip=skip
    )
    wait_told(lab, skip, "private_destinations: [")
    assert "10.0.0.0/16" in appliance.kernel_set("private")
    assert "10.0.0.0/8" not in appliance.kernel_set("private")
    assert "169.254.0.0/16" in appliance.kernel_set("private")
    assert web.curl("https://db.peer.test/").ok

    appliance.namespace.nft("delete table inet discriminat")
    appliance.wait_for_event(lambda each: "is loaded again" in each["reason"], skip=skip, timeout=15)
    assert wait_until(lambda: "10.0.0.0/16" in appliance.kernel_set("private"))
    assert web.curl("https://db.peer.test/").ok

    skip = len(appliance.config_events())
    write(lab, '{"%default": {}}')
    wait_told(lab, skip, "private_destinations: []")
    assert "10.0.0.0/8" in appliance.kernel_set("private")


@pytest.mark.parametrize("network", ["169.254.0.0/16", "127.0.0.0/8", "203.0.113.0/24", "0.0.0.0/8", "10.0.0.0/7"])
def test_what_is_nobodys_private_network_is_not_opened(lab: Lab, appliance: Appliance, network: str) -> None:
    """Nor is anything that holds a metadata service; it is told with what to write."""
    skip = len(appliance.config_events())
    write(lab, f'{{"%default": {{"private_destinations": ["{network}"]}}}}')
    event = wait_told(lab, skip, "preferences: private_destinations", cat="error", outcome="rejected")
    assert "stays in force; write " in event["reason"]


def test_aws_is_read_as_often_as_preferred(lab: Lab, appliance: Appliance) -> None:
    """At once: a long wait is cut short by a shorter interval."""
    calls = lambda: len(lab.emulator.switchboard.calls(POLL))  # noqa: E731
    with preferred(lab, policy_poll_interval=600):
        before = calls()
        told = len(lab.emulator.switchboard.calls("GetParameter"))
        assert wait_until(lambda: len(lab.emulator.switchboard.calls("GetParameter")) >= told + 6, timeout=10)
        assert calls() <= before + 1
    before = calls()
    assert wait_until(lambda: calls() >= before + 2, timeout=20)  # the long one would be ten minutes


def test_addresses_are_believed_as_long_as_preferred(lab: Lab, appliance: Appliance) -> None:
    """An address that DNS has taken away goes once its TTL and the grace are over; those held already, too."""
    server, other = lab.internet.tls("moved.peer.test"), lab.internet.tls("other.peer.test")
    lab.names[server.name] = Record(addresses=(server.address,), ttl=5)
    client = launch(lab, "moving", tls(server.name))
    there = ("--resolve", f"{server.name}:443:{server.address}")
    assert client.curl(f"https://{server.name}/", *there).ok
    lab.names[server.name] = Record(addresses=(other.address,), ttl=5)
    with preferred(lab, grace=0):
        assert wait_until(lambda: not client.curl(f"https://{server.name}/", *there).ok, timeout=15)
        refused(lab, server, "address_mismatch", saw=None, src=client.address)
