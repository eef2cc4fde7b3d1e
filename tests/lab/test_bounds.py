"""Bounds: what a hostile client can send at all, to whom, and how much of what everybody shares it can take.

Source: SECURITY.md, rows X5 to X7, X11, D6, D7; Linux's numbers of protocols and of ICMP's types.
"""

import datetime
import json
import os
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import pytest

from appliance.selftest.segments import checksum_of
from tests.lab.appliance import Appliance, Config
from tests.lab.lab import Lab, wait_until
from tests.lab.namespaces import Namespace
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import SHORT_WAITS, allowed, hello, launch, refused, ssh, tls
from tests.lab.tcp import OUR_PORTS, SYN, Peer, Tap
from tests.lab.workload import Workload

PARAMETER = "DiscrimiNAT_bounds"
CLIENT_RATE = 200  # new flows per second of one client
CLIENT_IDLE = 20  # handshakes without a hello
IDLE_WAIT = 3  # seconds until they are forgotten
BOUNDED: Config = {
    **SHORT_WAITS,
    "engine": {
        **SHORT_WAITS["engine"],
        "client_rate": CLIENT_RATE,
        "client_idle": CLIENT_IDLE,
        "idle_wait": IDLE_WAIT,
    },
    "preferences": {"parameter": PARAMETER, "interval": 0.3},
}
ALL_IPV4 = 0x0800
ANYTHING = egress("-1", None)


def write(lab: Lab, **preferences: object) -> None:
    text = json.dumps({"%default": preferences})
    lab.ssm.put_parameter(Name=PARAMETER, Value=text, Type="String", Overwrite=True)


@pytest.fixture(scope="module", autouse=True)
def appliance(lab: Lab) -> Iterator[Appliance]:
    """The appliance with bounds that are soon met."""
    write(lab)
    lab.appliance.start(BOUNDED)
    yield lab.appliance
    lab.appliance.wipe()
    lab.ssm.delete_parameter(Name=PARAMETER)


@pytest.fixture(scope="module")
def api(lab: Lab) -> Server:
    """A server that hosts of these stories list."""
    return lab.internet.tls("api.bounds.test")


@pytest.fixture(scope="module")
def victim(lab: Lab, appliance: object, api: Server) -> Workload:
    """A client that means well, and works."""
    client = launch(lab, "victim", tls(api.name))
    assert client.curl(f"https://{api.name}/").ok
    return client


@pytest.fixture(scope="module")
def hostile(lab: Lab, appliance: object, api: Server) -> Workload:
    """A client of which nothing is to be trusted; AWS lets it send anything."""
    git = lab.internet.ssh("git.bounds.test")
    names = tls(api.name, "moves.bounds.test", "cut.bounds.test")
    client = launch(lab, "hostile", names, tls(api.name, port=53), ssh(git.name), ANYTHING)
    assert client.curl(f"https://{api.name}/").ok
    return client


class Wire:
    """Copies of all IPv4 packets that reach a host, whatever their protocol."""

    def __init__(self, namespace: Namespace) -> None:
        self._in = namespace.open_socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_IPV4))
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._in.setblocking(False)

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._in.close()

    def packets(self, address: str) -> list[bytes]:
        """Return what has reached this address since the last time; the others are forgotten."""
        found = []
        while True:
            try:
                packet, where = self._in.recvfrom(65535)
            except BlockingIOError:
                return found
            arrived = where[2] != socket.PACKET_OUTGOING
            if arrived and packet[16:20] == socket.inet_aton(address):
                found.append(packet)


# ---- X6: what is no TCP ----


def icmp(kind: int, rest: bytes = bytes(4), data: bytes = b"secret") -> bytes:
    message = bytes((kind, 0, 0, 0)) + rest + data + bytes(len(data) % 2)
    return message[:2] + checksum_of(message).to_bytes(2) + message[4:]


def datagram(port: int, data: bytes = b"secret") -> bytes:
    return struct.pack("!HHHH", 40000, port, 8 + len(data), 0) + data


