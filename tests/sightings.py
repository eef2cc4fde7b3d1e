"""Lines of a flow log under see-thru, made by the appliance's own functions."""

import json
from datetime import UTC, date, datetime
from typing import Any

from appliance.address import parse_ipv4
from appliance.edge.journal import render
from appliance.event import flow_event
from appliance.policy.decision import Decision
from appliance.policy.policy import SeeThruGrant
from appliance.reason import Reason

GROUP = "sg-0a1b2c3d4e5f60718"
OTHER_GROUP = "sg-0f6e5d4c3b2a19087"
MORNING = datetime(2027, 1, 5, 9, 12, 44, 317000, UTC)
SERVER = "203.0.113.10"


def line(
    name: str = "api.example.com",
    port: int = 443,
    *,
    side: str = "client",
    protocol: str = "tls",
    version: str = "TLS 1.3",
    reason: Reason = Reason.NAME_NOT_LISTED,
    gid: str | None = GROUP,
    client: str = "10.0.1.10",
    until: date = date(2027, 1, 31),
    at: datetime = MORNING,
    **changes: Any,
) -> str:
    """Return the line that the appliance writes.

    Args:
        gid: whose see-thru it is; None: nobody's.
        changes: fields to be otherwise.
    """
    event = flow_event(
        side=side,
        source=parse_ipv4(client),
        source_port=49152,
        destination=parse_ipv4(SERVER),
        destination_port=port,
        protocol=protocol,
        version=version,
        decision=Decision(allow=reason is Reason.NAME_LISTED, reason=reason, name=name),
        instance="i-0a1b2c3d4e5f60718",
        see_thru=None if gid is None else SeeThruGrant(until, gid),
        today=date(2027, 1, 5),
    )
    text = render(event, at.timestamp()).decode().rstrip()
    return json.dumps(json.loads(text) | changes) if changes else text
