"""The player: a capture's packets become what the flow log would say, whatever their order and their gaps."""

import json
from collections.abc import Iterable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.address import Network, parse_ipv4
from appliance.directory import Directory, parse_addresses
from appliance.errors import PolicyError
from appliance.player import Player, Told
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import Inventory
from appliance.policy.policy import Policy, compile_policy
from appliance.policy.preferences import DEFAULTS, Crls, Ech, Gating, Preferences
from tests import captures, hellos
from tests.captures import START, Captured, Wire, ssh_flow, tls_flow
from tests.playbook import (
    ACK,
    CLIENT,
    ELSEWHERE,
    FIN,
    GIT,
    HELLO,
    MD5_OPTION,
    NAME,
    POLICY,
    PSH,
    REPLY,
    REQUEST,
    RST,
    SEEING,
    SERVER,
    SYN,
    datagram,
)

NOBODY = compile_policy(Inventory((), ()))
KNOWN = Directory({NAME: (SERVER,), GIT: (SERVER,)}, trusting=False)
PQ = hellos.client_stream(hellos.client_hello(groups=((hellos.X25519MLKEM768, 1216), (hellos.X25519, 32))))


def play(
    packets: Iterable[Captured],
    policy: Policy = NOBODY,
    directory: Directory = KNOWN,
    *,
    snapshot: int = 1 << 17,
    preferences: Preferences = DEFAULTS,
) -> list[Told]:
    player = Player(policy, directory, preferences=preferences)
    told = [told for time, octets in packets for told in player.on_packet(octets[:snapshot], time)]
    return told + player.finish()


def short(told: Iterable[Told]) -> list[tuple[object, ...]]:
    """Return what counts of events: side, code, protocol, version, name."""
    return [tuple(event[field] for field in ("cat", "code", "proto", "proto_v", "dhost")) for _, event in told]


TLS = ("client", "client_unknown", "tls", "TLS 1.3", str(NAME))
SSH = ("client", "client_unknown", "ssh", "2.0", "203.0.113.10")
SILENT = ("client", "client_unknown", "unknown", "", "203.0.113.10")
AGREED = [
    ("client", "name_listed", "tls", "TLS 1.3", str(NAME)),
    ("server", "server_agreed", "tls", "TLS 1.3", str(NAME)),
]


def from_(side: int, packets: Iterable[Captured]) -> list[Captured]:
    """Only one side's packets."""
    client = CLIENT.to_bytes(4)
    return [packet for packet in packets if (packet.octets[12:16] == client) is (side == 0)]


UNKNOWN = {
    "TLS": (tls_flow(), [TLS]),
    "TLS in small segments": (tls_flow(size=50), [TLS]),
    "a hello in two segments": (Wire().handshake().say(0, PQ).packets, [TLS]),
    "a client alone": (from_(0, tls_flow()), [TLS]),
    "a client without an end": (tls_flow()[:4], [TLS]),
    "SSH whose server speaks first": (ssh_flow(), [SSH]),
    "HTTP": (
        Wire().handshake().say(0, REQUEST).packets,
        [("client", "client_unknown", "http", "", "www.example.com")],
    ),
    "a SYN alone": (tls_flow()[:1], [SILENT]),
    "a handshake alone": (Wire().handshake().close().packets, [SILENT]),
    "a server that speaks alone": (ssh_flow()[:4], [SILENT]),
    "a refused connection": (Wire().put(0, flags=SYN).put(1, flags=RST | ACK).packets, [SILENT]),
    "two connections from one port": (
        Wire().handshake().say(0, HELLO).close().packets
        + Wire(isn=77, time=START + 9).handshake().say(0, HELLO).packets,
        [TLS, TLS],
    ),
    "UDP, told of once": ([Captured(START, datagram(CLIENT, SERVER, 443))] * 3, [SILENT]),
    "half a hello": (
        Wire().handshake().say(0, HELLO[:90]).packets,
        [("client", "hello_timeout", "tls", "", "203.0.113.10")],
    ),
    "a SYN with data": (Wire().put(0, b"x", flags=SYN).packets, [SILENT]),
    "joined in the middle": (tls_flow()[7:], [("client", "mid_stream", "unknown", "", "203.0.113.10")]),
    "joined before the hello": (tls_flow()[2:], [("client", "mid_stream", *TLS[2:])]),
    "joined before a hello in two": (Wire().handshake().say(0, PQ).packets[2:], [("client", "mid_stream", *TLS[2:])]),
    "a server alone": (from_(1, tls_flow()), [("client", "mid_stream", "unknown", "", "203.0.113.10")]),
    "acknowledgements alone": (Wire().put(0).put(1).put(0).packets, []),
    "IPv6": (captures.over_ipv6(tls_flow()), [("client", "ipv6", "tls", "TLS 1.3", str(NAME))]),
    "IPv6 without a beginning": (
        captures.over_ipv6(tls_flow()[5:]),
        [("client", "ipv6", "unknown", "", "2001:db8::2")],
    ),
    "UDP over IPv6": (
        [Captured(START, captures.ipv6(17, bytes((200, 0, 1, 187, 0, 9, 0, 0, 1))))] * 2,
        [("client", "ipv6", "unknown", "", "2001:db8::2")],
    ),
    "neighbours over IPv6": ([Captured(START, captures.ipv6(58, b"\x87" + bytes(23)))], []),
    "no IP": ([Captured(START, b"\x00" * 60), Captured(START, b"")], []),
}


