"""The Terraform that `discriminat suggest` prints: the real program takes it, and makes what was suggested."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.edge.ec2 import parse_security_groups
from appliance.edge.suffix_list import read_suffixes
from appliance.family import Terms
from appliance.lint import lint
from appliance.offer import render_terraform
from appliance.policy.annotation import Protocol
from appliance.policy.exposure import Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import Inventory
from appliance.policy.pattern import Pattern
from appliance.policy.policy import compile_policy
from appliance.sighting import NAME_MAX
from appliance.suggestion import suggest
from appliance.usage import Usage
from tests.lab.lab import Lab
from tests.sightings import MORNING, line
from tests.terraform.allowlists import of_length
from tests.terraform.terraform import Terraform, aws

NAMES = ["api.example.com", "_x.example.com", "9.example.com", "xn--bcher-kva.example", of_length(NAME_MAX, "x")]
GUARD = Guard(suffixes=read_suffixes())
MANY = [f"service-{index}.n{index}.example.com" for index in range(30)]
FAMILIES = {  # patterns, as descriptions hold them, and names that they stand for
    "a+.cdn.example.net": [f"a{index}.cdn.example.net" for index in range(1, 6)],
    "s3-*.example.net": [f"s3-{place}.example.net" for place in ("eu-west-1", "us-east-2", "apac", "af")],
    "files.*.example.net": [f"files.{place}.example.net" for place in ("lhr", "ams", "fra", "dublin")],
}
HOSTILE = ['"]}', "${file(1)}", "a.b\n", "%{if true}", "*.example.com", "192.0.2.1", "localhost"]


@pytest.fixture(scope="module")
def groups(cloud: Lab) -> Iterator[list[str]]:
    """Two Security Groups without an egress rule."""
    vpc = cloud.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    made = []
    for name in ("suggest-a", "suggest-b"):
        id = cloud.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        cloud.ec2.revoke_security_group_egress(GroupId=id, IpPermissions=[everything])
        made.append(id)
    yield made
    for id in made:
        cloud.ec2.delete_security_group(GroupId=id)
    cloud.ec2.delete_vpc(VpcId=vpc)


def test_what_is_suggested_is_applied_as_it_is(cloud: Lab, groups: list[str], tmp_path: Path) -> None:
    """Formatted, valid, and applied: the groups then grant the names and nothing else, and `check` finds nothing."""
    first, second = groups
    usage = Usage()
    texts = [
        *(line(name, gid=first) for name in (*NAMES, *HOSTILE)),
        *(line(name, 8443, gid=first) for name in MANY for _ in range(3)),
        *(line(name, gid=first) for family in FAMILIES.values() for name in family for _ in range(3)),
        line("api.example.com", gid="%default", client="10.9.1.10", at=MORNING),
    ]
    for text in texts:
        usage.read(text)
    Terraform.copy(tmp_path, "modules/allowlist")
    terraform = Terraform(tmp_path, aws(cloud.emulator.url, cloud.region))
    written = render_terraform(suggest(usage, terms=Terms(GUARD)), "./terraform/modules/allowlist")
    (tmp_path / "allowlist.tf").write_text(written)

    terraform.run("fmt", "-check", "-diff", "allowlist.tf")
    (tmp_path / "provider.tf").write_text(
        'provider "aws" {\n  skip_credentials_validation = true\n  skip_requesting_account_id  = true\n}\n'
    )
    terraform.init()
    terraform.validate()
    terraform.apply(group_of_10_9_1_10=second)
    try:
        found = cloud.ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]
        inventory = Inventory(parse_security_groups(found), ())
        assert lint(inventory, MORNING.date(), with_interfaces=False, guard=GUARD).findings == ()
        granted = {
            (rule.gid, rule.port, rule.protocol, name)
            for rule, names in compile_policy(inventory, GUARD).rules.items()
            for name in names
        }
        assert granted == {
            *((first, 443, Protocol.TLS, Fqdn.parse(name)) for name in NAMES),
            *((first, 443, Protocol.TLS, Pattern.parse(pattern)) for pattern in FAMILIES),
            *((first, 8443, Protocol.TLS, Fqdn.parse(name)) for name in MANY),
            (second, 443, Protocol.TLS, Fqdn.parse("api.example.com")),
        }
        assert not terraform.plan(group_of_10_9_1_10=second).changes
    finally:
        terraform.destroy(group_of_10_9_1_10=second)
