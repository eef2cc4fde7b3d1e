"""The policy: an immutable snapshot of who may reach which names on which ports, and why.

`compile_policy` makes it from what AWS says; `diff_policy` tells what changed between two of them.

- A client is an address. Its rights are the union of those of its Security Groups.
- A rule that cannot be enforced as it is written grants nothing and is a rejection; its neighbours still work.
- A CIDR whose network address is 0.0.0.0 means anywhere, whatever its mask: AWS refuses two rules of one group
  with the same protocol, port and CIDR, and varying the mask is how one repeats a port.
- The order of AWS's answers changes nothing: the same facts make the same policy, with the same digest.

Everything here is pure. A policy travels to the workers as its facts, in plain tuples, and is assembled there
again: that is several times quicker than pickling its indexes.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from appliance.address import Ipv4
from appliance.policy.annotation import Fault, Protocol, SeeThru, Span, parse_description
from appliance.policy.destination import Destination, PrefixLists, destination_of
from appliance.policy.excess import take_out_excess
from appliance.policy.exposure import Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Groups, Inventory, groups_by_address
from appliance.policy.name_list import Judge
from appliance.policy.pattern import Entry, Pattern, in_order, is_pattern
from appliance.policy.pattern_index import PatternIndex, index_groups
from appliance.policy.reference import Reference
from appliance.policy.shape import object_to
from appliance.policy.table import merge

Entries = tuple[Entry, ...]  # names, then patterns, each sorted
Table = Mapping[Fqdn, tuple["Rule", ...]]
Patterns = PatternIndex[tuple["Rule", ...]]
Listing = tuple["Rule", Table]


@dataclass(frozen=True, slots=True)
class Rule:
    """One annotated egress rule. `destination`: None for anywhere; a prefix list may change under the same rule."""

    gid: str
    reference: str
    protocol: Protocol
    port: int
    destination: Destination | None = field(compare=False)  # the reference names it, and hashes quicker


@dataclass(frozen=True, slots=True)
class PortRules:
    """The names that a client may reach on one port, by protocol, each with the rules that list it.

    `patterns`: for TLS, an index for each of the client's groups that lists some.
    """

    tls: Table
    ssh: Table
    patterns: tuple[Patterns, ...] = ()

    @property
    def has_tls(self) -> bool:
        """Tell whether anything is listed for TLS."""
        return bool(self.tls or self.patterns)


@dataclass(frozen=True, slots=True)
class SeeThruGrant:
    """See-thru through the whole of the day `until` (UTC), given by a rule of Security Group `gid`."""

    until: date
    gid: str
    rule: str = ""

    def days_remaining(self, today: date) -> int:
        """Return the days left after today: 0 on the last day, negative once it is over."""
        return (self.until - today).days

    def active(self, today: date) -> bool:
        """Tell whether the grant still holds."""
        return today <= self.until


def later(own: SeeThruGrant | None, everybodys: SeeThruGrant | None) -> SeeThruGrant | None:
    """Return which of two grants to one client holds for longer; its own if both end on the same day."""
    if own is None or everybodys is None:
        return own or everybodys
    return everybodys if everybodys.until > own.until else own


@dataclass(frozen=True, slots=True)
class Client:
    """What the interfaces with one set of groups may do. `ports` is empty when no rule is annotated."""

    groups: Groups
    ports: Mapping[int, PortRules]
    see_thru: SeeThruGrant | None


@dataclass(frozen=True, slots=True)
class Rejection:
    """An annotation, or a part of one, that grants nothing; `reference` tells the rule it stands in.

    `pattern`: the one that the preference `wildcard_exposure` refuses, if that is why.
    """

    gid: str
    reference: str
    fault: Fault
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """A snapshot.

    `digest`: SHA-256 of the canonical form, in hex; empty for a policy that was never loaded.
    `clients`: by address; every address of a delegated prefix is a key. Clients with the same groups are one object.
    `rules`: every rule with the names and patterns it lists, whether or not a client wears its group.
    `see_thru`: the grant of each group that gives one.
    `names`: every name that is listed anywhere. `patterns`: likewise.
    """

    digest: str
    clients: Mapping[Ipv4, Client]
    rules: Mapping[Rule, Entries]
    see_thru: Mapping[str, SeeThruGrant]
    names: frozenset[Fqdn]
    rejections: tuple[Rejection, ...]
    patterns: frozenset[Pattern] = frozenset()

    def __reduce__(self) -> "tuple[Callable[[str, _Facts], Policy], tuple[str, _Facts]]":
        groups = {address: client.groups for address, client in self.clients.items()}
        return _restore, (self.digest, _state_facts(self.rules, self.see_thru, groups, self.rejections))


EMPTY_POLICY = Policy("", {}, {}, {}, frozenset(), ())


def compile_policy(inventory: Inventory, guard: Guard = Guard()) -> Policy:  # noqa: B008 -- it is immutable
    """Return the policy that the annotations of an inventory express. `guard`: judges their patterns."""
    listed: dict[Rule, tuple[set[Fqdn], set[Pattern]]] = {}
    written: dict[Rule, tuple[str, Span]] = {}
    see_thru: dict[str, SeeThruGrant] = {}
    rejections: set[Rejection] = set()
    lists, judge = inventory.lists, Judge(inventory.names_elsewhere, guard)
    for group in inventory.groups:
        for egress in group.rules:
            description, counted = parse_description(egress.description), set[tuple[Protocol, Reference]]()
            faults = list(description.faults)
            for annotation in description.annotations:
                if isinstance(annotation, SeeThru):
                    grant = SeeThruGrant(annotation.until, group.id, egress.reference)
                    see_thru[group.id] = _latest([grant, see_thru.get(group.id, grant)])
                elif objections := list(object_to(egress, annotation, lists)):
                    faults += objections
                else:
                    found = judge.gain(annotation, egress.description, counted)
                    rejections.update(Rejection(group.id, egress.reference, *refusal) for refusal in found.refused)
                    if found.names or found.patterns:
                        rule = _rule(group.id, egress, annotation.protocol, lists)
                        names, patterns = listed.setdefault(rule, (set(), set()))
                        names.update(found.names)
                        patterns.update(found.patterns)
                        place = egress.description, annotation.span
                        written[rule] = max(place, written.get(rule, place))
            rejections.update(Rejection(group.id, egress.reference, fault) for fault in faults)
    patterned = ((rule.gid, rule.port, rule, patterns) for rule, (_, patterns) in listed.items() if patterns)
    for rule, fault in take_out_excess(patterned, written):
        rejections.add(Rejection(rule.gid, rule.reference, fault))
    content = (
        {rule: in_order(*listed[rule]) for rule in sorted(listed, key=_rule_order) if any(listed[rule])},
        dict(sorted(see_thru.items())),
        groups_by_address(inventory.interfaces),
        tuple(sorted(rejections, key=_rejection_order)),
    )
    canonical = json.dumps(_state_facts(*content), separators=(",", ":"))
    return _assemble(hashlib.sha256(canonical.encode()).hexdigest(), *content)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two policies, as the config log tells it. Fields that do not apply are empty.

    `cat`: `client` (an address came, went, or changed its groups: then it goes and comes), `fqdn` (a rule lists a
    name, or no longer does), `wildcard` (the same of a pattern, which may also be refused), `see-thru`, `prefix-list`
    (a rule's has other networks), or `error` (any other new rejection).
    `outcome`: `accepted`, `removed` or `rejected`.
    `gid`: one Security Group, or all of a client's, joined with commas.
    """

    cat: str
    outcome: str
    client: Ipv4 | None = None
    gid: str = ""
    rule: str = ""
    fqdn: str = ""
    proto: str = ""
    reason: str = ""


