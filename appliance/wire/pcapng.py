"""The format pcapng: blocks in sections, each with a byte order and interfaces of its own.

Source: draft-ietf-opsawg-pcapng (PCAP Next Generation), sections 3 and 4. Read are the Section Header, Interface
Description, Enhanced Packet, Simple Packet and obsolete Packet blocks; every other block is passed over.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from appliance.errors import CaptureError
from appliance.wire.frame import Frame, check_captured, check_time
from appliance.wire.supply import Supply

SECTION: Final = b"\x0a\x0d\x0d\x0a"  # the same in both byte orders
BLOCK_MAX: Final = 4 << 20  # octets of a block that is read: a frame and its options (ours)
INTERFACES_MAX: Final = 65536  # of one section (ours)

_INTERFACE: Final = 1
_PACKET: Final = 2  # obsolete
_SIMPLE_PACKET: Final = 3
_ENHANCED_PACKET: Final = 6
_READ: Final = frozenset({_INTERFACE, _PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET})

_BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
_OPTION_END: Final = 0
_OPTION_RESOLUTION: Final = 9  # if_tsresol
_OPTION_OFFSET: Final = 14  # if_tsoffset


class Interface(NamedTuple):
    """Where packets were captured. `resolution`: ticks of its clock in a second; `offset`: seconds to add."""

    link: int
    snapshot: int  # octets of a packet that are captured at most; 0 for all
    resolution: int
    offset: int


class _Section:
    """The state of a reading: byte order and interfaces of the section at hand, and packets of all sections."""

    def __init__(self) -> None:
        self.order = "<"
        self.interfaces: list[Interface] = []
        self.number = 0  # of the last packet
        self.time = 0.0  # of the last packet

    def interface(self, index: int) -> Interface:
        if index >= len(self.interfaces):
            raise _damaged(f"packet {self.number} is of interface {index}, and there are {len(self.interfaces)}")
        return self.interfaces[index]


def read_pcapng(supply: Supply) -> Iterator[Frame]:
    """Yield the frames of a capture.

    Args:
        supply: what follows its first four octets, which are SECTION.

    Raises:
        CaptureError: it is cut, damaged, or of another version.
    """
    section = _Section()
    _begin_section(section, supply)
    while head := supply.take_unless_over(8, "the header of a block"):
        if head[:4] == SECTION:
            _begin_section(section, supply, head[4:])
            continue
        kind, size = struct.unpack(section.order + "II", head)
        if size < 12 or size % 4:
            raise _damaged(f"a block after packet {section.number} has {size} octets")
        if kind in _READ:
            if size > BLOCK_MAX:
                raise _damaged(f"a block after packet {section.number} has {size} octets, want {BLOCK_MAX} at most")
            what = f"packet {section.number + 1}" if kind != _INTERFACE else "the description of an interface"
            body = supply.take(size - 12, what)
            _check_end(section, supply, size)
            if kind == _INTERFACE:
                _add_interface(section, body)
            else:
                yield _packet(section, kind, body)
        else:
            supply.skip(size - 12, "a block")
            _check_end(section, supply, size)


def _begin_section(section: _Section, supply: Supply, length: bytes = b"") -> None:
    what = "the header of a section"
    length = length or supply.take(4, what)
    magic = supply.take(4, what)
    for order in "<>":
        if struct.unpack(order + "I", magic)[0] == _BYTE_ORDER_MAGIC:
            section.order = order
            break
    else:
        raise _damaged("a section has no byte order")
    (size,) = struct.unpack(section.order + "I", length)
    if size < 28 or size % 4:
        raise _damaged(f"the header of a section has {size} octets")
    major, minor = struct.unpack(section.order + "HH", supply.take(4, what))
    if major != 1:
        raise CaptureError(f"it is pcapng {major}.{minor}, want 1", hint="convert it: editcap -F pcap OLD NEW")
    supply.skip(size - 20, what)  # the section's length, which may be unknown, and options
    _check_end(section, supply, size)
    section.interfaces = []


def _check_end(section: _Section, supply: Supply, size: int) -> None:
    (repeated,) = struct.unpack(section.order + "I", supply.take(4, "the end of a block"))
    if repeated != size:
        raise _damaged(f"a block after packet {section.number} has {size} octets in front and {repeated} at its end")


def _add_interface(section: _Section, body: bytes) -> None:
    if len(body) < 8:
        raise _damaged(f"the description of an interface has {len(body)} octets, want 8 or more")
    if len(section.interfaces) >= INTERFACES_MAX:
        raise _damaged(f"a section has more than {INTERFACES_MAX} interfaces")
    link, snapshot = struct.unpack_from(section.order + "HxxI", body)
    resolution, offset = 10**6, 0
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(section.order + "HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == _OPTION_END:
            break
        if len(value) < size:
            raise _damaged(f"an option of an interface has {size} octets, {len(value)} left")
        if code == _OPTION_RESOLUTION and size == 1:
            resolution = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == _OPTION_OFFSET and size == 8:
            (offset,) = struct.unpack(section.order + "q", value)
        at += 4 + (size + 3) // 4 * 4
    section.interfaces.append(Interface(link, snapshot, resolution, offset))


def _packet(section: _Section, kind: int, body: bytes) -> Frame:
    section.number += 1
    fixed = 4 if kind == _SIMPLE_PACKET else 20
    if len(body) < fixed:
        raise _damaged(f"packet {section.number} has a block of {len(body)} octets, want {fixed} or more")
    if kind == _SIMPLE_PACKET:  # has no time: it is that of the packet before
        (length,) = struct.unpack_from(section.order + "I", body)
        interface = section.interface(0)
        captured = min(length, interface.snapshot or length)
    else:
        layout = "IIIII" if kind == _ENHANCED_PACKET else "HxxIIII"
        index, high, low, captured, length = struct.unpack_from(section.order + layout, body)
        interface = section.interface(index)
        ticks = (high << 32 | low) / interface.resolution
        section.time = check_time(ticks + interface.offset, section.number)
    check_captured(captured, section.number)
    if captured > len(body) - fixed:
        raise _damaged(f"packet {section.number} has {captured} octets in a block with {len(body) - fixed}")
    return Frame(section.time, interface.link, body[fixed : fixed + captured], length)


def _damaged(message: str) -> CaptureError:
    return CaptureError(message, hint="the capture is damaged there; what stands before that has been read")
