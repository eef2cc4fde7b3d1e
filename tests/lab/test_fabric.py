"""The lab is what it says: with the kernel's NAT in place of the appliance, everything works and the fabric rules."""

import ipaddress
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab, wait_until
from tests.lab.security_group import egress
from tests.lab.workload import Workload

HTTPS = egress("tcp", 443)
HTTP = egress("tcp", 80)


@pytest.fixture(autouse=True)
def _nat(lab: Lab) -> Iterator[None]:
    with lab.plain_nat():
        yield


@pytest.fixture(scope="module")
def web(lab: Lab) -> Workload:
    """A client that may send what the lab's servers understand."""
    rules = (HTTPS, HTTP, egress("tcp", 22), egress("udp", 443))
    return lab.workload("web", groups=[lab.security_group("web", *rules)])


# ---- without a filter everything works, or the filter's tests would prove nothing ----


def test_a_client_reaches_every_kind_of_server(lab: Lab, web: Workload) -> None:
    """TLS, HTTP, SSH and UDP work through plain NAT, by name."""
    for start, name in ((lab.internet.tls, "tls"), (lab.internet.http, "http"), (lab.internet.ssh, "ssh")):
        start(f"{name}.every.example.com")
    echo = lab.internet.udp("udp.every.example.com")

    assert web.curl("https://tls.every.example.com/").json["tls"] == "TLSv1.3"
    assert web.curl("http://http.every.example.com/").json["host"] == "http.every.example.com"
    assert web.ssh("ssh.every.example.com", "echo", "hello").out == "hello\n"
    assert web.exchange_datagram(echo.address, 443, b"ping") == b"ping"


def test_servers_see_the_elastic_ip(lab: Lab, web: Workload) -> None:
    """The appliance hides its clients, the Internet gateway hides the appliance."""
    server = lab.internet.http("eip.example.com")

    assert web.curl("http://eip.example.com/").json["client"] == lab.appliance.public
    assert server.sources() == {lab.appliance.public}


def test_servers_record_what_arrived(lab: Lab, web: Workload) -> None:
    """The record holds every octet, and nothing before the first."""
    server = lab.internet.lines("record.example.com", port=443, greeting=b"hello\n")
    assert server.received() == b""

    with web.connect(server.address, 443) as stream:
        assert stream.recv(16) == b"hello\n"
        stream.sendall(b"one ")
        stream.sendall(b"two")
        assert wait_until(lambda: server.received() == b"one two")
    assert server.received(lab.appliance.public) == b"one two"
    assert server.received("198.51.100.1") == b""


@pytest.mark.parametrize(
    ("name", "settings", "options", "expected"),
    [
        ("tls13", {}, (), "TLSv1.3"),
        ("tls12", {"newest": "TLSv1_2"}, (), "TLSv1.2"),
        ("tls11", {"oldest": "TLSv1_1", "newest": "TLSv1_1"}, ("--ciphers", "DEFAULT@SECLEVEL=0"), "TLSv1.1"),
        ("tls10", {"oldest": "TLSv1", "newest": "TLSv1"}, ("--ciphers", "DEFAULT@SECLEVEL=0"), "TLSv1"),
        ("retry", {"curve": "secp384r1"}, (), "TLSv1.3"),
    ],
)
def test_tls_servers_of_every_version(
    lab: Lab, web: Workload, *, name: str, settings: dict[str, str], options: tuple[str, ...], expected: str
) -> None:
    """Each server speaks the version it was made for."""
    lab.internet.tls(f"{name}.example.com", **settings)  # type: ignore[arg-type]

    assert web.curl(f"https://{name}.example.com/", *options).json["tls"] == expected


def test_a_hello_retry_request_makes_two_hellos(lab: Lab, web: Workload) -> None:
    """The server that insists on another group sees two ClientHello messages in one connection."""
    server = lab.internet.tls("hello-retry.example.com", curve="secp384r1")

    trace = web.openssl("hello-retry.example.com", "-servername", "hello-retry.example.com", "-msg").out

    assert trace.count(", ClientHello") == 2
    assert trace.count(", ServerHello") == 2
    assert len(server.connections) == 1


def test_odd_servers(lab: Lab, web: Workload) -> None:
    """An alert, silence and SSH 1.5 look to a client as they should."""
    lab.internet.tls("alert.example.com", refuse=True)
    lab.internet.lines("mute.example.com")
    lab.internet.lines("ancient.example.com", port=22, greeting=b"SSH-1.5-old\r\n")

    assert "unrecognized name" in web.curl("https://alert.example.com/").err
    assert web.curl("https://mute.example.com/", timeout=1).code == 28
    assert "major versions differ: 2 vs. 1" in web.ssh("ancient.example.com", "true").err


