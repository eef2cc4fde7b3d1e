"""What patterns allow is looked up when a client uses it: in the engine, its memory of names, and its allowances."""

from appliance.address import Ipv4
from appliance.command import LookUpClient, Resolve, SetVerdict, Verdict
from appliance.limits import Limits
from appliance.policy.addresses import LEARNT_ADDRESSES_MAX
from appliance.policy.allowance import Allowance
from appliance.policy.entry import entry_number
from appliance.policy.exposure import Exposure
from appliance.policy.fqdn import Fqdn
from appliance.policy.learnt import LearntNames
from appliance.policy.preferences import Gating, Preferences
from tests import hellos
from tests.playbook import (
    CLIENT,
    ELSEWHERE,
    NAME,
    REPLY,
    SERVER,
    STRANGER,
    Log,
    Play,
    allowed,
    answer,
    make_policy,
    refused,
)

PATTERN = "*.example.com"
WILD = make_policy(names=PATTERN)
FEW = Limits(new_names_burst=3.0, new_names_rate=1.0, learnt_names=2)
BY_PATTERN = allowed("client", "pattern_listed")


def name(number: int) -> Fqdn:
    return Fqdn.parse(f"n{number}.example.com")


def hello(fqdn: Fqdn) -> bytes:
    return hellos.client_stream(hellos.client_hello(str(fqdn)))


def ask(play: Play, fqdn: Fqdn) -> list[object]:
    """Let another flow ask for a name; return what follows."""
    play.client_port += 1
    return play.client(hello(fqdn))


def test_a_name_that_a_pattern_matches_is_looked_up_while_the_hello_waits() -> None:
    """The log says which pattern of which rule let it pass, and the flow's mark is the pattern's (D13)."""
    play = Play(policy=WILD, answers=())
    octets = hello(name(1))
    assert play.client(octets) == [Resolve(name(1))]
    assert play.answers(answer(name(1), SERVER))[0] == BY_PATTERN
    event = play.events[-1]
    assert (event["dhost"], event["rule"]) == ("n1.example.com", "tcp/443 0.0.0.0/0")
    assert event["reason"] == (
        "a listed pattern matches the name, and the destination is one of its addresses: by *.example.com"
    )
    (verdict,) = [each for each in play.server(REPLY, received=len(octets)) if isinstance(each, SetVerdict)]
    assert (verdict.verdict, verdict.entry) == (Verdict.ALLOW, entry_number("tls", PATTERN, 443))
    assert ask(play, name(1))[0] == BY_PATTERN  # it is known by now


def learn(play: Play, *numbers: int) -> None:
    """Let a flow ask for each name, and have it answered."""
    for number in numbers:
        ask(play, name(number))
        play.answers(answer(name(number), SERVER))


def test_what_a_pattern_does_not_match_is_not_looked_up() -> None:
    """Nor is a name of SSH's, which none can match."""
    play = Play(policy=WILD, answers=())
    for text in ("example.com", "a.b.example.com", "www.example.org", "www.example.com.evil.test"):
        assert ask(play, Fqdn.parse(text))[0] == refused("client", "name_not_listed")


def test_a_listed_name_wins_over_a_pattern() -> None:
    """It is not rationed, and it is what the log and the mark tell."""
    play = Play(policy=make_policy(names=f"{PATTERN},{NAME}"), answers=(), limits=FEW)
    for _ in range(5):
        assert Resolve(NAME) in ask(play, NAME)
        assert allowed("client", "name_listed") in play.answers(answer(NAME, SERVER))
        play.engine._judge._book.forget([NAME])
    assert play.events[-1]["reason"].endswith("is one of its addresses")


def test_another_address_than_the_name_s_is_refused() -> None:
    """A pattern changes nothing about spoofed names (N1)."""
    play = Play(policy=WILD, answers=(), server=ELSEWHERE)
    play.client(hello(name(1)))
    assert play.answers(answer(name(1), SERVER))[0] == Resolve(name(1))
    assert play.answers(answer(name(1), SERVER))[0] == refused("client", "address_mismatch")


