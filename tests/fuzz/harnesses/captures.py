"""A capture: its cuts change nothing, its frames survive writing, and what is told of its packets is fit for a log."""

import json
from collections.abc import Iterable

from appliance.directory import Directory
from appliance.edge.journal import render
from appliance.errors import CaptureError
from appliance.event import FLOW_FIELDS
from appliance.player import Player
from appliance.policy.policy import EMPTY_POLICY, Policy
from appliance.wire.capture import read_capture
from appliance.wire.frame import FRAME_MAX, TIME_MAX, Frame
from appliance.wire.link import ip_offset
from tests import captures, hellos
from tests.playbook import CLIENT, POLICY, SERVER, segment

MAX = 4096
WORDS = (
    *(captures.section(), captures.interface(), captures.section(">"), captures.interface(order=">")),
    *(captures.option(9, b"\x09"), captures.option(14, bytes(8)), captures.pcap(()), captures.pcap((), order=">")),
    *(b"\x81\x00\x00\x2a", b"\x08\x00", b"\x86\xdd", hellos.client_stream(), hellos.server_stream()),
    segment(CLIENT, 40000, SERVER, 443, 1, 0, flags=2),
)

_SECONDS_MAX = 1 << 32  # as pcap has room for


def check(octets: bytes) -> str:
    frames, fault = _read([octets])
    step = 1 + len(octets) % 13
    assert _read(octets[at : at + step] for at in range(0, len(octets), step)) == (frames, fault)
    packets = []
    for frame in frames:
        assert len(frame.octets) <= FRAME_MAX
        assert 0 <= frame.time < TIME_MAX
        try:
            at = ip_offset(frame.link, frame.octets)
        except CaptureError as unknown:
            _check_refusal(unknown)
            continue
        assert -1 <= at < len(frame.octets)
        if at >= 0:
            packets.append((frame.time, frame.octets[at:]))
    _rewrite(frames)
    told = _play(packets, POLICY, trusting=True) + _play(packets, EMPTY_POLICY, trusting=False)
    return "fault" if fault else "told" if told else "frames" if frames else "empty"


def _read(chunks: Iterable[bytes]) -> tuple[list[Frame], str]:
    """Return the frames that could be read, and why not more could."""
    frames = []
    try:
        for frame in read_capture(chunks):
            frames.append(frame)  # noqa: PERF402 -- what came before a fault counts
    except CaptureError as fault:
        return frames, _check_refusal(fault)
    return frames, ""


def _check_refusal(fault: CaptureError) -> str:
    assert fault.message.isprintable()
    assert fault.hint
    return fault.message


def _rewrite(frames: list[Frame]) -> None:
    """The frames of one link, written anew in either format, are read as they were, as exactly as clocks go."""
    link = frames[0].link if frames else 1
    same = [captures.Captured(frame.time, frame.octets) for frame in frames if frame.link == link]
    written = {"<": captures.pcapng(same, link & 0xFFFF), ">": captures.pcapng(same, link & 0xFFFF, order=">")}
    if link >> 16:  # more than pcapng has room for
        written = {}
    if all(frame.time < _SECONDS_MAX - 1 for frame in same):
        written["pcap"] = captures.pcap(same, link)
    for file in written.values():
        again, fault = _read([file])
        assert not fault
        assert [frame.octets for frame in again] == [frame.octets for frame in same]
        assert all(frame.link == link for frame in again)
        assert all(abs(one.time - other.time) < 1e-3 for one, other in zip(again, same, strict=True))


def _play(packets: list[tuple[float, bytes]], policy: Policy, *, trusting: bool) -> int:
    player = Player(policy, Directory({}, trusting=trusting))
    told = [event for time, octets in packets for event in player.on_packet(octets, time)] + player.finish()
    for when, event in told:
        assert 0 <= when < TIME_MAX
        assert event.keys() <= {*FLOW_FIELDS}
        assert event["outcome"] in {"allowed", "disallowed"}
        assert policy is not EMPTY_POLICY or event["outcome"] == "disallowed"
        line = render(event, when)
        assert line.isascii()
        assert json.loads(line)["code"] == event["code"]
    assert len(told) <= 2 * len(packets)
    return len(told)
