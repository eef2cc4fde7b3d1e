"""The clock: NTP at 169.254.169.123, as Amazon's Time Sync Service, from this machine's time.

Source: RFC 5905 section 7.3.
"""

import socket
import struct
import time

from tests.image.boot.listener import Listener
from tests.lab.fabric import Fabric

ADDRESS = "169.254.169.123"
PORT = 123
PACKET = struct.Struct("!BBbbIII8s8s8s8s")
CLIENT, SERVER = 3, 4  # modes
STRATUM = 3
SINCE_1900 = 2_208_988_800  # seconds, of the Unix epoch


def answer(request: bytes, now: float) -> bytes | None:
    """Return the reply to a client's question at a Unix time, or None for anything else."""
    if len(request) < PACKET.size or request[0] & 7 != CLIENT:
        return None
    version, poll, origin = request[0] >> 3 & 7, request[2], request[40:48]
    stamp = struct.pack("!Q", round((now + SINCE_1900) * 2**32))
    dispersion = 1 << 6  # of 2^16, about a millisecond
    return PACKET.pack(
        version << 3 | SERVER, STRATUM, poll, -20, dispersion, dispersion, 0x7F7F0101, stamp, origin, stamp, stamp
    )


class Clock:
    """The server, in the fabric. `askers`: source addresses, in order."""

    def __init__(self, fabric: Fabric) -> None:
        fabric.namespace.ip(f"address add {ADDRESS}/32 dev lo")
        self.askers: list[str] = []
        self._listener = Listener("ntp", fabric.namespace.bind(ADDRESS, PORT), self._reply)

    def close(self) -> None:
        """Stop answering."""
        self._listener.close()

    def _reply(
        self, bound: socket.socket, request: bytes, _: list[tuple[int, int, bytes]], source: tuple[str, int]
    ) -> None:
        reply = answer(request, time.time())
        if reply is not None:
            self.askers.append(source[0])
            bound.sendto(reply, source)
