"""Near misses: what is written in the Security Groups that comes close to a connection that is refused.

Each is a sentence for the person who wonders why: the name is listed for another port or protocol, in a group that
the client does not wear, or under another spelling, or in an annotation that was rejected. Everything here is pure.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from appliance.policy.exposure import Exposure
from appliance.policy.fqdn import Fqdn
from appliance.policy.pattern import ANY, Entry, Pattern
from appliance.policy.policy import Client, Policy, Rejection, Rule
from appliance.policy.preferences import DEFAULTS
from appliance.question import Asked, Question

_SHOWN = 5  # sentences of one kind
_SPELLINGS_MAX = 5000  # names compared letter by letter
_ALIKE = 0.85  # share of two names that is the same: one slip in a short name, two in a longer one


def near_misses(
    policy: Policy, groups: Mapping[str, str], client: Client, question: Question, exposure: Exposure
) -> list[str]:
    """Return what may have been meant to allow a client's connection, the nearest first.

    `groups`: names of Security Groups, by id. `exposure`: what patterns were judged by.
    """
    name = question.name
    rules = [rule for rule, entries in policy.rules.items() if any(_lists(entry, name) for entry in entries)]
    listed = sorted((_differences(rule, client, question), rule.gid, rule.reference) for rule in rules)
    sentences = [
        f"{name} is listed by {reference} of {show_group(gid, groups)}: {'; '.join(differences)}"
        for differences, gid, reference in sorted(listed, key=lambda row: len(row[0]))
        if differences
    ][:_SHOWN]
    worn = [gone for gone in policy.rejections if gone.gid in client.groups]
    sentences += _rejected(worn, groups, name, exposure)
    if not rules:
        sentences += _deeper(client, question)
        sentences += _spellings(client, question)
    return sentences


def _lists(entry: Entry, name: Fqdn) -> bool:
    return entry.matches(name) if isinstance(entry, Pattern) else entry == name


def _deeper(client: Client, question: Question) -> Iterator[str]:
    """Say which patterns would match if a wildcard stood for dots as well."""
    rules = client.ports.get(question.port)
    labels = question.name.labels
    for index in rules.patterns if rules else ():
        for pattern in islice(index.patterns, _SPELLINGS_MAX):
            below = len(labels) - len(pattern.labels)
            if below > 0 and pattern.labels[0] == ANY and pattern.matches(Fqdn(labels[below:])):
                yield f"{pattern} is listed, whose asterisk stands for one label: {question.name} has {below} more"
                return


def show_group(gid: str, groups: Mapping[str, str]) -> str:
    """Return a group as people know it: its id, and its name where that is known."""
    return f"{gid} ({groups[gid]})" if groups.get(gid) else gid


def _differences(rule: Rule, client: Client, question: Question) -> tuple[str, ...]:
    """Say why a rule that lists the name does not apply."""
    differences = []
    if rule.port != question.port:
        differences.append(f"for port {rule.port}, not {question.port}")
    if rule.protocol.value != question.protocol.value:
        differences.append(f"for {rule.protocol}, not {question.protocol}")
    if rule.gid not in client.groups:
        differences.append("in a group that the client does not wear")
    return tuple(differences)


def _rejected(worn: Iterable[Rejection], groups: Mapping[str, str], name: Fqdn, exposure: Exposure) -> Iterator[str]:
    rejections = list(worn)
    telling = [gone for gone in rejections if _concerns(gone, name)]
    for gone in telling[:_SHOWN]:
        hint = f" ({gone.fault.hint})" if gone.fault.hint else ""
        place = f"{gone.reference} of {show_group(gone.gid, groups)}"
        yield f"in the description of {place}, {gone.fault.message}{hint}"
    others = len(rejections) - len(telling[:_SHOWN])
    if others:
        more = " more" if telling else ""
        what = f"1{more} part" if others == 1 else f"{others}{more} parts"
        grant = "grants" if others == 1 else "grant"
        option = "" if exposure is DEFAULTS.wildcard_exposure else f" --wildcard-exposure {exposure}"
        yield f"{what} of the annotations in the client's groups {grant} nothing: see `discriminat check{option}`"


def _concerns(gone: Rejection, name: Fqdn) -> bool:
    """Tell whether what grants nothing was meant for a name: it holds it, or is a pattern that matches it."""
    start, end = gone.fault.span
    return str(name) in gone.fault.text[start:end].lower() or (
        bool(gone.pattern) and Pattern.parse(gone.pattern).matches(name)
    )


def _spellings(client: Client, question: Question) -> Iterator[str]:
    rules = client.ports.get(question.port)
    table = {} if rules is None else rules.tls if question.protocol is not Asked.SSH else rules.ssh
    if len(table) <= _SPELLINGS_MAX:
        names = {str(listed): listed for listed in table}
        for text in difflib.get_close_matches(str(question.name), names, 2, _ALIKE):
            yield f"{text} is listed, which looks like it: see {table[names[text]][0].reference}"
