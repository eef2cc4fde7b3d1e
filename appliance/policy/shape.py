"""The shape of a rule: what EC2 must be told to let out, for an annotation on it to be enforceable.

`tls` and `ssh` need TCP, one port, and an IPv4 CIDR block as destination. `see-thru` may sit on any rule.
"""

from collections.abc import Iterator

from appliance.address import Network
from appliance.errors import InvalidAddress
from appliance.policy.annotation import Allow, Fault, Protocol
from appliance.policy.inventory import EgressRule

_USUAL_PORT = {Protocol.TLS: 443, Protocol.SSH: 22}


def object_to(egress: EgressRule, annotation: Allow) -> Iterator[Fault]:
    """Yield everything about a rule's shape that keeps an annotation of it from being enforced."""
    for objections in (_object_to_port(egress, annotation.protocol), _object_to_destination(egress.destination)):
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


def _object_to_destination(destination: str) -> Iterator[tuple[str, str]]:
    wanted = "give an IPv4 CIDR block; 0.0.0.0/0 is safe, as the names decide"
    if destination.startswith("pl-"):
        yield f"prefix list {destination} is not supported yet as a destination", wanted
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
