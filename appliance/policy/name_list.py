"""Lists of names that are kept elsewhere: what they hold, and what an annotation gains by them.

    list = { [ entry ] [ "#" comment ] ( "," | newline ) }, with spaces, tabs and carriage returns around anything

- A bad entry grants nothing and is reported with its line; its neighbours stand. Nothing in a list refers to another.
- What a secret holds is never repeated: it may be the wrong secret, with a password in it. Of its faults the line is
  told, and words of ours.
- A text that is not a list at all is refused as a whole, and the caller keeps what it had.

Everything here is pure, and never raises but for the texts of the last kind.

Source: Secrets Manager API reference, SecretString (65,536 octets); Systems Manager has room for 8,192.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from appliance.errors import InvalidList, InvalidName
from appliance.policy.annotation import Allow, Fault, Protocol
from appliance.policy.exposure import Guard
from appliance.policy.fqdn import Fqdn, quote
from appliance.policy.pattern import Pattern, is_meant_as_pattern
from appliance.policy.reference import Reference

OCTETS_MAX = 65536
FAULTS_TOLD = 20  # of one list; the others are counted

_UNKNOWN = " holds is not known here"
_BLANKS = " \t\r"
_JSON = 'a list is plain text, one name per line, not key/value pairs: choose "Plaintext" in the console'


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that grants nothing. `line`: from 1; `message` holds nothing of a secret."""

    line: int
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a list holds. `names`, `patterns`: without repetitions, each with its line; `bad`: FAULTS_TOLD at most.

    `is_secret`: what is in it must not be repeated, and is not in its representation.
    """

    names: Mapping[Fqdn, int] = field(repr=False)
    patterns: Mapping[Pattern, int] = field(repr=False)
    bad: tuple[BadEntry, ...] = ()
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class NameList:
    """A list, as it was last read.

    `content`: None where it was never read, or is gone.
    `trouble`: why it could not be read the last time; empty if it could.
    """

    reference: Reference
    content: Content | None
    trouble: str = ""


NameLists = Mapping[Reference, NameList]


@dataclass(frozen=True, slots=True)
class Gain:
    """What an annotation grants, and what of it does not count: each with its fault, and the pattern if it is one."""

    names: set[Fqdn]
    patterns: set[Pattern]
    refused: list[tuple[Fault, str]]


def parse_list(text: str, *, is_secret: bool) -> Content:
    """Return what a list says.

    Raises:
        InvalidList: this is no list, or too long for one. Nothing of the text is in the message.
    """
    if len(text) > OCTETS_MAX or len(text.encode(errors="surrogatepass")) > OCTETS_MAX:
        raise InvalidList(f"it is longer than {OCTETS_MAX} octets", hint="make two lists of it")
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        raise InvalidList("it is a JSON object", hint=_JSON)
    names: dict[Fqdn, int] = {}
    patterns: dict[Pattern, int] = {}
    bad: list[BadEntry] = []
    more = 0
    for line, entry in _entries(text):
        try:
            if is_meant_as_pattern(entry):
                patterns.setdefault(Pattern.parse(entry), line)
            else:
                names.setdefault(Fqdn.parse(entry), line)
        except InvalidName as error:
            if len(bad) >= FAULTS_TOLD:
                more += 1
            elif is_secret:
                bad.append(BadEntry(line, "an entry is no name", "what a secret holds is not repeated here"))
            elif entry.startswith("@"):
                bad.append(BadEntry(line, f"{quote(entry)} refers to a list", "refer to it in the annotation"))
            else:
                bad.append(BadEntry(line, error.message, error.hint))
    if more:
        bad.append(BadEntry(bad[-1].line, f"{more} more entries behind this are no names", "mend these first"))
    return Content(names, patterns, tuple(bad), is_secret)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a list grants to one protocol: its patterns, and message, hint and shown pattern of each that is refused."""

    patterns: frozenset[Pattern]
    objections: tuple[tuple[str, str, str], ...]  # FAULTS_TOLD at most, and one that counts the others


