"""The resolver against a real name server on loopback."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from appliance.address import format_ipv4
from appliance.edge.resolver import Resolver
from appliance.edge.stub import ResolverLimits
from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn
from tests.dns_server import NEGATIVE_TTL, DnsServer, record

pytestmark = pytest.mark.sockets

QUICK = ResolverLimits(try_timeout=0.3, total_timeout=0.6)
MANY = [f"203.0.113.{last}" for last in range(1, 120)]

ZONE = {
    "plain.example.com": {"addresses": ["203.0.113.10", "203.0.113.11"], "ttl": 60},
    "chain.example.com": {"cname": "chain-1.example.net", "ttl": 300},
    "chain-1.example.net": {"cname": "chain-2.example.net", "ttl": 20},
    "chain-2.example.net": {"addresses": ["203.0.113.12"], "ttl": 40},
    "links.example.com": {"cname": "links-1.example.net", "ttl": 300, "one_link": True},
    "links-1.example.net": {"cname": "links-2.example.net", "ttl": 200, "one_link": True},
    "links-2.example.net": {"addresses": ["203.0.113.13"], "ttl": 250},
    "dangling.example.com": "nowhere.example.net",
    "dangling-link.example.com": {"cname": "nowhere.example.net", "one_link": True},
    "loop.example.com": "loop-1.example.net",
    "loop-1.example.net": "loop.example.com",
    "loop-link.example.com": {"cname": "loop-link-1.example.net", "one_link": True},
    "loop-link-1.example.net": {"cname": "loop-link.example.com", "one_link": True},
    "empty.example.com": {},
    "servfail.example.com": {"rcode": "SERVFAIL"},
    "refused.example.com": {"rcode": "REFUSED"},
    "silent.example.com": {"drop": True},
    "slow.example.com": {"addresses": ["203.0.113.14"], "delay": 0.15},
    "truncated.example.com": {"addresses": ["203.0.113.15"], "truncate": True},
    "large.example.com": {"addresses": MANY},
    "private.example.com": ["10.1.2.3", "169.254.169.254"],
    "forged-id.example.com": {"addresses": ["203.0.113.16"], "forged": "id"},
    "forged-question.example.com": {"addresses": ["203.0.113.17"], "forged": "question"},
    "only-forged.example.com": {"addresses": ["203.0.113.18"], "forged": "only-question"},
    "zero.example.com": {"addresses": ["203.0.113.19"], "ttl": 0},
    **{f"deep-{link}.example.com": {"cname": f"deep-{link + 1}.example.com", "one_link": True} for link in range(30)},
}


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer(zone=ZONE) as running:
        yield running


def run(server: DnsServer, story: Callable[[Resolver], Awaitable[None]], **changes: object) -> list[Answer]:
    """Tell a story with a resolver of the server; return every answer it announced."""
    answers: list[Answer] = []

    async def tell() -> None:
        limits = changes.pop("limits", QUICK)
        nameservers = changes.pop("nameservers", [server.address])
        resolver = Resolver(nameservers, server.port, on_answer=answers.append, limits=limits)  # type: ignore[arg-type]
        try:
            await story(resolver)
        finally:
            await resolver.close()

    asyncio.run(tell())
    return answers


def look_up(server: DnsServer, name: str, **changes: object) -> Answer:
    found: list[Answer] = []

    async def story(resolver: Resolver) -> None:
        found.append(await resolver.look_up(Fqdn.parse(name)))

    announced = run(server, story, **changes)

    assert found == announced
    return found[0]


def shown(answer: Answer) -> list[str]:
    return [format_ipv4(address) for address in answer.addresses]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition has not come true"
        await asyncio.sleep(0.01)


ANSWERS = [
    # name                         addresses                          ttl    why it is here
    ("plain.example.com",          ["203.0.113.10", "203.0.113.11"],  60),   # all addresses of an answer
    ("chain.example.com",          ["203.0.113.12"],                  20),   # a chain in one response, least TTL
    ("links.example.com",          ["203.0.113.13"],                  200),  # a chain that takes three queries
    ("slow.example.com",           ["203.0.113.14"],                  60),
    ("truncated.example.com",      ["203.0.113.15"],                  60),   # D5: again over TCP
    ("large.example.com",          MANY,                              60),   # D5: larger than a datagram
    ("private.example.com",        ["10.1.2.3", "169.254.169.254"],   60),   # D8: judged by the address book
    ("forged-id.example.com",      ["203.0.113.16"],                  60),   # D10: ignored, and waited on
    ("forged-question.example.com", ["203.0.113.17"],                 60),   # D10
    ("zero.example.com",           ["203.0.113.19"],                  0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "addresses", "ttl"), ANSWERS, ids=[row[0] for row in ANSWERS])
def test_an_answer_is_for_the_name_that_was_asked(
    server: DnsServer, name: str, addresses: list[str], ttl: float
) -> None:
    """However long the chain and whatever the transport, the answer carries the asked name and the least TTL."""
    answer = look_up(server, name)

    assert (answer.name, answer.error) == (Fqdn.parse(name), "")
    assert sorted(shown(answer)) == sorted(addresses)
    assert answer.ttl == ttl


FAILURES = [
    # name                        error
    ("nowhere.example.com",       "nxdomain"),
    ("dangling.example.com",      "nxdomain"),    # a CNAME to a name that is gone
    ("dangling-link.example.com", "nxdomain"),    # the same, in two responses
    ("empty.example.com",         "no_address"),  # NODATA, as a name with AAAA records alone has
    ("loop.example.com",          "servfail"),    # D4: a loop within a response
    ("loop-link.example.com",     "servfail"),    # D4: a loop over responses
    ("deep-0.example.com",        "servfail"),    # D4: a chain without end
    ("servfail.example.com",      "servfail"),
    ("refused.example.com",       "servfail"),
    ("silent.example.com",        "timeout"),     # D14
    ("only-forged.example.com",   "timeout"),     # D10: a mismatch is no answer
]  # fmt: skip


@pytest.mark.parametrize(("name", "error"), FAILURES, ids=[row[0] for row in FAILURES])
def test_trouble_is_an_answer_with_a_word_for_it(server: DnsServer, name: str, error: str) -> None:
    """A look-up that fails names its error, brings no address and says how long it is believed."""
    answer = look_up(server, name)

    assert (answer.addresses, answer.error) == ((), error)
    assert QUICK.negative_floor <= answer.ttl <= QUICK.negative_ceiling


def test_a_negative_answer_is_believed_as_long_as_its_soa_says(server: DnsServer) -> None:
    """The TTL of NXDOMAIN is the SOA minimum."""
    assert look_up(server, "nowhere.example.com").ttl == NEGATIVE_TTL


def test_truncation_leads_to_tcp(server: DnsServer) -> None:
    """A truncated response is asked for again over TCP, once."""
    look_up(server, "truncated.example.com")

    assert [query.transport for query in server.queries] == ["udp", "tcp"]


def test_ports_and_ids_differ(server: DnsServer) -> None:
    """Every query leaves from another port, so that a forger has both to guess."""

    async def story(resolver: Resolver) -> None:
        for last in range(8):
            await resolver.look_up(Fqdn.parse(f"nowhere-{last}.example.com"))

    run(server, story)

    assert len({query.port for query in server.queries}) >= 7


def test_the_next_name_server_is_asked_when_one_fails(server: DnsServer) -> None:
    """A closed port, which ICMP reports, costs no time; the second name server answers."""
    started = time.monotonic()
    answer = look_up(server, "plain.example.com", nameservers=["127.0.0.77", server.address])

    assert shown(answer)
    assert time.monotonic() - started < QUICK.try_timeout


def test_a_look_up_ends_in_time(server: DnsServer) -> None:
    """Whatever the name servers do not do, a look-up is over by the total timeout."""
    server.down = True
    started = time.monotonic()
    answer = look_up(server, "plain.example.com", nameservers=[server.address] * 5)

    assert answer.error == "timeout"
    assert time.monotonic() - started < QUICK.total_timeout + 0.3


def test_concurrent_look_ups_share_one_query(server: DnsServer) -> None:
    """A hundred held packets of one name ask once, and the first to give up takes nothing from the others."""

    async def story(resolver: Resolver) -> None:
        name = Fqdn.parse("slow.example.com")
        first = asyncio.create_task(resolver.look_up(name))
        others = [asyncio.create_task(resolver.look_up(name, fresh=True)) for _ in range(99)]
        await asyncio.sleep(0.05)
        first.cancel()
        answers = await asyncio.gather(*others)
        assert {tuple(shown(answer)) for answer in answers} == {("203.0.113.14",)}
        with pytest.raises(asyncio.CancelledError):
            await first

    announced = run(server, story)

    assert server.asked("slow.example.com") == 1
    assert len(announced) == 1


def test_memory_answers_until_the_ttl_and_fresh_asks_again(server: DnsServer) -> None:
    """A second look-up costs no query; a fresh one always does, however many ask, and waits for its turn."""
    limits = ResolverLimits(same_name=0.2)

    async def story(resolver: Resolver) -> None:
        name = Fqdn.parse("plain.example.com")
        started = time.monotonic()
        await resolver.look_up(name)
        await resolver.look_up(name)
        assert server.asked("plain.example.com") == 1
        await asyncio.gather(*(resolver.look_up(name, fresh=True) for _ in range(10)))
        assert server.asked("plain.example.com") == 2
        assert time.monotonic() - started >= limits.same_name
        await resolver.look_up(name)
        assert server.asked("plain.example.com") == 2

    run(server, story, limits=limits)


# what is asked for, and queries of one look-up
PRESSED = [("turning.example.com", 1), ("missing.example.com", 1), ("servfail.example.com", 2)]


@pytest.mark.parametrize(("name", "tries"), PRESSED)
def test_however_often_a_name_is_wanted_it_is_asked_for_once_an_interval(
    server: DnsServer, name: str, tries: int
) -> None:
    """Who makes flow after flow under one listed name makes no flood of queries, whatever is answered (D13)."""
    limits = ResolverLimits(same_name=0.1)
    server.zone["turning.example.com"] = record({"addresses": MANY, "subset": 1, "ttl": 0})
    began = time.monotonic()

    async def press(resolver: Resolver) -> None:
        while time.monotonic() < began + 1:
            await resolver.look_up(Fqdn.parse(name), fresh=True)

    async def story(resolver: Resolver) -> None:
        await asyncio.gather(*(press(resolver) for _ in range(50)))

    run(server, story, limits=limits)

    most = (time.monotonic() - began) / limits.same_name + 1
    assert 2 * tries <= server.asked(name) <= most * tries


def test_a_name_that_has_just_changed_is_found(server: DnsServer) -> None:
    """The client's resolver may have a newer answer than the one we got a moment ago (D1)."""

    async def story(resolver: Resolver) -> None:
        name = Fqdn.parse("just-born.example.com")
        assert (await resolver.look_up(name)).error == "nxdomain"
        server.zone["just-born.example.com"] = record(["203.0.113.77"])
        assert shown(await resolver.look_up(name, fresh=True)) == ["203.0.113.77"]

    run(server, story, limits=ResolverLimits(same_name=0.2))


