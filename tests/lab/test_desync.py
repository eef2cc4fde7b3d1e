"""What public circumvention tools do to a hello: a decoy with the listed name, then the real one with another.

Source: the options of zapret (`--dpi-desync=`, `--dpi-desync-fooling=`) and the recipes of geneva, by their own names.
A decoy is a segment that a filter believes and the server does not; whatever it is, the real hello that follows must
not arrive.
"""

from collections.abc import Callable
from functools import partial

import pytest

from tests.lab.event_log import Event
from tests.lab.hostile import CHANGED, EVIL, GOOD, LINUX, OLD, REPLY, Stage
from tests.lab.lab import Lab, wait_until
from tests.lab.story import refused
from tests.lab.tcp import ACK, CWR, ECE, FIN, MD5_OPTION, PSH, RST, SYN, URG, Lie, Peer, timestamps

pytestmark = pytest.mark.usefixtures("appliance")

CUT = CHANGED[-1] + 5  # behind what the two hellos differ in
HOST = slice(CHANGED[0] - 2, CHANGED[-1] + 10)  # some octets around the name

Trick = Callable[[Peer], None]


# ---- foolings: why the server does not believe the decoy ----


def md5sig(peer: Peer, octets: bytes, at: int = 0, flags: int = ACK | PSH) -> None:
    peer.send(octets, at=at, flags=flags, options=MD5_OPTION)


def ts(peer: Peer, octets: bytes, at: int = 0, flags: int = ACK | PSH) -> None:
    peer.send(octets, at=at, flags=flags, options=timestamps(OLD))


def badsum(peer: Peer, octets: bytes, at: int = 0, flags: int = ACK | PSH) -> None:
    peer.send(octets, at=at, flags=flags, lie=Lie(checksum=1))


def badseq(peer: Peer, octets: bytes, at: int = 0, flags: int = ACK | PSH) -> None:
    peer.send(octets, at=at - 10_000, flags=flags, lie=Lie(acknowledgement=-66_000))


def badseq_increment(peer: Peer, octets: bytes, at: int = 0, flags: int = ACK | PSH) -> None:
    peer.send(octets, at=at - 10_000, flags=flags)


def badack_increment(peer: Peer, octets: bytes, at: int = 0, flags: int = ACK | PSH) -> None:
    peer.send(octets, at=at, flags=flags, lie=Lie(acknowledgement=-66_000))


def datanoack(peer: Peer, octets: bytes, at: int = 0, flags: int = ACK | PSH) -> None:
    peer.send(octets, at=at, flags=flags & ~ACK)


def ttl_one_short(peer: Peer, octets: bytes, at: int = 0, flags: int = ACK | PSH) -> None:
    """It would end at the appliance."""
    peer.send(octets, at=at, flags=flags, ttl=2)


# ---- desync modes ----


def fake(fool: Callable[[Peer, bytes], None], peer: Peer) -> None:
    fool(peer, GOOD)
    peer.send(EVIL)


def fakedsplit(fool: Callable[..., None], peer: Peer) -> None:
    """Each part of the real hello between two decoys."""
    for start, end in ((0, CUT), (CUT, len(EVIL))):
        fool(peer, GOOD[start:end], start)
        peer.send(EVIL[start:end], at=start)
        fool(peer, GOOD[start:end], start)


def fakeddisorder(fool: Callable[..., None], peer: Peer) -> None:
    for start, end in ((CUT, len(EVIL)), (0, CUT)):
        fool(peer, GOOD[start:end], start)
        peer.send(EVIL[start:end], at=start)
        fool(peer, GOOD[start:end], start)


def hostfakesplit(fool: Callable[..., None], peer: Peer) -> None:
    """A decoy of the name alone before and after the real name."""
    peer.send(EVIL[: HOST.start])
    fool(peer, GOOD[HOST], HOST.start)
    peer.send(EVIL[HOST], at=HOST.start)
    fool(peer, GOOD[HOST], HOST.start)
    peer.send(EVIL[HOST.stop :], at=HOST.stop)


def ended(fool: Callable[..., None], flags: int, peer: Peer) -> None:
    """Modes rst and rstack, and geneva's TCB teardown."""
    fool(peer, b"", 0, flags)
    peer.send(EVIL)


def honest(peer: Peer, octets: bytes, at: int = 0, flags: int = ACK | PSH) -> None:
    peer.send(octets, at=at, flags=flags)


def multisplit(peer: Peer) -> None:
    peer.send_each(EVIL, size=60)


def multidisorder(peer: Peer) -> None:
    for at in reversed(range(0, len(EVIL), 60)):
        peer.send(EVIL[at : at + 60], at=at)


def multisplit_seqovl(peer: Peer) -> None:
    """The decoy lies left of the window, and the server cuts it off."""
    peer.send(GOOD + EVIL[:CUT], at=-len(GOOD))
    peer.send(EVIL[CUT:], at=CUT)


