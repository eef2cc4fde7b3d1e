"""The engine: what goes in, and exactly what comes out, in order."""

import datetime
from dataclasses import replace

import pytest

from appliance.command import LookUpClient, Resolve, SetVerdict
from appliance.engine import DRIBBLE_SEGMENTS
from appliance.limits import Limits
from appliance.origin import Origin
from appliance.policy.addresses import Answer
from appliance.policy.inventory import Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import EMPTY_POLICY, compile_policy
from appliance.policy.preferences import DEFAULTS, Ech, Preferences
from tests import hellos
from tests.playbook import (
    BY_GIT,
    BY_NAME,
    CLIENT,
    CLIENT_ISN,
    CLIENT_PORT,
    ELSEWHERE,
    GIT,
    GOOD_HELLO,
    GOOD_REPLY,
    HELLO,
    MD5_OPTION,
    NAME,
    OTHER,
    PRIVATE,
    REPLY,
    REQUEST,
    RETRY,
    RST,
    SEEING,
    SERVER,
    SERVER_ISN,
    SSH,
    STRANGER,
    SYN,
    URG,
    Log,
    Play,
    allowed,
    answer,
    make_policy,
    refused,
    resets,
    segment,
    verdict,
)

OTHER_HELLO = hellos.client_stream(hellos.client_hello("other.example.com"))
SECOND_HELLO = hellos.CHANGE_CIPHER_SPEC_RECORD + HELLO
STATUS = b"HTTP/1.1 404 Not Found\r\n"
EARLY_DATA = hellos.record(bytes(100), kind=23)
OLD_REPLY = hellos.server_stream(hellos.server_hello(None, legacy_version=hellos.TLS_1_1, group=None))
WARNING = hellos.alert(1, 112)


def tls(**hello: object) -> bytes:
    return hellos.client_stream(hellos.client_hello(**hello))


# ---- the way it should go ----


def test_a_flow_opens_on_the_servers_reply() -> None:
    """A good hello goes on, alone; a good reply opens the flow; then it is forgotten."""
    play = Play()
    assert play.client(HELLO) == [GOOD_HELLO, *verdict("pass", 1)]
    assert play.server(REPLY) == [GOOD_REPLY, *verdict("allow", 2, by=BY_NAME)]
    assert play.engine.flows == 1
    assert play.wait(2.5) == []
    assert play.is_empty


def test_both_events_name_the_rule() -> None:
    """Name, version, group and rule stand in both; addresses and ports are the client's and the server's."""
    play = Play()
    play.client(HELLO)
    play.server(REPLY)
    common = {"dhost": str(NAME), "gid": "sg-1", "rule": "tcp/443 0.0.0.0/0", "proto": "tls", "proto_v": "TLS 1.3"}
    ends = {"src": "10.0.1.10", "spt": 40000, "dst": "203.0.113.10", "dpt": 443, "instance": "i-1"}
    for event in play.events:
        assert {key: event[key] for key in common | ends} == common | ends
        assert "see_thru_exerted" not in event


@pytest.mark.parametrize("cut", [1, 5, 9, 100, len(HELLO) - 1])
def test_a_hello_in_two_segments_waits_for_the_second(cut: int) -> None:
    """No octet goes on before the hello is complete, in whichever order its halves come."""
    play = Play()
    assert play.client(HELLO[:cut]) == []
    assert play.client(HELLO[cut:], cut) == [GOOD_HELLO, *verdict("pass", 1, 2)]
    play = Play()
    assert play.client(HELLO[cut:], cut) == []
    assert play.client(HELLO[:cut]) == [GOOD_HELLO, *verdict("pass", 1, 2)]


@pytest.mark.parametrize("cut", [1, 5, 50, len(REPLY) - 1])
def test_a_reply_in_two_segments_opens_with_the_second(cut: int) -> None:
    """The server's octets wait too."""
    play = Play()
    play.client(HELLO)
    assert play.server(REPLY[:cut]) == []
    assert play.server(REPLY[cut:], cut) == [GOOD_REPLY, *verdict("allow", 2, 3, by=BY_NAME)]


def test_a_hello_that_is_sent_again_goes_on_again() -> None:
    """It may have been lost behind us."""
    play = Play()
    play.client(HELLO)
    assert play.client(HELLO) == verdict("pass", 2)
    assert play.client(HELLO[100:], 100) == verdict("pass", 3)
    assert play.server(REPLY) == [GOOD_REPLY, *verdict("allow", 4, by=BY_NAME)]


def test_packets_queued_before_the_kernel_knew_go_on_but_open_nothing() -> None:
    """After the end, what agrees with the inspected octets passes; nothing gets ALLOW any more."""
    play = Play()
    play.client(HELLO)
    play.server(REPLY)
    assert play.server(bytes(100), len(REPLY)) == verdict("pass", 3)
    assert play.client(bytes(10), len(HELLO)) == verdict("pass", 4)
    assert play.client(HELLO[50:] + bytes(3), 50) == verdict("pass", 5)
    play.client(OTHER_HELLO)
    assert play.wait(3) == []
    assert play.is_empty


def test_what_follows_early_data_goes_on_as_well() -> None:
    """It lies behind the hello, and so does what came with that."""
    play = Play()
    play.client(HELLO + EARLY_DATA)
    play.server(REPLY)
    assert play.client(bytes(10), len(HELLO + EARLY_DATA)) == verdict("pass", 3)


def test_a_new_connection_on_the_same_ports_is_inspected() -> None:
    """Another initial sequence number is another connection, however lately the former one was allowed (X3)."""
    play = Play()
    play.client(HELLO)
    play.server(REPLY)
    play.isn += 70_000
    assert play.client(OTHER_HELLO) == [
        refused("client", "name_not_listed"),
        *shifted(resets(len(OTHER_HELLO), 0), 70_000),
        *verdict("drop", 3),
    ]
    play.isn += 70_000
    assert play.client(HELLO) == [GOOD_HELLO, *verdict("pass", 4)]


@pytest.mark.parametrize("times", [1, 2, 127])
@pytest.mark.parametrize("replied", [True, False])
def test_a_new_connection_whose_number_looks_the_same_in_the_mark_is_inspected(times: int, replied: bool) -> None:
    """The mark has 24 bits of the number; the segments have all of them (X3)."""
    play = Play()
    play.client(HELLO)
    if replied:
        play.server(REPLY)
    play.isn += times << 24
    answer = play.client(OTHER_HELLO)
    assert refused("client", "name_not_listed") in answer
    assert not {command.verdict.value for command in answer if isinstance(command, SetVerdict)} & {"pass", "allow"}


def test_a_new_connection_with_the_same_numbers_cannot_hide_behind_the_former() -> None:
    """A client that repeats its initial sequence number too gets no further than with the inspected octets."""
    play = Play()
    play.client(HELLO)
    play.server(REPLY)
    assert play.client(OTHER_HELLO) == verdict("deny", 3)
    assert play.client(OTHER_HELLO[90:], 90) == verdict("deny", 4)
    assert play.client(b"x", -1) == verdict("deny", 5)
    assert not [log for log in play.client(HELLO) if log == verdict("allow", 6)[0]]


def test_a_new_connection_takes_the_place_of_an_unfinished_one() -> None:
    """What the former one held is dropped, without a reset that would hit the new one."""
    play = Play()
    play.client(HELLO[:50])
    play.isn += 1
    assert play.client(HELLO) == [
        refused("client", "hello_timeout"),
        *verdict("drop", 1),
        GOOD_HELLO,
        *verdict("pass", 2),
    ]
    play.isn += 1
    assert play.client(HELLO)[0] == refused("server", "server_timeout")
    play.server(REPLY)
    play.wait(3)
    assert play.is_empty


