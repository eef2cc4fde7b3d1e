"""The supervisor: the composition root of `discriminat run`.

In this order: kernel settings and a closed ruleset; identity from IMDS; workers; first policy from
AWS; policy to the workers; the kernel's sets; ready. Then it polls AWS, answers the workers'
questions, ships the logs and reports its health. What fails is tried again, and meanwhile all stays
as it was: closed before the first policy, the last policy after it. An empty one is never invented.
"""

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace

from appliance import __version__
from appliance.address import Ipv4, Network, format_ipv4
from appliance.chronicle import FLOW, Chronicle
from appliance.counters import counted_since
from appliance.crew import Crew, Send
from appliance.edge import ec2, system
from appliance.edge.health import HealthServer
from appliance.edge.imds import Identity, Imds
from appliance.edge.netfilter import QUEUES_MAX, Netfilter, NetfilterConfig
from appliance.edge.resolver import OVERLOADED, Resolver, ResolverLimits
from appliance.errors import AwsError, KernelError
from appliance.event import change_event, config_event
from appliance.limits import Limits
from appliance.messages import ClientAnswered, Configure, FlowLines, NewAnswers, NewPolicy, WantClient, WantName
from appliance.policy.addresses import AddressBook, Answer
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import Inventory, NetworkInterface
from appliance.policy.policy import EMPTY_POLICY, Policy, compile_policy, diff_policy
from appliance.settings import Settings

log = logging.getLogger("discriminat")

POLL_SHARE = 5  # AWS is read for at most one part in so many of the time
POLL_JITTER = 0.1  # share of the interval
RETRY_FIRST = 1.0  # seconds
RETRY_MOST = 60.0  # seconds
BACKOFF_MOST = 10  # doublings of the interval; more would soon be no number any more
DRAIN = 2.0  # seconds for held packets to be decided on the way out
WATCH = 5.0  # seconds between two looks at the kernel's counters and the calendar
ASK_TOGETHER = 0.05  # seconds that a question about a client waits for others
REPLAY = 1000  # answers in one message to a worker that starts late


