"""A listener: a UDP socket whose datagrams are handled one after another in a thread, until it is closed."""

import contextlib
import socket
import threading
from collections.abc import Callable

LONGEST = 2048  # octets
ANCILLARY = socket.CMSG_SPACE(64)


class Listener:
    """Calls `handle` with the socket, the datagram, its ancillary data and its source."""

    def __init__(
        self,
        name: str,
        bound: socket.socket,
        handle: Callable[[socket.socket, bytes, list[tuple[int, int, bytes]], tuple[str, int]], None],
    ) -> None:
        self._socket = bound
        self._handle = handle
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing = True
        with contextlib.suppress(OSError):  # it is not connected; the thread wakes all the same
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _serve(self) -> None:
        with self._socket as bound:
            while True:
                datagram, ancillary, _, source = bound.recvmsg(LONGEST, ANCILLARY)
                if self._closing:
                    return
                self._handle(bound, datagram, ancillary, source)
