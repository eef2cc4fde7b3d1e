"""The supervisor: the composition root of `discriminat run`.

In this order: kernel settings and a closed ruleset; identity and user data from IMDS; workers; preferences;
first policy from AWS; policy to the workers; the kernel's sets; ready. Then it polls AWS, answers the
workers' questions, ships the logs and reports its health. What fails is tried again, and meanwhile all
stays as it was: closed before the first policy, the last policy after it. An empty one is never invented.
"""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping

from appliance import __version__, about, reading
from appliance.address import Ipv4, format_ipv4
from appliance.chronicle import FLOW, METRICS, Chronicle
from appliance.counters import counted_since
from appliance.crew import Crew, Send, configurations
from appliance.dataplane import Dataplane
from appliance.edge import autoscaling, ssm, system
from appliance.edge.health import HealthServer
from appliance.edge.imds import Identity, Imds
from appliance.edge.journal import render
from appliance.edge.resolver import Resolver, ResolverLimits
from appliance.edge.service_manager import ServiceManager
from appliance.errors import AwsError
from appliance.event import change_event, config_event
from appliance.membership import Membership
from appliance.messages import ClientAnswered, FlowLines, NewAnswers, NewPolicy, NewPreferences, WantClient, WantName
from appliance.metrics import MetricsLine, Reading
from appliance.pace import RETRY_MOST
from appliance.policy.addresses import OVERLOADED, AddressBook, Answer
from appliance.policy.brief import brief
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import Inventory, NetworkInterface
from appliance.policy.listed import list_changes
from appliance.policy.location import parse_aliases
from appliance.policy.policy import EMPTY_POLICY, Change, Policy, changes_between, compile_policy
from appliance.policy.preferences import Preferences
from appliance.preference_reader import PreferenceReader
from appliance.proving import Proof
from appliance.pruner import Pruner
from appliance.rest import Rest
from appliance.revoker import Revoker
from appliance.settings import Settings
from appliance.vitals import Vitals

log = logging.getLogger("discriminat")

RETRY_FIRST = 1.0  # seconds
PROOF_WAIT = 2.0  # seconds that a reading stays fresh
DRAIN = 2.0  # seconds for held packets to be decided on the way out
WATCH = 5.0  # seconds between two looks at the kernel's counters and the calendar
ASK_TOGETHER = 0.05  # seconds that a question about a client waits for others
REPLAY = 1000  # answers in one message to a worker that starts late


