"""Annotations: the part of a Security Group rule's description that is policy.

    annotation = "discriminat:" ( "tls:" entry { "," entry } | "ssh:" entry { "," entry } | "see-thru:" YYYY-MM-DD )
    entry = name | pattern | reference

- All of it is case-insensitive, but for the names that AWS gives to what a reference leads to. An annotation is one
  word: other text, and other annotations, may stand before and after it, separated by whitespace; inside it there is
  none.
- Every fault of a description is reported, with its place and a correction. A bad name in a list grants nothing;
  its neighbours still count.
- A reference (`@ssm/apps/acme/allow`) stands for what a list holds that is kept elsewhere: reference.py.
- Patterns are for TLS alone: SSH carries no name that could be compared with one.
- What was plainly meant to be an annotation but is not one (`discrimnat:tls:`, `discriminat=tls:`, a list that goes on
  behind a space) is a fault as well: silence would leave its author to find out from refused connections.

Source: the grammar is the product's; AWS allows 255 characters of `a-zA-Z0-9`, space and `._-:/()#,@[]+=&;{}!$*`.
"""

import enum
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from appliance.errors import InvalidName, InvalidReference, PolicyError
from appliance.policy.day import DAY_HINT, parse_day
from appliance.policy.fqdn import Fqdn, is_name, quote
from appliance.policy.pattern import ONE_IN_AWS, Pattern, is_meant_as_pattern
from appliance.policy.reference import Reference, is_meant_as_reference

KEYWORD = "discriminat"
SEE_THRU = "see-thru"

Span = tuple[int, int]  # of a text, as in text[start:end]

_WORD = re.compile(r"\S+", re.ASCII)
_HEAD = re.compile(rf"{KEYWORD}:", re.ASCII | re.IGNORECASE)
_KIND = re.compile(r"(tls|ssh|see-thru)\b", re.ASCII | re.IGNORECASE)
_LOOK_ALIKE = re.compile(r"([^:=/]*?)[:=/._-]+(tls|ssh|see-thru)[:=/]+(.*)", re.ASCII | re.IGNORECASE)

# What people write for the protocol they mean, where one letter more, less or else does not explain it.
_MEANT = {
    "https": "tls",
    "ssl": "tls",
    "tsl": "tls",
    "sftp": "ssh",
    "scp": "ssh",
    "git": "ssh",
    "see-through": SEE_THRU,
    "seethrough": SEE_THRU,
}
_HINT_SHOWN = 320  # characters: more than a description that AWS accepts


class Protocol(enum.StrEnum):
    """What can be allowed by name. SSH covers SFTP, and Git over SSH."""

    TLS = "tls"
    SSH = "ssh"


@dataclass(frozen=True, slots=True)
class Allow:
    """Permission to reach some names. `names`, `patterns`, `references`: as written, without repetitions; never none.

    A pattern has its place beside it, for it may be refused for what it matches; so has a list, which may hold rubbish.
    """

    protocol: Protocol
    names: tuple[Fqdn, ...]
    span: Span = field(default=(0, 0), compare=False)
    patterns: tuple[tuple[Pattern, Span], ...] = ()
    references: tuple[tuple[Reference, Span], ...] = ()


