"""Segments no ordinary client sends: what is not inspected does not pass, and what was inspected is what passes.

Source: SECURITY.md, rows P1 to P19; the tricks are those of public circumvention tools.
"""

from collections.abc import Callable, Iterator

import pytest

from tests import hellos
from tests.lab.hostile import EVIL, GOOD, HALF, NAME, REPLY, arrived, strays
from tests.lab.lab import Lab, wait_until
from tests.lab.servers import Connection, Server
from tests.lab.story import refused
from tests.lab.tcp import (
    ACK,
    FAST_OPEN_COOKIE,
    FIN,
    IP_NO_OPERATIONS,
    MD5_OPTION,
    MSS,
    PSH,
    RST,
    SYN,
    URG,
    Lie,
    Peer,
    Tap,
)
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")


@pytest.fixture
def server(listed: Server) -> Server:
    """The same with an empty record."""
    listed.forget()
    return listed


@pytest.fixture
def tap(lab: Lab, server: Server) -> Iterator[Tap]:
    """What reaches the server's host from now on."""
    with Tap(lab.internet.namespace) as made:
        yield made


@pytest.fixture
def peer(host: Workload, server: Server) -> Iterator[Peer]:
    """A connection to it, not open yet."""
    with Peer(host, server.address, 443) as made:
        yield made


def test_the_two_hellos_differ_in_their_name_only() -> None:
    """So that a decoy could take the other's place octet by octet."""
    assert len(GOOD) == len(EVIL)
    assert sum(one != other for one, other in zip(GOOD, EVIL, strict=True)) == 3


# ---- odd, but allowed ----


def in_one_segment(peer: Peer) -> None:
    peer.send(GOOD)


def in_two_halves(peer: Peer) -> None:
    peer.send(GOOD[:HALF])
    peer.send(GOOD[HALF:], at=HALF)


def the_second_half_first(peer: Peer) -> None:
    peer.send(GOOD[HALF:], at=HALF)
    peer.send(GOOD[:HALF])


def backwards(peer: Peer) -> None:
    for at in reversed(range(0, len(GOOD), 20)):
        peer.send(GOOD[at : at + 20], at=at)


def one_octet_per_segment(peer: Peer) -> None:
    peer.send_each(GOOD, size=1)


def every_segment_twice(peer: Peer) -> None:
    for at in range(0, len(GOOD), 50):
        for _ in range(2):
            peer.send(GOOD[at : at + 50], at=at)


def overlapping_alike(peer: Peer) -> None:
    peer.send(GOOD[: HALF + 20])
    peer.send(GOOD[HALF - 20 :], at=HALF - 20)


def in_fragments(peer: Peer) -> None:
    segment = peer.segment(GOOD)
    peer.send_fragments(segment, (0, 80), (80, 160), (160, len(segment)))


def in_fragments_backwards(peer: Peer) -> None:
    segment = peer.segment(GOOD)
    peer.send_fragments(segment, (160, len(segment)), (80, 160), (0, 80))


def after_a_decoy_with_a_bad_checksum(peer: Peer) -> None:
    peer.send(EVIL, lie=Lie(checksum=1))
    peer.send(GOOD)


def with_a_segment_in_between_that_is_empty(peer: Peer) -> None:
    peer.send(GOOD[:HALF])
    peer.send(b"", at=HALF, flags=ACK)
    peer.send(GOOD[HALF:], at=HALF)


ALLOWED = [
    in_one_segment,
    in_two_halves,
    the_second_half_first,
    backwards,
    one_octet_per_segment,
    every_segment_twice,
    overlapping_alike,
    in_fragments,
    in_fragments_backwards,
    after_a_decoy_with_a_bad_checksum,
    with_a_segment_in_between_that_is_empty,
]


@pytest.mark.parametrize("send", ALLOWED, ids=lambda send: send.__name__)
def test_a_good_hello_is_allowed_however_it_is_cut(
    lab: Lab, server: Server, peer: Peer, send: Callable[[Peer], None]
) -> None:
    """The server gets exactly the octets that were inspected, and the client its answer."""
    peer.connect()
    send(peer)
    assert peer.read(len(REPLY), sent=len(GOOD)) == REPLY
    assert server.received() == GOOD
    lab.appliance.wait_for_event(dst=server.address, spt=peer.source_port, cat="server", code="server_agreed")


