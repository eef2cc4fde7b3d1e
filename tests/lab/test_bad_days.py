"""Bad input and bad days: nothing crashes, nothing opens, and the log says what happened with its code."""

import subprocess
import sys
import time

import pytest

from tests.dns_server import Record
from tests.lab.appliance import Appliance
from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import SHORT_WAITS, launch, launch_in, refused, tls
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")


# ---- descriptions ----

FAULTS = [
    # description                                              part of the reason                why
    ("discriminat:tls:a.test, b.test",                         "space",                          "space in a list"),
    ("discriminat:tsl:api.example.com",                        "tsl",                            "unknown protocol"),
    ("discriminat:tls:",                                       "name",                           "no name"),
    ("discriminat:tls:*",                                      "'*'",                            "a wildcard alone"),
    ("discriminat:tls:10.0.0.1",                               "10.0.0.1",                       "an address"),
    ("discriminat:tls:-bad-.example.com",                      "-bad-",                          "odd hyphens"),
    ("discriminat:tls:" + "a" * 64 + ".example.com",           "a" * 20,                         "a label of 64"),
    ("discriminat:see-thru:2026-13-45",                        "2026-13-45",                     "no such day"),
    ("discriminat:tls:https://api.example.com/",               "https",                          "a URL"),
]  # fmt: skip


def test_malformed_descriptions_are_reported_and_their_neighbours_work(lab: Lab) -> None:
    """Each fault is in the config log with its group, its rule, its place and what to do; the good rule still works."""
    server = lab.internet.tls("good.bad.test")
    rules = [egress("tcp", 10000 + at, description=fault[0]) for at, fault in enumerate(FAULTS)]
    wide = egress("tcp", (5000, 5001), description="discriminat:tls:x.test")
    group = lab.security_group("faults", *rules, wide, tls(server.name))
    client = launch_in(lab, "faults", [group])

    assert client.curl(f"https://{server.name}/").ok
    rejected = [each for each in lab.appliance.config_events() if each["outcome"] == "rejected"]
    assert {each["gid"] for each in rejected} == {group.id}
    assert {each["cat"] for each in rejected} == {"error"}
    for at, (description, part, why) in enumerate(FAULTS):
        reasons = [each["reason"] for each in rejected if f"tcp/{10000 + at} " in each["rule"]]
        assert any(part in each for each in reasons), (why, description, reasons)
        with pytest.raises(ConnectionRefusedError):
            client.connect(server.address, 10000 + at)
    assert any("tcp/5000-5001" in each["rule"] for each in rejected)


ODD_NAMES = ["xn--bcher-kva.bad.test", "a.bad.test", "1.2.3.4.bad.test", "under_score.bad.test", "a" * 63 + ".bad.test"]


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: name[:20])
def test_odd_names_work_or_are_reported(lab: Lab, name: str) -> None:
    """Whatever the name, it is listed or rejected, and never half of either."""
    server = lab.internet.lines(name, reply=b"\x15\x03\x03\x00\x02\x02\x28")
    group = lab.security_group("odd", tls(name))
    launch_in(lab, "odd", [group])

    event = lab.appliance.wait_for_event(
        lambda event: event.get("gid") == group.id and event["cat"] in ("fqdn", "error")
    )
    assert (event["cat"], event["outcome"]) in {("fqdn", "accepted"), ("error", "rejected")}
    assert server.received() == b""


# ---- DNS ----


@pytest.fixture(scope="module")
def resolving(lab: Lab, appliance: object) -> Workload:
    """A client whose names' answers are the story."""
    names = ("timeout", "servfail", "metadata", "vpc", "mixed", "moves", "s3", "later", "cname", "back")
    return launch(lab, "dns", tls(*(f"{each}.dns.test" for each in names)))


@pytest.mark.parametrize(
    ("host", "record", "code"),
    [
        ("timeout", Record(drop=True), "name_unresolved"),
        ("servfail", Record(rcode="SERVFAIL"), "name_unresolved"),
        ("metadata", Record(("169.254.169.254",)), "answer_private"),
        ("vpc", Record(("10.0.1.4", "10.0.0.10")), "answer_private"),
    ],
)
def test_a_resolver_that_fails_or_lies_opens_nothing(
    lab: Lab, resolving: Workload, host: str, record: Record, code: str
) -> None:
    """The flow is refused under a code that says why; other clients go on."""
    server = lab.internet.tls(f"{host}.bad.test")
    name = f"{host}.dns.test"
    lab.names[name] = record
    pin = ("--resolve", f"{name}:443:{server.address}", "--insecure")

    assert not resolving.curl(f"https://{name}/", *pin).ok
    event = refused(lab, server, code, dhost=name)
    assert event["gid"]


