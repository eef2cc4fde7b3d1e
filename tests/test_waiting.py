"""Waiting: questions to DNS and AWS on behalf of flows."""

from appliance.command import LookUpClient, Resolve
from appliance.flow import Flow
from appliance.limits import Limits
from appliance.policy.fqdn import Fqdn
from appliance.waiting import Waiting
from appliance.wire.stream import Stream
from tests.playbook import CLIENT, GIT, NAME, OTHER, SERVER


def flow(port: int = 1) -> Flow:
    return Flow((CLIENT, port, SERVER, 443), 1000, Stream(100, 10))


def test_a_name_is_asked_for_once_for_all_flows() -> None:
    """The answer is for all of them; then it can be asked for again."""
    waiting, out = Waiting(Limits()), []
    one, other = flow(1), flow(2)
    assert waiting.ask_names(one, [NAME], out)
    assert waiting.ask_names(other, [NAME, GIT], out)
    assert out == [Resolve(NAME), Resolve(GIT)]
    assert set(waiting.answered_name(NAME)) == {one, other}
    assert (one.waiting_for, other.waiting_for) == (set(), {GIT})
    assert waiting.answered_name(NAME) == []
    waiting.ask_names(one, [NAME], out)
    assert out[2:] == [Resolve(NAME)]


def test_a_client_waits_in_nobody_else_s_queue() -> None:
    """It asks for itself, and what was refused to one is nothing to the other."""
    waiting, out = Waiting(Limits()), []
    one, other = flow(), Flow((CLIENT + 1, 1, SERVER, 443), 1000, Stream(100, 10))
    waiting.ask_names(one, [NAME], out)
    waiting.ask_names(other, [NAME], out)
    assert [(command.name, command.client) for command in out] == [(NAME, CLIENT), (NAME, CLIENT + 1)]
    assert waiting.answered_name(NAME, CLIENT) == [one]
    assert waiting.answered_name(NAME, CLIENT) == []
    assert (one.waiting_for, other.waiting_for) == (set(), {NAME})
    waiting.forget(one)
    assert waiting.answered_name(NAME) == [other]


def test_a_flow_asks_a_few_times_only() -> None:
    """Names and clients count together."""
    waiting, one, out = Waiting(Limits(look_ups_per_flow=2)), flow(), []
    assert waiting.ask_client(one, out)
    assert waiting.ask_names(one, [NAME], out)
    assert not waiting.ask_names(one, [GIT], out)
    assert not waiting.ask_client(one, out)
    assert out == [LookUpClient(CLIENT), Resolve(NAME)]


def test_a_flow_asks_for_so_many_names_at_once() -> None:
    """SSH may have thousands listed."""
    waiting, out = Waiting(Limits(names_per_look_up=2)), []
    assert waiting.ask_names(flow(), [NAME, GIT, OTHER], out)
    assert out == [Resolve(NAME), Resolve(GIT)]
    assert not waiting.ask_names(flow(), [], out)


def test_a_client_is_asked_about_once() -> None:
    """Both flows go on with the answer."""
    waiting, out = Waiting(Limits()), []
    one, other = flow(1), flow(2)
    waiting.ask_client(one, out)
    waiting.ask_client(other, out)
    assert out == [LookUpClient(CLIENT)]
    assert list(waiting.clients) == [CLIENT]
    assert set(waiting.answered_client(CLIENT)) == {one, other}
    assert list(waiting.clients) == []


def test_a_forgotten_flow_leaves_nothing() -> None:
    """Others still wait."""
    waiting, out = Waiting(Limits()), []
    one, other = flow(1), flow(2)
    waiting.ask_names(one, [NAME, GIT], out)
    waiting.ask_names(other, [NAME], out)
    waiting.ask_client(one, out)
    waiting.forget(one)
    assert waiting.answered_name(GIT) == []
    assert waiting.answered_name(NAME) == [other]
    assert waiting.answered_client(CLIENT) == []
    waiting.forget(other)
    assert (waiting._by_name, waiting._by_client) == ({}, {})
    waiting.forget(Flow((CLIENT, 9, SERVER, 443), 0, Stream(1, 1)))


def test_names_are_compared_as_names() -> None:
    """However they were written."""
    waiting, one, out = Waiting(Limits()), flow(), []
    waiting.ask_names(one, [Fqdn.parse("API.example.com.")], out)
    assert waiting.answered_name(NAME) == [one]
