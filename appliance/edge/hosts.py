"""This machine's own resolver: what any program on it would be told about a name.

The name is asked for with its root dot, so that neither a search list nor /etc/hosts answers in place of DNS. Even so
the answer is a hint: what decides is the VPC resolver's, which `resolver.py` asks.
"""

import socket
from typing import Final

from appliance.address import parse_ipv4
from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn

TTL: Final = 60.0  # seconds; the resolver does not tell

_ERRORS: Final = {socket.EAI_NONAME: "nxdomain", socket.EAI_NODATA: "no_address", socket.EAI_AGAIN: "timeout"}


def look_up(name: Fqdn) -> Answer:
    """Return the IPv4 addresses of a name, sorted. Blocks as long as the system's resolver does."""
    try:
        found = socket.getaddrinfo(f"{name}.", None, socket.AF_INET, socket.SOCK_STREAM)
    except socket.gaierror as fault:
        return Answer(name, (), TTL, _ERRORS.get(fault.errno or 0, "servfail"))
    addresses = {parse_ipv4(str(socket_address[0])) for *_, socket_address in found}
    return Answer(name, tuple(sorted(addresses)), TTL)
