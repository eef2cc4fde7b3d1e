"""The question that `discriminat explain` answers: would this connection be made? Everything here is pure."""

import enum
from dataclasses import dataclass

from appliance.address import Ipv4, parse_ipv4
from appliance.errors import PolicyError
from appliance.policy.fqdn import Fqdn


class Asked(enum.StrEnum):
    """What a connection speaks: a protocol of annotations, or plaintext HTTP, which none lists."""

    TLS = "tls"
    SSH = "ssh"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Question:
    """A connection to explain. `address`: the server's; None if it does not matter."""

    client: Ipv4
    port: int
    protocol: Asked
    name: Fqdn
    address: Ipv4 | None

    @classmethod
    def parse(cls, *, client: str, port: str, protocol: str, name: str, address: str | None) -> "Question":
        """Return the question as it is written on a command line.

        Raises:
            PolicyError: one of the texts is not what it should be.
        """
        if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65535):
            raise PolicyError(f"{port!r} is not a port", hint="write a number of 1 to 65535, such as 443")
        if protocol not in set(Asked):
            raise PolicyError(f"{protocol!r} is not a protocol", hint=f"write {', '.join(Asked)}")
        server = None if address is None else parse_ipv4(address)
        return cls(parse_ipv4(client), int(port), Asked(protocol), Fqdn.parse(name), server)
