"""Wildcards: names that nobody could list beforehand, from real clients over real DNS; and what may not be listed."""

from collections.abc import Iterator

import pytest

from tests.lab.appliance import Appliance
from tests.lab.lab import Lab, wait_until
from tests.lab.preferring import prefer, preferred, running
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import allowed, conversation, converse, hello, launch, refused, tls
from tests.lab.workload import Workload

BY = "a listed pattern matches the name, and the destination is one of its addresses: by "
RATIONED = 140  # names: more than one client may have looked up in the time that this takes


@pytest.fixture(scope="module", autouse=True)
def appliance(lab: Lab) -> Iterator[Appliance]:
    """The appliance with a parameter to read, which asks for nothing at first."""
    with running(lab) as started:
        yield started


@pytest.fixture(scope="module")
def web(lab: Lab, appliance: object) -> Workload:
    """A client with patterns: two that count by default, and one that does not."""
    patterns = (
        tls("*.wild.test", "w+.plus.test", "*.github.io"),
        egress("tcp", 22, description="discriminat:ssh:*.a.test"),
    )
    return launch(lab, "wildcards", *patterns)


@pytest.fixture(scope="module")
def other(lab: Lab) -> Server:
    """A server that no pattern has to do with."""
    return lab.internet.tls("other.test")


def test_what_is_listed_and_what_is_refused_is_told(lab: Lab, web: Workload) -> None:
    """Patterns have a category of their own; a refused one comes with the suffix that it would have matched."""
    for pattern in ("*.wild.test", "w?.plus.test"):
        lab.appliance.wait_for_event(cat="wildcard", outcome="accepted", fqdn=pattern, proto="tls")
    event = lab.appliance.wait_for_event(cat="wildcard", outcome="rejected", fqdn="*.github.io")
    assert event["reason"].startswith("*.github.io reaches github.io, a public suffix by the Public Suffix List; ")
    event = lab.appliance.wait_for_event(lambda each: "ssh cannot have" in each["reason"], cat="error")
    assert event["reason"].endswith("SSH carries no name to compare with it: list each host that is needed")
    started = lab.appliance.wait_for_event(cat="appliance", outcome="started")
    assert ", Public Suffix List of 20" in started["reason"]


@pytest.mark.parametrize(
    ("host", "pattern"), [("one.wild.test", "*.wild.test"), ("w3.plus.test", "w?.plus.test")], ids=["star", "plus"]
)
def test_a_name_that_a_pattern_matches_passes(lab: Lab, web: Workload, host: str, pattern: str) -> None:
    """It is looked up when it is used, and the log says which pattern let it pass."""
    server = lab.internet.tls(host)
    assert lab.dns.asked(host) == 0

    assert web.curl(f"https://{host}/").ok

    event, _ = allowed(lab, server)
    assert (event["code"], event["rule"]) == ("pattern_listed", "tcp/443 0.0.0.0/0")
    assert event["reason"] == f"{BY}{pattern}"


@pytest.mark.parametrize("host", ["wild.test", "a.b.wild.test", "www.plus.test", "xwild.test"])
def test_a_name_that_none_matches_is_refused_and_not_looked_up(
    lab: Lab, web: Workload, other: Server, host: str
) -> None:
    """No wildcard stands for a dot, or for nothing (N16), and DNS is not asked (D13)."""
    asked = lab.dns.asked(host)

    assert converse(web, other.address, hello(host)).reset

    refused(lab, other, "name_not_listed", dhost=host)
    assert lab.dns.asked(host) == asked


def test_another_address_than_the_name_s_is_refused(lab: Lab, web: Workload, other: Server) -> None:
    """A pattern does not loosen the tie of name and address (N1)."""
    lab.internet.tls("real.wild.test")

    assert converse(web, other.address, hello("real.wild.test")).reset

    refused(lab, other, "address_mismatch", dhost="real.wild.test")


def test_a_preference_lets_patterns_count_and_takes_it_back(lab: Lab, web: Workload) -> None:
    """While everything runs: also for the flow that is open by then (X1)."""
    server = lab.internet.tls("anybody.github.io")
    assert converse(web, server.address, hello("anybody.github.io")).reset
    refused(lab, server, "name_not_listed")
    skip = len(lab.appliance.config_events())
    with preferred(lab, wildcard_exposure="nuclear"):
        lab.appliance.wait_for_event(cat="wildcard", outcome="accepted", fqdn="*.github.io", skip=skip)
        with conversation(web, "anybody.github.io") as ask:
            event, _ = allowed(lab, server)
            assert event["reason"] == f"{BY}*.github.io"
            skip = len(lab.appliance.config_events())
            prefer(lab, wildcard_exposure="prohibit_asterisk")
            lab.appliance.wait_for_event(cat="wildcard", outcome="removed", fqdn="*.github.io", skip=skip)
            lab.appliance.wait_for_event(cat="wildcard", outcome="removed", fqdn="*.wild.test", skip=skip)
            assert wait_until(lambda: not ask())  # once what had come before is read
            refused(lab, server, "rule_removed", saw=None, dhost=server.address)
            lab.internet.tls("w4.plus.test")
            assert web.curl("https://w4.plus.test/").ok


def test_names_that_a_client_makes_up_are_rationed(lab: Lab, web: Workload, other: Server) -> None:
    """Beyond its share DNS is not asked any more, whatever it asks for (D13)."""
    hosts = [f"n{number}.wild.test" for number in range(RATIONED)]

    for host in hosts:
        converse(web, other.address, hello(host))

    refused(lab, other, "look_ups_limited", saw=None)
    asked = sum(lab.dns.asked(host) > 0 for host in hosts)
    assert 0 < asked < RATIONED
