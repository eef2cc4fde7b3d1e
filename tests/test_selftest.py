"""The self-test: its rows are the catalogue's, its judge believes what it has seen, its sockets tell the truth."""

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.edge import probe
from appliance.reason import Reason
from appliance.selftest import hellos
from appliance.selftest.findings import Findings, render_findings
from appliance.selftest.judging import End, Heard, Outcome, Result, is_retry, judge
from appliance.selftest.row import Piece, Place, Row, Way
from appliance.selftest.rows import ROWS
from appliance.selftest.segments import checksum_of, packet, segment
from appliance.selftest.target import Target
from appliance.wire.ip import parse_packet
from tests.attacks import ROWS as CATALOGUE
from tests.hellos import hello_retry_request, server_stream

ROOT = Path(__file__).parents[1]
WAIT = 5.0  # seconds
SHORT = 0.05  # seconds of silence

# ---- rows ----

MARKS = {row.mark: row for row in CATALOGUE}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.mark} {row.tried}")
def test_rows_are_of_the_catalogue(row: Row) -> None:
    """Each has a mark of the table, and promises a code that the table has for it."""
    assert row.mark in MARKS
    if row.must_pass:
        assert row.code is None
    elif row.code is None:
        assert MARKS[row.mark].codes == ()
    else:
        assert row.code in MARKS[row.mark].codes


def test_rows_are_told_apart() -> None:
    """No two have the same words, so that a line of the table is one attempt."""
    assert len({row.tried for row in ROWS}) == len(ROWS)


def test_the_list_of_what_a_customer_tries_is_whole() -> None:
    """Spoofing, split records, a second name, ECH, no name, old TLS, URG, data in a SYN and IPv6."""
    assert {row.mark for row in ROWS} >= {"N1", "N5", "T2", "T4", "T5", "T6", "P7", "P9", "P13"}


@pytest.mark.parametrize("name", ["api.example.com", "x.io", f"{'a' * 63}.{'b' * 63}.{'c' * 63}.example.com"])
def test_rows_can_be_built_for_any_name(name: str) -> None:
    """A hello fits one segment of the Internet's, but the one that is to be long."""
    for row in ROWS:
        for piece in row.pieces(name):
            assert len(piece.octets) < 1300 or "post-quantum" in row.tried
            assert piece.octets or row.way in {Way.IPV6, Way.ECHO}


