"""Laws of the engine: what holds for whatever arrives, cut, repeated and mixed in whatever way.

- Every packet gets exactly one verdict, at once or after enough ticks.
- What `tests/witness.py` sees to: a flow opens only when both sides were good, what goes on was inspected, and what was
  refused stays refused.
- Tables and held packets stay within their limits, and nothing outlives its flow.
"""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.command import SendReset, SetVerdict, Verdict
from appliance.engine import Origin
from appliance.limits import Limits
from tests import hellos
from tests.playbook import (
    CLIENT,
    ELSEWHERE,
    GIT,
    GOOD_HELLO,
    GOOD_REPLY,
    HELLO,
    NAME,
    REPLY,
    REQUEST,
    RETRY,
    SERVER,
    SSH,
    STRANGER,
    TCP,
    Log,
    Play,
    answer,
    datagram,
    ipv4,
    make_policy,
)
from tests.witness import CCS, CONVERSATIONS, EARLY_DATA, OTHER_HELLO, Witness

# Room for all conversations but the longest, so that some segments reach beyond it.
LIMITS = Limits(flows=6, flows_per_client=4, held_packets=24, held_per_flow=12, stream_octets=600, stream_segments=64)

Step = tuple[str, int, int]  # side, offset, size


@st.composite
def steps(draw: st.DrawFn, client: bytes, server: bytes) -> list[Step]:
    """Both directions, each cut into segments, some of them repeated, merged in any order with some of it disturbed."""
    sides = []
    for side, octets in (("client", client), ("server", server)):
        cuts = sorted({0, len(octets), *draw(st.lists(st.integers(0, len(octets)), max_size=5))})
        pieces = [(side, begin, end - begin) for begin, end in itertools.pairwise(cuts)]
        repeated = [
            (side, begin, draw(st.integers(0, len(octets) - begin)))  # TCP may send more, or less, the second time
            for _, begin, _ in draw(st.lists(st.sampled_from(pieces), max_size=3))
        ]
        sides.append(pieces + repeated)
    merged = sides[0] + sides[1]
    if draw(st.booleans()):
        return draw(st.permutations(merged))
    return merged


def step(play: Play, client: bytes, server: bytes, move: Step) -> list:
    side, at, size = move
    if side == "client":
        return play.client(client[at : at + size], at)
    return play.server(server[at : at + size], at, received=len(client))


def verdicts(commands: list) -> list[SetVerdict]:
    return [command for command in commands if isinstance(command, SetVerdict)]


@given(data=st.data())
def test_any_cut_and_any_order_of_any_conversation(data: st.DataObject) -> None:
    """One verdict per packet; open only if both sides were good; closed until the hello was allowed."""
    name = data.draw(st.sampled_from(sorted(CONVERSATIONS)))
    client, server, may_open = CONVERSATIONS[name]
    known = data.draw(st.booleans())
    play = Witness(limits=LIMITS, answers=(answer(NAME, SERVER), answer(GIT, SERVER)) if known else ())
    moves = data.draw(steps(client, server))
    asked_at = data.draw(st.integers(0, len(moves)))
    commands: list = []
    for index, move in enumerate(moves):
        if index == asked_at:
            commands += play.answers(answer(NAME, SERVER))
        commands += step(play, client, server, move)
        play.check_limits()
        if Verdict.ALLOW in {command.verdict for command in verdicts(commands)}:
            assert may_open
            assert GOOD_HELLO in commands
            assert GOOD_REPLY in commands
    play.answers(answer(NAME, SERVER))
    play.finish()


@given(cuts=st.lists(st.integers(1, len(HELLO) - 1), max_size=20), again=st.booleans(), data=st.data())
def test_a_good_conversation_opens_however_it_is_cut(cuts: list[int], again: bool, data: st.DataObject) -> None:
    """Any segments in any order, repeated or not: the hello goes on, the reply opens, no packet is lost."""
    play = Witness()
    ends = sorted({0, len(HELLO), *cuts})
    moves = [("client", begin, end - begin) for begin, end in itertools.pairwise(ends)]
    moves = data.draw(st.permutations(moves + moves[:again]))
    commands = [command for move in moves for command in step(play, HELLO, REPLY, move)]
    assert commands.count(GOOD_HELLO) == 1
    assert {command.verdict for command in verdicts(commands)} == {Verdict.PASS}
    commands += play.server(REPLY)
    assert commands.count(GOOD_REPLY) == 1
    assert not [command for command in commands if isinstance(command, SendReset)]
    play.finish()


