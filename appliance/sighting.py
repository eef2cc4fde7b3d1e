"""Sightings: lines of the flow log that tell of something only see-thru let pass.

A line is nobody's promise: a workload chooses the name in it, and a file may be anybody's work. What is not exactly a
flow event of ours is unread; a name is a name only if annotations take it. Everything here is pure.

Source: appliance/event.py has the fields.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from appliance.address import Ipv4, parse_ipv4
from appliance.errors import InvalidAddress, InvalidName
from appliance.lint import DESCRIPTION_MAX
from appliance.policy.annotation import KEYWORD, Protocol
from appliance.policy.fqdn import Fqdn
from appliance.policy.resolvers import is_public_resolver
from appliance.reason import REASON_TEXT, Reason

DEFAULT_GROUP: Final = "%default"  # the gid of see-thru that the preferences grant
LINE_MAX: Final = 65_536  # octets; no flow event has so many
NAME_MAX: Final = DESCRIPTION_MAX - len(f"{KEYWORD}:tls:")  # characters that a description has room for
SHOWN_MAX: Final = 80  # characters of a destination that is no name

GROUP = re.compile(r"sg-[0-9a-z]{1,40}", re.ASCII)

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_TOO_OLD = {"SSL 3.0", "TLS 1.0", "TLS 1.1"}

# What a rule for the name mends. Of a flow whose port or client has no rule nothing more is known than its name.
_MENDED = {Reason.CLIENT_NOT_ANNOTATED, Reason.PORT_NOT_LISTED, Reason.NAME_NOT_LISTED, Reason.NOT_SSH}

_NO_RULE = "nothing to list: only TLS and SSH over TCP can be"
_HINTS = {
    Reason.ECH: "switch ECH off in the client, or allow it: ech in the preferences",
    Reason.QUIC: "nothing to list: refused, the client falls back to TLS over TCP, which is logged by its name",
    Reason.PROTOCOL_NOT_SUPPORTED: _NO_RULE,
    Reason.DESTINATION_NOT_IN_RULE: "a rule lists the name for other destinations: make its destination 0.0.0.0/0",
    Reason.ADDRESS_MISMATCH: "it is listed, and the client has an address of it that the VPC's resolver does not give",
    Reason.NAME_UNRESOLVED: "it is listed, and the VPC's resolver gives no address for it",
    Reason.RULE_REMOVED: "a rule listed it, and is gone: put it back if that was a mistake",
    Reason.ANSWER_PRIVATE: "it is listed, and the VPC's resolver gives private addresses for it",
}
_LOOK = "no rule mends it: look at the client, and at the server"


@dataclass(frozen=True, slots=True)
class Unlistable:
    """Why a flow cannot become a rule, and what to do."""

    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """One flow of a client that only see-thru let pass.

    `time`: as the log has it, `2027-01-05T09:12:44.317Z`, so that the texts compare as the times do.
    `group`: whose see-thru it was, `sg-...` or DEFAULT_GROUP.
    `host`: where to, as it may be shown: a name, an address, or what was given for either, cut and quoted.
    `name`: what a rule would list; or why none would.
    """

    time: str
    client: Ipv4
    group: str
    protocol: str
    port: int
    host: str
    name: Fqdn | Unlistable


class Unread(Exception):
    """A line that is not a flow event as the appliance writes it."""


def read_sighting(line: bytes | str) -> Sighting | None:
    """Return what a line of the flow log tells; None for an event about something else.

    Raises:
        Unread: it is no flow event.
    """
    event = _parse(line)
    if event.get("see_thru_exerted") is not True or event.get("cat") != "client":
        if not isinstance(event.get("dhost"), str):
            raise Unread
        return None
    time, group, protocol = (_text(event, field) for field in ("time", "see_thru_gid", "proto"))
    if not (is_time(time) and (group == DEFAULT_GROUP or GROUP.fullmatch(group))):
        raise Unread
    if protocol not in {"tls", "ssh", "http", "unknown"}:
        raise Unread
    port = event.get("dpt")
    if type(port) is not int or not 0 <= port <= 65_535:
        raise Unread
    host = _text(event, "dhost")
    try:
        client, server = parse_ipv4(_text(event, "src")), _text(event, "dst")
        parse_ipv4(server)
        code = Reason(_text(event, "code"))
    except (InvalidAddress, ValueError) as fault:
        raise Unread from fault
    version = _text(event, "proto_v")
    name = _listable(host, server, protocol=protocol, version=version, port=port, code=code)
    shown = str(name) if isinstance(name, Fqdn) else host if host == server else _shorten(host)
    return Sighting(time, client, group, protocol, port, shown, name)


def is_time(text: str) -> bool:
    """Tell whether a text is a time as the log writes it."""
    if _TIME.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def write_time(time: datetime) -> str:
    """Return a time as the log writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03}Z"


def _parse(line: bytes | str) -> dict[str, object]:
    if len(line) > LINE_MAX:
        raise Unread
    try:
        event: object = json.loads(line)
    except (ValueError, RecursionError) as fault:  # UnicodeDecodeError is a ValueError
        raise Unread from fault
    if not isinstance(event, dict):
        raise Unread
    return event


def _text(event: dict[str, object], field: str) -> str:
    value = event.get(field)
    if not isinstance(value, str):
        raise Unread
    return value


def _listable(host: str, server: str, *, protocol: str, version: str, port: int, code: Reason) -> Fqdn | Unlistable:
    """Return the name to list, or why there is none: a straight list of refusals."""
    if protocol == "http":
        return Unlistable("plaintext HTTP", "have the client use https://, which is logged by its name")
    if code not in _MENDED and code in _HINTS:
        return Unlistable(REASON_TEXT[code], _HINTS[code])
    if protocol == "ssh" and host == server:
        hint = f"find the name the client connects to, and list it: {KEYWORD}:ssh:NAME on port {port}"
        return Unlistable("SSH carries no name", hint)
    if protocol not in set(Protocol):
        return Unlistable("neither TLS nor SSH", _NO_RULE)
    if code not in _MENDED:
        return Unlistable(REASON_TEXT[code], _LOOK)
    if version in _TOO_OLD:
        return Unlistable(REASON_TEXT[Reason.TLS_TOO_OLD], "have the client use TLS 1.2 or newer")
    if host == server:
        return Unlistable("TLS without a name", "have the client connect by the server's name, not by its address")
    try:
        name = Fqdn.parse(host)
    except InvalidName:
        return Unlistable(
            "not a name that can be listed", "rules list full names, such as api.example.com: look at the client"
        )
    if protocol == Protocol.TLS and is_public_resolver(name):
        return Unlistable(
            "a resolver that answers anybody",
            "data can leave in questions to it: have the client ask the VPC's; where it is meant, list it by hand",
        )
    if len(str(name)) > NAME_MAX:
        return Unlistable("longer than a description has room for", f"find a name of {NAME_MAX} characters at most")
    return name if port else Unlistable("port 0", _NO_RULE)


def _shorten(text: str) -> str:
    """Return a text of a stranger in printable ASCII, and not all of it if it is long."""
    shown = text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 3]}..."
    return ascii(shown)
