"""Decisions: each refusal in its turn, and what is allowed after all of them."""

import pickle

import pytest

from appliance.address import Ipv4, Network, format_ipv4, parse_ipv4
from appliance.policy.addresses import AddressBook, Answer
from appliance.policy.decision import DETAIL_MAX, Decision, decide_name, decide_port, decide_ssh, may_reach
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import EMPTY_POLICY, Policy, PortRules, compile_policy
from appliance.reason import Reason

TCP, UDP = 6, 17
NOW = 1000.0

ANNOTATED, IDLE, SEEING, STRANGER = (parse_ipv4(f"10.0.1.{last}") for last in (10, 11, 12, 13))
SERVER, TWIN, ELSEWHERE = (parse_ipv4(text) for text in ("203.0.113.10", "203.0.113.11", "198.51.100.9"))
NARROW = parse_ipv4("192.0.2.7")  # where only a rule for 192.0.2.0/24 reaches


def tcp(description: str, port: int = 443, destination: str = "0.0.0.0/0") -> EgressRule:
    return EgressRule("tcp", port, port, destination, description)


def interface(address: Ipv4, *gids: str) -> NetworkInterface:
    return NetworkInterface(f"eni-{address}", gids, (address,), ())


def make_policy() -> Policy:
    return compile_policy(
        Inventory(
            (
                SecurityGroup(
                    "sg-1",
                    "workload",
                    (
                        tcp(
                            "discriminat:tls:api.example.com,dark.example.com,inner.example.com "
                            "discriminat:ssh:git.example.com"
                        ),
                        tcp("discriminat:tls:narrow.example.com", destination="192.0.2.0/24"),
                        tcp("discriminat:ssh:git.example.com,narrow.example.com", port=22, destination="192.0.2.0/24"),
                        tcp("discriminat:tls:example.com", port=8443),
                    ),
                ),
                SecurityGroup("sg-2", "idle", (tcp("to the Internet"),)),
                SecurityGroup("sg-3", "see-thru", (tcp("discriminat:see-thru:2027-01-05"),)),
            ),
            (interface(ANNOTATED, "sg-1"), interface(IDLE, "sg-2"), interface(SEEING, "sg-2", "sg-3")),
        )
    )


POLICY = make_policy()


@pytest.fixture
def book() -> AddressBook:
    """A book in which every kind of answer was received."""
    book = AddressBook()
    for name, address in [
        ("api.example.com", SERVER),
        ("api.example.com", TWIN),
        ("example.com", SERVER),
        ("narrow.example.com", NARROW),
        ("narrow.example.com", SERVER),
        ("git.example.com", TWIN),
        ("elsewhere.example.com", ELSEWHERE),
        ("inner.example.com", parse_ipv4("10.9.9.9")),
    ]:
        book.learn(Answer(Fqdn.parse(name), (address,), 60.0), NOW)
    return book


def port_rules(port: int = 443) -> PortRules:
    rules = decide_port(POLICY, ANNOTATED, TCP, port, SERVER)
    assert isinstance(rules, PortRules)
    return rules


# ---- before anything is read ----

PORT_REFUSALS = [
    # client, protocol, port, destination, reason, detail
    (STRANGER, TCP, 443, SERVER, Reason.CLIENT_UNKNOWN, "10.0.1.13 is none of the 3 known addresses"),
    (IDLE, TCP, 443, SERVER, Reason.CLIENT_NOT_ANNOTATED, "groups: sg-2"),
    (SEEING, TCP, 443, SERVER, Reason.CLIENT_NOT_ANNOTATED, "groups: sg-2, sg-3"),  # as without see-thru
    (ANNOTATED, UDP, 443, SERVER, Reason.QUIC, ""),
    (ANNOTATED, UDP, 53, SERVER, Reason.PROTOCOL_NOT_SUPPORTED, "UDP"),
    (ANNOTATED, 1, 0, SERVER, Reason.PROTOCOL_NOT_SUPPORTED, "ICMP"),
    (ANNOTATED, 47, 0, SERVER, Reason.PROTOCOL_NOT_SUPPORTED, "IP protocol 47"),
    (ANNOTATED, TCP, 80, SERVER, Reason.PORT_NOT_LISTED, "listed ports: 22, 443, 8443; groups: sg-1"),
    (ANNOTATED, TCP, 443, parse_ipv4("10.0.1.11"), Reason.DESTINATION_PRIVATE, "10.0.1.11"),
    (ANNOTATED, TCP, 443, parse_ipv4("169.254.169.254"), Reason.DESTINATION_PRIVATE, "169.254.169.254"),
    (ANNOTATED, TCP, 443, parse_ipv4("172.31.0.1"), Reason.DESTINATION_PRIVATE, "172.31.0.1"),
    (ANNOTATED, TCP, 443, parse_ipv4("224.0.0.1"), Reason.DESTINATION_PRIVATE, "224.0.0.1"),
    # the first refusal in order is the one that is told
    (STRANGER, UDP, 443, parse_ipv4("127.0.0.1"), Reason.DESTINATION_PRIVATE, "127.0.0.1"),
    (STRANGER, UDP, 443, SERVER, Reason.CLIENT_UNKNOWN, "10.0.1.13 is none of the 3 known addresses"),
    (IDLE, UDP, 443, SERVER, Reason.CLIENT_NOT_ANNOTATED, "groups: sg-2"),
]


