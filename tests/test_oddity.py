"""Oddities: what becomes of segments that are not what they seem."""

import pytest

from appliance.command import Verdict
from appliance.oddity import NOT_DATA, fault_of_opening, fault_of_segment, verdict_on_probe
from appliance.reason import Reason
from appliance.wire.ip import parse_packet
from tests.playbook import ACK, CLIENT, FIN, MD5_OPTION, PSH, RST, SERVER, SYN, URG, segment

BASE = 0xFFFF_FFFE  # so that the numbers pass 2^32


def made(payload: bytes = b"x", at: int = 0, *, flags: int = ACK, options: bytes = b"") -> object:
    return parse_packet(segment(CLIENT, 40000, SERVER, 443, BASE + at, 1, payload, flags=flags, options=options))


FAULTS = [
    # flags           options      of a segment with payload   of an opening
    (ACK,             b"",         None,                       Reason.MID_STREAM),
    (ACK | PSH | FIN, b"",         None,                       Reason.MID_STREAM),
    (ACK,             MD5_OPTION,  Reason.TCP_MD5,             Reason.MID_STREAM),
    (ACK | URG,       b"",         Reason.URGENT_DATA,         Reason.MID_STREAM),
    (ACK | RST,       b"",         Reason.MALFORMED_PACKET,    Reason.MID_STREAM),
    (RST,             MD5_OPTION,  Reason.MALFORMED_PACKET,    Reason.MID_STREAM),
    (SYN,             b"",         Reason.SYN_DATA,            Reason.SYN_DATA),
    (SYN | ACK,       b"",         Reason.SYN_DATA,            Reason.MID_STREAM),
    (SYN | URG | RST, b"",         Reason.SYN_DATA,            Reason.SYN_DATA),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "options", "segment_fault", "opening_fault"), FAULTS)
def test_faults(flags: int, options: bytes, segment_fault: Reason | None, opening_fault: Reason) -> None:
    """Each flag that makes a payload something else than a part of the stream; the engine asks only then."""
    packet = made(flags=flags, options=options)
    fault = fault_of_segment(packet)
    assert (None if fault is None else fault.reason) is segment_fault
    assert fault_of_opening(packet).reason is opening_fault
    assert (fault is None) == (not flags & NOT_DATA and not packet.has_md5)


@pytest.mark.parametrize(
    ("flags", "options", "code"), [(SYN | URG, b"", Reason.URGENT_DATA), (SYN, MD5_OPTION, Reason.TCP_MD5)]
)
def test_faults_of_a_syn_without_payload(flags: int, options: bytes, code: Reason) -> None:
    """A plain one has none."""
    assert fault_of_opening(made(b"", flags=flags, options=options)).reason is code
    assert fault_of_opening(made(b"", flags=SYN)) is None


PROBES = [
    # payload  at  known    verdict
    (b"\0",    -1, b"",     Verdict.PASS),  # Windows, before its hello
    (b"x",     -1, b"",     Verdict.DROP),
    (b"\0",     3, b"abcd", Verdict.DROP),
    (b"d",      3, b"abcd", None),  # a retransmission
    (b"\0",     4, b"abcd", None),  # the next octet
    (b"\0",     2, b"abcd", None),
    (b"\0",    -1, b"abcd", None),
    (b"\0",     0, b"",     None),
    (b"\0\0",  -1, b"",     None),
    (b"",      -1, b"",     None),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "at", "known", "verdict"), PROBES)
def test_probes(payload: bytes, at: int, known: bytes, verdict: Verdict | None) -> None:
    """One octet right before the next, and only where it changes what is known."""
    assert verdict_on_probe(made(payload, at), BASE, known) is verdict


@pytest.mark.parametrize("flag", [SYN, RST, URG])
def test_a_probe_has_no_odd_flag(flag: int) -> None:
    """Or it is no probe, and refused as such."""
    assert verdict_on_probe(made(b"\0", -1, flags=ACK | flag), BASE, b"") is None
