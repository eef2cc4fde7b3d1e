"""Reach: what AWS itself lets out of an interface."""

import pytest

from appliance.address import parse_ipv4
from appliance.policy.inventory import EgressRule
from appliance.policy.reach import covers, reach_of

ADDRESS = parse_ipv4("203.0.113.10")  # in the upper half of IPv4


def rule(destination: str, protocol: str = "tcp", start: int | None = 443, end: int | None = 443) -> EgressRule:
    return EgressRule(protocol, start, end, destination, "")


COVERS = [
    # protocol, from, to, covers TCP port 443
    ("tcp", 443, 443, True),
    ("6", 443, 443, True),
    ("TCP", 443, 443, True),
    ("tcp", 1, 65535, True),
    ("tcp", None, None, True),
    ("tcp", -1, -1, True),
    ("tcp", 443, None, True),  # nothing EC2 says, but a tool may
    ("-1", None, None, True),
    ("tcp", 444, 500, False),
    ("udp", 443, 443, False),
    ("icmp", -1, -1, False),
]


@pytest.mark.parametrize(("protocol", "start", "end", "expected"), COVERS)
def test_rule_covers_a_port(protocol: str, start: int | None, end: int | None, expected: bool) -> None:
    """A rule covers a TCP port if its protocol is TCP or all, and its range holds the port."""
    assert covers(rule("0.0.0.0/0", protocol, start, end), 443) is expected


REACHES = [
    # destinations                       networks                           everywhere, includes ADDRESS
    ((), [], False, False),
    (("0.0.0.0/0",), ["0.0.0.0/0"], True, True),
    (("0.0.0.0/1",), ["0.0.0.0/1"], False, False),
    (("0.0.0.0/0", "0.0.0.0/1", "203.0.113.0/24"), ["0.0.0.0/0"], True, True),
    (("0.0.0.0/1", "128.0.0.0/1"), ["0.0.0.0/1", "128.0.0.0/1"], True, True),  # the halves are the whole
    (("203.0.113.0/24", "203.0.113.0/25"), ["203.0.113.0/24"], False, True),
    (("203.0.113.0/24", "203.0.114.0/24"), ["203.0.113.0/24", "203.0.114.0/24"], False, True),
    (("pl-1234",), [], False, None),  # whose addresses are not known here
    (("pl-1234", "203.0.113.10/32"), ["203.0.113.10/32"], False, True),
    (("::/0", "sg-1234"), [], False, False),
]


@pytest.mark.parametrize(("destinations", "networks", "everywhere", "includes"), REACHES)
def test_reach_is_the_union(
    destinations: tuple[str, ...], networks: list[str], everywhere: bool, includes: bool | None
) -> None:
    """Rules add up; nested ones count once, and what is not IPv4 counts for nothing."""
    reach = reach_of([rule(destination) for destination in destinations], 443, {})

    assert [str(network) for network in reach.networks] == networks
    assert reach.is_everywhere is everywhere
    assert reach.includes(ADDRESS) is includes
    assert reach.is_nowhere is (not networks and includes is not None)
