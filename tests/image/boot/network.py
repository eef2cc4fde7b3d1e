"""The network: what AWS's answers a machine beside the metadata service and the resolver, which the lab has."""

from typing import Self

from tests.image.boot.clock import Clock
from tests.image.boot.dhcp import Dhcp
from tests.lab.lab import Lab


class Network:
    """DHCP and time; `leases` and `askers` are the addresses that got some."""

    def __init__(self, lab: Lab) -> None:
        self._dhcp = Dhcp(lab.fabric, lab.region)
        self._clock = Clock(lab.fabric)

    @property
    def leases(self) -> list[str]:
        """Addresses that DHCP has given, in order."""
        return self._dhcp.leases

    @property
    def asked_the_time(self) -> list[str]:
        """Who has asked the time, in order."""
        return self._clock.askers

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop answering."""
        self._dhcp.close()
        self._clock.close()
