"""The fabric's kernel rules, rendered from a VpcState: one nftables table, routes and routing rules.

Pure: state and a mapping from interface id to the fabric's device name go in, text comes out. Rules that hold:

- A packet belongs to the conntrack zone of the one VPC interface it is about, whichever device it crosses, so that
  Security Groups are stateful per interface as on AWS; traffic between two interfaces shares a zone. An ICMP error is
  about its receiver's flow, whoever sends it: a NAT inside of the VPC may.
- The Internet gateway translates without state (EIP for private address, and back): an EIP moves at once.
- An ICMP error about a tracked flow passes its Security Groups without a rule. AWS calls them stateful, and does not
  say whether that holds for such errors: README advises a rule.
- Security Groups drop in silence. The resolver, the metadata service and the AWS API are not subject to them.
- What names no plugged interface or gateway is a black hole, as a route to a missing interface is on AWS.

Source: Amazon VPC user guide, security groups (connection tracking), Elastic IP addresses, route tables.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from tests.lab.vpc_state import Interface, Permission, Route, VpcState

GATEWAY = "igw"  # the fabric's device towards the Internet
INTERNET_SIDE = "192.0.0.2"  # next hop behind it (RFC 6890's IETF range: nobody else's)
PUBLIC_POOL = ipaddress.IPv4Network("198.18.0.0/16")  # Elastic IPs; RFC 2544's range, nobody's on the Internet
INSIDE_ZONE = 1  # conntrack zone of traffic between two interfaces of the VPC
VPC_TABLE = 100  # routing table: the interfaces' own addresses
FIRST_TABLE = 1000  # routing tables, one for each subnet

_ICMP_ERROR = "icmp type { destination-unreachable, time-exceeded, parameter-problem }"

Devices = Mapping[str, str]  # id of a plugged interface -> the fabric's device
Routes = dict[tuple[int, str], str]  # (table, destination) -> what follows the destination in `ip route`


def render_ruleset(state: VpcState, devices: Devices, refused: Iterable[str] = ()) -> str:
    """Return nftables text that replaces the whole table.

    Args:
        refused: addresses of AWS API endpoints that take no connection at present.
    """
    plugged = [each for each in state.interfaces.values() if each.id in devices]
    own = [f"{devices[each.id]} . {network}" for each in plugged for network in each.networks]
    unchecked = [GATEWAY, *(devices[each.id] for each in plugged if not each.source_dest_check)]
    public = [(each.addresses[0], each.public) for each in plugged if each.public]
    zones = [f"{network} : {_zone(each)}" for each in plugged for network in each.networks]
    return f"""\
