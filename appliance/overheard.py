"""The overheard: events about flows that no engine decides, for the kernel refuses them without a word.

What their clients say is in the event all the same, as it is for a flow that is inspected. Everything here is pure.
"""

from datetime import date

from appliance.event import Event, add_request, flow_event, name_ends
from appliance.inspection import inspect_client
from appliance.judge import no
from appliance.reason import Reason
from appliance.standing import FlowKey
from appliance.wire.ipv6 import format_ipv6
from appliance.wire.sniff import sniff


def overheard_event(
    side: str, flow: FlowKey, octets: bytes, reason: Reason, *, detail: str, instance: str, today: date
) -> Event:
    """Return the event of a flow that is refused whatever it says.

    Args:
        side: whose octets they are: `client` or `server`.
        flow: its ends.
        octets: what that side said first, as far as it is known.
        reason: why it is refused.
        detail: more of why.
        instance: who refuses.
        today: the date in UTC.
    """
    hello = inspect_client(octets) if octets and side == "client" else None
    client, client_port, server, server_port = flow
    event = flow_event(
        side=side,
        source=client,
        source_port=client_port,
        destination=server,
        destination_port=server_port,
        protocol=hello.protocol if hello else sniff(octets) or "unknown",
        version=hello.version if hello else "",
        decision=no(reason, name=hello.name if hello else "", detail=detail),
        instance=instance,
        see_thru=None,
        today=today,
    )
    if hello and hello.request:
        add_request(event, hello.request.method, hello.request.path, hello.request.user_agent)
    return event


def name_ipv6(event: Event, client: bytes, server: bytes) -> None:
    """Put the ends of a flow of IPv6, 16 octets each, into its event."""
    name_ends(event, format_ipv6(client), format_ipv6(server))