def test_private_answers_among_public_ones_are_left_out(lab: Lab, resolving: Workload) -> None:
    """The public address works; the private one is out of reach."""
    server = lab.internet.tls("srv2.bad.test")
    lab.names["mixed.dns.test"] = ["10.0.1.4", server.address]

    assert resolving.curl("https://mixed.dns.test/", "-k", "--resolve", f"mixed.dns.test:443:{server.address}").ok


def test_the_last_answers_stand_while_the_resolver_is_away(lab: Lab, resolving: Workload) -> None:
    """An outage of DNS changes nothing for names that were known (D14)."""
    server = lab.internet.tls("back.dns.test")
    pin = ("--resolve", f"back.dns.test:443:{server.address}")
    assert resolving.curl("https://back.dns.test/", *pin).ok
    lab.dns.down = True
    try:
        assert resolving.curl("https://back.dns.test/", *pin).ok
    finally:
        lab.dns.down = False


def test_a_name_that_moves_is_followed(lab: Lab, resolving: Workload) -> None:
    """The first connection to a new address waits for a look-up, and passes; the old address still does."""
    old, new = lab.internet.tls("moves.dns.test"), lab.internet.tls("srv3.bad.test")
    assert resolving.curl("https://moves.dns.test/").ok

    lab.names["moves.dns.test"] = [new.address]

    assert resolving.curl("https://moves.dns.test/", "--insecure").ok
    assert resolving.curl("https://moves.dns.test/", "--resolve", f"moves.dns.test:443:{old.address}").ok


def test_cnames_are_followed(lab: Lab, resolving: Workload) -> None:
    """The name asked for is bound to the addresses at the chain's end (D4)."""
    server = lab.internet.tls("srv4.bad.test")
    lab.names["cname.dns.test"] = "edge.cdn.test"
    lab.names["edge.cdn.test"] = "far.cdn.test"
    lab.names["far.cdn.test"] = [server.address]

    assert resolving.curl("https://cname.dns.test/", "--insecure").ok


class Cached(Record):
    """A rotating record behind a resolver's cache, as in a VPC: all who ask within one TTL get the same answer.

    The test turns it, between connections: a client that asks at the very end of one TTL, and is first to, knows an
    address that nobody can be told any more. That happens with AWS too, to a client in thousands.
    """

    def next_addresses(self) -> tuple[str, ...]:
        """Return the addresses of this turn."""
        turn = self.turn
        addresses = super().next_addresses()
        self.turn = turn
        return addresses


def test_rotating_answers_never_cause_a_refusal(lab: Lab, resolving: Workload) -> None:
    """S3's way: a short TTL, shorter than our refreshes, and two of eight addresses at a time (D3)."""
    servers = [lab.internet.tls(f"s3-{at}.bad.test") for at in range(8)]
    record = Cached(tuple(each.address for each in servers), ttl=2, subset=2)
    lab.names["s3.dns.test"] = record
    codes = []
    for turn in range(12):
        record.turn = turn
        codes += [resolving.curl("https://s3.dns.test/", "--insecure").code for _ in range(3)]

    assert set(codes) == {0}
    assert len([each for each in servers if each.connections]) >= 5


# ---- AWS ----


@pytest.fixture(scope="module")
def steady(lab: Lab, appliance: object) -> tuple[Workload, Server]:
    """A client and its server, which work; AWS lets the client send anything."""
    server = lab.internet.tls("steady.bad.test")
    client = launch(lab, "steady", tls(server.name), egress("-1", None))
    assert client.curl(f"https://{server.name}/").ok
    return client, server