def test_a_hello_in_records_of_one_octet_is_allowed(lab: Lab, host: Workload) -> None:
    """Records cut a message anywhere (RFC 8446 section 5.1)."""
    sent = hellos.client_stream(hellos.client_hello(NAME), split=1)
    server = lab.internet.lines("", reply=REPLY, after=len(sent))
    lab.names[NAME] = [*lab.names[NAME].addresses, server.address]
    with Peer(host, server.address, 443).connect() as peer:
        peer.send_each(sent, size=500)
        assert peer.read(len(REPLY), sent=len(sent)) == REPLY
    assert server.received() == sent


# ---- refused ----


def whole_but_not_listed(peer: Peer) -> None:
    peer.send(EVIL)


def cut_but_not_listed(peer: Peer) -> None:
    peer.send_each(EVIL, size=40)


def a_half_again_with_other_octets(peer: Peer) -> None:
    peer.send(GOOD[:HALF])
    peer.send(bytes(HALF))


def an_overlap_with_other_octets(peer: Peer) -> None:
    peer.send(GOOD[:HALF])
    peer.send(bytes(20) + GOOD[HALF:], at=HALF - 20)


def an_overlap_ahead_of_its_turn(peer: Peer) -> None:
    peer.send(GOOD[HALF:], at=HALF)
    peer.send(GOOD[: HALF - 5] + bytes(10))


def octets_before_the_first_one(peer: Peer) -> None:
    peer.send(bytes(10) + GOOD, at=-10)


def md5_on_a_segment(peer: Peer) -> None:
    peer.send(GOOD, options=MD5_OPTION)


def urgent_octets(peer: Peer) -> None:
    peer.send(GOOD, urgent=len(GOOD))


def ip_options_on_a_segment(peer: Peer) -> None:
    peer.send(GOOD, ip_options=IP_NO_OPERATIONS)


def a_decoy_with_a_bad_checksum(peer: Peer) -> None:
    peer.send(GOOD, lie=Lie(checksum=1))
    peer.send(EVIL)


def fragments_of_an_unlisted_hello(peer: Peer) -> None:
    segment = peer.segment(EVIL)
    peer.send_fragments(segment, (0, 80), (80, len(segment)))


REFUSED = [
    # how                             code
    (whole_but_not_listed,            "name_not_listed"),
    (cut_but_not_listed,              "name_not_listed"),
    (a_half_again_with_other_octets,  "tcp_conflict"),  # P1
    (an_overlap_with_other_octets,    "tcp_conflict"),
    (an_overlap_ahead_of_its_turn,    "tcp_conflict"),
    (octets_before_the_first_one,     "tcp_conflict"),
    (md5_on_a_segment,                "tcp_md5"),  # P6
    (urgent_octets,                   "urgent_data"),  # P7
    (ip_options_on_a_segment,         "ip_options"),  # P12
    (a_decoy_with_a_bad_checksum,     "name_not_listed"),  # P4
    (fragments_of_an_unlisted_hello,  "name_not_listed"),  # P12
]  # fmt: skip


@pytest.mark.parametrize(("send", "code"), REFUSED, ids=lambda each: getattr(each, "__name__", each))
def test_tricks_are_refused(
    lab: Lab, server: Server, peer: Peer, tap: Tap, *, send: Callable[[Peer], None], code: str
) -> None:
    """The client is reset, the log has the code, and not one octet arrives; a good hello afterwards does not help."""
    peer.connect()
    send(peer)
    assert peer.was_reset()
    refused(lab, server, code, spt=0 if code == "ip_options" else peer.source_port)  # no port is read behind options
    peer.send(GOOD)
    peer.send(b"more", at=len(GOOD))
    assert_nothing_came(lab, server, peer, tap)


def assert_nothing_came(lab: Lab, server: Server, peer: Peer, tap: Tap) -> None:
    """Neither to the server, nor to its host at all."""
    assert arrived(tap, lab.internet.namespace, Peer(peer.host, server.address, 443)) == []
    assert server.received() == b""


@pytest.mark.parametrize("size", [1, 7])
def test_a_dribbled_hello_never_arrives_whole(lab: Lab, server: Server, peer: Peer, size: int) -> None:
    """A client that dribbles to a listed address is let through piece by piece, until its name is known (T3)."""
    peer.connect()
    peer.send_each(EVIL, size=size)
    assert peer.was_reset()
    refused(lab, server, "name_not_listed", saw=None, spt=peer.source_port)
    assert EVIL.startswith(server.received())
    assert len(server.received()) < len(EVIL)