def test_fresh_look_ups_see_every_turn_of_a_rotation(server: DnsServer) -> None:
    """Answers of a name that shows two of eight addresses add up to all eight (D3)."""
    addresses = [f"203.0.113.{last}" for last in range(1, 9)]
    server.zone["s3.example.com"] = record({"addresses": addresses, "subset": 2, "ttl": 5})

    async def story(resolver: Resolver) -> None:
        for _ in range(4):
            await resolver.look_up(Fqdn.parse("s3.example.com"), fresh=True)

    announced = run(server, story, limits=ResolverLimits(same_name=0.0))

    assert sorted(itertools.chain.from_iterable(map(shown, announced))) == addresses


def test_look_ups_in_flight_are_bounded(server: DnsServer) -> None:
    """Beyond the limit a look-up is refused at once, with its own error, and no query leaves."""

    async def story(resolver: Resolver) -> None:
        names = [Fqdn.parse(f"slow-{number}.example.com") for number in range(6)]
        for name in names:
            server.zone[str(name)] = record({"addresses": ["203.0.113.1"], "delay": 0.1})
        answers = await asyncio.gather(*map(resolver.look_up, names))
        assert [answer.error for answer in answers] == ["", "", "", "", "overloaded", "overloaded"]

    run(server, story, limits=ResolverLimits(urgent_concurrency=4))

    assert len(server.queries) == 4


