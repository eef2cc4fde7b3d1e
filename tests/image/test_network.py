"""What the boot test's network answers: DHCP and time, octet by octet."""

import socket
import struct

import pytest

from tests.image.boot import clock, dhcp
from tests.image.boot.dhcp import ACK, ASK, DISCOVER, INFORM, NAK, OFFER, Lease

MAC = "02:00:00:00:00:0a"
LEASE = Lease("10.0.0.10", "10.0.0.0/24", "10.0.0.1", "eu-west-1", 9001)
RELEASE = 7


def question(kind: int, options: bytes = b"", *, mac: str = MAC, current: str = "0.0.0.0") -> bytes:
    """Return a client's message."""
    hardware, nobody = bytes.fromhex(mac.replace(":", "")), bytes(4)
    head = dhcp.HEADER.pack(
        *(1, 1, 6, 0, 0xABCD, 0, 0x8000),
        *(socket.inet_aton(current), nobody, nobody, nobody, hardware, bytes(64), bytes(128), dhcp.COOKIE),
    )
    return head + bytes((53, 1, kind)) + options + b"\xff"


def find(mac: str) -> Lease | None:
    """Return the one lease there is."""
    return LEASE if mac == MAC else None


def option(code: int, text: str) -> bytes:
    """Return an option that holds an address."""
    return bytes((code, 4)) + socket.inet_aton(text)


ANSWERS = [
    (question(DISCOVER), OFFER, "10.0.0.10", "a question"),
    (question(DISCOVER, b"\0\0" + bytes((55, 2, 1, 3))), OFFER, "10.0.0.10", "padding and an option nobody reads"),
    (question(ASK, option(50, "10.0.0.10") + option(54, "10.0.0.1")), ACK, "10.0.0.10", "what was offered"),
    (question(ASK, current="10.0.0.10"), ACK, "10.0.0.10", "the lease again, by its holder"),
    (question(INFORM, current="10.0.0.10"), ACK, "10.0.0.10", "options alone"),
    (question(ASK, option(50, "10.0.0.99")), NAK, "0.0.0.0", "somebody else's address"),
]


@pytest.mark.parametrize(("asked", "kind", "address", "why"), ANSWERS, ids=[row[3] for row in ANSWERS])
def test_an_interface_gets_its_own_address(asked: bytes, kind: int, address: str, why: str) -> None:
    """Whatever it asks for, and nothing else; with the options that AWS sends."""
    reply = dhcp.answer(asked, find)

    assert reply is not None
    assert reply[:4] == bytes((2, 1, 6, 0))
    assert reply[4:8] == asked[4:8]
    assert socket.inet_ntoa(reply[16:20]) == address
    assert reply[28:34] == asked[28:34]
    options = dict(dhcp._options(reply[dhcp.HEADER.size :]))
    assert options[53] == bytes([kind])
    assert options[54] == socket.inet_aton("10.0.0.1")
    if kind != NAK:
        assert options[1] == socket.inet_aton("255.255.255.0")
        assert options[3] == socket.inet_aton("10.0.0.1")
        assert options[26] == struct.pack("!H", 9001)


SILENCE = {
    "nothing": b"",
    "half a message": question(DISCOVER)[:100],
    "another interface": question(DISCOVER, mac="02:00:00:00:00:0b"),
    "another server's": question(ASK, option(54, "10.0.0.2")),
    "a release": question(RELEASE),
    "a reply": b"\x02" + question(DISCOVER)[1:],
    "BOOTP": question(DISCOVER)[: dhcp.HEADER.size] + b"\xff",
    "an option that is cut off": question(DISCOVER)[: dhcp.HEADER.size] + b"\x35",
}


@pytest.mark.parametrize("asked", SILENCE.values(), ids=SILENCE)
def test_what_is_not_ours_is_not_answered(asked: bytes) -> None:
    """Nor does it end the server."""
    assert dhcp.answer(asked, find) is None


def test_the_clock_tells_the_time() -> None:
    """The client finds its own stamp in the answer, and ours in the NTP era."""
    asked = bytes([4 << 3 | clock.CLIENT]) + bytes(39) + b"12345678"

    reply = clock.answer(asked, 0.5)

    assert reply is not None
    assert (reply[0], reply[1], reply[24:32]) == (4 << 3 | clock.SERVER, clock.STRATUM, b"12345678")
    assert struct.unpack("!II", reply[40:48]) == (clock.SINCE_1900, 1 << 31)


@pytest.mark.parametrize("asked", [b"", bytes(47), bytes([4 << 3 | 1]) + bytes(47)], ids=["empty", "short", "a peer"])
def test_what_asks_no_time_is_not_told(asked: bytes) -> None:
    """Only clients are answered."""
    assert clock.answer(asked, 0.0) is None
