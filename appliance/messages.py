"""What the supervisor and a worker tell one another. Plain data, sent whole. Everything here is pure."""

from dataclasses import dataclass

from appliance.address import Ipv4
from appliance.limits import Limits
from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn
from appliance.policy.policy import Policy
from appliance.policy.preferences import Preferences

# ---- supervisor to worker ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Configure:
    """First of all: which queue to serve, and how."""

    queue: int
    instance: str
    limits: Limits
    grace: float  # seconds
    isn_reversed: bool  # see edge.netfilter


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """The policy to put in force."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class NewPreferences:
    """The preferences to put in force; the first come before the first policy."""

    preferences: Preferences


@dataclass(frozen=True, slots=True)
class NewAnswers:
    """What DNS says of some names."""

    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class ClientAnswered:
    """AWS was asked about a client; if it knows it, the policy that was sent before does too."""

    client: Ipv4


@dataclass(frozen=True, slots=True)
class Confirm:
    """Answer with `Confirmed` and this number: what was sent before has been obeyed by then."""

    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Decide what is held, within `seconds`, flush the log, and exit."""

    seconds: float


# ---- worker to supervisor ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The queue is bound and a policy is in force."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """All that came before the `Confirm` of this number is in force."""

    number: int


@dataclass(frozen=True, slots=True)
class WantName:
    """Look this name up now, for this client, whose share of the look-ups it takes."""

    name: Fqdn
    client: Ipv4 | None = None


@dataclass(frozen=True, slots=True)
class WantClient:
    """Ask AWS whose address this is."""

    client: Ipv4


@dataclass(frozen=True, slots=True)
class FlowLines:
    """Flow events, rendered as so many JSON lines, of about one time: milliseconds since 1970."""

    lines: bytes
    count: int
    millis: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """How a worker is doing: counts since its start, and what is in its tables now."""

    packets: int = 0
    events: int = 0
    events_lost: int = 0  # the supervisor did not read in time
    suppressed: int = 0  # events not written: too many packets belonged to no flow
    errors: int = 0  # packets denied because the engine failed on them
    flows: int = 0
    held: int = 0
