"""wire/: captures in every form lead to the same frames; what is cut or damaged is said to be."""

import struct
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.errors import CaptureError
from appliance.wire.capture import read_capture
from appliance.wire.frame import FRAME_MAX, Frame
from appliance.wire.link import ip_offset
from tests import captures
from tests.captures import ETHERNET, LOOP, NULL, RAW, SLL, SLL2, START, Captured, block, option

FRAMES = captures.framed(captures.tls_flow())
FIRST = FRAMES[0]
WHOLE = [Frame(pytest.approx(time, abs=1e-6), ETHERNET, octets, len(octets)) for time, octets in FRAMES]

PACKETS = b"".join(captures.enhanced(frame) for frame in FRAMES)
NANO = captures.option(9, b"\x09")  # if_tsresol
BINARY = captures.option(9, b"\x94")  # 2^-20
LATER = captures.option(14, struct.pack("<q", 1000))  # if_tsoffset

FORMS = {
    "pcap": captures.pcap(FRAMES),
    "pcap of the other byte order": captures.pcap(FRAMES, order=">"),
    "pcap with nanoseconds": captures.pcap(FRAMES, nanoseconds=True),
    "pcap with nanoseconds of the other byte order": captures.pcap(FRAMES, nanoseconds=True, order=">"),
    "pcap that tells of a check sequence": captures.pcap(FRAMES, 0x1400_0000 | ETHERNET),
    "pcapng": captures.pcapng(FRAMES),
    "pcapng of the other byte order": captures.pcapng(FRAMES, order=">"),
    "pcapng with nanoseconds": captures.section()
    + captures.interface(options=NANO)
    + b"".join(captures.enhanced(frame, scale=1e9) for frame in FRAMES),
    "pcapng with a clock of powers of two": captures.section()
    + captures.interface(options=BINARY)
    + b"".join(captures.enhanced(frame, scale=2.0**20) for frame in FRAMES),
    "pcapng with an offset": captures.section()
    + captures.interface(options=LATER)
    + b"".join(captures.enhanced(Captured(time - 1000, octets)) for time, octets in FRAMES),
    "pcapng with obsolete blocks": captures.section()
    + captures.interface()
    + b"".join(captures.obsolete(frame) for frame in FRAMES),
    "pcapng with blocks nobody knows": captures.section(options=option(4, b"tests") + option(0, b""))
    + block(0x0BAD, bytes(33))
    + captures.interface()
    + block(5, bytes(20))
    + PACKETS,
    "pcapng with two interfaces": captures.section()
    + captures.interface(RAW)
    + captures.interface()
    + b"".join(captures.enhanced(frame, index=1) for frame in FRAMES),
    "pcapng in two sections": captures.section()
    + captures.interface()
    + b"".join(captures.enhanced(frame) for frame in FRAMES[:4])
    + captures.section(">")
    + captures.interface(order=">")
    + b"".join(captures.enhanced(frame, ">") for frame in FRAMES[4:]),
}
every_form = pytest.mark.parametrize("capture", FORMS.values(), ids=FORMS)


def read(*chunks: bytes) -> tuple[list[Frame], str]:
    """Return the frames of a capture and the message it ends in, if it does."""
    frames = []
    try:
        for frame in read_capture(chunks):
            frames.append(frame)  # noqa: PERF402 -- those before a fault are wanted
    except CaptureError as fault:
        return frames, fault.message
    return frames, ""


@every_form
def test_every_form_has_the_same_frames(capture: bytes) -> None:
    """Format, byte order, clock and what else stands in the file make no difference."""
    assert read(capture) == (WHOLE, "")


@every_form
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_chunks_do_not_show(capture: bytes, size: int) -> None:
    """A capture is the same however it is read."""
    chunks = [capture[at : at + size] for at in range(0, len(capture), size)]

    assert read(*chunks, b"") == (WHOLE, "")


@given(st.sampled_from(sorted(FORMS)), st.data())
def test_a_capture_cut_anywhere_has_what_stands_before_it(form: str, data: st.DataObject) -> None:
    """What is cut ends in an error or, between two packets, as if it were whole."""
    capture = FORMS[form]
    cut = data.draw(st.integers(0, len(capture)))

    frames, fault = read(capture[:cut])

    assert frames == WHOLE[: len(frames)]
    assert (
        fault == "there is nothing in it" if cut == 0 else fault == "" or fault.startswith("it ends in the middle of")
    )
    assert fault or read(capture[:cut] + b"\0")[1]


@given(st.sampled_from(sorted(FORMS)), st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=4))
@example("pcapng", [(4, 255)])
def test_damage_is_said_or_read(form: str, changes: list[tuple[int, int]]) -> None:
    """Whatever a file holds, it is read or refused by our error, and nothing else."""
    capture = bytearray(FORMS[form])
    for at, octet in changes:
        capture[at % len(capture)] = octet

    frames, _ = read(bytes(capture))

    assert all(len(frame.octets) <= FRAME_MAX for frame in frames)


@given(st.binary(max_size=200), st.sampled_from([captures.section() + captures.interface(), captures.pcap([]), b""]))
def test_garbage_is_said_or_read(tail: bytes, head: bytes) -> None:
    """The same, for octets of no origin."""
    read(head + tail)


