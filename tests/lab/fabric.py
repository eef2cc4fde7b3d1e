"""Fabric: AWS's side of every cable of the VPC, in one network namespace.

It holds the far end of each interface, routes by the subnet's route table, enforces Security Groups and the
source/destination check, is the Internet gateway, and has the addresses AWS's own services answer at. `sync` reads
the AWS API and makes the kernel match; it is called by the emulator after every change (emulator.py), so there is
no moment at which the API says one thing and packets do another.
"""

import ipaddress
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.lab.fabric_rules import (
    GATEWAY,
    INTERNET_SIDE,
    PUBLIC_POOL,
    VPC_TABLE,
    Routes,
    render_routes,
    render_ruleset,
    render_selectors,
)
from tests.lab.namespaces import MTU, Namespace, veth
from tests.lab.vpc_state import Interface, VpcState

RESOLVERS = ("10.0.0.2", "169.254.169.253")
METADATA = "169.254.169.254"
API = {  # service -> its endpoint
    "": "169.254.169.250",
    "ec2": "169.254.169.248",
    "logs": "169.254.169.249",
    "ssm": "169.254.169.247",
}
GATEWAY_SIDE = "192.0.0.1"

RULE_VPC = 100  # priorities of routing rules: first the interfaces' own addresses,
RULE_SUBNET = 200  # then the route table of the sender's subnet


