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
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from appliance.address import Ipv4
from appliance.edge.stub import NO_ADDRESS, NXDOMAIN, ResolverLimits, Stub
from appliance.policy.addresses import OVERLOADED, Answer
from appliance.policy.fqdn import Fqdn

NEW: Final = 0.0  # due time of a name never asked for
TICK: Final = 0.02  # seconds between two batches of background queries: small ones, for held packets wait too
IDLE: Final = 60.0  # seconds between two looks at an empty schedule

__all__ = ["Resolver", "ResolverLimits"]

OnAnswer = Callable[[Answer], None]


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
        self._stub = Stub(nameservers, port, limits or ResolverLimits())
        self._limits = limits or ResolverLimits()
        self._on_answer = on_answer
        self._in_flight: dict[Fqdn, asyncio.Task[Answer]] = {}
        self._urgent = 0  # queries in flight that look_up() began
        self._shares: dict[Ipv4 | None, _Share] = {}  # of clients for whom there are look-ups
        self._urgent_tokens = _Bucket(self._limits.urgent_rate, self._limits.urgent_rate)
        self._recent: OrderedDict[Fqdn, tuple[Answer, float]] = OrderedDict()  # answer and when, oldest first
        self._due: dict[Fqdn, float] = {}  # every listed name: when its next refresh is due, NEW, or as of its start
        self._heap: list[tuple[float, Fqdn]] = []  # valid where it equals `_due`; the rest is litter
        self._new: deque[Fqdn] = deque()
        self._changed = asyncio.Event()
        self._failed: dict[Fqdn, int] = {}  # listed names: look-ups in a row that found nothing out
        self._background = 0  # background look-ups in flight
        self._failing = 0  # those among them of names in `_failed`
        self._runner: asyncio.Task[None] | None = None
        self.queries = 0  # look-ups made
        self.failures = 0  # look-ups without an address

    async def look_up(self, name: Fqdn, *, fresh: bool = False, client: Ipv4 | None = None) -> Answer:
        """Return the addresses of a name, from memory while they are valid, else from the VPC resolver.

        Concurrent calls for one name share one query, also with the background's.

        Args:
            name: the name asked for.
            fresh: do not trust memory. Where the name was asked for less than `same_name` ago, this waits for the
                rest of it: the one who asks may have seen a later answer than we have (D1, D3).
            client: for whom. What one client begins has a share of the look-ups in flight, and waits for its turn
                beyond it: a name server that stays silent holds up nobody else's (D13).

        Returns:
            The answer; `error` says why it has no addresses. Never later than `same_name` and twice the total timeout.
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
        if task is not None:
            # Shielded: a waiter that gives up must not take the answer away from the others.
            return await asyncio.shield(task)
        share = self._shares.setdefault(client, _Share(self._limits.client_concurrency))
        if share.calls >= self._limits.client_calls:
            return self._refusal(name, client)
        share.calls += 1
        try:
            if wait > 0:
                await asyncio.sleep(wait)
            try:
                async with asyncio.timeout(self._limits.total_timeout):
                    await share.turns.acquire()
            except TimeoutError:
                return self._refusal(name, client)
            try:
                return await self._begin(name, began, client)
            finally:
                share.turns.release()
        finally:
            share.calls -= 1
            if not share.calls:
                del self._shares[client]

    async def _begin(self, name: Fqdn, began: float, client: Ipv4 | None) -> Answer:
        """Look a name up, unless somebody else has meanwhile, or is at it."""
        remembered = self._recent.get(name)
        if remembered is not None and remembered[1] > began:
            return remembered[0]
        task = self._in_flight.get(name)
        if task is not None:
            return await asyncio.shield(task)
        # Each name has its pace, but who lists thousands of them could still use up what AWS lets pass.
        is_full = self._urgent >= self._limits.urgent_concurrency
        if is_full or not self._urgent_tokens.take(asyncio.get_running_loop().time()):
            return self._refusal(name, client)
        self._urgent += 1
        try:
            return await asyncio.shield(self._start(name))
        finally:
            self._urgent -= 1

    def _refusal(self, name: Fqdn, client: Ipv4 | None) -> Answer:
        return Answer(name, (), self._limits.negative_floor, OVERLOADED, client)

    def maintain(self, names: frozenset[Fqdn]) -> None:
        """Keep exactly these names fresh from now on: unknown ones are asked for first, others are dropped.

        Costs a set difference; call it when the policy has changed.
        """
        for name in self._due.keys() - names:
            del self._due[name]
            self._failed.pop(name, None)
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
        if answer.error and answer.error not in (NXDOMAIN, NO_ADDRESS):
            failed = self._failed[answer.name] = self._failed.get(answer.name, 0) + 1
            interval = min(answer.ttl * 2.0 ** min(failed - 1, 16), limits.backed_off)
        else:
            self._failed.pop(answer.name, None)
        if not answer.error:
            interval = min(max(answer.ttl, limits.refresh_floor), limits.refresh_ceiling)
        # Not a secret: jitter only keeps refreshes from gathering.
        due = now + interval * random.uniform(1 - limits.jitter, 1 + limits.jitter)  # noqa: S311
        self._schedule(answer.name, due)
        if self._heap[0][0] == due:
            self._changed.set()  # earlier than what _refresh() is waiting for

    def _schedule(self, name: Fqdn, due: float) -> None:
        self._due[name] = due
        heapq.heappush(self._heap, (due, name))

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
                    is_failing = name in self._failed
                    self._failing += is_failing
                    self._start(name).add_done_callback(partial(self._background_done, is_failing))
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
            if self._due.get(name) != due:
                continue
            if name in self._failed and self._failing >= self._limits.failing_concurrency:
                self._schedule(name, now + self._limits.negative_floor)  # names that answer go first
                continue
            return name
        return None

    def _background_done(self, is_failing: bool, task: asyncio.Task[Answer]) -> None:  # noqa: FBT001 -- bound by partial()
        self._background -= 1
        self._failing -= is_failing
        if not task.cancelled() and (error := task.exception()) is not None:
            logging.getLogger(__name__).error("look-up failed", exc_info=error)  # a fault of ours, or of on_answer


class _Share:
    """One client's look-ups: `calls` that it began, of which so many may have a query in flight by their `turns`."""

    def __init__(self, concurrency: int) -> None:
        self.calls = 0
        self.turns = asyncio.Semaphore(concurrency)


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