@pytest.mark.parametrize("trouble", ["fail", "deny", "refuse"])
def test_the_policy_stands_while_aws_is_away(lab: Lab, steady: tuple[Workload, Server], trouble: str) -> None:
    """The health page shows why and for how long; afterwards everything is read again."""
    client, server = steady
    skip = len(lab.appliance.config_events())
    with lab.trouble("ec2", trouble):
        assert wait_until(lambda: lab.appliance.details()["aws_failure"], 30), trouble
        assert client.curl(f"https://{server.name}/").ok
        status, details = lab.appliance.health()[0], lab.appliance.details()
        assert (status, details["status"]) == (200, "ok")
        assert wait_until(lambda: lab.appliance.details()["policy_age_seconds"] > 2, 10)
    assert wait_until(lambda: not lab.appliance.details()["aws_failure"], 30)
    assert lab.appliance.details()["policy_age_seconds"] < 5
    since = lab.appliance.config_events()[skip:]
    outcomes = [each["outcome"] for each in since if each["cat"] == "error"]
    assert outcomes[0] == "failed"
    assert outcomes[-1] == "recovered"
    assert not [each for each in since if each["cat"] == "client" and each["outcome"] == "removed"]


def test_throttling_is_no_trouble(lab: Lab, steady: tuple[Workload, Server]) -> None:
    """AWS is asked less often, and the policy stands."""
    client, server = steady
    with lab.trouble("ec2", "throttle"):
        assert wait_until(lambda: lab.emulator.switchboard.requests[-1].trouble == "throttle", 10)
        began = time.monotonic()
        assert wait_until(lambda: lab.appliance.details()["policy_age_seconds"] > 3, 10)
        asked = len([each for each in lab.emulator.switchboard.calls(since=began) if each.trouble])
        assert asked <= 10
        assert client.curl(f"https://{server.name}/").ok
        assert lab.appliance.health()[0] == 200
    assert wait_until(lambda: lab.appliance.details()["policy_age_seconds"] < 2, 60)


@pytest.mark.parametrize("trouble", ["fail", "refuse"])
def test_aws_may_be_away_at_the_start(lab: Lab, appliance: Appliance, trouble: str) -> None:
    """All stays closed, the health page says why; once AWS answers, the policy comes into force."""
    server = lab.internet.tls(f"{trouble}.start.test")
    client = lab.workload("start", groups=[lab.security_group("start", tls(server.name))])
    appliance.stop()
    with lab.trouble("ec2", trouble):
        appliance.start(SHORT_WAITS, wait=False)
        assert wait_until(lambda: appliance.health()[0] == 503 and appliance.details()["aws_failure"], 30)
        assert client.curl(f"https://{server.name}/").code in (7, 28)
        assert server.connections == []
    appliance.wait_healthy(40)
    assert client.curl(f"https://{server.name}/").ok


def test_metadata_may_be_away_at_the_start(lab: Lab, appliance: Appliance) -> None:
    """Without an identity nothing is opened, and it is asked for again."""
    appliance.stop()
    lab.metadata.down = True
    try:
        appliance.start(SHORT_WAITS, wait=False)
        assert wait_until(lambda: appliance.health()[0] == 503 and appliance.details()["aws_failure"], 20)
    finally:
        lab.metadata.down = False
    appliance.wait_healthy(40)


def test_aws_that_hangs_does_not_hang_the_filter(lab: Lab, steady: tuple[Workload, Server]) -> None:
    """Flows are decided, health is answered."""
    client, server = steady
    with lab.trouble("ec2", "hang"):
        asked = len(lab.emulator.switchboard.calls())
        assert wait_until(lambda: len(lab.emulator.switchboard.calls()) > asked, 10)
        began = time.monotonic()
        assert client.curl(f"https://{server.name}/").ok
        assert lab.appliance.health()[0] == 200
        assert time.monotonic() - began < 2


# ---- what is no TCP over IPv4 ----


def test_quic_is_told_at_once(lab: Lab, steady: tuple[Workload, Server]) -> None:
    """UDP 443 is answered with an ICMP port unreachable, so that clients fall back."""
    client, _ = steady
    echo = lab.internet.udp("quic.other.test")

    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        client.exchange_datagram(echo.address, 443, b"initial")
    assert time.monotonic() - began < 1
    refused(lab, echo, "quic", src=client.address)