# What either side says in its turn. A turn is cut in whatever way, but never joined with the next.
TURNS = {
    "good": [("client", HELLO), ("client", EARLY_DATA), ("server", REPLY)],
    "retried": [("client", HELLO), ("server", RETRY), ("client", CCS + HELLO), ("server", CCS + REPLY)],
    "swapped": [("client", HELLO), ("server", RETRY), ("client", CCS + OTHER_HELLO)],
    "retried twice": [("client", HELLO), ("server", RETRY), ("client", CCS + HELLO), ("server", CCS + RETRY)],
    "warned": [("client", HELLO), ("server", hellos.alert(1, 112) + REPLY)],
    "unlisted": [("client", OTHER_HELLO)],
    "old": [("client", hellos.client_stream(hellos.client_hello(versions=None, legacy_version=0x0302)))],
    "HTTP": [("client", REQUEST)],
    "unknown": [("client", b"EHLO there\r\n")],
    "refused by the server": [("client", HELLO), ("server", hellos.alert(2, 40))],
    "no server of TLS": [("client", HELLO), ("server", b"220 mail.example.com ESMTP\r\n")],
}


def told_of(turns: list[tuple[str, list[bytes]]]) -> list[Log]:
    """Return all that is logged of a conversation of which each turn comes in these pieces."""
    play = Witness()
    sent = {"client": 0, "server": 0}
    commands = []
    for side, pieces in turns:
        for piece in pieces:
            if side == "client":
                commands += play.client(piece, sent[side], received=sent["server"])
            else:
                commands += play.server(piece, sent[side], received=sent["client"])
            sent[side] += len(piece)
    commands += play.finish()
    return [command for command in commands if isinstance(command, Log)]


@pytest.mark.parametrize("name", TURNS)
@given(data=st.data())
def test_how_a_turn_is_cut_changes_nothing_that_is_told(name: str, data: st.DataObject) -> None:
    """The same events, with the same codes, in the same order."""
    turns = []
    for side, octets in TURNS[name]:
        cuts = sorted({0, len(octets), *data.draw(st.lists(st.integers(0, len(octets)), max_size=20))})
        turns.append((side, [octets[begin:end] for begin, end in itertools.pairwise(cuts)]))

    assert told_of(turns) == told_of([(side, [octets]) for side, octets in TURNS[name]])


@given(
    at=st.integers(0, len(HELLO) - 1),
    removed=st.integers(0, 6),
    inserted=st.binary(max_size=6),
    cut=st.integers(1, len(HELLO)),
)
@example(at=0, removed=1, inserted=b"\x80", cut=1)
def test_any_spoilt_hello_gives_commands(at: int, removed: int, inserted: bytes, cut: int) -> None:
    """Never an exception, never ALLOW, and nothing passes unless the hello is still a good one."""
    play = Witness()
    spoilt = HELLO[:at] + inserted + HELLO[at + removed :]
    commands = play.client(spoilt[:cut])
    if cut < len(spoilt):
        commands += play.client(spoilt[cut:], cut)
    given_out = {command.verdict for command in verdicts(commands)}
    assert given_out <= {Verdict.DROP} if GOOD_HELLO not in commands else given_out <= {Verdict.PASS, Verdict.DROP}
    play.finish()