@pytest.mark.parametrize(("client", "protocol", "port", "destination", "reason", "detail"), PORT_REFUSALS)
def test_a_flow_is_refused_before_it_is_read(
    *, client: Ipv4, protocol: int, port: int, destination: Ipv4, reason: Reason, detail: str
) -> None:
    """Client, protocol, port and kind of destination are judged in a fixed order."""
    decision = decide_port(POLICY, client, protocol, port, destination)

    assert Decision(allow=False, reason=reason, detail=detail) == decision


@pytest.mark.parametrize("address", ["172.15.255.255", "172.32.0.0", "100.128.0.0", "192.0.1.0", "198.20.0.0"])
def test_neighbours_of_private_networks_are_public(address: str) -> None:
    """The quick test by first octet refuses no more than the exact one."""
    assert isinstance(decide_port(POLICY, ANNOTATED, TCP, 443, parse_ipv4(address)), PortRules)


def test_nothing_is_allowed_before_a_policy_is_loaded() -> None:
    """Without a policy every flow is refused for that reason, also after a trip to another process."""
    for policy in (EMPTY_POLICY, pickle.loads(pickle.dumps(EMPTY_POLICY))):  # noqa: S301 (our own octets)
        decision = decide_port(policy, ANNOTATED, TCP, 443, SERVER)
        assert Decision(allow=False, reason=Reason.POLICY_NOT_LOADED) == decision


# ---- by name ----

WIDE, WIDE_SSH = "tcp/443 0.0.0.0/0", "tcp/22 192.0.2.0/24"
NAMED = [
    # name, destination, allowed, reason, rule, detail
    ("api.example.com", SERVER, True, Reason.NAME_LISTED, WIDE, ""),
    ("api.example.com", TWIN, True, Reason.NAME_LISTED, WIDE, ""),
    ("narrow.example.com", NARROW, True, Reason.NAME_LISTED, "tcp/443 192.0.2.0/24", ""),
    (
        "narrow.example.com",  # although it is an address of the name
        SERVER,
        False,
        Reason.DESTINATION_NOT_IN_RULE,
        "tcp/443 192.0.2.0/24",
        "203.0.113.10 is outside 192.0.2.0/24",
    ),
    (
        "api.example.com",
        ELSEWHERE,
        False,
        Reason.ADDRESS_MISMATCH,
        WIDE,
        "api.example.com is 203.0.113.10, 203.0.113.11 (2 known)",
    ),
    ("dark.example.com", SERVER, False, Reason.NAME_UNRESOLVED, WIDE, "last look-up: none yet"),
    ("inner.example.com", SERVER, False, Reason.ANSWER_PRIVATE, WIDE, ""),
    ("git.example.com", TWIN, False, Reason.NAME_NOT_LISTED, "", "it is listed for ssh on this port, not for tls"),
    (
        "v2.api.example.com",
        SERVER,
        False,
        Reason.NAME_NOT_LISTED,
        "",
        "api.example.com is listed, which covers no name below it",
    ),
    (
        "elsewhere.example.com",  # although the destination is its address
        ELSEWHERE,
        False,
        Reason.NAME_NOT_LISTED,
        "",
        "listed: api.example.com, dark.example.com, inner.example.com and 1 more",
    ),
    (
        "api.example.com.evil.test",
        SERVER,
        False,
        Reason.NAME_NOT_LISTED,
        "",
        "listed: api.example.com, dark.example.com, inner.example.com and 1 more",
    ),
    (
        "evilapi.example.com",
        SERVER,
        False,
        Reason.NAME_NOT_LISTED,
        "",
        "listed: api.example.com, dark.example.com, inner.example.com and 1 more",
    ),
]