@pytest.mark.parametrize(("packets", "expected"), UNKNOWN.values(), ids=UNKNOWN)
def test_without_policy_events_say_what_packets_say(
    packets: list[Captured], expected: list[tuple[object, ...]]
) -> None:
    """Every client is unknown; name, protocol and version are there all the same, and each flow is told of once."""
    assert short(play(packets)) == expected


def client_sends(*parts: tuple[int, bytes], options: bytes = b"", flags: int = ACK | PSH) -> Wire:
    wire = Wire().handshake()
    for at, octets in parts:
        wire.put(0, octets, at=at - (wire.sent[0] - captures.CLIENT_ISN - 1), options=options, flags=flags)
    return wire


LISTED = {
    "TLS": (tls_flow(), AGREED),
    "another name": (tls_flow("other.example.com"), [("client", "name_not_listed", *TLS[2:4], "other.example.com")]),
    "another address": (tls_flow(server=ELSEWHERE), [("client", "address_mismatch", *TLS[2:])]),
    "SSH": (
        ssh_flow(),
        [
            ("client", "address_listed", "ssh", "2.0", str(GIT)),
            ("server", "server_agreed", "ssh", "2.0", str(GIT)),
        ],
    ),
    "a server that does not reply": (
        tls_flow()[:4],
        [AGREED[0], ("server", "server_timeout", "tls", "", str(NAME))],
    ),
    "a signed SYN": (
        Wire().put(0, flags=SYN, options=MD5_OPTION).packets,
        [("client", "tcp_md5", "unknown", "", "203.0.113.10")],
    ),
    "another port": (
        Wire(server_port=444).handshake().say(0, HELLO).packets,
        [("client", "port_not_listed", *TLS[2:])],
    ),
    "joined in the middle": (tls_flow()[3:], [("client", "mid_stream", *TLS[2:])]),
    "a decoy that changes afterwards": (
        client_sends((0, HELLO[:50]), (0, b"X" * 50)).packets,
        [("client", "tcp_conflict", "tls", "", "203.0.113.10")],
    ),
    "QUIC": ([Captured(START, datagram(CLIENT, SERVER, 443))], [("client", "quic", "unknown", "", "203.0.113.10")]),
}


@pytest.mark.parametrize(("packets", "expected"), LISTED.values(), ids=LISTED)
def test_with_policy_events_are_the_engines(packets: list[Captured], expected: list[tuple[object, ...]]) -> None:
    """What the appliance would have decided is what is told."""
    assert short(play(packets, POLICY)) == expected


def test_names_are_trusted_where_it_is_asked_for() -> None:
    """Each name has the addresses that its flows go to, however many; other names stay refused."""
    trusting = Directory({}, trusting=True)
    packets = [
        *tls_flow(server=ELSEWHERE),
        *tls_flow(server=SERVER, port=40001),
        *tls_flow("other.example.com", port=40002),
    ]

    assert [code for _, code, *_ in short(play(packets, POLICY, trusting))] == [
        *("name_listed", "server_agreed") * 2,
        "name_not_listed",
    ]


def test_see_thru_counts_by_the_captures_date() -> None:
    """A grant that held when the packets were captured is exerted, and one that had ended is not."""
    packets = Wire(SEEING, server_port=9999).handshake().say(0, HELLO).packets
    late = [Captured(time + 30 * 86400, octets) for time, octets in packets]

    assert [told.event["see_thru_exerted"] for told in play(packets, POLICY)] == [True]
    assert [told.event["see_thru_exerted"] for told in play(late, POLICY)] == [False]


def test_time_is_that_of_the_capture() -> None:
    """Waits end when the packets' clock says so, also if nothing comes in between; an event bears that time."""
    wire = Wire().handshake().say(0, HELLO[:90]).wait(500).say(0, HELLO[90:])

    [told] = play(wire.packets, POLICY)

    assert told.event["code"] == "hello_timeout"
    assert 10 <= told.when - START < 11
    assert "the capture ends" not in told.event["reason"]


