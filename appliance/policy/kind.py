"""Kinds of values that a preference may have: how each is written in JSON, and what is said of one that is not.

Everything here is pure.
"""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol, cast

from appliance.address import Network
from appliance.errors import PolicyError
from appliance.policy.day import parse_day
from appliance.policy.fqdn import quote

NETWORK_LENGTH_MIN = 8  # no VPC, and nobody's private network, is wider


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