def diff_policy(old: Policy, new: Policy) -> tuple[Change, ...]:
    """Return what changed, in a stable order: clients, names, see-thru, lists, errors; what went before what came."""
    return tuple(changes_between(old, new))


def changes_between(old: Policy, new: Policy) -> Iterator[Change]:
    """Yield the same, one at a time: there may be a million."""
    if old.digest == new.digest:
        return
    for tell in (_client_changes, _name_changes, _see_thru_changes):
        yield from tell("removed", old, new)
        yield from tell("accepted", new, old)
    yield from _list_changes(old, new)
    yield from _new_errors(old, new)


def _client_changes(outcome: str, these: Policy, others: Policy) -> Iterator[Change]:
    for address, client in these.clients.items():
        other = others.clients.get(address)
        if other is None or other.groups != client.groups:
            yield Change("client", outcome, client=address, gid=",".join(client.groups))


def _name_changes(outcome: str, these: Policy, others: Policy) -> Iterator[Change]:
    for rule, names in these.rules.items():
        others_names = others.rules.get(rule, ())
        if names != others_names:
            others_set = set(others_names)
            for name in names:
                if name not in others_set:
                    cat, proto = "wildcard" if isinstance(name, Pattern) else "fqdn", rule.protocol.value
                    yield Change(cat, outcome, gid=rule.gid, rule=rule.reference, fqdn=str(name), proto=proto)


