"""Odd, but honest: what real kernels, cards and middleboxes do is neither refused nor let through as something else.

Each is told by the server's end: it reads the hello, and nothing more than was inspected has reached its host.
"""

import json
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from tests.lab.hostile import (
    EVIL,
    GOOD,
    HALF,
    LINUX,
    NAME,
    NEW,
    REPLY,
    Stage,
    strays,
)
from tests.lab.lab import Lab, wait_until
from tests.lab.story import allowed, refused
from tests.lab.tcp import (
    ACCURATE_ECN,
    ACK,
    CWR,
    ECE,
    FAST_OPEN_COOKIE,
    FIN,
    MSS,
    MULTIPATH,
    PSH,
    SYN,
    Cable,
    Peer,
    Tap,
    timestamps,
)
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")


@pytest.fixture
def cable(lab: Lab) -> Iterator[Cable]:
    """The link to the appliance, past the fabric's kernel, which would mend or drop what lies about its length."""
    interface = lab.appliance.interface
    mac = lab.state().interfaces[interface].mac
    with Cable(lab.fabric.namespace, lab.fabric.device_of(interface), mac) as made:
        yield made


# ---- segments ----


def ecn(peer: Peer) -> None:
    peer.send_syn(flags=SYN | ECE | CWR, options=LINUX)
    peer.finish_handshake()
    peer.send(GOOD[:HALF], flags=ACK | PSH | CWR)
    peer.send(GOOD[HALF:], at=HALF, flags=ACK | PSH | ECE)


def accurate_ecn(peer: Peer) -> None:
    peer.send(b"", at=-1, flags=SYN | ECE | CWR, reserved=ACCURATE_ECN, options=LINUX)
    peer.finish_handshake()
    peer.send(GOOD, reserved=ACCURATE_ECN)


def all_reserved_bits(peer: Peer) -> None:
    """RFC 9293 section 3.1: ignored by who does not know them."""
    peer.send(b"", at=-1, flags=SYN, reserved=0xF, options=LINUX)
    peer.finish_handshake()
    peer.send(GOOD, reserved=0xF)


def a_syn_with_a_push(peer: Peer) -> None:
    peer.send_syn(flags=SYN | PSH)
    peer.finish_handshake()
    peer.send(GOOD)


def timestamps_on_all(peer: Peer) -> None:
    peer.send_syn(options=LINUX)
    peer.finish_handshake(options=timestamps(NEW + 1))
    for at in range(0, len(GOOD), 50):
        peer.send(GOOD[at : at + 50], at=at, options=timestamps(NEW + 2 + at))


def options_nobody_knows(peer: Peer) -> None:
    """RFC 6994's experiments, and a SACK block."""
    peer.send_syn(options=MSS + bytes((253, 4, 0xAB, 0xCD)))
    peer.finish_handshake()
    peer.send(GOOD, options=bytes((254, 6, 1, 2, 3, 4)) + bytes((5, 10)) + bytes(8))


def the_syn_twice(peer: Peer) -> None:
    peer.send_syn(options=LINUX)
    peer.send_syn(options=LINUX)
    peer.finish_handshake()
    peer.send(GOOD)


def a_window_that_is_closed_for_a_while(peer: Peer) -> None:
    peer.connect()
    peer.send(b"", flags=ACK, window=0)
    peer.send(GOOD[:HALF], window=0)
    peer.send(GOOD[HALF:], at=HALF)


def an_end_with_the_last_octets(peer: Peer) -> None:
    peer.connect()
    peer.send(GOOD[:HALF])
    peer.send(GOOD[HALF:], at=HALF, flags=ACK | PSH | FIN)


def a_probe_of_windows_before_the_hello(peer: Peer) -> None:
    """Its keep-alive is an octet of zero, one before the next (RFC 1122 section 4.2.3.6)."""
    peer.connect()
    for _ in range(3):
        peer.send(b"\0", at=-1, flags=ACK)
        assert peer.receive_where(lambda segment: segment.flags == ACK) is not None  # the server is alive
    peer.send(GOOD)


def a_probe_of_linux_before_the_hello(peer: Peer) -> None:
    """Its keep-alive has no payload."""
    peer.connect()
    peer.send(b"", at=-1, flags=ACK)
    assert peer.receive_where(lambda segment: segment.flags == ACK) is not None
    peer.send(GOOD)


