"""The gate: packets that belong to no flow under inspection."""

import datetime

import pytest

from appliance.command import LookUpClient
from appliance.limits import Limits
from appliance.origin import Origin
from appliance.policy.policy import EMPTY_POLICY
from appliance.policy.preferences import Preferences
from tests.playbook import (
    ACK,
    CLIENT,
    FIN,
    ICMP,
    MD5_OPTION,
    PRIVATE,
    RST,
    SEEING,
    SERVER,
    STRANGER,
    SYN,
    URG,
    Play,
    datagram,
    ipv4,
    make_policy,
    refused,
    segment,
    verdict,
)


def syn(client: int = CLIENT, server: int = SERVER, port: int = 443, **odd: object) -> bytes:
    return segment(client, 40000, server, port, 1000, 0, **{"flags": SYN, **odd})


ECHO = ipv4(ICMP, CLIENT, SERVER, b"\x08\x00" + bytes(6))

REFUSED = [
    ("a port that is not listed", syn(port=444), "port_not_listed"),
    ("a private destination", syn(server=PRIVATE), "destination_private"),
    ("the middle of a flow", syn(flags=ACK), "mid_stream"),
    ("the answer to a SYN", syn(flags=SYN | ACK), "mid_stream"),
    ("an end", syn(flags=FIN | ACK), "mid_stream"),
    ("a reset", syn(flags=RST), "mid_stream"),
    ("a SYN with data", syn(payload=b"\x16\x03\x01"), "syn_data"),
    ("a SYN with an urgent pointer", syn(flags=SYN | URG), "urgent_data"),
    ("a signed SYN", syn(options=MD5_OPTION), "tcp_md5"),
    ("QUIC", datagram(CLIENT, SERVER, 443), "quic"),
    ("UDP", datagram(CLIENT, SERVER, 53), "protocol_not_supported"),
    ("ICMP", ECHO, "protocol_not_supported"),
    ("GRE", ipv4(47, CLIENT, SERVER, bytes(8)), "protocol_not_supported"),
    ("a copy that was cut", syn()[:-1], "truncated_copy"),
    ("IP options", b"\x46" + syn()[1:], "ip_options"),
    ("a fragment", ECHO[:6] + b"\x20\x00" + ECHO[8:], "malformed_packet"),
]


