"""The address book: what look-ups taught, and for how long it is believed."""

import pytest

from appliance.address import Ipv4, parse_ipv4
from appliance.policy.addresses import ADDRESSES_MAX, TTL_CEILING, TTL_FLOOR, AddressBook, Answer
from appliance.policy.fqdn import Fqdn

NAME = Fqdn.parse("api.example.com")
OTHER = Fqdn.parse("www.example.com")
GRACE = 100.0  # seconds

ONE, TWO, THREE = (parse_ipv4(text) for text in ("203.0.113.1", "203.0.113.2", "203.0.113.3"))
PRIVATE = parse_ipv4("10.0.0.1")


def answer(*addresses: Ipv4, ttl: float = 60.0, error: str = "", name: Fqdn = NAME) -> Answer:
    return Answer(name, addresses, ttl, error)


def book_of(*answers: Answer, now: float = 0.0) -> AddressBook:
    book = AddressBook(grace=GRACE)
    for each in answers:
        book.learn(each, now)
    return book


def test_nothing_is_known_at_first() -> None:
    """A new book has no address for any name, and no trouble either."""
    book = AddressBook()

    assert not book.holds(NAME, ONE, 0.0)
    assert book.known(NAME, 0.0) == ()
    assert not book.knows(NAME)
    assert book.trouble(NAME) == ""
    assert list(book.names_at(ONE)) == []


def test_answers_accumulate() -> None:
    """What one answer leaves out is still held from the one before (evasions D1, D3)."""
    book = book_of(answer(TWO, ONE), answer(THREE))

    assert book.known(NAME, 0.0) == (ONE, TWO, THREE)
    assert all(book.holds(NAME, address, 0.0) for address in (ONE, TWO, THREE))
    assert not book.holds(OTHER, ONE, 0.0)


@pytest.mark.parametrize(
    ("ttl", "lives"),
    [
        (60.0, 60.0),
        (0.0, TTL_FLOOR),  # RFC 1035 allows it; some load balancers do it
        (-1.0, TTL_FLOOR),
        (2.0**31, TTL_CEILING),
    ],
)
def test_an_address_expires_after_its_ttl_and_the_grace(ttl: float, lives: float) -> None:
    """An address is held until its TTL, within bounds, and the grace period are over."""
    book = book_of(answer(ONE, ttl=ttl), now=1000.0)

    assert book.holds(NAME, ONE, 1000.0 + lives + GRACE - 0.001)
    assert not book.holds(NAME, ONE, 1000.0 + lives + GRACE)
    assert book.known(NAME, 1000.0 + lives + GRACE) == ()
    assert book.knows(NAME)


def test_an_answer_renews_only_what_it_has() -> None:
    """Each address lives from the last answer that had it."""
    book = book_of(answer(ONE, TWO), now=0.0)
    book.learn(answer(TWO), 150.0)

    assert book.known(NAME, 159.0) == (ONE, TWO)
    assert book.known(NAME, 160.0) == (TWO,)


def test_a_shorter_ttl_does_not_shorten_a_life() -> None:
    """An answer never takes away time that an earlier one gave."""
    book = book_of(answer(ONE, ttl=600.0), answer(ONE, ttl=5.0))

    assert book.holds(NAME, ONE, 699.0)


def test_only_news_is_news() -> None:
    """An answer is news when it brings an address that is not held, or no longer."""
    book = AddressBook(grace=GRACE)

    assert book.learn(answer(ONE), 0.0)
    assert not book.learn(answer(ONE), 1.0)
    assert book.learn(answer(ONE, TWO), 2.0)
    assert not book.learn(answer(), 3.0)
    assert book.learn(answer(ONE), 1000.0)


def test_private_addresses_are_dropped() -> None:
    """A private address beside a public one is ignored; alone, it is the trouble with the name (evasion D8)."""
    book = book_of(answer(PRIVATE, ONE))
    assert not book.holds(NAME, PRIVATE, 0.0)
    assert book.known(NAME, 0.0) == (ONE,)
    assert book.trouble(NAME) == ""

    assert not book.learn(answer(PRIVATE), 1.0)
    assert book.known(NAME, 1.0) == (ONE,)
    assert book.trouble(NAME) == "private"


@pytest.mark.parametrize("error", ["nxdomain", "servfail", "timeout"])
def test_a_failure_takes_nothing_away(error: str) -> None:
    """Known addresses outlive a resolver in trouble (evasion D14), which is told until the next success."""
    book = book_of(answer(ONE), answer(error=error))
    assert book.holds(NAME, ONE, 0.0)
    assert book.trouble(NAME) == error

    book.learn(answer(ONE), 1.0)
    assert book.trouble(NAME) == ""