def test_simple_packets_have_the_time_of_the_one_before() -> None:
    """A Simple Packet Block has no time, and is as long as the first interface lets it be."""
    capture = captures.section() + captures.interface(snapshot=60) + captures.enhanced(FIRST)
    capture += captures.simple(FRAMES[3], snapshot=60)

    frames, fault = read(capture)

    assert fault == ""
    assert frames[1] == Frame(pytest.approx(START), ETHERNET, FRAMES[3].octets[:60], len(FRAMES[3].octets))


SECTION = captures.section() + captures.interface()
FAULTS = [
    (b"", "there is nothing in it"),
    (b"hello, world", "it is neither pcap nor pcapng: it begins with 68 65 6c 6c"),
    (b"\x1f\x8b\x08\x00", "it is compressed by gzip"),
    (b"\xa1\xb2", "it ends in the middle of its header"),
    (struct.pack("<IHH16x", 0xA1B2C3D4, 2, 3), "it is pcap 2.3, want 2.4"),
    (
        captures.pcap([]) + struct.pack("<IIII", 0, 0, 1 << 30, 60),
        "packet 1 has 1073741824 octets, more than the 1048576",
    ),
    (captures.section(major=2), "it is pcapng 2.0, want 1"),
    (b"\x0a\x0d\x0d\x0a" + bytes(8), "a section has no byte order"),
    (SECTION + struct.pack("<II", 6, 13), "a block after packet 0 has 13 octets"),
    (SECTION + struct.pack("<II", 6, 1 << 30), "a block after packet 0 has 1073741824 octets, want 4194304 at most"),
    (SECTION + captures.enhanced(FIRST)[:-4] + bytes(4), "a block after packet 0 has "),
    (SECTION + captures.enhanced(FIRST, index=7), "packet 1 is of interface 7, and there are 1"),
    (SECTION + block(6, bytes(8)), "packet 1 has a block of 8 octets, want 20 or more"),
    (SECTION + block(6, struct.pack("<IIIII", 0, 0, 0, 90, 90)), "packet 1 has 90 octets in a block with 0"),
    (SECTION + block(6, struct.pack("<IIIII", 0, 1 << 31, 0, 0, 0)), "packet 1 was captured 9223372036855 seconds"),
    (captures.section() + block(1, bytes(4)), "the description of an interface has 4 octets, want 8 or more"),
]


@pytest.mark.parametrize(("capture", "message"), FAULTS)
def test_a_fault_is_said(capture: bytes, message: str) -> None:
    """What cannot be read is named, with what to do about it."""
    with pytest.raises(CaptureError) as caught:
        list(read_capture([capture]))

    assert caught.value.message.startswith(message)
    assert caught.value.hint


# ---- link layers ----

PACKET = captures.tls_flow()[0].octets
PACKET_6 = captures.ipv6(58, b"\x80" + bytes(7))
LINKS = [
    (ETHERNET, captures.ethernet(PACKET)),
    (ETHERNET, captures.ethernet(PACKET, 0x8100)),
    (ETHERNET, captures.ethernet(PACKET, 0x88A8, 0x8100)),
    (ETHERNET, captures.ethernet(PACKET, 0x9100, 0x8100)),
    (ETHERNET, captures.ethernet(PACKET_6)),
    (ETHERNET, captures.ethernet(PACKET_6, 0x8100)),
    (SLL, captures.cooked(PACKET)),
    (SLL, captures.cooked(PACKET, 0x8100)),
    (SLL, captures.cooked(PACKET_6)),
    (SLL2, captures.cooked_2(PACKET)),
    (SLL2, captures.cooked_2(PACKET_6)),
    (RAW, PACKET),
    (RAW, PACKET_6),
    (captures.IPV4, PACKET),
    (captures.IPV6, PACKET_6),
    (NULL, captures.null(PACKET)),
    (NULL, captures.null(PACKET, ">")),
    *((NULL, captures.null(PACKET_6, family=family)) for family in (10, 24, 28, 30)),
    (LOOP, captures.null(PACKET, ">")),
]


@pytest.mark.parametrize(("link", "frame"), LINKS)
def test_a_packet_is_found_behind_its_link_layer(link: int, frame: bytes) -> None:
    """The IP packet begins where the frame's own header ends, and nowhere if the frame ends before it."""
    packet = PACKET_6 if frame.endswith(PACKET_6) else PACKET

    assert frame[ip_offset(link, frame) :] == packet
    for cut in range(len(frame) - len(packet) + 1):
        assert ip_offset(link, frame[:cut]) == -1


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (ETHERNET, bytes(12) + b"\x08\x06" + bytes(28)),  # ARP
        (ETHERNET, bytes(12) + b"\x00\x26" + bytes(38)),  # a length, not a type
        (SLL, bytes(14) + b"\x08\x06" + bytes(28)),
        (SLL2, b"\x08\x06" + bytes(46)),
        (NULL, struct.pack("<I", 7) + PACKET),
    ],
)
def test_other_frames_hold_no_packet(link: int, frame: bytes) -> None:
    """What is not IP is passed over."""
    assert ip_offset(link, frame) == -1


def test_an_unknown_link_type_is_refused() -> None:
    """Nothing is guessed about frames of a type we do not know."""
    with pytest.raises(CaptureError) as caught:
        ip_offset(105, bytes(60))

    assert caught.value.message == "its frames are of link type 105, which cannot be read"
    assert "Ethernet" in caught.value.hint


def test_times_of_the_material_go_on() -> None:
    """The packets that are compared above do not all have one time."""
    assert all(one.time < other.time for one, other in pairwise(FRAMES))