class Supervisor:
    """The running appliance. Made and used inside one event loop; AWS and nft are called from threads."""

    def __init__(self, read_settings: Callable[[str], Settings]) -> None:
        self._read_settings = read_settings  # from user data, and all that stands on this machine
        self._settings = settings = read_settings("")
        self._dataplane = Dataplane(self._tell)
        self._proof = Proof(self._tell)
        self._manager = ServiceManager.from_environment()
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
        self._rest = Rest()  # between two readings of AWS
        self._tasks: set[asyncio.Task[None]] = set()
        self._counted: dict[str, int] = {}
        self._ready = False
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            KernelError: the ruleset could not be loaded; forwarding was not switched on by us.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        self._health = HealthServer(self._settings.health_port, self.report)
        self._health.start()
        self._spawn(self._manager.feed_watchdog(lambda: not self._ready or self._crew.is_alive(time.monotonic())))
        body = asyncio.create_task(self._body())
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({body, stop}, return_when=asyncio.FIRST_COMPLETED)
            if body.done():
                body.result()
        finally:
            await self._shut_down(body)
            self._health.close()

    async def _body(self) -> None:
        await self._dataplane.close(self._settings)
        for failed in system.apply_kernel_settings(system.memory_octets()):
            log.warning("kernel setting left alone: %s", failed)
        self._identity = identity = await self._identify()
        settings, instance = self._settings, identity.instance_id
        await self._dataplane.load(settings, identity.vpc_networks)
        config, region = self._dataplane.config, settings.aws_region or identity.region
        self._chronicle = Chronicle(settings, instance=instance, region=region)
        queues = f"{config.queues} queues through {self._dataplane.variant}"
        self._tell("appliance", "started", f"{about.program()}, {queues}")
        self._revoker = Revoker(settings, self._chronicle, self._tell, instance=instance)
        pruner = Pruner(settings, self._chronicle, self._dataplane, self._tell, instance=instance)
        vpc_id, aliases = settings.aws_vpc_id or identity.vpc_id, parse_aliases(settings.lists_arns)
        self._discovery, self._lists = reading.connect(region, vpc_id, aliases, interval=settings.lists_interval)
        servers, limits = settings.names_nameservers, ResolverLimits(rate=settings.names_rate)
        self._resolver = Resolver(servers, settings.names_port, on_answer=self._on_answer, limits=limits)
        parameter = ssm.Parameter(ssm.connect(region), name) if (name := settings.preferences_parameter) else None
        self._preferences = PreferenceReader(
            settings, parameter, own=config.clients, put_in_force=self._prefer, tell=self._tell_changes
        )
        self._crew = Crew(
            configurations(settings, config, instance),
            on_start=self._on_worker_start,
            on_message=self._on_worker_message,
            on_death=self._on_worker_death,
        )
        self._crew.start()
        work = [self._poll(), self._ask(), self._watch(), self._count()]
        work += [self._proof.seek(config), self._preferences.follow(), pruner.follow()]
        if settings.aws_auto_scaling_group:
            group = autoscaling.Group(autoscaling.connect(region), settings.aws_auto_scaling_group, instance)
            work.append(Membership(group, settings, is_well=lambda: self.is_well, tell=self._tell).keep())
        await asyncio.gather(*work)

    async def _identify(self) -> Identity:
        """Return who we are, however long the metadata service takes to say it; take settings from user data.

        Raises:
            SettingsError: the user data cannot be understood. The program ends: what was asked for is unknown.
        """
        imds = Imds()
        wait = RETRY_FIRST
        while True:
            try:
                identity = await asyncio.to_thread(imds.identity)
                if self._settings.aws_user_data:
                    self._adopt(self._read_settings(await asyncio.to_thread(imds.user_data)))
                return identity
            except AwsError as fault:
                self._failure = fault.message
                log.warning("no identity yet, all stays closed: %s (%s)", fault.message, fault.hint)
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 -- spreads load, keeps no secret
            wait = min(wait * 2, RETRY_MOST)

    def _adopt(self, settings: Settings) -> None:
        if settings.health_port != self._settings.health_port:
            self._health.close()
            self._health = HealthServer(settings.health_port, self.report)
            self._health.start()
        self._settings = settings
        self._book = AddressBook(settings.names_grace)

    # ---- policy --------------------------------------------------------------------------

    async def _poll(self) -> None:
        """Read AWS again and again; a failure leaves everything as it is."""
        await self._preferences.settled.wait()
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
                self._failure, failures = "", 0
                self._read_at = began
                if await self._proof.wait() > PROOF_WAIT:  # until the data plane was seen to filter all stays closed
                    continue  # and what was read is old by now
                async with self._applying:
                    await self._apply(inventory.with_part(Inventory((), tuple(self._late.values()))))
            interval = self._preferences.current.policy_poll_interval or self._settings.policy_poll_interval
            await self._rest.take(interval, spent=time.monotonic() - began - self._lists.spent, failures=failures)

    async def _apply(self, inventory: Inventory) -> None:
        """Put what AWS says in force: names first, then the workers, then the kernel's sets. Then tell it."""
        before, self._inventory = self._inventory, inventory
        self._guard = self._preferences.guard
        policy = await asyncio.to_thread(compile_policy, inventory, self._guard)
        if policy.digest != self._policy.digest:
            changes = await asyncio.to_thread(brief, changes_between(self._policy, policy), before, inventory)
            self._book.forget(self._policy.names - policy.names)
            self._policy = policy
            self._resolver.maintain(policy.names)
            self._crew.broadcast(NewPolicy(policy))
            if not self._ready:
                await self._crew.wait_ready()
            await self._open()
            announcement = self._spawn(self._announce(policy, changes))
            if not self._ready:
                await announcement
        self._tell_changes(list_changes(before, inventory), policy.digest)
        if not self._ready:
            self._ready = True
            self._manager.notify("READY=1")
            self._tell("appliance", "ready", "the policy is in force")

    async def _announce(self, policy: Policy, changes: Iterable[Change]) -> None:
        """Tell of a policy once it is in force everywhere; a worker that is stuck must not hold up anything else."""
        await self._end_flows()
        reason = f"{len(policy.clients)} clients, {len(policy.names)} names, {len(policy.rejections)} rejections"
        self._tell("policy", "accepted", reason, policy.digest)
        await asyncio.to_thread(self._tell_changes, changes, policy.digest)  # thousands, the first time

    async def _prefer(self, preferences: Preferences) -> None:
        """Put new preferences in force: at the workers, then in the kernel's sets. They are told afterwards."""
        self._book.adjust(grace=preferences.grace, opened=preferences.private_destinations)
        self._crew.broadcast(NewPreferences(preferences))
        self._rest.end()  # its interval may be another
        async with self._applying:
            digest = self._policy.digest
            if self._ready and self._guard != self._preferences.guard:  # other patterns count by now
                await self._apply(self._inventory)
            if self._policy.digest == digest:  # or else it is open by the preferences already
                await self._open()
        await self._end_flows()

    async def _end_flows(self) -> None:
        """End the open flows that are not allowed any more, once no worker opens more of them."""
        await self._crew.wait_obeyed()
        await self._revoker.sweep(self._policy, self._preferences.current, self._today)

    async def _open(self) -> None:
        await self._dataplane.open(self._policy, self._today, self._preferences.current)

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
                for part in filter(None, found):
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
        send(NewPreferences(self._preferences.current))
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
            case WantName(name, client):
                self._spawn(self._answer(name, client, reply))
            case WantClient(client):
                self._wanted.add(client)
                self._wanting.set()

    def _on_worker_death(self, queue: int, code: int) -> None:
        self._tell("error", "restarted", f"the worker of queue {queue} ended with code {code}; its flows are refused")

    async def _answer(self, name: Fqdn, client: Ipv4 | None, reply: Send) -> None:
        answer = await self._resolver.look_up(name, fresh=True, client=client)
        if answer.error == OVERLOADED:  # every other answer has been broadcast, and one must not count twice
            reply(NewAnswers((answer,)))

    def _on_answer(self, answer: Answer) -> None:
        if answer.name in self._policy.names:  # of a pattern's, each worker keeps what its own clients asked for
            self._book.learn(answer, time.monotonic())
        self._crew.broadcast(NewAnswers((answer,)))

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- watching ------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Tell what the kernel dropped by itself; notice that a day has begun."""
        while True:
            await asyncio.sleep(WATCH)
            self._crew.kill_silent(time.monotonic())
            if self._applying.locked():  # it may be waiting for a worker that is stuck
                continue
            if self._today != system.utc_today() or self._revoker.is_behind:
                self._today = system.utc_today()
                async with self._applying:
                    await self._open()
                self._spawn(self._end_flows())
            async with self._applying:
                counted = await self._dataplane.counters()
            if counted is None:
                continue
            counted |= {"queue_full": sum(system.queue_drops().values()), **self._crew.losses}
            for reason in counted_since(self._counted, counted):
                self._tell("error", "dropped", reason)
            self._counted = counted

    @property
    def is_well(self) -> bool:
        """Flows are filtered as policy says. True or not, what is open in the kernel goes on."""
        return self._ready and not self._stopping.is_set() and self._crew.is_alive(time.monotonic())

    def report(self) -> tuple[bool, Mapping[str, object]]:
        """Return whether all is well, and what /healthz says. Called from the health server's threads."""
        is_well = self.is_well
        report: dict[str, object] = {"status": "ok" if is_well else "not ready", "version": __version__}
        report |= {"image": about.commit(), "self_test": self._proof.state, "aws_failure": self._failure}
        if hasattr(self, "_preferences"):
            report |= {"preferences": self._preferences.report(), "lists": self._lists.report()}
        if self._ready:
            report |= {"instance": self._identity.instance_id, "flows_ended": self._revoker.ended}
            report |= self._vitals().document()
        return is_well, report

    def _vitals(self) -> Vitals:
        age = None if self._read_at is None else time.monotonic() - self._read_at
        return Vitals.take(self._policy, age, crew=self._crew, resolver=self._resolver, chronicle=self._chronicle)

    async def _count(self) -> None:
        """Write the metrics, from the start on: an appliance that does not become ready is what an alarm is for."""
        interval, identity = self._settings.logs_metrics_interval, self._identity
        line = MetricsLine(deployment=self._settings.aws_deployment, zone=identity.zone, instance=identity.instance_id)
        before = Reading()
        while interval:
            now = (await asyncio.to_thread(self._vitals)).reading(is_well=self.is_well)
            wall = time.time()
            event = line.event(before, now, int(wall * 1000))
            self._chronicle.write(METRICS, render(event, wall), int(wall * 1000))
            before = now
            await asyncio.sleep(interval)

    def _tell(self, cat: str, outcome: str, reason: str, digest: str = "") -> None:
        log.info("%s %s: %s", cat, outcome, reason)
        digest, instance = digest or self._policy.digest, self._identity.instance_id
        self._chronicle.tell(config_event(cat=cat, outcome=outcome, reason=reason, instance=instance, digest=digest))

    def _tell_changes(self, changes: Iterable[Change], digest: str = "") -> None:
        digest, instance = digest or self._policy.digest, self._identity.instance_id
        self._chronicle.tell(*(change_event(change, instance=instance, digest=digest) for change in changes))

    async def _shut_down(self, body: asyncio.Task[None]) -> None:
        """Drain, and leave the closed ruleset behind: without a worker the kernel drops what it queues."""
        self._manager.notify("STOPPING=1")
        for task in (body, *self._tasks):
            task.cancel()
        await asyncio.wait({body})
        if hasattr(self, "_crew"):
            await self._crew.stop(DRAIN)
            await self._resolver.close()
            self._tell("appliance", "stopped", "flows in the kernel go on; new ones are refused")
        if hasattr(self, "_chronicle"):
            await asyncio.to_thread(self._chronicle.close)


def run(read_settings: Callable[[str], Settings]) -> None:
    """Run the appliance until it is told to stop.

    Args:
        read_settings: returns the settings, given the user data of this instance or nothing.
    """
    asyncio.run(Supervisor(read_settings).run())