table ip fabric
delete table ip fabric
table ip fabric {{
    set own {{ type ifname . ipv4_addr; flags interval; {_elements(own)} }}
    set members {{ type ipv4_addr; flags interval; {_elements(_networks(plugged))} }}
    set unchecked {{ type ifname; {_elements(unchecked)} }}
    set refused {{ type ipv4_addr; {_elements(refused)} }}
    chain translate_in {{
        type filter hook prerouting priority raw - 10; policy accept;
        {_translate(GATEWAY, "iifname", "daddr", [(outside, inside) for inside, outside in public])}
    }}
    chain zone {{
        type filter hook prerouting priority raw; policy accept;
        jump choose_zone
    }}
    chain zone_own {{
        type filter hook output priority raw; policy accept;
        jump choose_zone
    }}
    chain choose_zone {{
        {f"{_ICMP_ERROR} ip daddr @members ct zone set ip daddr map {{ {', '.join(zones)} }} return" if zones else ""}
        ip saddr @members ip daddr @members ct zone set {INSIDE_ZONE} return
        {f"ct zone set ip saddr map {{ {', '.join(zones)} }} return" if zones else ""}
        {f"ct zone set ip daddr map {{ {', '.join(zones)} }} return" if zones else ""}
    }}
    chain source_check {{
        type filter hook prerouting priority mangle; policy accept;
        iifname "lo" accept
        iifname != @unchecked iifname . ip saddr != @own counter drop
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        ip daddr @refused tcp dport 80 reject with tcp reset
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        oifname != @unchecked oifname . ip daddr != @own counter drop
        ct state established,related accept
        jump egress
        jump ingress
        accept
    }}
{_check_chains(state, devices, "egress")}
{_check_chains(state, devices, "ingress")}
    chain translate_out {{
        type filter hook postrouting priority srcnat + 50; policy accept;
        {_translate(GATEWAY, "oifname", "saddr", public)}
        oifname "{GATEWAY}" ip saddr != {{ {", ".join(["0.0.0.0", *(outside for _, outside in public)])} }} counter drop
    }}
}}
"""


def render_routes(state: VpcState, devices: Devices) -> Routes:
    """Return every route of the fabric."""
    routes: Routes = {(VPC_TABLE, network): "type blackhole metric 1000" for network in state.networks}
    for interface in state.interfaces.values():
        if interface.id in devices:
            for network in interface.networks:
                routes[VPC_TABLE, network.removesuffix("/32")] = f"dev {devices[interface.id]} scope link"
    for table, subnet in subnet_tables(state).items():
        routes[table, "0.0.0.0/0"] = "type blackhole"  # no route is silence, not an ICMP error
        for route in state.subnets[subnet].routes:
            routes[table, route.destination] = _next_hop(route, state, devices)
    return routes


def render_selectors(state: VpcState, devices: Devices) -> dict[str, int]:
    """Return which routing table the packets of each device obey."""
    tables = {subnet: table for table, subnet in subnet_tables(state).items()}
    return {device: tables[state.interfaces[id].subnet] for id, device in devices.items() if id in state.interfaces}


def subnet_tables(state: VpcState) -> dict[int, str]:
    """Return the routing table's number for each subnet; it depends on nothing but the subnet's network."""
    return {FIRST_TABLE + _number(subnet.network): subnet.id for subnet in state.subnets.values()}


def _zone(interface: Interface) -> int:
    """Return the interface's conntrack zone, the same for its whole life: AWS keeps a subnet's first four addresses."""
    return int(ipaddress.IPv4Address(interface.addresses[0])) & 0xFFFF


def _number(network: str) -> int:
    """Return a number below 2^24 for a network of at most /24, unique in a VPC."""
    return int(ipaddress.IPv4Network(network).network_address) >> 8


def _next_hop(route: Route, state: VpcState, devices: Devices) -> str:
    if route.target.startswith("igw-"):
        return f"via {INTERNET_SIDE} dev {GATEWAY}"
    if route.target in devices and route.target in state.interfaces:
        return f"via {state.interfaces[route.target].addresses[0]} dev {devices[route.target]} onlink"
    return "type blackhole"


def _translate(device: str, direction: str, field: str, pairs: list[tuple[str, str]]) -> str:
    """Return a rule that replaces one address by its partner."""
    if not pairs:
        return ""
    mapping = ", ".join(f"{before} : {after}" for before, after in pairs)
    return f'{direction} "{device}" ip {field} set ip {field} map {{ {mapping} }}'


def _check_chains(state: VpcState, devices: Devices, direction: str) -> str:
    """Return the chains that let a new connection return to `forward` if a Security Group permits it."""
    device, field = ("iifname", "daddr") if direction == "egress" else ("oifname", "saddr")
    jumps, chains = [f'"{GATEWAY}" : return'], []
    for id, name in devices.items():
        if id not in state.interfaces:
            continue
        jumps.append(f'"{name}" : goto {direction}_{name}')
        permitted = {
            f"{_address_match(field, network)}{_protocol_match(permission)} return"
            for permission in _granted(state, state.interfaces[id], direction)
            for network in _peer(state, permission.peer)
        }
        lines = "\n".join(f"        {line.strip()}" for line in sorted(permitted))
        chains.append(f"    chain {direction}_{name} {{\n{lines}\n        counter drop\n    }}")
    choose = f"    chain {direction} {{\n        {device} vmap {{ {', '.join(jumps)} }}\n        counter drop\n    }}"
    return "\n".join([*chains, choose])


def _address_match(field: str, network: str) -> str:
    return "" if network.endswith("/0") else f"ip {field} {network} "


def _protocol_match(permission: Permission) -> str:
    """Return the match of protocol and ports; ICMP types are not told apart."""
    if permission.protocol == "-1":
        return ""
    if permission.protocol not in ("tcp", "udp") or permission.from_port < 0:
        return f"meta l4proto {permission.protocol}"
    return f"{permission.protocol} dport {permission.from_port}-{permission.to_port}"


def _granted(state: VpcState, interface: Interface, direction: str) -> Iterator[Permission]:
    for group in interface.groups:
        if group in state.groups:
            yield from state.groups[group].egress if direction == "egress" else state.groups[group].ingress


def _peer(state: VpcState, peer: str) -> list[str]:
    """Return the networks a permission's peer stands for; none of IPv6."""
    if peer.startswith("sg-"):
        return [network for each in state.members(peer) for network in each.networks]
    if peer.startswith("pl-"):
        return [each for each in state.prefix_lists[peer] if ":" not in each]
    return [] if ":" in peer else [str(ipaddress.IPv4Network(peer, strict=False))]


def _networks(interfaces: Iterable[Interface]) -> list[str]:
    return [network for each in interfaces for network in each.networks]


def _elements(values: Iterable[str]) -> str:
    """Return an elements clause, or nothing when there are none, as nft wants it."""
    listed = sorted(values)
    return f"elements = {{ {', '.join(listed)} }};" if listed else ""
