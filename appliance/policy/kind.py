"""Kinds of values that a preference may have: how each is written in JSON, and what is said of one that is not.

Everything here is pure.
"""

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol, cast

from appliance.address import Network
from appliance.errors import InvalidName, PolicyError
from appliance.policy.day import parse_day
from appliance.policy.fqdn import NAME_MAX, Fqdn, quote

NETWORK_LENGTH_MIN = 8  # no VPC, and nobody's private network, is wider
URLS_MAX = 32  # hosts of a CA of one's own, with their paths
_PATH_MAX = 100  # characters


class Kind(Protocol):
    """A kind of value: how it is written in JSON."""

    def read(self, value: object) -> object:
        """Return what a JSON value stands for.

        Raises:
            PolicyError: it is no such value. The message goes on after the value.
        """

    def write(self, value: object) -> object:
        """Return a value as JSON has it."""

    def schema(self) -> Mapping[str, object]:
        """Return the JSON Schema of what `read` takes."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    members: type[enum.StrEnum]

    def read(self, value: object) -> enum.StrEnum:
        """Return the member that is written like this."""
        for member in self.members:
            if value == member:
                return member
        words = [json.dumps(str(member)) for member in self.members]
        raise PolicyError("is not a choice", hint=f"write {', '.join(words[:-1])} or {words[-1]}")

    def write(self, value: object) -> object:
        """Return the word."""
        return str(value)

    def schema(self) -> Mapping[str, object]:
        """Return the words."""
        return {"enum": [str(member) for member in self.members]}


@dataclass(frozen=True, slots=True)
class LastDay:
    """The last day on which something holds; null for never."""

    def read(self, value: object) -> date | None:
        """Return the day."""
        if value is None:
            return None
        if not isinstance(value, str):
            raise PolicyError("is not a date", hint='write the last day, such as "2027-01-31", or null')
        try:
            return parse_day(value)
        except PolicyError as error:
            raise PolicyError("is not a day of the calendar, as YYYY-MM-DD", hint=error.hint) from None

    def write(self, value: object) -> object:
        """Return the day in the form that `read` takes."""
        return value.isoformat() if isinstance(value, date) else None

    def schema(self) -> Mapping[str, object]:
        """Return the form of a date."""
        return {"type": ["string", "null"], "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}


@dataclass(frozen=True, slots=True)
class Networks:
    """IPv4 networks, as CIDR blocks."""

    def read(self, value: object) -> tuple[Network, ...]:
        """Return the networks, without repetitions."""
        example = 'write a list of CIDR blocks, such as ["10.1.0.0/16"]'
        if not isinstance(value, list):
            raise PolicyError("is not a list", hint=example)
        networks: dict[Network, None] = {}
        for item in value:
            if not isinstance(item, str):
                raise PolicyError("has an item that is not a text", hint=example)
            try:
                network = Network.parse(item)
            except PolicyError as error:
                raise PolicyError(f"has an item that is not a network: {quote(item)}", hint=error.hint) from None
            if network.length < NETWORK_LENGTH_MIN:
                hint = "write the networks that the workloads are in"
                raise PolicyError(f"has a network wider than /{NETWORK_LENGTH_MIN}: {quote(item)}", hint=hint)
            networks[network] = None
        return tuple(networks)

    def write(self, value: object) -> object:
        """Return the CIDR blocks."""
        return [str(network) for network in cast("tuple[Network, ...]", value)]

    def schema(self) -> Mapping[str, object]:
        """Return the form of a CIDR block."""
        octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
        block = rf"^{octet}(\.{octet}){{3}}/([89]|[12][0-9]|3[0-2])$"
        return {"type": "array", "items": {"type": "string", "pattern": block}}


_PRIVATE_BLOCKS = tuple(map(Network.parse, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")))


@dataclass(frozen=True, slots=True)
class PrivateNetworks:
    """IPv4 networks that somebody may have of his own; not link-local ones, where metadata services are."""

    def read(self, value: object) -> tuple[Network, ...]:
        """Return the networks, without repetitions."""
        networks = Networks().read(value)
        for network in networks:
            if not any(network.address in block and network.length >= block.length for block in _PRIVATE_BLOCKS):
                blocks = ", ".join(map(str, _PRIVATE_BLOCKS))
                raise PolicyError(f"has a network that is not private: {network}", hint=f"write networks in {blocks}")
        return networks

    def write(self, value: object) -> object:
        """Return the CIDR blocks."""
        return Networks().write(value)

    def schema(self) -> Mapping[str, object]:
        """Return the form of a CIDR block in one that is private."""
        octet = r"(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]))"
        blocks = (
            rf"10{octet}{{3}}/([89]|[12][0-9]|3[0-2])",
            rf"100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7]){octet}{{2}}/([12][0-9]|3[0-2])",
            rf"172\.(1[6-9]|2[0-9]|3[01]){octet}{{2}}/(1[2-9]|2[0-9]|3[0-2])",
            rf"192\.168{octet}{{2}}/(1[6-9]|2[0-9]|3[0-2])",
        )
        return {"type": "array", "items": {"type": "string", "pattern": f"^({'|'.join(blocks)})$"}}


@dataclass(frozen=True, slots=True)
class Seconds:
    """A time in seconds; null for what the settings of each appliance say."""

    least: int
    most: int

    def read(self, value: object) -> float | None:
        """Return the time."""
        if value is None:
            return None
        hint = f"write a number of seconds, {self.least} to {self.most}, or null"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PolicyError("is not a number", hint=hint)
        if not self.least <= value <= self.most:
            raise PolicyError("is out of bounds", hint=hint)
        return float(value)

    def write(self, value: object) -> object:
        """Return the number, as people write it."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def schema(self) -> Mapping[str, object]:
        """Return the bounds."""
        return {"type": ["number", "null"], "minimum": self.least, "maximum": self.most}


