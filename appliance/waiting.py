"""Look-ups that flows wait for: what to ask DNS or AWS before a flow may be refused.

Everything here is pure; the questions are commands.
"""

from collections.abc import Iterable

from appliance.address import Ipv4
from appliance.command import Command, LookUpClient, Resolve
from appliance.flow import Flow
from appliance.limits import Limits
from appliance.policy.fqdn import Fqdn


class Waiting:
    """Which flows wait for which answer. A client's question is asked once, however many of its flows wait for it.

    Another client asks for itself: DNS is asked once for both (edge/resolver.py), and nobody waits in another's queue.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_name: dict[Fqdn, dict[Ipv4, set[Flow]]] = {}
        self._by_client: dict[Ipv4, set[Flow]] = {}

    @property
    def clients(self) -> Iterable[Ipv4]:
        """Clients that AWS is being asked about."""
        return self._by_client.keys()

    def ask_client(self, flow: Flow, out: list[Command]) -> bool:
        """Ask AWS whose address the client's is; False if it was asked before."""
        if not self._may_ask(flow):
            return False
        client = flow.key[0]
        flows = self._by_client.setdefault(client, set())
        if not flows:
            out.append(LookUpClient(client))
        flows.add(flow)
        return True

    def ask_names(self, flow: Flow, names: Iterable[Fqdn], out: list[Command]) -> bool:
        """Ask DNS about names, as many as one flow may ask for; False if there is nothing more to ask."""
        if not self._may_ask(flow):
            return False
        for name, _ in zip(names, range(self._limits.names_per_look_up), strict=False):
            flows = self._by_name.setdefault(name, {}).setdefault(flow.key[0], set())
            if not flows:
                out.append(Resolve(name, flow.key[0]))
            flows.add(flow)
            flow.waiting_for.add(name)
        return bool(flow.waiting_for)

    def _may_ask(self, flow: Flow) -> bool:
        flow.look_ups += 1
        return flow.look_ups <= self._limits.look_ups_per_flow

    def answered_name(self, name: Fqdn, client: Ipv4 | None = None) -> list[Flow]:
        """Return the flows that waited for this name, of one client or of all; they no longer do."""
        waiting = self._by_name.pop(name, {})
        others = {other: flows for other, flows in waiting.items() if client not in (None, other)}
        if others:
            self._by_name[name] = others
        flows = [flow for other in waiting.keys() - others.keys() for flow in waiting[other]]
        for flow in flows:
            flow.waiting_for.discard(name)
        return flows

    def answered_client(self, client: Ipv4) -> list[Flow]:
        """Return the flows that waited for this client; they no longer do."""
        return list(self._by_client.pop(client, ()))

    def forget(self, flow: Flow) -> None:
        """Stop waiting on behalf of a flow that was decided."""
        if not flow.look_ups:
            return
        for name in flow.waiting_for:
            waiting = self._by_name.get(name, {})
            flows = waiting.get(flow.key[0])
            if flows is not None:
                flows.discard(flow)
                if not flows:
                    del waiting[flow.key[0]]
                if not waiting:
                    del self._by_name[name]
        flow.waiting_for.clear()
        flows = self._by_client.get(flow.key[0])
        if flows is not None:
            flows.discard(flow)
            if not flows:
                del self._by_client[flow.key[0]]
