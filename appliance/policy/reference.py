"""References: names of lists that are kept elsewhere, as annotations and the command line write them.

    reference = "@ssm/" level { "/" level } | "@secret/" name | "@list/" alias

- `@ssm/apps/acme/allow` is the parameter `/apps/acme/allow`, and `@ssm/allow`, of one level, the parameter `allow`.
- `@secret/apps/acme/allow` is the secret `apps/acme/allow`.
- `@list/central` is whatever ARN the settings give that name: of another account or Region.
- The first word is case-insensitive, as are aliases. All else is case-sensitive, as the names of AWS are.

Whoever may edit a Security Group writes these. The characters leave no room for what AWS would take for a version, a
label (`:`) or an ARN, and what AWS itself keeps below `/aws` cannot be named. Everything here is pure.

Source: Systems Manager API reference, PutParameter; Secrets Manager API reference, CreateSecret.
"""

import enum
import re
from dataclasses import dataclass

from appliance.errors import InvalidReference
from appliance.policy.fqdn import quote

LEVELS_MAX = 15  # of a parameter's name
PARAMETER_MAX = 1011  # characters of a parameter's name
SECRET_MAX = 512  # characters of a secret's name


class Store(enum.StrEnum):
    """Where a list is kept."""

    PARAMETER = "ssm"
    SECRET = "secret"
    ALIAS = "list"


_ALLOWED = {
    Store.PARAMETER: re.compile(r"[A-Za-z0-9_./-]+", re.ASCII),
    Store.SECRET: re.compile(r"[A-Za-z0-9/_+=.@-]+", re.ASCII),
    Store.ALIAS: re.compile(r"[a-z0-9-]{1,64}", re.ASCII | re.IGNORECASE),
}
_CHARACTERS = {
    Store.PARAMETER: "a parameter's name is made of letters, digits, '_', '.', '-' and '/'",
    Store.SECRET: "a secret's name is made of letters, digits and '/_+=.@-'",
    Store.ALIAS: "such a name is made of 1 to 64 letters, digits and '-'",
}
# What people write for the store they mean.
_MEANT = {
    **{each.value: each for each in Store},
    "parameter": Store.PARAMETER,
    "parameters": Store.PARAMETER,
    "parameterstore": Store.PARAMETER,
    "parameter-store": Store.PARAMETER,
    "param": Store.PARAMETER,
    "secrets": Store.SECRET,
    "secretsmanager": Store.SECRET,
    "secrets-manager": Store.SECRET,
    "lists": Store.ALIAS,
}
_HEAD = re.compile(r"@?([a-z-]*)([/:=.]*)(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)
_GENERAL = "write @ssm/NAME for a parameter, @secret/NAME for a secret, or @list/NAME for one that the settings name"
_ARN_HINT = "give the ARN a name in the configuration ([lists] arns), and write @list/NAME"


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A list. `name`: as AWS has it, so that a parameter of several levels begins with a slash; an alias is lower-case.

    `parse` is the only way in for text.
    """

    store: Store
    name: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Return the list that `text` refers to.

        Raises:
            InvalidReference: it refers to none. The hint holds the correction, where one can be told.
        """
        word, slash, rest = text.removeprefix("@").partition("/")
        store = next((each for each in Store if each == word.lower()), None) if word.isascii() else None
        if not text.startswith("@") or store is None or not slash or not rest:
            raise _explain(text)
        name = rest.lower() if store is Store.ALIAS else rest
        if not _ALLOWED[store].fullmatch(name):
            raise InvalidReference(f"{quote(text)} refers to no list", hint=_CHARACTERS[store])
        if store is Store.PARAMETER:
            name = _parameter(text, name)
        elif store is Store.SECRET and len(name) > SECRET_MAX:
            raise InvalidReference(f"{quote(text)} is too long", hint=f"a secret's name has {SECRET_MAX} at most")
        return cls(store, name)

    def __str__(self) -> str:
        return f"@{self.store}/{self.name.removeprefix('/') if self.store is Store.PARAMETER else self.name}"


def is_meant_as_reference(text: str) -> bool:
    """Tell whether a text of a list of names was plainly meant to refer to a list, rightly or not."""
    if text.startswith("@"):
        return True
    if text[:4].lower() == "arn:":
        return True
    match = _HEAD.fullmatch(text)
    return bool(match and match[1].lower() in _MEANT and match[2].startswith("/") and match[3])


def _parameter(text: str, name: str) -> str:
    levels = name.split("/")
    if not all(levels):
        raise InvalidReference(
            f"{quote(text)} has an empty level", hint=f"write @ssm/{'/'.join(filter(None, levels)) or 'NAME'}"
        )
    if len(levels) > LEVELS_MAX or len(name) >= PARAMETER_MAX:
        limit = f"a parameter's name has {LEVELS_MAX} levels and {PARAMETER_MAX} characters at most"
        raise InvalidReference(f"{quote(text)} is too long", hint=limit)
    if levels[0].lower() == "aws":
        raise InvalidReference(f"{quote(text)} is a parameter of AWS's own", hint="refer to a parameter of yours")
    return f"/{name}" if len(levels) > 1 else name


def _explain(text: str) -> InvalidReference:
    """Say what was probably meant."""
    message = f"{quote(text)} refers to no list"
    if text.removeprefix("@")[:4].lower() == "arn:":
        return InvalidReference(f"{quote(text)} is an ARN", hint=_ARN_HINT)
    match = _HEAD.fullmatch(text)
    store = _MEANT.get(match[1].lower()) if match else None
    if match is None or store is None:
        return InvalidReference(message, hint=_GENERAL)
    right = f"@{store}/{match[3].strip('/') or 'NAME'}"
    try:
        Reference.parse(right)
    except InvalidReference:
        return InvalidReference(message, hint=_GENERAL)
    return InvalidReference(message, hint=f"write {right}")
