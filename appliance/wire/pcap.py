"""The format pcap: one link type, one byte order, records one after the other.

Source: draft-ietf-opsawg-pcap (PCAP Capture File Format), sections 4 and 5. Version 2.4, in either byte
order, with microseconds or nanoseconds.
"""

import struct
from collections.abc import Iterator
from typing import Final

from appliance.errors import CaptureError
from appliance.wire.frame import Frame, check_captured
from appliance.wire.supply import Supply

MICROSECONDS: Final = 0xA1B2C3D4
NANOSECONDS: Final = 0xA1B23C4D

_HEADER_REST: Final = "HHxxxxxxxxII"  # version, snapshot length, link type; time zone and accuracy are always 0
_RECORD: Final = "IIII"  # seconds, their fractions, captured octets, octets on the wire
_LINK_MASK: Final = 0x03FF_FFFF  # the rest tells of a frame check sequence


def byte_order(magic: bytes) -> str:
    """Return the byte order of a pcap file, as `struct` writes it; empty if it is none."""
    for order in "<>":
        if struct.unpack(order + "I", magic)[0] in {MICROSECONDS, NANOSECONDS}:
            return order
    return ""


def read_pcap(magic: bytes, supply: Supply) -> Iterator[Frame]:
    """Yield the frames of a capture.

    Args:
        magic: its first four octets, for which `byte_order` is not empty.
        supply: what follows.

    Raises:
        CaptureError: it is cut, damaged, or of another version.
    """
    order = byte_order(magic)
    fraction = 1e-9 if struct.unpack(order + "I", magic)[0] == NANOSECONDS else 1e-6
    header = struct.Struct(order + _HEADER_REST)
    major, minor, _, link = header.unpack(supply.take(header.size, "its header"))
    if (major, minor) != (2, 4):
        raise CaptureError(f"it is pcap {major}.{minor}, want 2.4", hint="convert it: editcap -F pcapng OLD NEW")
    record = struct.Struct(order + _RECORD)
    number = 0
    while head := supply.take_unless_over(record.size, f"the header of packet {number + 1}"):
        number += 1
        seconds, fractions, captured, length = record.unpack(head)
        check_captured(captured, number)
        octets = supply.take(captured, f"packet {number}")
        yield Frame(seconds + fractions * fraction, link & _LINK_MASK, octets, length)