@dataclass(frozen=True, slots=True)
class SeeThru:
    """Permission to reach anything, through the whole of the day `until` (UTC)."""

    until: date
    span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a description that grants nothing: what is wrong, what to do, and where in `text` it stands."""

    message: str
    hint: str
    text: str
    span: Span

    def render(self) -> str:
        """Return the message, the text with a row of tildes under the fault, and the hint, on lines of their own."""
        start, end = self.span
        lines = [self.message, f"    {self.text}", f"    {' ' * start}{'~' * max(end - start, 1)}"]
        lines += [f"hint: {self.hint}"] if self.hint else []
        # The hint repeats some of the text, where anything may stand: such as what ends a line to some.
        return "\n".join("".join(each if each.isprintable() else "?" for each in line) for line in lines)


@dataclass(frozen=True, slots=True)
class Description:
    """What a description says: its annotations and its faults, each in the order of the text."""

    annotations: tuple[Allow | SeeThru, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int

    @property
    def span(self) -> Span:
        return self.start, self.start + len(self.text)


_Report = Callable[[str, str, Span], None]  # message, hint, place


def parse_description(text: str) -> Description:
    """Return all that a rule's description says. Never raises."""
    annotations: list[Allow | SeeThru] = []
    faults: list[Fault] = []

    def report(message: str, hint: str, span: Span) -> None:
        faults.append(Fault(message, hint[:_HINT_SHOWN], text, span))

    words = [_Word(match[0], match.start()) for match in _WORD.finditer(text)]
    for index, word in enumerate(words):
        if _HEAD.match(word.text):
            annotation = _parse_annotation(word, words[index + 1 :], report)
            if annotation is not None:
                annotations.append(annotation)
        elif correction := _correct(word.text):
            report(f"{quote(word.text)} looks like an annotation, but is none", correction, word.span)
    return Description(tuple(annotations), tuple(sorted(faults, key=lambda fault: fault.span)))


def references_of(text: str) -> Iterator[Reference]:
    """Yield the lists that a rule's description refers to, in its order; one that two annotations name comes twice."""
    if "@" not in text:
        return  # every rule of a VPC is asked, and few refer to any
    for annotation in parse_description(text).annotations:
        if isinstance(annotation, Allow):
            for reference, _ in annotation.references:
                yield reference


def _parse_annotation(word: _Word, following: Sequence[_Word], report: _Report) -> Allow | SeeThru | None:
    """`"discriminat:" ( allow | see-thru )`."""
    kind, colon, _ = word.text[len(KEYWORD) + 1 :].partition(":")
    start = word.start + len(KEYWORD) + 1
    body = _Word(word.text[start + len(kind) + len(colon) - word.start :], start + len(kind) + len(colon))
    folded = kind.lower()
    if folded not in {*Protocol, SEE_THRU}:
        _report_kind(word, _Word(kind, start), body, following, report)
        return None
    if folded == SEE_THRU:
        until = _parse_date(body, report)
        return None if until is None else SeeThru(until, word.span)
    names, patterns, references = _parse_entries(body, following, Protocol(folded), report)
    if not (names or patterns or references):
        return None
    return Allow(Protocol(folded), names, word.span, patterns, references)


# Lists of names, patterns and references


_Entries = tuple[tuple[Fqdn, ...], tuple[tuple[Pattern, Span], ...], tuple[tuple[Reference, Span], ...]]


def _parse_entries(body: _Word, following: Sequence[_Word], protocol: Protocol, report: _Report) -> _Entries:
    """`entry { "," entry }`."""
    head = f"{KEYWORD}:{protocol}:"
    stragglers = list(_stragglers(body, following))
    if stragglers:
        whole = ",".join(filter(None, ",".join([body.text, *(word.text for word in stragglers)]).split(",")))
        report(
            "there is a space inside the list, so it ends before this",
            f"write {head}{whole}",
            (stragglers[0].start, stragglers[-1].span[1]),
        )
    elif not body.text:
        report("the list is empty", f"write at least one name: {head}api.example.com", _place(body))
    texts = body.text.split(",") if body.text else []
    if stragglers and texts and not texts[-1]:
        texts.pop()  # the comma in front of the space is already explained
    names: dict[Fqdn, None] = {}  # in place of a set, for the order
    patterns: dict[Pattern, Span] = {}
    references: dict[Reference, Span] = {}
    start = body.start
    for text in texts:
        item = _Word(text, start)
        try:
            if is_meant_as_reference(text):
                references.setdefault(Reference.parse(text), item.span)
            elif not is_meant_as_pattern(text):
                names[Fqdn.parse(text)] = None
            elif protocol is Protocol.TLS:
                patterns.setdefault(Pattern.parse(text), item.span)
            else:
                hint = "SSH carries no name to compare with it: list each host that is needed"
                report(f"{quote(text)} is a pattern, which {protocol} cannot have", hint, item.span)
        except InvalidName as error:
            _report_name(item, error, report)
        except InvalidReference as error:
            report(error.message, error.hint, item.span)
        start += len(text) + 1
    return tuple(names), tuple(patterns.items()), tuple(references.items())