def test_what_waits_at_the_end_is_told_with_that_reason() -> None:
    """A wait that the end of the capture cuts short is not taken for the client's fault."""
    [told] = play(Wire().handshake().say(0, HELLO[:90]).packets, POLICY)

    assert told.event["reason"] == "the client did not finish its hello in time; the capture ends here"


@pytest.mark.parametrize("snapshot", [54, 60, 120, 200])
@pytest.mark.parametrize("policy", [NOBODY, POLICY])
def test_packets_that_were_cut_are_told_of_once(snapshot: int, policy: Policy) -> None:
    """A snapshot length hides the hello: the flow is told of, by its ports, and what follows is not."""
    told = play(tls_flow() + tls_flow(port=40001), policy, snapshot=snapshot)

    assert [(event["code"], event["spt"], event["dpt"]) for _, event in told] == [
        ("truncated_copy", 40000, 443),
        ("truncated_copy", 40001, 443),
    ]


def test_what_was_captured_of_a_cut_packet_counts() -> None:
    """If the hello is whole and only what follows it is cut, its name is told."""
    packets = Wire().handshake().put(0, HELLO + bytes(900), flags=ACK | PSH).packets

    [told] = short(play(packets, snapshot=40 + len(HELLO)))

    assert told == ("client", "truncated_copy", *TLS[2:])


@given(st.integers(20, 400), st.randoms(use_true_random=False), st.sampled_from([NOBODY, POLICY]))
def test_order_and_repetition_do_not_matter(size: int, random: object, policy: Policy) -> None:
    """The segments of one direction may come in any order, and twice: the events are those of a tidy flow."""
    client = Wire().handshake()
    count = len(client.packets)
    for at in range(0, len(PQ), size):
        client.put(0, PQ[at : at + size], flags=ACK | PSH)
    segments = client.packets[count:]
    shuffled = [*segments, random.choice(segments)]
    random.shuffle(shuffled)
    reply = client.say(1, REPLY).close().packets[count + len(segments) :]
    packets = [*client.packets[:count], *shuffled, *reply]

    if len(shuffled) <= 60:  # as many as the engine holds of one flow
        assert short(play(packets, policy)) == ([TLS] if policy is NOBODY else AGREED)


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([NOBODY, POLICY]))
def test_any_part_of_a_capture_is_told_of(start: int, stop: int, policy: Policy) -> None:
    """Nothing fails for what is missing in front or behind, and every flow with payload is told of."""
    packets = [*tls_flow(), *ssh_flow(), *captures.over_ipv6(tls_flow())][start : start + stop]

    told = play(packets, policy)

    assert len(told) <= 6
    assert json.dumps([event for _, event in told])


@given(st.lists(st.tuples(st.binary(max_size=90), st.sampled_from([b"", b"\x45", b"\x60"])), max_size=30))
def test_garbage_is_told_of_or_passed_over(packets: list[tuple[bytes, bytes]]) -> None:
    """Whatever a packet holds, nothing is raised."""
    play([Captured(START, head + octets) for octets, head in packets], POLICY)


@given(st.data())
def test_spoilt_packets_are_told_of_or_passed_over(data: st.DataObject) -> None:
    """The same for packets that were good."""
    packets = [*tls_flow(), *ssh_flow(), *captures.over_ipv6(tls_flow())]
    for _ in range(data.draw(st.integers(1, 6))):
        index = data.draw(st.integers(0, len(packets) - 1))
        octets = bytearray(packets[index].octets)
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        packets[index] = Captured(packets[index].time, bytes(octets))

    play(packets, data.draw(st.sampled_from([NOBODY, POLICY])))


def test_what_is_kept_has_a_bound() -> None:
    """However many connections a capture begins, the oldest make room and are told of."""
    player = Player(NOBODY, KNOWN)
    told = 0
    for time, octets in captures.scan(40000):
        told += len(player.on_packet(octets, time))

    assert len(player._connections) == 32768
    assert told == 40000 - 32768
    assert len(player.finish()) == 32768
    assert not player._held


def test_an_unencrypted_fin_alone_ends_nothing() -> None:
    """An end that overtakes the hello does not hide it."""
    wire = Wire().handshake()
    packets = [*wire.packets, *wire.put(0, HELLO, flags=ACK | PSH).put(0, flags=FIN | ACK).packets[:2:-1]]

    assert short(play(packets)) == [TLS]


# ---- the directory ----