def _see_thru_changes(outcome: str, these: Policy, others: Policy) -> Iterator[Change]:
    for gid, grant in these.see_thru.items():
        if others.see_thru.get(gid) != grant:
            yield Change("see-thru", outcome, gid=gid, rule=grant.rule, reason=f"until {grant.until.isoformat()}")


def _list_changes(old: Policy, new: Policy) -> Iterator[Change]:
    """Yield the rules whose prefix list has other networks than before."""
    before = {rule: rule for rule in old.rules if " pl-" in rule.reference}
    for rule in new.rules:
        was = before.get(rule)
        if was is not None and was.destination != rule.destination:
            reason = f"{rule.destination or 'anywhere'}, was {was.destination or 'anywhere'}"
            yield Change(
                "prefix-list", "accepted", gid=rule.gid, rule=rule.reference, proto=rule.protocol.value, reason=reason
            )


def _new_errors(old: Policy, new: Policy) -> Iterator[Change]:
    known = set(old.rejections)
    for rejection in new.rejections:
        if rejection not in known:
            fault, pattern = rejection.fault, rejection.pattern
            reason = f"{fault.message}; {fault.hint}" if fault.hint else fault.message
            cat, proto = ("wildcard", Protocol.TLS.value) if pattern else ("error", "")
            gid, rule = rejection.gid, rejection.reference
            yield Change(cat, "rejected", gid=gid, rule=rule, fqdn=pattern, proto=proto, reason=reason)


# From EC2's shapes to rules


def _rule(gid: str, egress: EgressRule, protocol: Protocol, lists: PrefixLists) -> Rule:
    destination = destination_of(egress.destination, lists)
    return Rule(gid, egress.reference, protocol, egress.from_port or 0, destination)


def _latest(grants: Iterable[SeeThruGrant]) -> SeeThruGrant:
    """Return the grant with the latest day; of several, the one of the smallest group id."""
    return min(grants, key=lambda grant: (-grant.until.toordinal(), grant.gid, grant.rule))


def _rule_order(rule: Rule) -> tuple[str, int, str, str]:
    return rule.gid, rule.port, rule.protocol, rule.reference


def _rejection_order(rejection: Rejection) -> tuple[str, str, str, tuple[int, int], str]:
    fault = rejection.fault
    return rejection.gid, rejection.reference, fault.text, fault.span, fault.message


# The indexes that decisions are made with


