"""A worker: one process, one queue, one engine.

Wires NFQUEUE, a raw socket for resets and the channel to the supervisor to the engine, and gives it
the time. Whatever goes wrong here ends closed: a packet the engine fails on is denied, and when the
process dies the kernel drops what it held and all that follows, until another one binds the queue.
"""

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import sys
import time
import warnings

from netfilterqueue import NetfilterQueue
from netfilterqueue import Packet as QueuedPacket

from appliance.command import Command, Emit, Resolve, SendReset, SetVerdict, Verdict
from appliance.edge.channel import WorkerChannel
from appliance.edge.journal import render
from appliance.edge.netfilter import STATE_SHIFT, Mark, isn_of
from appliance.edge.system import utc_today
from appliance.edge.verdicts import Verdicts
from appliance.engine import Engine
from appliance.event import Event
from appliance.messages import (
    ClientAnswered,
    Configure,
    Confirm,
    Confirmed,
    FlowLines,
    NewAnswers,
    NewPolicy,
    NewPreferences,
    Ready,
    Statistics,
    Stop,
    WantClient,
    WantName,
)
from appliance.origin import Origin
from appliance.policy.preferences import DEFAULTS
from appliance.wire.ip import render_reset

TICK = 0.25  # seconds between two looks at the clock on the engine's behalf
FLUSH = 0.05  # seconds that an event waits at most before it is rendered and sent
FLUSH_EVENTS = 512  # events that are not kept waiting
STATISTICS = 1.0  # seconds between two reports
QUEUE_LENGTH = 8192  # packets the kernel keeps for us, held ones included
# The package reads into 4,096 octets and takes 80 of them for what stands in front of a packet. It can
# be more, and a message that does not fit is lost, its packet queued for ever.
COPY_OCTETS = 3840
QUEUE_OCTETS = 16 * 1024 * 1024  # of the queue's socket
BURST = 64  # packets taken in one go, so that the channel and the clock get their turn

ORIGINS = {
    Mark.CLIENT.value: Origin.CLIENT,
    Mark.SERVER.value: Origin.SERVER,
    Mark.GATE.value: Origin.GATE,
    Mark.EXCESS.value: Origin.EXCESS,
}
PASSED, DENIED = (Verdicts.mark_attribute(mark.bits) for mark in (Mark.PASS, Mark.DENIED))


