"""Staging: which connections the kernel's sets would give to the engine, by policy and preferences.

It is what `dataplane` writes into the ruleset's sets, asked for one connection of a capture. Everything here is pure.
"""

from datetime import date

from appliance.address import Ipv4, is_closed
from appliance.policy.crls import CRL_PORT
from appliance.policy.policy import Policy, later
from appliance.policy.preferences import Crls, Gating, Preferences
from appliance.tracking import Stage


class Staging:
    """What becomes of SYNs, before anybody has read what follows."""

    def __init__(self, policy: Policy, preferences: Preferences) -> None:
        self._policy = policy
        self._fetches = preferences.x509_crls is Crls.ALLOW
        self._grant = preferences.grant
        self._opened = preferences.private_destinations
        self.looks_at_syns = preferences.syn_gate is Gating.ON  # of those that are open otherwise

    def stage(self, client: Ipv4, server: Ipv4, port: int, today: date) -> Stage:
        """Return who has the packets of a connection. `today`: in UTC."""
        known = self._policy.clients.get(client)
        if known is None or is_closed(server, self._opened):
            return Stage.REFUSED
        if port in known.ports or (port == CRL_PORT and self._fetches):
            return Stage.OPEN
        grant = later(known.see_thru, self._grant)
        return Stage.OPEN if grant is not None and grant.active(today) else Stage.REFUSED
