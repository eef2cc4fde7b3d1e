"""An IPv4 packet: the second opinion agrees about it, what follows it is ignored, what is cut off is missed."""

from appliance.errors import PacketError
from appliance.wire import ip
from tests.fuzz import second_opinion
from tests.outcome import Refusal, outcome
from tests.playbook import MD5_OPTION, datagram, ipv4, segment

MAX = 512
WORDS = (MD5_OPTION, b"\x01\x01\x08\x0a", b"\x45\x00\x00\x28", b"\x45\x00\x00\x34")
_KNOWN = {"malformed_packet", "truncated_copy", "ip_options"}


def check(octets: bytes) -> str:
    packet = outcome(ip.parse_packet, octets)
    try:
        expected = second_opinion.packet(octets)
    except second_opinion.Disagreeable:
        assert isinstance(packet, Refusal), f"accepted as {packet}"
        assert packet.code in _KNOWN
        _refuses_as_packet(octets)
        return packet.code
    assert not isinstance(packet, Refusal), f"{packet}, but it is {expected}"
    assert packet[:6] == expected[:6]
    assert (packet.source_port, packet.destination_port) == (expected.ports or (0, 0))
    assert (packet.sequence, packet.acknowledgement) == (expected.numbers or (0, 0))
    assert (packet.flags, packet.window, packet.has_md5) == (expected.flags, expected.window, expected.is_signed)
    assert ip.parse_packet(octets[: packet.total_length] + b"after it") == packet
    short = outcome(ip.parse_packet, octets[: packet.total_length - 1])
    assert isinstance(short, Refusal)
    _rebuild(packet)
    return {ip.TCP: "tcp", ip.UDP: "udp"}.get(packet.protocol, "other")


def _refuses_as_packet(octets: bytes) -> None:
    """The engine tells a packet that cannot be read from a malformed hello."""
    try:
        ip.parse_packet(octets)
    except PacketError:
        return
    raise AssertionError


def _rebuild(packet: ip.Packet) -> None:
    """A packet built of what was read says the same."""
    ends = packet.source, packet.source_port, packet.destination, packet.destination_port
    if packet.protocol == ip.TCP:
        options = MD5_OPTION if packet.has_md5 else b""
        numbers = packet.sequence, packet.acknowledgement
        built = segment(*ends, *numbers, packet.payload, flags=packet.flags, options=options)
        again = ip.parse_packet(built)
        same = packet._replace(total_length=again.total_length, ttl=again.ttl, window=again.window)
    elif packet.protocol == ip.UDP:
        again = ip.parse_packet(datagram(packet.source, packet.destination, packet.destination_port, packet.payload))
        same = packet._replace(total_length=again.total_length, ttl=again.ttl, source_port=again.source_port)
    else:
        again = ip.parse_packet(ipv4(packet.protocol, packet.source, packet.destination, packet.payload))
        same = packet._replace(ttl=again.ttl)
    assert again == same