ODD = [
    ecn,
    accurate_ecn,
    all_reserved_bits,
    a_syn_with_a_push,
    timestamps_on_all,
    options_nobody_knows,
    the_syn_twice,
    a_window_that_is_closed_for_a_while,
    an_end_with_the_last_octets,
    a_probe_of_windows_before_the_hello,
    a_probe_of_linux_before_the_hello,
]


@pytest.mark.parametrize("send", ODD, ids=lambda send: send.__name__)
def test_an_odd_client_is_served(lab: Lab, stage: Stage, send: Callable[[Peer], None]) -> None:
    """The server gets exactly the octets that were inspected, and the client its answer."""
    with stage.peer() as peer:
        send(peer)
        assert peer.read(len(REPLY), sent=len(GOOD)) == REPLY
        lab.appliance.wait_for_event(dst=stage.server.address, spt=peer.source_port, cat="server", code="server_agreed")
    assert stage.server.received() == GOOD
    assert not [payload for payload in stage.settle() if payload not in b"\0" + GOOD]


def test_a_probe_behind_the_hello_neither_ends_the_flow_nor_arrives(lab: Lab, host: Workload) -> None:
    """One octet that the server has already: its value is not inspected, so it goes nowhere (P19)."""
    mute = lab.internet.lines("")
    lab.names[NAME] = [*lab.names[NAME].addresses, mute.address]
    with Tap(lab.internet.namespace) as tap, Peer(host, mute.address, 443).connect() as peer:
        peer.send(GOOD)
        assert wait_until(lambda: mute.received() == GOOD)
        for _ in range(3):
            peer.send(b"\1", at=len(GOOD) - 1, flags=ACK)
        peer.send(GOOD)
        refused(lab, mute, "server_timeout", cat="server", saw=GOOD, spt=peer.source_port)
        assert tap.payloads(mute.address) == [GOOD, GOOD]


@pytest.mark.parametrize(
    "options", [MSS + MULTIPATH, MSS + FAST_OPEN_COOKIE, MSS + MULTIPATH + FAST_OPEN_COOKIE], ids=["mp", "tfo", "both"]
)
def test_options_that_change_what_data_is_are_taken_off_each_syn(stage: Stage, options: bytes) -> None:
    """Also off one that is sent again when the server has answered, and conntrack calls it established (P9)."""
    with stage.peer() as peer:
        peer.send_syn(options=options)
        answer = peer.receive_where(lambda segment: segment.flags & SYN)
        assert answer is not None
        peer.send_syn(options=options)
        assert peer.receive_where(lambda segment: segment.flags & ACK) is not None
        syns = [each for each in stage.tap.segments(stage.server.address, 443) if each.flags & SYN]
    assert len(syns) == 2
    for syn in syns:
        assert MSS in syn.options
        assert not {30, 34} & set(syn.options.removeprefix(MSS))


@pytest.mark.parametrize("setting", ["tcp_ecn", "tcp_fastopen", "tcp_timestamps"])
def test_real_clients_with_other_settings_are_served(lab: Lab, host: Workload, setting: str) -> None:
    """Of Linux: with ECN asked for, Fast Open on, without timestamps."""
    web = lab.internet.tls(NAME, address=lab.internet.address(), port=443)
    lab.names[NAME] = [*lab.names[NAME].addresses, web.address]
    before = host.namespace.run("sysctl", "-n", f"net.ipv4.{setting}").stdout.strip()
    value = {"tcp_ecn": 1, "tcp_fastopen": 1, "tcp_timestamps": 0}[setting]
    host.namespace.sysctl(**{f"net__ipv4__{setting}": value})
    try:
        resolve = ("--resolve", f"{NAME}:443:{web.address}", "--tcp-fastopen")
        assert host.curl(f"https://{NAME}/octets/100000", *resolve).ok
        assert host.openssl(web.address, "-servername", NAME).ok
    finally:
        host.namespace.sysctl(**{f"net__ipv4__{setting}": before})
    allowed(lab, web, dhost=NAME)


# ---- packets whose length is not what it says (P19) ----


def sent_by(cable: Cable, peer: Peer, payload: bytes, *, behind: bytes = b"", length_lie: int = 0) -> None:
    flags = ACK | PSH if payload else ACK
    cable.put(peer.packet(peer.segment(payload, flags=flags), length_lie=length_lie) + behind)