class _BurstSocket(socket.socket):
    """The queue's socket, as `NetfilterQueue.run_socket` reads it: at most BURST packets at a time.

    The package's own loop reads until nothing is left, which under load is never.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(fileno=os.dup(descriptor))
        self.settimeout(0)
        self.left = 0  # packets until a pause

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        if not self.left:
            raise BlockingIOError(errno.EAGAIN, "enough for now")  # the package stops reading
        self.left -= 1
        return super().recv(bufsize, flags)


class Worker:
    """Serves one queue until told to stop, or until the supervisor is gone."""

    def __init__(self, configuration: Configure, channel: WorkerChannel) -> None:
        self._channel = channel
        self._isn_reversed = configuration.isn_reversed
        self._engine = Engine(
            instance=configuration.instance,
            today=utc_today(),
            limits=configuration.limits,
            grace=configuration.grace,
        )
        self._outcomes = DEFAULTS.flow_log_verbosity.outcomes  # whose events are logged
        self._events: list[tuple[Event, float]] = []
        self._seen = self._logged = self._lost = self._errors = 0
        self._now, self._wall = time.monotonic(), time.time()  # read once per burst
        self._drained_by: float | None = None  # when to exit at the latest, once told to
        self._resets = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._resets.settimeout(0)
        self._resets.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, Mark.RESET.bits)
        self._queue = NetfilterQueue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a smaller socket buffer than asked for will do
            self._queue.bind(
                configuration.queue, self._on_queued, max_len=QUEUE_LENGTH, range=COPY_OCTETS, sock_len=QUEUE_OCTETS
            )
        self._source = _BurstSocket(self._queue.get_fd())
        self._verdicts = Verdicts(configuration.queue, self._queue.get_fd())

    def serve(self) -> None:
        """Run until told to stop and nothing is held, or until the supervisor is gone."""
        poller = select.poll()
        poller.register(self._queue.get_fd(), select.POLLIN)
        poller.register(self._channel, select.POLLIN)
        tick_at = flush_at = report_at = time.monotonic()
        while self._drained_by is None or (self._engine.held and time.monotonic() < self._drained_by):
            ready = poller.poll(FLUSH * 1000)
            self._now, self._wall = time.monotonic(), time.time()
            now = self._now
            for descriptor, _ in ready:
                if descriptor == self._channel.fileno():
                    self.obey(self._channel.receive(), now)
                else:
                    self._source.left = BURST
                    self._queue.run_socket(self._source)
            if now >= tick_at:
                tick_at = now + TICK
                self._carry_out(self._engine.on_tick(now, utc_today()))
            if now >= flush_at or len(self._events) >= FLUSH_EVENTS:
                flush_at = now + FLUSH
                self._flush()
            if now >= report_at:
                report_at = now + STATISTICS
                self._report()
            self._verdicts.send()
        self._verdicts.send()
        self._flush()
        self._report()
        self._queue.unbind()
        self._channel.drain(STATISTICS)

    # ---- packets -------------------------------------------------------------------------

    def _on_queued(self, packet: QueuedPacket) -> None:
        mark = packet.mark
        self._seen += 1
        try:
            isn = isn_of(mark, is_reversed=self._isn_reversed)
            origin = ORIGINS[mark >> STATE_SHIFT]
            commands = self._engine.on_packet(packet.id, origin, isn, packet.get_payload(), self._now)
        except Exception as fault:  # noqa: BLE001 -- nothing may escape into the package's C code; the packet is denied
            self._errors += 1
            sys.stderr.write(f"discriminat: error: the engine failed on a packet: {fault!r}\n")
            commands = [SetVerdict(packet.id, Verdict.DENY)]
        self._carry_out(commands)

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, SetVerdict):  # most are; a match statement would take twice as long
                if command.verdict is Verdict.PASS:
                    self._verdicts.accept(command.packet_id, PASSED)
                elif command.verdict is Verdict.ALLOW:
                    mark = Verdicts.mark_attribute(Mark.ALLOWED.bits | command.entry)
                    self._verdicts.accept(command.packet_id, mark)
                elif command.verdict is Verdict.DENY:
                    self._verdicts.accept(command.packet_id, DENIED)
                else:
                    self._verdicts.drop(command.packet_id)
            elif isinstance(command, Emit):
                if command.event["outcome"] in self._outcomes:
                    self._events.append((command.event, self._wall))
            elif isinstance(command, SendReset):
                self._send_reset(command)
            elif isinstance(command, Resolve):
                self._channel.send(WantName(command.name, command.client))
            else:
                self._channel.send(WantClient(command.address))

    def _send_reset(self, reset: SendReset) -> None:
        octets = render_reset(
            reset.source,
            reset.source_port,
            reset.destination,
            reset.destination_port,
            reset.sequence,
            reset.acknowledgement,
        )
        self._verdicts.send()  # what is allowed to reach an end, such as a TLS alert, does so before its reset
        # A reset that is lost is no harm: the flow's packets are dropped, and later inspected afresh.
        with contextlib.suppress(OSError):
            self._resets.sendto(octets, (socket.inet_ntoa(reset.destination.to_bytes(4)), 0))

    # ---- log, orders ---------------------------------------------------------------------

    def _flush(self) -> None:
        if not self._events:
            return
        events, self._events = self._events, []
        self._logged += len(events)
        lines = b"".join([render(event, when) for event, when in events])
        if not self._channel.send(FlowLines(lines, len(events), int(events[-1][1] * 1000)), droppable=True):
            self._lost += len(events)

    def _report(self) -> None:
        statistics = Statistics(
            packets=self._seen,
            events=self._logged,
            events_lost=self._lost,
            suppressed=self._engine.suppressed,
            errors=self._errors,
            flows=self._engine.flows,
            held=self._engine.held,
        )
        self._channel.send(statistics, droppable=True)

    def obey(self, messages: list[object], now: float) -> None:
        """Carry out the supervisor's messages."""
        for message in messages:
            match message:
                case NewPolicy(policy):
                    self._carry_out(self._engine.on_policy(policy, now))
                    self._channel.send(Ready())
                case NewPreferences(preferences):
                    self._engine.on_preferences(preferences)
                    self._outcomes = preferences.flow_log_verbosity.outcomes
                case NewAnswers(answers):
                    for answer in answers:
                        self._carry_out(self._engine.on_answer(answer, now))
                case ClientAnswered(client):
                    self._carry_out(self._engine.on_client(client, now))
                case Confirm(number):
                    self._carry_out(self._engine.on_tick(now, utc_today()))  # its date may have changed, too
                    self._verdicts.send()  # what was allowed before is open in the kernel, for all to see
                    self._channel.send(Confirmed(number))
                case Stop(seconds):
                    self._drained_by = now + seconds


def work(descriptor: int) -> None:
    """Be a worker: the body of the process that the supervisor starts.

    Args:
        descriptor: our end of the socket pair to the supervisor.
    """
    # A service manager signals the whole group; the supervisor tells us when it is time.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A batch task does not interrupt others when it wakes up, so under load packets gather meanwhile.
    with contextlib.suppress(OSError):  # a sandbox may forbid it, and it is only for speed
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    # Flows make no cycles, so the collector would find nothing, in a table of ten thousand.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    channel = WorkerChannel(socket.socket(fileno=descriptor))
    with contextlib.suppress(EOFError):  # the supervisor is gone; exiting closes the queue
        configuration, *messages = channel.wait()
        worker = Worker(configuration, channel)
        worker.obey(messages, time.monotonic())
        worker.serve()