def _assemble(
    digest: str,
    rules: dict[Rule, Entries],
    see_thru: dict[str, SeeThruGrant],
    clients: dict[Ipv4, Groups],
    rejections: tuple[Rejection, ...],
) -> Policy:
    """Return the policy with its clients' indexes, one for each set of groups that somebody wears."""
    listings: dict[str, list[Listing]] = {}
    every: set[Fqdn] = set()
    for rule, entries in rules.items():
        table: Table = dict.fromkeys([each for each in entries if isinstance(each, Fqdn)], (rule,))
        listings.setdefault(rule.gid, []).append((rule, table))
        every.update(table)
    indexes, patterns = index_groups((rule.gid, rule.port, rule, entries) for rule, entries in rules.items())
    ports: dict[Groups, Mapping[int, PortRules]] = {}
    shared: dict[Groups, Client] = {}
    for groups in clients.values():
        if groups not in shared:
            annotated = tuple(gid for gid in groups if gid in listings)
            if annotated not in ports:
                of_groups = [indexes[gid] for gid in annotated if gid in indexes]
                ports[annotated] = _index((listing for gid in annotated for listing in listings[gid]), of_groups)
            grants = [see_thru[gid] for gid in groups if gid in see_thru]
            shared[groups] = Client(groups, ports[annotated], _latest(grants) if grants else None)
    indexed = {address: shared[groups] for address, groups in clients.items()}
    return Policy(digest, indexed, rules, see_thru, frozenset(every), rejections, patterns)


def _index(listings: Iterable[Listing], patterns: Sequence[Mapping[int, Patterns]]) -> dict[int, PortRules]:
    tables: dict[int, dict[Protocol, list[Table]]] = {}
    for rule, table in listings:
        tables.setdefault(rule.port, {Protocol.TLS: [], Protocol.SSH: []})[rule.protocol].append(table)
    return {
        port: PortRules(
            merge(of[Protocol.TLS]), merge(of[Protocol.SSH]), tuple(each[port] for each in patterns if port in each)
        )
        for port, of in tables.items()
    }


# The canonical form


class _Facts(NamedTuple):
    """All that a policy is made of, in text and numbers, sorted: the digest's input, and what travels."""

    rules: tuple[tuple[str, str, str, int, str, str], ...]  # group, reference, protocol, port, destination, names
    see_thru: tuple[tuple[str, str, str], ...]  # group, date, reference
    clients: tuple[tuple[Ipv4, Groups], ...]
    rejections: tuple[tuple[str, str, str, str, str, str, int, int], ...]  # group, reference, pattern, fault


def _state_facts(
    rules: Mapping[Rule, Entries],
    see_thru: Mapping[str, SeeThruGrant],
    clients: Mapping[Ipv4, Groups],
    rejections: Iterable[Rejection],
) -> _Facts:
    return _Facts(
        tuple(
            (
                rule.gid,
                rule.reference,
                rule.protocol.value,
                rule.port,
                rule.destination.spelled if rule.destination else "",
                ",".join([".".join(name.labels) for name in names]),
            )
            for rule, names in rules.items()
        ),
        tuple((gid, grant.until.isoformat(), grant.rule) for gid, grant in see_thru.items()),
        tuple(clients.items()),
        tuple((gone.gid, gone.reference, gone.pattern, *_fault_facts(gone.fault)) for gone in rejections),
    )


def _fault_facts(fault: Fault) -> tuple[str, str, str, int, int]:
    return fault.message, fault.hint, fault.text, *fault.span


def _restore(digest: str, facts: _Facts) -> Policy:
    """Return the policy that stated these facts; they are trusted."""
    names: dict[str, Entry] = {}
    rules: dict[Rule, Entries] = {}
    for gid, reference, protocol, port, destination, listed in facts.rules:
        networks = Destination.parse(destination) if destination else None
        texts = listed.split(",")
        for text in texts:
            if text not in names:
                labels = tuple(text.split("."))
                names[text] = Pattern(labels) if is_pattern(text) else Fqdn(labels)
        rules[Rule(gid, reference, Protocol(protocol), port, networks)] = tuple([names[text] for text in texts])
    return _assemble(
        digest,
        rules,
        {gid: SeeThruGrant(date.fromisoformat(until), gid, rule) for gid, until, rule in facts.see_thru},
        dict(facts.clients),
        tuple(
            Rejection(gid, reference, Fault(message, hint, text, (start, end)), pattern)
            for gid, reference, pattern, message, hint, text, start, end in facts.rejections
        ),
    )