def test_one_client_holds_up_nobody_else(server: DnsServer) -> None:
    """Silent names of one client take its own share; another's look-up is answered at once (D13)."""

    async def story(resolver: Resolver) -> None:
        names = [Fqdn.parse(f"mute-{number}.example.com") for number in range(12)]
        for name in names:
            server.zone[str(name)] = record({"drop": True})
        flood = asyncio.gather(*(resolver.look_up(name, client=1) for name in names))
        await until(lambda: len(server.queries) >= 4)
        answer = await resolver.look_up(Fqdn.parse("plain.example.com"), client=2)
        assert answer.error == ""
        assert not flood.done()
        assert [answer.error for answer in await flood].count("overloaded") >= 4

    run(server, story, limits=replace(QUICK, urgent_concurrency=8, client_concurrency=4, client_calls=8))


def test_fat_answers_are_not_parsed(server: DnsServer) -> None:
    """Too many records fail with an error of their own, over TCP too, and the name is not asked again at once."""
    server.zone["fat.example.com"] = record({"addresses": [f"203.0.{n >> 8}.{n & 255}" for n in range(3900)]})
    server.zone["many.example.com"] = record({"addresses": [f"203.0.{n >> 8}.{n & 255}" for n in range(300)]})

    assert look_up(server, "fat.example.com", limits=ResolverLimits()).error == "too_large"
    assert look_up(server, "many.example.com", limits=ResolverLimits()).error == "too_large"
    assert server.queries[-1].transport == "tcp"