QUOTED = b"\x45" + bytes(8) + b"\x06" + bytes(18)  # a packet that nobody has sent
OTHERS = [
    # number  payload                                                   what
    (1,   icmp(8),                                                      "ICMP echo"),
    (1,   icmp(0),                                                      "ICMP echo reply"),
    (1,   icmp(13, data=bytes(14)),                                     "ICMP timestamp"),
    (1,   icmp(3, data=QUOTED),                                         "ICMP error"),
    (1,   icmp(5, data=QUOTED),                                         "ICMP redirect"),
    (1,   icmp(42),                                                     "ICMP extended echo"),
    (2,   b"\x16\x00\x09\x04\xe0\x00\x00\xfb",                          "IGMP"),
    (4,   b"\x45\x00\x00\x14" + bytes(16),                              "IP in IP"),
    (17,  datagram(123),                                                "UDP"),
    (33,  bytes((0x9C, 0x40, 1, 187, 4, 0, 0, 0)) + bytes(16),          "DCCP"),
    (41,  b"\x60" + bytes(39),                                          "6in4"),
    (47,  b"\x00\x00\x08\x00secret",                                    "GRE"),
    (50,  b"\x00\x00\x10\x00" + bytes(20),                              "ESP"),
    (51,  b"\x3b\x04\x00\x00" + bytes(20),                              "AH"),
    (108, b"\x3b\x00\x00\x01",                                          "IPComp"),
    (132, struct.pack("!HHII", 40000, 443, 0, 0) + b"\x01\x00\x00\x14", "SCTP"),
    (136, datagram(443),                                                "UDP-Lite"),
    (253, b"secret",                                                    "an experiment"),
]  # fmt: skip


TOLD = {"ICMP echo", "GRE", "ESP", "IP in IP"}  # what conntrack has no objection to, and people build tunnels of


@pytest.mark.parametrize(("protocol", "payload", "what"), OTHERS, ids=[row[2] for row in OTHERS])
def test_no_other_protocol_passes(lab: Lab, hostile: Workload, protocol: int, payload: bytes, what: str) -> None:
    """Not one packet reaches the host outside: the log has it, or conntrack finds it invalid, and it is counted."""
    server = lab.internet.lines("")
    before = strays(lab)

    def refusals() -> list[str]:
        return [event["code"] for event in lab.appliance.flow_events() if event["dst"] == server.address]

    with Wire(lab.internet.namespace) as wire:
        with hostile.namespace.open_socket(kind=socket.SOCK_RAW, protocol=protocol) as raw:
            raw.sendto(payload, (server.address, 0))
        assert wait_until(lambda: refusals() or strays(lab) > before)
        assert refusals() in ([], ["protocol_not_supported"])
        assert refusals() or what not in TOLD
        assert wire.packets(server.address) == []


def strays(lab: Lab) -> int:
    """Return how many packets were part of nothing that conntrack knows or can read."""
    listing = lab.appliance.namespace.run("nft", "list", "counter", "inet", "discriminat", "stray").stdout
    return int(re.findall(r"packets (\d+)", listing)[0])


