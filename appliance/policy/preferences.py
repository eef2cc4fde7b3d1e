"""Preferences: what holds for a whole deployment, as JSON in one parameter, and read again while everything runs.

    {"%default": {"flow_log_verbosity": "full", "see_thru": null, "ech": "deny", "clients": [], "syn_gate": "off",
                  "wildcard_exposure": "prohibit_public_suffix"}}

- The fields of `Preferences` are the one table of keys: type, default, meaning. The reader, the JSON Schema and the
  texts come from it, so that a new preference is one field and, where its values are of a new kind, one kind.
- An absent key has its default. An unknown one is ignored, with a warning.
- What cannot be understood changes nothing: a bad value leaves the one before it, a text that is not such a document
  leaves them all. Each fault is reported with what to write.
- To a worker they travel as JSON values: a network is a compiled object, which cannot be unpickled.

Everything here is pure.
"""

import dataclasses
import difflib
import enum
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import cast

from appliance.address import Network
from appliance.errors import PolicyError
from appliance.policy.exposure import Exposure
from appliance.policy.fqdn import quote
from appliance.policy.kind import Choice, Kind, LastDay, Networks, PrivateNetworks, Seconds, UrlPrefixes
from appliance.policy.policy import Change, SeeThruGrant

PROFILE = "%default"  # the one part of the document that is read, and the giver of its see-thru grant
TEXT_MAX = 8192  # octets of an SSM parameter in the Advanced tier; in the Standard tier half as many
PROBLEMS_MAX = 20  # reported of one text
VALUE_SHOWN = 100  # characters


class Verbosity(enum.StrEnum):
    """Which flow events are written."""

    FULL = "full"
    ONLY_DISALLOWED = "only_disallowed"
    NONE = "none"

    @property
    def outcomes(self) -> frozenset[str]:
        """The outcomes whose events are written."""
        return _OUTCOMES[self]


_OUTCOMES = {
    Verbosity.FULL: frozenset({"allowed", "disallowed"}),
    Verbosity.ONLY_DISALLOWED: frozenset({"disallowed"}),
    Verbosity.NONE: frozenset[str](),
}


class Ech(enum.StrEnum):
    """What becomes of hellos whose real name is encrypted."""

    DENY = "deny"
    ALLOW = "allow"


class Gating(enum.StrEnum):
    """Whether SYNs to annotated ports go out to addresses of listed names alone."""

    OFF = "off"
    ON = "on"


class Crls(enum.StrEnum):
    """What becomes of plaintext requests for the revocation lists of public CAs."""

    IGNORE = "ignore"
    ALLOW = "allow"


def _row(kind: Kind, help_text: str) -> dict[str, object]:
    """Return the metadata of a preference. Its default is the safe value."""
    return {"kind": kind, "help": help_text}


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences: each field is a key of the document."""

    flow_log_verbosity: Verbosity = field(
        default=Verbosity.FULL,
        metadata=_row(Choice(Verbosity), "which flow events are written; the config log is always written"),
    )
    see_thru: date | None = field(
        default=None,
        metadata=_row(LastDay(), "last day (UTC) on which every known client may reach anything, logged as refused"),
    )
    ech: Ech = field(
        default=Ech.DENY,
        metadata=_row(Choice(Ech), "whether hellos pass whose real name is encrypted"),
    )
    clients: tuple[Network, ...] = field(
        default=(),
        metadata=_row(
            Networks(),
            "CIDR blocks that count as the VPC's own, such as one it got after the start; an address that no "
            "network interface of the VPC has is refused all the same (`client_unknown`)",
        ),
    )
    syn_gate: Gating = field(
        default=Gating.OFF,
        metadata=_row(
            Choice(Gating),
            "whether a SYN goes out to addresses of listed names alone (`address_not_listed`), rather than to any "
            "address on an annotated port until the hello is read",
        ),
    )
    wildcard_exposure: Exposure = field(
        default=Exposure.PROHIBIT_PUBLIC_SUFFIX,
        metadata=_row(
            Choice(Exposure),
            "which patterns count: none, those without an asterisk, those too that have one and match no name that "
            "anybody could register (by the Public Suffix List), or all",
        ),
    )

    x509_crls: Crls = field(
        default=Crls.IGNORE,
        metadata=_row(
            Choice(Crls),
            "whether every known client may fetch revocation lists of public CAs, and ask their OCSP responders, over "
            "plaintext HTTP, port 80 (`crl_listed`, `ocsp_listed`)",
        ),
    )
    x509_crl_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_row(
            UrlPrefixes(),
            "hosts of a CA of one's own, for `x509_crls` to cover as well: `host`, or `host/path` where its lists are "
            "below a path, and its responder at it; names in full, 32 at most",
        ),
    )
    private_destinations: tuple[Network, ...] = field(
        default=(),
        metadata=_row(
            PrivateNetworks(),
            "private networks that annotated rules may reach, such as a peered VPC's; what is the VPC's own, or in "
            "`clients`, stays closed, and see-thru does not cover them",
        ),
    )
    grace: float | None = field(
        default=None,
        metadata=_row(Seconds(0, 604800), "seconds an address is believed beyond its TTL; null: what the settings say"),
    )
    policy_poll_interval: float | None = field(
        default=None,
        metadata=_row(Seconds(1, 600), "seconds between two readings of AWS; null: what the settings say"),
    )
    preferences_interval: float | None = field(
        default=None,
        metadata=_row(Seconds(1, 600), "seconds between two readings of this; null: what the settings say"),
    )

    @property
    def grant(self) -> SeeThruGrant | None:
        """The see-thru grant to every client that is known."""
        return None if self.see_thru is None else SeeThruGrant(self.see_thru, PROFILE)

    def __reduce__(self) -> "tuple[Callable[[dict[str, object]], Preferences], tuple[dict[str, object]]]":
        return _restore, (write_preferences(self),)


DEFAULTS = Preferences()
_FIELDS = {row.name: row for row in dataclasses.fields(Preferences)}


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of the document. `key`: empty where it is about the whole. `value`: as JSON, cut to what can be read."""

    key: str
    value: str
    message: str
    hint: str
    is_warning: bool = False  # nothing that was asked for is left undone

    @property
    def change(self) -> Change:
        """The fault as the config log tells it."""
        what = " ".join(filter(None, ["preferences:", self.key, self.value, self.message]))
        return Change("error", "ignored" if self.is_warning else "rejected", reason=f"{what}; {self.hint}")