@pytest.mark.parametrize(("what", "packet", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused(what: str, packet: bytes, code: str) -> None:
    """Denied, and logged with its addresses."""
    play = Play()
    assert play.gate(packet) == [*verdict("deny", 1), refused("client", code)]
    assert (play.events[0]["src"], play.events[0]["proto"]) == ("10.0.1.10", "unknown")


def test_less_than_an_address_is_denied_without_a_word() -> None:
    """There is nothing to log."""
    assert Play().gate(b"\x45\x00") == verdict("deny", 1)


def test_a_syn_to_a_listed_port_passes() -> None:
    """The kernel's set lags behind the policy: its hello will be inspected."""
    assert Play().gate(syn()) == verdict("pass", 1)


def test_without_a_policy_nothing_passes() -> None:
    """And AWS is not asked: there is no policy that could know the client."""
    assert Play(policy=EMPTY_POLICY).gate(syn()) == [*verdict("deny", 1), refused("client", "policy_not_loaded")]


def test_flows_beyond_the_rate_of_a_client_are_dropped() -> None:
    """Whatever is listed and whoever sees through; a client that is only busy tries again (X5)."""
    play = Play()
    for number, client in enumerate((CLIENT, SEEING, STRANGER), start=1):
        commands = play.queued(Origin.EXCESS, syn(client))
        assert commands == [*verdict("drop", number), refused("client", "too_many_flows")]
    assert play.events[1]["see_thru_exerted"] is False
    assert play.engine.held == 0


# ---- see-thru ----

SEEN_THRU = [
    ("TCP to any port", syn(SEEING, port=444), verdict("pass", 1)),
    ("UDP", datagram(SEEING, SERVER, 53), [*verdict("allow", 1), refused("client", "protocol_not_supported")]),
    ("QUIC", datagram(SEEING, SERVER, 443), [*verdict("allow", 1), refused("client", "quic")]),
    ("a SYN with data", syn(SEEING, port=444, payload=b"x"), [*verdict("deny", 1), refused("client", "syn_data")]),
    ("the middle of a flow", syn(SEEING, port=444, flags=ACK), [*verdict("deny", 1), refused("client", "mid_stream")]),
    ("a signed SYN", syn(SEEING, port=444, options=MD5_OPTION), [*verdict("deny", 1), refused("client", "tcp_md5")]),
    ("the VPC", datagram(SEEING, PRIVATE, 53), [*verdict("deny", 1), refused("client", "destination_private")]),
]


@pytest.mark.parametrize(("what", "packet", "commands"), SEEN_THRU, ids=[row[0] for row in SEEN_THRU])
def test_see_thru(what: str, packet: bytes, commands: list) -> None:
    """TCP is inspected later, for the log; other protocols pass now; some things never do."""
    assert Play().gate(packet) == commands


@pytest.mark.parametrize(("what", "packet", "commands"), SEEN_THRU, ids=[row[0] for row in SEEN_THRU])
def test_see_thru_of_the_deployment(what: str, packet: bytes, commands: list) -> None:
    """It covers what a group's does, for every client that is known, and no more."""
    packet = packet[:12] + CLIENT.to_bytes(4) + packet[16:]
    assert Play(preferences=Preferences(see_thru=datetime.date(2027, 1, 20))).gate(packet) == commands


def test_see_thru_that_is_over_lets_nothing_pass() -> None:
    """The event still says whose grant it was."""
    play = Play()
    play.today = datetime.date(2027, 2, 1)
    play.wait(1)
    assert play.gate(datagram(SEEING, SERVER, 53))[:1] == verdict("deny", 1)
    assert play.gate(syn(SEEING, port=444))[:1] == verdict("deny", 2)
    assert [event["see_thru_exerted"] for event in play.events] == [False, False]


# ---- unknown clients ----


def test_an_unknown_client_waits_for_aws() -> None:
    """One question; what comes meanwhile waits too; a policy that knows it decides all in order."""
    play = Play()
    assert play.gate(syn(STRANGER)) == [LookUpClient(STRANGER)]
    assert play.gate(syn(STRANGER, port=444)) == []
    assert play.engine.held == 2
    commands = play.policy(make_policy((STRANGER,)))
    assert commands == [*verdict("pass", 1), *verdict("deny", 2), refused("client", "port_not_listed")]
    assert play.engine.held == 0


def test_a_client_that_aws_does_not_know_is_refused_and_remembered() -> None:
    """AWS is not asked again at once, but later."""
    play = Play()
    play.gate(syn(STRANGER))
    assert play.aws_answered(STRANGER) == [*verdict("deny", 1), refused("client", "client_unknown")]
    assert play.gate(syn(STRANGER)) == [*verdict("deny", 2), refused("client", "client_unknown")]
    assert play.wait(6) == []
    assert play.gate(syn(STRANGER)) == [LookUpClient(STRANGER)]


def test_aws_that_never_answers_is_a_refusal_in_the_end() -> None:
    """After `unknown_client_memory`."""
    play = Play()
    play.gate(syn(STRANGER))
    assert play.wait(4.9) == []
    assert play.wait(0.2) == [*verdict("deny", 1), refused("client", "client_unknown")]
    assert play.aws_answered(STRANGER) == []


def test_held_packets_are_bounded() -> None:
    """Of one client, over all clients, and the clients themselves."""
    play = Play(limits=Limits(held_per_client=2))
    commands = [play.gate(syn(STRANGER)) for _ in range(3)]
    assert commands[2][:1] == verdict("deny", 3)

    play = Play(limits=Limits(held_packets=3, held_per_client=2))
    for number in range(4):
        play.gate(syn(STRANGER + number // 2))
    assert play.engine.held == 3

    play = Play(limits=Limits(unknown_clients=1))
    play.gate(syn(STRANGER))
    assert play.gate(syn(STRANGER + 1))[:1] == verdict("deny", 2)


def test_a_flood_is_refused_without_a_line_each() -> None:
    """A hundred refused SYNs: the log has `gate_events` of them per tick, and counts the others."""
    play = Play(limits=Limits(gate_events=10))
    commands = [command for _ in range(100) for command in play.gate(syn(port=444))]
    assert len(commands) == 110
    assert play.engine.suppressed == 90
    play.wait(0.25)
    assert len(play.gate(syn(port=444))) == 2
