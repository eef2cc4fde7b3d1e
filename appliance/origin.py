"""Where a packet comes from that the engine is given.

This module imports nothing of ours.
"""

import enum


class Origin(enum.Enum):
    """Why the kernel queued a packet."""

    CLIENT = "client"  # a segment with payload, client to server, of an undecided flow
    SERVER = "server"  # the same, server to client
    GATE = "gate"  # no rule of the kernel's lets it pass
    EXCESS = "excess"  # the first packet of a flow beyond the rate of its client