def test_new_names_are_rationed() -> None:
    """A client that makes names up is refused before DNS is asked; another one is not, and time heals it (D13)."""
    play = Play(policy=make_policy((CLIENT, Ipv4(CLIENT + 1)), names=PATTERN), answers=(), limits=FEW)
    for number in range(3):
        assert ask(play, name(number)) == [Resolve(name(number))]
    assert ask(play, name(3))[0] == refused("client", "look_ups_limited")
    assert play.events[-1]["reason"].endswith("too many were wanted: by *.example.com")
    play.address = Ipv4(CLIENT + 1)
    assert ask(play, name(3)) == [Resolve(name(3))]
    play.address = CLIENT
    play.now += 1.0
    assert ask(play, name(4)) == [Resolve(name(4))]
    assert ask(play, name(5))[0] == refused("client", "look_ups_limited")


def test_a_client_that_is_not_known_yet_is_not_rationed() -> None:
    """It hangs on no pattern until AWS has said who it is."""
    play = Play(policy=WILD, answers=(), limits=FEW, client=STRANGER)
    for number in range(5):
        assert ask(play, name(number)) == ([] if number else [LookUpClient(STRANGER)])


def test_what_could_not_be_looked_up_is_believed_for_a_while() -> None:
    """A client that insists costs no question; afterwards it is asked for again."""
    play = Play(policy=WILD, answers=())
    for known, wait in ((answer(name(1), ttl=600.0, error="nxdomain"), 30.0), (answer(name(1), ttl=0.0), 1.0)):
        assert ask(play, name(1)) == [Resolve(name(1))]
        assert play.answers(known)[0] == refused("client", "name_unresolved")
        play.now += wait - 0.1
        assert ask(play, name(1))[0] == refused("client", "name_unresolved")
        play.now += 0.2


def test_private_addresses_of_a_name_are_not_believed() -> None:
    """A pattern opens no way inwards, and who insists costs no question (D8)."""
    play = Play(policy=WILD, answers=())
    assert ask(play, name(1)) == [Resolve(name(1))]
    assert play.answers(answer(name(1), Ipv4(0x0A000203)))[0] == refused("client", "answer_private")
    assert ask(play, name(1))[0] == refused("client", "answer_private")


def test_learnt_names_are_bounded() -> None:
    """The one that was used least recently goes, and is looked up anew."""
    play = Play(policy=WILD, answers=(), limits=Limits(learnt_names=2))
    learn(play, 1, 2)
    assert ask(play, name(1))[0] == BY_PATTERN
    learn(play, 3)
    assert len(play.engine._judge._learnt) == 2
    assert ask(play, name(1))[0] == BY_PATTERN
    assert ask(play, name(2)) == [Resolve(name(2))]


def test_answers_that_nobody_may_use_are_not_kept() -> None:
    """Such as one for a name whose pattern went while DNS was asked."""
    play = Play(policy=WILD, answers=())
    ask(play, name(1))
    play.engine.on_policy(make_policy(), play.now)
    assert play.answers(answer(name(1), SERVER))[0] == refused("client", "name_not_listed")
    assert len(play.engine._judge._learnt) == 0
    assert play.engine._judge.known(name(1), play.now) == 0


def test_what_no_client_of_ours_asked_for_is_not_kept() -> None:
    """Answers go to every worker: what another one's clients learn takes no room here, and is not rationed twice."""
    play = Play(policy=WILD, answers=(), limits=FEW)
    for number in (1, 2, 3, 4):
        assert play.answers(answer(name(number), SERVER)) == []
        assert play.engine._judge.known(name(number), play.now) == 0
    assert len(play.engine._judge._learnt) == 0
    for number in (4, 3, 5, 6, 7):  # two were heard, which is as many as are remembered; three may be asked for
        assert ask(play, name(number)) == [Resolve(name(number))]
    assert ask(play, name(1))[0] == refused("client", "look_ups_limited")
    assert play.answers(answer(name(7), SERVER))[0] == BY_PATTERN


