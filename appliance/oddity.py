"""Oddities: segments that are not what they seem, and what becomes of them before anybody reads their payload.

A server may ignore what such a segment carries, or read it at another place than it says; then what
was inspected is not what is read. Everything here is pure.
"""

from appliance.command import Verdict
from appliance.flow import offset_of
from appliance.judge import no
from appliance.policy.decision import Decision
from appliance.reason import Reason
from appliance.wire.ip import ACK, RST, SYN, URG, Packet

NOT_DATA = SYN | RST | URG


def fault_of_segment(packet: Packet) -> Decision | None:
    """Return why a segment may not be a part of a stream, or None."""
    if packet.flags & SYN:
        return no(Reason.SYN_DATA)
    if packet.flags & URG:
        return no(Reason.URGENT_DATA)  # an urgent pointer takes an octet out of the stream (RFC 6093 section 2.2)
    if packet.flags & RST:
        return no(Reason.MALFORMED_PACKET, detail=f"a reset with {len(packet.payload)} octets")
    if packet.has_md5:
        return no(Reason.TCP_MD5)
    return None


def fault_of_opening(packet: Packet) -> Decision | None:
    """Return why a segment may not open a flow, whoever its client and whatever its port."""
    if packet.flags & (SYN | ACK) != SYN:
        return no(Reason.MID_STREAM)
    if packet.payload:
        return no(Reason.SYN_DATA)
    if packet.flags & URG:
        return no(Reason.URGENT_DATA)
    if packet.has_md5:
        return no(Reason.TCP_MD5)
    return None


def verdict_on_probe(packet: Packet, base: int, known: bytes) -> Verdict | None:
    """Return what becomes of a keep-alive probe; None if the segment is none.

    A probe is an octet that its receiver has already, so that any value will do; Windows sends a zero. Before the
    first octet of a stream a zero may go on, for it says nothing, and the connection of a client that is still
    silent must not die. Any other one vanishes: it is neither read nor a reason to end the flow.

    Args:
        packet: a segment of the client's.
        base: sequence number of the client's first octet.
        known: octets of the client's direction from offset 0 on.

    Source: RFC 1122 section 4.2.3.6.
    """
    payload, offset = packet.payload, offset_of(packet.sequence, base)
    if len(payload) != 1 or packet.flags & NOT_DATA or offset != len(known) - 1 or payload == known[-1:]:
        return None
    return Verdict.PASS if payload == b"\0" and offset < 0 else Verdict.DROP
