"""The judge: what policy says of a flow, with the addresses that our own look-ups brought.

Nothing here is kept about a flow; a decision may be asked for again after every answer. Everything
here is pure.
"""

from appliance.flow import Flow
from appliance.policy.addresses import AddressBook
from appliance.policy.decision import Decision, decide_name, decide_port, decide_ssh, may_reach
from appliance.policy.policy import PortRules
from appliance.policy.preferences import Preferences
from appliance.reason import Reason
from appliance.standing import Standing
from appliance.wire.ip import TCP
from appliance.wire.sniff import sniff


class Judge:
    """Decides by the policy in force and a book of addresses."""

    __slots__ = ("_standing", "book")

    def __init__(self, standing: Standing, grace: float) -> None:
        self._standing = standing
        self.book = AddressBook(grace)

    def prefer(self, preferences: Preferences) -> None:
        """Decide by these preferences from now on."""
        self._standing.grant = preferences.grant
        self._standing.opened = preferences.private_destinations
        self.book.adjust(grace=preferences.grace, opened=preferences.private_destinations)

    def rules(self, flow: Flow) -> PortRules | Decision:
        """Return the rules that cover a flow's port, or why there are none."""
        client, _, server, server_port = flow.key
        return decide_port(self._standing.policy, client, TCP, server_port, server, opened=self._standing.opened)

    def decide(self, flow: Flow, now: float) -> Decision:
        """Return what policy says of a flow's hello, or of a server that spoke before its client."""
        rules = self.rules(flow)
        hello = flow.hello
        if isinstance(rules, Decision):
            return rules if hello is None else no(rules.reason, name=hello.name, detail=rules.detail)
        server = flow.key[2]
        if hello is None:
            return decide_ssh(rules, server, self.book, now) if rules.ssh else no(Reason.SERVER_FIRST)
        if hello.protocol != "ssh" and (not rules.tls or flow.greeting is not None):
            return no(Reason.NOT_SSH, name=hello.name, detail=f"it is {hello.protocol}")
        if hello.protocol == "ssh" and not rules.ssh:
            return no(Reason.NOT_TLS, detail="it is ssh")
        if hello.refusal is not None:
            return no(hello.refusal, name=hello.name, detail=hello.detail)
        if hello.protocol == "ssh":
            return decide_ssh(rules, server, self.book, now)
        if flow.server is not None and flow.ruling is None:  # nothing it said acknowledges the hello (P3)
            return no(Reason.SERVER_FIRST, name=hello.name)
        if hello.fqdn is None:
            return no(Reason.NAME_NOT_LISTED, name=hello.name, detail="it is not a name that could be listed")
        return decide_name(rules, hello.fqdn, server, self.book, now)

    def tolerates_dribble(self, flow: Flow, now: float) -> bool:
        """Tell whether parts of a hello may go on: its protocol is listed, and so is a name of its destination."""
        rules = self.rules(flow)
        if isinstance(rules, Decision):
            return False
        protocol = sniff(flow.client.contiguous)
        listed = rules.tls if protocol == "tls" else rules.ssh if protocol == "ssh" else None
        return bool(listed) and may_reach(rules, flow.key[2], self.book, now)


def no(reason: Reason, *, name: str = "", detail: str = "") -> Decision:
    """Return a refusal that hangs on no rule."""
    return Decision(allow=False, reason=reason, name=name, detail=detail)