def shifted(commands: list, by: int) -> list:
    """Return resets of a connection that began `by` octets later."""
    to_client, to_server = commands
    return [
        replace(to_client, acknowledgement=(to_client.acknowledgement + by) % 2**32),
        replace(to_server, sequence=(to_server.sequence + by) % 2**32),
    ]


# ---- policy that changes while a reply is awaited (X1) ----

UNLISTED = make_policy(names="other.example.com")


def test_a_reply_after_its_rule_went_opens_nothing() -> None:
    """The hello was good; by the time the server agrees nothing is listed: both ends are reset."""
    play = Play()
    play.client(HELLO)
    assert play.policy(UNLISTED) == []
    assert play.server(REPLY) == [
        refused("client", "name_not_listed"),
        *resets(len(HELLO)),
        *verdict("drop", 2),
    ]
    play.wait(3)
    assert play.is_empty


def test_a_reply_after_a_change_that_keeps_its_rule_opens() -> None:
    """The event names the rule that allows by then."""
    play = Play()
    play.client(HELLO)
    play.policy(make_policy(names=f"other.example.com,{NAME}"))
    assert play.server(REPLY) == [GOOD_REPLY, *verdict("allow", 2, by=BY_NAME)]
    assert play.events[-1]["rule"] == "tcp/443 0.0.0.0/0"


def test_see_thru_opens_what_lost_its_rule_meanwhile() -> None:
    """Under its own name: the flow ends with the grant."""
    play = Play(client=SEEING)
    play.client(HELLO)
    play.policy(UNLISTED)
    assert play.server(REPLY) == [refused("client", "name_not_listed"), *verdict("allow", 2)]


def test_an_ssh_flow_whose_host_went_meanwhile_is_refused() -> None:
    """Its address belongs to no listed name any more."""
    play = Play(port=22)
    assert play.client(SSH)[-1] == verdict("pass", 1)[0]
    play.policy(make_policy(clients=()))
    assert play.server(SSH, received=len(SSH))[0] == refused("client", "client_unknown")


# ---- hellos that are refused ----

ESNI_HELLO = tls(extra=hellos.extension(hellos.ESNI, bytes(64)))

REFUSED_HELLOS = [
    # what                  octets                                            proto      code
    ("name not listed", OTHER_HELLO, "tls", "name_not_listed"),
    ("no SNI", tls(name=None), "tls", "no_sni"),
    ("bad SNI", tls(name="api example.com"), "tls", "sni_bad_chars"),
    ("SNI of an address", tls(name="203.0.113.10"), "tls", "sni_ip_literal"),
    ("ECH", tls(ech=True), "tls", "ech"),
    ("ESNI", ESNI_HELLO, "tls", "ech"),
    ("TLS 1.1", tls(versions=None, legacy_version=hellos.TLS_1_1), "tls", "tls_too_old"),
    ("TLS 1.1 in supported_versions", tls(versions=(hellos.TLS_1_1,)), "tls", "tls_too_old"),
    ("repeated extension", tls(extra=hellos.extension(23)), "tls", "ext_duplicate"),
    ("lying length", tls(extensions_lie=1), "tls", "malformed"),
    ("not a hello", hellos.records(hellos.handshake(2, hellos.server_hello())), "tls", "malformed"),
    ("SSL 2.0", b"\x80\x2e\x01\x00\x02" + bytes(42), "tls", "sslv2_hello"),
    ("HTTP", REQUEST, "http", "http_plaintext"),
    ("SSH", SSH, "ssh", "not_tls"),
    ("noise", b"\x00\x01\x02\x03", "unknown", "not_tls"),
    ("PROXY line", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + HELLO, "unknown", "not_tls"),
    ("SOCKS", b"\x05\x01\x00", "unknown", "not_tls"),
]


@pytest.mark.parametrize(("what", "octets", "proto", "code"), REFUSED_HELLOS, ids=[row[0] for row in REFUSED_HELLOS])
def test_a_refused_hello_is_logged_reset_and_dropped(what: str, octets: bytes, proto: str, code: str) -> None:
    """One event, a reset for each end, no octet to the server; what follows vanishes."""
    play = Play()
    assert play.client(octets) == [refused("client", code), *resets(len(octets), 0), *verdict("drop", 1)]
    assert play.events[0]["proto"] == proto
    assert play.client(HELLO, len(octets)) == verdict("drop", 2)
    play.wait(3)
    assert play.is_empty


def test_an_http_request_is_logged_with_its_head() -> None:
    """Method, path and client software are in the event; its Host is the name."""
    play = Play()
    play.client(REQUEST)
    event = play.events[0]
    assert (event["http_method"], event["http_path"], event["http_user_agent"]) == ("GET", "/secret", "curl/8")
    assert event["dhost"] == "www.example.com"


@pytest.mark.parametrize("octets", [tls(ech=True), ESNI_HELLO], ids=["ECH", "ESNI"])
def test_ech_passes_where_it_is_wanted(octets: bytes) -> None:
    """The preference lets such hellos pass, and counts for the next flow: no hello is recalled by the former one."""
    play = Play(preferences=Preferences(ech=Ech.ALLOW))
    for _ in range(2):
        assert play.client(octets)[0] == GOOD_HELLO
        play.client_port += 1
    play.engine.on_preferences(DEFAULTS)
    assert play.client(octets)[0] == refused("client", "ech")
    play.client_port += 1
    play.engine.on_preferences(Preferences(ech=Ech.ALLOW))
    assert play.client(octets)[0] == GOOD_HELLO


@pytest.mark.parametrize(
    ("client", "server", "port", "code"),
    [
        (CLIENT, SERVER, 444, "port_not_listed"),
        (CLIENT, PRIVATE, 443, "destination_private"),
    ],
)
def test_a_flow_that_the_kernel_let_through_is_refused_by_policy(
    client: int, server: int, port: int, code: str
) -> None:
    """The kernel's sets may lag: the engine asks policy again, hello or not."""
    play = Play(client=client, server=server, port=port)
    expected = [refused("client", code), *resets(len(HELLO), 0, client=client, server=server, port=port)]
    assert play.client(HELLO) == [*expected, *verdict("drop", 1)]


def test_without_a_policy_everything_is_refused() -> None:
    """Closed until the first policy arrives."""
    play = Play(policy=EMPTY_POLICY)
    assert play.client(HELLO)[0] == refused("client", "policy_not_loaded")


# ---- TCP games ----


def test_a_retransmission_that_differs_kills_the_flow() -> None:
    """While the hello is collected, and after it has gone on (P1)."""
    play = Play()
    play.client(HELLO[:60])
    assert play.client(b"x" * 10, 20) == [
        refused("client", "tcp_conflict"),
        *resets(60, 0),
        *verdict("drop", 1, 2),
    ]
    play = Play()
    play.client(HELLO)
    assert play.client(OTHER_HELLO) == [
        refused("client", "tcp_conflict"),
        *resets(len(HELLO)),
        *verdict("drop", 2),
    ]
    assert play.server(REPLY) == verdict("drop", 3)


def test_a_decoy_kills_the_flow_when_the_real_hello_comes() -> None:
    """Whether the decoy was lost, or ignored by the server (P3, P6): the real one conflicts."""
    play = Play()
    play.client(HELLO)
    assert play.client(OTHER_HELLO, 0)[0] == refused("client", "tcp_conflict")


