"""The directory: what stands in for DNS where there is only a capture to go by. Everything here is pure."""

from collections.abc import Mapping
from ipaddress import IPv6Address

from appliance.address import Ipv4, parse_ipv4
from appliance.errors import PolicyError
from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn

_TTL = 86400.0  # seconds: an address book believes nothing for longer
ADDRESSES_HINT = 'write an object of names and their addresses, as in {"api.example.com": ["203.0.113.10"]}'


class Directory:
    """Answers for names.

    Args:
        addresses: of each name that is known.
        trusting: every other name is taken to have the address that its flow goes to.
    """

    def __init__(self, addresses: Mapping[Fqdn, tuple[Ipv4, ...]], *, trusting: bool) -> None:
        self._addresses = addresses
        self._trusting = trusting

    def answer(self, name: Fqdn, destination: Ipv4) -> Answer:
        """Return what a look-up of `name` brings. `destination`: of the flow for which it is asked."""
        if self._trusting:
            return Answer(name, (destination,), _TTL)
        addresses = self._addresses.get(name, ())
        return Answer(name, addresses, _TTL, "" if addresses else "not_given")


def parse_addresses(document: object) -> dict[Fqdn, tuple[Ipv4, ...]]:
    """Return the addresses of names, as they are written in JSON; those of IPv6 are passed over.

    Raises:
        PolicyError: this is something else, or a name or an address is not one.
    """
    if not isinstance(document, dict):
        raise PolicyError("it is not an object of names", hint=ADDRESSES_HINT)
    addresses: dict[Fqdn, tuple[Ipv4, ...]] = {}
    for text, listed in document.items():
        if not isinstance(listed, list) or not all(isinstance(address, str) for address in listed):
            raise PolicyError(f"the addresses of {text!r} are no list of texts", hint=ADDRESSES_HINT)
        name = Fqdn.parse(text)
        found = [parse_ipv4(address) for address in listed if not _is_ipv6(address)]
        addresses[name] = (*addresses.get(name, ()), *found)
    return addresses


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
