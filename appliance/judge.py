"""The judge: what policy says of a flow, with the addresses that our own look-ups brought.

Nothing here is kept about a flow; a decision may be asked for again after every answer. Everything
here is pure.
"""

from appliance.address import Ipv4
from appliance.errors import Malformed
from appliance.flow import Flow
from appliance.policy.addresses import AddressBook
from appliance.policy.crls import BY_PORT, CRL_PORT, decide_crl
from appliance.policy.decision import Decision, decide_name, decide_port, decide_ssh, deny_syn, may_reach
from appliance.policy.policy import PortRules
from appliance.policy.preferences import Preferences
from appliance.reason import Reason
from appliance.standing import Standing
from appliance.wire.crl_request import parse_crl_request
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
        if self._standing.fetches_crls and hello is not None and hello.request is not None and flow.key[3] == CRL_PORT:
            return self._decide_fetch(flow, rules, now)
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

    def _decide_fetch(self, flow: Flow, rules: PortRules | Decision, now: float) -> Decision:
        """Decide on plaintext HTTP of a client that may fetch revocation lists. It has to be such a request alone."""
        host = "" if flow.hello is None else flow.hello.name
        if isinstance(rules, Decision) and rules.reason not in BY_PORT:
            return no(rules.reason, name=host, detail=rules.detail)
        if flow.server is not None and flow.ruling is None:
            return no(Reason.SERVER_FIRST, name=host)
        if flow.client.held:
            return no(Reason.HTTP_PLAINTEXT, name=host, detail="octets beyond the request")
        try:
            request = parse_crl_request(flow.client.contiguous)
        except Malformed as fault:
            return no(Reason(fault.code), name=host, detail=fault.message)
        return decide_crl(request.host, request.path, flow.key[2], self.book, now)

    def tolerates_dribble(self, flow: Flow, now: float) -> bool:
        """Tell whether parts of a hello may go on: its protocol is listed, and so is a name of its destination."""
        rules = self.rules(flow)
        if isinstance(rules, Decision):
            return False
        protocol = sniff(flow.client.contiguous)
        listed = rules.tls if protocol == "tls" else rules.ssh if protocol == "ssh" else None
        return bool(listed) and may_reach(rules, flow.key[2], self.book, now)

    def refuse_syn(self, rules: PortRules, destination: Ipv4, now: float) -> Decision | None:
        """Return why not even a SYN may go to a destination, or None if a listed name has its address."""
        return None if may_reach(rules, destination, self.book, now) else deny_syn(rules, destination)


def no(reason: Reason, *, name: str = "", detail: str = "") -> Decision:
    """Return a refusal that hangs on no rule."""
    return Decision(allow=False, reason=reason, name=name, detail=detail)
