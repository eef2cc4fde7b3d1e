"""Domain names as tuples of labels, so that no comparison can split a label.

Source: RFC 1035 section 2.3.4 (sizes), RFC 4343 (case), RFC 5890 section 2.3.1 (LDH label).
Everything here is pure. `Fqdn.parse` is the only way in for text, whoever wrote it: a user in an
annotation, or a client in its server_name.

Departures from the RFCs: an underscore is accepted wherever a letter is, for hosts that have one
do exist; a name of a single label is refused, for it is never public; so is a name whose last label
is a number, for software disagrees on whether that is a name or an address (ours).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import InvalidName

LABEL_MAX = 63  # octets
NAME_MAX = 253  # characters: 255 octets on the wire, less the root label and the first length octet

_LABEL = rf"[a-z0-9_](?:[a-z0-9_-]{{0,{LABEL_MAX - 2}}}[a-z0-9_])?"
_NUMBER = r"(?:[0-9]+|0x[0-9a-f]*)"  # what inet_aton() takes for the last part of an address
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?!{_NUMBER}\.?\Z){_LABEL}\.?", re.ASCII | re.IGNORECASE)

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)
_ADDRESS = re.compile(rf"{_NUMBER}(?:\.{_NUMBER})+(?:/[0-9]*)?", re.ASCII | re.IGNORECASE)
_ADDRESS_V6 = re.compile(r"\[?[0-9a-f:.]+\]?(?:/[0-9]*)?", re.ASCII | re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9_.-]+", re.ASCII | re.IGNORECASE)
_STRANGE = re.compile(r"[^a-z0-9_.-]", re.ASCII | re.IGNORECASE)

_SHOWN = 64  # characters of a user's text repeated in a message


@dataclass(frozen=True, slots=True, order=True)
class Fqdn:
    """A fully qualified domain name.

    `labels`: left to right, lower-case, without the root label; never fewer than two.
    """

    labels: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Fqdn":
        """Return the name written as `text`, in lower case and without its trailing dot.

        Raises:
            InvalidName: it is not a name we accept. The hint holds the correction, where one can be told.
        """
        if len(text) > NAME_MAX + 1 or _NAME.fullmatch(text) is None or len(text.removesuffix(".")) > NAME_MAX:
            raise _explain(text)
        return cls(tuple(text.lower().removesuffix(".").split(".")))

    def __str__(self) -> str:
        return ".".join(self.labels)

    # The generated methods wrap the labels in another tuple each time, and a name is hashed for every flow.
    def __hash__(self) -> int:
        return hash(self.labels)

    def __reduce__(self) -> "tuple[Callable[[tuple[str, ...]], Fqdn], tuple[tuple[str, ...]]]":
        return Fqdn, (self.labels,)


def is_name(text: str) -> bool:
    """Tell whether a text is a name, as `Fqdn.parse` has it."""
    try:
        Fqdn.parse(text)
    except InvalidName:
        return False
    return True


def quote(text: str) -> str:
    """Return `text` in quotation marks, shortened to what a message has room for."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


def _explain(text: str) -> InvalidName:
    """Tell what is wrong with a name: a list of refusals, the likeliest mistakes first."""
    shown = quote(text)
    if not text or text == ".":
        return InvalidName("the name is empty", hint="remove the extra comma, or write the name that is missing")
    if not text.isascii():
        return InvalidName(
            f"{shown} has a character outside ASCII",
            hint="write an internationalised name as DNS does, with labels that begin with xn--",
        )
    name = text.removesuffix(".")
    if len(name) > NAME_MAX:  # and from here on the work is bounded
        return InvalidName(f"{shown} is {len(name)} characters long", hint=f"a name has {NAME_MAX} at most")
    if scheme := _SCHEME.match(text):
        return InvalidName(f"{shown} is a URL", hint=_name_alone(text[scheme.end() :]))
    if _ADDRESS.fullmatch(text) or (text.count(":") > 1 and _ADDRESS_V6.fullmatch(text)):
        return InvalidName(
            f"{shown} is an address, not a name",
            hint="write the name that clients connect to; addresses are narrowed by the rule's own destination",
        )
    if "*" in text or "?" in text:
        return InvalidName(f"{shown} is a pattern, not a name", hint=_names_instead(text))
    if ":" in text:
        return InvalidName(f"{shown} has a port", hint=f"{_name_alone(text)}; the port is the rule's own")
    if "/" in text:
        return InvalidName(f"{shown} has a path", hint=_name_alone(text))
    if strange := _STRANGE.search(text):
        return InvalidName(
            f"{shown} has the character {strange[0]!r}", hint="a name is made of letters, digits, '-', '_' and '.'"
        )
    labels = name.split(".")
    for label in labels:
        if not label:
            return InvalidName(
                f"{shown} has an empty label", hint="write one dot between two labels, and none in front"
            )
        if len(label) > LABEL_MAX:
            return InvalidName(
                f"{shown} has a label of {len(label)} characters", hint=f"a label has {LABEL_MAX} at most"
            )
        if label.startswith("-") or label.endswith("-"):
            return InvalidName(f"{shown} has the label {label!r}", hint="a label neither begins nor ends with '-'")
    if len(labels) == 1:
        return InvalidName(f"{shown} is a single label", hint=f"write the full name, such as {name}.example.com")
    return InvalidName(f"{shown} ends in a number", hint="write the full name: no top-level domain is a number")


def _name_alone(text: str) -> str:
    """Hint at the name in the authority that `text` begins with: RFC 3986 section 3.2."""
    host = _HOST.match(text.partition("/")[0].rpartition("@")[2])
    return f"write the name alone: {host[0]}" if host else "write the name alone"


def _names_instead(pattern: str) -> str:
    base = pattern.rpartition("*")[2].rpartition("?")[2].lstrip(".-") or "example.com"
    return f"write one name, such as www.{base}"
