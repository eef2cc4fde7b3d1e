"""A playbook: segments, answers and times go into an engine, commands come out and are compared as data.

Nothing here uses the code under test to make a packet: two mistakes that agree would go unnoticed.
Log events are shortened to what every test compares, (cat, outcome, code); `Play.events` has them whole.
"""

import struct
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from appliance.address import Ipv4, Network, parse_ipv4
from appliance.command import Command, Emit, SendReset, SetVerdict, Verdict
from appliance.engine import Engine
from appliance.event import Event, flow_event
from appliance.limits import Limits
from appliance.origin import Origin
from appliance.policy.addresses import Answer
from appliance.policy.decision import Decision
from appliance.policy.entry import SEEN_THRU, entry_number
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import Policy, SeeThruGrant, compile_policy
from appliance.policy.preferences import DEFAULTS, Preferences
from tests import hellos

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
TCP, UDP, ICMP = 6, 17, 1

CLIENT = parse_ipv4("10.0.1.10")  # may reach NAME on 443 and 8443, GIT on 22 and 8443
SEEING = parse_ipv4("10.0.1.11")  # the same, and sees through until the last of January
STRANGER = parse_ipv4("10.0.9.9")  # nobody AWS knows
SERVER = parse_ipv4("203.0.113.10")  # an address of NAME and of GIT
ELSEWHERE = parse_ipv4("198.51.100.9")  # an address of neither
NAME = Fqdn.parse(hellos.NAME)
GIT = Fqdn.parse("git.example.com")
OTHER = Fqdn.parse("other.example.com")

CLIENT_PORT, CLIENT_ISN, SERVER_ISN = 40000, 0xFFFF_FF00, 5000  # the client's numbers soon pass 2^32
NOW = 100.0
TODAY = date(2027, 1, 15)

BY_NAME, BY_GIT = ("tls", NAME, 443), ("ssh", GIT, 22)  # entries

HELLO = hellos.client_stream()
REPLY = hellos.server_stream()
RETRY = hellos.server_stream(hellos.hello_retry_request())
SSH = b"SSH-2.0-OpenSSH_9.2p1\r\n"
REQUEST = b"GET /secret HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/8\r\n\r\n"


class Log(NamedTuple):
    """What a flow event says, in short."""

    cat: str
    outcome: str
    code: str


def client_event(
    decision: Decision, *, see_thru: SeeThruGrant | None = None, is_post_quantum: bool | None = None
) -> Event:
    """Return the whole event of a decision about CLIENT's hello to SERVER, as of TODAY."""
    return flow_event(
        side="client",
        source=CLIENT,
        source_port=CLIENT_PORT,
        destination=SERVER,
        destination_port=443,
        protocol="tls",
        version="TLS 1.3",
        decision=decision,
        instance="i-1",
        see_thru=see_thru,
        today=TODAY,
        is_post_quantum=is_post_quantum,
    )


def allowed(cat: str, code: str) -> Log:
    return Log(cat, "allowed", code)


def refused(cat: str, code: str) -> Log:
    return Log(cat, "disallowed", code)


GOOD_HELLO = allowed("client", "name_listed")
GOOD_REPLY = allowed("server", "server_agreed")


def verdict(word: str, *packets: int, by: tuple[str, Fqdn, int] | None = None) -> list[SetVerdict]:
    """Return one verdict on packets, in this order.

    Args:
        by: of `allow`, protocol, name and port of the entry that allows; None for see-thru.
    """
    entry = SEEN_THRU if by is None else entry_number(by[0], str(by[1]), by[2])
    return [SetVerdict(packet, Verdict(word), entry) for packet in packets]


def resets(
    sent: int,
    received: int | None = None,
    *,
    server_sent: int = 0,
    client: Ipv4 = CLIENT,
    server: Ipv4 = SERVER,
    port: int = 443,
) -> list[SendReset]:
    """Return the resets of both ends. In octets: what the client sent, the server received, and the server sent."""
    base, answer = CLIENT_ISN + 1, SERVER_ISN + 1 + server_sent
    received = sent if received is None else received
    return [
        SendReset(server, port, client, CLIENT_PORT, answer, (base + sent) % 2**32),
        SendReset(client, CLIENT_PORT, server, port, (base + received) % 2**32, answer),
    ]


def ipv4(protocol: int, source: Ipv4, destination: Ipv4, content: bytes) -> bytes:
    return (
        struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(content), 0, 0x4000, 64, protocol, 0, source, destination)
        + content
    )


def segment(  # noqa: PLR0917 -- in the order of the header
    source: Ipv4,
    source_port: int,
    destination: Ipv4,
    destination_port: int,
    sequence: int,
    acknowledgement: int,
    payload: bytes = b"",
    *,
    flags: int = ACK | PSH,
    options: bytes = b"",
) -> bytes:
    """Return a packet with a TCP segment; checksums are left out, as by a network card that makes them."""
    header = struct.pack(
        "!HHIIBBHHH",
        source_port,
        destination_port,
        sequence % 2**32,
        acknowledgement % 2**32,
        (20 + len(options)) << 2,
        flags,
        64240,
        0,
        0,
    )
    return ipv4(TCP, source, destination, header + options + payload)


def datagram(source: Ipv4, destination: Ipv4, port: int, payload: bytes = b"x") -> bytes:
    return ipv4(UDP, source, destination, struct.pack("!HHHH", CLIENT_PORT, port, 8 + len(payload), 0) + payload)


