"""Private networks that are opened to rules, and the times that preferences overrule: every part agrees on them."""

import asyncio
import random
import time
from collections.abc import Iterable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.address import PRIVATE_NETWORKS, Ipv4, Network, is_closed, is_private, parse_ipv4, without
from appliance.explanation import explain
from appliance.pace import BUSY_SHARE, JITTER, RETRY_MOST, pause
from appliance.policy.addresses import AddressBook, Answer
from appliance.policy.decision import Decision, decide_port
from appliance.policy.entry import SEEN_THRU, OpenFlow, entry_number
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import Change, PortRules, SeeThruGrant, compile_policy
from appliance.policy.preferences import DEFAULTS, Preferences
from appliance.preference_reader import PreferenceReader
from appliance.preferred import Preferred
from appliance.question import Question
from appliance.reason import Reason
from appliance.rest import Rest
from appliance.revocation import Entitlement
from appliance.settings import Settings
from appliance.standing import Standing

CLIENT, PEER, METADATA = map(parse_ipv4, ("10.0.1.10", "10.50.0.10", "169.254.169.254"))
VPC, OPENED = Network.parse("10.0.0.0/16"), (Network.parse("10.50.0.0/16"),)
NAME = Fqdn.parse("db.example.com")
TODAY = date(2027, 1, 5)
INVENTORY = Inventory(
    (SecurityGroup("sg-1", "web", (EgressRule("tcp", 443, 443, "0.0.0.0/0", f"discriminat:tls:{NAME}"),)),),
    (NetworkInterface("eni-1", ("sg-1",), (CLIENT,), ()),),
)
POLICY = compile_policy(INVENTORY)


# ---- arithmetic ----

FEW = st.builds(
    lambda address, length: Network(Ipv4(address >> 8 - length << 8 - length), 24 + length),
    st.integers(0, 255),
    st.integers(0, 8),
)


@given(st.lists(FEW, max_size=4), st.lists(FEW, max_size=4))
def test_what_is_left_is_exactly_what_is_in_no_hole(networks: list[Network], holes: list[Network]) -> None:
    """Address by address."""
    left = without(networks, holes)

    def members(of: Iterable[Network]) -> set[int]:
        return {each.address + offset for each in of for offset in range(each.size)}

    assert members(left) == members(networks) - members(holes)


@given(st.sampled_from(PRIVATE_NETWORKS), st.integers(0, 2**32 - 1), st.lists(FEW, max_size=3))
def test_the_kernel_and_the_engine_close_the_same(network: Network, bits: int, opened: list[Network]) -> None:
    """The set that the kernel has is what the engine holds closed."""
    opened = [Network(Ipv4(each.address + (10 << 24)), each.length) for each in opened]
    address = Ipv4(network.address | bits % network.size)

    assert any(address in each for each in without(PRIVATE_NETWORKS, opened)) is is_closed(address, opened)


# ---- decisions ----


def test_a_rule_may_reach_what_is_opened_and_nothing_else_that_is_private() -> None:
    """Only what is opened."""
    assert isinstance(decide_port(POLICY, CLIENT, 6, 443, PEER, opened=OPENED), PortRules)
    for address in (CLIENT, METADATA, parse_ipv4("10.51.0.10")):
        decision = decide_port(POLICY, CLIENT, 6, 443, address, opened=OPENED)
        assert isinstance(decision, Decision)
        assert decision.reason is Reason.DESTINATION_PRIVATE
    assert isinstance(decide_port(POLICY, CLIENT, 6, 443, PEER), Decision)


def standing(*, opened: tuple[Network, ...] = OPENED, until: date | None = None) -> Standing:
    held = Standing("i-1", TODAY)
    held.policy, held.opened = POLICY, opened
    held.grant = None if until is None else SeeThruGrant(until, "%default")
    return held


def test_see_thru_does_not_cover_what_is_opened() -> None:
    """It is opened to rules alone; the log claims nothing else."""
    granting = standing(until=TODAY)
    public = parse_ipv4("203.0.113.10")

    assert granting.lets_through(CLIENT, public, Reason.NAME_NOT_LISTED)
    assert not granting.lets_through(CLIENT, PEER, Reason.NAME_NOT_LISTED)
    for server, exerted in ((public, True), (PEER, False)):
        decision = Decision(allow=False, reason=Reason.NAME_NOT_LISTED)
        event = granting.event("client", (CLIENT, 40000, server, 443), decision).event
        assert event["see_thru_exerted"] is exerted