# ---- Security Groups ----


def test_traffic_without_an_egress_rule_is_dropped_in_silence(lab: Lab) -> None:
    """What no rule of the client's groups permits never leaves the client's interface."""
    server = lab.internet.tls("dropped.example.com")
    client = lab.workload("no-https", groups=[lab.security_group("no-https", HTTP)])

    with pytest.raises(TimeoutError):
        client.connect(server.address, 443, timeout=0.5)
    assert server.connections == []


def test_an_edited_rule_changes_packets_at_once(lab: Lab) -> None:
    """When the API call returns, the fabric already obeys it; established connections live on."""
    server = lab.internet.lines("edited.example.com", greeting=b"hello")
    group = lab.security_group("edited", HTTPS)
    client = lab.workload("edited", groups=[group])

    with client.connect(server.address, 443) as before:
        lab.edit_rule(group, from_port=8443, to_port=8443)
        with pytest.raises(TimeoutError):
            client.connect(server.address, 443, timeout=0.5)
        before.sendall(b"still here")
        assert wait_until(lambda: server.received() == b"still here")
    lab.edit_rule(group, from_port=443, to_port=443)
    client.connect(server.address, 443).close()


def test_overlapping_rules_are_a_union(lab: Lab) -> None:
    """The same port on 0.0.0.0/0, /1 and a host is how names are spread over rules."""
    server = lab.internet.lines("union.example.com", greeting=b"hello")
    rules = [egress("tcp", 443, cidr, "x") for cidr in ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1")]
    group = lab.security_group("union", *rules, egress("tcp", (0, 65535), f"{server.address}/32"))

    lab.workload("union", groups=[group]).connect(server.address, 443).close()


@pytest.mark.parametrize(("cidr", "reaches"), [("203.0.113.0/24", True), ("0.0.0.0/1", False)])
def test_the_cidr_of_a_rule_is_literal(lab: Lab, cidr: str, *, reaches: bool) -> None:
    """AWS's side of the 0.0.0.0/1 trap: the upper half of the Internet is out of reach."""
    server = lab.internet.http("literal.example.com", port=8000 + reaches)
    client = lab.workload("literal", groups=[lab.security_group("literal", egress("tcp", server.port, cidr))])

    assert client.curl(f"http://literal.example.com:{server.port}/", "--connect-timeout", "0.5").ok == reaches


def test_groups_of_an_interface_can_be_replaced(lab: Lab) -> None:
    """ModifyNetworkInterfaceAttribute takes effect at once."""
    server = lab.internet.http("regroup.example.com")
    client = lab.workload("regroup", groups=[lab.security_group("none")])
    with pytest.raises(TimeoutError):
        client.connect(server.address, 80, timeout=0.5)

    lab.set_groups(client, [lab.security_group("some", HTTP)])

    client.connect(server.address, 80).close()


def test_workloads_reach_one_another_only_by_both_groups_leave(lab: Lab) -> None:
    """Inside the VPC the sender's egress and the receiver's ingress both count."""
    caller = lab.workload("caller", groups=[lab.security_group("caller", egress("tcp", 8080))])
    open_group = lab.security_group("open", ingress=(egress("tcp", 8080, "10.0.0.0/16"),))
    closed_group = lab.security_group("closed")
    for group, subnet in ((open_group, "private-a"), (open_group, "private-b")):
        callee = lab.workload("callee", groups=[group], subnet=subnet)
        with callee.namespace.listen(callee.address, 8080), caller.connect(callee.address, 8080):
            pass
        lab.set_groups(callee, [closed_group])
        with callee.namespace.listen(callee.address, 8080), pytest.raises(TimeoutError):
            caller.connect(callee.address, 8080, timeout=0.5)


# ---- routes, addresses, source check ----


def test_moving_the_default_route_away_stops_traffic(lab: Lab, web: Workload) -> None:
    """Packets follow the route table, now."""
    lab.internet.http("routed.example.com")
    assert web.curl("http://routed.example.com/").ok

    lab.route_default("private-a", None)
    try:
        assert web.curl("http://routed.example.com/", "--connect-timeout", "0.5").code == 28
    finally:
        lab.route_default("private-a", lab.appliance)
    assert web.curl("http://routed.example.com/").ok


def test_a_route_to_another_appliance_moves_packets_there(lab: Lab, web: Workload) -> None:
    """ReplaceRoute is all it takes, as for a peer that takes over."""
    server = lab.internet.http("moved.example.com")
    peer = lab.add_appliance("peer", "public-a", "10.0.0.11")
    with peer.plain_nat():
        lab.route_default("private-a", peer)
        try:
            assert web.curl("http://moved.example.com/").ok
        finally:
            lab.route_default("private-a", lab.appliance)
    assert server.sources() == {peer.public}
    assert peer.public != lab.appliance.public


def test_the_gateway_forwards_nothing_without_an_elastic_ip(lab: Lab, web: Workload) -> None:
    """A private subnet routed straight to the Internet gateway reaches nothing."""
    server = lab.internet.http("straight.example.com")
    lab.route_default("private-a", "igw")
    try:
        with pytest.raises(TimeoutError):
            web.connect(server.address, 80, timeout=0.5)
    finally:
        lab.route_default("private-a", lab.appliance)
    assert server.connections == []


def test_the_source_check_drops_foreign_addresses(lab: Lab, web: Workload) -> None:
    """An interface sends only from its own addresses, unless its check is off."""
    server = lab.internet.http("spoof.example.com")
    web.namespace.ip("address add 10.0.1.243/32 dev eth0")
    try:
        with pytest.raises(TimeoutError):
            web.connect(server.address, 80, source="10.0.1.243", timeout=0.5)
    finally:
        web.namespace.ip("address delete 10.0.1.243/32 dev eth0")


def test_secondary_addresses_and_prefixes_work(lab: Lab) -> None:
    """A secondary address and an address of a delegated /28 reach the Internet as the primary one does."""
    server = lab.internet.http("second.example.com")
    group = lab.security_group("pods", HTTP)
    host = lab.workload("pods", groups=[group], secondary=1, prefixes=("10.0.1.208/28",))
    host.namespace.address("eth0", "10.0.1.214/32")

    for source in (*host.addresses, "10.0.1.214"):
        host.connect(server.address, 80, source=source).close()
    assert len(host.addresses) == 2


def test_a_secondary_cidr_is_part_of_the_vpc(lab: Lab) -> None:
    """Pods often live in 100.64.0.0/16."""
    lab.internet.http("pods.example.com")
    lab.add_subnet("pods", "100.64.1.0/24")
    lab.route_default("pods", lab.appliance)
    client = lab.workload("pod", groups=[lab.security_group("pod", HTTP)], subnet="pods")

    assert ipaddress.IPv4Address(client.address) in ipaddress.IPv4Network("100.64.1.0/24")
    assert lab.state().networks == ("10.0.0.0/16", "100.64.0.0/16")
    lab.set_groups(lab.appliance, [lab.security_group("nat", egress("-1", None), ingress=(egress("-1", None),))])
    assert client.curl("http://pods.example.com/").ok


def test_a_terminated_workload_leaves_nothing(lab: Lab) -> None:
    """Its interface goes from the API, its address is free again, its neighbours do not notice."""
    group = lab.security_group("brief", HTTP)
    client = lab.workload("brief", groups=[group])

    lab.terminate(client)

    assert client.interface not in lab.state().interfaces
    lab.internet.http("after.example.com")
    assert lab.workload("next", groups=[group]).curl("http://after.example.com/").ok


# ---- names ----


def test_names_can_be_changed_while_clients_run(lab: Lab, web: Workload) -> None:
    """The VPC's resolver answers from `lab.names`, at both of its addresses."""
    server = lab.internet.http("", address="203.0.113.250")
    lab.names["moving.example.com"] = ["203.0.113.251"]
    assert not web.curl("http://moving.example.com/", "--connect-timeout", "0.5").ok

    lab.names["moving.example.com"] = [server.address]

    assert web.curl("http://moving.example.com/").ok
    web.namespace.use_resolver("169.254.169.253")
    try:
        assert web.curl("http://moving.example.com/").ok
    finally:
        web.namespace.use_resolver("10.0.0.2")
    assert web.curl("http://nowhere.example.com/").code == 6


JUMBO = """
from tests.lab.lab import Lab
from tests.lab.security_group import egress
with Lab.start(mtu=9001) as lab, lab.plain_nat():
    server = lab.internet.udp("jumbo.example.com")
    client = lab.workload("jumbo", groups=[lab.security_group("jumbo", egress("udp", 443))])
    for _ in range(2):
        try: print(len(client.exchange_datagram(server.address, 443, bytes(8000))))
        except OSError as error: print(error.strerror)
"""


def test_jumbo_frames_end_at_the_gateway() -> None:
    """In a VPC of 9,001 octets the client learns of the Internet's 1,500, through the appliance."""
    done = subprocess.run([sys.executable, "-c", JUMBO], capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout.splitlines(), done.stderr) == (["Message too long", "8000"], "")