def test_a_reply_that_does_not_cover_the_hello_is_refused() -> None:
    """Then the server answered something else."""
    play = Play()
    play.client(HELLO)
    assert play.server(REPLY, received=len(HELLO) - 1) == [
        refused("server", "server_ack_short"),
        *resets(len(HELLO)),
        *verdict("drop", 2),
    ]


@pytest.mark.parametrize(
    ("flags", "options", "code"),
    [
        (URG | 16, b"", "urgent_data"),
        (16, MD5_OPTION, "tcp_md5"),
        (SYN, b"", "syn_data"),
        (SYN | 16, b"", "syn_data"),
        (RST, b"", "malformed_packet"),
        (RST | 16, b"", "malformed_packet"),
    ],
)
def test_odd_segments_kill_the_flow(flags: int, options: bytes, code: str) -> None:
    """Of the client, before and after its hello, and of the server."""
    play = Play()
    assert play.client(HELLO, flags=flags, options=options) == [
        refused("client", code),
        *resets(0),
        *verdict("drop", 1),
    ]
    play = Play()
    play.client(HELLO)
    assert play.client(EARLY_DATA, len(HELLO), flags=flags, options=options)[0] == refused("client", code)
    play = Play()
    play.client(HELLO)
    assert play.server(REPLY, flags=flags, options=options)[0] == refused("server", code)


def test_an_urgent_pointer_without_payload_kills_the_flow() -> None:
    """It takes an octet out of what comes later (P7); the ruleset lets no bare segment pass that has one."""
    play = Play()
    play.client(HELLO[:60])
    assert play.client(b"", 60, flags=URG | 16)[0] == refused("client", "urgent_data")
    assert play.client(HELLO[60:], 60) == verdict("drop", 3)


def test_a_keep_alive_probe_harms_no_flow() -> None:
    """One octet that the server has already: it says nothing before the hello, and goes nowhere after it (P19)."""
    play = Play()
    assert play.client(b"\0", -1) == verdict("pass", 1)
    assert play.is_empty  # so that no wait begins
    assert play.client(b"x", -1) == verdict("drop", 2)
    assert play.client(HELLO) == [GOOD_HELLO, *verdict("pass", 3)]
    assert play.client(b"x", len(HELLO) - 1) == verdict("drop", 4)
    assert play.client(HELLO[-1:], len(HELLO) - 1) == verdict("pass", 5)
    assert play.server(REPLY) == [GOOD_REPLY, *verdict("allow", 6, by=BY_NAME)]
    play = Play()
    play.client(b"", flags=URG | 16)
    assert play.client(b"\0", -1) == verdict("drop", 2)  # of a flow that is refused nothing passes


def test_a_probe_is_none_that_replaces_an_octet_further_back() -> None:
    """Or that is longer than one."""
    for payload, at in ((b"x", len(HELLO) - 2), (b"xx", len(HELLO) - 2), (b"\0\0", -1)):
        play = Play()
        play.client(HELLO)
        assert play.client(payload, at)[0] == refused("client", "tcp_conflict")


def test_zeros_after_the_handshake_are_a_hello_like_any_other() -> None:
    """Padding that the packet's length counts is data, and the server would read it (P19)."""
    play = Play()
    assert play.client(bytes(6))[0] == refused("client", "not_tls")


def test_octets_before_the_stream_kill_the_flow() -> None:
    """Nothing honest lies before the first octet."""
    play = Play()
    assert play.client(HELLO, -1)[0] == refused("client", "tcp_conflict")


def test_the_first_segment_seen_need_not_be_the_first_sent() -> None:
    """The stream begins where the connection does, not where the first queued segment does."""
    play = Play()
    assert play.client(EARLY_DATA, len(HELLO)) == []
    assert play.client(HELLO) == [GOOD_HELLO, *verdict("pass", 2)]
    play = Play()
    assert play.client(HELLO, 1 << 20)[0] == refused("client", "hello_too_long")
    play = Play()
    assert play.client(HELLO, 1 << 24)[0] == GOOD_HELLO  # as far as the mark tells, this is the start
    # ... and this is another one, inspected by itself
    assert refused("client", "name_not_listed") in play.client(OTHER_HELLO)


def test_a_cut_packet_is_denied() -> None:
    """The copy is shorter than the packet: it cannot be inspected (P17)."""
    play = Play()
    packet = segment(CLIENT, CLIENT_PORT, SERVER, 443, CLIENT_ISN + 1, SERVER_ISN + 1, HELLO)
    assert play.queued(Origin.CLIENT, packet[:-1], CLIENT_ISN) == [
        *verdict("deny", 1),
        refused("client", "truncated_copy"),
    ]


# ---- early data and second hellos ----


def test_early_data_waits_for_the_reply() -> None:
    """What follows the hello in segments of its own reaches the server when the flow is open (T8)."""
    play = Play()
    play.client(HELLO)
    assert play.client(EARLY_DATA, len(HELLO)) == []
    assert play.client(HELLO) == verdict("pass", 3)  # also when the hello is sent again
    assert play.server(REPLY) == [GOOD_REPLY, *verdict("allow", 2, 4, by=BY_NAME)]


def test_early_data_waits_when_the_hello_had_to_wait() -> None:
    """It was held together with the hello, and stays when that goes."""
    play = Play(answers=())
    play.client(HELLO)
    play.client(EARLY_DATA, len(HELLO))
    assert play.answers(answer(NAME, SERVER)) == [GOOD_HELLO, *verdict("pass", 1)]
    assert play.server(REPLY) == [GOOD_REPLY, *verdict("allow", 2, 3, by=BY_NAME)]


def test_early_data_in_the_hellos_own_segment_goes_with_it() -> None:
    """A packet cannot be split."""
    play = Play()
    assert play.client(HELLO + EARLY_DATA) == [GOOD_HELLO, *verdict("pass", 1)]
    assert play.server(REPLY, received=len(HELLO + EARLY_DATA)) == [GOOD_REPLY, *verdict("allow", 2, by=BY_NAME)]


def test_early_data_beyond_what_is_kept_waits_too() -> None:
    """Long uploads in early data are not an attack."""
    play = Play()
    play.client(HELLO)
    for at in range(len(HELLO), 30_000, 1400):
        assert play.client(bytes(1400), at) == []
    allowing = play.server(REPLY)
    assert allowing[0] == GOOD_REPLY
    assert len(allowing) == 1 + play.packets - 1


@pytest.mark.parametrize("kind", [35, 41], ids=["ticket", "pre-shared key"])
def test_a_resumed_session_is_judged_by_its_own_name(kind: int) -> None:
    """Whoever got the session, and under which name: it is another connection, with a hello of its own (T9)."""
    play = Play()
    session = hellos.extension(kind, bytes(range(100)))
    assert play.client(tls(extra=session))[0] == GOOD_HELLO
    play.client_port += 1
    assert play.client(tls(name="api.example.org", extra=session))[0] == refused("client", "name_not_listed")


@pytest.mark.parametrize("waits", [False, True], ids=["after its hello", "while the hello waits"])
def test_what_reaches_beyond_what_is_kept_is_held_whatever_it_begins_with(*, waits: bool) -> None:
    """A repetition of the hello's last octet could carry another hello past the limit, where nobody looks (T4)."""
    play = Play(limits=Limits(stream_octets=len(HELLO) + 5), answers=() if waits else (answer(NAME, SERVER),))
    first = play.client(HELLO)
    assert play.client(HELLO[-1:] + OTHER_HELLO, len(HELLO) - 1) == []
    if waits:
        first = play.answers(answer(NAME, SERVER))
    assert first == [GOOD_HELLO, *verdict("pass", 1)]
    assert play.wait(61)[-1:] == verdict("drop", 2)