class Judge:
    """Lists and what their patterns are judged by: each is judged once, however many annotations refer to it."""

    def __init__(self, lists: NameLists, guard: Guard) -> None:
        self._lists = lists
        self._guard = guard
        self._judged: dict[tuple[Protocol, Reference], _Judged] = {}

    def gain(self, annotation: Allow, text: str, counted: set[tuple[Protocol, Reference]]) -> Gain:
        """Return what an annotation of the description `text` grants, with the lists that it refers to.

        Args:
            counted: lists that earlier annotations of the description refer to, which count no more; more are added.
        """
        granted, refused = self._guard.judge(annotation.patterns)
        told = [(Fault(*objection, text, span), str(pattern)) for pattern, span, objection in refused]
        found = Gain(set(annotation.names), set(granted), told)
        for reference, span in annotation.references:
            key = annotation.protocol, reference
            if key in counted:
                continue
            counted.add(key)
            known = self._lists.get(reference)
            for message, hint in _object_to(reference, known):
                told.append((Fault(message, hint, text, span), ""))
            if known is None or known.content is None:
                continue
            if key not in self._judged:
                self._judged[key] = self._judge(reference, known.content, annotation.protocol)
            judged = self._judged[key]
            found.names.update(known.content.names)
            found.patterns.update(judged.patterns)
            told += [(Fault(message, hint, text, span), shown) for message, hint, shown in judged.objections]
        return found

    def _judge(self, reference: Reference, content: Content, protocol: Protocol) -> _Judged:
        granted, objections = [], []
        for pattern, line in content.patterns.items():
            objection = _object_to_pattern(pattern, protocol, self._guard, is_secret=content.is_secret)
            if objection is None:
                granted.append(pattern)
            else:
                message, hint, shown = objection
                objections.append((f"{reference} line {line}: {message}", hint, shown))
        if (more := len(objections) - FAULTS_TOLD) > 0:
            others = f"{reference}: {more} more patterns do not count", "mend the others first", ""
            objections[FAULTS_TOLD:] = [others]
        return _Judged(frozenset(granted), tuple(objections))


def _object_to_pattern(
    pattern: Pattern, protocol: Protocol, guard: Guard, *, is_secret: bool
) -> tuple[str, str, str] | None:
    """Return why a list's pattern grants nothing: message, hint, and the pattern where it may be told."""
    if protocol is not Protocol.TLS:
        shown = "there is a pattern, which" if is_secret else f"{quote(str(pattern))} is a pattern, which"
        hint = "SSH carries no name to compare with it: list each host that is needed"
        return f"{shown} {protocol} cannot have", hint, ""
    objection = guard.object_to(pattern)
    if objection is None:
        return None
    if is_secret:
        hint = "the preference wildcard_exposure is what refuses it; what a secret holds is not repeated here"
        return "a pattern is not allowed", hint, ""
    return objection.message, objection.hint, str(pattern)


def is_unknown(message: str) -> bool:
    """Tell whether a fault is that nobody gave a list; the appliance has all that it needs, or a reason."""
    return message.startswith("what the list @") and message.endswith(_UNKNOWN)


def _object_to(reference: Reference, known: NameList | None) -> Iterator[tuple[str, str]]:
    if known is None:
        yield f"what the list {reference}{_UNKNOWN}", f"give it with --list '{reference}=FILE'"
    elif known.content is None:
        yield f"the list {reference} grants nothing: {known.trouble}", "until it can be read, the rule lacks its names"
    else:
        content = known.content
        if not (content.names or content.patterns or content.bad):
            yield f"the list {reference} is empty", "write a name into it, one per line"
        for each in content.bad:
            yield f"{reference} line {each.line}: {each.message}", each.hint


def _entries(text: str) -> Iterator[tuple[int, str]]:
    """Yield what stands between commas and ends of lines, without comments, with the number of its line."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        for part in line.partition("#")[0].split(","):
            if entry := part.strip(_BLANKS):
                yield number, entry
