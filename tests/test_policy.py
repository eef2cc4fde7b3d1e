"""The policy: what Security Groups and interfaces amount to, and what changed since the last time."""

import pickle
from dataclasses import replace
from datetime import date

import pytest

from appliance.address import Ipv4, Network, parse_ipv4
from appliance.policy.annotation import Protocol
from appliance.policy.destination import Destination
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import (
    EMPTY_POLICY,
    Change,
    Policy,
    PortRules,
    Rule,
    SeeThruGrant,
    compile_policy,
    diff_policy,
)

A, B, C = (Fqdn.parse(text) for text in ("a.com", "b.com", "c.com"))
HOST = parse_ipv4("10.0.1.10")


def tcp(description: str, port: int = 443, destination: str = "0.0.0.0/0") -> EgressRule:
    return EgressRule("tcp", port, port, destination, description)


def group(gid: str, *rules: EgressRule) -> SecurityGroup:
    return SecurityGroup(gid, f"name of {gid}", rules)


def interface(address: str, *gids: str, prefix: str = "", eni: str = "eni-1") -> NetworkInterface:
    prefixes = (Network.parse(prefix),) if prefix else ()
    return NetworkInterface(eni, gids, (parse_ipv4(address),), prefixes)


def compile_rules(*rules: EgressRule) -> Policy:
    """Compile the policy of one group on one client."""
    return compile_policy(Inventory((group("sg-1", *rules),), (interface("10.0.1.10", "sg-1"),)))


def rule(gid: str, reference: str, protocol: Protocol = Protocol.TLS, port: int = 443, network: str = "") -> Rule:
    return Rule(gid, reference, protocol, port, Network.parse(network) if network else None)


# ---- rules ----

REFERENCES = [
    (EgressRule("tcp", 443, 443, "0.0.0.0/0", ""), "tcp/443 0.0.0.0/0"),
    (EgressRule("6", 443, 443, "0.0.0.0/0", ""), "tcp/443 0.0.0.0/0"),
    (EgressRule("tcp", 443, 443, "0.0.0.0/0", "", "sgr-1"), "sgr-1 tcp/443 0.0.0.0/0"),
    (EgressRule("udp", 1000, 2000, "10.0.0.0/8", ""), "udp/1000-2000 10.0.0.0/8"),
    (EgressRule("icmp", 8, -1, "::/0", ""), "icmp/8 ::/0"),
    (EgressRule("icmp", -1, -1, "0.0.0.0/0", ""), "icmp 0.0.0.0/0"),
    (EgressRule("-1", None, None, "pl-1", ""), "all pl-1"),
    (EgressRule("50", None, None, "sg-2", ""), "50 sg-2"),
]


@pytest.mark.parametrize(("egress", "reference"), REFERENCES)
def test_a_rule_is_named_by_what_it_lets_out(egress: EgressRule, reference: str) -> None:
    """A reference tells protocol, ports and destination; the rule's id stands first when it is known."""
    assert reference == egress.reference


def test_an_annotated_rule_lists_names_on_its_port() -> None:
    """A client may reach the names of its group's rule, on that rule's port and by that protocol only."""
    client = compile_rules(tcp("discriminat:tls:a.com,b.com"), tcp("discriminat:ssh:c.com", port=22)).clients[HOST]
    web, git = rule("sg-1", "tcp/443 0.0.0.0/0"), rule("sg-1", "tcp/22 0.0.0.0/0", Protocol.SSH, 22)

    assert client.groups == ("sg-1",)
    assert client.ports == {443: PortRules({A: (web,), B: (web,)}, {}), 22: PortRules({}, {C: (git,)})}
    assert client.see_thru is None


