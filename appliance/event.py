"""Events: the one place where the field names of the logs stand.

Two streams. `flow` says what was allowed and refused; `config` says which clients, names and
see-thru grants came and went, and what was wrong. The names are those of the product we match,
because people have saved queries; `code`, `gid` and `rule` are ours on top, and so is `time`,
which the journal adds. An event is a plain dictionary of JSON values. Everything here is pure.
"""

from datetime import date

from appliance.address import Ipv4, format_ipv4, is_private
from appliance.policy.decision import Decision
from appliance.policy.policy import Change, SeeThruGrant
from appliance.reason import NEVER_SEEN_THRU, REASON_TEXT

Event = dict[str, object]

FLOW_FIELDS = (
    "dhost",  # name of the destination, or its address where no name was seen
    "cat",  # whose packet this is about: client or server
    "outcome",  # allowed or disallowed: what the rules say, see-thru or not
    "src",
    "spt",
    "proto",  # tls, ssh, http or unknown
    "proto_v",  # offered (client) or chosen (server) version, such as TLS 1.3
    "pqc",  # of a ServerHello alone: its key exchange is post-quantum
    "dst",
    "dpt",
    "reason",  # for people
    "code",  # for queries: a member of appliance.reason.Reason
    "gid",  # Security Group that allowed
    "rule",  # its rule
    "instance",
    "see_thru_exerted",  # the flow passes only because of see-thru
    "see_thru_gid",
    "see_thru_days_remaining",  # negative after the date
    "http_method",
    "http_path",
    "http_user_agent",
    "http_code",  # of a server's reply to plaintext that passed
)

CONFIG_FIELDS = ("cat", "outcome", "client", "gid", "rule", "fqdn", "proto", "reason", "digest", "instance")


def flow_event(
    *,
    side: str,
    source: Ipv4,
    source_port: int,
    destination: Ipv4,
    destination_port: int,
    protocol: str,
    version: str,
    decision: Decision,
    instance: str,
    see_thru: SeeThruGrant | None,
    today: date,
    is_post_quantum: bool | None = None,
) -> Event:
    """Return the flow event of one decision about one side (`client` or `server`) of a flow."""
    reason = REASON_TEXT[decision.reason]
    if decision.detail:
        reason = f"{reason}: {decision.detail}"
    event: Event = {
        "dhost": decision.name or format_ipv4(destination),
        "cat": side,
        "outcome": "allowed" if decision.allow else "disallowed",
        "src": format_ipv4(source),
        "spt": source_port,
        "proto": protocol,
        "proto_v": version,
        **({} if is_post_quantum is None else {"pqc": is_post_quantum}),
        "dst": format_ipv4(destination),
        "dpt": destination_port,
        "reason": reason,
        "code": decision.reason,
        "gid": decision.gid,
        "rule": decision.rule,
        "instance": instance,
    }
    if see_thru is not None:
        is_seen_thru = not (decision.allow or decision.reason in NEVER_SEEN_THRU or is_private(destination))
        event["see_thru_exerted"] = is_seen_thru and see_thru.active(today)
        event["see_thru_gid"] = see_thru.gid
        event["see_thru_days_remaining"] = see_thru.days_remaining(today)
    return event


def name_ends(event: Event, source: str, destination: str) -> None:
    """Put addresses into a flow event that are not IPv4's."""
    if event["dhost"] == event["dst"]:
        event["dhost"] = destination
    event["src"], event["dst"] = source, destination


def add_request(event: Event, method: str, path: str, user_agent: str) -> None:
    """Add to a flow event what a plaintext HTTP request says of itself."""
    event["http_method"] = method
    event["http_path"] = path
    event["http_user_agent"] = user_agent


def add_status(event: Event, code: int) -> None:
    """Add to a flow event the status code of a server's plaintext HTTP reply."""
    event["http_code"] = code


def change_event(change: Change, *, instance: str, digest: str) -> Event:
    """Return the config event of one difference between two policies."""
    return {
        "cat": change.cat,
        "outcome": change.outcome,
        "client": "" if change.client is None else format_ipv4(change.client),
        "gid": change.gid,
        "rule": change.rule,
        "fqdn": change.fqdn,
        "proto": change.proto,
        "reason": change.reason,
        "digest": digest,
        "instance": instance,
    }


def config_event(*, cat: str, outcome: str, reason: str, instance: str, digest: str = "") -> Event:
    """Return a config event about the appliance itself: `cat` is `policy` or `error`."""
    return {"cat": cat, "outcome": outcome, "reason": reason, "digest": digest, "instance": instance}
