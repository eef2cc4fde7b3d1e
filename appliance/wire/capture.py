"""Captures: files of frames, in the formats pcap and pcapng."""

from collections.abc import Iterable, Iterator
from typing import Final

from appliance.errors import CaptureError
from appliance.wire import pcap, pcapng
from appliance.wire.frame import Frame
from appliance.wire.supply import Supply

# What else people have at hand, by its first octets.
_OTHERS: Final = (
    (b"\x1f\x8b", "gzip", "unpack it: gunzip -c FILE | discriminat replay -"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unpack it: zstd -dc FILE | discriminat replay -"),
    (b"\xfd7zX", "xz", "unpack it: xz -dc FILE | discriminat replay -"),
    (b"\x04\x22\x4d\x18", "lz4", "unpack it: lz4 -dc FILE | discriminat replay -"),
)
_HINT: Final = "give a capture of tcpdump, dumpcap or Wireshark, or convert it: editcap -F pcapng OLD NEW"


def read_capture(chunks: Iterable[bytes]) -> Iterator[Frame]:
    """Yield the frames of a capture, in their order.

    Args:
        chunks: its octets, cut anyhow.

    Raises:
        CaptureError: it is neither pcap nor pcapng, is cut, or is damaged. What stands before was yielded.
    """
    supply = Supply(chunks)
    magic = supply.take_unless_over(4, "its header")
    if not magic:
        raise CaptureError("there is nothing in it", hint=_HINT)
    if magic == pcapng.SECTION:
        yield from pcapng.read_pcapng(supply)
    elif pcap.byte_order(magic):
        yield from pcap.read_pcap(magic, supply)
    else:
        for start, name, hint in _OTHERS:
            if magic.startswith(start):
                raise CaptureError(f"it is compressed by {name}", hint=hint)
        raise CaptureError(f"it is neither pcap nor pcapng: it begins with {magic.hex(' ')}", hint=_HINT)
