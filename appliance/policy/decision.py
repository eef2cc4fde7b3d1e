"""Decisions: may this client reach that address, on this port, under that name?

Each function is a straight list of refusals, cheapest first; what passes all of them is allowed, and nothing else
is. Everything here is pure, and on the path of every flow. `detail` is for the person who reads the log at night:
it says what was compared with what, in DETAIL_MAX characters at most.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from appliance.address import PRIVATE_NETWORKS, Ipv4, Network, format_ipv4, is_closed
from appliance.policy.addresses import AddressBook
from appliance.policy.fqdn import Fqdn
from appliance.policy.pattern import Pattern
from appliance.policy.policy import Policy, PortRules, Rule, Table
from appliance.reason import Reason

DETAIL_MAX = 200  # characters
_SHOWN = 3  # names, groups or addresses listed in a detail; the others are counted
_NAME_SHOWN = 50  # characters

_LEARNT_LOOKED_AT = 64  # names of one address that are compared with patterns, at most
_LEARNT_COMPARED = 512  # labels of patterns that these names are compared with, in all

_ICMP, _TCP, _UDP = 1, 6, 17  # IANA protocol numbers
_PROTOCOL_NAMES = {_ICMP: "ICMP", _TCP: "TCP", _UDP: "UDP"}
_QUIC_PORT = 443

# Where a destination can be private at all: most need this one look-up only.
_PRIVATE_OCTETS = frozenset(
    octet
    for network in PRIVATE_NETWORKS
    for octet in range(network.address >> 24, (network.address + network.size - 1 >> 24) + 1)
)


class Decision(NamedTuple):
    """What policy says, and why. `gid` and `rule`: the Security Group and the rule that it hangs on, if any.

    `entry`: what that rule lists, the name itself or a pattern; empty if it hangs on none.
    A tuple, because two are made for every flow.
    """

    allow: bool
    reason: Reason
    name: str = ""
    gid: str = ""
    rule: str = ""
    detail: str = ""
    entry: str = ""


def decide_port(
    policy: Policy,
    client_address: Ipv4,
    protocol: int,
    port: int,
    destination: Ipv4,
    *,
    opened: tuple[Network, ...] = (),
) -> PortRules | Decision:
    """Return the rules that cover a flow's port, or the refusal of the flow before anything of it is read.

    `protocol`: IANA number. `port`: of the destination, 0 where the protocol has none.
    `opened`: private networks that rules may reach.
    """
    if not policy.digest:
        return _deny(Reason.POLICY_NOT_LOADED)
    if destination >> 24 in _PRIVATE_OCTETS and is_closed(destination, opened):
        return _deny(Reason.DESTINATION_PRIVATE, format_ipv4(destination))
    client = policy.clients.get(client_address)
    if client is None:
        count = len(policy.clients)
        return _deny(Reason.CLIENT_UNKNOWN, f"{format_ipv4(client_address)} is none of the {count} known addresses")
    if not client.ports:
        return _deny(Reason.CLIENT_NOT_ANNOTATED, f"groups: {_some(client.groups)}")
    if protocol != _TCP:
        if protocol == _UDP and port == _QUIC_PORT:
            return _deny(Reason.QUIC)
        return _deny(Reason.PROTOCOL_NOT_SUPPORTED, _PROTOCOL_NAMES.get(protocol, f"IP protocol {protocol}"))
    rules = client.ports.get(port)
    if rules is None:
        return _deny(Reason.PORT_NOT_LISTED, f"listed ports: {_some(client.ports)}; groups: {_some(client.groups)}")
    return rules


def decide_name(rules: PortRules, name: Fqdn, destination: Ipv4, book: AddressBook, now: float) -> Decision:
    """Decide on a TLS flow by its server_name.

    After NAME_UNRESOLVED, ANSWER_PRIVATE and ADDRESS_MISMATCH a fresh look-up of the name may bring another decision.
    """
    listing = rules.tls.get(name)
    if listing is not None:
        covering = _covering(listing, destination)
        if covering is not None:
            return _decide_address(name, covering, destination, book, now, "")
    # What lists the name itself wins; patterns are for what that leaves.
    for pattern, others in matching(rules, name) if rules.patterns else ():
        other = _covering(others, destination)
        if other is not None:
            return _decide_address(name, other, destination, book, now, str(pattern))
        if listing is None:
            listing = others
    if listing is None:
        return _deny(Reason.NAME_NOT_LISTED, _nearest(rules, name), name=str(name))
    return _deny_outside(name, listing, destination)


def _decide_address(  # noqa: PLR0917 -- on the path of every flow
    name: Fqdn, rule: Rule, destination: Ipv4, book: AddressBook, now: float, pattern: str
) -> Decision:
    """Decide by the addresses of a name that a rule lists, itself or by a pattern."""
    text = str(name)
    if not book.holds(name, destination, now):
        return _deny_address(name, rule, book, now, pattern or text)
    if not pattern:
        return Decision(allow=True, reason=Reason.NAME_LISTED, name=text, gid=rule.gid, rule=rule.reference, entry=text)
    return Decision(
        allow=True,
        reason=Reason.PATTERN_LISTED,
        name=text,
        gid=rule.gid,
        rule=rule.reference,
        detail=f"by {_short(pattern)}",
        entry=pattern,
    )


def matching(rules: PortRules, name: Fqdn) -> Iterator[tuple[Pattern, tuple[Rule, ...]]]:
    """Yield the patterns that match a name, each with the rules of one group that list it."""
    for index in rules.patterns:
        yield from index.find(name)


def decide_ssh(rules: PortRules, destination: Ipv4, book: AddressBook, now: float) -> Decision:
    """Decide on an SSH flow, which carries no name: its destination must be an address of a listed one."""
    names = sorted(_held(rules.ssh, destination, book, now))
    for name in names:
        rule = _covering(rules.ssh[name], destination)
        if rule is not None:
            text = str(name)
            return Decision(
                allow=True, reason=Reason.ADDRESS_LISTED, name=text, gid=rule.gid, rule=rule.reference, entry=text
            )
    if names:
        return _deny_outside(names[0], rules.ssh[names[0]], destination)
    return _deny_ssh(rules.ssh, destination, book, now)


def may_reach(rules: PortRules, destination: Ipv4, book: AddressBook, now: float) -> bool:
    """Tell whether the destination is an address of any name listed here, whatever the protocol."""
    return any(
        _covering(table[name], destination) is not None
        for table in (rules.tls, rules.ssh)
        for name in _held(table, destination, book, now)
    ) or any(_covering(listing, destination) is not None for listing in _learnt(rules, destination, book, now))


def _learnt(rules: PortRules, destination: Ipv4, book: AddressBook, now: float) -> Iterator[tuple[Rule, ...]]:
    """Yield the rules whose patterns match a name that has this address; of many names, some are looked at."""
    if rules.patterns:
        of_one = sum(index.compared for index in rules.patterns)
        number = max(1, min(_LEARNT_LOOKED_AT, _LEARNT_COMPARED // of_one))
        for name in islice(book.names_at(destination), number):
            if book.holds(name, destination, now):
                yield from (listing for _, listing in matching(rules, name))


def deny_syn(rules: PortRules, destination: Ipv4) -> Decision:
    """Return the refusal of a SYN to a destination that `may_reach` denies."""
    listed = ", ".join(_some(table) for table in (rules.tls, rules.ssh) if table)
    return _deny(Reason.ADDRESS_NOT_LISTED, f"{format_ipv4(destination)} is no address of {listed}")


def _held(table: Table, destination: Ipv4, book: AddressBook, now: float) -> Iterator[Fqdn]:
    """Yield the listed names that have this address."""
    holders = book.names_at(destination)
    # The shorter side is walked: a list may have 100,000 names, and so may the address of a CDN.
    few, many = (table, holders) if len(table) < len(holders) else (holders, table)
    return (name for name in few if name in many and book.holds(name, destination, now))


def _covering(listing: Iterable[Rule], destination: Ipv4) -> Rule | None:
    for rule in listing:
        if rule.destination is None or destination in rule.destination:
            return rule
    return None


def _deny_address(name: Fqdn, rule: Rule, book: AddressBook, now: float, entry: str) -> Decision:
    known = book.known(name, now)
    if known:
        shown = ", ".join(map(format_ipv4, known[:_SHOWN])) + (", ..." if len(known) > _SHOWN else "")
        detail = f"{_short(name)} is {shown} ({len(known)} known)"
        return _deny(Reason.ADDRESS_MISMATCH, detail, str(name), rule, entry)
    trouble = book.trouble(name)
    if trouble == "private":
        return _deny(Reason.ANSWER_PRIVATE, "", str(name), rule, entry)
    return _deny(Reason.NAME_UNRESOLVED, f"last look-up: {trouble or 'none yet'}", str(name), rule, entry)


def _deny_outside(name: Fqdn, listing: Collection[Rule], destination: Ipv4) -> Decision:
    shown = f"{format_ipv4(destination)} is outside {_some([rule.destination for rule in listing])}"
    return _deny(Reason.DESTINATION_NOT_IN_RULE, shown, str(name), next(iter(listing)))


def _deny_ssh(table: Table, destination: Ipv4, book: AddressBook, now: float) -> Decision:
    if not table:
        return _deny(Reason.NAME_NOT_LISTED, "no name is listed for ssh on this port")
    listed = _some(table)
    if any(book.known(name, now) for name in table):
        return _deny(Reason.ADDRESS_MISMATCH, f"{format_ipv4(destination)} is no address of {listed}")
    if all(book.trouble(name) == "private" for name in table):
        return _deny(Reason.ANSWER_PRIVATE, listed)
    return _deny(Reason.NAME_UNRESOLVED, listed)


def _nearest(rules: PortRules, name: Fqdn) -> str:
    """Say what is listed that somebody may have taken for `name`."""
    if name in rules.ssh:
        return "it is listed for ssh on this port, not for tls"
    for start in range(1, len(name.labels) - 1):
        parent = Fqdn(name.labels[start:])
        if parent in rules.tls:
            return f"{_short(parent)} is listed, which covers no name below it"
    listed = [
        *islice(rules.tls, _SHOWN),
        *(each for index in rules.patterns for each in islice(index.patterns, _SHOWN)),
    ]
    number = len(rules.tls) + sum(map(len, rules.patterns))
    return f"listed: {_some(listed, number)}"


def _some(items: Collection[object], number: int = 0) -> str:
    """Return the first few items and how many more there are, of `number` or of all."""
    shown = ", ".join(_short(item) for item in islice(items, _SHOWN))
    others = (number or len(items)) - _SHOWN
    return f"{shown} and {others} more" if others > 0 else shown or "none"


def _short(item: object) -> str:
    """Return a name, cut at its front where it is too long for a detail: its end says more."""
    text = str(item)
    return text if len(text) <= _NAME_SHOWN else f"...{text[3 - _NAME_SHOWN :]}"


def _deny(reason: Reason, detail: str = "", name: str = "", rule: Rule | None = None, entry: str = "") -> Decision:
    gid, reference = (rule.gid, rule.reference) if rule else ("", "")
    detail = detail[:DETAIL_MAX]
    return Decision(allow=False, reason=reason, name=name, gid=gid, rule=reference, detail=detail, entry=entry)