def parse_preferences(text: str, previous: Preferences) -> tuple[Preferences, tuple[Problem, ...]]:
    """Return the preferences that a text expresses, and what is wrong with it. Never raises.

    Args:
        previous: stands in for what cannot be understood.
    """
    try:
        profile, problems = _read_document(text)
    except PolicyError as error:
        return previous, (Problem("", "", error.message, error.hint),)
    values: dict[str, object] = {}
    for key, value in profile.items():
        row = _FIELDS.get(key)
        if row is None:
            near = difflib.get_close_matches(key, _FIELDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"the known keys are {', '.join(_FIELDS)}"
            problems.append(Problem(quote(key), "", "is unknown, and ignored", hint, is_warning=True))
            continue
        try:
            values[key] = _kind(row).read(value)
        except PolicyError as error:
            values[key] = getattr(previous, key)
            kept = _show(_kind(row).write(values[key]))
            problems.append(Problem(key, _show(value), f"{error.message}, and {kept} stays in force", error.hint))
    problems.sort(key=lambda problem: problem.is_warning)
    more = len(problems) - PROBLEMS_MAX
    if more > 0:
        problems[PROBLEMS_MAX:] = [Problem("", "", f"{more} more faults", "correct these first")]
    return _construct(values), tuple(problems)


def _read_document(text: str) -> tuple[Mapping[str, object], list[Problem]]:
    """Return the part of a document that is read, and warnings about the rest.

    Raises:
        PolicyError: there is no such part.
    """
    shape = f'write {{"{PROFILE}": {{...}}}}'
    octets = len(text.encode(errors="replace"))
    if octets > TEXT_MAX:
        raise PolicyError(f"the text has {octets} octets", hint=f"shorten it to {TEXT_MAX}")
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise PolicyError("the text is nested too deeply", hint=shape) from None
    except json.JSONDecodeError as error:
        raise PolicyError(f"the text is not JSON: {error}", hint=shape) from None
    except ValueError:
        raise PolicyError("the text has a number of thousands of digits", hint=shape) from None
    if not isinstance(document, dict):
        raise PolicyError(f"the text is not a JSON object but {_show(document)}", hint=shape)
    profile = document.pop(PROFILE, None)
    if not isinstance(profile, dict):
        found = "there is no" if profile is None else f"{_show(profile)} is no JSON object as"
        raise PolicyError(f"{found} {PROFILE}", hint=shape)
    ignored = [
        Problem(quote(key), "", "stands where nothing is read", f"put it into {PROFILE}", is_warning=True)
        for key in document
    ]
    return profile, ignored


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object. Of a key that stands twice, nobody knows which one was meant."""
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in members if keys.count(key) > 1)
        raise PolicyError(f"{quote(twice)} stands twice", hint="remove one of the two")
    return members


def diff_preferences(old: Preferences, new: Preferences) -> Iterator[Change]:
    """Yield what changed, as the config log tells it; the see-thru grant also as one of a Security Group would be."""
    for name, row in _FIELDS.items():
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            write = _kind(row).write
            yield Change("preferences", "accepted", reason=f"{name}: {_show(write(after))}, was {_show(write(before))}")
    if old.grant != new.grant:
        for outcome, grant in (("removed", old.grant), ("accepted", new.grant)):
            if grant is not None:
                yield Change("see-thru", outcome, gid=grant.gid, reason=f"until {grant.until.isoformat()}")


def state_preferences(preferences: Preferences) -> str:
    """Return all of the preferences in one line."""
    return ", ".join(f"{name}: {_show(value)}" for name, value in write_preferences(preferences).items())


def write_preferences(preferences: Preferences) -> dict[str, object]:
    """Return the values as JSON has them."""
    return {name: _kind(row).write(getattr(preferences, name)) for name, row in _FIELDS.items()}


def _restore(written: dict[str, object]) -> Preferences:
    """Return the preferences that were written like this."""
    return _construct({name: _kind(_FIELDS[name]).read(value) for name, value in written.items()})


def _construct(values: Mapping[str, object]) -> Preferences:
    construct: Callable[..., Preferences] = Preferences  # each value has been read by its field's kind
    return construct(**values)


def preferences_schema() -> dict[str, object]:
    """Return the JSON Schema of a document in which there is nothing to report."""
    properties = {
        name: {
            "description": row.metadata["help"],
            "default": _kind(row).write(row.default),
            **_kind(row).schema(),
        }
        for name, row in _FIELDS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Preferences of discriminat",
        "type": "object",
        "required": [PROFILE],
        "additionalProperties": False,
        "properties": {PROFILE: {"type": "object", "additionalProperties": False, "properties": properties}},
    }


def _kind(row: "dataclasses.Field[object]") -> Kind:
    return cast("Kind", row.metadata["kind"])


def _show(value: object) -> str:
    """Return a JSON value as it is written, cut to VALUE_SHOWN characters."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "..."
    return text if len(text) <= VALUE_SHOWN else f"{text[: VALUE_SHOWN - 3]}..."
