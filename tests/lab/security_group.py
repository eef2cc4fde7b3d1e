"""Security Groups as the lab's stories write them: rules with their descriptions, in the order they were given."""

from dataclasses import dataclass, field
from typing import Any

ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class Rule:
    """A Security Group rule; ports -1 to -1 with protocol "-1" is everything."""

    protocol: str
    from_port: int
    to_port: int
    peer: str  # CIDR, group or prefix list id
    description: str = ""

    def permission(self) -> dict[str, Any]:
        """Return it as the API's IpPermission."""
        described = {"Description": self.description} if self.description else {}
        permission: dict[str, Any] = {"IpProtocol": self.protocol}
        if self.protocol != "-1":
            permission |= {"FromPort": self.from_port, "ToPort": self.to_port}
        if self.peer.startswith("sg-"):
            return permission | {"UserIdGroupPairs": [{"GroupId": self.peer, **described}]}
        if self.peer.startswith("pl-"):
            return permission | {"PrefixListIds": [{"PrefixListId": self.peer, **described}]}
        if ":" in self.peer:
            return permission | {"Ipv6Ranges": [{"CidrIpv6": self.peer, **described}]}
        return permission | {"IpRanges": [{"CidrIp": self.peer, **described}]}


@dataclass
class Group:
    """A Security Group and its egress rules, in the order they were given."""

    id: str
    name: str
    rules: list[Rule] = field(default_factory=list)


def egress(protocol: str, port: int | tuple[int, int] | None, peer: str = ANYWHERE, description: str = "") -> Rule:
    """Return an egress rule: one port, a range, or None for all."""
    first, last = (-1, -1) if port is None else (port, port) if isinstance(port, int) else port
    return Rule(protocol, first, last, peer, description)
