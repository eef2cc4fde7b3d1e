"""What is told of changes that are too many: counted, and nothing that stands in an annotation is left out."""

from appliance.policy.brief import KIND_TOLD, LISTED_TOLD, brief
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.policy.name_list import NameList, parse_list
from appliance.policy.policy import EMPTY_POLICY, Change, changes_between, compile_policy
from appliance.policy.reference import Reference

LIST = Reference.parse("@ssm/a")


def inventory(names: int, description: str = "discriminat:tls:@ssm/a", rules: int = 1) -> Inventory:
    content = parse_list("\n".join(f"n{i}.com" for i in range(names)), is_secret=False)
    egress = [EgressRule("tcp", 1000 + i, 1000 + i, "0.0.0.0/0", description) for i in range(rules)]
    return Inventory((SecurityGroup("sg-1", "web", tuple(egress)),), (), (), (NameList(LIST, content),))


def told(old: Inventory, new: Inventory) -> tuple[Change, ...]:
    return brief(changes_between(compile_policy(old), compile_policy(new)), old, new)


def test_a_short_list_is_told_name_by_name() -> None:
    changes = told(inventory(0), inventory(LISTED_TOLD))
    assert [change.fqdn for change in changes if change.cat == "fqdn"] == sorted(f"n{i}.com" for i in range(20))


def test_a_long_list_is_told_in_part_and_counted() -> None:
    for old, new, outcome in ((0, 5000, "accepted"), (5000, 0, "removed")):
        *named, more = [each for each in told(inventory(old), inventory(new)) if each.cat == "fqdn"]
        assert len(named) == LISTED_TOLD
        assert {(each.outcome, each.rule) for each in named} == {(outcome, more.rule)}
        assert (more.outcome, more.gid, more.proto, more.fqdn) == (outcome, "sg-1", "tls", "")
        assert more.reason == "and 4980 more, 5000 in all, by @ssm/a"


def test_a_name_in_the_annotation_is_told_whatever_its_list_holds() -> None:
    new = inventory(5000, "discriminat:tls:@ssm/a,zz.com discriminat:tls:*.zz.com,@ssm/a")
    names = {(change.cat, change.fqdn) for change in told(Inventory((), ()), new)}
    assert {("fqdn", "zz.com"), ("wildcard", "*.zz.com")} <= names
    assert ("fqdn", "zz.com") in {(change.cat, change.fqdn) for change in told(new, Inventory((), ()))}


def test_names_of_rules_without_a_list_are_all_told() -> None:
    names = [f"a{i}.b" for i in range(30)]
    new = inventory(0, f"discriminat:tls:{','.join(names)}")
    assert {change.fqdn for change in told(Inventory((), ()), new)} == set(names)


def test_one_edit_of_many_rules_is_a_bounded_number_of_events() -> None:
    changes = told(inventory(0, rules=1000), inventory(100, rules=1000))
    accepted = [change for change in changes if (change.cat, change.outcome) == ("fqdn", "accepted")]
    assert len(accepted) == KIND_TOLD + 1
    assert accepted[-1].reason.startswith(f"and {1000 * (LISTED_TOLD + 1) - KIND_TOLD} more such events")


def test_a_flood_of_one_kind_hides_nothing_of_another() -> None:
    flood = [Change("client", "accepted", client=i) for i in range(KIND_TOLD * 2)]
    error = Change("error", "rejected", gid="sg-1", reason="a fault")
    assert error in brief([*flood, error])
    assert brief(changes_between(EMPTY_POLICY, EMPTY_POLICY)) == ()