def test_overlapping_fragments_never_arrive(lab: Lab, server: Server, peer: Peer) -> None:
    """The kernel puts fragments together before anybody looks, and drops what overlaps (RFC 5722's rule)."""
    peer.connect()
    good, evil = peer.segment(GOOD), peer.segment(EVIL)
    peer.send_fragments(good, (0, 80))
    peer.send_fragments(evil, (72, 160))
    peer.send_fragments(evil, (80, len(evil)))
    peer.send(EVIL)
    assert peer.was_reset()
    refused(lab, server, "name_not_listed", spt=peer.source_port)


def test_a_packet_that_is_longer_than_its_copy_is_refused(lab: Lab, server: Server, peer: Peer, tap: Tap) -> None:
    """Fragments that the kernel has put together may be longer than any frame (P17)."""
    peer.connect()
    segment = peer.segment(GOOD + bytes(6000))
    peer.send_fragments(segment, *((at, min(at + 1400, len(segment))) for at in range(0, len(segment), 1400)))
    assert peer.was_reset()
    refused(lab, server, "truncated_copy", src=peer.source)
    peer.send(EVIL)
    assert_nothing_came(lab, server, peer, tap)


def test_repetitions_that_never_progress_end(lab: Lab, server: Server, peer: Peer, tap: Tap) -> None:
    """The same octet for ever, whose flow has a bound of segments and of time (P16)."""
    peer.connect()
    for _ in range(2100):
        peer.send(GOOD[1:2], at=1)
    assert peer.was_reset()
    refused(lab, server, "hello_timeout", spt=peer.source_port)
    assert_nothing_came(lab, server, peer, tap)


@pytest.fixture(scope="module")
def mute(lab: Lab, listed: Server) -> Server:
    """Another address of the listed name, where nobody answers: its flows stay under inspection."""
    server = lab.internet.lines("")
    lab.names[NAME] = [listed.address, server.address]
    return server


@pytest.mark.parametrize("ttl", [3, 64])
def test_a_decoy_cannot_stand_in_for_the_real_hello(lab: Lab, host: Workload, mute: Server, ttl: int) -> None:
    """A decoy that should have died on the way arrives, for its TTL is rewritten; what follows must equal it (P3)."""
    mute.forget()
    with Peer(host, mute.address, 443).connect() as peer:
        peer.send(GOOD, ttl=ttl)
        assert wait_until(lambda: mute.received() == GOOD)
        peer.send(EVIL)
        assert peer.was_reset()
    refused(lab, mute, "tcp_conflict", saw=GOOD, spt=peer.source_port)


def test_a_decoy_out_of_the_window_changes_nothing(lab: Lab, server: Server, peer: Peer, tap: Tap) -> None:
    """The kernel knows which sequence numbers are possible (P5)."""
    peer.connect()
    peer.send(GOOD, at=1 << 30)
    peer.send(EVIL)
    assert peer.was_reset()
    assert_nothing_came(lab, server, peer, tap)


def test_early_data_behind_the_hello_waits_for_the_server(lab: Lab, host: Workload, mute: Server) -> None:
    """Octets behind the hello go on only when the server has agreed (T8)."""
    mute.forget()
    with Peer(host, mute.address, 443).connect() as peer:
        peer.send(GOOD)
        assert wait_until(lambda: mute.received() == GOOD)
        peer.send(b"secret" * 100, at=len(GOOD))
        assert peer.was_reset()
    refused(lab, mute, "server_timeout", cat="server", saw=GOOD, spt=peer.source_port)


# ---- opening ----


def test_data_in_a_syn_is_refused(lab: Lab, server: Server, peer: Peer) -> None:
    """With a Fast Open cookie or without, nothing passes uninspected (P9)."""
    for options in (MSS, MSS + FAST_OPEN_COOKIE):
        peer.send_syn(GOOD, options=options)
        assert peer.was_reset()
        refused(lab, server, "syn_data", spt=peer.source_port)
        peer.reset = False
    assert not connections(server, peer)


