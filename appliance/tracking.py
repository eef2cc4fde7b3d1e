"""Tracking: the connections of a capture, as the kernel's conntrack would have them, in a bounded table.

Everything here is pure.
"""

import enum
from collections import OrderedDict
from collections.abc import Hashable, Iterator

from appliance.address import Ipv4
from appliance.standing import FlowKey
from appliance.wire.stream import Stream

CONNECTIONS_MAX = 32768  # ours

# (client, its port, server, its port), and what else tells flows apart; addresses of IPv6 are octets.
Key = tuple[Hashable, ...]


class Stage(enum.Enum):
    """Who has a connection's packets, and what for."""

    OPEN = "open"  # the engine: policy lets its port pass
    REFUSED = "refused"  # the engine: policy refuses its port; what its client says still belongs into the event
    OVERHEARD = "overheard"  # nobody: it is refused whatever it is, and reported with what its client says
    ALLOWED = "allowed"  # nobody: the kernel forwards them
    DENIED = "denied"  # nobody: the kernel rejects them


class Connection:
    """One connection. Plain and mutable, for there are many."""

    __slots__ = ("agreed", "began", "closed", "flow", "heard", "isn", "key", "opening", "reopening", "stage", "stream")

    def __init__(self, key: Key, stage: Stage, began: float) -> None:
        self.key = key
        self.stage = stage
        self.began = began  # Unix time, in seconds
        self.flow: FlowKey = (Ipv4(0), 0, Ipv4(0), 0)  # as the log names it
        self.isn = 0  # the client's initial sequence number
        self.agreed = False  # the server's SYN has confirmed it
        self.reopening = False  # a client has sent another SYN into an allowed one
        self.closed = False  # an end or a reset was seen
        self.opening = b""  # the first packet, of one that is refused and whose client has said nothing yet
        self.heard: int | None = None  # of one that is overheard: sequence number of the client's first octet
        self.stream: Stream | None = None  # likewise: what its client says

    @property
    def is_decided(self) -> bool:
        """Its packets are nobody's business any more."""
        return self.stage is Stage.ALLOWED or self.stage is Stage.DENIED


class Connections:
    """At most `most` connections by key, that which was silent for longest first."""

    def __init__(self, most: int = CONNECTIONS_MAX) -> None:
        self._most = most
        self._table: OrderedDict[Key, Connection] = OrderedDict()

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._table.values())

    def get(self, key: Key) -> Connection | None:
        """Return the connection with this key; it is then not the first to go."""
        connection = self._table.get(key)
        if connection is not None:
            self._table.move_to_end(key)
        return connection

    def add(self, connection: Connection) -> Connection | None:
        """Insert a connection; return the one that had to go for it: of the same key, or the most silent."""
        gone = self._table.pop(connection.key, None)
        if gone is None and len(self._table) >= self._most:
            _, gone = self._table.popitem(last=False)
        self._table[connection.key] = connection
        return gone
