"""Injector: puts segments of its own making beside a connection that the kernel has opened.

The kernel shakes hands, takes resets and closes; it has sent nothing itself, so it ignores what answers the injected
segments. A raw socket shows those, and the sequence numbers of the handshake. Wants CAP_NET_RAW.

Source: raw(7); RFC 9293 section 3.10.7.4 (an acknowledgement of what was not sent is answered, and ignored).
"""

import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.selftest.judging import End, Heard
from appliance.selftest.row import Piece, Place
from appliance.selftest.segments import ACK, SYN, packet, segment

IDENT = 0x5E1F  # of our packets, which are never fragments
LATE = 0.5  # seconds after a reset in which an answer counts
PAUSE = 0.05  # seconds between two segments, so that the first one is there first

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A segment of the server's."""

    flags: int
    sequence: int
    acknowledgement: int
    payload: bytes


def inject(place: Place, pieces: Sequence[Piece], wait: float) -> Heard:
    """Connect, send each piece in a segment of our own, and return what the server or somebody for it says."""
    try:
        raw_in = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    except PermissionError:
        return Heard(End.UNABLE, why="needs root")
    with raw_in, socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as out, socket.socket() as stream:
        stream.settimeout(wait)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        began = time.monotonic()
        try:
            stream.connect(place)
        except TimeoutError:
            return Heard(End.SILENT, seconds=wait)
        except OSError:
            return Heard(End.REFUSED, seconds=time.monotonic() - began)
        source, port = stream.getsockname()[:2]
        greeting = _await(raw_in, place, port, wait)
        if greeting is None or greeting.flags & (SYN | ACK) != SYN | ACK:
            return Heard(End.UNABLE, why="the handshake was not seen")
        addresses = socket.inet_aton(source), socket.inet_aton(place.address)
        for number, piece in enumerate(pieces):
            if number:
                select.select([stream], [], [], PAUSE)
            made = segment(
                (port, place.port),
                addresses,
                greeting.acknowledgement + piece.at,
                (greeting.sequence + 1) % 2**32,
                piece.octets,
                checksum_lie=piece.checksum_lie,
            )
            out.sendto(packet(made, addresses, ident=IDENT), (place.address, 0))
        return _hear(stream, raw_in, place, port, wait)


def _hear(stream: socket.socket, raw_in: socket.socket, place: Place, port: int, wait: float) -> Heard:
    """Return the first octets of the server's, or the reset or the end that the kernel was told of.

    A reset may be for an earlier piece than the last, so what comes soon after it is heard as well.
    """
    began = time.monotonic()
    until = began + wait
    heard = Heard(End.SILENT, seconds=wait)
    while (left := until - time.monotonic()) > 0:
        sources = [raw_in, stream] if heard.end is End.SILENT else [raw_in]
        ready = select.select(sources, [], [], left)[0]
        seconds = time.monotonic() - began
        if raw_in in ready:
            arrived = _parse(raw_in.recv(65536), place, port)
            if arrived is not None and arrived.payload:
                return Heard(End.ANSWERED, arrived.payload, seconds)
        elif stream in ready:
            heard = _take(stream, seconds)
            until = min(until, time.monotonic() + LATE)
    return heard


def _take(stream: socket.socket, seconds: float) -> Heard:
    """Return what the kernel has been told."""
    try:
        octets = stream.recv(65536)
    except OSError:
        return Heard(End.RESET, seconds=seconds)
    return Heard(End.ANSWERED if octets else End.CLOSED, octets, seconds)


def _await(raw_in: socket.socket, place: Place, port: int, wait: float) -> _Arrived | None:
    """Return the first segment of a connection."""
    end = time.monotonic() + wait
    while (left := end - time.monotonic()) > 0 and select.select([raw_in], [], [], left)[0]:
        arrived = _parse(raw_in.recv(65536), place, port)
        if arrived is not None:
            return arrived
    return None


def _parse(octets: bytes, place: Place, port: int) -> _Arrived | None:
    """Return a segment of this connection's other end, or None for what is something else."""
    start = (octets[0] & 0xF) * 4 if octets else 0
    if len(octets) < start + 20 or octets[12:16] != socket.inet_aton(place.address):
        return None
    source_port, own, sequence, acknowledgement, offset, flags = struct.unpack_from("!HHIIBB", octets, start)
    if (source_port, own) != (place.port, port):
        return None
    return _Arrived(flags, sequence, acknowledgement, octets[start + (offset >> 4) * 4 :])
