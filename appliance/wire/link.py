"""Link layers: where in a captured frame its IP packet begins.

Source: the registry of LINKTYPE numbers at tcpdump.org; IEEE 802.3, 802.1Q and 802.1ad (tags).
"""

from collections.abc import Callable
from typing import Final

from appliance.errors import CaptureError

ETHERNET: Final = 1
_TAGS: Final = frozenset({b"\x81\x00", b"\x88\xa8", b"\x91\x00"})  # VLAN, and the outer one of two
_IPV4: Final = b"\x08\x00"
_IP: Final = frozenset({_IPV4, b"\x86\xdd"})
# Address families before a packet on a BSD's loopback: IPv4, and IPv6 of Linux, NetBSD, FreeBSD and macOS.
_FAMILIES: Final = frozenset({2, 10, 24, 28, 30})


def ip_offset(link: int, octets: bytes) -> int:
    """Return where the IP packet begins, or -1 if the frame has none, or ends before it.

    Args:
        link: LINKTYPE number.
        octets: the frame, as far as it was captured.

    Raises:
        CaptureError: frames of this type cannot be read.
    """
    if link == ETHERNET and octets[12:14] == _IPV4 and len(octets) > 14:
        return 14
    find = _LINKS.get(link)
    if find is None:
        raise CaptureError(
            f"its frames are of link type {link}, which cannot be read",
            hint=f"capture on an interface of another type: {_KNOWN}",
        )
    at = find(octets)
    return at if at < len(octets) else -1


def _ethernet(octets: bytes) -> int:
    return _behind(octets, 12)


def _behind(octets: bytes, at: int) -> int:
    """Return what lies behind a type of two octets at offset `at`, and behind VLAN tags."""
    kind = octets[at : at + 2]
    while kind in _TAGS:
        at += 4
        kind = octets[at : at + 2]
    return at + 2 if kind in _IP else -1


def _cooked(octets: bytes) -> int:
    return _behind(octets, 14)


def _cooked_2(octets: bytes) -> int:
    if octets[:2] in _TAGS:  # the tag lies behind the header of 20 octets
        return _behind(octets, 22)
    return 20 if octets[:2] in _IP else -1


def _raw(octets: bytes) -> int:
    return 0 if octets else -1


def _null(octets: bytes) -> int:
    """A family in the byte order of whoever captured, which is nowhere told."""
    family = octets[:4]
    known = len(family) == 4 and (int.from_bytes(family, "little") in _FAMILIES or int.from_bytes(family) in _FAMILIES)
    return 4 if known else -1


_LINKS: Final[dict[int, Callable[[bytes], int]]] = {
    0: _null,
    ETHERNET: _ethernet,
    12: _raw,  # as some systems number it in files
    14: _raw,
    101: _raw,
    108: _null,
    113: _cooked,
    228: _raw,
    229: _raw,
    276: _cooked_2,
}
_KNOWN: Final = "Ethernet, Linux cooked, raw IP, or BSD loopback"