def multidisorder_seqovl(peer: Peer) -> None:
    """The decoy lies where the first part comes to lie, and is replaced by it."""
    peer.send(GOOD[20:CUT] + EVIL[CUT:], at=20)
    peer.send(EVIL[:CUT])


def ipfrag2(peer: Peer) -> None:
    segment = peer.segment(EVIL)
    peer.send_fragments(segment, (0, 24), (24, len(segment)))


def ipfrag2_disorder(peer: Peer) -> None:
    segment = peer.segment(EVIL)
    peer.send_fragments(segment, (24, len(segment)), (0, 24))


def ipfrag_inside_the_tcp_header(peer: Peer) -> None:
    """RFC 1858's tiny fragment: the flags are in the second one."""
    segment = peer.segment(EVIL)
    peer.send_fragments(segment, (0, 8), (8, len(segment)))


def ipfrag_of_a_decoy_with_another_rest(peer: Peer) -> None:
    good, evil = peer.segment(GOOD), peer.segment(EVIL)
    peer.send_fragments(good, (0, 80))
    peer.send_fragments(evil, (80, len(evil)))
    peer.send(EVIL)


# ---- geneva ----


def flagged(flags: int, peer: Peer) -> None:
    """A decoy whose flags make no sense."""
    peer.send(GOOD, flags=flags)
    peer.send(EVIL)


def desync_by_a_syn_with_data(peer: Peer) -> None:
    peer.send_syn(GOOD, at=5000)
    peer.send(EVIL)


def desync_by_a_bare_syn(peer: Peer) -> None:
    peer.send_syn(at=5000)
    peer.send(EVIL)


def desync_by_a_bare_syn_ahead_of_the_decoy(peer: Peer) -> None:
    """The filter should follow the second numbers, the server goes on with the first."""
    peer.send_syn(at=5000)
    peer.send(GOOD, at=5001)
    peer.send(EVIL)


def corrupt_ack(by: int, peer: Peer) -> None:
    peer.send(GOOD, lie=Lie(acknowledgement=by))
    peer.send(EVIL)


def corrupt_data_offset(by: int, peer: Peer) -> None:
    peer.send(GOOD, lie=Lie(header=by))
    peer.send(EVIL)


def invalid_option(octets: bytes, peer: Peer) -> None:
    peer.send(GOOD, options=octets)
    peer.send(EVIL)


def window_reduction(peer: Peer) -> None:
    peer.send(b"", flags=ACK, window=1)
    peer.send_each(EVIL, size=100)


def urgent_before(peer: Peer) -> None:
    """The pointer comes without payload, ahead of the hello from which it takes an octet."""
    peer.send(b"", flags=ACK | URG, urgent=CHANGED[0])
    peer.send(GOOD)


def reset_with_data(peer: Peer) -> None:
    peer.send(GOOD, flags=RST | ACK)
    peer.send(EVIL)


def reset_in_the_window_with_data(peer: Peer) -> None:
    """It is not at the next number, so the server only challenges it (RFC 5961 section 3.2)."""
    peer.send(GOOD[CUT:], at=CUT, flags=RST | ACK)
    peer.send(EVIL[CUT:], at=CUT)
    peer.send(EVIL[:CUT])


def data_behind_a_fin(peer: Peer) -> None:
    peer.send(GOOD[:CUT], flags=ACK | FIN)
    peer.send(EVIL)


def beyond_the_window(peer: Peer) -> None:
    peer.send(GOOD, at=1 << 20)
    peer.send(EVIL)


def padding_as_data(peer: Peer) -> None:
    """As some card or middlebox makes of a short frame (P19), if its length counts it."""
    peer.send(bytes(6), flags=ACK)
    peer.send(EVIL, at=6)


def harmless_beginning(peer: Peer) -> None:
    """More packets than any filter that counts would look at (P15)."""
    for _ in range(200):
        peer.send(b"", flags=ACK)
    for _ in range(20):
        peer.send(GOOD[:1])
    peer.send(EVIL[1:], at=1)


def case(name: str, trick: Trick, code: str, arrives: bytes = b"") -> object:
    return pytest.param(trick, code, arrives, id=name)


