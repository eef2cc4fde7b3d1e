"""The question that `discriminat explain` answers: would this connection be made? Everything here is pure."""

from dataclasses import dataclass

from appliance.address import Ipv4, parse_ipv4
from appliance.errors import PolicyError
from appliance.policy.annotation import Protocol
from appliance.policy.fqdn import Fqdn


@dataclass(frozen=True, slots=True)
class Question:
    """A connection to explain. `address`: the server's; None if it does not matter."""

    client: Ipv4
    port: int
    protocol: Protocol
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
        if protocol not in set(Protocol):
            raise PolicyError(f"{protocol!r} is not a protocol", hint=f"write {' or '.join(Protocol)}")
        server = None if address is None else parse_ipv4(address)
        return cls(parse_ipv4(client), int(port), Protocol(protocol), Fqdn.parse(name), server)
