"""Explanations: which rule decides over a connection that a client might make, and why.

The connection is decided on by the functions the engine uses. What only a packet can tell is taken for granted: a
well-formed hello of a current version, or a flawless request for a revocation list, and a server that agrees. What DNS
alone can tell is taken for granted as well unless an answer is given. Everything here is pure; `today` is the date in
UTC.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from appliance.address import Ipv4, Network, format_ipv4, is_closed, is_private, parse_ipv4
from appliance.near_miss import near_misses
from appliance.policy.addresses import AddressBook, Answer
from appliance.policy.crls import BY_PORT, CRL_PORT, decide_host, endpoints_of
from appliance.policy.decision import Decision, decide_name, decide_port, decide_ssh, matching
from appliance.policy.exposure import Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import Inventory
from appliance.policy.policy import Client, Policy, PortRules, Rule, SeeThruGrant, compile_policy, later
from appliance.policy.preferences import Crls, Preferences
from appliance.policy.reach import Reach, reach_of
from appliance.policy.suffixes import NO_SUFFIXES, Suffixes
from appliance.preferred import Preferred
from appliance.provenance import notes_on_origin, notes_on_unread
from appliance.question import Asked, Question
from appliance.reason import NEVER_SEEN_THRU, Reason

_TCP = 6  # IANA protocol number
_NOW = 0.0  # of an address book that lives for one question
_TTL = 60.0  # seconds, likewise
_ANYWHERE = parse_ipv4("192.0.2.1")  # stands for a server whose address is not given (RFC 5737)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of the connection.

    `interfaces`, `groups`: who the client is, and the ids and names of what it wears.
    `description`: of the rule that decides, with its annotation; empty if none does.
    `destinations`: the addresses decided on; empty where any address was meant.
    `answer`: what DNS said; None if it was not asked.
    `see_thru`: the grant of the client's groups or of the preferences, if any.
    `is_let_out`: whether AWS itself lets the packets out; None where that cannot be told.
    `notes`: sentences on what else has a bearing.
    """

    question: Question
    decision: Decision
    today: date
    interfaces: tuple[str, ...]
    groups: Mapping[str, str]
    description: str
    destinations: tuple[Ipv4, ...]
    answer: Answer | None
    see_thru: SeeThruGrant | None
    preferred: Preferred
    is_let_out: bool | None
    notes: tuple[str, ...]

    @property
    def see_thru_exerted(self) -> bool:
        """Whether the connection is one that only see-thru lets pass."""
        grant, decision = self.see_thru, self.decision
        if decision.allow or grant is None or not grant.active(self.today):
            return False
        return decision.reason not in NEVER_SEEN_THRU and not any(map(is_private, self.destinations))

    @property
    def passes(self) -> bool:
        """Whether the connection would be made, as far as can be told."""
        return (self.decision.allow or self.see_thru_exerted) and self.is_let_out is not False


def explain(
    inventory: Inventory,
    question: Question,
    today: date,
    answer: Answer | None = None,
    preferred: Preferred = Preferred(),  # noqa: B008 -- it is immutable
    *,
    suffixes: Suffixes = NO_SUFFIXES,
) -> Explanation:
    """Return what would become of a connection.

    Args:
        inventory: groups and interfaces of the client's VPC.
        question: the connection.
        today: the date in UTC.
        answer: what DNS says of the question's name; None to take for granted that it has the address.
        preferred: the preferences of the deployment.
        suffixes: the Public Suffix List.
    """
    policy = compile_policy(inventory, Guard(preferred.preferences.wildcard_exposure, suffixes))
    client = policy.clients.get(question.client)
    listing = _listing(client, question)
    opened = preferred.preferences.private_destinations
    destinations = _destinations(question, answer, opened)
    decided = [
        (destination, _decide(policy, question, destination, answer, preferred.preferences))
        for destination in destinations or (_stand_in(listing),)
    ]
    refused = [row for row in decided if not row[1].allow]
    decision = (refused or decided)[0][1]
    notes = _notes_on_mixture(decided) if refused and len(refused) < len(decided) else []
    if not destinations:
        notes += _notes_on_destinations(listing)

    known = {group.id: group for group in inventory.groups}
    names = {group.id: group.name for group in inventory.groups}
    worn = client.groups if client else ()
    let_out: bool | None = None
    if client is None:
        count = len(inventory.interfaces)
        notes.append(f"looked at {count} interface{'' if count == 1 else 's'}: is the client in another VPC?")
    else:
        missing = [gid for gid in worn if gid not in known]
        notes += (f"the client wears {gid}, which is not among the Security Groups given" for gid in missing)
        if not listing or decision.reason is Reason.DESTINATION_NOT_IN_RULE:
            notes += near_misses(policy, names, client, question, preferred.preferences.wildcard_exposure)
        reach = reach_of(
            (rule for gid in worn if gid in known for rule in known[gid].rules), question.port, inventory.lists
        )
        let_out = None if missing else _is_let_out(reach, destinations)
        notes += _notes_on_reach(reach, question, let_out=let_out)
    notes += notes_on_origin(inventory, decision.gid, decision.rule, question.name)
    if decision.reason in {Reason.NAME_NOT_LISTED, Reason.PORT_NOT_LISTED, Reason.ADDRESS_MISMATCH}:
        notes += notes_on_unread(inventory, worn)
    notes += preferred.notes(question, decision, destinations)
    descriptions = {(gid, egress.reference): egress.description for gid in known for egress in known[gid].rules}
    return Explanation(
        question=question,
        decision=decision,
        today=today,
        interfaces=_interfaces(inventory, question.client),
        groups={gid: names.get(gid, "") for gid in worn},
        description=descriptions.get((decision.gid, decision.rule), ""),
        destinations=destinations,
        answer=answer,
        see_thru=later(client.see_thru, preferred.preferences.grant) if client else None,
        preferred=preferred,
        is_let_out=let_out,
        notes=tuple(notes),
    )