@given(at=st.integers(0, len(REPLY) - 1), removed=st.integers(0, 6), inserted=st.binary(max_size=6))
def test_any_spoilt_reply_gives_commands(at: int, removed: int, inserted: bytes) -> None:
    """Never an exception; ALLOW only with the event that says so."""
    play = Witness()
    commands = play.client(HELLO) + play.server(REPLY[:at] + inserted + REPLY[at + removed :])
    opened = Verdict.ALLOW in {command.verdict for command in verdicts(commands)}
    assert opened == (GOOD_REPLY in commands)
    play.finish()


@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=400), server=st.sampled_from([SERVER, ELSEWHERE]))
def test_a_dribble_passes_to_known_addresses_only(sizes: list[int], server: int) -> None:
    """Whatever the pace, an unfinished hello reaches an address of a listed name or nobody; the last octet never."""
    play = Witness(server=server)
    octets = OTHER_HELLO
    at = 0
    commands: list = []
    last = 0
    for size in sizes:
        commands += play.client(octets[at : at + size], at)
        last = last or (play.packets if at + size >= len(octets) else 0)
        at = min(at + size, len(octets))
        if at == len(octets):
            break
    passed = [command.packet_id for command in verdicts(commands) if command.verdict is Verdict.PASS]
    assert passed == sorted(passed)
    assert server == SERVER or not passed
    assert last not in passed or not last
    play.finish()


PAYLOADS = [HELLO, OTHER_HELLO, SSH, REQUEST, REPLY, RETRY, EARLY_DATA, HELLO[:40], b"\x00"]
PLACES = [0, 1, 40, len(HELLO), len(HELLO) - 5, 24570, 24577, 1 << 24, (1 << 31) - 3, -1, -(1 << 30)]
STRANGE_PACKETS = st.sampled_from(
    [datagram(CLIENT, SERVER, 443), ipv4(1, CLIENT, SERVER, b"ping"), ipv4(TCP, CLIENT, SERVER, bytes(19))]
)
EVENTS = st.one_of(
    st.tuples(st.just("client"), st.sampled_from(PAYLOADS), st.sampled_from(PLACES)),
    st.tuples(st.just("server"), st.sampled_from(PAYLOADS), st.sampled_from(PLACES)),
    st.tuples(st.just("who"), st.sampled_from([CLIENT, STRANGER]), st.sampled_from([443, 22, 8443, 80])),
    st.tuples(st.just("port"), st.integers(0, 8), st.integers(0, 1)),
    st.tuples(st.just("answer"), st.sampled_from([NAME, GIT]), st.sampled_from([SERVER, ELSEWHERE, None])),
    st.tuples(st.just("policy"), st.sampled_from([(CLIENT,), (CLIENT, STRANGER), ()]), st.just(0)),
    st.tuples(st.just("aws"), st.sampled_from([CLIENT, STRANGER]), st.just(0)),
    st.tuples(st.just("queued"), st.sampled_from(Origin), st.binary(max_size=60) | STRANGE_PACKETS),
    st.tuples(st.just("syn"), st.sampled_from([b"", b"x"]), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 2.1, 5.1, 10.1, 61.0]), st.just(0)),
)


@given(events=st.lists(EVENTS, max_size=60))
def test_any_sequence_of_anything(events: list[tuple]) -> None:
    """Whatever happens in whatever order: one verdict per packet, limits kept, everything freed in the end."""
    play = Witness(limits=LIMITS)
    commands: list = []
    for what, first, second in events:
        match what:
            case "client":
                commands += play.client(first, second)
            case "server":
                commands += play.server(first, second)
            case "who":
                play.address, play.port = first, second
            case "port":
                play.client_port, play.isn = 40000 + first, play.isn + 999 * second
            case "answer":
                commands += play.answers(answer(first, *(() if second is None else (second,))))
            case "policy":
                commands += play.policy(make_policy(first))
            case "aws":
                commands += play.aws_answered(first)
            case "queued":
                play.queued(first, second)
            case "syn":
                commands += play.syn(first)
            case "wait":
                commands += play.wait(first)
        play.check_limits()
    commands += play.finish()
    opened = [command for command in verdicts(commands) if command.verdict is Verdict.ALLOW]
    assert not opened or any(isinstance(log, Log) and log.code == "server_agreed" for log in commands)