def test_a_learnt_name_has_fewer_addresses_than_a_listed_one() -> None:
    """There may be many of them, and whose they are, nobody wrote down."""
    many = answer(name(1), *(Ipv4(SERVER + number) for number in range(2 * LEARNT_ADDRESSES_MAX)))
    for policy, expected in ((WILD, LEARNT_ADDRESSES_MAX), (make_policy(names=str(name(1))), len(many.addresses))):
        play = Play(policy=policy, answers=())
        ask(play, name(1))
        play.answers(many)
        assert play.engine._judge.known(name(1), play.now) == expected


def test_a_name_whose_pattern_went_is_looked_up_by_another() -> None:
    """It is not compared with all the others meanwhile; the pattern that it was last used by is what counts."""
    play = Play(policy=make_policy(names="*.example.com,n*.example.com"), answers=())
    learn(play, 1)
    play.engine.on_policy(make_policy(names="n*.example.com"), play.now)
    assert ask(play, name(1))[0] == BY_PATTERN
    play.engine.on_policy(make_policy(names="*.example.com"), play.now)
    assert ask(play, name(1)) == [Resolve(name(1))]
    assert play.answers(answer(name(1), SERVER))[0] == BY_PATTERN


def test_names_are_forgotten_with_their_pattern() -> None:
    """One that is listed by now stays known."""
    play = Play(policy=WILD, answers=())
    learn(play, 1, 2)
    play.engine.on_policy(make_policy((CLIENT, STRANGER), names=PATTERN), play.now)
    assert len(play.engine._judge._learnt) == 2
    play.engine.on_policy(make_policy(names=f"{name(2)}"), play.now)
    assert len(play.engine._judge._learnt) == 0
    assert (play.engine._judge.known(name(1), play.now), play.engine._judge.known(name(2), play.now)) == (0, 1)
    assert ask(play, name(2))[0] == allowed("client", "name_listed")


def test_a_refused_pattern_grants_nothing() -> None:
    """It is as if it did not stand there."""
    play = Play(policy=make_policy(names=PATTERN, exposure=Exposure.PROHIBIT_ASTERISK), answers=())
    assert ask(play, name(1))[0] == refused("client", "port_not_listed")


def test_the_syn_gate_is_open_where_a_pattern_is_listed() -> None:
    """Nobody knows yet which addresses its names have (X11)."""
    for policy, passes in ((WILD, True), (make_policy(), False)):
        play = Play(policy=policy, answers=(), preferences=Preferences(syn_gate=Gating.ON))
        rules = policy.clients[CLIENT].ports[443]
        assert (play.engine._judge.refuse_syn(rules, SERVER, play.now) is None) == passes


def test_parts_of_a_hello_go_to_learnt_addresses_only() -> None:
    """A client that dribbles is let on where the address is known to be a matching name's."""
    dribble = hello(name(1))
    for passes in (True, False):
        play = Play(policy=WILD, answers=())
        if passes:
            learn(play, 1)
        play.client_port += 1
        told = [each for at in range(20) for each in play.client(dribble[at : at + 1], at)]
        assert any(isinstance(each, SetVerdict) and each.verdict is Verdict.PASS for each in told) == passes
        assert not any(isinstance(each, Log) for each in told)


def test_an_allowance_forgets_who_has_all_of_it() -> None:
    """So that its table is as large as the number of clients that are busy."""
    allowance = Allowance(2.0, 1.0)
    for number in range(10_000):
        assert allowance.take(Ipv4(number), number * 0.01)
    assert len(allowance._tokens) < 5_000
    assert allowance.take(Ipv4(9_999), 100.0)
    assert not allowance.take(Ipv4(9_999), 100.0)
    assert allowance.take(Ipv4(9_999), 101.0)


def test_an_answer_that_is_repeated_takes_one_place() -> None:
    """And the last one counts."""
    learnt = LearntNames(2)
    for error in ("nxdomain", ""):
        assert list(learnt.want(name(1), PATTERN)) == []
        learnt.answered(answer(name(1), error=error), 0.0, is_usable=not error)
        assert learnt.is_hopeless(name(1), 5.0) == bool(error)
    assert len(learnt) == 1
