"""Lint: everything about the annotations of some Security Groups that their author should know.

What the appliance rejects is asked of the policy that it would compile, so that both say the same, word for word.
Everything here is pure; `today` is the date in UTC.

Source: EC2 API, IpRange (255 characters, and which). SEE_THRU_LONG is ours.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from appliance.policy.annotation import Allow, Description, Fault, Protocol, SeeThru, Span, parse_description
from appliance.policy.destination import Destination, PrefixLists, destination_of
from appliance.policy.exposure import Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.policy.name_list import NameLists, is_unknown
from appliance.policy.pattern import ONE, ONE_IN_AWS, Entry, Pattern
from appliance.policy.pattern_index import PatternIndex
from appliance.policy.policy import compile_policy
from appliance.policy.reach import reach_of
from appliance.policy.reference import Reference
from appliance.policy.resolvers import is_public_resolver, reached_by
from appliance.policy.shape import object_to, unknown_list
from appliance.report import Check, Finding, Report

DESCRIPTION_MAX = 255  # characters
SEE_THRU_LONG = 365  # days

_REFUSED_BY_AWS = re.compile(r"[^a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]+")
_SHOWN = 3  # names or networks in one message; the others are counted


_Found = tuple[Check, str, Fault]  # with the rule's reference


@dataclass(frozen=True, slots=True)
class _Listing:
    """An annotation that counts. `destination` is None for anywhere, as in `policy.Rule`."""

    egress: EgressRule
    allow: Allow
    port: int
    destination: Destination | None


class _Listed(NamedTuple):
    """A name or a pattern that counts, where in the description it comes from, and the list and line it stands in."""

    entry: Entry
    span: Span
    reference: Reference | None = None
    line: int = 0
    is_secret: bool = False

    @property
    def shown(self) -> str:
        """The entry, as it may be told: of a secret the line alone."""
        place = f"{self.reference} line {self.line}"
        if self.is_secret:
            return place
        return f"{self.entry} ({place})" if self.reference else str(self.entry)


def lint(inventory: Inventory, today: date, *, with_interfaces: bool, guard: Guard = Guard()) -> Report:  # noqa: B008
    """Return what there is to say about the annotations of an inventory.

    Args:
        inventory: the groups to look at, and who wears them.
        today: the date in UTC.
        with_interfaces: whether the inventory's interfaces are all there are, rather than not known.
        guard: judges patterns.
    """
    policy = compile_policy(inventory, guard)
    rejections: dict[tuple[str, str, str], list[Fault]] = {}
    for rejection in policy.rejections:
        key = (rejection.gid, rejection.reference, rejection.fault.text)
        rejections.setdefault(key, []).append(rejection.fault)
    worn = {gid for interface in inventory.interfaces for gid in interface.groups}
    lists = inventory.lists
    findings: list[Finding] = []
    annotated = 0
    for group in inventory.groups:
        described = list(_described(group))
        if not described:
            continue
        annotated += 1
        found: list[_Found] = []
        for egress, description in described:
            faults = rejections.pop((group.id, egress.reference, egress.description), [])
            found += ((_check_of(fault, egress), egress.reference, fault) for fault in faults)
            found += _refused_by_aws(egress, description)
            found += _see_thru(egress, description, today)
        listings = list(_listings(described, lists))
        found += _duplicates(group, described)
        found += _narrow(group, listings, lists)
        found += _repeated(listings)
        found += _matched(listings, guard)
        found += _wide(listings, inventory.names_elsewhere, guard)
        found += _resolvers(listings, inventory.names_elsewhere, guard)
        found += _repeated_see_thru(described, today)
        if with_interfaces and group.id not in worn:
            hint = "attach it to the interfaces it was written for; so far it does nothing"
            found.append((Check.GROUP_UNWORN, "", Fault("no network interface wears this group", hint, "", (0, 0))))
        findings += (Finding(check, group.id, group.name, rule, fault) for check, rule, fault in found)
    return Report(len(inventory.groups), annotated, len(policy.names), tuple(findings), len(policy.patterns))


def _described(group: SecurityGroup) -> Iterator[tuple[EgressRule, Description]]:
    """Yield the rules whose descriptions concern us."""
    for egress in group.rules:
        description = parse_description(egress.description)
        if description.annotations or description.faults:
            yield egress, description


def _check_of(fault: Fault, egress: EgressRule) -> Check:
    """Return what a rejection of the policy is here: a list that nobody gave may well be fine where it is known."""
    if fault.message == unknown_list(egress.destination):
        return Check.PREFIX_LIST_UNKNOWN
    return Check.NAME_LIST_UNKNOWN if is_unknown(fault.message) else Check.ANNOTATION


def _listings(described: Iterable[tuple[EgressRule, Description]], lists: PrefixLists) -> Iterator[_Listing]:
    for egress, description in described:
        for annotation in description.annotations:
            if isinstance(annotation, Allow) and not any(object_to(egress, annotation, lists)):
                destination = destination_of(egress.destination, lists)
                yield _Listing(egress, annotation, egress.from_port or 0, destination)


# What AWS refuses


def _refused_by_aws(egress: EgressRule, description: Description) -> Iterator[_Found]:
    text = egress.description
    if len(text) > DESCRIPTION_MAX:
        message = f"AWS refuses a description of {len(text)} characters"
        hint = (
            f"it takes {DESCRIPTION_MAX}: spread the names over several rules, with the destination 0.0.0.0/1, /2, ..."
        )
        yield Check.AWS_LENGTH, egress.reference, Fault(message, hint, text, (DESCRIPTION_MAX, len(text)))
    for match in _REFUSED_BY_AWS.finditer(text):
        if any(start <= match.start() < end for start, end in (fault.span for fault in description.faults)):
            continue  # it has been told already
        message = f"AWS refuses {match[0]!r} in a description"
        hint = "it takes letters and digits of ASCII, spaces, and ._-:/()#,@[]+=&;{}!$*"
        if set(match[0]) == {ONE}:
            hint = f"write {ONE_IN_AWS} for each {ONE}: in a pattern it stands for the same"
        yield Check.AWS_CHARACTER, egress.reference, Fault(message, hint, text, match.span())


def _duplicates(group: SecurityGroup, described: Iterable[tuple[EgressRule, Description]]) -> Iterator[_Found]:
    counted = Counter((egress.reference, egress.rule_id) for egress in group.rules)
    told = set()
    for egress, _ in described:
        if counted[egress.reference, egress.rule_id] > 1 and egress.reference not in told:
            told.add(egress.reference)
            message = "AWS refuses two rules of one group with the same protocol, port and destination"
            hint = "give the second one another mask: 0.0.0.0/1, 0.0.0.0/2 and so on all mean anywhere here"
            yield Check.AWS_DUPLICATE, egress.reference, _on_all(egress, message, hint)


# What works otherwise than it reads


def _narrow(group: SecurityGroup, listings: Iterable[_Listing], lists: PrefixLists) -> Iterator[_Found]:
    """Yield the ports that are annotated for anywhere, while AWS lets this group out to a part of it only."""
    told = set()
    for listing in listings:
        if listing.destination is None and listing.port not in told:
            told.add(listing.port)
            reach = reach_of(group.rules, listing.port, lists)
            if not reach.is_everywhere and not reach.unread:
                message = f"AWS lets this group out to {_some(reach.networks)} alone on TCP port {listing.port}"
                hint = (
                    "make the destination of one rule for this port 0.0.0.0/0; AWS drops the rest before it gets here"
                )
                yield Check.NARROW_REACH, listing.egress.reference, _on(listing, message, hint)


def _repeated(listings: Iterable[_Listing]) -> Iterator[_Found]:
    """Yield the rules with names that a rule as wide or wider of the same group lists as well."""
    widest_first = sorted(
        listings, key=lambda listing: -(2**32 if listing.destination is None else listing.destination.size)
    )
    listed: dict[tuple[int, Protocol, Fqdn], list[_Listing]] = {}
    for listing in widest_first:
        repeated: dict[str, list[Fqdn]] = {}
        for name in listing.allow.names:
            earlier = listed.setdefault((listing.port, listing.allow.protocol, name), [])
            for other in earlier:
                if _lies_in(listing.destination, other.destination):
                    repeated.setdefault(other.egress.reference, []).append(name)
                    break
            earlier.append(listing)
        for reference, names in repeated.items():
            message = f"{reference} of the same group lists {_some(names)} as well"
            hint = "remove the repetition"
            if listing.destination is not None:
                hint += f": as it is, {listing.destination} narrows nothing"
            yield Check.NAME_REPEATED, listing.egress.reference, _on(listing, message, hint)


def _matched(listings: Iterable[_Listing], guard: Guard) -> Iterator[_Found]:
    """Yield the rules with names that a pattern of a rule as wide or wider of the same group matches."""
    listed: dict[int, dict[Pattern, list[_Listing]]] = {}
    every = [listing for listing in listings if listing.allow.protocol is Protocol.TLS]
    for listing in every:
        for pattern, _ in listing.allow.patterns:
            if guard.object_to(pattern) is None:
                listed.setdefault(listing.port, {}).setdefault(pattern, []).append(listing)
    indexes = {port: PatternIndex(patterns) for port, patterns in listed.items()}
    for listing in every:
        matched: dict[tuple[Pattern, str], list[Fqdn]] = {}
        for name in listing.allow.names if listing.port in indexes else ():
            for pattern, others in indexes[listing.port].find(name):
                wider = [other for other in others if _lies_in(listing.destination, other.destination)]
                if wider:
                    matched.setdefault((pattern, wider[0].egress.reference), []).append(name)
                    break
        for (pattern, reference), names in matched.items():
            message = f"{pattern}, in {reference} of the same group, matches {_some(names)} as well"
            yield Check.NAME_REPEATED, listing.egress.reference, _on(listing, message, "remove the repetition")


def _counting(listing: _Listing, lists: NameLists, guard: Guard) -> Iterator[_Listed]:
    """Yield what counts of an annotation for TLS, then of its lists."""
    if listing.allow.protocol is Protocol.TLS:
        for each in _entries(listing.allow, lists):
            if not isinstance(each.entry, Pattern) or guard.object_to(each.entry) is None:
                yield each


def _entries(allow: Allow, lists: NameLists) -> Iterator[_Listed]:
    yield from (_Listed(name, allow.span) for name in allow.names)
    yield from (_Listed(pattern, span) for pattern, span in allow.patterns)
    for reference, span in allow.references:
        content = lists[reference].content if reference in lists else None
        if content is not None:
            held: tuple[tuple[Entry, int], ...] = (*content.names.items(), *content.patterns.items())
            yield from (_Listed(entry, span, reference, line, content.is_secret) for entry, line in held)


def _wide(listings: Iterable[_Listing], lists: NameLists, guard: Guard) -> Iterator[_Found]:
    """Yield the patterns that count, and yet match what anybody may register."""
    for listing in listings:
        for each in _counting(listing, lists, guard):
            suffix = guard.suffixes.reach_of(each.entry) if isinstance(each.entry, Pattern) else ""
            if suffix:
                what = "a public suffix" if each.is_secret else f"{suffix}, a public suffix"
                message = f"{each.shown} reaches {what}: anybody may get a name that it matches"
                fault = Fault(message, "put its wildcards further left", listing.egress.description, each.span)
                yield Check.PATTERN_WIDE, listing.egress.reference, fault


def _resolvers(listings: Iterable[_Listing], lists: NameLists, guard: Guard) -> Iterator[_Found]:
    """Yield the rules that list a public resolver for TLS, or a pattern that matches one."""
    for listing in listings:
        resolvers = [text for each in _counting(listing, lists, guard) if (text := _resolver_of(each))]
        if resolvers:
            message = f"{_some(resolvers)} answers anybody's questions over TLS"
            hint = "data can leave in questions to it, past the VPC's resolver: remove it unless that is meant"
            yield Check.RESOLVER_LISTED, listing.egress.reference, _on(listing, message, hint)


def _resolver_of(listed: _Listed) -> str:
    """Return the public resolver that an entry is or matches, as it may be told; empty if there is none."""
    if isinstance(listed.entry, Pattern):
        resolver = reached_by(listed.entry)
        return "" if resolver is None else listed.shown if listed.is_secret else f"{resolver} by {listed.shown}"
    return listed.shown if is_public_resolver(listed.entry) else ""


def _lies_in(inner: Destination | None, outer: Destination | None) -> bool:
    return outer is None or (inner is not None and inner.lies_in(outer))


def _see_thru(egress: EgressRule, description: Description, today: date) -> Iterator[_Found]:
    for annotation in description.annotations:
        if isinstance(annotation, SeeThru):
            days = (annotation.until - today).days
            if days < 0:
                message = f"see-thru ended on {annotation.until}, {-days} day{'' if days == -1 else 's'} ago"
                fault = Fault(message, "remove it, or give a later date", egress.description, annotation.span)
                yield Check.SEE_THRU_ENDED, egress.reference, fault
            elif days > SEE_THRU_LONG:
                message = f"see-thru holds for {days} more days, until {annotation.until}"
                hint = "it lets everything pass: give a date within a year, and move it on when it is needed"
                yield Check.SEE_THRU_LONG, egress.reference, Fault(message, hint, egress.description, annotation.span)


def _repeated_see_thru(described: Iterable[tuple[EgressRule, Description]], today: date) -> Iterator[_Found]:
    """Yield the see-thru dates of a group that a later one makes meaningless."""
    grants = [(each, egress) for egress, said in described for each in said.annotations if isinstance(each, SeeThru)]
    latest = max((grant.until for grant, _ in grants), default=None)
    last = next(((grant, egress) for grant, egress in grants if grant.until == latest), None)
    for grant, egress in grants:
        if last is not None and grant is not last[0] and grant.until >= today:
            message = f"the date that counts in this group is {latest}, in {last[1].reference}"
            fault = Fault(message, "remove this one", egress.description, grant.span)
            yield Check.SEE_THRU_REPEATED, egress.reference, fault


def _on(listing: _Listing, message: str, hint: str) -> Fault:
    return Fault(message, hint, listing.egress.description, listing.allow.span)


def _on_all(egress: EgressRule, message: str, hint: str) -> Fault:
    return Fault(message, hint, egress.description, (0, len(egress.description)))


def _some(items: Iterable[object]) -> str:
    texts = [str(item) for item in items]
    shown = ", ".join(texts[:_SHOWN])
    return f"{shown} and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else shown
