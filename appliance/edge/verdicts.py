"""Verdicts, many in one system call.

The netfilterqueue package sends one verdict per call. A verdict is forty octets of netlink, and the
kernel takes as many in one message as we like, so we write them ourselves, on the package's socket:
a queue takes verdicts from the socket that bound it, and from no other.

Source: linux/netfilter/nfnetlink_queue.h, linux/netlink.h; netlink(7). Native byte order in the
headers, network order in what the queue reads.
"""

import os
import socket
import struct

_SUBSYSTEM_QUEUE = 3
_MESSAGE_VERDICT = 1
_REQUEST = 1  # NLM_F_REQUEST
_VERDICT_HEADER, _MARK = 2, 3  # attributes
_MARK_HEADER = struct.pack("=HH", 8, _MARK)
_DROP, _ACCEPT = 0, 1  # NF_DROP, NF_ACCEPT
_BUFFER = 256 * 1024  # octets that may be sent in one go: six thousand verdicts


class Verdicts:
    """Gathers verdicts on one queue's packets, and sends them.

    Args:
        queue: its number.
        descriptor: the netlink socket that bound it; it stays the caller's.
    """

    def __init__(self, queue: int, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._queue = queue
        self._drop = self._before_id(_DROP, with_mark=False)
        self._accept = self._before_id(_ACCEPT, with_mark=True)
        self._gathered: list[bytes] = []

    def _before_id(self, verdict: int, *, with_mark: bool) -> bytes:
        """Return a verdict message up to the packet's number."""
        length = 40 if with_mark else 32
        header = struct.pack("=IHHII", length, _SUBSYSTEM_QUEUE << 8 | _MESSAGE_VERDICT, _REQUEST, 0, 0)
        generic = struct.pack("=BB", socket.AF_UNSPEC, 0) + struct.pack("!H", self._queue)
        return header + generic + struct.pack("=HH", 12, _VERDICT_HEADER) + struct.pack("!I", verdict)

    @staticmethod
    def mark_attribute(mark: int) -> bytes:
        """Return what makes an accepted packet bear a mark, for `accept`."""
        return _MARK_HEADER + mark.to_bytes(4)

    def accept(self, packet_id: int, mark_attribute: bytes) -> None:
        """Let a packet go on, with a mark."""
        self._gathered.append(self._accept + packet_id.to_bytes(4) + mark_attribute)

    def drop(self, packet_id: int) -> None:
        """Let a packet vanish."""
        self._gathered.append(self._drop + packet_id.to_bytes(4))

    def send(self) -> None:
        """Tell the kernel what was gathered."""
        if self._gathered:
            octets = b"".join(self._gathered)
            self._gathered.clear()
            self._socket.send(octets)

    def close(self) -> None:
        """Close our copy of the socket."""
        self._socket.close()