def test_a_second_hello_nobody_asked_for_kills_the_flow() -> None:
    """In the segment of the first it would reach the server unseen (T4)."""
    play = Play()
    octets = HELLO + hellos.CHANGE_CIPHER_SPEC_RECORD + OTHER_HELLO
    commands = play.client(octets)
    assert refused("client", "malformed") in commands
    assert commands[-1:] == verdict("drop", 1)
    play = Play()
    play.client(HELLO)
    assert play.client(HELLO[100:] + OTHER_HELLO, 100)[0] == refused("client", "malformed")


def test_a_second_hello_beyond_what_is_kept_does_not_go_on() -> None:
    """A segment that begins in the first hello and ends where nothing is kept was not inspected (T4)."""
    limits = Limits(stream_octets=len(HELLO) + 10)
    play = Play(limits=limits)
    play.client(HELLO)
    assert play.client(HELLO[100:] + OTHER_HELLO, 100) == []
    assert play.server(REPLY) == [GOOD_REPLY, *verdict("allow", 2, 3, by=BY_NAME)]
    play = Play(answers=(), limits=limits)
    play.client(HELLO)
    play.client(HELLO[100:] + OTHER_HELLO, 100)
    assert play.answers(answer(NAME, SERVER)) == [GOOD_HELLO, *verdict("pass", 1)]


def test_a_second_hello_follows_a_request_to_retry() -> None:
    """It goes on when it asks for the same name; the reply then opens the flow."""
    play = Play()
    play.client(HELLO)
    assert play.server(RETRY) == verdict("pass", 2)
    assert play.client(SECOND_HELLO, len(HELLO), received=len(RETRY)) == verdict("pass", 3)
    both = len(HELLO + SECOND_HELLO)
    assert play.server(hellos.CHANGE_CIPHER_SPEC_RECORD + REPLY, len(RETRY), received=both) == [
        GOOD_REPLY,
        *verdict("allow", 4, by=BY_NAME),
    ]


def test_a_second_hello_in_pieces_waits_for_the_last() -> None:
    """None of them goes on before."""
    play = Play()
    play.client(HELLO)
    play.server(RETRY)
    assert play.client(SECOND_HELLO[:40], len(HELLO)) == []
    assert play.client(SECOND_HELLO[80:], len(HELLO) + 80) == []
    assert play.client(SECOND_HELLO[40:80], len(HELLO) + 40) == verdict("pass", 3, 4, 5)


def test_a_second_hello_for_another_name_kills_the_flow() -> None:
    """Servers take the second name (T4)."""
    play = Play()
    play.client(HELLO)
    play.server(RETRY)
    assert play.client(OTHER_HELLO, len(HELLO), received=len(RETRY)) == [
        refused("client", "hello_name_changed"),
        *resets(len(HELLO + OTHER_HELLO), len(HELLO), server_sent=len(RETRY)),
        *verdict("drop", 3),
    ]


def test_a_second_hello_sent_ahead_is_held_and_judged() -> None:
    """It waits as early data does, also while the first is sent again, and is judged when it is asked for."""
    play = Play()
    play.client(HELLO)
    assert play.client(OTHER_HELLO, len(HELLO)) == []
    assert play.client(HELLO[10:], 10) == [
        refused("client", "malformed"),
        *resets(len(HELLO + OTHER_HELLO), len(HELLO)),
        *verdict("drop", 2, 3),
    ]
    play = Play()
    play.client(HELLO)
    play.client(OTHER_HELLO, len(HELLO))
    assert play.server(RETRY)[:2] == [*verdict("pass", 3), refused("client", "hello_name_changed")]


def test_an_octet_beyond_what_is_kept_cannot_replace_one_that_is() -> None:
    """A segment that reaches beyond the limit is compared as far as the limit goes."""
    limits = Limits(stream_octets=len(HELLO + SECOND_HELLO) + 50)
    play = Play(limits=limits)
    play.client(HELLO)
    play.server(RETRY)
    forged = OTHER_HELLO + bytes(200)
    play.client(forged, len(HELLO))
    assert play.events[-1]["code"] == "hello_name_changed"
    play = Play(limits=limits)
    play.client(HELLO)
    play.server(RETRY)
    assert play.client(SECOND_HELLO[30:], len(HELLO) + 30) == []
    assert play.client(b"x" * 300, len(HELLO) + 100)[0] == refused("client", "tcp_conflict")


@pytest.mark.parametrize(
    ("what", "reply"),
    [("a second request", hellos.CHANGE_CIPHER_SPEC_RECORD + RETRY), ("a reply to the first hello", REPLY)],
)
def test_after_a_request_to_retry_only_the_second_hello_may_follow(what: str, reply: bytes) -> None:
    """The server asks once, and waits."""
    play = Play()
    play.client(HELLO)
    play.server(RETRY)
    assert play.server(reply, len(RETRY))[0] == refused("server", "server_malformed")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (hellos.server_hello(group=4588), True),
        (hellos.server_hello(group=512), True),
        (hellos.server_hello(group=25497), True),
        (hellos.server_hello(), False),
        (hellos.server_hello(group=None), False),  # a pre-shared key alone
        (hellos.server_hello(None, group=None), False),  # TLS 1.2
        (hellos.server_hello(None, legacy_version=hellos.TLS_1_1, group=None), False),  # refused
    ],
)
def test_the_servers_event_says_whether_keys_are_post_quantum(reply: bytes, expected: bool) -> None:
    """Of the reply that was read; the client's event only knows what was offered."""
    play = Play()
    play.client(HELLO)
    play.server(hellos.server_stream(reply))
    assert [event.get("pqc") for event in play.events] == [None, expected]


@pytest.mark.parametrize(("asked", "chosen", "expected"), [(4588, 4588, True), (29, 29, False), (4588, 29, False)])
def test_after_a_request_to_retry_the_reply_says_it(asked: int, chosen: int, expected: bool) -> None:
    """What a HelloRetryRequest asks for is not agreed yet."""
    play = Play()
    retry = hellos.server_stream(hellos.hello_retry_request(asked))
    play.client(HELLO)
    play.server(retry)
    play.client(SECOND_HELLO, len(HELLO), received=len(retry))
    reply = hellos.server_stream(hellos.server_hello(group=chosen))
    play.server(reply, len(retry), received=len(HELLO + SECOND_HELLO))
    assert [event.get("pqc") for event in play.events] == [None, expected]


def test_without_a_serverhello_nothing_is_said_of_keys() -> None:
    """Neither an alert, nor silence, nor octets that are not TLS agree on any."""
    for reply in (hellos.alert(2, 40), b"220 mail.example.com ESMTP\r\n", b""):
        play = Play()
        play.client(HELLO)
        play.server(reply)
        play.wait(61)
        assert play.events[-1]["cat"] == "server"
        assert "pqc" not in play.events[-1]


# ---- replies that are refused ----

REFUSED_REPLIES = [
    ("TLS 1.1 chosen", OLD_REPLY, "server_tls_too_old"),
    ("not TLS", b"220 mail.example.com ESMTP\r\n", "server_not_tls"),
    ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", "server_not_tls"),
    ("not a hello", hellos.records(hellos.handshake(11, b"abc")), "server_malformed"),
    ("lying lengths", hellos.server_stream(hellos.server_hello(tail=b"x")), "server_malformed"),
    ("two warnings", WARNING + WARNING + REPLY, "server_malformed"),
]


