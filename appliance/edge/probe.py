"""Probe: sends a server what a row of the self-test says, by ordinary sockets, and tells what came back.

Nothing here needs root, but an echo where the kernel lets only some groups send one (`ping_group_range`).

Source: ip(7), tcp(7), icmp(7); RFC 7413 (data in a SYN), RFC 4253 section 4.2 (an SSH server may speak first).
"""

import contextlib
import errno
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence

from appliance.selftest.judging import End, Heard, is_retry
from appliance.selftest.row import Piece, Place
from appliance.selftest.segments import echo_request

ENOUGH = 48  # octets of an answer that say what it is
QUIET = 0.3  # seconds after which an SSH server has said what it says by itself

_RECVERR = 11  # IP_RECVERR
_FASTOPEN_NO_COOKIE = 34  # TCP_FASTOPEN_NO_COOKIE
_IP_NO_OPERATIONS = b"\x01\x01\x01\x00"  # options that do nothing
_EXTENDED_ERROR = struct.Struct("=IBBBBIIHH4s")  # sock_extended_err, and the sockaddr_in behind it

# What has no route or no permission was never sent.
_UNSENDABLE = {
    errno.EACCES: "this machine may not send it",
    errno.EPERM: "this machine may not send it",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EAFNOSUPPORT: "this machine does not speak it",
    errno.EPROTONOSUPPORT: "this machine does not speak it",
    errno.EOPNOTSUPP: "this kernel does not do it",
    errno.ENOPROTOOPT: "this kernel does not do it",
    errno.EINVAL: "this kernel does not do it",
    errno.ENETUNREACH: "this machine has no route there",
}


