"""The SYN gate: a client's SYN goes out to addresses of listed names only, if the preferences ask for it (X11).

Without it the kernel lets a handshake with any address on an annotated port through, and the hello decides. That is
quicker, and leaves whoever cannot send a hello anywhere a message in the SYN itself: its ports, its numbers, its time.

A destination that is not known yet is asked for, as a hello's would be: the SYN is held while the names that are listed
for its port are looked up. Everything here is pure; a held packet is known by the queue's number for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.address import Ipv4
from appliance.command import Command, Resolve
from appliance.judge import Judge
from appliance.limits import Limits
from appliance.policy.decision import Decision
from appliance.policy.fqdn import Fqdn
from appliance.policy.policy import PortRules
from appliance.wire.ip import Packet


@dataclass(slots=True, eq=False)
class HeldSyn:
    """A SYN without a verdict. `names`: whose look-ups it waits for; `until`: when it waits no longer."""

    packet_id: int
    packet: Packet
    names: set[Fqdn]
    until: float


class SynGate:
    """Which SYNs wait for which look-ups. Off until `is_on` is set."""

    def __init__(self, judge: Judge, limits: Limits) -> None:
        self.is_on = False
        self._judge = judge
        self._limits = limits
        self._held: dict[HeldSyn, None] = {}  # oldest first
        self._by_name: dict[Fqdn, set[HeldSyn]] = {}
        self._by_client: dict[Ipv4, int] = {}

    @property
    def held(self) -> int:
        """SYNs without a verdict."""
        return len(self._held)

    def refusal(self, rules: PortRules, destination: Ipv4, now: float) -> Decision | None:
        """Return why a SYN may not go out now, or None."""
        return self._judge.refuse_syn(rules, destination, now) if self.is_on else None

    def has_room(self, client: Ipv4) -> bool:
        """Tell whether another SYN of a client may be held."""
        return self._by_client.get(client, 0) < self._limits.held_syns_per_client

    def hold(self, packet_id: int, packet: Packet, rules: PortRules, now: float, out: list[Command]) -> None:
        """Hold a SYN, for which there must be room, and ask for as many names of its port as a flow may ask for."""
        names: set[Fqdn] = set()
        for table in (rules.tls, rules.ssh):
            for name in table:
                if len(names) < self._limits.names_per_look_up:
                    names.add(name)
        syn = HeldSyn(packet_id, packet, names, now + self._limits.look_up_wait)
        self._held[syn] = None
        self._by_client[packet.source] = self._by_client.get(packet.source, 0) + 1
        for name in sorted(names):
            waiting = self._by_name.setdefault(name, set())
            if not waiting:
                out.append(Resolve(name, packet.source))
            waiting.add(syn)

    def answered(self, name: Fqdn) -> list[HeldSyn]:
        """Return the SYNs that waited for this name; they no longer do, but are held until `release`."""
        syns = self._by_name.pop(name, set())
        for syn in syns:
            syn.names.discard(name)
        return sorted(syns, key=lambda syn: syn.packet_id)

    def late(self, now: float) -> list[HeldSyn]:
        """Return the SYNs that have waited long enough."""
        syns = []
        for syn in self._held:
            if syn.until > now:
                break
            syns.append(syn)
        return syns

    def release(self, syns: Iterable[HeldSyn]) -> None:
        """Forget SYNs that get their verdict."""
        for syn in syns:
            del self._held[syn]
            client = syn.packet.source
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]
            for name in syn.names:
                waiting = self._by_name[name]
                waiting.discard(syn)
                if not waiting:
                    del self._by_name[name]
            syn.names.clear()