ENDS = {"rst": RST, "rstack": RST | ACK, "fin": FIN | ACK}
ALL = FIN | SYN | RST | PSH | ACK | URG
CASES = [
    case("fake-md5sig", partial(fake, md5sig), "tcp_md5"),
    case("fake-ts", partial(fake, ts), "tcp_conflict", GOOD),
    *(
        case(f"fake-{fool.__name__}", partial(fake, fool), "name_not_listed")
        for fool in (badsum, datanoack, ttl_one_short)
    ),
    case("fake-badseq", partial(fake, badseq), "tcp_conflict"),
    case("fake-badseq_increment", partial(fake, badseq_increment), "tcp_conflict"),
    case("fake-badack_increment", partial(fake, badack_increment), "tcp_conflict", GOOD),
    *(
        case(f"{mode.__name__}-{fool.__name__}", partial(mode, fool), code, arrives)
        for mode in (fakedsplit, fakeddisorder, hostfakesplit)
        for fool, code, arrives in (
            (md5sig, "tcp_md5", b""),
            (ts, "tcp_conflict", GOOD if mode is fakeddisorder else b""),  # there the decoy is whole first
            (badsum, "name_not_listed", b""),
        )
    ),
    *(
        case(f"{name}-{fool.__name__}", partial(ended, fool, flags), "name_not_listed")
        for name, flags in ENDS.items()
        for fool in (honest, md5sig, ts, badsum, badseq_increment, ttl_one_short)
    ),
    case("multisplit", multisplit, "name_not_listed"),
    case("multidisorder", multidisorder, "name_not_listed"),
    case("multisplit-seqovl", multisplit_seqovl, "tcp_conflict"),
    case("multidisorder-seqovl", multidisorder_seqovl, "tcp_conflict"),
    case("ipfrag2", ipfrag2, "name_not_listed"),
    case("ipfrag2-disorder", ipfrag2_disorder, "name_not_listed"),
    case("ipfrag2-tiny", ipfrag_inside_the_tcp_header, "name_not_listed"),
    case("ipfrag2-decoy", ipfrag_of_a_decoy_with_another_rest, "name_not_listed"),
    case("flags-none", partial(flagged, 0), "name_not_listed"),
    case("flags-all", partial(flagged, ALL), "name_not_listed"),
    case("flags-all-and-ecn", partial(flagged, ALL | ECE | CWR), "name_not_listed"),
    case("flags-syn-fin", partial(flagged, SYN | FIN), "name_not_listed"),
    case("flags-syn-rst", partial(flagged, SYN | RST), "name_not_listed"),
    case("flags-fin", partial(flagged, FIN | PSH), "name_not_listed"),
    case("flags-urg", partial(flagged, ACK | URG), "urgent_data"),
    case("flags-syn-ack", partial(flagged, SYN | ACK), "name_not_listed"),
    case("desync-syn-data", desync_by_a_syn_with_data, "syn_data"),
    case("desync-syn", desync_by_a_bare_syn, "name_not_listed"),
    case("desync-syn-decoy", desync_by_a_bare_syn_ahead_of_the_decoy, "name_not_listed"),
    case("corrupt_ack-ahead", partial(corrupt_ack, 1 << 20), "name_not_listed"),
    case("corrupt_ack-behind", partial(corrupt_ack, -(1 << 20)), "tcp_conflict", GOOD),
    case("corrupt_data_offset-less", partial(corrupt_data_offset, -1), "name_not_listed"),
    case("corrupt_data_offset-none", partial(corrupt_data_offset, -5), "name_not_listed"),
    case("corrupt_data_offset-more", partial(corrupt_data_offset, 8), "not_tls"),
    case("invalid_option-too_long", partial(invalid_option, b"\xfe\x20\0\0"), "malformed_packet"),
    case("invalid_option-empty", partial(invalid_option, b"\xfe\x00\0\0"), "malformed_packet"),
    case("invalid_option-signed", partial(invalid_option, b"\x1d\x10" + bytes(14)), "tcp_md5"),
    case("window_reduction", window_reduction, "name_not_listed"),
    case("urgent-before", urgent_before, "urgent_data"),
    case("reset-data", reset_with_data, "malformed_packet"),
    case("reset-data-in_window", reset_in_the_window_with_data, "malformed_packet"),
    case("fin-data", data_behind_a_fin, "tcp_conflict"),
    case("beyond_window", beyond_the_window, "name_not_listed"),
    case("padding", padding_as_data, "not_tls"),
    case("harmless", harmless_beginning, "name_not_listed", GOOD[:1]),
]


@pytest.mark.parametrize(("trick", "code", "arrives"), CASES)
def test_no_trick_brings_the_real_hello_through(
    lab: Lab, stage: Stage, trick: Trick, code: str, arrives: bytes
) -> None:
    """Not one octet that was not inspected arrives; a second try over the same connection does not help."""
    # What cannot be parsed has no ports in the log.
    unread = code == "malformed_packet" and trick not in (reset_with_data, reset_in_the_window_with_data)
    before = len(unreadable(lab))
    with stage.peer().connect(options=LINUX) as peer:
        trick(peer)
        if unread:
            assert wait_until(lambda: len(unreadable(lab)) > before)
        else:
            refused(lab, stage.server, code, saw=None, spt=peer.source_port)
        peer.send(EVIL)
        peer.send(EVIL, at=len(GOOD))
        peer.send(EVIL[CUT:], at=CUT)
    stage.assert_only(arrives)
    assert not any(stage.server.received()[at : at + 1] for at in CHANGED)