def addresses_of(host: str, *, version: int = 4) -> list[str]:
    """Return what this machine's resolver says of a name; nothing if it says nothing."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def shake_hands(place: Place, name: str, wait: float) -> tuple[str, float]:
    """Open TLS as anybody would, and close it; return the version and the seconds that the TCP handshake took.

    Raises:
        OSError: it did not work; ssl.SSLCertVerificationError if only the certificate is wrong.
    """
    began = time.monotonic()
    with socket.create_connection(place, wait) as stream:
        away = time.monotonic() - began
        with ssl.create_default_context().wrap_socket(stream, server_hostname=name) as tls:
            return tls.version() or "", away


# ---- TCP ----


def converse(
    place: Place,
    pieces: Sequence[Piece],
    wait: float,
    *,
    on_retry: bool = False,
    urgent: bool = False,
    on_handshake: bool = False,
    ip_options: bool = False,
) -> Heard:
    """Send pieces over a connection, each in a segment of its own as far as the kernel does so; hear what comes back.

    Args:
        on_retry: send the last piece only when the server asks for a second hello; what comes after it counts.
        urgent: mark the last octet so.
        on_handshake: leave the handshake's third segment to the first octets.
        ip_options: put some that do nothing into every packet.
    """
    began = time.monotonic()
    try:
        with socket.socket() as stream:
            stream.settimeout(wait)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if on_handshake:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
            if ip_options:
                stream.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, _IP_NO_OPERATIONS)
            stream.connect(place)
            return _send(stream, pieces, on_retry=on_retry, urgent=urgent)
    except OSError as fault:
        return _fault(fault, time.monotonic() - began)


def converse_in_syn(place: Place, octets: bytes, wait: float) -> Heard:
    """Send octets in the SYN, without a cookie."""
    began = time.monotonic()
    try:
        with socket.socket() as stream:
            stream.settimeout(wait)
            stream.setsockopt(socket.IPPROTO_TCP, _FASTOPEN_NO_COOKIE, 1)
            try:
                stream.sendto(octets, socket.MSG_FASTOPEN, place)
            except BlockingIOError:  # the SYN has gone, but empty
                return Heard(End.UNABLE, why="this kernel sends no data in a SYN now")
            if not select.select([stream], [], [], wait)[0]:
                return Heard(End.SILENT, seconds=wait)
            return _listen(stream, began)
    except OSError as fault:
        return _fault(fault, time.monotonic() - began)


def converse_ssh(place: Place, octets: bytes, wait: float) -> Heard:
    """Let an SSH server say what it says by itself, then send octets; what comes after them counts."""
    began = time.monotonic()
    try:
        with socket.create_connection(place, wait) as stream:
            while select.select([stream], [], [], QUIET)[0] and stream.recv(65536):
                pass
            return _send(stream, [Piece(octets)])
    except OSError as fault:
        return _fault(fault, time.monotonic() - began)


def connect_v6(address: str, port: int, wait: float) -> Heard:
    """Connect over IPv6, and say nothing."""
    began = time.monotonic()
    try:
        with socket.socket(socket.AF_INET6) as stream:
            stream.settimeout(wait)
            stream.connect((address, port))
            return Heard(End.CONNECTED, seconds=time.monotonic() - began)
    except OSError as fault:
        return _fault(fault, time.monotonic() - began)


def _send(stream: socket.socket, pieces: Sequence[Piece], *, on_retry: bool = False, urgent: bool = False) -> Heard:
    sent = time.monotonic()
    try:
        for number, piece in enumerate(pieces, start=1):
            if on_retry and number == len(pieces) and not is_retry(_listen(stream, sent).octets):
                return Heard(End.UNABLE, why="the server asks for no second hello")
            sent = time.monotonic()
            if urgent:
                stream.send(piece.octets, socket.MSG_OOB)
            else:
                stream.sendall(piece.octets)
    except OSError as fault:
        # An answer may have come before the reset; the reset itself is told once, and to us.
        found = _listen(stream, sent)
        return found if found.end is End.ANSWERED else _fault(fault, time.monotonic() - sent, connected=True)
    return _listen(stream, sent)


def _listen(stream: socket.socket, since: float) -> Heard:
    """Return the beginning of what comes, or how it ends instead."""
    try:
        octets = stream.recv(65536)
    except OSError as fault:
        return _fault(fault, _since(since), connected=True)
    seconds = _since(since)
    with contextlib.suppress(OSError):  # an alert is short, and a server may keep the connection open behind it
        while octets and len(octets) < ENOUGH and select.select([stream], [], [], QUIET)[0]:
            more = stream.recv(65536)
            if not more:
                break
            octets += more
    return Heard(End.ANSWERED if octets else End.CLOSED, octets, seconds)


def _fault(fault: OSError, seconds: float, *, connected: bool = False) -> Heard:
    """Return what an error of a socket means."""
    if isinstance(fault, TimeoutError):
        return Heard(End.SILENT, seconds=seconds)
    if connected:
        return Heard(End.RESET, seconds=seconds)
    if fault.errno in _UNSENDABLE:
        return Heard(End.UNABLE, why=_UNSENDABLE[fault.errno])
    return Heard(End.REFUSED, seconds=seconds)


def _since(moment: float) -> float:
    return time.monotonic() - moment


# ---- datagrams ----


def exchange(place: Place, octets: bytes, wait: float) -> Heard:
    """Send a datagram, and wait for an answer or an ICMP error."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(wait)
        datagrams.setsockopt(socket.IPPROTO_IP, _RECVERR, 1)
        began = time.monotonic()
        try:
            datagrams.connect(place)
            datagrams.send(octets)
            return Heard(End.ANSWERED, datagrams.recv(65536), _since(began))
        except OSError as fault:
            heard = _fault(fault, _since(began))
            return heard if heard.end is End.SILENT else _blame(datagrams, heard)


def _blame(datagrams: socket.socket, heard: Heard) -> Heard:
    """Return what was heard with the address of who sent the ICMP error, if one did."""
    try:
        _, ancillary, *_ = datagrams.recvmsg(0, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except OSError:
        return heard
    for _, kind, octets in ancillary:
        if kind == _RECVERR and len(octets) >= _EXTENDED_ERROR.size:
            *_, family, _, address = _EXTENDED_ERROR.unpack_from(octets)
            if family == socket.AF_INET:
                return Heard(End.REFUSED, seconds=heard.seconds, address=socket.inet_ntoa(address))
    return heard


def echo(address: str, wait: float) -> Heard:
    """Send an ICMP echo request, and wait for its reply."""
    try:
        pings = _ping_socket()
    except PermissionError:
        return Heard(End.UNABLE, why="needs root")
    with pings:
        ident = os.getpid() & 0xFFFF
        began = time.monotonic()
        try:
            pings.connect((address, 0))
            pings.send(echo_request(ident))
            while (left := began + wait - time.monotonic()) > 0:
                pings.settimeout(left)
                answer = pings.recv(65536)
                if pings.type == socket.SOCK_RAW:
                    answer = answer[(answer[0] & 0xF) * 4 :]
                    if answer[:1] != b"\0" or answer[4:6] != ident.to_bytes(2):
                        continue
                return Heard(End.ANSWERED, answer, _since(began))
        except OSError as fault:
            return _fault(fault, _since(began))
    return Heard(End.SILENT, seconds=wait)


def _ping_socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    except PermissionError:
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
