"""Frames: what a capture consists of. The formats (`pcap`, `pcapng`) lead here; `link` goes on from here."""

from typing import Final, NamedTuple

from appliance.errors import CaptureError

# Longer than any snapshot length in use (libpcap: 262,144), so that a length that lies costs no memory (ours).
FRAME_MAX: Final = 1 << 20  # octets
TIME_MAX: Final = 253402300800.0  # 10000-01-01T00:00:00Z, which no log could name


class Frame(NamedTuple):
    """One captured frame. `octets`: from its link layer on, as far as it was captured.

    `time`: Unix time, in seconds. `link`: LINKTYPE number (the registry of tcpdump.org). `length`: octets on the wire.
    """

    time: float
    link: int
    octets: bytes
    length: int


def check_captured(captured: int, number: int) -> None:
    """Refuse a length that no capture has; `number`: of the packet, from 1.

    Raises:
        CaptureError: the file is damaged.
    """
    if captured > FRAME_MAX:
        raise CaptureError(
            f"packet {number} has {captured} octets, more than the {FRAME_MAX} that one may have",
            hint="the capture is damaged there; what stands before that has been read",
        )


def check_time(time: float, number: int) -> float:
    """Return the time of packet `number`.

    Raises:
        CaptureError: it lies before 1970 or beyond the year 9999.
    """
    if not 0 <= time < TIME_MAX:
        raise CaptureError(
            f"packet {number} was captured {time:.0f} seconds after 1970, which no clock shows",
            hint="the capture is damaged there; what stands before that has been read",
        )
    return time
