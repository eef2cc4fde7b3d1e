"""Names and addresses over real DNS: what a resolver may do, and a client with it, without opening anything else.

Source: SECURITY.md, rows D1 to D14; RFC 1035 sections 3.2.1 (TTL) and 4.2.1 (truncation).
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.dns_server import Record
from tests.lab.appliance import Appliance, Config
from tests.lab.lab import Lab, wait_until
from tests.lab.story import SHORT_WAITS, hello, launch, refused, tls
from tests.lab.workload import Workload

GRACE = 1.0  # second
TTL = 5  # seconds, the least that is believed
SOON_FORGOTTEN: Config = {**SHORT_WAITS, "names": {"nameservers": ["10.0.0.2"], "grace": GRACE}}
HOSTS = ("cut", "chain", "loop", "self", "far", "forged", "swapped", "left", "away", "many", "known", "pressed")


def name(host: str) -> str:
    return f"{host}.names.test"


@pytest.fixture(scope="module", autouse=True)
def appliance(lab: Lab) -> Iterator[Appliance]:
    """The appliance with a short grace period."""
    lab.appliance.start(SOON_FORGOTTEN)
    yield lab.appliance
    lab.appliance.wipe()


@pytest.fixture(scope="module")
def client(lab: Lab, appliance: object) -> Workload:
    """A client that lists all names of these stories."""
    return launch(lab, "names", tls(*map(name, HOSTS)))


def passes(lab: Lab, client: Workload, host: str, address: str) -> bool:
    """Whether a connection under a name to an address is answered."""
    return client.curl(f"https://{name(host)}/", "--insecure", "--resolve", f"{name(host)}:443:{address}").ok


# ---- D4, D5: answers that are no answers yet ----


def test_an_answer_that_is_cut_is_asked_for_over_tcp(lab: Lab, client: Workload) -> None:
    """A name whose addresses never fit into a datagram works (D5)."""
    server = lab.internet.tls("srv1.names.test")
    lab.names[name("cut")] = Record((server.address,), truncate=True)

    assert passes(lab, client, "cut", server.address)
    assert lab.dns.asked(name("cut"), "tcp") >= 1
    other = lab.internet.tls("srv2.names.test")
    assert not passes(lab, client, "cut", other.address)
    refused(lab, other, "address_mismatch", dhost=name("cut"))


def test_hundreds_of_addresses_all_count(lab: Lab, client: Workload) -> None:
    """They fill more than a datagram; the last one is as good as the first (D5)."""
    server = lab.internet.tls("srv3.names.test")
    many = [f"198.51.100.{last}" for last in range(1, 150)]
    lab.names[name("many")] = [*many, server.address]

    assert passes(lab, client, "many", server.address)
    assert lab.dns.asked(name("many"), "tcp") >= 1


CHAINS = {
    "loop": {name("loop"): "a.cdn.test", "a.cdn.test": "b.cdn.test", "b.cdn.test": "a.cdn.test"},
    "self": {name("self"): name("self")},
    "far": {name("far"): "0.far.test", **{f"{at}.far.test": f"{at + 1}.far.test" for at in range(40)}},
}


@pytest.mark.parametrize("host", CHAINS)
@pytest.mark.parametrize("one_link", [False, True])
def test_a_chain_without_end_opens_nothing(lab: Lab, client: Workload, host: str, one_link: bool) -> None:
    """Whether the resolver follows it or leaves that to us; our questions are bounded (D4)."""
    server = lab.internet.tls(f"{host}-{one_link}.ends.test")
    for link, target in CHAINS[host].items():
        lab.names[link] = Record(cname=target, one_link=one_link)
    if host == "far":
        lab.names["40.far.test"] = [server.address]
    asked = len(lab.dns.queries)

    assert not passes(lab, client, host, server.address)
    refused(lab, server, "name_unresolved", dhost=name(host))
    assert len(lab.dns.queries) - asked < 200


def test_the_end_of_a_chain_is_bound_to_its_beginning_alone(lab: Lab, client: Workload) -> None:
    """Names in the middle of it are not listed, whatever their addresses (D4)."""
    server = lab.internet.tls("srv4.names.test")
    lab.names[name("chain")] = Record(cname="edge.cdn.test", one_link=True)
    lab.names["edge.cdn.test"] = [server.address]

    assert passes(lab, client, "chain", server.address)
    server.forget()
    assert not client.curl(
        "https://edge.cdn.test/", "--insecure", "--resolve", f"edge.cdn.test:443:{server.address}"
    ).ok
    refused(lab, server, "name_not_listed", dhost="edge.cdn.test")


# ---- D10: answers that somebody else gives ----


@pytest.mark.parametrize(("host", "defect"), [("forged", "only-id"), ("swapped", "only-question")])
def test_an_answer_that_does_not_fit_its_question_opens_nothing(
    lab: Lab, client: Workload, host: str, defect: str
) -> None:
    """Another number, another question: neither is believed."""
    server = lab.internet.tls(f"{host}.ends.test")
    lab.names[name(host)] = Record((server.address,), forged=defect)

    assert not passes(lab, client, host, server.address)
    refused(lab, server, "name_unresolved", dhost=name(host))


def test_a_client_cannot_answer_in_the_resolvers_place(lab: Lab, client: Workload) -> None:
    """What comes from elsewhere never reaches the sockets that wait; a forged source is no better (D10)."""
    server = lab.internet.tls("srv5.names.test")
    lab.names[name("known")] = Record((server.address,), delay=0.5)
    evil = lab.internet.tls("srv6.names.test")
    stop = threading.Event()

    def flood() -> None:
        with client.namespace.open_socket(kind=socket.SOCK_DGRAM) as datagrams:
            port = 32768
            while not stop.is_set():
                datagrams.sendto(bytes(12) + socket.inet_aton(evil.address), (lab.appliance.address, port))
                port = 32768 + (port + 1) % 28000

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        assert not passes(lab, client, "known", evil.address)
        assert passes(lab, client, "known", server.address)
    finally:
        stop.set()
        flooding.join()
    refused(lab, evil, "address_mismatch", dhost=name("known"))


# ---- D9, D14: answers that are old ----


def test_an_address_that_left_its_name_is_refused_after_the_grace(lab: Lab, client: Workload) -> None:
    """Somebody else may have it by then; the log says what the name's addresses are (D9)."""
    old, new = lab.internet.tls("srv7.names.test"), lab.internet.tls("srv8.names.test")
    lab.names[name("left")] = Record((old.address,), ttl=1)
    assert passes(lab, client, "left", old.address)
    lab.names[name("left")] = Record((new.address,), ttl=1)
    assert passes(lab, client, "left", new.address)

    assert wait_until(lambda: not passes(lab, client, "left", old.address), 4 * (TTL + GRACE))
    old.forget()
    assert not passes(lab, client, "left", old.address)
    event = refused(lab, old, "address_mismatch", dhost=name("left"))
    assert event["reason"].endswith(f"{name('left')} is {new.address} (1 known)")
    assert passes(lab, client, "left", new.address)