_PATH = re.compile(r"(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)*[A-Za-z0-9_~-][A-Za-z0-9._~-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class UrlPrefixes:
    """Hosts, each with what the paths of its URLs begin with, or without; never a pattern."""

    def read(self, value: object) -> tuple[str, ...]:
        """Return the hosts in lower case, with their paths if any, without a slash at the end and repetitions."""
        example = 'write a list of hosts, such as ["pki.example.com/CertEnroll"]'
        if not isinstance(value, list):
            raise PolicyError("is not a list", hint=example)
        if len(value) > URLS_MAX:
            raise PolicyError(f"has {len(value)} items", hint=f"write {URLS_MAX} at most")
        prefixes: dict[str, None] = {}
        for item in value:
            if not isinstance(item, str):
                raise PolicyError("has an item that is not a text", hint=example)
            host, _, path = item.partition("/")
            path = path[:-1] if len(path) > 1 and path.endswith("/") else path
            try:
                name = str(Fqdn.parse(host))
            except InvalidName as error:
                raise PolicyError(f"has an item whose host is not a name: {quote(item)}", hint=error.hint) from None
            if path and (len(path) > _PATH_MAX or _PATH.fullmatch(path) is None):
                hint = f"write {_PATH_MAX} plain characters at most, such as pki.example.com/CertEnroll"
                raise PolicyError(f"has an item whose path is not plain: {quote(item)}", hint=hint)
            prefixes[f"{name}/{path}" if path else name] = None
        return tuple(prefixes)

    def write(self, value: object) -> object:
        """Return the hosts and paths."""
        return list(cast("tuple[str, ...]", value))

    def schema(self) -> Mapping[str, object]:
        """Return the form of a host and a path."""
        label = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
        word = "[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
        last = rf"(?!([0-9]+|0[xX][0-9a-fA-F]*)\.?(/|$)){label}\.?"
        item = rf"^(?=[^/]{{1,{NAME_MAX}}}\.?(/.{{0,{_PATH_MAX}}}/?)?$)({label}\.)+{last}(/(({word}/)*{word}/?)?)?$"
        return {"type": "array", "maxItems": URLS_MAX, "items": {"type": "string", "pattern": item}}
