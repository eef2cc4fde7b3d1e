"""Flows under inspection, in a bounded table with timers.

A flow lives here from its first segment with payload until shortly after it was decided; then the
kernel's conntrack mark speaks for it. Nothing here reads the clock: `now` is monotonic seconds.
"""

import enum
from collections import OrderedDict

from appliance.address import Ipv4
from appliance.inspection import Greeting, Hello
from appliance.limits import Limits
from appliance.policy.decision import Decision
from appliance.policy.fqdn import Fqdn
from appliance.policy.policy import Policy
from appliance.standing import FlowKey
from appliance.wire.stream import Stream

SEQUENCE_SPACE = 1 << 32
ISN_BITS = 24  # as many bits of the client's initial sequence number as the conntrack mark has room for
ISN_SPACE = 1 << ISN_BITS
SLOTS = 4  # per second: how finely deadlines are told apart


class State(enum.Enum):
    """How far a flow has come."""

    HELLO = "hello"  # collecting the client's first octets; none has reached the server
    WAITING = "waiting"  # the hello is complete; an answer from DNS or AWS is awaited
    PROVISIONAL = "provisional"  # the hello was good and went on; the server's reply is awaited
    RETRY = "retry"  # the server asked for a second hello
    PLAINTEXT = "plaintext"  # plaintext HTTP that passes, packet by packet
    ALLOWED = "allowed"  # decided; the kernel forwards the rest
    DENIED = "denied"  # decided; what still comes is dropped


class Flow:
    """One flow under inspection. Plain and mutable: it is made and dropped ten thousand times a second."""

    __slots__ = (
        "base",
        "client",
        "client_expects",
        "greeting",
        "held",
        "hello",
        "hello_end",
        "judged_by",
        "key",
        "look_ups",
        "released",
        "retried",
        "ruling",
        "server",
        "server_base",
        "server_from",
        "slot",
        "state",
        "waiting_for",
    )

    def __init__(self, key: FlowKey, base: int, client: Stream) -> None:
        self.key = key
        self.state = State.HELLO
        self.slot = 0  # of the table's timers; 0: none
        self.base = base  # sequence number of the client's first octet
        self.client = client
        self.client_expects: int | None = None  # next sequence number the client wants from the server
        self.released = 0  # octets of the client's direction that went on to the server
        self.hello: Hello | None = None
        self.ruling: Decision | None = None  # what policy said of the hello, once it was allowed
        self.judged_by: Policy | None = None  # what said so
        self.hello_end = 0  # octets of the client's direction that were inspected as hello
        self.server: Stream | None = None
        self.server_base = 0  # sequence number of the server's first octet
        self.server_from = 0  # octets of the server's direction already dealt with
        self.greeting: Greeting | None = None  # an SSH server's identification, if it spoke first
        self.retried = False  # a HelloRetryRequest has been seen
        self.held: list[tuple[int, int]] = []  # (packet id, its place: see `holding`), in order of arrival
        self.waiting_for: set[Fqdn] = set()
        self.look_ups = 0  # rounds of questions asked

    @property
    def is_decided(self) -> bool:
        """Nothing is inspected any more; the flow is remembered for packets already queued."""
        return self.state is State.ALLOWED or self.state is State.DENIED


def base_of(sequence: int, isn: int) -> int:
    """Return the full sequence number of the client's first octet.

    Args:
        sequence: any sequence number of the flow near its start.
        isn: the low ISN_BITS bits of the client's initial sequence number, from the conntrack mark.
    """
    offset = (sequence - isn - 1) % ISN_SPACE
    if offset >= ISN_SPACE >> 1:
        offset -= ISN_SPACE
    return (sequence - offset) % SEQUENCE_SPACE


def offset_of(sequence: int, base: int) -> int:
    """Return how many octets `sequence` lies after `base`, negative if before (RFC 9293 section 3.4)."""
    offset = (sequence - base) % SEQUENCE_SPACE
    return offset - SEQUENCE_SPACE if offset >= SEQUENCE_SPACE >> 1 else offset


class FlowTable:
    """At most `limits.flows` flows by key, oldest first, and their deadlines."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # The first of a plain dictionary is slow to find where many before it were deleted: when the table is full.
        self._flows: OrderedDict[FlowKey, Flow] = OrderedDict()
        self._undecided: dict[Ipv4, int] = {}
        # A wheel: flows by the slot of time in which they expire. A flow is in one slot at most, so
        # that a timer nobody waits for any more keeps no flow in memory.
        self._slots: dict[int, dict[Flow, None]] = {}

    def __len__(self) -> int:
        return len(self._flows)

    def get(self, key: FlowKey) -> Flow | None:
        """Return the flow with this key."""
        return self._flows.get(key)

    def client_is_full(self, client: Ipv4) -> bool:
        """Tell whether a client has as many undecided flows as one client may have."""
        return self._undecided.get(client, 0) >= self._limits.flows_per_client

    @property
    def is_full(self) -> bool:
        """There is no room for another flow."""
        return len(self._flows) >= self._limits.flows

    def add(self, flow: Flow) -> None:
        """Insert a new flow. The caller has made room."""
        self._flows[flow.key] = flow
        client = flow.key[0]
        self._undecided[client] = self._undecided.get(client, 0) + 1

    def settle(self, flow: Flow, state: State) -> None:
        """Move an undecided flow to ALLOWED or DENIED."""
        flow.state = state
        client = flow.key[0]
        left = self._undecided[client] - 1
        if left:
            self._undecided[client] = left
        else:
            del self._undecided[client]

    def remove(self, flow: Flow) -> None:
        """Drop a decided flow."""
        self._disarm(flow)
        if self._flows.get(flow.key) is flow:
            del self._flows[flow.key]

    def arm(self, flow: Flow, seconds: float, now: float) -> None:
        """Let the flow expire `seconds` from now, or a part of a slot later; an earlier deadline is forgotten."""
        slot = int((now + seconds) * SLOTS) + 1
        if flow.slot:
            self._disarm(flow)
        flow.slot = slot
        flows = self._slots.get(slot)
        if flows is None:
            self._slots[slot] = {flow: None}
        else:
            flows[flow] = None

    def _disarm(self, flow: Flow) -> None:
        flows = self._slots.get(flow.slot)
        if flows is not None:
            flows.pop(flow, None)
            if not flows:
                del self._slots[flow.slot]
        flow.slot = 0

    def expired(self, now: float) -> list[Flow]:
        """Return the flows whose deadline has passed, earliest first; they have none until armed again."""
        flows: list[Flow] = []
        for slot in sorted(slot for slot in self._slots if slot <= now * SLOTS):
            flows += self._slots.pop(slot)
        for flow in flows:
            flow.slot = 0
        return flows

    def oldest(self) -> Flow:
        """Return the flow that has been in the table longest."""
        return next(iter(self._flows.values()))