def test_names_that_fail_are_asked_for_ever_less_often(server: DnsServer) -> None:
    """Each failure doubles the wait."""

    async def story(resolver: Resolver) -> None:
        resolver.maintain(frozenset({Fqdn.parse("servfail.example.com")}))
        await until(lambda: resolver.queries >= 4)

    began = time.monotonic()
    run(server, story, limits=replace(QUICK, trouble=0.1, jitter=0.0))

    assert time.monotonic() - began >= 0.1 + 0.2 + 0.4


def test_look_ups_that_are_waited_for_have_a_rate(server: DnsServer) -> None:
    """Whoever has many names at hand sends no more questions than the rate; who shares one needs no leave (D13)."""

    async def story(resolver: Resolver) -> None:
        names = [Fqdn.parse(f"nowhere-{number}.example.com") for number in range(12)]
        answers = await asyncio.gather(*map(resolver.look_up, names))
        assert [answer.error for answer in answers].count("overloaded") == 10
        errors = {"overloaded"}
        while "overloaded" in errors:  # until there is a token
            shared = await asyncio.gather(*(resolver.look_up(Fqdn.parse("slow.example.com")) for _ in range(20)))
            errors = {answer.error for answer in shared}
        assert errors == {""}

    run(server, story, limits=ResolverLimits(urgent_rate=2.0))

    assert len(server.queries) == 3


