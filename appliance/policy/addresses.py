"""Which addresses a name has: what our own look-ups said, and for how long it is believed.

Answers accumulate. A CDN that shows eight of its hundred addresses at a time would otherwise be refused
most of the time (evasions D1, D3), so an address is held for its TTL and a grace period after the last answer
that had it. A failed look-up takes nothing away (D14). Private addresses are not
held (D8), unless their network is opened.

Who runs a name's zone chooses its answers, so that there is a bound for each name and one for all of them. Where room
is short, the names that hold the most give up addresses: a name with few keeps them. What is given up is refused until
a look-up brings it again; flows that are open already are not judged by addresses.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from appliance.address import Ipv4, Network, is_closed
from appliance.policy.fqdn import Fqdn

GRACE = 3600.0  # seconds an address is believed beyond its TTL
TTL_FLOOR = 5.0  # seconds
TTL_CEILING = 86400.0  # seconds
OVERLOADED = "overloaded"  # error of an answer by our own limit: nothing was asked, and the name is not to blame
ADDRESSES_MAX = 4096  # addresses of one name (ours)
LEARNT_ADDRESSES_MAX = 512  # addresses of one name that a pattern brought (ours)
BOOK_MAX = 500_000  # addresses of all names (ours): about 110 MB of each process


@dataclass(frozen=True, slots=True)
class Answer:
    """What one look-up of `name` brought.

    `ttl`: seconds, the least of the CNAME chain and its addresses.
    `error`: empty for success, else one word such as `nxdomain`, `servfail` or `timeout`.
    `client`: of an OVERLOADED one, for whom nothing was asked: it says nothing to others that wait for the name.
    """

    name: Fqdn
    addresses: tuple[Ipv4, ...]
    ttl: float
    error: str = ""
    client: Ipv4 | None = None


class AddressBook:
    """The addresses of every name that was looked up and not forgotten, each with its expiry."""

    __slots__ = ("_count", "_expiries", "_grace", "_holders", "_most", "_opened", "_troubles", "_usual_grace")

    def __init__(self, grace: float = GRACE, *, most: int = BOOK_MAX) -> None:
        self._grace = self._usual_grace = grace
        self._most = most  # addresses of all names
        self._count = 0
        self._opened: tuple[Network, ...] = ()  # private networks whose addresses are held like public ones
        # Expiry by address by name. The addresses of one answer share one float, and a name without trouble
        # has no second entry anywhere: at 100,000 names each object counts.
        self._expiries: dict[Fqdn, dict[Ipv4, float]] = {}
        # The way back. Most addresses belong to one name, which then stands for itself: a set is five times as large.
        self._holders: dict[Ipv4, Fqdn | set[Fqdn]] = {}
        self._troubles: dict[Fqdn, str] = {}  # of the last look-up; absent when it brought an address

    def adjust(self, *, grace: float | None, opened: tuple[Network, ...]) -> None:
        """Believe addresses for so many seconds beyond their TTL, those held already too, and some private ones.

        Args:
            grace: None for the one that the book was made with.
            opened: private networks whose addresses are held. Those of others go; a flow to them has been refused.
        """
        new = self._usual_grace if grace is None else grace
        shift, self._grace = new - self._grace, new
        if shift:
            for held in self._expiries.values():
                shared: dict[float, float] = {}  # the addresses of one answer go on sharing one float
                for address, expiry in held.items():
                    held[address] = shared.setdefault(expiry, expiry + shift)
        if opened != self._opened:
            self._opened = opened
            for name, held in self._expiries.items():
                self._drop(name, [address for address in held if is_closed(address, opened)])

    def learn(self, answer: Answer, now: float, *, most: int = ADDRESSES_MAX) -> bool:
        """Take in an answer; tell whether it brought an address that was not held.

        Past `most` addresses of the name, and where it has to give some up, those nearest to their expiry go first.
        """
        public = [address for address in answer.addresses if not is_closed(address, self._opened)]
        if not public:
            self._troubles[answer.name] = answer.error or ("private" if answer.addresses else "no_address")
            return False
        self._troubles.pop(answer.name, None)
        held = self._expiries.setdefault(answer.name, {})
        self._drop(answer.name, [address for address, expiry in held.items() if expiry <= now])
        expiry = now + min(max(answer.ttl, TTL_FLOOR), TTL_CEILING) + self._grace
        news = False
        for address in public:
            if address not in held:
                self._hold(answer.name, address)
                news = True
            held[address] = max(expiry, held.get(address, expiry))
        self._cut(answer.name, most)
        if self._count > self._most:
            self._make_room()
        return news

    def holds(self, name: Fqdn, address: Ipv4, now: float) -> bool:
        """Tell whether `address` is an address of `name`."""
        held = self._expiries.get(name)
        return held is not None and held.get(address, now) > now

    def known(self, name: Fqdn, now: float) -> tuple[Ipv4, ...]:
        """Return the addresses of a name, smallest first."""
        return tuple(sorted(address for address, expiry in self._expiries.get(name, {}).items() if expiry > now))

    def knows(self, name: Fqdn) -> bool:
        """Tell whether a look-up of the name ever brought an address, whatever its expiry."""
        return name in self._expiries

    def trouble(self, name: Fqdn) -> str:
        """Return what went wrong in the last look-up of a name.

        Returns:
            The answer's `error`, `private` for an answer with nothing but private addresses, `no_address` for an
            empty one; empty when it went well or there was none yet.
        """
        return self._troubles.get(name, "")

    def names_at(self, address: Ipv4) -> Collection[Fqdn]:
        """Return the names that `address` was learnt for; `holds` tells which of them are still believed."""
        holders = self._holders.get(address)
        return holders if isinstance(holders, set) else (() if holders is None else (holders,))

    def forget(self, names: Iterable[Fqdn]) -> None:
        """Drop names that are no longer listed."""
        for name in names:
            self._drop(name, tuple(self._expiries.get(name, ())))
            self._expiries.pop(name, None)
            self._troubles.pop(name, None)

    def _make_room(self) -> None:
        """Cut the names that hold the most down to one size, so that a part is free: the next time is far away then."""
        room = self._most - self._most // 8
        sizes = sorted(map(len, self._expiries.values()))
        for at, size in enumerate(sizes):
            share = max(1, room // (len(sizes) - at))
            if size > share:  # and so are all that come behind
                break
            room -= size
        for name in [name for name, held in self._expiries.items() if len(held) > share]:
            self._cut(name, share)

    def _cut(self, name: Fqdn, most: int) -> None:
        held = self._expiries[name]
        if len(held) > most:
            self._drop(name, sorted(held, key=held.__getitem__)[: len(held) - most])

    def _hold(self, name: Fqdn, address: Ipv4) -> None:
        self._count += 1
        holders = self._holders.setdefault(address, name)
        if isinstance(holders, set):
            holders.add(name)
        elif holders != name:
            self._holders[address] = {holders, name}

    def _drop(self, name: Fqdn, addresses: Iterable[Ipv4]) -> None:
        for address in addresses:
            self._count -= 1
            del self._expiries[name][address]
            holders = self._holders[address]
            if isinstance(holders, set) and len(holders) > 1:
                holders.remove(name)
            else:
                del self._holders[address]
