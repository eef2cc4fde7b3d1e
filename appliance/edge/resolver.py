"""The stub resolver: asks the VPC resolver what the listed names' addresses are, and keeps asking.

Source: RFC 1035 (messages), RFC 2308 (negative answers), RFC 6891 (EDNS), RFC 9499 (words).

Rules that hold throughout:

- One `Answer` is one look-up's outcome, for the name that was asked, whatever its CNAMEs are called.
  Answers accumulate elsewhere; private addresses are passed on as they are.
- Trouble is an answer too: nothing here raises for what a name server does or fails to do.
- Every query is awaited on sockets of its own, with a random port and id; nothing blocks the loop.
- Everything is bounded: queries in flight and per second, links of a chain, remembered answers. The
  only thing that grows is one due time per listed name.

Everything runs on one event loop; no method may be called from another thread.
"""

import asyncio
import contextlib
import heapq
import logging
import random
import socket
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from appliance.address import parse_ipv4
from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn

NXDOMAIN: Final = "nxdomain"  # the name, or the target of its CNAME, does not exist
NO_ADDRESS: Final = "no_address"  # it exists, but has no A record
SERVFAIL: Final = "servfail"  # every name server refused, failed or answered nonsense
TIMEOUT: Final = "timeout"  # no name server answered in time, or none could be reached
OVERLOADED: Final = "overloaded"  # our own limit; nothing was asked

EDNS_PAYLOAD: Final = 1232  # octets: fits the smallest IPv6 MTU, so it is never fragmented (DNS flag day 2020)
NEW: Final = 0.0  # due time of a name never asked for
TICK: Final = 0.02  # seconds between two batches of background queries: small ones, for held packets wait too
IDLE: Final = 60.0  # seconds between two looks at an empty schedule

OnAnswer = Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class ResolverLimits:
    """Bounds in time, number and rate. All of them are ours."""

    try_timeout: float = 2.0  # seconds, one query to one name server
    total_timeout: float = 4.0  # seconds, a look-up with all its tries and links
    chain: int = 16  # CNAME links followed
    refresh_floor: float = 5.0  # seconds: a shorter TTL is refreshed this often
    refresh_ceiling: float = 3600.0  # seconds: a longer TTL is refreshed this often
    jitter: float = 0.1  # share of the interval by which a refresh moves, either way
    negative_floor: float = 1.0  # seconds
    negative_ceiling: float = 30.0  # seconds: how long "there is no such name" is believed
    trouble: float = 5.0  # seconds: how long a failure to find out is left alone
    same_name: float = 1.0  # seconds between two queries for one name, however urgent
    concurrency: int = 64  # background look-ups in flight
    rate: float = 200.0  # background look-ups a second; AWS drops above 1,024 packets a second and interface
    urgent_concurrency: int = 256  # look-ups for held packets in flight
    urgent_rate: float = 500.0  # look-ups for held packets a second, over all names, and at once
    recent: int = 4096  # answers remembered for look_up()