def test_rights_are_the_union_of_all_groups() -> None:
    """Rules of one port add up, across rules and groups, and a name tells every rule that lists it."""
    policy = compile_policy(
        Inventory(
            (
                group(
                    "sg-1", tcp("discriminat:tls:a.com,b.com"), tcp("discriminat:tls:c.com", destination="0.0.0.0/1")
                ),
                group("sg-2", tcp("discriminat:tls:b.com discriminat:ssh:b.com")),
            ),
            (interface("10.0.1.10", "sg-2", "sg-1"),),
        )
    )
    wide, half = rule("sg-1", "tcp/443 0.0.0.0/0"), rule("sg-1", "tcp/443 0.0.0.0/1")
    other, other_ssh = rule("sg-2", "tcp/443 0.0.0.0/0"), rule("sg-2", "tcp/443 0.0.0.0/0", Protocol.SSH)

    assert policy.clients[HOST].ports == {
        443: PortRules({A: (wide,), B: (wide, other), C: (half,)}, {B: (other_ssh,)}),
    }
    assert policy.names == {A, B, C}


@pytest.mark.parametrize(
    ("destination", "network"),
    [
        ("0.0.0.0/0", None),
        ("0.0.0.0/1", None),
        ("0.0.0.0/32", None),
        ("128.0.0.0/1", "128.0.0.0/1"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.7/32", "203.0.113.7/32"),
    ],
)
def test_a_cidr_from_zero_means_anywhere(destination: str, network: str | None) -> None:
    """A rule keeps its destination, unless the network address is 0.0.0.0, whatever the mask."""
    (compiled,) = compile_rules(tcp("discriminat:tls:a.com", destination=destination)).rules

    assert (Destination((Network.parse(network),)) if network else None) == compiled.destination


# ---- rejections ----

REJECTED = [
    # egress rule, message, hint
    (EgressRule("-1", None, None, "0.0.0.0/0", "discriminat:tls:a.com"), "TCP rule, and this one is for all", "443"),
    (EgressRule("udp", 443, 443, "0.0.0.0/0", "discriminat:tls:a.com"), "TCP rule, and this one is for udp", "443"),
    (EgressRule("17", 22, 22, "0.0.0.0/0", "discriminat:ssh:a.com"), "TCP rule, and this one is for udp", "port 22"),
    (EgressRule("tcp", 443, 444, "0.0.0.0/0", "discriminat:tls:a.com"), "one port, and this one is for ports", "one"),
    (EgressRule("tcp", 0, 65535, "0.0.0.0/0", "discriminat:tls:a.com"), "for ports 0-65535", "one rule for each port"),
    (EgressRule("tcp", None, None, "0.0.0.0/0", "discriminat:tls:a.com"), "for all ports", "one rule for each port"),
    (EgressRule("tcp", 0, 0, "0.0.0.0/0", "discriminat:tls:a.com"), "cannot be on port 0", "443"),
    (EgressRule("tcp", -1, -1, "0.0.0.0/0", "discriminat:tls:a.com"), "cannot be on port -1", "443"),
    (
        EgressRule("tcp", 443, 443, "::/0", "discriminat:tls:a.com"),
        "IPv6 destination ::/0 is not supported yet",
        "IPv4",
    ),
    (
        EgressRule("tcp", 443, 443, "pl-1", "discriminat:tls:a.com"),
        "what prefix list pl-1 holds is not known",
        "--prefix-list",
    ),
    (EgressRule("tcp", 443, 443, "sg-2", "discriminat:tls:a.com"), "Security Group sg-2 is not", "inside the VPC"),
    (EgressRule("tcp", 443, 443, "10.0.0.0", "discriminat:tls:a.com"), "'10.0.0.0' is not an IPv4 network", "CIDR"),
    (EgressRule("tcp", 443, 443, "0.0.0.0/0", "discriminat:tsl:a.com"), "'tsl' is unknown", "discriminat:tls:a.com"),
]


@pytest.mark.parametrize(("egress", "message", "hint"), REJECTED)
def test_what_cannot_be_enforced_grants_nothing(egress: EgressRule, message: str, hint: str) -> None:
    """A rule of the wrong shape is a rejection that names it, its place and its cure; its neighbour still works."""
    policy = compile_rules(egress, tcp("discriminat:tls:b.com", port=8443))
    (rejection,) = policy.rejections

    assert ("sg-1", egress.reference) == (rejection.gid, rejection.reference)
    assert message in rejection.fault.message
    assert hint in rejection.fault.hint
    assert rejection.fault.text[slice(*rejection.fault.span)] in egress.description
    assert policy.names == {B}
    assert list(policy.clients[HOST].ports) == [8443]


def test_every_fault_of_a_rule_is_reported() -> None:
    """Faults of the description, of the port and of the destination are told together."""
    policy = compile_rules(EgressRule("udp", 53, 53, "::/0", "discriminat:tls:a.com,localhost discriminat:see-thru:x"))

    assert [rejection.fault.message for rejection in policy.rejections] == [
        "IPv6 destination ::/0 is not supported yet",
        "tls needs a TCP rule, and this one is for udp",
        "'localhost' is a single label",
        "'x' is not a date as YYYY-MM-DD",
    ]


def test_a_bad_name_leaves_its_neighbours() -> None:
    """The good names of a list count, and the bad one is rejected."""
    policy = compile_rules(tcp("discriminat:tls:a.com,-.b.com,c.com"))

    assert policy.names == {A, C}
    assert [rejection.fault.message for rejection in policy.rejections] == ["'-.b.com' has the label '-'"]


# ---- clients ----


def test_a_client_is_an_address() -> None:
    """All addresses of an interface and of its delegated prefixes are clients, and share what they may do."""
    policy = compile_policy(
        Inventory(
            (group("sg-1", tcp("discriminat:tls:a.com")),),
            (
                NetworkInterface("eni-1", ("sg-1",), (HOST, Ipv4(HOST + 1)), (Network.parse("10.0.2.16/28"),)),
                interface("10.0.3.1", "sg-1", eni="eni-2"),
            ),
        )
    )
    delegated = [Ipv4(parse_ipv4("10.0.2.16") + offset) for offset in range(16)]

    assert list(policy.clients) == [HOST, HOST + 1, *delegated, parse_ipv4("10.0.3.1")]
    assert len({id(client) for client in policy.clients.values()}) == 1


def test_clients_that_differ_in_idle_groups_share_their_rules() -> None:
    """Groups without annotations make another client, but no other index."""
    policy = compile_policy(
        Inventory(
            (group("sg-1", tcp("discriminat:tls:a.com")), group("sg-2", tcp("to the Internet"))),
            (interface("10.0.1.10", "sg-1"), interface("10.0.1.11", "sg-1", "sg-2"), interface("10.0.1.12", "sg-2")),
        )
    )
    one, both, none = policy.clients.values()

    assert both.groups == ("sg-1", "sg-2")
    assert one.ports is both.ports
    assert none.ports == {}


def test_an_unknown_group_grants_nothing() -> None:
    """An interface may wear a group that was not read; the others still count."""
    policy = compile_policy(
        Inventory((group("sg-1", tcp("discriminat:tls:a.com")),), (interface("10.0.1.10", "sg-1", "sg-gone"),))
    )

    assert list(policy.clients[HOST].ports) == [443]


def test_an_address_in_two_places_has_what_both_grant() -> None:
    """An address that moved while AWS was being read is held to the groups that both interfaces have."""
    groups = tuple(group(f"sg-{name}", tcp(f"discriminat:tls:{name}.com")) for name in ("a", "b", "c"))
    seen = (interface("10.0.1.10", "sg-a", "sg-b"), interface("10.0.1.10", "sg-b", "sg-c", eni="eni-2"))

    for interfaces in (seen, seen[::-1]):
        client = compile_policy(Inventory(groups, interfaces)).clients[HOST]
        assert client.groups == ("sg-b",)
        assert set(client.ports[443].tls) == {B}


def test_a_block_that_nobody_delegates_is_ignored() -> None:
    """A prefix far larger than a /28 does not make millions of clients."""
    policy = compile_policy(Inventory((), (interface("10.0.1.10", "sg-1", prefix="10.0.0.0/8"),)))

    assert list(policy.clients) == [HOST]


def test_names_of_a_group_without_clients_are_known() -> None:
    """A group that nobody wears yet has its names looked up already."""
    policy = compile_policy(Inventory((group("sg-1", tcp("discriminat:tls:a.com")),), ()))

    assert policy.names == {A}
    assert policy.clients == {}


# ---- see-thru ----


@pytest.mark.parametrize(
    "egress",
    [
        EgressRule("-1", None, None, "0.0.0.0/0", "discriminat:see-thru:2027-01-05"),
        EgressRule("udp", 1, 65535, "::/0", "discriminat:see-thru:2027-01-05"),
        EgressRule("tcp", 443, 443, "pl-1", "discriminat:see-thru:2027-01-05"),
        EgressRule("icmp", -1, -1, "sg-2", "discriminat:see-thru:2027-01-05"),
    ],
)
def test_see_thru_sits_on_any_rule(egress: EgressRule) -> None:
    """The shape of a rule does not matter to see-thru, and see-thru alone lists no port."""
    policy = compile_rules(egress)

    assert policy.clients[HOST].see_thru == SeeThruGrant(date(2027, 1, 5), "sg-1", egress.reference)
    assert policy.clients[HOST].ports == {}
    assert policy.rejections == ()


@pytest.mark.parametrize(
    ("dates", "gid"),
    [
        ({"sg-1": ["2027-01-05"], "sg-2": ["2027-02-01"]}, "sg-2"),
        ({"sg-1": ["2027-02-01"], "sg-2": ["2027-01-05"]}, "sg-1"),
        ({"sg-2": ["2027-02-01"], "sg-1": ["2027-02-01"]}, "sg-1"),  # a tie: the smaller id
        ({"sg-1": ["2027-01-05", "2027-02-01", "2026-12-31"], "sg-2": ["2027-01-31"]}, "sg-1"),
    ],
)
def test_the_latest_see_thru_wins(dates: dict[str, list[str]], gid: str) -> None:
    """Of all see-thru dates of a client's groups the latest counts, and its group is told."""
    groups = tuple(
        group(each, *(tcp(f"discriminat:see-thru:{text}", port) for port, text in enumerate(texts, start=1)))
        for each, texts in dates.items()
    )
    grant = compile_policy(Inventory(groups, (interface("10.0.1.10", *dates),))).clients[HOST].see_thru

    assert grant is not None
    assert (date(2027, 2, 1), gid) == (grant.until, grant.gid)


@pytest.mark.parametrize(
    ("today", "days", "active"),
    [("2027-01-01", 4, True), ("2027-01-05", 0, True), ("2027-01-06", -1, False), ("2028-01-05", -365, False)],
)
def test_see_thru_holds_through_its_day(today: str, days: int, active: bool) -> None:
    """See-thru ends after the named day, and the days keep counting below zero."""
    grant = SeeThruGrant(date(2027, 1, 5), "sg-1")

    assert days == grant.days_remaining(date.fromisoformat(today))
    assert active is grant.active(date.fromisoformat(today))


# ---- digest, and the way to the workers ----

BASE = Inventory(
    (
        group(
            "sg-1",
            tcp("discriminat:tls:a.com,b.com"),
            tcp("discriminat:ssh:c.com", port=22, destination="203.0.113.0/24"),
            tcp("discriminat:see-thru:2027-01-05", port=80),
            tcp("discriminat:tls:localhost", port=8443),
        ),
        group("sg-2", tcp("discriminat:tls:b.com,c.com")),
    ),
    (
        interface("10.0.1.10", "sg-1", "sg-2"),
        interface("10.0.1.11", "sg-2", prefix="10.0.2.0/28", eni="eni-2"),
        interface("10.0.1.12", eni="eni-3"),
    ),
)
FIRST, SECOND = BASE.groups


def with_rules(*rules: EgressRule) -> Inventory:
    return replace(BASE, groups=(replace(FIRST, rules=(*FIRST.rules, *rules)), SECOND))


SAME = {
    "groups in another order": replace(BASE, groups=BASE.groups[::-1]),
    "interfaces in another order": replace(BASE, interfaces=BASE.interfaces[::-1]),
    "rules in another order": replace(BASE, groups=(replace(FIRST, rules=FIRST.rules[::-1]), SECOND)),
    "groups of an interface in another order": replace(
        BASE, interfaces=(interface("10.0.1.10", "sg-2", "sg-1"), *BASE.interfaces[1:])
    ),
    "names in another order, and case": replace(
        BASE, groups=(replace(FIRST, rules=(tcp("discriminat:tls:B.com,A.com"), *FIRST.rules[1:])), SECOND)
    ),
    "prose": replace(
        BASE, groups=(replace(FIRST, rules=(tcp("jo: discriminat:tls:a.com,b.com"), *FIRST.rules[1:])), SECOND)
    ),
    "a rule that is not annotated": with_rules(tcp("to the Internet", port=123)),
    "another name of a group": replace(BASE, groups=(replace(FIRST, name="renamed"), SECOND)),
    "another interface with the same address": replace(
        BASE, interfaces=(replace(BASE.interfaces[0], id="eni-9"), *BASE.interfaces[1:])
    ),
    "everything twice": Inventory(BASE.groups * 2, BASE.interfaces * 2),
}
DIFFERENT = {
    "a name": with_rules(tcp("discriminat:tls:d.com", destination="0.0.0.0/1")),
    "a port": with_rules(tcp("discriminat:tls:a.com", port=444)),
    "a protocol": with_rules(tcp("discriminat:ssh:a.com")),
    "a destination": with_rules(tcp("discriminat:ssh:c.com", port=22, destination="203.0.112.0/24")),
    "a date": with_rules(tcp("discriminat:see-thru:2027-01-06", port=81)),
    "a rejection": with_rules(tcp("discriminat:tls:", port=81)),
    "a client": replace(BASE, interfaces=(*BASE.interfaces, interface("10.0.1.13", "sg-1"))),
    "a client's groups": replace(BASE, interfaces=(interface("10.0.1.10", "sg-1"), *BASE.interfaces[1:])),
    "nobody": replace(BASE, interfaces=()),
    "nothing": Inventory((), ()),
}


@pytest.mark.parametrize("inventory", SAME.values(), ids=SAME.keys())
def test_digest_ignores_what_grants_nothing(inventory: Inventory) -> None:
    """The digest and the whole policy depend on content only, not on order, case or prose."""
    policy, base = compile_policy(inventory), compile_policy(BASE)

    assert base.digest == policy.digest
    assert (base.clients, base.rules, base.see_thru) == (policy.clients, policy.rules, policy.see_thru)
    assert diff_policy(base, policy) == ()


def test_digests_of_different_policies_differ() -> None:
    """No two different policies have the same digest, and each difference makes a change."""
    policies = [compile_policy(inventory) for inventory in (BASE, *DIFFERENT.values())]

    assert len({policy.digest for policy in policies}) == len(policies)
    assert all(diff_policy(policies[0], policy) for policy in policies[1:-2])
    assert all(len(policy.digest) == 64 for policy in policies)


def test_a_policy_travels_whole() -> None:
    """A pickled policy comes out equal to itself, and its clients still share what they shared."""
    policy = compile_policy(BASE)
    arrived = pickle.loads(pickle.dumps(policy))  # noqa: S301 (our own octets)

    assert policy == arrived
    assert list(policy.clients) == list(arrived.clients)
    assert len({id(client) for client in arrived.clients.values()}) == 3


def test_an_empty_policy_is_not_a_loaded_one() -> None:
    """A VPC without anything has a policy with a digest; only the policy before the first has none."""
    assert EMPTY_POLICY.digest == ""
    assert compile_policy(Inventory((), ())).digest != ""
    assert pickle.loads(pickle.dumps(EMPTY_POLICY)) == EMPTY_POLICY  # noqa: S301 (our own octets)


# ---- changes ----


def test_the_first_policy_is_all_new() -> None:
    """Everything of the first policy is accepted, faults are rejected, in a fixed order."""
    changes = diff_policy(EMPTY_POLICY, compile_policy(BASE))

    assert [(change.cat, change.outcome) for change in changes] == [
        *[("client", "accepted")] * 19,
        *[("fqdn", "accepted")] * 5,
        ("see-thru", "accepted"),
        ("error", "rejected"),
    ]
    assert changes[0] == Change("client", "accepted", client=HOST, gid="sg-1,sg-2")
    assert changes[19:] == (
        Change("fqdn", "accepted", gid="sg-1", rule="tcp/22 203.0.113.0/24", fqdn="c.com", proto="ssh"),
        Change("fqdn", "accepted", gid="sg-1", rule="tcp/443 0.0.0.0/0", fqdn="a.com", proto="tls"),
        Change("fqdn", "accepted", gid="sg-1", rule="tcp/443 0.0.0.0/0", fqdn="b.com", proto="tls"),
        Change("fqdn", "accepted", gid="sg-2", rule="tcp/443 0.0.0.0/0", fqdn="b.com", proto="tls"),
        Change("fqdn", "accepted", gid="sg-2", rule="tcp/443 0.0.0.0/0", fqdn="c.com", proto="tls"),
        Change("see-thru", "accepted", gid="sg-1", rule="tcp/80 0.0.0.0/0", reason="until 2027-01-05"),
        Change(
            "error",
            "rejected",
            gid="sg-1",
            rule="tcp/8443 0.0.0.0/0",
            reason="'localhost' is a single label; write the full name, such as localhost.example.com",
        ),
    )


def edited(description: str) -> Inventory:
    return Inventory((group("sg-1", tcp(description)),), (interface("10.0.1.10", "sg-1"),))


def change(cat: str, outcome: str, fqdn: str = "", proto: str = "", reason: str = "") -> Change:
    return Change(cat, outcome, gid="sg-1", rule="tcp/443 0.0.0.0/0", fqdn=fqdn, proto=proto, reason=reason)


EDITS = [
    (
        "discriminat:tls:a.com,b.com",
        "discriminat:tls:b.com,c.com",
        [
            change("fqdn", "removed", "a.com", "tls"),
            change("fqdn", "accepted", "c.com", "tls"),
        ],
    ),
    (
        "discriminat:tls:a.com",
        "discriminat:ssh:a.com",
        [
            change("fqdn", "removed", "a.com", "tls"),
            change("fqdn", "accepted", "a.com", "ssh"),
        ],
    ),
    (
        "discriminat:see-thru:2027-01-05",
        "discriminat:see-thru:2027-02-05",
        [
            change("see-thru", "removed", reason="until 2027-01-05"),
            change("see-thru", "accepted", reason="until 2027-02-05"),
        ],
    ),
    (
        "discriminat:tls:a.com",
        "discriminat:tls:",
        [
            change("fqdn", "removed", "a.com", "tls"),
            change(
                "error",
                "rejected",
                reason="the list is empty; write at least one name: discriminat:tls:api.example.com",
            ),
        ],
    ),
    ("discriminat:tls:a.com,b", "discriminat:tls:a.com", []),  # a fault that was mended
]


@pytest.mark.parametrize(("before", "after", "changes"), EDITS)
def test_an_edit_is_told(before: str, after: str, changes: list[Change]) -> None:
    """A changed description becomes what it took away and what it brought."""
    assert tuple(changes) == diff_policy(compile_policy(edited(before)), compile_policy(edited(after)))


def test_clients_come_go_and_change_their_groups() -> None:
    """A client that changes its groups leaves with the old ones and returns with the new."""
    old = Inventory((), (interface("10.0.1.1", "sg-1"), interface("10.0.1.2", "sg-1"), interface("10.0.1.3", "sg-1")))
    new = Inventory((), (interface("10.0.1.4", "sg-1"), interface("10.0.1.2", "sg-2"), interface("10.0.1.3", "sg-1")))

    assert diff_policy(compile_policy(old), compile_policy(new)) == (
        Change("client", "removed", client=parse_ipv4("10.0.1.1"), gid="sg-1"),
        Change("client", "removed", client=parse_ipv4("10.0.1.2"), gid="sg-1"),
        Change("client", "accepted", client=parse_ipv4("10.0.1.2"), gid="sg-2"),
        Change("client", "accepted", client=parse_ipv4("10.0.1.4"), gid="sg-1"),
    )
