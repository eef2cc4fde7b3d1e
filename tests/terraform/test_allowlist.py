"""The allowlist module: what it writes is what was asked for, as the engine's own parser reads it back.

Many lists go into one plan, a module instance for each, with the real provider and no AWS: rules that are yet to be
made are planned without a question to it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.edge.suffix_list import read_suffixes
from appliance.lint import lint
from appliance.policy.annotation import Allow, parse_description
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.policy.name_list import NameList, parse_list
from appliance.policy.policy import compile_policy
from appliance.policy.reference import Reference
from tests.terraform.allowlists import ADDED, BASES, LISTS, TEXTS, TODAY, Asked, is_listed
from tests.terraform.terraform import Terraform, aws

MODULE = "modules/allowlist"
GID = "sg-0a1b2c3d4e5f60718"

# Of the EC2 API, IpRange.
DESCRIPTION = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")

MAIN = """
provider "aws" {
  skip_credentials_validation = true
  skip_requesting_account_id  = true
}

module "list" {
  source   = "./terraform/modules/allowlist"
  for_each = jsondecode(file("${path.module}/lists.json"))

  security_group_id = each.value.group
  tls               = each.value.tls
  ssh               = each.value.ssh
  see_thru          = each.value.see_thru
  rule_quota        = 1000
}
"""


# Plans


class Workbench:
    """A configuration with an instance of the module for each list."""

    def __init__(self, folder: Path) -> None:
        Terraform.copy(folder, MODULE)
        (folder / "main.tf").write_text(MAIN)
        self.folder = folder
        self.terraform = Terraform(folder, aws("http://127.0.0.1:9", "eu-west-2"))  # where nobody listens
        self.write({})
        self.terraform.init()

    def write(self, lists: Mapping[str, Asked]) -> None:
        document = {
            name: {
                "group": GID,
                "tls": asked.tls,
                "ssh": asked.ssh,
                "see_thru": asked.see_thru and asked.see_thru.isoformat(),
            }
            for name, asked in lists.items()
        }
        (self.folder / "lists.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(tmp_path_factory.mktemp("allowlist"))


@pytest.fixture(scope="module")
def planned(workbench: Workbench) -> dict[str, list[EgressRule]]:
    """The rules that are planned for each list."""
    workbench.write(LISTS)
    values = workbench.terraform.planned()["planned_values"]["root_module"]
    modules = {module["address"]: module.get("resources", []) for module in values["child_modules"]}
    return {name: list(egress_rules(modules.get(f'module.list["{name}"]', []))) for name in LISTS}


def egress_rules(resources: Iterable[Mapping[str, Any]]) -> Iterator[EgressRule]:
    for resource in resources:
        values = resource["values"]
        assert values["security_group_id"] == GID
        yield EgressRule(
            values["ip_protocol"], values["from_port"], values["to_port"], values["cidr_ipv4"], values["description"]
        )


# What is written


def inventory_of(rules: Iterable[EgressRule]) -> Inventory:
    """Return the rules with the lists they refer to, each of which holds one name, which says whose it is."""
    group = SecurityGroup(GID, "web", tuple(rules))
    annotations = [each for rule in group.rules for each in parse_description(rule.description).annotations]
    referred = {reference for each in annotations if isinstance(each, Allow) for reference, _ in each.references}
    lists = tuple(NameList(each, parse_list(held_by(each), is_secret=False)) for each in sorted(referred))
    return Inventory((group,), (), name_lists=lists)


def held_by(reference: Reference) -> str:
    """Return the name that the list holds."""
    return f"x{hashlib.sha256(str(reference).encode()).hexdigest()[:32]}.list.example"


@pytest.mark.parametrize("name", LISTS)
def test_exactly_what_was_asked_is_granted(name: str, planned: dict[str, list[EgressRule]]) -> None:
    """The engine reads back every name under its port and protocol, the day of see-thru, and nothing else."""
    asked, policy = LISTS[name], compile_policy(inventory_of(planned[name]), Guard(Exposure.NUCLEAR))

    assert policy.rejections == ()
    granted = {
        (*each, Fqdn.parse(held_by(what)) if isinstance(what, Reference) else what) for *each, what in asked.granted
    }
    assert granted == {(rule.protocol.value, rule.port, fqdn) for rule, names in policy.rules.items() for fqdn in names}
    assert {rule.destination for rule in policy.rules} <= {None}  # anywhere
    assert [asked.see_thru] * (asked.see_thru is not None) == [grant.until for grant in policy.see_thru.values()]


@pytest.mark.parametrize("name", LISTS)
def test_aws_takes_it(name: str, planned: dict[str, list[EgressRule]]) -> None:
    """Descriptions have the length and the characters that AWS allows, and no rule is there twice."""
    rules = planned[name]

    assert [rule for rule in rules if not DESCRIPTION.fullmatch(rule.description)] == []
    assert len(rules) == len({(rule.protocol, rule.from_port, rule.to_port, rule.destination) for rule in rules})


@pytest.mark.parametrize("name", LISTS)
def test_aws_lets_every_port_out_to_anywhere(name: str, planned: dict[str, list[EgressRule]]) -> None:
    """Each port has a rule for 0.0.0.0/0, whatever other masks there are."""
    whole = {rule.from_port for rule in planned[name] if rule.protocol == "tcp" and rule.destination == "0.0.0.0/0"}

    assert whole == LISTS[name].ports


@pytest.mark.parametrize("name", LISTS)
def test_check_finds_nothing(name: str, planned: dict[str, list[EgressRule]]) -> None:
    """`discriminat check` has nothing to say about it, not even a warning: no name stands in two rules."""
    guard = Guard(suffixes=read_suffixes())
    assert lint(inventory_of(planned[name]), TODAY, with_interfaces=False, guard=guard).findings == ()


def test_several_masks_are_used_and_all_of_them(planned: dict[str, list[EgressRule]]) -> None:
    """The lists above do take what they are meant to show: one rule, many, and the masks that are left over."""
    used = {rule.destination for rules in planned.values() for rule in rules}

    assert used == {f"0.0.0.0/{mask}" for mask in range(len(used))}
    assert len(planned["one name"]) == 1
    assert len(planned["nearly all masks"]) > 25
    assert len(planned["the same number"]) == 2
    assert max(len(rule.description) for rules in planned.values() for rule in rules) == 255


# What an edit changes


def by_reference(rules: Iterable[EgressRule]) -> dict[str, str]:
    return {rule.reference: rule.description for rule in rules}


@pytest.mark.parametrize("base", BASES)
def test_the_order_of_the_names_means_nothing(base: str, planned: dict[str, list[EgressRule]]) -> None:
    """The same names in another order are the same rules."""
    assert by_reference(planned[f"before {base}"]) == by_reference(planned[f"shuffled {base}"])


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {rule for rule in before | after if before.get(rule) != after.get(rule)}


def test_one_name_more_changes_one_rule(planned: dict[str, list[EgressRule]]) -> None:
    """Of however many rules, one gets the new name; if it was full, it parts into more. The others stay as they are."""
    parted = []
    for base in BASES:
        before = by_reference(planned[f"before {base}"])
        for added in ADDED:
            after = by_reference(planned[f"after {base} {added}"])
            assert set(before) <= set(after), "a rule goes when a name comes"
            assert len(changed(before, after) & set(before)) <= 1
            parted.append(len(set(after) - set(before)))

    assert parted.count(0) >= len(parted) * 2 / 3
    assert max(parted) == 2, "what a long name does to a full description is not among the lists"


# What is refused


def quoted(text: str) -> str:
    """Return a text as the module's messages quote it."""
    text = json.dumps(text, ensure_ascii=False)
    return "".join(f"\\u{ord(each):04x}" if each in "<>&" else each for each in text)


