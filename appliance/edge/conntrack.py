"""The kernel's table of connections: which ones it forwards by itself, and how to end some of them.

To end a connection its entry is marked as denied, for packets of it that are on their way through, and then deleted.
So the next packet of either end belongs to no connection, and the ruleset answers it with a reset; the ports are free
for a connection that begins anew; and what is not TCP is judged again.

Spoken over netlink, so that only what bears a mark is copied, and many are ended in one system call.
Source: linux/netfilter/nfnetlink_conntrack.h, nfnetlink.h and nf_conntrack_tcp.h, linux/netlink.h; netlink(7). Native
byte order in headers and lengths, network order in what conntrack reads.
"""

import errno
import itertools
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from appliance.address import Ipv4
from appliance.errors import KernelError
from appliance.policy.entry import ENTRY_MASK, OpenFlow

_NETLINK_NETFILTER = 12
_NEW, _GET, _DELETE = (1 << 8 | message for message in (0, 1, 2))  # messages of subsystem 1, conntrack
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_REQUEST, _ACKNOWLEDGE, _DUMP = 0x001, 0x004, 0x300  # flags
_ORIGINAL, _STATUS, _PROTOINFO, _TIMEOUT, _MARK, _MARK_MASK = 1, 3, 4, 7, 8, 21  # attributes of an entry
_TUPLE_IP, _TUPLE_PROTO = 1, 2  # of the original direction's addresses and ports, and of these two:
_SOURCE, _DESTINATION = 1, 2
_SOURCE_PORT, _DESTINATION_PORT = 2, 3
_PROTOINFO_TCP, _TCP_STATE = 1, 1
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF  # two bits of an attribute's type are flags
_ESTABLISHED, _TIME_WAIT, _CLOSE = 3, 7, 8  # enum tcp_conntrack
_SOURCE_TRANSLATED = 1 << 4  # IPS_SRC_NAT of enum ip_conntrack_status
_CHUNK = 64  # connections ended in one system call; the answers must fit the socket's buffer
_BUFFER = 256 * 1024  # octets; the kernel fills 32 KiB at a time
_WAIT = 10.0  # seconds for the kernel to answer

_HEADER = struct.Struct("=IHHII")  # length, kind, flags, sequence number, port
_FAMILY = struct.pack("=BBH", socket.AF_INET, 0, 0)
_ATTRIBUTE = struct.Struct("=HH")  # length, type


class Marks(NamedTuple):
    """What marks say of a connection, in the bits of `mask`."""

    allowed: int
    denied: int
    mask: int


class Connection(NamedTuple):
    """An entry of the table. `original`: the attribute that the kernel knows it by."""

    flow: OpenFlow
    is_closed: bool  # its ends have parted, and it is kept for stragglers only
    is_idle: bool  # its ends have shaken hands through us, and it lasts until it has been silent for long
    left: int  # seconds of silence until the kernel forgets it
    original: bytes