MD5_OPTION = bytes((19, 18)) + bytes(16) + b"\x01\x01"


def rule(description: str, port: int) -> EgressRule:
    return EgressRule("tcp", port, port, "0.0.0.0/0", description)


def make_policy(
    clients: Iterable[Ipv4] = (CLIENT,),
    *,
    names: str = f"{NAME}",
    port: int = 443,
    see_thru: str = "2027-01-31",
    exposure: Exposure = Exposure.NUCLEAR,
) -> Policy:
    """Return the policy of a VPC in which these clients, and SEEING, wear the same annotations."""
    rules = (
        rule(f"discriminat:tls:{names}", port),
        rule(f"discriminat:ssh:{GIT}", 22),
        rule(f"discriminat:tls:{names} discriminat:ssh:{GIT}", 8443),
    )
    groups = (
        SecurityGroup("sg-1", "workload", rules),
        SecurityGroup("sg-2", "see-thru", (rule(f"discriminat:see-thru:{see_thru}", 9),)),
    )
    interfaces = [NetworkInterface(f"eni-{client}", ("sg-1",), (client,), ()) for client in clients]
    interfaces.append(NetworkInterface("eni-s", ("sg-1", "sg-2"), (SEEING,), ()))
    return compile_policy(Inventory(groups, tuple(interfaces)), Guard(exposure))


POLICY = make_policy()


def answer(name: Fqdn = NAME, *addresses: Ipv4, ttl: float = 60.0, error: str = "") -> Answer:
    return Answer(name, addresses, ttl, error)


class Play:
    """An engine and one flow of it. Packets are numbered from 1, in the order they are given."""

    def __init__(
        self,
        *,
        policy: Policy = POLICY,
        answers: Iterable[Answer] = (answer(NAME, SERVER), answer(GIT, SERVER)),
        limits: Limits | None = None,
        client: Ipv4 = CLIENT,
        server: Ipv4 = SERVER,
        port: int = 443,
        preferences: Preferences = DEFAULTS,
    ) -> None:
        self.engine = Engine(instance="i-1", today=TODAY, limits=limits)
        self.engine.on_preferences(preferences)
        self.engine.on_policy(policy, NOW)
        for known in answers:
            self.engine.on_answer(known, NOW)
        self.now = NOW
        self.today = TODAY
        self.packets = 0
        self.events: list[Event] = []
        self.address, self.peer, self.port = client, server, port
        self.client_port, self.isn = CLIENT_PORT, CLIENT_ISN

    def told(self, commands: Iterable[Command]) -> list[Command | Log]:
        """Return commands with events in short."""
        told: list[Command | Log] = []
        for command in commands:
            if isinstance(command, Emit):
                event = command.event
                self.events.append(event)
                told.append(Log(event["cat"], event["outcome"], event["code"]))
            else:
                told.append(command)
        return told

    def queued(self, origin: Origin, octets: bytes, isn: int = 0) -> list[Command | Log]:
        self.packets += 1
        return self.told(self.engine.on_packet(self.packets, origin, isn % 2**24, octets, self.now))

    def client(
        self,
        payload: bytes,
        at: int = 0,
        *,
        received: int = 0,
        flags: int = ACK | PSH,
        options: bytes = b"",
    ) -> list[Command | Log]:
        """The client sends octets from offset `at` on, having received so many of the server's."""
        packet = segment(
            self.address,
            self.client_port,
            self.peer,
            self.port,
            self.isn + 1 + at,
            SERVER_ISN + 1 + received,
            payload,
            flags=flags,
            options=options,
        )
        return self.queued(Origin.CLIENT, packet, self.isn)

    def server(
        self, payload: bytes, at: int = 0, *, received: int = len(HELLO), flags: int = ACK | PSH, options: bytes = b""
    ) -> list[Command | Log]:
        """The server sends octets from offset `at` on, having received so many of the client's."""
        packet = segment(
            self.peer,
            self.port,
            self.address,
            self.client_port,
            SERVER_ISN + 1 + at,
            self.isn + 1 + received,
            payload,
            flags=flags,
            options=options,
        )
        return self.queued(Origin.SERVER, packet, self.isn)

    def gate(self, octets: bytes) -> list[Command | Log]:
        return self.queued(Origin.GATE, octets)

    def syn(self, payload: bytes = b"", *, flags: int = SYN, options: bytes = b"") -> list[Command | Log]:
        """The first segment of the flow comes to the gate."""
        packet = segment(
            self.address, self.client_port, self.peer, self.port, self.isn, 0, payload, flags=flags, options=options
        )
        return self.gate(packet)

    def answers(self, *answers: Answer) -> list[Command | Log]:
        return [told for known in answers for told in self.told(self.engine.on_answer(known, self.now))]

    def policy(self, policy: Policy) -> list[Command | Log]:
        return self.told(self.engine.on_policy(policy, self.now))

    def aws_answered(self, client: Ipv4) -> list[Command | Log]:
        return self.told(self.engine.on_client(client, self.now))

    def wait(self, seconds: float) -> list[Command | Log]:
        """Let time pass, in one step, and the engine see it."""
        self.now += seconds
        return self.told(self.engine.on_tick(self.now, self.today))

    @property
    def is_empty(self) -> bool:
        """Nothing is held, nothing awaited and no flow remembered."""
        waiting = self.engine._waiting
        return not (self.engine.held or self.engine.flows or waiting._by_name or waiting._by_client)


PRIVATE = Network.parse("10.0.0.0/8").address + 1