def unreadable(lab: Lab) -> list[Event]:
    return [each for each in lab.appliance.flow_events() if (each["code"], each["spt"]) == ("malformed_packet", 0)]


def synack(peer: Peer) -> None:
    """Geneva's turnaround: the filter should take the client for the server."""
    peer.send(b"", at=-1, flags=SYN | ACK)
    peer.connect(options=LINUX)


def syn_again(peer: Peer) -> None:
    peer.connect(options=LINUX)
    peer.send_syn(options=LINUX)


def half_open_and_reset(peer: Peer) -> None:
    peer.send_syn(at=70_000)
    assert peer.receive_where(lambda segment: segment.flags & SYN) is not None
    peer.send(b"", at=70_001, flags=RST)
    peer.connect(options=LINUX)


@pytest.mark.parametrize("begin", [synack, syn_again, half_open_and_reset], ids=lambda each: each.__name__)
def test_no_odd_beginning_helps(lab: Lab, stage: Stage, begin: Trick) -> None:
    """Whichever numbers the filter was told, the hello that the server would read is inspected (X3)."""
    with stage.peer() as peer:
        begin(peer)
        peer.send(EVIL)
        refused(lab, stage.server, "name_not_listed", spt=peer.source_port)
    stage.assert_only()


def test_a_second_syn_with_another_number_leaves_the_first_in_force(lab: Lab, stage: Stage) -> None:
    """The server answers the second with the first one's number, or not at all; nothing passes by the second's."""
    with stage.peer() as peer:
        peer.send_syn(options=LINUX)
        answer = peer.receive_where(lambda segment: segment.flags & (SYN | ACK) == SYN | ACK)
        assert answer is not None
        peer.send_syn(at=70_000)
        peer.expects = answer.sequence + 1
        peer.send(b"", flags=ACK)
        peer.send(GOOD, at=70_001)
        peer.send(EVIL)
        assert peer.was_reset()
    stage.assert_only()


def test_an_old_port_cannot_be_opened_over_an_open_flow(lab: Lab, stage: Stage) -> None:
    """A SYN over an allowed flow, and another hello by its numbers: the server knows of no second connection."""
    with stage.peer().connect(options=LINUX) as peer:
        peer.send(GOOD)
        assert peer.read(len(REPLY), sent=len(GOOD)) == REPLY
        peer.send_syn(at=70_000, options=LINUX)
        peer.send(EVIL, at=70_001)
        peer.send(b"x", at=len(GOOD))
        assert wait_until(lambda: stage.server.received() == GOOD + b"x")


def test_a_hello_sent_again_otherwise_after_the_flow_is_open_is_not_read(lab: Lab, stage: Stage) -> None:
    """The kernel passes it then; but a flow opens on the server's word that it has the first copy, whole."""
    with stage.peer().connect(options=LINUX) as peer:
        peer.send(GOOD)
        assert peer.read(len(REPLY), sent=len(GOOD)) == REPLY
        lab.appliance.wait_for_event(dst=stage.server.address, spt=peer.source_port, cat="server", code="server_agreed")
        stage.tap.payloads(stage.server.address)
        peer.send(EVIL)
        peer.send(EVIL[CUT:] + b"x", at=CUT)
        assert wait_until(lambda: stage.server.received() == GOOD + b"x")
    assert EVIL in stage.settle()  # it has come, and was thrown away


def test_an_urgent_pointer_takes_no_octet_out_of_the_hello(lab: Lab, stage: Stage) -> None:
    """A server reads the octet in front of the pointer apart, however it came: a name would be another one (P7)."""
    with stage.peer().connect(options=LINUX) as peer:
        peer.send(b"", flags=ACK | URG, urgent=CHANGED[0])
        peer.send(GOOD + b"x")  # which fills the hello up for a server that misses one octet
        assert wait_until(lambda: peer.was_reset(0.05) or stage.server.received())
        assert stage.server.received() == b""
        refused(lab, stage.server, "urgent_data", spt=peer.source_port)
    stage.assert_only()


@pytest.mark.parametrize("ttl", [3, 4, 64])
def test_a_decoy_with_a_short_life_arrives_and_is_the_hello(lab: Lab, stage: Stage, ttl: int) -> None:
    """Autottl would let it die behind us; its life is made longer, so that the server has it first (P3)."""
    with stage.peer().connect(options=LINUX) as peer:
        peer.send(GOOD, ttl=ttl)
        assert peer.read(len(REPLY), sent=len(GOOD)) == REPLY
        peer.send(EVIL)
        peer.send(b"x", at=len(GOOD))
        assert wait_until(lambda: stage.server.received() == GOOD + b"x")