def test_an_empty_answer_is_a_trouble() -> None:
    """A name without an address is told apart from one that was never looked up."""
    assert book_of(answer()).trouble(NAME) == "no_address"


def test_a_name_has_a_bounded_number_of_addresses() -> None:
    """Past the limit, the addresses that would expire first go first."""
    book = book_of(answer(ONE, TWO, ttl=10.0))
    many = [Ipv4((53 << 24) + number) for number in range(ADDRESSES_MAX)]
    book.learn(answer(*many), 1.0)

    assert book.known(NAME, 1.0) == tuple(many)
    assert list(book.names_at(ONE)) == []


def test_a_hungry_name_starves_itself() -> None:
    """Where there is no more room, whoever holds the most gives up its oldest addresses; the others lose none."""
    book = AddressBook(grace=GRACE, most=100)
    modest = [Fqdn.parse(f"n{number}.example.com") for number in range(10)]
    for number, name in enumerate(modest):
        book.learn(answer(ONE, TWO, Ipv4(ONE + 256 + number), name=name), 0.0)
    for at in range(50):
        fresh = [Ipv4((53 << 24) + 70 * at + number) for number in range(70)]
        book.learn(answer(*fresh), float(at))

        held = [book.known(name, float(at)) for name in modest]
        assert [len(each) for each in held] == [3] * 10
        assert sum(map(len, held)) + len(book.known(NAME, float(at))) <= 100
        assert set(book.known(NAME, float(at))) <= set(fresh) or at == 0
        assert set(book.names_at(ONE)) == set(modest)
    assert list(book.names_at(Ipv4(53 << 24))) == []
    book.forget([NAME])
    assert book._count == 30


def test_equally_hungry_names_share() -> None:
    """And what is given up is refused until it is looked up again."""
    book = AddressBook(grace=GRACE, most=100)
    names = [Fqdn.parse(f"n{number}.example.com") for number in range(5)]
    for at, name in enumerate(names):
        book.learn(answer(*(Ipv4((53 << 24) + 50 * at + number) for number in range(50)), name=name), float(at))

    kept = [len(book.known(name, 5.0)) for name in names]
    assert sum(kept) <= 100
    assert min(kept) > 100 // 5 // 2
    assert not book.holds(names[0], Ipv4(53 << 24), 5.0)
    book.learn(answer(Ipv4(53 << 24), name=names[0]), 5.0)
    assert book.holds(names[0], Ipv4(53 << 24), 5.0)


def test_room_is_made_seldom() -> None:
    """It looks at all names, and may not do so at every answer, however long the book has been full."""
    rooms: list[int] = []

    class Watched(AddressBook):
        def _make_room(self) -> None:
            rooms.append(self._count)
            super()._make_room()

    book = Watched(grace=GRACE, most=8000)
    for at in range(8000):
        book.learn(answer(Ipv4((53 << 24) + at), name=Fqdn.parse(f"n{at % 100}.example.com")), 0.0)
    assert not rooms
    for at in range(8000):
        book.learn(answer(Ipv4((54 << 24) + at), name=Fqdn.parse(f"n{at % 100}.example.com")), 0.0)
    assert 1 <= len(rooms) <= 8 + 1  # an eighth is free after each


def test_an_address_knows_its_names() -> None:
    """The way back from an address leads to every name that has it, and to none that lost it."""
    book = book_of(answer(ONE), answer(ONE, TWO, name=OTHER))
    assert set(book.names_at(ONE)) == {NAME, OTHER}
    assert set(book.names_at(TWO)) == {OTHER}

    book.learn(answer(THREE), 1000.0)  # and drops what expired
    assert set(book.names_at(ONE)) == {OTHER}
    assert set(book.names_at(THREE)) == {NAME}


def test_a_forgotten_name_leaves_nothing() -> None:
    """Forgetting a name drops its addresses, its trouble and the way back, and no other name's."""
    book = book_of(answer(ONE), answer(error="timeout"), answer(ONE, name=OTHER))
    book.forget([NAME, Fqdn.parse("never.example.com")])

    assert not book.knows(NAME)
    assert not book.holds(NAME, ONE, 0.0)
    assert book.trouble(NAME) == ""
    assert set(book.names_at(ONE)) == {OTHER}
    assert book.holds(OTHER, ONE, 0.0)