def _report_name(item: _Word, error: InvalidName, report: _Report) -> None:
    if f"{KEYWORD}:" in item.text.lower():
        report("there is an annotation inside the list", "put a space between two annotations", item.span)
    elif any(separator in item.text for separator in ";&") or (
        ONE_IN_AWS in item.text and not is_meant_as_pattern(item.text)
    ):
        report(error.message, "separate names with a comma", item.span)
    else:
        report(error.message, error.hint, _place(item))


def _place(item: _Word) -> Span:
    """Return the place of an item; of an empty one, that of the comma or colon in front of it."""
    return item.span if item.text else (item.start - 1, item.start)


def _stragglers(body: _Word, following: Sequence[_Word]) -> Iterator[_Word]:
    """Yield the words that were meant to belong to a list, but stand behind a space."""
    is_open = not body.text or body.text.endswith(",")
    for word in following:
        if not (is_open or word.text.startswith(",")) or not all(map(_is_entry, filter(None, word.text.split(",")))):
            return
        yield word
        is_open = word.text.endswith(",")


def _is_entry(text: str) -> bool:
    try:
        Pattern.parse(text)
    except InvalidName:
        return text.startswith("@") or is_name(text)
    return True


# Dates


def _parse_date(body: _Word, report: _Report) -> date | None:
    """`YYYY-MM-DD`."""
    if not body.text:
        report("the date is missing", DAY_HINT, _place(body))
        return None
    try:
        return parse_day(body.text)
    except PolicyError as error:
        report(error.message, error.hint, body.span)
        return None


# Near misses


def _report_kind(word: _Word, kind: _Word, body: _Word, following: Sequence[_Word], report: _Report) -> None:
    """Report the word behind the keyword, and say what was probably meant."""
    general = f"write {KEYWORD}:tls:, then the names, without a space"
    if not kind.text:
        if following and _KIND.match(following[0].text) and not body.text:
            whole = f"{KEYWORD}:{following[0].text}"
            report("there is a space inside the annotation", f"write {whole}", (word.start, following[0].span[1]))
        else:
            report("the annotation is incomplete", general, word.span)
        return
    folded = kind.text.lower()
    meant = _MEANT.get(folded)
    if meant is None:
        meant = next((known for known in (*Protocol, SEE_THRU) if _distance(folded, known) <= len(known) // 3), None)
    if folded in {"http", "udp", "quic", "icmp"}:
        hint = "only TLS and SSH can be allowed by name"
    elif meant is not None:
        hint = f"write {KEYWORD}:{meant}:{body.text}"
    elif not body.text and is_name(kind.text.partition(",")[0]):
        hint = f"write {KEYWORD}:tls:{kind.text}"
    else:
        hint = general
    report(f"{quote(kind.text)} is unknown, want tls, ssh or see-thru", hint, kind.span)


def _correct(text: str) -> str:
    """Return how to write a word that was plainly meant to be an annotation; empty when it was not.

    A bare `discriminat` is prose: it is what the appliance is called.
    """
    folded = text.lower()
    if f"{KEYWORD}:" in folded:
        return "put a space in front of it, and behind it"
    match = _LOOK_ALIKE.fullmatch(text)
    if match and (not match[1] or folded.startswith(KEYWORD) or _distance(match[1].lower(), KEYWORD) <= 2):
        return f"write {KEYWORD}:{match[2].lower()}:{match[3]}"
    if folded.startswith(KEYWORD) and (":" in text or "=" in text):
        return f"write {KEYWORD}:tls:, then the names, without a space"
    return ""


def _distance(left: str, right: str) -> int:
    """Return the number of letters to add, drop or change to make one word of the other (Levenshtein)."""
    if abs(len(left) - len(right)) > 2:
        return max(len(left), len(right))  # too far to matter: all uses ask for two at most
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        previous, row = row, [i]
        for j, b in enumerate(right, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (a != b)))
    return row[-1]
