"""DHCP as AWS's network answers it: the one lease of the interface that asks, told by its hardware address.

Answers are broadcast on the device that the question came in by, so that nobody needs an address to hear them.

Source: RFC 2131, RFC 2132; Amazon VPC user guide, "DHCP option sets".
"""

import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.image.boot.listener import Listener
from tests.lab.fabric import RESOLVERS, Fabric

SERVER, CLIENT = 67, 68  # ports
LEASE = 3600  # seconds
COOKIE = bytes((99, 130, 83, 99))
HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
REQUEST, REPLY = 1, 2
DISCOVER, OFFER, ASK, ACK, NAK, INFORM = 1, 2, 3, 5, 6, 8
PAD, END = 0, 255
IP_PKTINFO = 8  # of Linux; the module `socket` has no name for it


@dataclass(frozen=True, slots=True)
class Lease:
    """What an interface is told."""

    address: str
    network: str
    router: str
    region: str
    mtu: int

    def options(self) -> dict[int, bytes]:
        """Return what the client needs to know, by option code."""
        return {
            1: ipaddress.IPv4Network(self.network).netmask.packed,
            3: socket.inet_aton(self.router),
            6: socket.inet_aton(RESOLVERS[0]),
            12: f"ip-{self.address.replace('.', '-')}".encode(),
            15: f"{self.region}.compute.internal".encode(),
            26: struct.pack("!H", self.mtu),
            51: struct.pack("!I", LEASE),
        }


def answer(request: bytes, find: Callable[[str], Lease | None]) -> bytes | None:
    """Return the reply to a message, or None for what is no question or not ours to answer.

    Args:
        find: returns the lease of a hardware address, such as 02:00:00:00:00:01.
    """
    if len(request) < HEADER.size:
        return None
    op, kind, size, _, id, _, flags, current, _, _, _, hardware, _, _, cookie = HEADER.unpack_from(request)
    if (op, kind, size, cookie) != (REQUEST, 1, 6, COOKIE):
        return None
    asked = dict(_options(request[HEADER.size :]))
    lease = find(hardware[:6].hex(":"))
    wanted = asked.get(53, b"")[:1]
    if lease is None or not wanted:
        return None
    ours = socket.inet_aton(lease.router)
    if asked.get(54, ours) != ours:  # it has chosen somebody else
        return None
    address = socket.inet_aton(lease.address)
    told = {DISCOVER: OFFER, ASK: ACK, INFORM: ACK}.get(wanted[0])
    if told is None:
        return None
    if wanted[0] == ASK and asked.get(50, current) != address:
        told, address, options = NAK, bytes(4), {}
    else:
        options = lease.options()
    options = {53: bytes([told]), 54: ours, **options}
    head = HEADER.pack(
        REPLY, 1, 6, 0, id, 0, flags, current, address, ours, bytes(4), hardware, bytes(64), bytes(128), COOKIE
    )
    return head + b"".join(bytes([code, len(value)]) + value for code, value in options.items()) + bytes([END])


def _options(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield code and value of each option, up to the end or to what is cut off."""
    at = 0
    while at < len(octets) and octets[at] != END:
        if octets[at] == PAD:
            at += 1
            continue
        value = octets[at + 2 : at + 2 + octets[at + 1]] if at + 1 < len(octets) else b""
        yield octets[at], value
        at += 2 + len(value)


class Dhcp:
    """The server, in the fabric. `leases`: addresses acknowledged, in order."""

    def __init__(self, fabric: Fabric, region: str) -> None:
        self._fabric = fabric
        self._region = region
        self.leases: list[str] = []
        bound = fabric.namespace.bind("0.0.0.0", SERVER)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        bound.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._listener = Listener("dhcp", bound, self._reply)

    def close(self) -> None:
        """Stop answering."""
        self._listener.close()

    def _reply(
        self, bound: socket.socket, request: bytes, ancillary: list[tuple[int, int, bytes]], _: tuple[str, int]
    ) -> None:
        reply = answer(request, self._find)
        if reply is None:
            return
        [(_, _, arrived)] = ancillary
        (device,) = struct.unpack_from("=i", arrived)
        back = [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", device, bytes(4), bytes(4)))]
        bound.sendmsg([reply], back, 0, ("255.255.255.255", CLIENT))
        if reply[HEADER.size + 2] == ACK:
            self.leases.append(socket.inet_ntoa(reply[16:20]))

    def _find(self, mac: str) -> Lease | None:
        state = self._fabric.state
        for interface in state.interfaces.values() if state is not None else ():
            if interface.mac == mac:
                network = state.subnets[interface.subnet].network  # type: ignore[union-attr]
                router = str(ipaddress.IPv4Network(network)[1])
                return Lease(interface.addresses[0], network, router, self._region, self._fabric.mtu)
        return None
