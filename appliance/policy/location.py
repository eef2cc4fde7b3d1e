"""Locations: where AWS keeps a list of names. The settings give aliases for ARNs of other accounts and Regions.

    alias = NAME "=" ARN, of a parameter or of a secret

Everything here is pure.

Source: Service Authorization Reference, resource types `parameter` and `secret`.
"""

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.errors import InvalidReference
from appliance.policy.fqdn import quote
from appliance.policy.reference import Reference, Store


class Service(enum.StrEnum):
    """The services that keep lists, by boto3's names."""

    SSM = "ssm"
    SECRETS = "secretsmanager"


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A parameter or secret. `id`: name or ARN; `region`: empty for the appliance's own."""

    service: Service
    id: str
    region: str = ""


Aliases = Mapping[Reference, Location]

_ARN = re.compile(
    r"arn:aws[a-z-]*:(?:(ssm):([a-z0-9-]+):[0-9]{12}:parameter/[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*"
    r"|(secretsmanager):([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+)",
    re.ASCII,
)
_ARN_MAX = 2048  # characters, as AWS has it


def parse_aliases(texts: Iterable[str]) -> dict[Reference, Location]:
    """Return the ARNs that have a name.

    Raises:
        InvalidReference: a text is not `NAME=ARN`, or two ARNs have the same name.
    """
    aliases: dict[Reference, Location] = {}
    for text in texts:
        name, equals, arn = text.partition("=")
        if not equals:
            raise InvalidReference(f"{quote(text)} is not NAME=ARN", hint="write central=arn:aws:ssm:...:parameter/...")
        reference = Reference.parse(f"@{Store.ALIAS}/{name.strip()}")
        if reference in aliases:
            raise InvalidReference(f"{reference} is two ARNs", hint="give each ARN a name of its own")
        aliases[reference] = _parse_arn(arn.strip())
    return aliases


def locate(reference: Reference, aliases: Aliases) -> Location | None:
    """Return where a list is kept; None for an alias that nobody has given an ARN."""
    match reference.store:
        case Store.PARAMETER:
            return Location(Service.SSM, reference.name)
        case Store.SECRET:
            return Location(Service.SECRETS, reference.name)
        case _:
            return aliases.get(reference)


def _parse_arn(arn: str) -> Location:
    match = _ARN.fullmatch(arn) if len(arn) <= _ARN_MAX else None
    if match is None:
        raise InvalidReference(
            f"{quote(arn)} is no ARN of a parameter or secret",
            hint="write arn:aws:ssm:REGION:ACCOUNT:parameter/NAME or arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME",
        )
    if match[1]:
        return Location(Service.SSM, arn, match[2])
    return Location(Service.SECRETS, arn, match[4])
