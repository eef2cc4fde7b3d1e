"""Revocation: which flows that are open in the kernel would not be allowed any more (evasion X1).

A flow is judged by the entry that let it open, its client, its port and its destination; not by addresses of names,
whose expiry is for new flows alone (D2). Everything here is pure.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator

from appliance.address import is_closed
from appliance.policy.entry import SEEN_THRU, OpenFlow, entry_number
from appliance.policy.pattern import Entry
from appliance.policy.policy import Policy, Rule
from appliance.reason import Reason
from appliance.standing import Standing


class Entitlement:
    """What open flows may go on by: the policy in force, see-thru, and the date."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._rules: dict[tuple[str, int], list[Rule]] = defaultdict(list)  # by group and entry
        for at, rule, _ in _entries_of(standing.policy):
            self._rules[at].append(rule)

    def objection(self, flow: OpenFlow) -> Reason | None:
        """Return why a flow may not go on, or None if it may."""
        client = self._standing.policy.clients.get(flow.client)
        if client is None:
            return Reason.RULE_REMOVED
        if is_closed(flow.server, self._standing.opened):
            return Reason.DESTINATION_PRIVATE
        if self._standing.lets_through(flow.client, flow.server, Reason.RULE_REMOVED):
            return None
        if flow.entry == SEEN_THRU:
            return Reason.SEE_THRU_ENDED
        for gid in client.groups:
            for rule in self._rules.get((gid, flow.entry), ()):
                if rule.port == flow.server_port and (rule.destination is None or flow.server in rule.destination):
                    return None
        return Reason.RULE_REMOVED


def names_of(policy: Policy, flows: Collection[OpenFlow]) -> dict[OpenFlow, tuple[Rule, Entry]]:
    """Return what let flows open, as far as a policy lists it for their clients."""
    wanted = {flow.entry for flow in flows}
    listed = {at: (rule, name) for at, rule, name in _entries_of(policy) if at[1] in wanted}
    found = {}
    for flow in flows:
        client = policy.clients.get(flow.client)
        for gid in client.groups if client else ():
            if (gid, flow.entry) in listed:
                found[flow] = listed[gid, flow.entry]
    return found


def _entries_of(policy: Policy) -> Iterator[tuple[tuple[str, int], Rule, Entry]]:
    """Yield all that is listed: (group, number of the entry), the rule, and the name or pattern."""
    for rule, entries in policy.rules.items():
        for entry in entries:
            yield (rule.gid, entry_number(rule.protocol, str(entry), rule.port)), rule, entry