class Fabric:
    """The network between the interfaces of a VPC and the Internet."""

    def __init__(self, internet: Namespace, *, mtu: int = MTU) -> None:
        """Wire an empty fabric to the Internet.

        Args:
            internet: gets a device `eth0` towards the gateway.
            mtu: octets, of the VPC's links; the Internet's is always 1500.
        """
        self.namespace = Namespace("fabric")
        self.mtu = mtu
        self.state: VpcState | None = None
        self._devices: dict[str, str] = {}
        self._ruleset = ""
        self._routes: Routes = {}
        self._selectors: dict[str, int] = {}
        self._lock = threading.RLock()
        self._paused = 0
        self._read: Callable[[], VpcState] | None = None
        self._refused: Callable[[], set[str]] = set
        here = self.namespace
        here.sysctl(
            net__ipv4__ip_forward=1,
            net__ipv4__conf__all__rp_filter=0,
            net__ipv4__conf__default__rp_filter=0,
            net__ipv4__conf__all__accept_local=1,  # our own ICMP errors come back through the appliance
            net__ipv4__conf__all__send_redirects=0,
            net__ipv4__conf__default__send_redirects=0,
            net__ipv4__conf__default__proxy_arp=1,  # subnet neighbours reach one another through us
            net__ipv4__ip_unprivileged_port_start=0,
        )
        here.nft("table ip fabric {\n chain c {\n ct state new\n }\n }\n")  # connection tracking, loaded
        here.sysctl(net__netfilter__nf_conntrack_tcp_be_liberal=1)  # Security Groups do not follow TCP windows
        veth(here, GATEWAY, internet, "eth0")
        here.ip(
            *(f"address add {each}/32 dev lo" for each in (*RESOLVERS, METADATA, *API.values())),
            f"address add {GATEWAY_SIDE}/30 dev {GATEWAY}",
            f"rule add lookup {VPC_TABLE} priority {RULE_VPC}",
        )
        internet.ip(f"address add {INTERNET_SIDE}/30 dev eth0", f"route add {PUBLIC_POOL} via {GATEWAY_SIDE}")

    def attach(self, read: Callable[[], VpcState], refused: Callable[[], set[str]]) -> None:
        """Follow an AWS API from now on.

        Args:
            read: returns the VPC's state.
            refused: returns the services whose endpoint takes no connections.
        """
        self._read, self._refused = read, refused

    def plug(self, interface: Interface, host: Namespace, device: str = "eth0") -> None:
        """Give a host this interface, with the addresses and the default route DHCP would give it."""
        ours, router, network = self._socket_of(interface)
        veth(host, device, self.namespace, ours, mtu=self.mtu, a_mac=interface.mac)
        first, *others = interface.addresses
        host.ip(
            f"address add {first}/{network.prefixlen} dev {device}",
            *(f"address add {each}/32 dev {device}" for each in others),
            f"route replace default via {router} dev {device}",
        )
        self._connect(interface, ours, router)

    def plug_machine(self, interface: Interface) -> str:
        """Give a virtual machine this interface; return the tap device, in this namespace, that is its cable."""
        ours, router, _ = self._socket_of(interface)
        self.namespace.ip(
            f"tuntap add mode tap name {ours}",
            f"link set {ours} mtu {self.mtu} up",
        )
        self._connect(interface, ours, router)
        return ours

    def device_of(self, interface: str) -> str:
        """Return our end, in this namespace, of the cable of an interface with this id."""
        return self._devices[interface]

    def _socket_of(self, interface: Interface) -> tuple[str, ipaddress.IPv4Address, ipaddress.IPv4Network]:
        """Return our device for an interface, its router's address and its subnet's network."""
        assert self.state is not None, "sync first"
        network = ipaddress.IPv4Network(self.state.subnets[interface.subnet].network)
        return f"v{interface.id[-12:]}", network[1], network

    def _connect(self, interface: Interface, ours: str, router: ipaddress.IPv4Address) -> None:
        self.namespace.ip(f"address add {router}/32 dev {ours}")
        self.namespace.sysctl(**{f"net__ipv4__neigh__{ours}__proxy_delay": 0})
        with self._lock:
            self._devices[interface.id] = ours
            self.sync()

    def unplug(self, interface: str) -> None:
        """Take an interface from its host; another one may have it then."""
        with self._lock:
            device = self._devices.pop(interface, "")
            self.sync()
            if device:
                self.namespace.ip(f"link delete {device}")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Make several changes of the API count as one: the kernel follows at the end of the block."""
        with self._lock:
            self._paused += 1
        try:
            yield
        finally:
            with self._lock:
                self._paused -= 1
            self.sync()

    def sync(self) -> None:
        """Make the kernel match what the API says now; returns when packets obey."""
        with self._lock:
            if self._paused or self._read is None:
                return
            self.state = state = self._read()
            devices = {id: device for id, device in self._devices.items() if id in state.interfaces}
            self._follow_routes(render_routes(state, devices), render_selectors(state, devices))
            refused = [API[service] for service in self._refused() if service in API]
            ruleset = render_ruleset(state, devices, refused)
            if ruleset != self._ruleset:
                self.namespace.nft(ruleset)
                self._ruleset = ruleset

    def _follow_routes(self, routes: Routes, selectors: dict[str, int]) -> None:
        """Add before deleting, so that no packet meets a table without its route."""
        lines = [
            f"route replace {_order(destination, rest)} table {table}"
            for (table, destination), rest in routes.items()
            if self._routes.get((table, destination)) != rest
        ]
        lines += [
            f"rule add iif {device} lookup {table} priority {RULE_SUBNET}"
            for device, table in selectors.items()
            if self._selectors.get(device) != table
        ]
        lines += [
            f"rule delete iif {device} lookup {table} priority {RULE_SUBNET}"
            for device, table in self._selectors.items()
            if selectors.get(device) != table
        ]
        lines += [
            f"route delete {_order(destination, rest)} table {table}"
            for (table, destination), rest in self._routes.items()
            if (table, destination) not in routes
        ]
        if lines:
            self.namespace.ip(*lines)
        self._routes, self._selectors = routes, selectors

    def close(self) -> None:
        """Take the network down."""
        with self._lock:
            self._read = None
        self.namespace.close()


def _order(destination: str, rest: str) -> str:
    """Return destination and the rest in ip-route's order: a type such as blackhole comes first."""
    if rest.startswith("type "):
        kind, _, tail = rest.removeprefix("type ").partition(" ")
        return f"{kind} {destination} {tail}".strip()
    return f"{destination} {rest}"
