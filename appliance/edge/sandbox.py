"""Sandbox: a network of this process's own: a client, a server, and a box between them.

Three network namespaces, which belong to a user namespace where there may be one: then this process has no power over
any other network, whatever it does. The caller ends up in the box's; its client's and its server's sockets stay in the
namespaces they were made in. All of it goes with the process, which must have one thread and no other use.

Source: namespaces(7), user_namespaces(7), ip-link(8); a socket belongs to the namespace of its making.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.address import Network, parse_ipv4
from appliance.errors import KernelError

CLIENT, CLIENT_NETWORK = parse_ipv4("10.255.0.2"), Network.parse("10.255.0.0/30")
SERVER = parse_ipv4("203.0.113.2")  # RFC 5737: nobody's, so neither private nor anywhere on the Internet
PORT = 443

BACKLOG = 16  # connections that wait to be accepted

_NEWUSER, _NEWNET = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET
_OWN_NETWORK = Path("/proc/self/ns/net")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_COMMAND_WAIT = 10.0  # seconds for ip
_SYSCTLS = "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns"
_HINT = f"run as root, or allow user namespaces (sysctl {_SYSCTLS})"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The ends of the network.

    Attributes:
        clients: TCP sockets, not connected.
        listener: at SERVER and PORT.
        others: listeners at the other places that were asked for.
        client_network: a descriptor, for `become_client`.
    """

    clients: tuple[socket.socket, ...]
    listener: socket.socket
    others: tuple[socket.socket, ...]
    client_network: int


def enter(clients: int, wait: float, places: Sequence[tuple[str, int]] = ()) -> Sandbox:
    """Move this process into the box of a new network, and return the ends: so many clients, and the server.

    Args:
        clients: how many sockets.
        wait: timeout of each socket, in seconds.
        places: addresses and ports that the server has as well, whoever's they are outside.

    Raises:
        KernelError: there may be no such network. The process is of no use any more.
    """
    outside = _OWN_NETWORK.readlink()
    client_network = _new_network(own_user=True)
    sockets = tuple(_tcp_socket(wait) for _ in range(clients))
    server_network = _new_network()
    listener, *others = (_tcp_socket(wait) for _ in range(1 + len(places)))
    box_network = _new_network()
    if _OWN_NETWORK.readlink() == outside:
        raise KernelError("no network of our own: still in the one outside")
    _ip(
        "link set lo up",
        f"link add client type veth peer name eth0 netns /proc/self/fd/{client_network}",
        f"link add server type veth peer name eth0 netns /proc/self/fd/{server_network}",
        "address add 10.255.0.1/30 dev client",
        "address add 203.0.113.1/30 dev server",
        "link set client up",
        "link set server up",
        descriptors=(client_network, server_network),
    )
    _forward()
    _set_network(client_network)
    _ip("address add 10.255.0.2/30 dev eth0", "link set eth0 up", "route add default via 10.255.0.1")
    _set_network(server_network)
    addresses = sorted({address for address, _ in places})
    _ip(
        "address add 203.0.113.2/30 dev eth0",
        "link set eth0 up",
        "link set lo up",
        *(f"address add {address}/32 dev lo" for address in addresses),
    )
    for each, place in zip((listener, *others), ((socket.inet_ntoa(SERVER.to_bytes(4)), PORT), *places), strict=True):
        each.bind(place)
        each.listen(BACKLOG)
    _set_network(box_network)
    if addresses:
        _ip(*(f"route add {address} via 203.0.113.2 dev server" for address in addresses))
    return Sandbox(sockets, listener, tuple(others), client_network)


def become_client(sandbox: Sandbox) -> None:
    """Move this thread, and it alone, to where the clients are; what it opens from now on is theirs."""
    _set_network(sandbox.client_network)


def _new_network(*, own_user: bool = False) -> int:
    """Move into a new network namespace, and return its descriptor."""
    if own_user:
        user, group = os.geteuid(), os.getegid()
        if _libc.unshare(_NEWUSER | _NEWNET) == 0:
            _become_root(user, group)
            return os.open(_OWN_NETWORK, os.O_RDONLY)
    _call("unshare", _NEWNET)  # by privilege: forbidding user namespaces is a habit of hardened machines
    return os.open(_OWN_NETWORK, os.O_RDONLY)


def _become_root(user: int, group: int) -> None:
    """Be root of the user namespace that we are in: the programs that we start have its capabilities then."""
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError as fault:
        raise KernelError(f"no user namespace of our own: {fault.strerror}", hint=_HINT) from None


def _set_network(descriptor: int) -> None:
    _call("setns", descriptor, _NEWNET)


def _forward() -> None:
    """Make the box forward. What a new network namespace inherits will do: /proc/sys may be read-only."""
    if _FORWARDING.read_text().strip() != "1":
        try:
            _FORWARDING.write_text("1")
        except OSError as fault:
            raise KernelError(f"forwarding is off in a new network namespace, and stays so: {fault.strerror}") from None


def _tcp_socket(wait: float) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(wait)
    return made


def _ip(*lines: str, descriptors: tuple[int, ...] = ()) -> None:
    """Run ip(8) commands in the namespace that we are in, in one batch that stops at the first failure."""
    text = "".join(f"{line}\n" for line in lines)
    try:
        done = subprocess.run(
            ["ip", "-batch", "-"],
            input=text,
            text=True,
            capture_output=True,
            timeout=_COMMAND_WAIT,
            check=False,
            pass_fds=descriptors,
        )
    except FileNotFoundError:
        raise KernelError("ip is not installed", hint="install the package iproute2") from None
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise KernelError(f"ip did not run: {fault}") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise KernelError(f"ip -batch failed: {said[0] if said else f'exit code {done.returncode}'}")


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        raise KernelError(f"{name}: {os.strerror(ctypes.get_errno())}", hint=_HINT)
