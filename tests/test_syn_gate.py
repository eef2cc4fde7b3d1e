"""The SYN gate: a SYN goes out to addresses of listed names alone, and waits while one may be (X11)."""

import datetime

import pytest

from appliance.command import Resolve
from appliance.limits import Limits
from appliance.policy.policy import EMPTY_POLICY
from appliance.policy.preferences import Gating, Preferences
from tests.playbook import (
    ACK,
    CLIENT,
    ELSEWHERE,
    GIT,
    MD5_OPTION,
    NAME,
    OTHER,
    SEEING,
    SERVER,
    STRANGER,
    SYN,
    Play,
    answer,
    make_policy,
    refused,
    segment,
    verdict,
)

GATED = Preferences(syn_gate=Gating.ON)
REFUSED = refused("client", "address_not_listed")


def syn(server: int = ELSEWHERE, *, client: int = CLIENT, port: int = 443, **odd: object) -> bytes:
    return segment(client, 40000, server, port, 1000, 0, **{"flags": SYN, **odd})


def gated(**options: object) -> Play:
    return Play(preferences=GATED, **options)


def test_off_by_default() -> None:
    """The kernel hands over what its sets do not know yet, and it passes to any address."""
    assert Play().gate(syn()) == verdict("pass", 1)


@pytest.mark.parametrize("port", [443, 22, 8443])
def test_addresses_of_listed_names_pass(port: int) -> None:
    """Whatever the protocol of the rule, and without a question."""
    assert gated().gate(syn(SERVER, port=port)) == verdict("pass", 1)


def test_another_address_waits_for_the_names_of_its_port() -> None:
    """It is refused when none of them has it; its detail says what was compared."""
    play = gated()
    assert play.gate(syn(port=8443)) == [Resolve(NAME), Resolve(GIT)]
    assert play.engine.held == 1
    assert play.answers(answer(NAME, SERVER)) == []
    assert play.answers(answer(GIT, SERVER)) == [*verdict("deny", 1), REFUSED]
    assert "198.51.100.9 is no address of api.example.com, git.example.com" in str(play.events[0]["reason"])
    assert play.is_empty


def test_an_address_that_a_look_up_brings_passes_at_once() -> None:
    """The other names need not be awaited (D1)."""
    play = gated()
    play.gate(syn(port=8443))
    assert play.answers(answer(NAME, ELSEWHERE)) == verdict("pass", 1)
    assert play.is_empty


@pytest.mark.parametrize("known", [answer(NAME, error="servfail"), answer(NAME)])
def test_names_that_have_no_address_open_nothing(known: object) -> None:
    """Nor does an answer that never comes: the wait is bounded."""
    play = gated(answers=())
    play.gate(syn())
    assert play.answers(known) == [*verdict("deny", 1), REFUSED]
    play.gate(syn())
    assert play.wait(4.9) == []
    assert play.wait(0.2) == [*verdict("deny", 2), REFUSED]
    assert play.is_empty


def test_a_name_of_another_port_does_not_count() -> None:
    """GIT has the address, and is listed for 22 and 8443 alone."""
    play = gated(answers=(answer(NAME, SERVER), answer(GIT, ELSEWHERE)))
    assert play.gate(syn()) == [Resolve(NAME)]
    assert play.answers(answer(NAME, SERVER)) == [*verdict("deny", 1), REFUSED]
    assert play.gate(syn(port=22)) == verdict("pass", 2)


def test_a_question_is_asked_once() -> None:
    """However many SYNs wait for it; all of them go on with the answer."""
    play = gated()
    assert play.gate(syn()) == [Resolve(NAME)]
    assert play.gate(syn()) == []
    assert play.answers(answer(NAME, SERVER)) == [*verdict("deny", 1), REFUSED, *verdict("deny", 2), REFUSED]


def test_what_is_held_is_bounded() -> None:
    """Beyond it a SYN is dropped, not refused: TCP sends it again; other clients have their own share."""
    other = make_policy((CLIENT, STRANGER))
    play = gated(policy=other, limits=Limits(held_syns_per_client=2))
    play.gate(syn())
    play.gate(syn())
    assert play.gate(syn()) == [*verdict("drop", 3), refused("client", "overloaded")]
    assert play.gate(syn(client=STRANGER)) == []
    play = gated(limits=Limits(held_packets=1))
    play.gate(syn())
    assert play.gate(syn())[:1] == verdict("drop", 2)


def test_names_asked_for_are_bounded() -> None:
    """As for a hello."""
    play = gated(limits=Limits(names_per_look_up=1))
    assert play.gate(syn(port=8443)) == [Resolve(NAME)]


@pytest.mark.parametrize(
    ("odd", "code"),
    [({"payload": b"x"}, "syn_data"), ({"options": MD5_OPTION}, "tcp_md5"), ({"flags": ACK}, "mid_stream")],
)
def test_a_fault_of_the_segment_comes_first(odd: dict, code: str) -> None:
    """Nothing is asked on its behalf."""
    assert gated().gate(syn(**odd)) == [*verdict("deny", 1), refused("client", code)]


def test_a_port_that_is_not_listed_is_refused_as_ever() -> None:
    """Without a question."""
    assert gated().gate(syn(port=444)) == [*verdict("deny", 1), refused("client", "port_not_listed")]


def test_see_thru_lets_pass() -> None:
    """The hello is inspected for the log, and passes."""
    assert gated().gate(syn(client=SEEING)) == verdict("pass", 1)
    everybody = Preferences(syn_gate=Gating.ON, see_thru=datetime.date(2027, 1, 20))
    assert Play(preferences=everybody).gate(syn()) == verdict("pass", 1)


def test_an_unknown_client_waits_for_aws_and_then_for_dns() -> None:
    """One after the other; a policy that is gone meanwhile refuses."""
    play = gated()
    play.gate(syn(client=STRANGER))
    assert play.policy(make_policy((STRANGER,))) == [Resolve(NAME)]
    assert play.engine.held == 1
    play.policy(EMPTY_POLICY)
    assert play.answers(answer(NAME, ELSEWHERE)) == [*verdict("deny", 1), refused("client", "policy_not_loaded")]
    assert play.engine.held == 0


def test_it_counts_from_the_next_packet_on() -> None:
    """Preferences change while everything runs; what is held is decided by those in force."""
    play = gated()
    play.gate(syn())
    play.engine.on_preferences(Preferences())
    assert play.answers(answer(OTHER, SERVER)) == []
    assert play.answers(answer(NAME, SERVER)) == verdict("pass", 1)
    assert play.gate(syn()) == verdict("pass", 2)
    play.engine.on_preferences(GATED)
    assert play.gate(syn()) == [Resolve(NAME)]


def test_an_address_that_expired_is_asked_for() -> None:
    """The grace period is bounded (D9)."""
    play = gated()
    play.wait(60 + 3600 + 1)
    assert play.gate(syn(SERVER)) == [Resolve(NAME)]
