"""Events: the field names of the logs, and what stands in them."""

import datetime
import json

import pytest

from appliance.event import CONFIG_FIELDS, FLOW_FIELDS, add_request, add_status, change_event, config_event
from appliance.policy.decision import Decision
from appliance.policy.policy import Change, SeeThruGrant
from appliance.reason import REASON_TEXT, Reason
from tests.playbook import CLIENT, TODAY, client_event

ALLOWED = Decision(allow=True, reason=Reason.NAME_LISTED, name="api.example.com", gid="sg-1", rule="tcp/443 0.0.0.0/0")
DENIED = Decision(allow=False, reason=Reason.NAME_NOT_LISTED, name="x.example.com", detail="listed: api.example.com")


def test_an_allowed_flow() -> None:
    """The whole event."""
    assert client_event(ALLOWED) == {
        "dhost": "api.example.com",
        "cat": "client",
        "outcome": "allowed",
        "src": "10.0.1.10",
        "spt": 40000,
        "proto": "tls",
        "proto_v": "TLS 1.3",
        "dst": "203.0.113.10",
        "dpt": 443,
        "reason": REASON_TEXT[Reason.NAME_LISTED],
        "code": "name_listed",
        "gid": "sg-1",
        "rule": "tcp/443 0.0.0.0/0",
        "instance": "i-1",
    }


def test_a_refused_flow() -> None:
    """The detail follows the reason; without a name the address stands in its place."""
    refused = client_event(DENIED)
    assert refused["outcome"] == "disallowed"
    assert refused["reason"] == "the name is not listed for this port: listed: api.example.com"
    assert client_event(Decision(allow=False, reason=Reason.NO_SNI))["dhost"] == "203.0.113.10"


@pytest.mark.parametrize(
    ("until", "decision", "exerted", "days"),
    [
        (datetime.date(2027, 1, 15), DENIED, True, 0),
        (datetime.date(2027, 1, 14), DENIED, False, -1),
        (datetime.date(2027, 1, 31), DENIED, True, 16),
        (datetime.date(2027, 1, 31), ALLOWED, False, 16),
        (datetime.date(2027, 1, 31), Decision(allow=False, reason=Reason.DESTINATION_PRIVATE), False, 16),
    ],
)
def test_see_thru(until: datetime.date, decision: Decision, exerted: bool, days: int) -> None:
    """Its fields stand whenever a grant is attached; the outcome stays what the rules say."""
    seen = client_event(decision, see_thru=SeeThruGrant(until, "sg-9"))
    assert (seen["see_thru_exerted"], seen["see_thru_gid"], seen["see_thru_days_remaining"]) == (exerted, "sg-9", days)
    assert seen["outcome"] == client_event(decision)["outcome"]


def test_flow_fields_are_the_listed_ones_in_their_order() -> None:
    """Saved queries depend on them."""
    whole = client_event(ALLOWED, see_thru=SeeThruGrant(TODAY, "sg-9"), is_post_quantum=True)
    add_request(whole, "GET", "/", "curl/8")
    add_status(whole, 200)
    assert tuple(whole) == FLOW_FIELDS


def test_config_fields_are_the_listed_ones() -> None:
    """Whether about a change of policy or about the appliance."""
    change = Change("fqdn", "accepted", gid="sg-1", rule="tcp/443 0.0.0.0/0", fqdn="api.example.com", proto="tls")
    told = change_event(change, instance="i-1", digest="abc")
    assert set(told) == set(CONFIG_FIELDS)
    assert (told["client"], told["fqdn"], told["digest"]) == ("", "api.example.com", "abc")
    assert change_event(Change("client", "removed", client=CLIENT), instance="i", digest="")["client"] == "10.0.1.10"
    ours = config_event(cat="error", outcome="lost", reason="why", instance="i-1")
    assert set(ours) <= set(CONFIG_FIELDS)


def test_every_reason_has_a_text_and_an_event_is_json() -> None:
    """Values are plain: text, numbers, truth."""
    assert set(REASON_TEXT) == set(Reason)
    for reason in Reason:
        told = client_event(Decision(allow=False, reason=reason))
        assert json.loads(json.dumps(told)) == told
        assert told["code"] == reason.value