@pytest.mark.subprocesses
def test_it_needs_nothing_but_python() -> None:
    """Whoever copies the folder `appliance` to a workload can run it: none of the dependencies is imported."""
    script = "import appliance.probing, appliance.cli, sys; sys.argv = ['discriminat', 'selftest', 'a.b', '--list']"
    command = [sys.executable, "-S", "-c", f"{script}; appliance.cli.main()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Encrypted Client Hello" in done.stdout


# ---- the judge ----

ATTACK = Row(mark="N5", tried="no name", pieces=lambda _: (), code=Reason.NO_SNI)
ODD = Row(mark="T1", tried="two segments", pieces=lambda _: (), must_pass=True)
SERVER = "203.0.113.10"
STOPPED, THROUGH, FINE, BROKEN, UNTRIED = (
    Outcome.STOPPED,
    Outcome.NOT_STOPPED,
    Outcome.ALLOWED,
    Outcome.BROKEN,
    Outcome.NOT_TRIED,
)
JUDGED = [
    # what was heard                                            an attack the odd   detail
    (Heard(End.ANSWERED, server_stream()),                      THROUGH,  FINE,    "answered: ServerHello"),
    (Heard(End.ANSWERED, server_stream(hello_retry_request())), THROUGH,  FINE,    "Retry"),
    (Heard(End.ANSWERED, b"\x15\3\3\0\2\2\x70"),                THROUGH,  FINE,    "TLS alert 112"),
    (Heard(End.ANSWERED, b"HTTP/1.1 400 Bad Request"),          THROUGH,  FINE,    "HTTP"),
    (Heard(End.ANSWERED, b"x"),                                 THROUGH,  FINE,    "1 octets"),
    (Heard(End.CLOSED),                                         THROUGH,  BROKEN,  "closed by the server"),
    (Heard(End.CONNECTED),                                      THROUGH,  BROKEN,  "connected"),
    (Heard(End.REFUSED, address=SERVER),                        THROUGH,  BROKEN,  f"ICMP error of {SERVER}"),
    (Heard(End.REFUSED, address="10.0.0.10"),                   STOPPED,  BROKEN,  "ICMP error of 10.0.0.10"),
    (Heard(End.REFUSED, seconds=0.02),                          STOPPED,  BROKEN,  "refused after 20.0 ms"),
    (Heard(End.RESET, seconds=0.02),                            STOPPED,  BROKEN,  "reset after 20.0 ms"),
    (Heard(End.RESET, seconds=0.001),                           STOPPED,  BROKEN,  "sooner than the server"),
    (Heard(End.SILENT, seconds=8.0),                            STOPPED,  BROKEN,  "no answer in 8 s"),
    (Heard(End.UNABLE, why="needs root"),                       UNTRIED,  UNTRIED, "needs root"),
]  # fmt: skip


@pytest.mark.parametrize(("heard", "attack", "odd", "detail"), JUDGED, ids=[row[3] for row in JUDGED])
def test_the_judge(heard: Heard, attack: Outcome, odd: Outcome, detail: str) -> None:
    """Whatever comes from the server says that it got what was sent; what was not sent is never called stopped."""
    judged = judge(ATTACK, heard, server=SERVER, away=0.01)

    assert (judged.outcome, judge(ODD, heard, server=SERVER, away=0.01).outcome) == (attack, odd)
    assert detail in judged.detail
    assert judged.code == (Reason.NO_SNI if attack is Outcome.STOPPED else None)


def test_every_end_is_judged() -> None:
    """The table above leaves none out."""
    assert {row[0].end for row in JUDGED} == set(End)


def test_a_reset_of_a_near_server_could_be_its_own() -> None:
    """Who is less than two milliseconds away may reset at once."""
    assert "sooner" not in judge(ATTACK, Heard(End.RESET, seconds=0.0001), server=SERVER, away=0.001).detail


STATUS = [
    # outcomes                                              broken  status
    ([Outcome.STOPPED, Outcome.ALLOWED, Outcome.NOT_TRIED], "",     0),
    ([Outcome.STOPPED, Outcome.NOT_STOPPED],                "",     1),
    ([Outcome.STOPPED, Outcome.BROKEN],                     "",     1),
    ([Outcome.STOPPED],                                     "gone", 3),
    ([Outcome.BROKEN],                                      "gone", 3),
    ([Outcome.NOT_STOPPED],                                 "gone", 1),  # it got through all the same
]  # fmt: skip


@pytest.mark.parametrize(("outcomes", "broken", "status"), STATUS)
def test_exit_codes(outcomes: list[Outcome], broken: str, status: int) -> None:
    """One row that got through is enough, and a network that has died proves nothing."""
    results = tuple(Result(ATTACK, outcome, "") for outcome in outcomes)
    findings = Findings("api.example.com", 443, SERVER, 0.01, results, broken=broken)

    assert findings.status == status
    assert json.loads(json.dumps(findings.document()))["passed"] is (status == 0)
    assert (broken or "passed" if status != 1 else "") in render_findings(findings).splitlines()[-1]


def test_targets() -> None:
    """A name, and perhaps a port."""
    assert Target.parse("API.example.com.") == Target("api.example.com", 443)
    assert Target.parse("git.example.com", 22) == Target("git.example.com", 22)
    assert Target.parse("git.example.com:2222", 22) == Target("git.example.com", 2222)


# ---- octets ----


def test_only_a_retry_is_a_retry() -> None:
    """A ServerHello has another random."""
    assert is_retry(server_stream(hello_retry_request()))
    assert not is_retry(server_stream())
    assert not is_retry(b"")


def test_segments_are_what_they_say() -> None:
    """The engine's own parser reads them so, and the checksum is right unless it is to be wrong."""
    addresses = socket.inet_aton("10.0.1.10"), socket.inet_aton(SERVER)
    for lie in (0, 1):
        octets = segment((40000, 443), addresses, 2**32 + 7, 9, b"payload", checksum_lie=lie)
        parsed = parse_packet(packet(octets, addresses, ident=1))
        pseudo = b"".join(addresses) + struct.pack("!HH", 6, len(octets))

        assert (parsed.source_port, parsed.destination_port, parsed.sequence) == (40000, 443, 7)
        assert (parsed.acknowledgement, parsed.payload) == (9, b"payload")
        assert (checksum_of(pseudo + octets) == 0) is (lie == 0)


# ---- sockets ----

Conversation = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Conversation], Place]]:
    """Start servers on loopback that take one connection each."""
    with contextlib.ExitStack() as stack:

        def start(conversation: Conversation) -> Place:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(WAIT)

            def take() -> None:
                with listener.accept()[0] as stream:
                    stream.settimeout(WAIT)
                    conversation(stream)

            thread = threading.Thread(target=take)
            thread.start()
            stack.callback(thread.join, WAIT)
            return Place(*listener.getsockname())

        yield start