@pytest.mark.parametrize(
    ("name", "destination", "allow", "reason", "rule", "detail"), NAMED, ids=[f"{row[0]}, {row[3]}" for row in NAMED]
)
def test_a_name_and_its_address_must_agree(
    *, book: AddressBook, name: str, destination: Ipv4, allow: bool, reason: Reason, rule: str, detail: str
) -> None:
    """A flow is allowed when its name is listed for this destination, and the destination is the name's."""
    decision = decide_name(port_rules(), Fqdn.parse(name), destination, book, NOW)

    hangs_on_entry = bool(rule) and reason is not Reason.DESTINATION_NOT_IN_RULE
    entry = name if hangs_on_entry else ""
    assert Decision(allow, reason, name, "sg-1" if rule else "", rule, detail, entry) == decision


def test_a_decision_follows_the_answers(book: AddressBook) -> None:
    """A fresh answer turns a mismatch into an allowed flow, and time turns it back."""
    name = Fqdn.parse("api.example.com")
    assert not decide_name(port_rules(), name, ELSEWHERE, book, NOW).allow

    book.learn(Answer(name, (ELSEWHERE,), 60.0), NOW)
    assert decide_name(port_rules(), name, ELSEWHERE, book, NOW).allow
    assert not decide_name(port_rules(), name, ELSEWHERE, book, NOW + 86400.0).allow


def test_the_last_failure_is_told(book: AddressBook) -> None:
    """A name that does not resolve is refused with what the resolver said last."""
    name = Fqdn.parse("dark.example.com")
    book.learn(Answer(name, (), 0.0, "nxdomain"), NOW)

    assert decide_name(port_rules(), name, SERVER, book, NOW).detail == "last look-up: nxdomain"


def test_any_covering_rule_will_do(book: AddressBook) -> None:
    """Of several rules that list a name, the first whose destination covers the flow is the one it is allowed by."""
    narrow, wide = (
        SecurityGroup("sg-1", "", (tcp("discriminat:tls:api.example.com", destination="192.0.2.0/24"),)),
        SecurityGroup("sg-2", "", (tcp("discriminat:tls:api.example.com", destination="203.0.113.0/24"),)),
    )
    policy = compile_policy(Inventory((narrow, wide), (interface(ANNOTATED, "sg-1", "sg-2"),)))
    rules = decide_port(policy, ANNOTATED, TCP, 443, SERVER)
    assert isinstance(rules, PortRules)
    name = Fqdn.parse("api.example.com")

    allowed = decide_name(rules, name, SERVER, book, NOW)
    assert allowed.allow
    assert allowed.gid == "sg-2"
    assert allowed.rule == "tcp/443 203.0.113.0/24"
    refused = decide_name(rules, name, ELSEWHERE, book, NOW)
    assert refused.reason is Reason.DESTINATION_NOT_IN_RULE
    assert refused.detail == "198.51.100.9 is outside 192.0.2.0/24, 203.0.113.0/24"


# ---- without a name ----

SSH = [
    # port, destination, allowed, reason, name, rule, detail
    (443, TWIN, True, Reason.ADDRESS_LISTED, "git.example.com", WIDE, ""),
    (443, SERVER, False, Reason.ADDRESS_MISMATCH, "", "", "203.0.113.10 is no address of git.example.com"),
    (22, NARROW, True, Reason.ADDRESS_LISTED, "narrow.example.com", WIDE_SSH, ""),
    (
        22,
        TWIN,
        False,
        Reason.DESTINATION_NOT_IN_RULE,
        "git.example.com",
        WIDE_SSH,
        "203.0.113.11 is outside 192.0.2.0/24",
    ),
    (
        22,
        ELSEWHERE,
        False,
        Reason.ADDRESS_MISMATCH,
        "",
        "",
        "198.51.100.9 is no address of git.example.com, narrow.example.com",
    ),
    (8443, SERVER, False, Reason.NAME_NOT_LISTED, "", "", "no name is listed for ssh on this port"),
]


@pytest.mark.parametrize(("port", "destination", "allow", "reason", "name", "rule", "detail"), SSH)
def test_ssh_is_decided_by_address(
    *, book: AddressBook, port: int, destination: Ipv4, allow: bool, reason: Reason, name: str, rule: str, detail: str
) -> None:
    """SSH has no name in it: the destination must be an address of one that is listed for it, within its rule."""
    decision = decide_ssh(port_rules(port), destination, book, NOW)

    entry = name if allow else ""
    assert Decision(allow, reason, name, "sg-1" if rule else "", rule, detail, entry) == decision