def test_a_rate_for_what_is_waited_for_leaves_refreshes_alone(server: DnsServer) -> None:
    """While one client uses it up, listed names are asked for as ever."""

    async def story(resolver: Resolver) -> None:
        await asyncio.gather(*(resolver.look_up(Fqdn.parse(f"nowhere-{number}.example.com")) for number in range(6)))
        resolver.maintain(frozenset({Fqdn.parse("plain.example.com")}))
        await until(lambda: server.asked("plain.example.com"))

    run(server, story, limits=ResolverLimits(urgent_rate=1.0))

    assert len(server.queries) == 2


def test_remembered_answers_are_bounded(server: DnsServer) -> None:
    """The oldest remembered answer makes room for the newest."""

    async def story(resolver: Resolver) -> None:
        for number in (0, 1, 2, 0):
            await resolver.look_up(Fqdn.parse(f"nowhere-{number}.example.com"))

    run(server, story, limits=ResolverLimits(recent=2))

    assert server.asked("nowhere-0.example.com") == 2


FAST = ResolverLimits(refresh_floor=0.1, negative_floor=0.1, trouble=0.1, try_timeout=0.3, total_timeout=0.6)


def test_listed_names_are_refreshed_at_their_ttl(server: DnsServer) -> None:
    """A name is asked for when it is listed and again at about its TTL, not sooner than the floor."""
    server.zone["short.example.com"] = record({"addresses": ["203.0.113.1"], "ttl": 0})
    server.zone["long.example.com"] = record({"addresses": ["203.0.113.2"], "ttl": 3600})
    listed = frozenset({Fqdn.parse("short.example.com"), Fqdn.parse("long.example.com")})

    async def story(resolver: Resolver) -> None:
        resolver.maintain(listed)
        await until(lambda: server.asked("short.example.com") >= 5)

    announced = run(server, story, limits=FAST)

    times = [query.at for query in server.queries if query.name == "short.example.com"]
    assert all(later - earlier >= 0.09 for earlier, later in itertools.pairwise(times))
    assert server.asked("long.example.com") == 1
    assert {answer.name for answer in announced} == listed


def test_a_change_in_the_zone_is_seen_while_running(server: DnsServer) -> None:
    """A refresh announces the new address; a failure in between is announced too and stops nothing."""
    name = "moves.example.com"
    server.zone[name] = record({"addresses": ["203.0.113.1"], "ttl": 0})

    async def story(resolver: Resolver) -> None:
        resolver.maintain(frozenset({Fqdn.parse(name)}))
        await until(lambda: announced_so_far(resolver, server, 1))
        server.zone[name] = record({"rcode": "SERVFAIL"})
        await until(lambda: resolver.failures >= 1)
        server.zone[name] = record({"addresses": ["203.0.113.2"], "ttl": 0})
        failures = resolver.failures
        await until(lambda: resolver.queries - failures >= 3)

    announced = run(server, story, limits=FAST)

    assert shown(announced[0]) == ["203.0.113.1"]
    assert "servfail" in [answer.error for answer in announced]
    assert shown(announced[-1]) in (["203.0.113.2"], [])
    assert ["203.0.113.2"] in list(map(shown, announced))


def announced_so_far(resolver: Resolver, server: DnsServer, count: int) -> bool:
    return resolver.queries >= count and len(server.queries) >= count


def test_names_that_are_dropped_are_not_asked_for_again(server: DnsServer) -> None:
    """After a change of policy the dropped name is left alone and the new one is asked for at once."""
    server.zone["old.example.com"] = record({"addresses": ["203.0.113.1"], "ttl": 0})
    server.zone["new.example.com"] = record({"addresses": ["203.0.113.2"], "ttl": 0})

    async def story(resolver: Resolver) -> None:
        resolver.maintain(frozenset({Fqdn.parse("old.example.com")}))
        await until(lambda: server.asked("old.example.com") >= 2)
        resolver.maintain(frozenset({Fqdn.parse("new.example.com")}))
        asked = server.asked("old.example.com")
        await until(lambda: server.asked("new.example.com") >= 4)
        assert server.asked("old.example.com") <= asked + 1  # one may have been in flight

    run(server, story, limits=FAST)