@pytest.mark.parametrize("padding", [bytes(6), bytes(2), EVIL], ids=["6", "2", "hello"])
def test_padding_behind_a_bare_segment_is_neither_payload_nor_refused(
    lab: Lab, stage: Stage, cable: Cable, padding: bytes
) -> None:
    """A short frame is padded to 60 octets: what lies beyond the packet's length is not a part of it."""
    with stage.peer().connect() as peer:
        sent_by(cable, peer, b"", behind=padding)
        sent_by(cable, peer, GOOD, behind=padding)
        assert peer.read(len(REPLY), sent=len(GOOD)) == REPLY
    assert stage.server.received() == GOOD
    stage.assert_only(GOOD)


@pytest.mark.parametrize("lie", [-len(GOOD) // 2, -len(GOOD), -len(GOOD) - 10, 1, 100])
def test_a_packet_that_lies_about_its_length_is_not_believed(lab: Lab, stage: Stage, cable: Cable, lie: int) -> None:
    """Its checksum does not fit then, or its end is missing."""
    with stage.peer().connect() as peer:
        sent_by(cable, peer, EVIL, length_lie=lie)
        sent_by(cable, peer, GOOD, length_lie=lie)
        peer.send(EVIL)
        refused(lab, stage.server, "name_not_listed", spt=peer.source_port)
    stage.assert_only()


# ---- IPv6 (P13) ----

CLIENT6, SERVER6 = "2001:db8:1::10", "2001:db8:2::10"
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, TCP = 0, 43, 44, 60, 6


def ipv6(first: int, content: bytes) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, CLIENT6) + socket.inet_pton(socket.AF_INET6, SERVER6)
    return struct.pack("!IHBB", 6 << 28, len(content), first, 64) + addresses + content


def tcp6(flags: int, payload: bytes) -> bytes:
    return struct.pack("!HHIIBBHHH", 20000, 443, 1, 0, 5 << 4, flags, 64000, 0, 0) + payload


PACKETS6 = {
    "bare": (TCP, b""),
    "hopbyhop": (HOP_BY_HOP, bytes((TCP, 0, 1, 4)) + bytes(4)),
    "destopt": (DESTINATION, bytes((TCP, 0, 1, 4)) + bytes(4)),
    "ipfrag1": (FRAGMENT, bytes((TCP, 0, 0, 0)) + bytes(4)),  # an atomic fragment (RFC 6946)
    "ipfrag2": (FRAGMENT, bytes((TCP, 0, 0, 1)) + bytes(4)),
    "later_fragment": (FRAGMENT, bytes((TCP, 0, 0, 8)) + bytes(4)),
    "routing": (ROUTING, bytes((TCP, 0, 0, 0)) + bytes(4)),
}


@pytest.fixture(scope="module")
def way6(lab: Lab, appliance: object) -> Iterator[Tap]:
    """A host that, against the image's settings, does forward IPv6 and has a way out; yields a tap on it."""
    here, device = lab.appliance.namespace, lab.fabric.device_of(lab.appliance.interface)
    link = json.loads(lab.fabric.namespace.run("ip", "-json", "link", "show", "dev", device).stdout)
    settings = {f"net__ipv6__conf__{each}__disable_ipv6": 0 for each in ("all", "eth0")}
    here.sysctl(**settings, net__ipv6__conf__all__forwarding=1)
    here.ip(
        "address add fe80::1/64 dev eth0 nodad",
        f"neighbour replace fe80::2 lladdr {link[0]['address']} dev eth0",
        "route replace ::/0 via fe80::2 dev eth0",
    )
    with Tap(lab.fabric.namespace, device) as tap:
        yield tap
    here.ip("route delete ::/0 via fe80::2 dev eth0")
    here.sysctl(net__ipv6__conf__all__forwarding=0)


@pytest.mark.parametrize(("first", "headers"), PACKETS6.values(), ids=PACKETS6)
@pytest.mark.parametrize("flags", [SYN, ACK | PSH], ids=["syn", "data"])
def test_no_ipv6_is_forwarded(lab: Lab, way6: Tap, cable: Cable, *, first: int, headers: bytes, flags: int) -> None:
    """Whatever stands between its header and TCP's; zapret's modes by their names."""
    cable.put(ipv6(first, headers + tcp6(flags, EVIL if flags & PSH else b"")))
    before = strays(lab, "forwarded_ipv6")
    cable.put(ipv6(TCP, tcp6(SYN, b"")))  # behind it, and seen to end where it does: fragments may wait for others
    assert wait_until(lambda: strays(lab, "forwarded_ipv6") > before)
    assert not [packet for packet in way6.packets() if socket.inet_pton(socket.AF_INET6, SERVER6) in packet]