# The decision


def _destinations(question: Question, answer: Answer | None, opened: tuple[Network, ...]) -> tuple[Ipv4, ...]:
    if question.address is not None:
        return (question.address,)
    return () if answer is None else tuple(address for address in answer.addresses if not is_closed(address, opened))


def _listing(client: Client | None, question: Question) -> tuple[Rule, ...]:
    """Return the rules that list the name for this port and protocol."""
    rules = client.ports.get(question.port) if client else None
    if rules is None:
        return ()
    if question.protocol is Asked.SSH:
        return rules.ssh.get(question.name, ())
    by_pattern = [rule for _, listing in matching(rules, question.name) for rule in listing]
    return (*rules.tls.get(question.name, ()), *by_pattern)


def _stand_in(listing: Iterable[Rule]) -> Ipv4:
    """Return an address to decide on where none is given: one that the rules for the name cover, if they exist."""
    networks = [rule.destination for rule in listing]
    return (
        next((each.networks[0].address for each in networks if each), _ANYWHERE) if None not in networks else _ANYWHERE
    )


def _decide(
    policy: Policy, question: Question, destination: Ipv4, answer: Answer | None, preferences: Preferences
) -> Decision:
    """Return what the engine would decide on a flow with a flawless hello."""
    # The VPC's own are what the appliance takes out of what is opened.
    opened = () if destination in policy.clients else preferences.private_destinations
    rules = decide_port(policy, question.client, _TCP, question.port, destination, opened=opened)
    fetches = question.protocol is Asked.HTTP and question.port == CRL_PORT and preferences.x509_crls is Crls.ALLOW
    if isinstance(rules, Decision) and not (fetches and rules.reason in BY_PORT):
        return rules
    book = AddressBook()
    book.adjust(grace=None, opened=opened)
    book.learn(answer or Answer(question.name, (destination,), _TTL), _NOW)
    if fetches:
        return decide_host(endpoints_of(preferences.x509_crl_hosts), question.name, destination, book, _NOW)
    if isinstance(rules, Decision):
        return rules
    if question.protocol is Asked.SSH:
        return _decide_ssh(rules, question.name, destination, book)
    if not rules.has_tls:
        detail = f"it is {question.protocol}"
        return Decision(allow=False, reason=Reason.NOT_SSH, name=str(question.name), detail=detail)
    if question.protocol is Asked.HTTP:
        return Decision(allow=False, reason=Reason.HTTP_PLAINTEXT, name=str(question.name))
    return decide_name(rules, question.name, destination, book, _NOW)


def _decide_ssh(rules: PortRules, name: Fqdn, destination: Ipv4, book: AddressBook) -> Decision:
    if not rules.ssh:
        return Decision(allow=False, reason=Reason.NOT_TLS, detail="it is ssh")
    if name not in rules.ssh:
        detail = f"ssh carries no name, and {name} is not listed for it on this port"
        return Decision(allow=False, reason=Reason.ADDRESS_MISMATCH, detail=detail)
    return decide_ssh(rules, destination, book, _NOW)


def _is_let_out(reach: Reach, destinations: tuple[Ipv4, ...]) -> bool | None:
    """Tell whether AWS lets packets to all destinations out."""
    if reach.is_nowhere or not destinations:
        return False if reach.is_nowhere else (reach.is_everywhere or None)
    told = [reach.includes(destination) for destination in destinations]
    return False if False in told else None if None in told else True


# Notes


def _notes_on_mixture(decided: list[tuple[Ipv4, Decision]]) -> list[str]:
    return [
        f"{format_ipv4(destination)} would be {'allowed' if decision.allow else f'refused: {decision.reason}'}"
        for destination, decision in decided
    ]


def _notes_on_destinations(listing: Iterable[Rule]) -> list[str]:
    """Say how narrow the rules for the name are, where no address was asked about."""
    networks = [rule.destination for rule in listing]
    if None in networks or not networks:
        return []
    return [f"the name is listed for {', '.join(map(str, networks))} alone: give --address to ask about one server"]


def _notes_on_reach(reach: Reach, question: Question, *, let_out: bool | None) -> list[str]:
    """Say what AWS itself keeps from coming to the appliance."""
    port = f"TCP port {question.port}"
    if reach.is_everywhere:
        return []
    if reach.is_nowhere:
        return [f"AWS itself lets the client out to nowhere on {port}: no egress rule of its groups covers it"]
    parts = ", ".join([*map(str, reach.networks), *reach.unread])
    note = f"AWS itself lets the client out to {parts} alone on {port}"
    if let_out is False:
        return [f"{note}: make the destination of a rule for this port 0.0.0.0/0"]
    return [f"{note}, and drops the rest before it comes to the appliance"]


def _interfaces(inventory: Inventory, client: Ipv4) -> tuple[str, ...]:
    return tuple(
        interface.id
        for interface in inventory.interfaces
        if client in interface.addresses or any(client in prefix for prefix in interface.prefixes)
    )
