"""The policy in force and the date: what every decision is made, and logged, against.

Everything here is pure; whoever owns a `Standing` sets its `policy`, its `today` (UTC), its `grant` of see-thru to
every client that is known, the private networks that are `opened` to rules, and the `endpoints` that clients may fetch
revocation lists from in plaintext, if any.
"""

from datetime import date

from appliance.address import Ipv4, Network, is_private
from appliance.command import Emit
from appliance.event import flow_event
from appliance.policy.crls import Endpoints
from appliance.policy.decision import Decision
from appliance.policy.policy import EMPTY_POLICY, Policy, SeeThruGrant, later
from appliance.reason import NEVER_SEEN_THRU, Reason

# (client address, client port, server address, server port), as the client sent it.
FlowKey = tuple[Ipv4, int, Ipv4, int]


class Standing:
    """What the engine and its gate share."""

    __slots__ = ("endpoints", "grant", "instance", "opened", "policy", "today")

    def __init__(self, instance: str, today: date) -> None:
        self.instance = instance
        self.policy: Policy = EMPTY_POLICY
        self.today = today
        self.grant: SeeThruGrant | None = None
        self.endpoints: Endpoints | None = None
        self.opened: tuple[Network, ...] = ()

    def see_thru(self, client: Ipv4) -> SeeThruGrant | None:
        """Return the see-thru grant of a client, whatever its date: the one of its groups or everybody's, if later."""
        known = self.policy.clients.get(client)
        if known is None:
            return None
        return known.see_thru if self.grant is None else later(known.see_thru, self.grant)

    def lets_through(self, client: Ipv4, server: Ipv4, reason: Reason) -> bool:
        """Tell whether see-thru lets pass what policy denies for this reason; private networks never."""
        grant = self.see_thru(client)
        if grant is None or not grant.active(self.today):
            return False
        return reason not in NEVER_SEEN_THRU and not is_private(server)

    def event(
        self,
        side: str,
        key: FlowKey,
        decision: Decision,
        *,
        protocol: str = "unknown",
        version: str = "",
        is_post_quantum: bool | None = None,
    ) -> Emit:
        """Return the command that logs a decision about one side of a flow."""
        client, client_port, server, server_port = key
        return Emit(
            flow_event(
                side=side,
                source=client,
                source_port=client_port,
                destination=server,
                destination_port=server_port,
                protocol=protocol,
                version=version,
                decision=decision,
                instance=self.instance,
                see_thru=self.see_thru(client),
                today=self.today,
                is_post_quantum=is_post_quantum,
            )
        )