@pytest.mark.parametrize("address", ["239.1.2.3", "224.0.0.251", "255.255.255.255", "10.0.0.255"])
def test_neither_multicast_nor_broadcast_passes(lab: Lab, hostile: Workload, address: str) -> None:
    """Whatever the client's neighbours do with it, nothing of it is on the Internet."""
    with Wire(lab.internet.namespace) as wire:
        with hostile.namespace.open_socket(kind=socket.SOCK_DGRAM) as datagrams:
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            datagrams.sendto(b"secret", (address, 443))
        after = lab.internet.udp("", port=9)  # what is sent afterwards is refused first
        with hostile.namespace.open_socket(kind=socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(b"after", (after.address, 9))
        refused(lab, after, "protocol_not_supported")
        assert wire.packets(address) == []


def was_reset(host: Workload, address: str, port: int, octets: bytes) -> bool:
    """Whether a connection on which these octets are sent is refused or reset."""
    try:
        return is_reset(host.connect(address, port), octets)
    except ConnectionRefusedError:
        return True


def is_reset(stream: socket.socket, octets: bytes) -> bool:
    """Whether these octets, the first of a connection, are answered with a reset; it is closed afterwards."""
    with stream:
        try:
            stream.sendall(octets)
            stream.recv(100)
        except ConnectionError:
            return True
    return False


# ---- D6, D7: other resolvers ----


def query(name: str) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


def test_no_other_resolver_is_asked(lab: Lab, hostile: Workload, victim: Workload) -> None:
    """Neither over UDP nor over TCP, whoever lists what (D6)."""
    udp = lab.internet.udp("dns.bounds.test", port=53)
    tcp = lab.internet.lines("", address=udp.address, port=53)
    with pytest.raises(TimeoutError):
        hostile.exchange_datagram(udp.address, 53, query("secret.bounds.test"), timeout=0.5)
    refused(lab, udp, "protocol_not_supported", src=hostile.address)
    open_dns = launch(lab, "open-dns", tls("api.bounds.test"), ANYTHING)
    with pytest.raises(ConnectionRefusedError):
        open_dns.connect(tcp.address, 53)
    refused(lab, tcp, "port_not_listed", src=open_dns.address)
    assert tcp.connections == []


def test_tls_on_port_53_opens_no_dns(lab: Lab, hostile: Workload) -> None:
    """The annotation is for TLS: a query over TCP is none, and over UDP nothing is listed (D6)."""
    address = lab.internet.address("api.bounds.test")
    tcp = lab.internet.lines("", address=address, port=53)
    udp = lab.internet.udp("", address=address, port=53)
    question = query("secret.bounds.test")
    assert was_reset(hostile, address, 53, struct.pack("!H", len(question)) + question)
    refused(lab, tcp, "not_tls", dpt=53)
    with pytest.raises(TimeoutError):
        hostile.exchange_datagram(address, 53, question, timeout=0.5)
    refused(lab, udp, "protocol_not_supported", dpt=53)
    with hostile.connect(address, 53) as stream:
        stream.sendall(hello("api.bounds.test"))
        assert wait_until(lambda: tcp.received() == hello("api.bounds.test"))


DOH = [
    # protocol, port                            code                      why
    ("tcp", 443, hello("dns.bounds.test"),      "name_not_listed",        "DNS over HTTPS"),
    ("tcp", 853, b"",                           "port_not_listed",        "DNS over TLS"),
    ("udp", 853, b"\xc0secret",                 "protocol_not_supported", "DNS over QUIC"),
    ("udp", 443, b"\xc0secret",                 "quic",                   "DNS over HTTP/3"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "port", "octets", "code", "why"), DOH, ids=[row[4] for row in DOH])
def test_no_hidden_resolver_is_asked(  # noqa: PLR0917 -- the table's columns
    lab: Lab, hostile: Workload, kind: str, port: int, octets: bytes, code: str, why: str
) -> None:
    """Unless its name is listed: these look like everything else that is not (D7)."""
    address = lab.internet.address("")
    if kind == "udp":
        server = lab.internet.udp("", address=address, port=port)
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            hostile.exchange_datagram(address, port, octets, timeout=0.5)
    else:
        server = lab.internet.lines("", address=address, port=port)
        assert was_reset(hostile, address, port, octets)
    refused(lab, server, code, dpt=port)


# ---- X11: the SYN gate ----


@contextmanager
def gated(lab: Lab, **others: object) -> Iterator[None]:
    """Switch the SYN gate on, and afterwards off again."""
    told = lambda skip, value: lab.appliance.wait_for_event(  # noqa: E731
        lambda event: event["reason"].startswith(f'syn_gate: "{value}"'), cat="preferences", skip=skip
    )
    skip = len(lab.appliance.config_events())
    write(lab, syn_gate="on", **others)
    told(skip, "on")
    try:
        yield
    finally:
        skip = len(lab.appliance.config_events())
        write(lab)
        told(skip, "off")


def arrives(lab: Lab, host: Workload, address: str, port: int) -> bool:
    """Whether a SYN, with a number that could be a message, is seen by a host of the Internet."""
    with Tap(lab.internet.namespace) as tap, Peer(host, address, port) as peer:
        peer.isn = 0x5EC4E7
        peer.send_syn()
        answer = peer.receive(4)
        seen = [segment.sequence for segment in tap.segments(address, port)]
    assert answer is not None
    assert answer.is_reset != bool(seen)
    assert set(seen) <= {0x5EC4E7}
    return bool(seen)


def test_a_syn_is_a_message_unless_the_gate_is_on(lab: Lab, hostile: Workload, api: Server) -> None:
    """By default an annotated port lets handshakes through to anywhere; with the gate not one SYN arrives."""
    receiver = lab.internet.lines("")
    other = lab.internet.lines("", address=receiver.address, port=53)

    assert arrives(lab, hostile, receiver.address, 443)
    with gated(lab):
        assert f"{hostile.address} . 443" in lab.appliance.kernel_set("gated")
        assert f"{hostile.address} . 443" not in lab.appliance.kernel_set("annotated")
        for port in (443, 53, 22, 443):
            assert not arrives(lab, hostile, receiver.address, port)
        event = refused(lab, receiver, "address_not_listed", src=hostile.address)
        assert "is no address of api.bounds.test" in event["reason"]
        assert arrives(lab, hostile, api.address, 443)
    assert arrives(lab, hostile, receiver.address, 443)
    assert other.connections == []


def test_listed_names_work_behind_the_gate(lab: Lab, hostile: Workload, victim: Workload, api: Server) -> None:
    """TLS and SSH, of every client."""
    with gated(lab):
        assert victim.curl(f"https://{api.name}/").ok
        assert hostile.curl(f"https://{api.name}/").ok
        assert hostile.ssh("git.bounds.test", "echo", "hello").out == "hello\n"
        assert not arrives(lab, hostile, lab.internet.address("git.bounds.test"), 443)
        assert not arrives(lab, hostile, api.address, 22)


def test_an_address_that_is_new_is_looked_up_behind_the_gate(lab: Lab, hostile: Workload) -> None:
    """The SYN is held meanwhile; the client does not notice (D1)."""
    old, new = lab.internet.tls("moves.bounds.test"), lab.internet.tls("moved.bounds.test")
    pin = ("--resolve", f"moves.bounds.test:443:{new.address}", "--insecure")
    with gated(lab):
        assert hostile.curl("https://moves.bounds.test/").ok
        assert not hostile.curl("https://moves.bounds.test/", *pin).ok
        assert new.connections == []
        lab.names["moves.bounds.test"] = [new.address]
        assert hostile.curl("https://moves.bounds.test/", *pin).ok
        allowed(lab, new, dhost="moves.bounds.test")
    assert old.connections


def test_without_dns_the_gate_is_shut(lab: Lab, hostile: Workload, api: Server) -> None:
    """What is known stands; what is not known is refused, once the wait for an answer is over."""
    receiver = lab.internet.lines("")
    with gated(lab):
        lab.dns.down = True
        try:
            assert not arrives(lab, hostile, receiver.address, 443)
            assert hostile.curl(f"https://{api.name}/", "--resolve", f"{api.name}:443:{api.address}").ok
        finally:
            lab.dns.down = False


def test_see_thru_passes_the_gate(lab: Lab) -> None:
    """It is there to find out what to list."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    seeing = launch(
        lab, "seeing", egress("-1", None, description=f"discriminat:see-thru:{today}"), tls("x.bounds.test")
    )
    receiver = lab.internet.lines("")
    with gated(lab):
        assert arrives(lab, seeing, receiver.address, 443)
        assert arrives(lab, seeing, lab.internet.lines("", port=8443).address, 8443)


def test_the_gate_survives_the_death_of_workers(lab: Lab, hostile: Workload, api: Server) -> None:
    """One that is started again knows the preferences before it knows the policy."""
    receiver = lab.internet.lines("")
    with gated(lab):
        for pid in lab.appliance.workers():
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: lab.appliance.health()[0] == 503)
        lab.appliance.wait_healthy()
        assert not arrives(lab, hostile, receiver.address, 443)
        assert arrives(lab, hostile, api.address, 443)


# ---- X5: what all share ----


def tracked(lab: Lab, client: Workload, server: Server) -> list[str]:
    """Return conntrack's entries of a client towards a server."""
    listing = lab.appliance.namespace.run("conntrack", "-L", "-p", "tcp", "-s", client.address, "-d", server.address)
    return listing.stdout.splitlines()


def test_half_open_flows_of_one_client_are_bounded(lab: Lab, victim: Workload, api: Server) -> None:
    """The excess is dropped before it takes a port of the NAT, and is told; the others go on meanwhile."""
    flooding = launch(lab, "flooding", tls(api.name))
    skip = len(lab.appliance.config_events())
    sent = 4000
    began = time.monotonic()
    with Tap(lab.internet.namespace) as tap, Peer(flooding, api.address, 443) as peer:
        for port in range(OUR_PORTS[0], OUR_PORTS[0] + sent):
            peer.source_port = port
            peer.send_syn()
        held = len(tracked(lab, flooding, api))
        assert victim.curl(f"https://{api.name}/").ok
        most = CLIENT_RATE * 2 + CLIENT_RATE * (time.monotonic() - began)
        arrived = sum(segment.flags == SYN for segment in tap.segments(api.address, 443))

    assert 0 < held <= most < sent
    assert arrived <= most + 10  # those of the victim
    event = lab.appliance.wait_for_event(code="too_many_flows", src=flooding.address, dst=api.address)
    assert event["outcome"] == "disallowed"
    lab.appliance.wait_for_event(
        lambda event: "open more than one client may" in event["reason"], cat="error", skip=skip, timeout=15
    )
    timeouts = [int(re.split(" +", line)[2]) for line in tracked(lab, flooding, api)]
    assert max(timeouts, default=0) <= 15
    assert not [
        each
        for each in lab.appliance.flow_events()
        if (each["code"], each["src"]) == ("too_many_flows", victim.address)
    ]


def test_handshakes_without_a_hello_are_forgotten(lab: Lab, victim: Workload, api: Server) -> None:
    """First what one client has too many of, then all that stays silent; a flow that is open stays."""
    idling = launch(lab, "idling", tls(api.name))
    api.forget()
    with idling.connect(api.address, 443) as open_one:
        open_one.sendall(hello(api.name))
        assert open_one.recv(1)
        idle = [idling.connect(api.address, 443) for _ in range(3 * CLIENT_IDLE)]
        assert wait_until(lambda: len(tracked(lab, idling, api)) <= CLIENT_IDLE + 1, 10)
        lab.appliance.wait_for_event(code="too_many_flows", src=idling.address)
        assert victim.curl(f"https://{api.name}/").ok
        assert wait_until(lambda: len(tracked(lab, idling, api)) == 1, 3 * IDLE_WAIT)
        lab.appliance.wait_for_event(code="hello_timeout", src=idling.address)
        assert all(is_reset(stream, hello(api.name)) for stream in idle)
    assert len([each for each in api.connections if each.octets]) == 2  # the open one, and the victim's


def test_what_the_machine_itself_has_open_is_left_alone(lab: Lab, victim: Workload) -> None:
    """Its own connections bear no mark either."""
    with lab.internet.namespace.listen(lab.internet.address("aws.bounds.test"), 8765) as listener:
        mine = lab.appliance.namespace.open_socket()
        with mine:
            mine.connect(listener.getsockname())
            there, _ = listener.accept()
            with there:
                threading.Event().wait(2 * IDLE_WAIT)
                there.sendall(b"still there")
                mine.settimeout(3)
                assert mine.recv(100) == b"still there"