def complaints(result: str) -> list[str]:
    """Return what `plan -json` says is wrong, one text for each variable."""
    messages = [json.loads(line) for line in result.splitlines()]
    return [message["diagnostic"]["detail"] for message in messages if message["type"] == "diagnostic"]


def test_what_terraform_takes_for_a_name_the_engine_takes_too(workbench: Workbench) -> None:
    """Of a table of texts, and of some hundred from a seed, both refuse the same, under either protocol.

    Terraform brings texts into Unicode's form NFC before anyone sees them, and so does the table.
    """
    workbench.write({"all": Asked({443: list(TEXTS)}, {22: list(TEXTS)})})

    told = complaints(workbench.terraform.plan("-json", check=False).out)

    for protocol in ("ssh", "tls"):
        refused = [text for text in TEXTS if not is_listed(text, protocol)]
        assert 50 < len(refused) < len(TEXTS) - 50
        (complaint,) = [each for each in told if each.startswith(f"{protocol}: ")]
        items = f"; {complaint.removeprefix(f'{protocol}: ')}"
        assert [text for text in TEXTS if f"; {quoted(text)} " in items] == refused


# The module's own tests


def test_the_modules_own_tests_pass(tmp_path: Path) -> None:
    """Every variable, validation and output, with a mocked provider."""
    module = Terraform.copy(tmp_path, MODULE)
    module.init()

    assert module.test().ok


def test_an_edit_is_planned_as_an_update_in_place(tmp_path: Path) -> None:
    """After an apply, another order of the names leaves nothing to do, and a name more updates one rule."""
    module = Terraform.copy(tmp_path, MODULE)
    module.init()

    actions = {
        run: sorted(actions)
        for run, actions in plans(module.test("-json", "-verbose", "-filter=tests/changes.tftest.hcl").out)
    }

    assert actions == {"another_order": ["no-op"] * 3, "one_name_more": ["no-op", "no-op", "update"]}


def plans(output: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what each planned run of `terraform test -json -verbose` would do, resource by resource."""
    for message in map(json.loads, output.splitlines()):
        if message["type"] == "test_plan":
            changes = [change["change"]["actions"] for change in message["test_plan"]["resource_changes"]]
            yield message["@testrun"], [",".join(actions) for actions in changes]