@pytest.mark.parametrize(("what", "reply", "code"), REFUSED_REPLIES, ids=[row[0] for row in REFUSED_REPLIES])
def test_a_refused_reply_ends_the_flow(what: str, reply: bytes, code: str) -> None:
    """Logged as the server's, reset at both ends, and not an octet of it passes."""
    play = Play()
    play.client(HELLO)
    assert play.server(reply) == [refused("server", code), *resets(len(HELLO)), *verdict("drop", 2)]
    assert play.events[1]["dhost"] == str(NAME)


def test_an_alert_reaches_the_client() -> None:
    """The client should read why; the flow ends all the same."""
    play = Play()
    play.client(HELLO)
    assert play.server(hellos.alert(2, 40)) == [
        *verdict("pass", 2),
        refused("server", "server_refused"),
        *resets(len(HELLO)),
    ]
    assert "handshake_failure" in play.events[-1]["reason"]


def test_a_warning_before_the_reply_is_no_refusal() -> None:
    """TLS 1.2 servers warn of a name they do not know, and go on; what follows is inspected before it passes."""
    play = Play()
    play.client(HELLO)
    assert play.server(WARNING) == []
    assert play.server(REPLY, len(WARNING)) == [GOOD_REPLY, *verdict("allow", 2, 3, by=BY_NAME)]
    play = Play()
    play.client(HELLO)
    assert play.server(WARNING + OLD_REPLY)[0] == refused("server", "server_tls_too_old")


def test_thousands_of_warnings_at_once_are_no_problem() -> None:
    """A gap that is filled late brings them all at once."""
    play = Play()
    play.client(HELLO)
    warnings = WARNING * 3400
    for at in range(1400, len(warnings), 1400):
        play.server(warnings[at : at + 1400], at)
    assert play.server(warnings[:1400])[0] == refused("server", "server_malformed")


def test_a_server_that_speaks_first_on_a_tls_rule_is_refused() -> None:
    """Before the client's hello, in the middle of it, and while the hello waits for DNS (X10)."""
    expected = refused("server", "server_first")
    assert Play().server(b"220 hello\r\n", received=0) == [expected, *resets(0), *verdict("drop", 1)]
    play = Play()
    play.client(HELLO[:20])
    assert play.server(b"220 hello\r\n", received=0) == [expected, *resets(20, 0), *verdict("drop", 1, 2)]
    play = Play(answers=())
    play.client(HELLO)
    assert play.server(REPLY, received=0) == [expected, *resets(len(HELLO), 0), *verdict("drop", 1, 2)]


# ---- SSH ----

SSH_HELLO = allowed("client", "address_listed")


def test_ssh_client_first() -> None:
    """The identification strings open the flow, the server's in its turn."""
    play = Play(port=22)
    assert play.client(SSH) == [SSH_HELLO, *verdict("pass", 1)]
    assert play.server(SSH, received=0) == [GOOD_REPLY, *verdict("allow", 2, by=BY_GIT)]
    assert [(event["proto_v"], event.get("pqc")) for event in play.events] == [("2.0", None), ("2.0", None)]
    assert play.events[0]["dhost"] == str(GIT)


def test_ssh_server_first() -> None:
    """A server does not wait for its client; the client's identification then opens the flow."""
    play = Play(port=22)
    assert play.server(b"welcome\r\n" + SSH, received=0) == verdict("pass", 1)
    assert play.client(SSH) == [SSH_HELLO, GOOD_REPLY, *verdict("allow", 2, by=BY_GIT)]


def test_ssh_server_first_while_dns_is_asked() -> None:
    """Both identifications wait; the answer lets both go."""
    play = Play(port=22, answers=())
    assert play.server(SSH, received=0) == [Resolve(GIT)]
    assert play.client(SSH) == []
    assert play.answers(answer(GIT, SERVER)) == [
        *verdict("pass", 1),
        SSH_HELLO,
        GOOD_REPLY,
        *verdict("allow", 2, by=BY_GIT),
    ]
    play.wait(3)
    assert play.is_empty


def test_ssh_client_first_while_dns_is_asked() -> None:
    """The server's identification came while the client's was held: both are judged when the answer comes."""
    play = Play(port=22, answers=())
    assert play.client(SSH) == [Resolve(GIT)]
    assert play.server(SSH, received=0) == []
    assert play.answers(answer(GIT, SERVER)) == [
        SSH_HELLO,
        *verdict("pass", 1),
        GOOD_REPLY,
        *verdict("allow", 2, by=BY_GIT),
    ]


def test_ssh_server_in_pieces() -> None:
    """Lines before the identification, and the identification in two halves."""
    play = Play(port=22)
    assert play.server(b"wel", received=0) == []
    assert play.server(b"come\r\nSSH-2.0-", 3, received=0) == []
    assert play.client(SSH) == [SSH_HELLO, *verdict("pass", 3)]
    assert play.server(b"x\r\n", 17, received=len(SSH)) == [GOOD_REPLY, *verdict("allow", 1, 2, 4, by=BY_GIT)]


SSH_REFUSED = [
    # what                   client's      server's                    cat       code
    ("old client", b"SSH-1.5-x\r\n", b"", "client", "ssh_too_old"),
    ("1.99 of a client", b"SSH-1.99-x\r\n", b"", "client", "ssh_too_old"),
    ("client with lines", b"hello\r\nSSH-2.0-x\r\n", b"", "client", "not_ssh"),
    ("TLS", HELLO, b"", "client", "not_ssh"),
    ("HTTP", REQUEST, b"", "client", "not_ssh"),
    ("old server", SSH, b"SSH-1.5-x\r\n", "server", "server_ssh_too_old"),
    ("server of TLS", SSH, REPLY, "server", "server_not_ssh"),
    ("server of HTTP", SSH, b"\x00\x00\x00\x00", "server", "server_not_ssh"),
]


@pytest.mark.parametrize(("what", "client", "server", "cat", "code"), SSH_REFUSED, ids=[row[0] for row in SSH_REFUSED])
def test_ssh_refusals(what: str, client: bytes, server: bytes, cat: str, code: str) -> None:
    """What is no SSH 2.0 does not pass under a rule for SSH (X9)."""
    play = Play(port=22)
    commands = play.client(client)
    if server:
        commands = play.server(server, received=len(client))
    assert commands[0] == refused(cat, code)
    assert not play.engine.held


def test_ssh_server_first_that_is_too_old() -> None:
    """It is refused before its client has said anything."""
    play = Play(port=22)
    assert play.server(b"SSH-1.5-x\r\n", received=0)[0] == refused("server", "server_ssh_too_old")


def test_ssh_to_another_address_is_refused() -> None:
    """Whoever speaks first; the listed names are looked up once more before."""
    for first in ("client", "server"):
        play = Play(port=22, server=ELSEWHERE)
        commands = play.client(SSH) if first == "client" else play.server(SSH, received=0)
        assert commands == [Resolve(GIT)]
        commands = play.answers(answer(GIT, SERVER))
        assert commands[0] == refused(first, "address_mismatch")
        assert commands[-1:] == verdict("drop", 1)


