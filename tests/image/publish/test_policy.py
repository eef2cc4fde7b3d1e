"""The publisher's rights: every call is granted, and nothing is granted that is not called."""

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import pytest

from image.errors import ImageError
from tests.image.publish.account import OTHER, Account
from tests.image.publish.disks import Bakery

IMAGE = Path(__file__).parents[3] / "image"
FREE = {"sts:GetCallerIdentity"}  # needs no right
IMPLIED = {"ec2:CreateTags"}  # of RegisterImage, CopyImage and StartSnapshot, for the tags in them
OURS = "discriminat:sha256"


def statements() -> dict[str, dict[str, Any]]:
    policy = json.loads((IMAGE / "publisher-policy.json").read_text())
    assert {each["Effect"] for each in policy["Statement"]} == {"Allow"}
    return {each["Sid"]: each for each in policy["Statement"]}


def listed(value: object) -> list[str]:
    return value if isinstance(value, list) else [str(value)]


@pytest.fixture
def everything(account: Account, bakery: Bakery) -> Account:
    """An account in which all was done that publishing does, a broken snapshot removed among it."""
    disks = [bakery.bake("arm64"), bakery.bake("x86_64")]
    account.fail("ebs", "CompleteSnapshot", code="ValidationException", times=1)
    with pytest.raises(ImageError, match="it is deleted"):
        account.publish(*disks)
    wishes: dict[str, Any] = {"copy_to": (OTHER,), "share": ("111122223333",), "public": True, "deprecate_after": 9}
    assert account.publish(*disks, **wishes) == 0
    return account


def test_what_is_granted_is_what_is_called(everything: Account) -> None:
    """Neither more nor less, by action."""
    called = {f"{each.service}:{each.operation}" for each in everything.log}

    granted = {action for each in statements().values() for action in listed(each["Action"])}

    assert granted == (called - FREE) | IMPLIED


def test_resources_are_those_that_publishing_makes(everything: Account) -> None:
    """Images and snapshots of any region, parameters below the prefix; "*" where AWS knows no resources."""
    for each in statements().values():
        service = listed(each["Action"])[0].partition(":")[0]
        if each["Sid"] == "Look":
            assert all(re.fullmatch(r"ec2:(Describe|Get)\w+", action) for action in listed(each["Action"]))
            assert each["Resource"] == "*"
        elif service == "ssm":
            arns = {
                f"arn:aws:ssm:{call.region}:123456789012:parameter{call.arguments['Name']}"
                for call in everything.calls("ssm")
            }
            assert all(fnmatch.fnmatchcase(arn, each["Resource"]) for arn in arns)
            assert not fnmatch.fnmatchcase("arn:aws:ssm:eu-west-1:123456789012:parameter/DiscrimiNAT", each["Resource"])
        else:
            assert {*listed(each["Resource"])} <= {"arn:aws:ec2:*::image/*", "arn:aws:ec2:*::snapshot/*"}


def test_what_exists_is_changed_only_if_it_is_ours(everything: Account) -> None:
    """Each image and snapshot that was changed has the tag that the policy asks for, from its beginning."""
    asked = statements()["ShareWhatWasMade"]["Condition"]
    assert asked == {"Null": {f"aws:ResourceTag/{OURS}": "false"}}
    actions = {action.partition(":")[2] for action in listed(statements()["ShareWhatWasMade"]["Action"])}
    changed = [call for call in everything.log if call.operation in actions]
    made: dict[str, set[str]] = {"image": set(), "snapshot": set()}
    for call in everything.log:
        for tags in call.arguments.get("TagSpecifications", []):
            made[tags["ResourceType"]] |= {tag["Key"] for tag in tags["Tags"]}
        if call.operation == "StartSnapshot":
            made["snapshot"] |= {tag["Key"] for tag in call.arguments["Tags"]}

    assert {call.operation for call in changed} == actions
    assert OURS in made["image"] & made["snapshot"]


def test_each_statement_is_explained() -> None:
    """The README has a row for each."""
    section = (IMAGE / "README.md").read_text().partition("### Rights of the publisher")[2]
    rows = re.findall(r"^\| `(\w+)` \| ", section.partition("\n## ")[0], re.MULTILINE)

    assert rows == list(statements())