def test_an_open_flow_ends_when_its_network_is_closed() -> None:
    """Also one that see-thru opened before the network became private to it."""
    flow = OpenFlow(CLIENT, 40000, PEER, 443, entry_number("tls", str(NAME), 443))

    assert Entitlement(standing()).objection(flow) is None
    assert Entitlement(standing(opened=())).objection(flow) is Reason.DESTINATION_PRIVATE
    seen = OpenFlow(CLIENT, 40000, PEER, 443, SEEN_THRU)
    assert Entitlement(standing(until=TODAY)).objection(seen) is Reason.SEE_THRU_ENDED


# ---- answers ----


def test_answers_inside_are_believed_while_it_is_opened() -> None:
    """And none of the others beside them."""
    book = AddressBook()
    answer = Answer(NAME, (PEER, parse_ipv4("10.51.0.10")), 60.0)
    assert not book.learn(answer, 0.0)
    assert book.trouble(NAME) == "private"

    book.adjust(grace=None, opened=OPENED)
    assert book.learn(answer, 0.0)
    assert book.known(NAME, 1.0) == (PEER,)

    book.adjust(grace=None, opened=())
    assert book.known(NAME, 1.0) == ()
    assert not book.names_at(PEER)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(5, 500), st.floats(0, 50)), max_size=8),
    st.floats(0, 1000),
    st.floats(0, 1000),
    st.floats(0, 2000),
)
def test_grace_counts_for_what_is_held_as_if_it_had_always_been(
    answers: list[tuple[int, float, float]], before: float, after: float, later: float
) -> None:
    """A book that is told later of another grace believes what one made with it does."""
    turned, made = AddressBook(before), AddressBook(after)
    now = 0.0
    for last, ttl, wait in answers:
        now += wait
        for book in (turned, made):
            book.learn(Answer(NAME, (Ipv4((203 << 24) + last),), ttl), 0.0)
    turned.adjust(grace=after, opened=())

    for last in range(4):
        address = Ipv4((203 << 24) + last)
        expiry = made._expiries.get(NAME, {}).get(address, 0.0)
        if abs(expiry - later) > 1e-6:
            assert turned.holds(NAME, address, later) is made.holds(NAME, address, later)


def test_no_preference_brings_the_setting_back() -> None:
    """Null is what the book was made with."""
    book = AddressBook(100.0)
    book.learn(Answer(NAME, (parse_ipv4("203.0.113.1"),), 60.0), 0.0)
    book.adjust(grace=0.0, opened=())
    assert not book.holds(NAME, parse_ipv4("203.0.113.1"), 61.0)
    book.adjust(grace=None, opened=())
    assert book.holds(NAME, parse_ipv4("203.0.113.1"), 159.0)


# ---- reading ----


class Parameter:
    """A parameter that holds one text."""

    name = "P"

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> str | None:
        return self._text


def read(text: str) -> tuple[Preferences, list[Change]]:
    """Return what comes of a text in an appliance of the VPC, and what is told."""
    told: list[Change] = []
    applied: list[Preferences] = []

    async def put_in_force(preferences: Preferences) -> None:
        applied.append(preferences)

    async def play() -> PreferenceReader:
        reader = PreferenceReader(Settings(), Parameter(text), own=(VPC,), put_in_force=put_in_force, tell=told.extend)
        task = asyncio.create_task(reader.follow())
        await reader.settled.wait()
        task.cancel()
        return reader

    reader = asyncio.run(play())
    assert applied in ([], [reader.current])
    return reader.current, told


def test_the_vpc_itself_and_its_clients_stay_closed() -> None:
    """Whatever is written: it is told what is open in the end."""
    current, told = read('{"%default": {"private_destinations": ["10.0.0.0/14"], "clients": ["10.1.0.0/16"]}}')

    assert current.private_destinations == (Network.parse("10.2.0.0/15"),)
    (warning,) = [each for each in told if each.cat == "error"]
    assert warning.outcome == "ignored"
    assert warning.reason.endswith("private_destinations stays closed; open are 10.2.0.0/15")
    assert 'private_destinations: ["10.2.0.0/15"], was []' in [each.reason for each in told]