def test_addresses_are_read() -> None:
    """Names are canonical, their addresses add up, and those of IPv6 are passed over."""
    assert parse_addresses(
        {"API.example.com.": ["203.0.113.10", "2001:db8::1"], "api.example.com": ["198.51.100.9"]}
    ) == {NAME: (SERVER, ELSEWHERE)}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "it is not an object of names"),
        ({"api.example.com": "203.0.113.10"}, "the addresses of 'api.example.com' are no list of texts"),
        ({"api.example.com": [1]}, "the addresses of 'api.example.com' are no list of texts"),
        ({"api.example.com": ["somewhere"]}, "'somewhere' is not an IPv4 address"),
    ],
)
def test_other_addresses_are_refused(document: object, message: str) -> None:
    """What is not an object of names and addresses is refused, with what to write."""
    with pytest.raises(PolicyError) as caught:
        parse_addresses(document)

    assert (caught.value.message, bool(caught.value.hint)) == (message, True)


# ---- preferences ----

PRIVATE = parse_ipv4("10.50.0.9")
CRL_HOST = Fqdn.parse("crl3.digicert.com")
LIST = b"GET /a.crl HTTP/1.1\r\nHost: crl3.digicert.com\r\n\r\n"
ECH_HELLO = hellos.client_stream(hellos.client_hello(ech=True))
NAMES = Directory({NAME: (SERVER, PRIVATE), CRL_HOST: (SERVER,)}, trusting=False)
FETCHED = Wire(server_port=80).handshake().say(0, LIST).say(1, b"HTTP/1.1 200 OK\r\n\r\n")
PREFERRED = {
    # preferences, packets, codes by default, codes by these preferences
    "x509_crls": (
        Preferences(x509_crls=Crls.ALLOW),
        [*FETCHED.packets],
        ["port_not_listed"],
        ["crl_listed", "server_agreed"],
    ),
    "a second request": (
        Preferences(x509_crls=Crls.ALLOW),
        FETCHED.say(0, LIST).packets,
        ["port_not_listed"],
        ["crl_listed", "server_agreed", "http_plaintext"],
    ),
    "ech": (
        Preferences(ech=Ech.ALLOW),
        Wire().handshake().say(0, ECH_HELLO).say(1, REPLY).packets,
        ["ech"],
        ["name_listed", "server_agreed"],
    ),
    "private_destinations": (
        Preferences(private_destinations=(Network.parse("10.50.0.0/16"),)),
        tls_flow(server=PRIVATE),
        ["destination_private"],
        ["name_listed", "server_agreed"],
    ),
    "syn_gate": (
        Preferences(syn_gate=Gating.ON),
        tls_flow(server=ELSEWHERE),
        ["address_mismatch"],
        ["address_not_listed"],
    ),
    "syn_gate, a listed address": (
        Preferences(syn_gate=Gating.ON),
        tls_flow(),
        ["name_listed", "server_agreed"],
        ["name_listed", "server_agreed"],
    ),
}


@pytest.mark.parametrize(("preferences", "packets", "before", "after"), PREFERRED.values(), ids=PREFERRED)
def test_flows_are_judged_by_preferences(
    preferences: Preferences, packets: list[Captured], before: list[str], after: list[str]
) -> None:
    """As on the appliance: the kernel's sets follow them, and so does the engine."""
    assert [told.event["code"] for told in play(packets, POLICY, NAMES)] == before
    assert [told.event["code"] for told in play(packets, POLICY, NAMES, preferences=preferences)] == after


def test_see_thru_of_everybody_is_told() -> None:
    """Until its day, as the default profile's; towards private addresses never."""
    packets = Wire(server_port=9999).handshake().say(0, HELLO).say(1, REPLY).packets
    seeing = Preferences(see_thru=date(2027, 1, 15))

    first, *_ = play(packets, POLICY, preferences=seeing)
    assert (first.event["see_thru_gid"], first.event["see_thru_exerted"]) == ("%default", True)
    ended = Preferences(see_thru=date(2027, 1, 14))
    assert [told.event["see_thru_exerted"] for told in play(packets, POLICY, preferences=ended)] == [False]
    asked = Wire(server_port=80).handshake().say(0, REQUEST).say(1, b"HTTP/1.1 404 Not Found\r\n\r\n").packets
    assert [told.event["http_code"] for told in play(asked, POLICY, preferences=seeing)[1:]] == [404]
    inside = Wire(server=PRIVATE, server_port=9999).handshake().say(0, HELLO).packets
    opened = Preferences(see_thru=date(2027, 1, 15), private_destinations=(Network.parse("10.50.0.0/16"),))
    assert [told.event["see_thru_exerted"] for told in play(inside, POLICY, preferences=opened)] == [False]