def test_new_names_come_before_refreshes(server: DnsServer) -> None:
    """With every name overdue, a name that was just listed is the next to be asked for."""
    old = [Fqdn.parse(f"old-{number}.example.com") for number in range(40)]
    for name in old:
        server.zone[str(name)] = record({"addresses": ["203.0.113.1"], "ttl": 0})

    async def story(resolver: Resolver) -> None:
        resolver.maintain(frozenset(old))
        await until(lambda: len(server.queries) >= 100)
        before = len(server.queries)
        resolver.maintain(frozenset([*old, Fqdn.parse("new.example.com")]))
        await until(lambda: server.asked("new.example.com"))
        position = [query.name for query in server.queries].index("new.example.com")
        assert position - before <= 25  # a batch or two

    run(server, story, limits=ResolverLimits(refresh_floor=0.01, rate=200.0))


def test_background_rate_and_concurrency_hold(server: DnsServer) -> None:
    """A thousand new names leave at the rate, in small bursts, never more at once than the concurrency."""
    names = frozenset(Fqdn.parse(f"n-{number}.example.com") for number in range(1000))
    for name in names:
        server.zone[str(name)] = record({"addresses": ["203.0.113.1"], "delay": 0.2})

    async def story(resolver: Resolver) -> None:
        resolver.maintain(names)
        await asyncio.sleep(1.0)
        assert resolver.backlog > 700
        urgent = await resolver.look_up(Fqdn.parse("plain.example.com"))
        assert shown(urgent)  # not behind the backlog

    run(server, story, limits=ResolverLimits(rate=100.0, concurrency=8))

    assert server.busiest <= 8
    assert 10 <= len(server.queries) <= 110


def test_nobody_answering_does_not_stop_the_refreshes(server: DnsServer) -> None:
    """When the name server comes back after an outage, refreshes go on (D14)."""

    async def story(resolver: Resolver) -> None:
        server.down = True
        resolver.maintain(frozenset({Fqdn.parse("plain.example.com")}))
        await until(lambda: resolver.failures >= 1)
        server.down = False
        await until(lambda: resolver.queries > resolver.failures)

    announced = run(server, story, limits=FAST)

    assert announced[0].error == "timeout"
    assert shown(announced[-1])


def test_a_fault_in_the_callback_does_not_stop_the_refreshes(
    server: DnsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of `on_answer` is logged, and the next refresh comes all the same."""
    server.zone["zero.example.com"] = record({"addresses": ["203.0.113.1"], "ttl": 0})

    def fault(_: Answer) -> None:
        raise RuntimeError("a fault of ours")

    async def tell() -> None:
        resolver = Resolver([server.address], server.port, on_answer=fault, limits=FAST)
        resolver.maintain(frozenset({Fqdn.parse("zero.example.com")}))
        await until(lambda: server.asked("zero.example.com") >= 3)
        await resolver.close()

    with contextlib.suppress(RuntimeError):
        asyncio.run(tell())

    assert "look-up failed" in caplog.text


def test_a_large_policy_is_taken_without_holding_the_loop(server: DnsServer) -> None:
    """Listing the same 20,000 names again costs next to nothing, and dropping them leaves no litter."""

    async def story(resolver: Resolver) -> None:
        names = frozenset(Fqdn.parse(f"n-{number}.example.com") for number in range(20_000))
        resolver.maintain(names)
        resolver.maintain(names)
        assert resolver.backlog == 20_000
        resolver.maintain(frozenset())
        await asyncio.sleep(0.2)
        assert resolver.backlog == 0
        assert not resolver._due

    run(server, story, limits=ResolverLimits(rate=10.0))