def test_a_resolver_that_stays_away_closes_in_the_end(lab: Lab, client: Workload) -> None:
    """The last answers stand for their grace period, and no longer; they are back with the resolver (D14)."""
    server = lab.internet.tls("srv9.names.test")
    lab.names[name("away")] = Record((server.address,), ttl=1)
    assert passes(lab, client, "away", server.address)
    lab.dns.down = True
    try:
        assert passes(lab, client, "away", server.address)
        assert wait_until(lambda: not passes(lab, client, "away", server.address), 4 * (TTL + GRACE))
        server.forget()
        assert not passes(lab, client, "away", server.address)
        refused(lab, server, "name_unresolved", dhost=name("away"))
    finally:
        lab.dns.down = False
    assert wait_until(lambda: passes(lab, client, "away", server.address), 10)


# ---- D13: look-ups on demand ----


def test_names_that_are_not_listed_cause_no_query(lab: Lab, client: Workload) -> None:
    """However many a client invents: a hello is no way to send questions to anybody's name server."""
    server = lab.internet.lines("")
    invented = [f"secret-{at}.names.test" for at in range(300)]
    for each in invented:
        with client.connect(server.address, 443) as stream:
            stream.sendall(hello(each))
    assert wait_until(lambda: sum(e["code"] == "name_not_listed" for e in lab.appliance.flow_events()) >= 300)
    assert server.received() == b""
    assert not [query for query in lab.dns.queries if query.name.startswith("secret-")]


def test_a_flood_under_a_listed_name_causes_few_queries(lab: Lab, client: Workload) -> None:
    """Flows that wait for the same answer share the question, which is asked once a second at most."""
    server = lab.internet.lines("")
    lab.names[name("cut")] = ["203.0.113.250"]
    before = lab.dns.asked(name("cut"))
    streams = [client.connect(server.address, 443) for _ in range(200)]
    for stream in streams:
        stream.sendall(hello(name("cut")))

    def refusals() -> int:
        return sum(each["dst"] == server.address for each in lab.appliance.flow_events())

    assert wait_until(lambda: refusals() >= 200, 10)
    for stream in streams:
        stream.close()
    assert server.received() == b""
    assert lab.dns.asked(name("cut")) - before <= 10


def test_flow_after_flow_under_a_listed_name_causes_few_queries(lab: Lab, client: Workload) -> None:
    """Each waits for the one answer a second, though every answer is another; a client that follows them gets on."""
    evil, server = lab.internet.lines(""), lab.internet.tls("pressed.ends.test")
    lab.names[name("pressed")] = Record(tuple(f"203.0.113.{last}" for last in range(1, 200)), ttl=0, subset=1)
    began, before = time.monotonic(), lab.dns.asked(name("pressed"))

    def press() -> int:
        flows = 0
        while time.monotonic() < began + 4:
            with client.connect(evil.address, 443) as stream, contextlib.suppress(ConnectionResetError):
                stream.sendall(hello(name("pressed")))
                stream.recv(1)
            flows += 1
        return flows

    with ThreadPoolExecutor(8) as threads:
        flows = [threads.submit(press) for _ in range(8)]
        assert wait_until(lambda: lab.dns.asked(name("pressed")) - before >= 2)
        lab.names[name("pressed")] = Record((server.address,), ttl=0)
        assert passes(lab, client, "pressed", server.address)
        pressed = sum(each.result() for each in flows)

    asked = lab.dns.asked(name("pressed")) - before
    assert asked <= time.monotonic() - began + 2  # the first one, and a refresh
    assert pressed > asked
    refused(lab, evil, "address_mismatch", dhost=name("pressed"))