def test_other_udp_is_dropped(lab: Lab, steady: tuple[Workload, Server]) -> None:
    """DNS to elsewhere too."""
    client, _ = steady
    echo = lab.internet.udp("dns.other.test", port=53)

    with pytest.raises(TimeoutError):
        client.exchange_datagram(echo.address, 53, b"query", timeout=0.5)
    refused(lab, echo, "protocol_not_supported", src=client.address)


def test_ipv6_is_refused(lab: Lab, steady: tuple[Workload, Server]) -> None:
    """Until it can be filtered, the kernel is not even asked to forward it, and would drop it if it did."""
    host = lab.appliance.namespace
    ruleset = host.run("nft", "list", "table", "inet", "discriminat").stdout

    assert host.run("sysctl", "-n", "net.ipv6.conf.all.forwarding", check=False).stdout.strip() in ("0", "")
    assert 'meta nfproto ipv6 counter name "forwarded_ipv6" drop' in ruleset


# ---- sizes ----

JUMBO = """
import sys
from tests import hellos
from tests.lab.lab import Lab
from tests.lab.story import SHORT_WAITS, hello, launch, tls
from tests.lab.tcp import MSS, Peer
with Lab.start(mtu=9001) as lab:
    lab.appliance.start(SHORT_WAITS)
    long = hello("jumbo.test", extra=hellos.extension(0xABCD, bytes(7000)))
    server = lab.internet.lines("jumbo.test", reply=hellos.server_stream(), after=len(long))
    web = lab.internet.tls("web.jumbo.test")
    client = launch(lab, "jumbo", tls("jumbo.test", "web.jumbo.test"))
    print("web", client.curl("https://web.jumbo.test/octets/3000000").ok)
    with client.connect(server.address, 443) as stream:
        stream.sendall(long)
        print("long", stream.recv(4096) == hellos.server_stream(), server.received() == long)
    print("cut", any(each["code"] == "truncated_copy" for each in lab.appliance.flow_events()))
    server.forget()
    with Peer(client, server.address, 443) as rude:
        rude.connect(options=b"\\x02\\x04" + (8961).to_bytes(2))
        rude.send(long[:6000])
        print("rude", rude.was_reset(), server.received())
    print(lab.appliance.wait_for_event(code="truncated_copy")["dst"] == server.address)
    lab.appliance.stop()
"""


def test_clients_with_jumbo_frames() -> None:
    """In a VPC of 9,001 octets segments still fit the engine's copy; one that does not is refused."""
    done = subprocess.run([sys.executable, "-c", JUMBO], capture_output=True, text=True, timeout=90, check=False)

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["web True", "long True True", "cut False", "rude True b''", "True"]


# ---- floods ----


def test_a_client_that_floods_disturbs_nobody(lab: Lab, steady: tuple[Workload, Server]) -> None:
    """A hundred and more refused SYNs a second: the log is bounded, what it lacks is counted, others go on."""
    client, server = steady
    victim = lab.internet.lines("flood.other.test", port=4444)
    noisy = launch(lab, "noisy", egress("tcp", 4444), tls("x.other.test"))
    skip = len(lab.appliance.config_events())
    logged = lambda: [e for e in lab.appliance.flow_events() if e["dst"] == victim.address]  # noqa: E731
    script = (
        "import socket, time\n"
        "end = time.monotonic() + 4\n"
        "while time.monotonic() < end:\n"
        "    s = socket.socket(); s.setblocking(False)\n"
        f"    s.connect_ex(('{victim.address}', 4444)); s.close(); time.sleep(0.002)\n"
    )
    with noisy.popen("python3", "-c", script) as flood:
        assert client.curl(f"https://{server.name}/").ok
        assert flood.wait(30) == 0
        assert client.curl(f"https://{server.name}/").ok

    def counted() -> int:
        """The kernel's counters are read every few seconds, and the first reading may come early in the flood."""
        dropped = [event["reason"] for event in lab.appliance.config_events()[skip:] if event["outcome"] == "dropped"]
        ours = [reason for reason in dropped if "without a log line" in reason or "not logged" in reason]
        return sum(int(reason.split()[0]) for reason in ours)

    assert wait_until(lambda: counted() > 50, timeout=15)
    assert 100 <= len(logged()) <= 100 + 50 * 5
    assert {each["code"] for each in logged()} == {"port_not_listed"}
    assert victim.connections == []
