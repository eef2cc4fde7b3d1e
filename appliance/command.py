"""Commands: what the engine tells its surroundings to do.

The engine is fed packets, answers and times, and returns commands; the worker carries them out.
Every effect is one of these, log lines included, so a test asserts effects by comparing data.
Everything here is pure.
"""

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.address import Ipv4
from appliance.policy.entry import SEEN_THRU
from appliance.policy.fqdn import Fqdn


class Verdict(enum.Enum):
    """What becomes of a queued packet, and of its flow."""

    PASS = "pass"  # this packet goes on; the flow stays under inspection
    ALLOW = "allow"  # this packet goes on; the kernel forwards the rest of the flow by itself
    DENY = "deny"  # this packet is rejected towards its sender, and so is the rest of the flow
    DROP = "drop"  # this packet vanishes; nothing else changes


class SetVerdict(NamedTuple):
    """Decide the packet that the queue numbered `packet_id`. Given exactly once per packet.

    `entry`: of ALLOW, the number of the listed entry that allows the flow (`policy.entry`).
    A tuple, as is `Emit`, because two of each are made for every flow.
    """

    packet_id: int
    verdict: Verdict
    entry: int = SEEN_THRU


@dataclass(frozen=True, slots=True)
class SendReset:
    """Send a TCP reset that appears to come from `source`; both ends of a flow are told this way.

    `sequence` is what the receiver expects next (RFC 5961 section 3.2: anything else is only
    challenged). `acknowledgement` covers what the receiver has sent.
    """

    source: Ipv4
    source_port: int
    destination: Ipv4
    destination_port: int
    sequence: int
    acknowledgement: int


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look a listed name up now; the outcome comes back through `Engine.on_answer`. `client`: on whose behalf."""

    name: Fqdn
    client: Ipv4 | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class LookUpClient:
    """Ask AWS whose address this is; the outcome comes back through `Engine.on_client`."""

    address: Ipv4


class Emit(NamedTuple):
    """Write one flow event; the field names are those of `appliance.event`."""

    event: dict[str, object]


Command = SetVerdict | SendReset | Resolve | LookUpClient | Emit
