"""The data plane: the kernel's ruleset and its sets, as the policy and the preferences in force want them.

Closed first, opened by policy, put back when somebody flushed it. Runs on the supervisor's event loop; nft is called
from threads. What fails is told, and what is left stays: the engine refuses what policy does not allow, whatever the
sets say.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date

from appliance.address import Network, without
from appliance.edge.netfilter import QUEUES_MAX, Netfilter, NetfilterConfig
from appliance.errors import KernelError
from appliance.policy.crls import CRL_PORT
from appliance.policy.policy import EMPTY_POLICY, Policy, later
from appliance.policy.preferences import DEFAULTS, Crls, Gating, Preferences
from appliance.settings import Settings

WITHOUT_NFT_QUEUE = "iptables NFQUEUE rules: this kernel has no nft queue statement"


class Dataplane:
    """Our table in the kernel.

    Args:
        tell: writes a config event: category, outcome, reason.
    """

    def __init__(self, tell: Callable[[str, str, str], None]) -> None:
        self._tell = tell
        self._netfilter = Netfilter()
        self.config = NetfilterConfig(clients=(), queues=1, nft_queue=False)
        self._policy: Policy = EMPTY_POLICY
        self._today = date.min
        self._preferences = DEFAULTS

    @property
    def in_force(self) -> tuple[Policy, date, Preferences]:
        """What was opened last."""
        return self._policy, self._today, self._preferences

    @property
    def variant(self) -> str:
        """How packets get to the engine, in words."""
        return "the nft queue statement" if self.config.nft_queue else WITHOUT_NFT_QUEUE

    async def close(self, settings: Settings) -> None:
        """Load a ruleset that knows no client.

        Raises:
            KernelError: it could not be loaded; forwarding was not switched on by us.
        """
        self.config = NetfilterConfig(
            clients=(),
            queues=1,
            nft_queue=await asyncio.to_thread(self._netfilter.has_nft_queue),
            isn_reversed=await asyncio.to_thread(self._netfilter.has_reversed_isn),
            health_port=settings.health_port,
        )
        await asyncio.to_thread(self._netfilter.load, self.config)

    async def load(self, settings: Settings, vpc_networks: tuple[Network, ...]) -> None:
        """Load the ruleset for the clients of a VPC; its sets are empty until `open`.

        Raises:
            KernelError: it could not be loaded; the closed one stands.
        """
        extra = tuple(map(Network.parse, settings.policy_clients))
        self.config = replace(
            self.config,
            clients=tuple(dict.fromkeys((*vpc_networks, *extra))),
            queues=settings.engine_workers or min(len(os.sched_getaffinity(0)), QUEUES_MAX),
            first_queue=settings.engine_first_queue,
            openings_per_second=settings.engine_client_rate,
            health_port=settings.health_port,
            health_clients=tuple(map(Network.parse, settings.health_clients)),
        )
        await asyncio.to_thread(self._netfilter.load, self.config)

    async def open(self, policy: Policy, today: date, preferences: Preferences) -> None:
        """Make the kernel's sets what policy and preferences say on a day."""
        self._policy, self._today, self._preferences = policy, today, preferences
        clients = policy.clients
        annotated = [(address, port) for address, client in clients.items() for port in client.ports]
        if preferences.x509_crls is Crls.ALLOW:
            annotated += [(address, CRL_PORT) for address, client in clients.items() if CRL_PORT not in client.ports]
        grants = ((address, later(client.see_thru, preferences.grant)) for address, client in clients.items())
        see_thru = [address for address, grant in grants if grant is not None and grant.active(today)]
        networks = tuple(dict.fromkeys((*self.config.clients, *preferences.clients)))
        private = without(self.config.private, preferences.private_destinations)
        try:
            gated = preferences.syn_gate is Gating.ON
            await asyncio.to_thread(self._netfilter.open_ports, annotated, see_thru, networks, private, syn_gate=gated)
        except KernelError as fault:
            self._tell("error", "failed", f"the kernel's sets could not be changed: {fault.message}")

    async def counters(self) -> dict[str, int] | None:
        """Return what the kernel has counted; None if the ruleset was gone, and has been loaded again."""
        try:
            return dict(await asyncio.to_thread(self._netfilter.counters))
        except KernelError as fault:
            self._tell("error", "failed", f"the ruleset cannot be read, and is loaded again: {fault.message}")
        try:
            await asyncio.to_thread(self._netfilter.load, self.config)
        except KernelError as again:
            self._tell("error", "failed", f"the ruleset cannot be loaded: {again.message}")
            return None
        await self.open(self._policy, self._today, self._preferences)
        return None