def test_what_is_beside_the_vpc_is_opened_as_it_is_written() -> None:
    """Without a warning."""
    current, told = read('{"%default": {"private_destinations": ["10.50.0.0/16"]}}')

    assert current.private_destinations == OPENED
    assert not [each for each in told if each.cat == "error"]


def test_nothing_is_opened_by_default() -> None:
    """Nor is any time other than the settings'."""
    assert DEFAULTS.private_destinations == ()
    assert (DEFAULTS.grace, DEFAULTS.policy_poll_interval, DEFAULTS.preferences_interval) == (None, None, None)


# ---- pace ----


def test_the_pace_is_the_interval_unless_aws_is_slow_or_away() -> None:
    """Within the jitter; never more than one part in BUSY_SHARE of the time, and a minute at most after failures."""
    for interval in (0.5, 10.0, 300.0):
        wait = pause(interval, spent=0.0, failures=0, dice=random.random())
        assert abs(wait - interval) <= JITTER * interval + 1e-9
    assert pause(1.0, spent=10.0, failures=0, dice=0.5) == BUSY_SHARE * 10.0
    assert [pause(10.0, spent=0.0, failures=count, dice=0.5) for count in (1, 2, 3, 10**6)] == [20, 40, 60, RETRY_MOST]


def test_one_slow_reading_does_not_stretch_the_pace_but_two_do() -> None:
    """A single late answer says nothing of how much there is to read."""

    async def rests(*readings: float) -> list[float]:
        rest, waits = Rest(), []
        for spent in readings:
            began = time.monotonic()
            await asyncio.wait_for(rest.take(0.01, spent=spent, failures=0), timeout=5.0)
            waits.append(time.monotonic() - began)
        return waits

    *single, second = asyncio.run(rests(30.0, 0.0, 30.0, 0.2))
    assert max(single) < 1.0
    assert second >= BUSY_SHARE * 0.2 * (1 - JITTER)


# ---- explain ----


def explained(address: str, **preferences: object) -> tuple[bool, str, tuple[str, ...]]:
    question = Question.parse(client="10.0.1.10", port="443", protocol="tls", name=str(NAME), address=address)
    text = str(preferences).replace("'", '"')
    preferred = Preferred.parse(f'{{"%default": {text}}}', "a file") if preferences else Preferred()
    explanation = explain(INVENTORY, question, TODAY, None, preferred)
    return explanation.passes, explanation.decision.reason, explanation.notes


@pytest.mark.parametrize(
    ("address", "opened", "reason"),
    [
        ("10.50.0.10", [], Reason.DESTINATION_PRIVATE),
        ("10.50.0.10", ["10.50.0.0/16"], Reason.NAME_LISTED),
        ("10.51.0.10", ["10.50.0.0/16"], Reason.DESTINATION_PRIVATE),
        ("10.0.1.10", ["10.0.0.0/8"], Reason.DESTINATION_PRIVATE),  # an interface of the VPC
    ],
)
def test_explain_knows_what_is_opened(address: str, opened: list[str], reason: Reason) -> None:
    """And says that the VPC's own stays closed."""
    passes, found, notes = explained(address, private_destinations=opened)

    assert found == reason
    assert passes is (reason is Reason.NAME_LISTED)
    assert any("a private destination of the preferences" in note for note in notes) is any(
        parse_ipv4(address) in Network.parse(each) for each in opened
    )


def test_explain_does_not_let_see_thru_cover_what_is_opened() -> None:
    """As in the engine."""
    question = Question.parse(
        client="10.0.1.10", port="443", protocol="tls", name="x.example.com", address="10.50.0.10"
    )
    text = '{"%default": {"private_destinations": ["10.50.0.0/16"], "see_thru": "2027-01-31"}}'
    explanation = explain(INVENTORY, question, TODAY, None, Preferred.parse(text, "a file"))

    assert explanation.decision.reason is Reason.NAME_NOT_LISTED
    assert not explanation.see_thru_exerted
    assert is_private(PEER)