def hear(stream: socket.socket) -> bytes:
    return stream.recv(65536)


def answer(stream: socket.socket) -> None:
    stream.sendall(hear(stream)[::-1])
    hear(stream)


def end(stream: socket.socket) -> None:
    hear(stream)


def reset(stream: socket.socket) -> None:
    hear(stream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def alert_and_reset(stream: socket.socket) -> None:
    hear(stream)
    stream.sendall(b"\x15\3\3\0\2\2\x32")
    reset(stream)


def stay_silent(stream: socket.socket) -> None:
    hear(stream)
    hear(stream)


ENDS = [
    # the server          wait    heard
    (answer,              WAIT,   (End.ANSWERED, b"olleh")),
    (end,                 WAIT,   (End.CLOSED, b"")),
    (reset,               WAIT,   (End.RESET, b"")),
    (stay_silent,         SHORT,  (End.SILENT, b"")),
]  # fmt: skip


@pytest.mark.sockets
@pytest.mark.parametrize(("conversation", "wait", "heard"), ENDS, ids=[row[0].__name__ for row in ENDS])
def test_ends_are_told_apart(
    serve: Callable[[Conversation], Place], conversation: Conversation, wait: float, heard: tuple[End, bytes]
) -> None:
    """An end is not a reset, and neither is silence."""
    found = probe.converse(serve(conversation), (Piece(b"hello"),), wait)

    assert (found.end, found.octets) == heard


@pytest.mark.sockets
def test_an_alert_before_a_reset_is_an_answer(serve: Callable[[Conversation], Place]) -> None:
    """Also where the reset is noticed while the second piece is being sent."""
    found = probe.converse(serve(alert_and_reset), tuple(Piece(b"x", at) for at in range(200)), WAIT)

    assert found.end is End.ANSWERED
    assert found.octets.startswith(b"\x15\3\3")


@pytest.mark.sockets
def test_a_second_hello_is_sent_only_when_it_is_asked_for(serve: Callable[[Conversation], Place]) -> None:
    """Else the row says nothing: it was not tried."""
    retry = server_stream(hello_retry_request())
    asked: list[bytes] = []

    def ask_again(stream: socket.socket) -> None:
        hear(stream)
        stream.sendall(retry)
        asked.append(hear(stream))
        stream.sendall(b"got it")

    found = probe.converse(serve(ask_again), (Piece(b"first"), Piece(b"second")), WAIT, on_retry=True)
    assert (found.end, found.octets, asked) == (End.ANSWERED, b"got it", [b"second"])
    found = probe.converse(serve(answer), (Piece(b"first"), Piece(b"second")), WAIT, on_retry=True)
    assert (found.end, found.why) == (End.UNABLE, "the server asks for no second hello")


@pytest.mark.sockets
def test_what_an_ssh_server_says_by_itself_does_not_count(serve: Callable[[Conversation], Place]) -> None:
    """Its identification string is sent to everybody; what counts comes after the client's."""

    def greet_and_end(stream: socket.socket) -> None:
        stream.sendall(b"SSH-2.0-x\r\n")
        reset(stream)

    def greet_and_complain(stream: socket.socket) -> None:
        stream.sendall(b"SSH-2.0-x\r\n")
        hear(stream)
        stream.sendall(b"Invalid")
        hear(stream)

    assert probe.converse_ssh(serve(greet_and_end), b"GET /", WAIT).end is End.RESET
    assert probe.converse_ssh(serve(greet_and_complain), b"GET /", WAIT).octets == b"Invalid"


@pytest.mark.sockets
def test_nobody_listens() -> None:
    """A connection that is refused is told as that; an ICMP error with the address of who sent it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = Place(*listener.getsockname())

    assert probe.converse(place, (Piece(b"x"),), WAIT).end is End.REFUSED
    found = probe.exchange(place, b"x", WAIT)
    assert (found.end, found.address) == (End.REFUSED, "127.0.0.1")


@pytest.mark.sockets
def test_a_connection_over_ipv6_is_enough() -> None:
    """Nothing needs to be said: the appliance lets none through."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as fault:
        pytest.skip(f"no IPv6 on loopback: {fault.strerror}")
    with listener:
        assert probe.connect_v6("::1", listener.getsockname()[1], WAIT).end is End.CONNECTED
    assert probe.connect_v6("2001:db8::1", 443, SHORT).end in {End.UNABLE, End.SILENT, End.REFUSED}


def test_a_hello_for_everybody_is_as_long_as_it_says() -> None:
    """The record that a row sends holds all of it."""
    octets = hellos.client_stream(hellos.client_hello("api.example.com"))

    assert len(octets) == 5 + int.from_bytes(octets[3:5])
