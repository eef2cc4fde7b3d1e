"""The shape of a rule: what EC2 must be told to let out, for an annotation on it to be enforceable.

`tls` and `ssh` need TCP, one port, and an IPv4 CIDR block or prefix list as destination.
`see-thru` may sit on any rule.
"""

from collections.abc import Iterator

from appliance.address import Network
from appliance.errors import InvalidAddress
from appliance.policy.annotation import Allow, Fault, Protocol
from appliance.policy.destination import PrefixLists
from appliance.policy.inventory import EgressRule

_USUAL_PORT = {Protocol.TLS: 443, Protocol.SSH: 22}


def object_to(egress: EgressRule, annotation: Allow, lists: PrefixLists) -> Iterator[Fault]:
    """Yield everything about a rule's shape that keeps an annotation of it from being enforced."""
    for objections in (_object_to_port(egress, annotation.protocol), _object_to_destination(egress.destination, lists)):
        for message, hint in objections:
            yield Fault(message, hint, egress.description, annotation.span)


def _object_to_port(egress: EgressRule, protocol: Protocol) -> Iterator[tuple[str, str]]:
    wanted = f"make it a rule for TCP port {_USUAL_PORT[protocol]}, or whichever port the server listens on"
    if egress.protocol_name != "tcp":
        kind = "all traffic" if egress.protocol_name == "all" else egress.protocol_name
        yield f"{protocol} needs a TCP rule, and this one is for {kind}", wanted
    elif egress.from_port is None or egress.from_port != egress.to_port:
        ports = "all ports" if egress.from_port is None else f"ports {egress.from_port}-{egress.to_port}"
        yield f"{protocol} needs a rule with one port, and this one is for {ports}", f"{wanted}; one rule for each port"
    elif not 1 <= egress.from_port <= 65535:
        yield f"{protocol} cannot be on port {egress.from_port}", wanted


def _object_to_destination(destination: str, lists: PrefixLists) -> Iterator[tuple[str, str]]:
    wanted = "give an IPv4 CIDR block; 0.0.0.0/0 is safe, as the names decide"
    if destination.startswith("pl-"):
        yield from _object_to_list(destination, lists)
    elif destination.startswith("sg-"):
        yield (
            f"Security Group {destination} is not supported as a destination",
            f"{wanted}; traffic inside the VPC does not pass here",
        )
    elif ":" in destination:
        yield f"IPv6 destination {destination} is not supported yet", wanted
    else:
        try:
            Network.parse(destination)
        except InvalidAddress as error:
            yield error.message, wanted


def unknown_list(list_id: str) -> str:
    """Return what is said of a prefix list that nobody gave; the appliance has all that it needs, or a reason."""
    return f"what prefix list {list_id} holds is not known here"


def _object_to_list(list_id: str, lists: PrefixLists) -> Iterator[tuple[str, str]]:
    found = lists.get(list_id)
    if found is None:
        command = f"aws ec2 get-managed-prefix-list-entries --prefix-list-id {list_id}"
        yield unknown_list(list_id), f"give it with --prefix-list {list_id}=FILE, as `{command}` prints it"
    elif found.networks is None:
        yield f"prefix list {list_id} cannot be read: {found.trouble}", "until it can be, the rule grants nothing"
    elif found.is_ipv6:
        yield f"prefix list {list_id} is of IPv6, which is not supported yet", "give a list or CIDR block of IPv4"
    elif not found.networks:
        yield (
            f"prefix list {list_id} is empty",
            "add the networks of the servers to it; 0.0.0.0/0 is safe in a rule of its own",
        )
