"""The judge: what policy says of a flow, with the addresses that our own look-ups brought.

Nothing here is kept about a flow; a decision may be asked for again after every answer. What a pattern allows is known
when a client uses it, and not before: its names are kept apart, and their look-ups are rationed. Everything here is
pure.
"""

from appliance.address import Ipv4
from appliance.errors import Malformed
from appliance.flow import Flow
from appliance.limits import Limits
from appliance.policy.addresses import LEARNT_ADDRESSES_MAX, OVERLOADED, AddressBook, Answer
from appliance.policy.allowance import Allowance
from appliance.policy.crls import BY_PORT, CRL_PORT, Endpoints, decide_fetch, endpoints_of
from appliance.policy.decision import Decision, decide_name, decide_port, decide_ssh, deny_syn, may_reach
from appliance.policy.fqdn import Fqdn
from appliance.policy.learnt import LearntNames
from appliance.policy.policy import Policy, PortRules
from appliance.policy.preferences import Crls, Preferences
from appliance.reason import AWAITABLE, Reason
from appliance.standing import Standing
from appliance.wire.fetch import parse_fetch
from appliance.wire.ip import TCP
from appliance.wire.sniff import sniff


class Judge:
    """Decides by the policy in force and a book of addresses."""

    __slots__ = ("_allowance", "_book", "_learnt", "_standing")

    def __init__(self, standing: Standing, grace: float, limits: Limits) -> None:
        self._standing = standing
        self._book = AddressBook(grace)
        self._learnt = LearntNames(limits.learnt_names)
        self._allowance = Allowance(limits.new_names_burst, limits.new_names_rate)

    def learn(self, answer: Answer, now: float) -> bool:
        """Take in an answer about a name that may be reached; tell whether it brought an address that was not held."""
        if answer.error == OVERLOADED:
            return False
        policy = self._standing.policy
        if policy.digest and answer.name not in policy.names and not self._is_endpoint(answer.name):
            if answer.name not in self._learnt:
                self._learnt.overhear(answer.name)  # another worker asked for it, or it went while DNS was asked
                return False
            news = self._book.learn(answer, now, most=LEARNT_ADDRESSES_MAX)
            self._learnt.answered(answer, now, is_usable=bool(self._book.known(answer.name, now)))
            return news
        return self._book.learn(answer, now)

    def forget(self, policy: Policy) -> None:
        """Forget the names that a policy, which is about to be in force, allows nobody."""
        former = self._standing.policy
        self._book.forget(former.names - policy.names)
        self._book.forget(self._learnt.keep(policy))

    def known(self, name: Fqdn, now: float) -> int:
        """Return how many addresses of a name are known."""
        return len(self._book.known(name, now))

    def grants_look_up(self, flow: Flow, decision: Decision, now: float) -> tuple[bool, Decision]:
        """Tell whether it may be asked for what might change a decision, and what becomes of the decision if not."""
        if decision.reason not in AWAITABLE:
            return False, decision
        if decision.entry in {"", decision.name} or flow.hello is None or flow.hello.fqdn is None:
            return True, decision  # it hangs on no pattern
        if self._learnt.is_hopeless(flow.hello.fqdn, now):
            return False, decision
        if self._learnt.was_overheard(flow.hello.fqdn) or self._allowance.take(flow.key[0], now):
            self._book.forget(self._learnt.want(flow.hello.fqdn, decision.entry))
            return True, decision
        return False, decision._replace(reason=Reason.LOOK_UPS_LIMITED, detail=f"by {decision.entry}")

    def not_asked(self, decision: Decision) -> Decision:
        """Return what becomes of a decision where our own limit kept us from asking for a name."""
        if decision.reason not in AWAITABLE:
            return decision
        return decision._replace(reason=Reason.LOOK_UPS_LIMITED, detail="too many look-ups at once")

    def prefer(self, preferences: Preferences) -> None:
        """Decide by these preferences from now on."""
        former = self._standing.endpoints
        allowed = preferences.x509_crls is Crls.ALLOW
        self._standing.endpoints = endpoints_of(preferences.x509_crl_hosts) if allowed else None
        if former is not None:
            gone = (name for name in former.rules.tls if not self._is_endpoint(name))
            self._book.forget(name for name in gone if name not in self._standing.policy.names)
        self._standing.grant = preferences.grant
        self._standing.opened = preferences.private_destinations
        self._book.adjust(grace=preferences.grace, opened=preferences.private_destinations)

    def _is_endpoint(self, name: Fqdn) -> bool:
        endpoints = self._standing.endpoints
        return endpoints is not None and name in endpoints.rules.tls

    def rules(self, flow: Flow) -> PortRules | Decision:
        """Return the rules that cover a flow's port, or why there are none."""
        client, _, server, server_port = flow.key
        return decide_port(self._standing.policy, client, TCP, server_port, server, opened=self._standing.opened)

    def decide(self, flow: Flow, now: float) -> Decision:
        """Return what policy says of a flow's hello, or of a server that spoke before its client."""
        rules = self.rules(flow)
        hello = flow.hello
        endpoints = self._standing.endpoints
        if endpoints is not None and hello is not None and hello.request is not None and flow.key[3] == CRL_PORT:
            return self._decide_fetch(endpoints, flow, rules, now)
        if isinstance(rules, Decision):
            return rules if hello is None else no(rules.reason, name=hello.name, detail=rules.detail)
        server = flow.key[2]
        if hello is None:
            return decide_ssh(rules, server, self._book, now) if rules.ssh else no(Reason.SERVER_FIRST)
        if hello.protocol != "ssh" and (not rules.has_tls or flow.greeting is not None):
            return no(Reason.NOT_SSH, name=hello.name, detail=f"it is {hello.protocol}")
        if hello.protocol == "ssh" and not rules.ssh:
            return no(Reason.NOT_TLS, detail="it is ssh")
        if hello.refusal is not None:
            return no(hello.refusal, name=hello.name, detail=hello.detail)
        if hello.protocol == "ssh":
            return decide_ssh(rules, server, self._book, now)
        if flow.server is not None and flow.ruling is None:  # nothing it said acknowledges the hello (P3)
            return no(Reason.SERVER_FIRST, name=hello.name)
        if hello.fqdn is None:
            return no(Reason.NAME_NOT_LISTED, name=hello.name, detail="it is not a name that could be listed")
        decision = decide_name(rules, hello.fqdn, server, self._book, now)
        if decision.reason is Reason.PATTERN_LISTED:
            self._learnt.use(hello.fqdn, decision.entry)
        return decision

    def _decide_fetch(self, endpoints: Endpoints, flow: Flow, rules: PortRules | Decision, now: float) -> Decision:
        """Decide on plaintext HTTP of a client that may fetch revocation lists. It has to be such a request alone."""
        host = "" if flow.hello is None else flow.hello.name
        if isinstance(rules, Decision) and rules.reason not in BY_PORT:
            return no(rules.reason, name=host, detail=rules.detail)
        if flow.server is not None and flow.ruling is None:
            return no(Reason.SERVER_FIRST, name=host)
        if flow.client.held:
            return no(Reason.HTTP_PLAINTEXT, name=host, detail="octets beyond the request")
        try:
            fetch = parse_fetch(flow.client.contiguous)
        except Malformed as fault:
            return no(Reason(fault.code), name=host, detail=fault.message)
        server = flow.key[2]
        return decide_fetch(endpoints, fetch.host, fetch.path, server, self._book, now, is_ocsp=fetch.is_ocsp)

    def tolerates_dribble(self, flow: Flow, now: float) -> bool:
        """Tell whether parts of a hello may go on: its protocol is listed, and so is a name of its destination."""
        rules = self.rules(flow)
        if isinstance(rules, Decision):
            return False
        protocol = sniff(flow.client.contiguous)
        is_listed = rules.has_tls if protocol == "tls" else bool(rules.ssh) if protocol == "ssh" else False
        return is_listed and may_reach(rules, flow.key[2], self._book, now)

    def refuse_syn(self, rules: PortRules, destination: Ipv4, now: float) -> Decision | None:
        """Return why not even a SYN may go to a destination, or None if a listed name has its address.

        Where a pattern is listed nobody knows which addresses its names have, and any may be tried.
        """
        if rules.patterns:
            return None
        return None if may_reach(rules, destination, self._book, now) else deny_syn(rules, destination)


def no(reason: Reason, *, name: str = "", detail: str = "") -> Decision:
    """Return a refusal that hangs on no rule."""
    return Decision(allow=False, reason=reason, name=name, detail=detail)