def test_tls_behind_an_ssh_greeting_is_refused() -> None:
    """On a port with both kinds of rules the server's greeting says which it is."""
    play = Play(port=8443)
    assert play.server(SSH, received=0) == verdict("pass", 1)
    assert play.client(HELLO)[0] == refused("client", "not_ssh")
    play = Play(port=8443)
    assert play.server(b"SSH-2.0", received=0) == []  # not yet a greeting
    assert play.client(HELLO)[0] == refused("client", "server_first")


def test_both_kinds_pass_on_a_port_with_both_kinds_of_rules() -> None:
    """TLS by its name, SSH by its address."""
    play = Play(port=8443)
    assert play.client(HELLO) == [GOOD_HELLO, *verdict("pass", 1)]
    assert play.server(REPLY) == [GOOD_REPLY, *verdict("allow", 2, by=("tls", NAME, 8443))]
    play.client_port += 1
    assert play.client(SSH) == [SSH_HELLO, *verdict("pass", 3)]


# ---- names and clients that are not known yet ----


def test_an_unknown_address_is_looked_up_while_the_hello_waits() -> None:
    """The answer lets it go on; what came again meanwhile goes with it."""
    play = Play(answers=())
    assert play.client(HELLO) == [Resolve(NAME)]
    assert play.client(HELLO) == []
    assert play.answers(answer(NAME, SERVER)) == [GOOD_HELLO, *verdict("pass", 1, 2)]


def test_many_flows_ask_once() -> None:
    """One question, one answer, all flows go on."""
    play = Play(answers=())
    assert play.client(HELLO) == [Resolve(NAME)]
    play.client_port += 1
    assert play.client(HELLO) == []
    commands = play.answers(answer(NAME, SERVER))
    assert commands.count(GOOD_HELLO) == 2
    assert {command.packet_id for command in commands if not isinstance(command, Log)} == {1, 2}


def test_an_answer_without_the_address_is_final_if_it_brings_no_news() -> None:
    """SNI spoofing: the name's addresses are known, and this is none of them (N1)."""
    play = Play(server=ELSEWHERE)
    assert play.client(HELLO) == [Resolve(NAME)]
    assert play.answers(answer(NAME, SERVER)) == [
        refused("client", "address_mismatch"),
        *resets(len(HELLO), 0, server=ELSEWHERE),
        *verdict("drop", 1),
    ]


def test_a_look_up_that_our_own_limit_refused_is_no_failure_of_the_name() -> None:
    """It is told as what it is, and the next flow asks again."""
    play = Play(answers=())
    assert play.client(HELLO) == [Resolve(NAME)]
    assert play.answers(Answer(NAME, (), 1.0, "overloaded"))[0] == refused("client", "look_ups_limited")
    assert "too many look-ups at once" in str(play.events[-1]["reason"])
    assert play.engine._judge._book.trouble(NAME) == ""


def test_answers_that_keep_changing_are_asked_for_three_times() -> None:
    """A name that rotates gets its chance; a flow does not wait for ever (D1, D3)."""
    play = Play(server=ELSEWHERE)
    assert play.client(HELLO) == [Resolve(NAME)]
    assert play.answers(answer(NAME, SERVER + 1)) == [Resolve(NAME)]
    assert play.answers(answer(NAME, SERVER + 2)) == [Resolve(NAME)]
    assert play.answers(answer(NAME, SERVER + 3))[0] == refused("client", "address_mismatch")
    play = Play(server=ELSEWHERE)
    play.client(HELLO)
    play.answers(answer(NAME, SERVER + 1))
    assert play.answers(answer(NAME, ELSEWHERE))[0] == GOOD_HELLO


@pytest.mark.parametrize(
    ("known", "code"),
    [
        (answer(NAME, error="nxdomain"), "name_unresolved"),
        (answer(NAME, error="timeout"), "name_unresolved"),
        (answer(NAME, PRIVATE), "answer_private"),
    ],
)
def test_failed_look_ups_refuse(known: object, code: str) -> None:
    """With the reason that DNS gave."""
    play = Play(answers=())
    play.client(HELLO)
    assert play.answers(known)[0] == refused("client", code)


def test_an_answer_that_never_comes_is_a_refusal_in_the_end() -> None:
    """After `look_up_wait`, and only then."""
    play = Play(answers=())
    play.client(HELLO)
    assert play.wait(4.9) == []
    assert play.wait(0.4) == [refused("client", "name_unresolved"), *resets(len(HELLO), 0), *verdict("drop", 1)]
    play.wait(3)
    assert play.is_empty
    assert play.answers(answer(NAME, SERVER)) == []


def test_an_answer_of_the_last_moment_counts() -> None:
    """What the book knows when the wait is over decides."""
    play = Play(answers=())
    play.client(HELLO)
    play.engine._judge.learn(answer(NAME, SERVER), play.now)
    assert play.wait(5.5)[0] == GOOD_HELLO


def test_a_name_that_is_not_listed_is_not_looked_up() -> None:
    """A client cannot make us ask DNS for what it likes."""
    play = Play()
    assert Resolve(OTHER) not in play.client(OTHER_HELLO)


def test_a_later_answer_does_not_decide_again() -> None:
    """SSH asks for all listed names: once one has decided, the others change nothing."""
    policy = make_policy()
    play = Play(port=22, answers=(), policy=policy)
    play.client(SSH)
    flow = next(iter(play.engine._flows._flows.values()))
    play.engine._waiting.ask_names(flow, (OTHER,), [])
    assert play.answers(answer(GIT, SERVER))[0] == SSH_HELLO
    assert play.answers(answer(OTHER, ELSEWHERE)) == []
    assert play.answers(answer(GIT, SERVER)) == []


def test_an_unknown_client_is_looked_up_once() -> None:
    """AWS is asked while the hello waits; a policy that knows the client lets it go on."""
    play = Play(client=STRANGER)
    assert play.client(HELLO) == [LookUpClient(STRANGER)]
    assert play.policy(make_policy((CLIENT, STRANGER))) == [GOOD_HELLO, *verdict("pass", 1)]
    play = Play(client=STRANGER)
    play.client(HELLO)
    assert play.aws_answered(STRANGER) == [
        refused("client", "client_unknown"),
        *resets(len(HELLO), 0, client=STRANGER),
        *verdict("drop", 1),
    ]
    play.wait(3)
    assert play.is_empty


def test_a_client_that_has_become_known_may_need_dns_too() -> None:
    """One wait after the other, within one `look_up_wait`."""
    play = Play(client=STRANGER, answers=())
    play.client(HELLO)
    assert play.policy(make_policy((CLIENT, STRANGER))) == [Resolve(NAME)]
    assert play.answers(answer(NAME, SERVER))[0] == GOOD_HELLO


def test_aws_that_never_answers_is_a_refusal_in_the_end() -> None:
    """As with DNS."""
    play = Play(client=STRANGER)
    play.client(HELLO)
    assert play.wait(5.5)[0] == refused("client", "client_unknown")


def test_policy_that_changes_during_a_wait_decides() -> None:
    """A name is taken off the list while DNS is asked for it."""
    play = Play(answers=())
    play.client(HELLO)
    assert play.policy(make_policy(names=str(OTHER))) == []
    assert play.answers(answer(NAME, SERVER))[0] == refused("client", "name_not_listed")


def test_addresses_of_names_no_longer_listed_are_forgotten() -> None:
    """They are looked up again when the name comes back."""
    play = Play()
    play.policy(make_policy(names=str(OTHER)))
    play.policy(make_policy())
    assert play.client(HELLO) == [Resolve(NAME)]


# ---- see-thru ----