class Resolver:
    """Looks names up for held packets at once, and keeps the listed ones fresh in the background.

    `on_answer` is called for every query that was made, urgent or not, before its waiters resume.
    """

    def __init__(
        self,
        nameservers: Sequence[str],
        port: int = 53,
        *,
        on_answer: OnAnswer | None = None,
        limits: ResolverLimits | None = None,
    ) -> None:
        self._stub = _Stub(nameservers, port, limits or ResolverLimits())
        self._limits = limits or ResolverLimits()
        self._on_answer = on_answer
        self._in_flight: dict[Fqdn, asyncio.Task[Answer]] = {}
        self._urgent = 0  # look_up() calls that wait for a query
        self._urgent_tokens = _Bucket(self._limits.urgent_rate, self._limits.urgent_rate)
        self._recent: OrderedDict[Fqdn, tuple[Answer, float]] = OrderedDict()  # answer and when, oldest first
        self._due: dict[Fqdn, float] = {}  # every listed name: when its next refresh is due, NEW, or as of its start
        self._heap: list[tuple[float, Fqdn]] = []  # valid where it equals `_due`; the rest is litter
        self._new: deque[Fqdn] = deque()
        self._changed = asyncio.Event()
        self._background = 0  # background look-ups in flight
        self._runner: asyncio.Task[None] | None = None
        self.queries = 0  # look-ups made
        self.failures = 0  # look-ups without an address

    async def look_up(self, name: Fqdn, *, fresh: bool = False) -> Answer:
        """Return the addresses of a name, from memory while they are valid, else from the VPC resolver.

        Concurrent calls for one name share one query, also with the background's.

        Args:
            name: the name asked for.
            fresh: do not trust memory. Where the name was asked for less than `same_name` ago, this waits for the
                rest of it: the one who asks may have seen a later answer than we have (D1, D3).

        Returns:
            The answer; `error` says why it has no addresses. Never later than `same_name` and the total timeout.
        """
        began = asyncio.get_running_loop().time()
        remembered = self._recent.get(name)
        wait = 0.0
        if remembered is not None:
            answer, learnt = remembered
            if not fresh and began - learnt < answer.ttl:
                return answer
            wait = learnt + self._limits.same_name - began
        task = self._in_flight.get(name)
        if task is None and self._urgent >= self._limits.urgent_concurrency:
            return Answer(name, (), self._limits.negative_floor, OVERLOADED)
        self._urgent += 1
        try:
            if task is None and wait > 0:
                await asyncio.sleep(wait)
                remembered = self._recent.get(name)
                if remembered is not None and remembered[1] > began:
                    return remembered[0]  # somebody else has asked meanwhile
                task = self._in_flight.get(name)
            # Each name has its pace, but who lists thousands of them could still use up what AWS lets pass.
            if task is None and not self._urgent_tokens.take(asyncio.get_running_loop().time()):
                return Answer(name, (), self._limits.negative_floor, OVERLOADED)
            # Shielded: a waiter that gives up must not take the answer away from the others.
            return await asyncio.shield(task or self._start(name))
        finally:
            self._urgent -= 1

    def maintain(self, names: frozenset[Fqdn]) -> None:
        """Keep exactly these names fresh from now on: unknown ones are asked for first, others are dropped.

        Costs a set difference; call it when the policy has changed.
        """
        for name in self._due.keys() - names:
            del self._due[name]
            self._recent.pop(name, None)
        for name in names.difference(self._due):  # not `-`: with a dictionary this one hashes no name again
            self._due[name] = NEW
            self._new.append(name)
        if len(self._heap) > 2 * len(self._due) + 1024:  # mostly litter of dropped names
            self._heap = [(due, name) for name, due in self._due.items() if due != NEW]
            heapq.heapify(self._heap)
        self._changed.set()
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._refresh())

    @property
    def backlog(self) -> int:
        """Number of listed names that have never been asked for."""
        return len(self._new)

    async def close(self) -> None:
        """Stop refreshing and give up what is in flight; waiting look-ups are cancelled."""
        tasks = [*self._in_flight.values(), *([self._runner] if self._runner else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._runner = None

    def _start(self, name: Fqdn) -> asyncio.Task[Answer]:
        """Start the one query for a name, which nobody may have in flight."""
        task = asyncio.get_running_loop().create_task(self._query(name))
        self._in_flight[name] = task
        return task

    async def _query(self, name: Fqdn) -> Answer:
        try:
            answer = await self._stub.resolve(name)
            self.queries += 1
            self.failures += not answer.addresses
            self._remember(answer)
            if self._on_answer is not None:
                self._on_answer(answer)
            return answer
        finally:
            del self._in_flight[name]

    def _remember(self, answer: Answer) -> None:
        """Keep an answer for look_up(), and set the name's next refresh if it is listed."""
        now = asyncio.get_running_loop().time()
        self._recent[answer.name] = (answer, now)
        self._recent.move_to_end(answer.name)
        if len(self._recent) > self._limits.recent:
            self._recent.popitem(last=False)
        if answer.name not in self._due:
            return
        limits = self._limits
        interval = answer.ttl
        if not answer.error:
            interval = min(max(answer.ttl, limits.refresh_floor), limits.refresh_ceiling)
        # Not a secret: jitter only keeps refreshes from gathering.
        due = now + interval * random.uniform(1 - limits.jitter, 1 + limits.jitter)  # noqa: S311
        self._due[answer.name] = due
        heapq.heappush(self._heap, (due, answer.name))
        if self._heap[0][0] == due:
            self._changed.set()  # earlier than what _refresh() is waiting for

    async def _refresh(self) -> None:
        """Start background look-ups as they fall due, within the rate and the concurrency."""
        loop = asyncio.get_running_loop()
        tokens = _Bucket(self._limits.rate, max(1.0, 2 * TICK * self._limits.rate))
        while True:
            now = loop.time()
            name = None
            while (
                not tokens.wait(now)
                and self._background < self._limits.concurrency
                and (name := self._next(now)) is not None
            ):
                if name not in self._in_flight:  # else an urgent look-up is refreshing it already
                    tokens.take(now)
                    self._background += 1
                    self._start(name).add_done_callback(self._background_done)
            self._changed.clear()
            if name is not None or self._new:  # held back by a limit
                pause = max(TICK, tokens.wait(now))
            else:
                pause = min(max(self._heap[0][0] - now, TICK), IDLE) if self._heap else IDLE
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    def _next(self, now: float) -> Fqdn | None:
        """Take the next name to ask for: a new one, else the one longest overdue."""
        while self._new:
            name = self._new.popleft()
            if self._due.get(name) == NEW:
                self._due[name] = now
                return name
        while self._heap and self._heap[0][0] <= now:
            due, name = heapq.heappop(self._heap)
            if self._due.get(name) == due:
                return name
        return None

    def _background_done(self, task: asyncio.Task[Answer]) -> None:
        self._background -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            logging.getLogger(__name__).error("look-up failed", exc_info=error)  # a fault of ours, or of on_answer


class _Bucket:
    """Tokens: `burst` at first and at most, and `rate` more a second. `now` is the event loop's time."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._left = burst
        self._filled = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until there is a token to take."""
        self._left = min(self._burst, self._left + (now - self._filled) * self._rate)
        self._filled = now
        return max(0.0, (1 - self._left) / self._rate)

    def take(self, now: float) -> bool:
        """Take a token; False if there is none."""
        if self.wait(now):
            return False
        self._left -= 1
        return True


class _Stub:
    """Asks name servers one question at a time, over UDP, and over TCP what UDP cut short."""

    def __init__(self, nameservers: Sequence[str], port: int, limits: ResolverLimits) -> None:
        if not nameservers:
            raise ValueError("a resolver needs a name server")
        self._nameservers = tuple(nameservers)
        self._port = port
        self._limits = limits

    async def resolve(self, name: Fqdn) -> Answer:
        """Return what the name servers say about a name: chains followed, TTL the least of all links."""
        limits = self._limits
        deadline = asyncio.get_running_loop().time() + limits.total_timeout
        target = dns.name.Name([*(label.encode("ascii") for label in name.labels), b""])
        seen = {target}
        ttl = limits.refresh_ceiling
        links = 0
        while True:
            reply, error = await self._ask(target, deadline)
            if reply is None:
                return Answer(name, (), limits.trouble, error)
            try:
                chain = reply.resolve_chaining()
            except dns.exception.DNSException:  # a loop within the response, or NXDOMAIN with an address
                return Answer(name, (), limits.trouble, SERVFAIL)
            ttl = min(ttl, *(float(link.ttl) for link in chain.cnames)) if chain.cnames else ttl
            if chain.answer is not None:
                addresses = tuple(parse_ipv4(record.address) for record in chain.answer)
                return Answer(name, addresses, float(min(ttl, chain.answer.ttl)))
            if reply.rcode() == dns.rcode.NXDOMAIN or not chain.cnames:
                ttl = min(max(chain.minimum_ttl, limits.negative_floor), limits.negative_ceiling)
                return Answer(name, (), ttl, NXDOMAIN if reply.rcode() == dns.rcode.NXDOMAIN else NO_ADDRESS)
            # The response ends in the middle of the chain: ask for the rest of it.
            links += len(chain.cnames)
            target = chain.canonical_name
            if target in seen or links > limits.chain:
                return Answer(name, (), limits.trouble, SERVFAIL)
            seen.add(target)

    async def _ask(self, target: dns.name.Name, deadline: float) -> tuple[dns.message.QueryMessage | None, str]:
        """Return the first usable response, or None and what was wrong with the last one."""
        loop = asyncio.get_running_loop()
        error = TIMEOUT
        for attempt in range(max(2, len(self._nameservers))):
            left = deadline - loop.time()
            if left <= 0:
                break
            server = self._nameservers[attempt % len(self._nameservers)]
            query = dns.message.make_query(target, dns.rdatatype.A, use_edns=0, payload=EDNS_PAYLOAD)
            try:
                async with asyncio.timeout(min(left, self._limits.try_timeout)):
                    reply = await self._exchange(query, server)
            except OSError:  # TimeoutError among them
                error = TIMEOUT
            except (dns.exception.DNSException, EOFError, ValueError):  # nonsense over TCP, or a connection cut
                error = SERVFAIL
            else:
                if reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                    return reply, ""
                error = SERVFAIL
        return None, error

    async def _exchange(self, query: dns.message.QueryMessage, server: str) -> dns.message.QueryMessage:
        """Return the response of one name server; the caller limits the time."""
        reply = await _exchange_udp(query, server, self._port)
        if reply.flags & dns.flags.TC:
            reply = await dns.asyncquery.tcp(query, server, port=self._port)
        if not isinstance(reply, dns.message.QueryMessage):
            raise dns.exception.FormError
        return reply


async def _exchange_udp(query: dns.message.Message, server: str, port: int) -> dns.message.Message:
    """Return the first datagram that answers the query; anything else that arrives is ignored.

    A socket of our own and not `dns.asyncquery.udp`: it is connected, so the kernel drops other
    senders' datagrams and reports a closed port at once, and it costs a third less (measured).
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[dns.message.Message] = loop.create_future()
    wire = query.to_wire()

    def on_readable() -> None:
        try:
            octets = udp.recv(65535)
        except BlockingIOError:
            return
        except OSError as error:  # ICMP: nobody listens there
            if not arrived.done():
                arrived.set_exception(error)
            return
        if octets[:2] != wire[:2] or arrived.done():
            return
        cut = len(octets) > 2 and octets[2] & 0x02  # TC: what follows the question may end anywhere
        try:
            reply = dns.message.from_wire(octets, question_only=bool(cut))
        except Exception:  # noqa: BLE001 -- whatever a forged datagram breaks, the right one may follow
            return
        if query.is_response(reply):
            arrived.set_result(reply)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as udp:
        udp.connect((server, port))
        loop.add_reader(udp.fileno(), on_readable)
        try:
            udp.send(wire)
            return await arrived
        finally:
            loop.remove_reader(udp.fileno())
