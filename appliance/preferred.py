"""Preferred: the preferences that an explanation goes by, where they come from, and what they do to a connection.

What they change about the decision, `explanation` takes into account; here it is put into words. Everything here is
pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from appliance.address import Ipv4, format_ipv4
from appliance.policy.crls import CRL_PORT, endpoints_of
from appliance.policy.decision import Decision
from appliance.policy.preferences import DEFAULTS, Crls, Ech, Gating, Preferences, parse_preferences
from appliance.question import Asked, Question
from appliance.reason import Reason

# Refusals of a hello whose SYN may have been refused before it.
_OF_ADDRESSES = frozenset(
    {Reason.NAME_NOT_LISTED, Reason.ADDRESS_MISMATCH, Reason.NAME_UNRESOLVED, Reason.ANSWER_PRIVATE}
)


@dataclass(frozen=True, slots=True)
class Preferred:
    """Preferences, and who says so.

    `origin`: such as a file's name; empty where nobody was asked, and the defaults are taken for granted.
    `faults`: of the text they were read from.
    """

    preferences: Preferences = DEFAULTS
    origin: str = ""
    faults: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str | None, origin: str) -> "Preferred":
        """Return what a text expresses, or what holds where there is none (None)."""
        if text is None:
            return cls(origin=origin, faults=(f"{origin} does not exist, and the safe defaults are in force",))
        preferences, problems = parse_preferences(text, DEFAULTS)
        faults = [problem.change.reason for problem in problems]
        if not all(problem.is_warning for problem in problems):
            faults.append("what is wrong in the preferences leaves in force what was right before: /healthz tells it")
        return cls(preferences, origin, tuple(faults))

    def is_logged(self, decision: Decision) -> bool:
        """Tell whether the flow log gets the event of a decision."""
        return ("allowed" if decision.allow else "disallowed") in self.preferences.flow_log_verbosity.outcomes

    def notes(self, question: Question, decision: Decision, destinations: Iterable[Ipv4]) -> Iterator[str]:
        """Say what the preferences have to do with a connection."""
        yield from self.faults
        if not self.is_logged(decision):
            yield f'the flow log says nothing of it: flow_log_verbosity is "{self.preferences.flow_log_verbosity}"'
        if decision.allow and question.protocol is Asked.TLS and self.preferences.ech is Ech.ALLOW:
            yield "a hello that hides its real name behind this one passes too: ech is allowed"
        if question.protocol is Asked.HTTP:
            yield from self._notes_on_fetch(question, decision)
        if decision.reason in _OF_ADDRESSES and self.preferences.syn_gate is Gating.ON:
            other = "unless another name of this port has the address, or a pattern is listed for the port"
            yield f"{other}, the SYN is refused as {Reason.ADDRESS_NOT_LISTED}: syn_gate is on"
        if decision.reason is Reason.CLIENT_UNKNOWN and self.origin:
            yield self._note_on_stranger(question.client)
        for destination in destinations:
            yield from self._notes_on_private(destination)
            for network in self.preferences.clients:
                if destination in network:
                    shown = f"{format_ipv4(destination)} is in {network}, a client network of the preferences"
                    yield f"{shown}: packets to it keep the client's own address, so that no answer finds its way back"

    def _notes_on_fetch(self, question: Question, decision: Decision) -> Iterator[str]:
        """Say what plaintext may pass."""
        is_known = str(question.name) in endpoints_of(self.preferences.x509_crl_hosts)
        if decision.allow:
            yield "a request for a revocation list or OCSP in its plainest form, one a connection, and nothing else"
        elif question.port != CRL_PORT:
            yield f"plaintext passes on no port but {CRL_PORT}"
        elif self.preferences.x509_crls is not Crls.ALLOW and is_known:
            yield f'{question.name} is a host of revocation lists or OCSP, which pass if x509_crls is "allow"'
        elif not is_known:
            yield "no plaintext passes but revocation lists and OCSP: x509_crl_hosts names hosts of a CA of one's own"

    def _notes_on_private(self, destination: Ipv4) -> Iterator[str]:
        for network in self.preferences.private_destinations:
            if destination in network:
                shown = f"{format_ipv4(destination)} is in {network}, a private destination of the preferences"
                yield f"{shown}; what is the VPC's own there, or in clients, stays closed"

    def _note_on_stranger(self, client: Ipv4) -> str:
        for network in self.preferences.clients:
            if client in network:
                return f"it is in {network}, a client network of the preferences: a reset answers it, and it is logged"
        return "it is in no client network of the preferences: from outside the VPC its packets vanish, without a line"