def test_see_thru_lets_pass_and_says_so() -> None:
    """The log says what the rules say; the fields of see-thru say why it passed."""
    play = Play(client=SEEING)
    assert play.client(OTHER_HELLO) == [refused("client", "name_not_listed"), *verdict("allow", 1)]
    event = play.events[0]
    assert (event["see_thru_exerted"], event["see_thru_gid"], event["see_thru_days_remaining"]) == (True, "sg-2", 16)
    play.client_port += 1
    assert play.client(HELLO) == [GOOD_HELLO, *verdict("pass", 2)]
    assert play.events[1]["see_thru_exerted"] is False
    assert play.server(OLD_REPLY) == [refused("server", "server_tls_too_old"), *verdict("allow", 3)]


def test_see_thru_ends_by_itself() -> None:
    """The date comes with the clock's tick; the last day counts."""
    play = Play(client=SEEING)
    play.today = datetime.date(2027, 1, 31)
    play.wait(1)
    assert play.client(OTHER_HELLO)[-1:] == verdict("allow", 1)
    play.today = datetime.date(2027, 2, 1)
    play.wait(10)
    assert play.client(OTHER_HELLO)[-1:] == verdict("drop", 2)
    assert (play.events[-1]["see_thru_exerted"], play.events[-1]["see_thru_days_remaining"]) == (False, -1)


def test_see_thru_covers_ports_that_are_not_listed() -> None:
    """Plaintext HTTP on port 80 as well, with its request in the log."""
    play = Play(client=SEEING, port=80)
    assert play.client(REQUEST) == [refused("client", "port_not_listed"), *verdict("pass", 1)]
    assert play.events[0]["http_path"] == "/secret"
    assert play.server(STATUS, received=len(REQUEST)) == [refused("server", "port_not_listed"), *verdict("allow", 2)]
    assert (play.events[1]["http_code"], play.events[1]["see_thru_exerted"]) == (404, True)
    assert play.wait(2) == []
    assert play.is_empty


def test_a_status_in_pieces_is_waited_for() -> None:
    """What came before it has passed by then; the client goes on meanwhile, and says what it likes."""
    play = Play(client=SEEING, port=80)
    assert play.client(REQUEST[:9]) == []
    assert play.client(REQUEST[9:], 9)[1:] == verdict("pass", 1, 2)
    assert play.client(b"body", len(REQUEST)) == verdict("pass", 3)
    assert play.server(STATUS[:5], received=len(REQUEST)) == verdict("pass", 4)
    assert play.server(STATUS[5:], 5)[1:] == verdict("allow", 5)
    assert [event.get("http_code") for event in play.events] == [None, 404]


@pytest.mark.parametrize("reply", [b"SSH-2.0-x\r\n-----", b"<html>nothing before it", b"HTTP/1.1 999 what"])
def test_a_reply_without_a_status_opens_too(reply: bytes) -> None:
    """See-thru must not break what nobody has heard of."""
    play = Play(client=SEEING, port=80)
    play.client(REQUEST)
    assert play.server(reply, received=len(REQUEST)) == verdict("allow", 2)
    assert len(play.events) == 1


def test_a_request_that_is_long_is_not_held_up() -> None:
    """Past what is kept of a stream nothing more is waited for; nor for a server that thinks for long."""
    play = Play(client=SEEING, port=80, limits=Limits(stream_octets=1000))
    play.client(REQUEST)
    assert play.client(bytes(900), len(REQUEST)) == verdict("pass", 2)
    assert play.client(bytes(900), 900 + len(REQUEST)) == verdict("allow", 3)
    play = Play(client=SEEING, port=80)
    play.client(REQUEST)
    assert play.wait(61) == []
    assert play.is_empty
    assert play.server(STATUS, received=len(REQUEST))[-1:] == verdict("allow", 2)


def test_see_thru_that_ends_before_the_reply_ends_the_request() -> None:
    """The day is looked at when the flow would open."""
    play = Play(client=SEEING, port=80)
    play.client(REQUEST)
    play.today = datetime.date(2027, 2, 1)
    play.wait(1)
    assert play.server(STATUS, received=len(REQUEST))[0] == refused("server", "port_not_listed")
    assert play.server(STATUS, received=len(REQUEST)) == verdict("drop", 3)


def test_a_request_that_is_not_finished_is_logged_as_far_as_it_goes() -> None:
    """A client that dribbles it says no less of itself."""
    play = Play()
    play.client(REQUEST[:-2])
    assert play.wait(11)[0] == refused("client", "http_plaintext")
    event = play.events[0]
    assert (event["dhost"], event["http_path"], event["http_user_agent"]) == ("www.example.com", "/secret", "curl/8")


EVERYBODY = Preferences(see_thru=datetime.date(2027, 1, 20))


def test_see_thru_of_the_deployment_is_everybodys() -> None:
    """Logged as %default's; its end is looked at as any other's, and so is its going away."""
    play = Play(preferences=EVERYBODY)
    assert play.client(OTHER_HELLO) == [refused("client", "name_not_listed"), *verdict("allow", 1)]
    event = play.events[0]
    assert (event["see_thru_exerted"], event["see_thru_gid"], event["see_thru_days_remaining"]) == (True, "%default", 5)
    play.today = datetime.date(2027, 1, 21)
    play.wait(10)
    assert play.client(OTHER_HELLO)[-1:] == verdict("drop", 2)
    assert (play.events[1]["see_thru_exerted"], play.events[1]["see_thru_days_remaining"]) == (False, -1)
    play.engine.on_preferences(DEFAULTS)
    play.client_port += 1
    assert play.client(OTHER_HELLO)[-1:] == verdict("drop", 3)
    assert "see_thru_exerted" not in play.events[2]


@pytest.mark.parametrize(("day", "gid"), [(30, "sg-2"), (31, "sg-2"), (32, "%default")])
def test_the_grant_that_ends_last_counts(day: int, gid: str) -> None:
    """A client's own, until the last of January, or the deployment's."""
    until = datetime.date(2026, 12, 31) + datetime.timedelta(day)
    play = Play(client=SEEING, preferences=Preferences(see_thru=until))
    play.client(OTHER_HELLO)
    event = play.events[0]
    assert (event["see_thru_gid"], event["see_thru_days_remaining"]) == (gid, max(day, 31) - 15)


def test_see_thru_of_the_deployment_covers_clients_without_annotation_and_no_strangers() -> None:
    """Who wears a group that says nothing is known; who is in no inventory is not."""
    mute = SecurityGroup("sg-9", "mute", ())
    policy = compile_policy(Inventory((mute,), (NetworkInterface("eni-9", ("sg-9",), (CLIENT,), ()),)))
    play = Play(policy=policy, answers=(), preferences=EVERYBODY)
    assert play.client(OTHER_HELLO) == [refused("client", "client_not_annotated"), *verdict("allow", 1)]
    assert play.events[0]["see_thru_exerted"] is True
    play.address = STRANGER
    play.client(OTHER_HELLO)
    assert play.aws_answered(STRANGER)[0] == refused("client", "client_unknown")
    assert "see_thru_exerted" not in play.events[1]


@pytest.mark.parametrize(("server", "flags", "code"), [(PRIVATE, 16, "destination_private"), (SERVER, SYN, "syn_data")])
def test_see_thru_never_covers(server: int, flags: int, code: str) -> None:
    """The VPC itself stays out of reach, and so does what cannot be inspected."""
    play = Play(client=SEEING, server=server)
    commands = play.client(OTHER_HELLO, flags=flags)
    assert commands[0] == refused("client", code)
    assert commands[-1:] == verdict("drop", 1)


