"""Relay: carries TCP connections between a network of this process's own and the one outside.

A socket belongs to the network of its making: those to the outside are made before the sandbox is entered, and the
listeners are handed in from there. Octets, ends and resets go on as they come, in both directions.
"""

import socket
import struct
import threading
from collections import deque

CHUNK = 65536  # octets
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Relay:
    """So many connections to the outside, one after the other or at once."""

    def __init__(self, connections: int, wait: float) -> None:
        self._outside = deque(socket.socket() for _ in range(connections))
        self._wait = wait  # seconds to connect

    def serve(self, listener: socket.socket, place: tuple[str, int]) -> None:
        """Carry whatever connects to a listener on to a place outside, from now on."""
        listener.settimeout(None)
        threading.Thread(target=self._accept, args=(listener, place), daemon=True).start()

    def _accept(self, listener: socket.socket, place: tuple[str, int]) -> None:
        while self._outside:
            inner, _ = listener.accept()
            outer = self._outside.popleft()
            threading.Thread(target=self._carry, args=(inner, outer, place), daemon=True).start()

    def _carry(self, inner: socket.socket, outer: socket.socket, place: tuple[str, int]) -> None:
        with inner, outer:
            outer.settimeout(self._wait)
            try:
                outer.connect(place)
            except OSError:
                _reset(inner)
                return
            outer.settimeout(None)
            back = threading.Thread(target=_pump, args=(outer, inner), daemon=True)
            back.start()
            _pump(inner, outer)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry one direction to its end."""
    try:
        while octets := source.recv(CHUNK):
            sink.sendall(octets)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        _reset(sink)


def _reset(stream: socket.socket) -> None:
    """Make the end of a connection a reset, now; a thread that reads from it is woken."""
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        stream.shutdown(socket.SHUT_RD)
    except OSError:  # it has ended already
        return