def test_a_fast_open_cookie_is_taken_off(lab: Lab, server: Server, peer: Peer) -> None:
    """The SYN goes on without it, so that the server expects no data in one."""
    with Tap(lab.internet.namespace) as tap:
        peer.connect(options=MSS + FAST_OPEN_COOKIE)
        syn = next(segment for segment in tap.segments(server.address, 443) if segment.flags & SYN)
    assert MSS in syn.options
    assert FAST_OPEN_COOKIE not in syn.options
    assert 34 not in syn.options


def test_a_signed_syn_is_refused(lab: Lab, server: Server, peer: Peer) -> None:
    """A server without the key would ignore segments that we let through (P6)."""
    with pytest.raises(ConnectionResetError):
        peer.connect(options=MSS + MD5_OPTION)
    refused(lab, server, "tcp_md5", spt=peer.source_port)
    assert not connections(server, peer)


def test_ip_options_on_a_syn_are_refused(lab: Lab, server: Server, peer: Peer) -> None:
    """Options of the IP header move everything behind it."""
    peer.send_syn(ip_options=IP_NO_OPERATIONS)
    assert peer.was_reset()
    refused(lab, server, "ip_options", src=peer.source)
    assert not connections(server, peer)


@pytest.mark.parametrize("flags", [ACK | PSH, ACK], ids=["data", "no data"])
def test_what_is_in_mid_stream_is_answered_with_a_reset(lab: Lab, server: Server, peer: Peer, flags: int) -> None:
    """A flow of before a restart ends at once, and is not forwarded under the client's own address (P14)."""
    with Tap(lab.internet.namespace) as tap:
        peer.send(GOOD if flags & PSH else b"", flags=flags)
        assert peer.was_reset()
        assert not list(tap.segments(server.address, 443))
    assert not connections(server, peer)


@pytest.mark.parametrize("flags", [FIN | ACK, SYN | ACK, 0, FIN, SYN | FIN, FIN | PSH | URG], ids=hex)
def test_what_is_no_beginning_goes_nowhere(lab: Lab, server: Server, peer: Peer, flags: int) -> None:
    """Flags that begin no connection are counted and stopped. The client's own Security Group drops our answer."""
    before = strays(lab)
    with Tap(lab.internet.namespace) as tap:
        peer.send(b"", flags=flags)
        assert wait_until(lambda: strays(lab) > before)
        assert not list(tap.segments(server.address, 443))
    assert not connections(server, peer)


def connections(server: Server, peer: Peer) -> list[Connection]:
    """Return what became of this peer at the server; the source port survives the NAT where it is free."""
    return [each for each in server.connections if each.port == peer.source_port]


def test_the_handshake_may_carry_the_hello_on_its_last_segment(lab: Lab, server: Server, peer: Peer) -> None:
    """Payload on the third packet is inspected like any other (P10)."""
    peer.send_syn()
    answer = peer.receive_where(lambda segment: segment.flags & SYN)
    assert answer is not None
    peer.expects = answer.sequence + 1
    peer.send(EVIL)
    assert peer.was_reset()
    refused(lab, server, "name_not_listed", spt=peer.source_port)


# ---- ending early ----


@pytest.mark.parametrize("flags", [RST | ACK, FIN | ACK], ids=["reset", "fin"])
def test_a_feigned_end_opens_nothing(lab: Lab, server: Server, peer: Peer, tap: Tap, flags: int) -> None:
    """What comes after a reset or a FIN is no flow that anybody has inspected (P8)."""
    peer.connect()
    peer.send(b"", flags=flags)
    peer.send(EVIL, at=flags & FIN)
    assert peer.was_reset()
    assert_nothing_came(lab, server, peer, tap)


def test_a_source_port_can_be_used_again(lab: Lab, host: Workload, server: Server) -> None:
    """A mark belongs to one connection: the next one of the same ports is inspected anew (X3)."""
    with Peer(host, server.address, 443).connect() as first:
        first.send(GOOD)
        assert first.read(len(REPLY), sent=len(GOOD)) == REPLY
        first.send(b"", at=len(GOOD), flags=RST | ACK)
        port = first.source_port
    assert wait_until(lambda: not server.connections[-1].open)
    server.forget()
    with Peer(host, server.address, 443, source_port=port) as second:
        second.connect()
        second.send(EVIL)
        assert second.was_reset()
    assert server.received() == b""