def test_see_thru_at_the_end_of_a_wait_forgets_the_flow() -> None:
    """No packet is left that could tell the kernel: the next one is looked at afresh, and passes."""
    play = Play(client=SEEING)
    play.client(HELLO)
    assert play.wait(61) == [refused("server", "server_timeout")]
    assert play.is_empty
    assert play.server(REPLY)[-1:] == verdict("allow", 2)


# ---- time ----


def test_a_hello_that_is_never_finished() -> None:
    """Ten seconds from its first segment, however many follow."""
    play = Play()
    play.client(HELLO[:50])
    play.now += 9
    play.client(HELLO[50:60], 50)
    assert play.wait(0.5) == []
    assert play.wait(1) == [refused("client", "hello_timeout"), *resets(60, 0), *verdict("drop", 1, 2)]


def test_a_request_that_is_never_finished_is_called_plaintext() -> None:
    """The log says what it was."""
    play = Play()
    play.client(REQUEST[:-2])
    assert play.wait(11)[0] == refused("client", "http_plaintext")


@pytest.mark.parametrize("reply", [b"", REPLY[:30], RETRY])
def test_a_server_that_never_replies(reply: bytes) -> None:
    """Also in the middle of its reply, and when its client never retries."""
    play = Play()
    play.client(HELLO)
    if reply:
        play.server(reply)
    assert play.wait(59) == []
    assert play.wait(2)[0] == refused("server", "server_timeout")
    play.wait(3)
    assert play.is_empty


def test_a_clock_that_jumps_ends_waits_once() -> None:
    """An hour in one tick."""
    play = Play(limits=Limits(hello_wait=5.0, look_up_wait=5.0), answers=())
    play.client(HELLO)
    assert play.wait(3600)[0] == refused("client", "name_unresolved")
    assert play.engine.flows == 1
    assert play.wait(3600) == []
    assert play.is_empty


def test_nothing_outlives_its_flow() -> None:
    """A timer that nobody waits for any more keeps no flow in memory."""
    play = Play()
    play.client(HELLO)
    play.server(REPLY)
    play.wait(3)
    table = play.engine._flows
    assert (table._flows, table._slots, table._undecided) == ({}, {}, {})


# ---- limits ----


def test_a_full_table_forgets_the_oldest() -> None:
    """It is refused if it was not decided."""
    play = Play(limits=Limits(flows=2))
    for _ in range(2):
        play.client(HELLO[:10])
        play.client_port += 1
    commands = play.client(HELLO[:10])
    assert commands[0] == refused("client", "overloaded")
    assert commands[-1:] == verdict("drop", 1)
    assert play.engine.flows == 2


def test_a_client_with_too_many_flows_is_refused_others_are_not() -> None:
    """Only undecided flows count."""
    play = Play(limits=Limits(flows_per_client=1))
    play.client(HELLO)
    play.client_port += 1
    assert play.client(HELLO) == [refused("client", "overloaded"), *verdict("deny", 2)]
    play.address = SEEING
    assert play.client(HELLO)[0] == GOOD_HELLO
    play.address, play.client_port = CLIENT, 40000
    play.server(REPLY)
    play.client_port += 1
    assert play.client(HELLO)[0] == GOOD_HELLO


def test_who_holds_longest_makes_room() -> None:
    """A client that opens and never finishes cannot keep others from being inspected (P16)."""
    play = Play(limits=Limits(held_packets=3))
    for at in range(3):
        play.client(HELLO[at : at + 1], at)
    play.client_port += 1
    commands = play.client(HELLO)
    assert commands[:2] == [*verdict("drop", 4), refused("client", "overloaded")]
    assert commands[-3:] == verdict("drop", 1, 2, 3)
    assert play.client(HELLO) == [GOOD_HELLO, *verdict("pass", 5)]


def test_a_flow_that_holds_too_many_loses_packets_only() -> None:
    """TCP sends them again."""
    play = Play(limits=Limits(held_per_flow=2))
    play.client(HELLO)
    play.client(EARLY_DATA, len(HELLO))
    play.client(EARLY_DATA, len(HELLO) + 105)
    assert play.client(EARLY_DATA, len(HELLO) + 210) == verdict("drop", 4)
    play.server(REPLY)
    assert play.engine.held == 2  # the reply is lost as well


def test_too_many_segments() -> None:
    """Repeated ones count, or they could go on for ever (P16)."""
    play = Play(limits=Limits(stream_segments=5))
    for _ in range(5):
        play.client(HELLO[:3])
    assert play.client(HELLO[:3])[0] == refused("client", "too_many_segments")


def test_a_hello_that_is_too_long() -> None:
    """Announced or sent."""
    play = Play()
    long = hellos.record(b"\x01\x01\x00\x00" + bytes(100))
    assert play.client(long)[0] == refused("client", "hello_too_long")
    play = Play()
    assert play.client(b"\x16", 24576)[0] == refused("client", "hello_too_long")


# ---- dribble ----


def dribble(play: Play, octets: bytes) -> list:
    """Send octet by octet; return what came out."""
    return [command for at in range(len(octets)) for command in play.client(octets[at : at + 1], at)]


def test_a_dribbled_hello_goes_on_to_an_address_of_a_listed_name() -> None:
    """A client sends no more than a few segments without an acknowledgement; each octet goes once, in order."""
    play = Play()
    commands = dribble(play, HELLO)
    packets = list(range(1, len(HELLO) + 1))
    released = len(HELLO) // DRIBBLE_SEGMENTS * DRIBBLE_SEGMENTS
    assert commands == [*verdict("pass", *packets[:released]), GOOD_HELLO, *verdict("pass", *packets[released:])]
    assert play.server(REPLY)[0] == GOOD_REPLY


def test_the_last_octet_of_a_dribbled_hello_stays_if_the_name_is_refused() -> None:
    """The server never gets a whole hello; the resets know how much it got."""
    play = Play()
    commands = dribble(play, OTHER_HELLO)
    assert refused("client", "name_not_listed") in commands
    assert commands[-1:] == verdict("drop", play.packets)
    kept = len(OTHER_HELLO) - len(OTHER_HELLO) // DRIBBLE_SEGMENTS * DRIBBLE_SEGMENTS or DRIBBLE_SEGMENTS
    assert commands[-kept - 2 : -kept] == resets(len(OTHER_HELLO), len(OTHER_HELLO) - kept)


@pytest.mark.parametrize(
    ("what", "octets", "server", "port"),
    [
        ("an unknown address", HELLO, ELSEWHERE, 443),
        ("a port that is not listed", HELLO, SERVER, 444),
        ("plaintext HTTP", REQUEST, SERVER, 443),
        ("TLS on a port for SSH", HELLO, SERVER, 22),
        ("SSH on a port for TLS", SSH, SERVER, 443),
    ],
)
def test_nothing_else_is_dribbled(what: str, octets: bytes, server: int, port: int) -> None:
    """Not an octet passes before all of it was understood."""
    play = Play(server=server, port=port)
    assert dribble(play, octets[:40][: len(octets) - 1]) == []


def test_a_dribble_with_a_gap_keeps_what_lies_beyond() -> None:
    """Only octets in order go on."""
    play = Play()
    play.client(HELLO[100:], 100)
    commands = dribble(play, HELLO[:20])
    assert verdict("pass", 1)[0] not in commands
    assert commands == verdict("pass", *range(2, 16))  # whenever eight are held, of which one stays
