"""Revocation: which open flows a policy lets go on, and whose they were."""

from datetime import date

import pytest

from appliance.address import Ipv4
from appliance.policy.entry import SEEN_THRU, OpenFlow, entry_number
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import EMPTY_POLICY, SeeThruGrant, compile_policy
from appliance.reason import Reason
from appliance.revocation import Entitlement, names_of
from appliance.standing import Standing
from tests.playbook import CLIENT, ELSEWHERE, GIT, NAME, OTHER, POLICY, SEEING, SERVER, STRANGER, TODAY, make_policy

LAST_DAY = date(2027, 1, 31)


def flow(
    protocol: str = "tls", name: object = NAME, port: int = 443, client: Ipv4 = CLIENT, server: Ipv4 = SERVER
) -> OpenFlow:
    return OpenFlow(client, 40000, server, port, entry_number(protocol, str(name), port))


def seen_thru(client: Ipv4, port: int = 443) -> OpenFlow:
    return OpenFlow(client, 40000, SERVER, port, SEEN_THRU)


def standing(policy: object = POLICY, *, today: date = TODAY, grant: SeeThruGrant | None = None) -> Standing:
    made = Standing("i-1", today)
    made.policy, made.grant = policy, grant  # type: ignore[assignment]
    return made


FLOWS = [
    # what                                     flow                                             objection
    ("what is listed",                         flow(),                                          None),
    ("at whatever address it has by now",      flow(server=ELSEWHERE),                          None),
    ("the same name on another port",          flow(port=8443),                                 None),
    ("SSH by a name that is listed",           flow("ssh", GIT, 22),                            None),
    ("SSH by a name that is not",              flow("ssh", OTHER, 22),                          "rule_removed"),
    ("a name that is not listed",              flow(name=OTHER),                                "rule_removed"),
    ("a name that is listed for TLS alone",    flow("ssh", NAME, 443),                          "rule_removed"),
    ("a port on which nothing is listed",      flow(port=9443),                                 "rule_removed"),
    ("a number that says another port",        flow()._replace(server_port=8443),               "rule_removed"),
    ("a client that is gone",                  flow(client=STRANGER),                           "rule_removed"),
    ("see-thru that never was",                seen_thru(CLIENT),                               "see_thru_ended"),
    ("see-thru of a client that is gone",      seen_thru(STRANGER),                             "rule_removed"),
    ("see-thru in force",                      seen_thru(SEEING, 9999),                         None),
    ("see-thru in force, and not listed",      flow(name=OTHER, client=SEEING),                 None),
]  # fmt: skip


@pytest.mark.parametrize(("what", "open_flow", "objection"), FLOWS, ids=[row[0] for row in FLOWS])
def test_who_goes_on(what: str, open_flow: OpenFlow, objection: str | None) -> None:
    """An open flow goes on if the policy lists for its client what let it open, or see-thru is in force."""
    assert Entitlement(standing()).objection(open_flow) == objection


def test_see_thru_ends_with_its_last_day() -> None:
    """It covers what it let pass, and what a rule let pass that is gone, through the whole of the day."""
    last, after = (Entitlement(standing(today=today)) for today in (LAST_DAY, date(2027, 2, 1)))
    for open_flow, objection in (
        (seen_thru(SEEING), Reason.SEE_THRU_ENDED),
        (flow(name=OTHER, client=SEEING), Reason.RULE_REMOVED),
        (flow(client=SEEING), None),
    ):
        assert last.objection(open_flow) is None
        assert after.objection(open_flow) is objection


def test_everybodys_grant_covers_known_clients() -> None:
    """The one of the preferences."""
    entitlement = Entitlement(standing(grant=SeeThruGrant(TODAY, "preferences")))
    assert entitlement.objection(seen_thru(CLIENT)) is None
    assert entitlement.objection(flow(name=OTHER)) is None
    assert entitlement.objection(seen_thru(STRANGER)) is Reason.RULE_REMOVED


DESTINATIONS = [
    # CIDR blocks of the rules that list the name   goes on
    (["0.0.0.0/0"],                                 True),
    (["0.0.0.0/2"],                                 True),  # anywhere
    (["203.0.113.0/24"],                            True),
    (["203.0.113.10/32"],                           True),
    (["198.51.100.0/24"],                           False),
    (["198.51.100.0/24", "203.0.113.0/28"],         True),
    ([],                                            False),
]  # fmt: skip


@pytest.mark.parametrize(("blocks", "goes_on"), DESTINATIONS)
def test_the_destination_must_still_be_covered(blocks: list[str], goes_on: bool) -> None:
    """By any rule of any of the client's groups that lists the name."""
    groups = tuple(
        SecurityGroup(f"sg-{number}", "", (EgressRule("tcp", 443, 443, block, f"discriminat:tls:{NAME}"),))
        for number, block in enumerate(blocks)
    )
    worn = (*(group.id for group in groups), "sg-plain")
    policy = compile_policy(Inventory(groups, (NetworkInterface("eni", worn, (CLIENT,), ()),)))
    assert (Entitlement(standing(policy)).objection(flow()) is None) is goes_on


def test_names_are_found_again() -> None:
    """Of flows that the policy lists for their clients; of others nothing is said."""
    listed, shell, unknown = flow(), flow("ssh", GIT, 22), flow(name=OTHER)
    found = names_of(POLICY, [listed, shell, unknown, flow(client=STRANGER), seen_thru(SEEING)])
    assert {open_flow: (rule.protocol, rule.port, name) for open_flow, (rule, name) in found.items()} == {
        listed: ("tls", 443, NAME),
        shell: ("ssh", 22, GIT),
    }
    assert names_of(EMPTY_POLICY, [listed]) == {}
    assert names_of(make_policy(names=str(OTHER)), [unknown])[unknown][1] == OTHER