@pytest.mark.parametrize(
    ("addresses", "error", "reason"),
    [
        ([], "nxdomain", Reason.NAME_UNRESOLVED),
        (["10.0.0.1"], "", Reason.ANSWER_PRIVATE),
        (["203.0.113.77"], "", Reason.ADDRESS_MISMATCH),
    ],
)
def test_ssh_to_names_in_trouble_is_refused(addresses: list[str], error: str, reason: Reason) -> None:
    """An SSH flow whose names have no usable address is refused for that reason."""
    book = AddressBook()
    assert decide_ssh(port_rules(22), SERVER, book, NOW).reason is Reason.NAME_UNRESOLVED

    for name in port_rules(22).ssh:
        book.learn(Answer(name, tuple(map(parse_ipv4, addresses)), 60.0, error), NOW)

    assert decide_ssh(port_rules(22), SERVER, book, NOW).reason is reason


@pytest.mark.parametrize(
    ("port", "destination", "reachable"),
    [
        (443, SERVER, True),
        (443, TWIN, True),
        (443, NARROW, True),
        (443, ELSEWHERE, False),  # an address of a name that is listed nowhere
        (22, NARROW, True),
        (22, TWIN, False),  # outside the rule's destination
        (8443, SERVER, True),
        (8443, TWIN, False),
    ],
)
def test_an_address_may_be_reached_if_some_name_has_it(
    book: AddressBook, port: int, destination: Ipv4, reachable: bool
) -> None:
    """A destination is reachable when any name of the port has it, by either protocol, within its rule."""
    assert reachable is may_reach(port_rules(port), destination, book, NOW)
    assert not may_reach(port_rules(port), destination, book, NOW + 86400.0)


def test_a_shared_address_is_reached_from_either_side() -> None:
    """The answer is the same whether the list or the address has more names."""
    names = [Fqdn.parse(f"n{number}.example.com") for number in range(50)]
    book = AddressBook()
    for name in names:
        book.learn(Answer(name, (SERVER,), 60.0), NOW)
    (rule,) = {rules[0] for rules in port_rules(8443).tls.values()}

    assert may_reach(PortRules({names[7]: (rule,)}, {}), SERVER, book, NOW)
    assert may_reach(PortRules(dict.fromkeys(names * 2, (rule,)), {}), SERVER, book, NOW)
    assert not may_reach(PortRules({Fqdn.parse("other.example.com"): (rule,)}, {}), SERVER, book, NOW)


# ---- details ----


def test_details_are_bounded() -> None:
    """No name, group or number of addresses makes a detail longer than its limit."""
    long = ".".join(["x" * 60] * 4)
    names = [f"{number}.{long}" for number in range(10)]
    groups = tuple(
        SecurityGroup(f"sg-{number:017}", "", (tcp(f"discriminat:tls:{name} discriminat:ssh:{name}"),))
        for number, name in enumerate(names)
    )
    policy = compile_policy(Inventory(groups, (interface(ANNOTATED, *(group.id for group in groups)),)))
    rules = decide_port(policy, ANNOTATED, TCP, 443, SERVER)
    assert isinstance(rules, PortRules)
    book = AddressBook()
    name = Fqdn.parse(names[0])
    book.learn(Answer(name, tuple(Ipv4(ELSEWHERE + number) for number in range(100)), 60.0), NOW)

    mismatch = decide_name(rules, name, SERVER, book, NOW)
    assert mismatch.detail.endswith(" is 198.51.100.9, 198.51.100.10, 198.51.100.11, ... (100 known)")
    refusals = [
        mismatch,
        decide_port(policy, ANNOTATED, TCP, 80, SERVER),
        decide_name(rules, Fqdn.parse(f"a.{names[0]}"), SERVER, book, NOW),
        decide_name(rules, Fqdn.parse("other.example.com"), SERVER, book, NOW),
        decide_ssh(rules, SERVER, book, NOW),
    ]
    for decision in refusals:
        assert isinstance(decision, Decision)
        assert not decision.allow
        assert 0 < len(decision.detail) <= DETAIL_MAX


def test_network_of_a_rule_is_shown_as_written() -> None:
    """A refusal for the rule's destination shows the CIDR block, not our numbers."""
    decision = decide_name(port_rules(), Fqdn.parse("narrow.example.com"), SERVER, AddressBook(), NOW)

    assert str(Network.parse("192.0.2.0/24")) in decision.detail
    assert format_ipv4(SERVER) in decision.detail