class Conntrack:
    """The table of this process's network namespace. Blocks: for one thread.

    Args:
        marks: the entry that allowed a connection stands in the low ENTRY_BITS bits of its mark.

    Raises:
        KernelError: from each method: the kernel refuses, does not answer, or does not know conntrack's netlink.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        except OSError as fault:
            raise _refusal(fault.errno or 0) from None
        self._socket.settimeout(_WAIT)
        self._numbers = itertools.count(1)

    def allowed(self) -> Iterator[Connection]:
        """Yield the IPv4 connections that are marked as allowed; some twice, if the table changes meanwhile."""
        return self._marked(self._marks.allowed)

    def undecided(self) -> Iterator[Connection]:
        """Yield those that bear no mark yet, or never will: the machine's own are among them."""
        return self._marked(0)

    def _marked(self, state: int) -> Iterator[Connection]:
        wanted = _attribute(_MARK, state.to_bytes(4)) + _attribute(_MARK_MASK, self._marks.mask.to_bytes(4))
        for kind, content in self._ask(_message(_GET, _DUMP, next(self._numbers), wanted)):
            if kind == _DONE:
                return
            yield _parse(content)

    def end(self, connections: Sequence[Connection]) -> None:
        """End connections; those that are gone by now are no matter."""
        for start in range(0, len(connections), _CHUNK):
            chunk = connections[start : start + _CHUNK]
            requests = [request for each in chunk for request in self._ending(each)]
            answers = self._ask(b"".join(requests))
            for _ in requests:
                next(answers)

    def _ending(self, connection: Connection) -> tuple[bytes, bytes]:
        mark = _attribute(_MARK, self._marks.denied.to_bytes(4))
        return (
            _message(_NEW, _ACKNOWLEDGE, next(self._numbers), connection.original + mark),
            _message(_DELETE, _ACKNOWLEDGE, next(self._numbers), connection.original),
        )

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _ask(self, octets: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (kind, content) of each message that comes in answer: as many as the caller knows to come."""
        try:
            self._socket.send(octets)
            while True:
                for kind, content in _messages(self._socket.recv(_BUFFER)):
                    if kind in {_ERROR, _DONE}:
                        number = -int.from_bytes(content[:4], sys.byteorder, signed=True)
                        if number not in {0, errno.ENOENT}:
                            raise _refusal(number)
                    yield kind, content
        except OSError as fault:
            raise _refusal(fault.errno or errno.ETIMEDOUT) from None


def _refusal(number: int) -> KernelError:
    return KernelError(
        f"the table of connections cannot be had: {os.strerror(number)}",
        hint="the appliance needs CAP_NET_ADMIN and the kernel's module nf_conntrack_netlink",
    )


# What is written


def _message(kind: int, flags: int, number: int, content: bytes) -> bytes:
    length = _HEADER.size + len(_FAMILY) + len(content)
    return _HEADER.pack(length, kind, _REQUEST | flags, number, 0) + _FAMILY + content


def _attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute; `value` is a multiple of four octets, so that it needs no padding."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


# What is read


def _messages(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, what follows the header) of each netlink message."""
    at = 0
    while at + _HEADER.size <= len(octets):
        length, kind, _, _, _ = _HEADER.unpack_from(octets, at)
        yield kind, octets[at + _HEADER.size : at + length]
        at += max(_aligned(length), _HEADER.size)


def _attributes(octets: bytes) -> dict[int, bytes]:
    """Return the values of attributes by type; each type stands once in what conntrack says."""
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(octets):
        length, kind = _ATTRIBUTE.unpack_from(octets, at)
        found[kind & _TYPE_MASK] = octets[at + _ATTRIBUTE.size : at + length]
        at += max(_aligned(length), _ATTRIBUTE.size)
    return found


def _aligned(length: int) -> int:
    return length + 3 & ~3


def _parse(content: bytes) -> Connection:
    """Return an entry as the kernel states it; what it leaves out is 0."""
    entry = _attributes(content[len(_FAMILY) :])
    original = entry.get(_ORIGINAL, b"")
    sides = _attributes(original)
    ends, protocol = _attributes(sides.get(_TUPLE_IP, b"")), _attributes(sides.get(_TUPLE_PROTO, b""))
    flow = OpenFlow(
        Ipv4(_number(ends, _SOURCE)),
        _number(protocol, _SOURCE_PORT),
        Ipv4(_number(ends, _DESTINATION)),
        _number(protocol, _DESTINATION_PORT),
        _number(entry, _MARK) & ENTRY_MASK,
    )
    state = _number(_attributes(_attributes(entry.get(_PROTOINFO, b"")).get(_PROTOINFO_TCP, b"")), _TCP_STATE)
    return Connection(
        flow,
        is_closed=state in {_TIME_WAIT, _CLOSE},
        is_idle=state == _ESTABLISHED and bool(_number(entry, _STATUS) & _SOURCE_TRANSLATED),
        left=_number(entry, _TIMEOUT),
        original=_attribute(_ORIGINAL | _NESTED, original),
    )


def _number(attributes: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(attributes.get(kind, b""))
