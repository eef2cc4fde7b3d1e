"""The discriminat appliance: an egress firewall and NAT steered by Security Group annotations."""

__version__ = "0.1.0"