class Supervisor:
    """The running appliance. Made and used inside one event loop; AWS and nft are called from threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._netfilter = Netfilter()
        self._manager = system.ServiceManager.from_environment()
        self._policy: Policy = EMPTY_POLICY
        self._inventory = Inventory((), ())
        self._read_at: float | None = None  # when AWS was last read, monotonic seconds
        self._failure = ""  # why the last reading failed
        self._today = system.utc_today()
        self._book = AddressBook(settings.names_grace)  # for workers that start late
        self._late: dict[str, NetworkInterface] = {}  # found by a targeted look-up since the last full reading
        self._wanted: set[Ipv4] = set()  # clients to ask AWS about
        self._wanting = asyncio.Event()
        self._applying = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._counted: dict[str, int] = {}
        self._ready = False
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            KernelError: the ruleset could not be loaded; forwarding was not switched on by us.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        health = HealthServer(self._settings.health_port, self.report)
        health.start()
        body = asyncio.create_task(self._body())
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({body, stop}, return_when=asyncio.FIRST_COMPLETED)
            if body.done():
                body.result()
        finally:
            await self._shut_down(body)
            health.close()

    async def _body(self) -> None:
        queues = self._settings.engine_workers or min(len(os.sched_getaffinity(0)), QUEUES_MAX)
        config = NetfilterConfig(
            clients=(),
            queues=queues,
            nft_queue=await asyncio.to_thread(self._netfilter.has_nft_queue),
            isn_reversed=await asyncio.to_thread(self._netfilter.has_reversed_isn),
            first_queue=self._settings.engine_first_queue,
            health_port=self._settings.health_port,
        )
        await asyncio.to_thread(self._netfilter.load, config)
        for failed in system.apply_kernel_settings(system.memory_octets()):
            log.warning("kernel setting left alone: %s", failed)
        self._identity = identity = await self._identify()
        extra = tuple(map(Network.parse, self._settings.policy_clients))
        clients = tuple(dict.fromkeys((*identity.vpc_networks, *extra)))
        self._netfilter_config = replace(config, clients=clients)
        await asyncio.to_thread(self._netfilter.load, self._netfilter_config)
        region = self._settings.aws_region or identity.region
        self._chronicle = Chronicle(self._settings, instance=identity.instance_id, region=region)
        without = "iptables NFQUEUE rules: this kernel has no nft queue statement"
        variant = "the nft queue statement" if config.nft_queue else without
        program = f"discriminat {__version__}, engine {system.engine_build()}"
        self._tell("appliance", "started", f"{program}, {queues} queues through {variant}")
        self._discovery = ec2.Discovery(ec2.connect(region), self._settings.aws_vpc_id or identity.vpc_id)
        self._resolver = Resolver(
            self._settings.names_nameservers,
            self._settings.names_port,
            on_answer=self._on_answer,
            limits=ResolverLimits(rate=self._settings.names_rate),
        )
        self._crew = Crew(
            [self._configuration(config, number) for number in range(queues)],
            on_start=self._on_worker_start,
            on_message=self._on_worker_message,
            on_death=self._on_worker_death,
        )
        self._crew.start()
        await asyncio.gather(self._poll(), self._ask(), self._watch(), self._feed_watchdog())

    def _configuration(self, config: NetfilterConfig, number: int) -> Configure:
        settings = self._settings
        limits = Limits(
            hello_wait=settings.engine_hello_wait,
            reply_wait=settings.engine_reply_wait,
            look_up_wait=settings.engine_look_up_wait,
        )
        return Configure(
            queue=config.first_queue + number,
            instance=self._identity.instance_id,
            limits=limits,
            grace=settings.names_grace,
            isn_reversed=config.isn_reversed,
        )

    async def _identify(self) -> Identity:
        """Return who we are, however long the metadata service takes to say it."""
        imds = Imds()
        wait = RETRY_FIRST
        while True:
            try:
                return await asyncio.to_thread(imds.identity)
            except AwsError as fault:
                self._failure = fault.message
                log.warning("no identity yet, all stays closed: %s (%s)", fault.message, fault.hint)
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 -- spreads load, keeps no secret
            wait = min(wait * 2, RETRY_MOST)

    # ---- policy --------------------------------------------------------------------------

    async def _poll(self) -> None:
        """Read AWS again and again; a failure leaves everything as it is."""
        failures = 0
        while True:
            began = time.monotonic()
            self._late.clear()
            try:
                inventory = await asyncio.to_thread(self._discovery.inventory)
            except AwsError as fault:
                if fault.message != self._failure:
                    self._tell("error", "failed", f"AWS could not be read, the last policy stands: {fault.message}")
                self._failure = fault.message
                failures += 1
            else:
                if self._failure:
                    self._tell("error", "recovered", "AWS can be read again")
                self._failure = ""
                failures = 0
                self._read_at = began
                async with self._applying:
                    await self._apply(inventory.with_part(Inventory((), tuple(self._late.values()))))
            spent = time.monotonic() - began
            interval = self._settings.policy_poll_interval
            wait = max(interval, POLL_SHARE * spent)
            if failures:
                wait = min(interval * 2 ** min(failures, BACKOFF_MOST), RETRY_MOST)
            await asyncio.sleep(wait * random.uniform(1 - POLL_JITTER, 1 + POLL_JITTER))  # noqa: S311 -- as above

    async def _apply(self, inventory: Inventory) -> None:
        """Put what AWS says in force: names first, then the workers, then the kernel's sets."""
        self._inventory = inventory
        policy = await asyncio.to_thread(compile_policy, inventory)
        if policy.digest != self._policy.digest:
            changes = await asyncio.to_thread(diff_policy, self._policy, policy)
            self._book.forget(self._policy.names - policy.names)
            self._policy = policy
            self._resolver.maintain(policy.names)
            self._crew.broadcast(NewPolicy(policy))
            reason = f"{len(policy.clients)} clients, {len(policy.names)} names, {len(policy.rejections)} rejections"
            self._tell("policy", "accepted", reason)
            instance = self._identity.instance_id
            self._chronicle.tell(*(change_event(change, instance=instance, digest=policy.digest) for change in changes))
            if not self._ready:
                await self._crew.wait_ready()
            await self._open_ports()
        if not self._ready:
            self._ready = True
            self._manager.notify("READY=1")
            self._tell("appliance", "ready", "the policy is in force")

    async def _open_ports(self) -> None:
        clients = self._policy.clients
        annotated = [(address, port) for address, client in clients.items() for port in client.ports]
        see_thru = [
            address
            for address, client in clients.items()
            if client.see_thru is not None and client.see_thru.active(self._today)
        ]
        try:
            await asyncio.to_thread(self._netfilter.open_ports, annotated, see_thru)
        except KernelError as fault:  # the engine refuses what policy does not allow, whatever the sets say
            self._tell("error", "failed", f"the kernel's sets could not be changed: {fault.message}")

    async def _ask(self) -> None:
        """Ask AWS about clients that the workers do not know, as many at once as have gathered."""
        while True:
            await self._wanting.wait()
            await asyncio.sleep(ASK_TOGETHER)
            self._wanting.clear()
            wanted, self._wanted = self._wanted, set()
            found = await asyncio.gather(*(asyncio.to_thread(self._look_up, address) for address in wanted))
            async with self._applying:
                inventory = self._inventory
                for part in found:
                    if part is not None:
                        self._late.update((interface.id, interface) for interface in part.interfaces)
                        inventory = inventory.with_part(part)
                if inventory is not self._inventory and self._ready:
                    await self._apply(inventory)
            for address in wanted:
                self._crew.broadcast(ClientAnswered(address))

    def _look_up(self, address: Ipv4) -> Inventory | None:
        try:
            return self._discovery.interface_of(address)
        except AwsError as fault:
            log.warning("%s stays unknown: %s", format_ipv4(address), fault.message)
            return None

    # ---- workers -------------------------------------------------------------------------

    def _on_worker_start(self, send: Send) -> None:
        if self._policy.digest:
            now = time.monotonic()
            known = [name for name in self._policy.names if self._book.knows(name)]
            answers = [Answer(name, self._book.known(name, now), ttl=0.0) for name in known]
            for start in range(0, len(answers), REPLAY):
                send(NewAnswers(tuple(answers[start : start + REPLAY])))
            send(NewPolicy(self._policy))

    def _on_worker_message(self, message: object, reply: Send) -> None:
        match message:
            case FlowLines(lines, _, millis):
                self._chronicle.write(FLOW, lines, millis)
            case WantName(name):
                self._spawn(self._answer(name, reply))
            case WantClient(client):
                self._wanted.add(client)
                self._wanting.set()

    def _on_worker_death(self, queue: int, code: int) -> None:
        self._tell("error", "restarted", f"the worker of queue {queue} ended with code {code}; its flows are refused")

    async def _answer(self, name: Fqdn, reply: Send) -> None:
        answer = await self._resolver.look_up(name, fresh=True)
        if answer.error == OVERLOADED:  # every other answer has been broadcast, and one must not count twice
            reply(NewAnswers((answer,)))

    def _on_answer(self, answer: Answer) -> None:
        self._book.learn(answer, time.monotonic())
        self._crew.broadcast(NewAnswers((answer,)))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- watching ------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Tell what the kernel dropped by itself; notice that a day has begun."""
        while True:
            await asyncio.sleep(WATCH)
            if self._today != system.utc_today():
                self._today = system.utc_today()
                async with self._applying:
                    await self._open_ports()
            self._crew.kill_silent(time.monotonic())
            try:
                counted = dict(await asyncio.to_thread(self._netfilter.counters))
            except KernelError as fault:
                await self._reload(fault)
                continue
            counted["queue_full"] = sum(system.queue_drops().values())
            counted["suppressed"] = sum(one.suppressed for one in self._crew.statistics)
            counted["events_lost"] = sum(one.events_lost for one in self._crew.statistics)
            for reason in counted_since(self._counted, counted):
                self._tell("error", "dropped", reason)
            self._counted = counted

    async def _reload(self, fault: KernelError) -> None:
        """Put the ruleset back, for somebody may have flushed it. If that fails too, what is left stays."""
        self._tell("error", "failed", f"the ruleset cannot be read, and is loaded again: {fault.message}")
        try:
            await asyncio.to_thread(self._netfilter.load, self._netfilter_config)
        except KernelError as again:
            self._tell("error", "failed", f"the ruleset cannot be loaded: {again.message}")
            return
        async with self._applying:
            await self._open_ports()

    async def _feed_watchdog(self) -> None:
        interval = self._manager.watchdog_interval
        while interval is not None:
            if not self._ready or self._crew.is_alive(time.monotonic()):
                self._manager.notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    def report(self) -> tuple[bool, Mapping[str, object]]:
        """Return whether all is well, and what /healthz says. Called from the health server's threads."""
        now = time.monotonic()
        is_well = self._ready and not self._stopping.is_set() and self._crew.is_alive(now)
        report: dict[str, object] = {"status": "ok" if is_well else "not ready", "version": __version__}
        report["aws_failure"] = self._failure
        if self._ready:
            entries, most = system.conntrack_use()
            report |= {
                "instance": self._identity.instance_id,
                "policy_digest": self._policy.digest,
                "policy_age_seconds": None if self._read_at is None else round(now - self._read_at, 1),
                "clients": len(self._policy.clients),
                "names": len(self._policy.names),
                "names_to_look_up": self._resolver.backlog,
                "workers_restarted": self._crew.restarts,
                "flows_under_inspection": sum(one.flows for one in self._crew.statistics),
                "packets_held": sum(one.held for one in self._crew.statistics),
                "packets_inspected": sum(one.packets for one in self._crew.statistics),
                "engine_errors": sum(one.errors for one in self._crew.statistics),
                "queue_drops": sum(system.queue_drops().values()),
                "conntrack_entries": entries,
                "conntrack_most": most,
                "logs": self._chronicle.report(),
            }
        return is_well, report

    def _tell(self, cat: str, outcome: str, reason: str) -> None:
        log.info("%s %s: %s", cat, outcome, reason)
        self._chronicle.tell(
            config_event(
                cat=cat,
                outcome=outcome,
                reason=reason,
                instance=self._identity.instance_id,
                digest=self._policy.digest,
            )
        )

    async def _shut_down(self, body: asyncio.Task[None]) -> None:
        """Drain, and leave the closed ruleset behind: without a worker the kernel drops what it queues."""
        self._manager.notify("STOPPING=1")
        body.cancel()
        await asyncio.wait({body})
        if hasattr(self, "_crew"):
            await self._crew.stop(DRAIN)
            await self._resolver.close()
            self._tell("appliance", "stopped", "flows in the kernel go on; new ones are refused")
        if hasattr(self, "_chronicle"):
            await asyncio.to_thread(self._chronicle.close)


def run(settings: Settings) -> None:
    """Run the appliance until it is told to stop."""
    asyncio.run(Supervisor(settings).run())
