"""What a user names: a host, and perhaps a port. Everything here is pure."""

from dataclasses import dataclass

from appliance.errors import InvalidAddress
from appliance.policy.fqdn import Fqdn

TLS_PORT, SSH_PORT = 443, 22


@dataclass(frozen=True, slots=True)
class Target:
    """A host and its port. `name`: in lower case, without a trailing dot."""

    name: str
    port: int

    @classmethod
    def parse(cls, text: str, port: int = TLS_PORT) -> "Target":
        """Return what `HOST[:PORT]` says; `port` where it says none.

        Raises:
            InvalidName: it is no name.
            InvalidAddress: its port is none.
        """
        host, colon, number = text.partition(":")
        if colon:
            if not (number.isascii() and number.isdecimal() and 1 <= int(number[:6]) <= 65535):
                raise InvalidAddress(f"{number[:16]!r} is not a port", hint="write a number of 1 to 65535")
            port = int(number)
        return cls(str(Fqdn.parse(host)), port)


@dataclass(frozen=True, slots=True)
class Targets:
    """All that a user names; `other` and `ssh` only if he does."""

    host: Target
    other: Target | None = None
    ssh: Target | None = None

    def __str__(self) -> str:
        named = [target for target in (self.host, self.other, self.ssh) if target is not None]
        return ", ".join(f"{target.name}:{target.port}" for target in named)
