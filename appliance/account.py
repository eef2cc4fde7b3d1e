"""The account of an explanation: how `discriminat explain` puts it, for people and for programs.

The words are those of the flow log, so that one can be compared with the other. Everything here is pure.
"""

from collections.abc import Iterator

from appliance.address import format_ipv4
from appliance.explanation import Explanation
from appliance.near_miss import show_group
from appliance.policy.preferences import PROFILE, state_preferences, write_preferences
from appliance.question import Asked
from appliance.reason import REASON_TEXT

_WIDTH = 10  # characters of a heading
_SHOWN = 8  # addresses in one line


def render_explanation(explanation: Explanation) -> str:
    """Return the explanation for people: the outcome in the first line, and why in those below."""
    question = explanation.question
    connection = f"{format_ipv4(question.client)} to {question.name} on port {question.port} ({question.protocol})"
    lines = [f"{_outcome(explanation)}: {connection}"]
    previous = ""
    for heading, text in _rows(explanation):
        lines.append(f"  {heading if heading != previous else '':<{_WIDTH}}{text}")
        previous = heading
    return "\n".join(lines) + "\n"


def explanation_document(explanation: Explanation) -> dict[str, object]:
    """Return the explanation for programs, as JSON values: where the flow log has a field, under its name."""
    question, decision = explanation.question, explanation.decision
    answer, grant = explanation.answer, explanation.see_thru
    document: dict[str, object] = {
        "passes": explanation.passes,
        "outcome": "allowed" if decision.allow else "disallowed",
        "code": decision.reason.value,
        "reason": REASON_TEXT[decision.reason],
        "detail": decision.detail,
        "src": format_ipv4(question.client),
        "dhost": str(question.name),
        "dpt": question.port,
        "proto": question.protocol.value,
        "dst": [format_ipv4(destination) for destination in explanation.destinations],
        "interfaces": list(explanation.interfaces),
        "groups": [{"gid": gid, "name": name} for gid, name in explanation.groups.items()],
        "gid": decision.gid,
        "rule": decision.rule,
        "description": explanation.description,
        "dns_asked": answer is not None,
        "dns_error": "" if answer is None else answer.error,
        "dns_addresses": [] if answer is None else [format_ipv4(address) for address in answer.addresses],
        "aws_lets_out": explanation.is_let_out,
        "preferences": write_preferences(explanation.preferred.preferences),
        "preferences_source": explanation.preferred.origin,
        "flow_logged": explanation.preferred.is_logged(decision),
        "notes": list(explanation.notes),
    }
    if grant is not None:
        document["see_thru_exerted"] = explanation.see_thru_exerted
        document["see_thru_gid"] = grant.gid
        document["see_thru_days_remaining"] = grant.days_remaining(explanation.today)
    return document


def _outcome(explanation: Explanation) -> str:
    if explanation.passes:
        return "allowed" if explanation.decision.allow else "refused by the rules, but see-thru lets it pass"
    return "allowed by the rules, but AWS drops it" if explanation.decision.allow else "refused"


def _rows(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """Yield the lines below the first, each with its heading."""
    decision = explanation.decision
    yield "reason", f"{decision.reason}: {REASON_TEXT[decision.reason]}"
    if decision.detail:
        yield "reason", decision.detail
    yield "client", ", ".join(explanation.interfaces) or "on no network interface"
    for gid in explanation.groups:
        yield "client", f"in {show_group(gid, explanation.groups)}"
    if decision.rule:
        yield "rule", f"{decision.rule} of {show_group(decision.gid, explanation.groups)}"
        yield "rule", explanation.description
    for text in _address(explanation):
        yield "address", text
    yield "see-thru", _see_thru(explanation)
    yield from _preferred(explanation)
    for note in explanation.notes:
        yield "note", note


def _address(explanation: Explanation) -> Iterator[str]:
    """Say what was, or would be, checked of the server's address."""
    question, answer = explanation.question, explanation.answer
    asked = "" if question.address is None else format_ipv4(question.address)
    if answer is not None:
        if asked:
            yield asked
        shown = ", ".join(map(format_ipv4, answer.addresses[:_SHOWN]))
        more = f" and {len(answer.addresses) - _SHOWN} more" if len(answer.addresses) > _SHOWN else ""
        yield f"this machine's resolver gives {shown or 'nothing'}{more} for {question.name}"
    elif explanation.decision.allow:
        yield f"{asked or 'any'}, if the VPC resolver gives it for {question.name} (--resolve asks this machine's)"
    elif asked:
        yield asked
    if explanation.decision.allow and question.protocol is Asked.SSH:
        yield "ssh carries no name: the address decides"


def _see_thru(explanation: Explanation) -> str:
    grant = explanation.see_thru
    if grant is None:
        return "none"
    days = grant.days_remaining(explanation.today)
    source = f"by {grant.rule} of {show_group(grant.gid, explanation.groups)}"
    if grant.gid == PROFILE:
        source = f"for every known client, by the preferences ({PROFILE})"
    if days < 0:
        return f"ended on {grant.until}, {-days} day{'' if days == -1 else 's'} ago, {source}"
    return f"until {grant.until}, {days} day{'' if days == 1 else 's'} remaining, {source}"


def _preferred(explanation: Explanation) -> Iterator[tuple[str, str]]:
    preferred = explanation.preferred
    if not preferred.origin:
        yield "preferred", "nobody was asked, so that the defaults are taken for granted (--preferences FILE)"
        return
    yield "preferred", f"by {preferred.origin}"
    yield "preferred", state_preferences(preferred.preferences)
