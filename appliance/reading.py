"""Reading a VPC: what asks EC2 for groups and interfaces, and what reads the lists that their rules name."""

from appliance.edge import ec2, prefix_lists
from appliance.edge.name_lists import NameListReader
from appliance.policy.location import Aliases


def connect(
    region: str, vpc_id: str, aliases: Aliases, *, interval: float = 0.0
) -> tuple[ec2.Discovery, NameListReader]:
    """Return what reads a VPC, and what of it reads the lists of names, every `interval` seconds at most."""
    client = ec2.connect(region)
    names = NameListReader(region, aliases, interval=interval)
    return ec2.Discovery(client, vpc_id, prefix_lists.PrefixListReader(client), names), names
