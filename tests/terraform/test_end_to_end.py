"""End to end: what Terraform made filters real clients as the annotations say, and goes on after a replacement.

Every packet goes by the emulator's route tables and Security Groups: workload, fabric, the appliance of its zone, the
fabric's Internet gateway. Nothing here starts an appliance: an Auto Scaling group did.
"""

import contextlib
import fnmatch
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.appliance import Appliance
from tests.lab.emulator import ACCOUNT
from tests.lab.lab import wait_until
from tests.lab.security_group import Group, egress
from tests.lab.servers import Server
from tests.lab.story import prefix_list
from tests.lab.workload import Workload
from tests.terraform.deployment import FAR, NAME, Deployment

API, FILES, GIT = "api.example.com", "files.example.com", "git.example.com"  # those of examples/workloads
ELSEWHERE, OTHER_GIT = "www.example.net", "git.example.net"
OF_SSM, OF_SECRETS, OF_ALIAS = "@ssm/apps/acme/allow", "@secret/apps/acme/allow", "@list/central"


@dataclass
class Town:
    """A deployment with servers outside and a workload of each kind in its first zone."""

    deployment: Deployment
    servers: dict[str, Server]
    groups: dict[str, Group]
    web: Workload
    build: Workload
    zone: str
    own_groups: list[Group] = field(default_factory=list)

    @property
    def appliance(self) -> Appliance:
        return self.deployment.appliance(self.zone)

    def launch(self, name: str, groups: list[Group], zone: str = "") -> Workload:
        """Launch a workload in a private subnet, and wait until the zone's appliance knows it."""
        zone = zone or self.zone
        client = self.launch_unknown(name, groups, zone)
        self.deployment.appliance(zone).wait_for_event(cat="client", outcome="accepted", client=client.address)
        return client

    def launch_unknown(self, name: str, groups: list[Group], zone: str = "") -> Workload:
        """Launch one that the appliance does not speak of, as it has no annotation, or not yet."""
        return self.deployment.lab.workload(name, groups=groups, subnet=f"{NAME}-private-{zone or self.zone}")


@pytest.fixture(scope="module")
def town(deployment: Deployment) -> Iterator[Town]:
    internet = deployment.lab.internet
    servers = {name: internet.tls(name) for name in (API, FILES, ELSEWHERE)}
    servers |= {name: internet.ssh(name) for name in (GIT, OTHER_GIT)}
    groups = deployment.groups()
    made = Town(deployment, servers, groups, web=None, build=None, zone=deployment.zones[0])  # type: ignore[arg-type]
    made.web = made.launch("web", [groups["web"]])
    made.build = made.launch("build", [groups["build"]])
    yield made
    for client in list(deployment.lab.workloads.values()):
        deployment.lab.terminate(client)
    for group in made.own_groups:
        deployment.lab.ec2.delete_security_group(GroupId=group.id)


def test_every_zone_lets_out_what_is_listed(town: Town) -> None:
    """A listed name is reached from each zone, through that zone's appliance and under its Elastic IP."""
    for zone in town.deployment.zones:
        client = town.web if zone == town.zone else town.launch(f"web {zone}", [town.groups["web"]], zone)

        answer = client.curl(f"https://{API}/")

        assert answer.ok, answer.err
        assert answer.json["client"] == town.deployment.outputs["public_ips"][zone]
        event = town.deployment.appliance(zone).wait_for_event(
            cat="server", dhost=API, outcome="allowed", src=client.address
        )
        assert event["instance"] == town.deployment.appliance(zone).instance


def test_names_that_the_module_wrote_are_let_out(town: Town) -> None:
    """Names of modules/allowlist are obeyed like those written by hand, for TLS and for SSH."""
    for name in (API, FILES):
        assert town.build.curl(f"https://{name}/").ok
    assert town.build.ssh(GIT, "true").ok


def refused(town: Town, client: Workload, server: Server, code: str) -> None:
    """The log says why, under this client's address, and the server has got nothing."""
    event = town.appliance.wait_for_event(cat="client", outcome="disallowed", src=client.address, dst=server.address)
    assert event["code"] == code
    assert server.received() == b""


def test_what_is_not_listed_is_refused(town: Town) -> None:
    """The list of one group is not the list of another."""
    elsewhere = town.servers[ELSEWHERE]

    assert not town.web.curl(f"https://{ELSEWHERE}/").ok
    refused(town, town.web, elsewhere, "name_not_listed")
    assert not town.build.curl(f"https://{ELSEWHERE}/").ok
    refused(town, town.build, elsewhere, "name_not_listed")
    assert not town.build.ssh(OTHER_GIT, "true").ok
    refused(town, town.build, town.servers[OTHER_GIT], "address_mismatch")


def test_a_listed_name_at_another_address_is_refused(town: Town) -> None:
    """Who says a listed name to a server of another one is spoofing."""
    client = town.launch("spoofer", [town.groups["web"]])

    assert not client.curl(f"https://{API}/", "--insecure", "--connect-to", f"::{ELSEWHERE}:443").ok

    refused(town, client, town.servers[ELSEWHERE], "address_mismatch")


def test_a_prefix_list_may_be_the_destination(town: Town) -> None:
    """The appliance reads the lists that annotated rules lead to, by the rights of its role."""
    lab = town.deployment.lab
    list_id = prefix_list(lab, f"{town.servers[API].address}/32")
    listed_by = lab.security_group("by list", egress("tcp", 443, list_id, f"discriminat:tls:{API}"))
    town.own_groups.append(listed_by)
    client = town.launch("by list", [listed_by])

    assert client.curl(f"https://{API}/").ok

    event = town.appliance.wait_for_event(cat="server", dhost=API, outcome="allowed", src=client.address)
    assert list_id in event["rule"]


@pytest.fixture(scope="module")
def lists(town: Town) -> Iterator[dict[str, str]]:
    """What annotations call the lists that the deployment names, and a name that stands in each.

    They are somebody else's, and so is taking them away.
    """
    client = town.deployment.lab.emulator.client
    held = {each: f"{each.partition('/')[0][1:]}.lists.test" for each in (OF_SSM, OF_SECRETS, OF_ALIAS)}
    client("ssm").put_parameter(Name="/apps/acme/allow", Value=held[OF_SSM], Type="String")
    client("secretsmanager").create_secret(Name="apps/acme/allow", SecretString=held[OF_SECRETS])
    client("ssm", FAR).put_parameter(Name="/egress/central", Value=held[OF_ALIAS], Type="StringList")
    yield held
    client("ssm").delete_parameter(Name="/apps/acme/allow")
    client("secretsmanager").delete_secret(SecretId="apps/acme/allow", ForceDeleteWithoutRecovery=True)
    client("ssm", FAR).delete_parameter(Name="/egress/central")


def test_names_of_lists_kept_elsewhere_are_let_out(town: Town, lists: dict[str, str]) -> None:
    """The appliances read the lists that the module names, one of another region by its alias."""
    servers = {each: town.deployment.lab.internet.tls(name) for each, name in lists.items()}
    rule = egress("tcp", 443, "0.0.0.0/0", f"discriminat:tls:{','.join(lists)}")
    by_lists = town.deployment.lab.security_group("by lists", rule)
    town.own_groups.append(by_lists)
    client = town.launch("by lists", [by_lists])

    for server in servers.values():
        answer = client.curl(f"https://{server.name}/")
        assert answer.ok, answer.err
    assert not client.curl(f"https://{ELSEWHERE}/").ok
    refused(town, client, town.servers[ELSEWHERE], "name_not_listed")


def test_nothing_annotated_nothing_let_out(town: Town) -> None:
    """A Security Group as AWS makes it lets all traffic out of the workload, and none of it out of the VPC."""
    open_to_all = town.deployment.lab.security_group("bare", egress("-1", None))
    town.own_groups.append(open_to_all)
    client = town.launch_unknown("bare", [open_to_all])

    assert not client.curl(f"https://{ELSEWHERE}/").ok

    refused(town, client, town.servers[ELSEWHERE], "client_not_annotated")


def test_groups_and_routes_are_the_emulators(town: Town) -> None:
    """What the group does not permit never gets to the appliance, and without the route nothing does."""
    lab, zone = town.deployment.lab, town.zone
    before = len(town.appliance.flow_events())
    assert not town.web.curl(f"http://{API}/").ok  # TCP port 80 is in no rule of the group
    subnet = town.deployment.example_outputs["private_subnet_ids"][zone]
    here = [{"Name": "association.subnet-id", "Values": [subnet]}]
    (table,) = lab.ec2.describe_route_tables(Filters=here)["RouteTables"]
    route = {"RouteTableId": table["RouteTableId"], "DestinationCidrBlock": "0.0.0.0/0"}

    lab.ec2.delete_route(**route)
    assert not town.web.curl(f"https://{API}/").ok
    assert town.appliance.flow_events()[before:] == []

    lab.ec2.create_route(**route, NetworkInterfaceId=town.appliance.interface)
    assert town.web.curl(f"https://{API}/").ok


def follows(town: Town, old: Appliance) -> Appliance:
    """Another instance has taken the old one's place, interface and address, and filters as it did."""
    new = town.deployment.fleet.wait_replaced(old)
    assert new.instance != old.instance
    assert (new.interface, new.address, new.public) == (old.interface, old.address, old.public)

    answer = town.web.curl(f"https://{API}/")
    assert answer.ok, answer.err
    assert answer.json["client"] == old.public
    assert not town.web.curl(f"https://{ELSEWHERE}/").ok
    event = new.wait_for_event(cat="client", outcome="disallowed", src=town.web.address)
    assert (event["code"], event["instance"]) == ("name_not_listed", new.instance)
    return new


def test_traffic_goes_on_after_an_instance_refresh(town: Town) -> None:
    """The new instance filters on the same interface, under the same addresses."""
    autoscaling = town.deployment.lab.emulator.client("autoscaling")
    old = town.appliance

    autoscaling.start_instance_refresh(AutoScalingGroupName=old.name, Preferences={"MinHealthyPercentage": 0})

    follows(town, old)
    told = autoscaling.describe_instance_refreshes(AutoScalingGroupName=old.name)["InstanceRefreshes"]
    assert told[0]["Status"] == "Successful"


def workers(appliance: Appliance) -> list[int]:
    """Return the process ids of an appliance's workers; none when it is being ended."""
    process = appliance.process
    if process is None:
        return []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(each) for each in found if b"worker" in Path(f"/proc/{each}/cmdline").read_bytes()]
    return []


@pytest.fixture(scope="module")
def tormented(town: Town) -> Appliance:
    """An appliance whose workers have been killed until another one had taken its place."""
    old = town.appliance

    def torment() -> bool:
        if old in town.deployment.fleet.gone:
            return True
        for worker in workers(old):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        return False

    assert wait_until(torment, 40), old.said()
    return old


def test_an_appliance_that_cannot_filter_is_replaced(town: Town, tormented: Appliance) -> None:
    """It asks its group for a successor, which takes over."""
    follows(town, tormented)


def role_policy(town: Town) -> list[dict[str, Any]]:
    """Return the statements of the appliances' role, as Terraform made it."""
    iam = town.deployment.lab.emulator.client("iam")
    role = town.deployment.outputs["role_arn"].rpartition("/")[2]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    statements = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    assert [each["Effect"] for each in statements] == ["Allow"] * len(statements)
    return [dict(each) for each in statements]


def listed(value: object) -> list[str]:
    return value if isinstance(value, list) else [str(value)]


def test_the_role_may_do_what_the_appliances_do_and_nothing_else(town: Town, tormented: Appliance) -> None:
    """Every action that an appliance called in all the stories above is granted, and none is granted that was not."""
    appliances = [*town.deployment.fleet.appliances.values(), *town.deployment.fleet.gone]
    addresses = {each.address for each in appliances}
    seen = town.deployment.lab.emulator.switchboard.calls()
    called = {f"{each.service}:{each.action}" for each in seen if each.source in addresses}

    granted = {action for statement in role_policy(town) for action in listed(statement["Action"])}

    assert called == granted


def is_matched(arn: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(arn, each) for each in patterns)


def test_the_appliances_act_in_their_role(town: Town) -> None:
    """Each took the credentials of the role that Terraform made, and of no other."""
    role = town.deployment.outputs["role_arn"].rpartition("/")[2]
    path = "/latest/meta-data/iam/security-credentials/"
    asked = {(source, each) for source, each in town.deployment.lab.metadata.requests if each.startswith(path)}

    for appliance in town.deployment.fleet.appliances.values():
        assert {each for source, each in asked if source == appliance.address} == {path, path + role}


@pytest.mark.usefixtures("lists")
def test_the_role_is_for_what_is_there(town: Town) -> None:
    """The resources that the policy names are those of the deployment, and nobody else's, nor any list beside them."""
    client, outputs = town.deployment.lab.emulator.client, town.deployment.outputs
    groups = client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    own = {
        "autoscaling": {each["AutoScalingGroupARN"] for each in groups},
        "logs": {f"{outputs['log_group_arn']}:log-stream:{each}" for each in ("flow", "config", "metrics")},
        "ssm": {
            *(
                client("ssm").get_parameter(Name=name)["Parameter"]["ARN"]
                for name in (outputs["preferences_parameter_name"], "/apps/acme/allow")
            ),
            client("ssm", FAR).get_parameter(Name="/egress/central")["Parameter"]["ARN"],
        },
        "secretsmanager": {client("secretsmanager").describe_secret(SecretId="apps/acme/allow")["ARN"]},
    }
    stranger = {service: {arn.replace(NAME, "other") for arn in arns} - arns for service, arns in own.items()}
    stranger["ssm"] |= {
        f"arn:aws:ssm:{town.deployment.lab.region}:{ACCOUNT}:parameter{name}"
        for name in ("/apps/acme/allow-not", "/apps/acme/allow/not", "/apps", "/egress/central")
    }
    stranger["secretsmanager"] |= {
        client("secretsmanager").create_secret(Name=name, SecretString="password")["ARN"]
        for name in ("apps/acme/allow-not", "apps/acme/allow/not", "apps/acme", "apps/acme/allow-1")
    }

    granted: dict[str, list[str]] = {}
    for statement in role_policy(town):
        service = listed(statement["Action"])[0].partition(":")[0]
        patterns = listed(statement["Resource"])
        if service == "ec2":  # EC2's Describe actions know no resources
            assert (patterns, statement["Condition"]) == (
                ["*"],
                {"StringEquals": {"aws:RequestedRegion": town.deployment.lab.region}},
            )
        else:
            granted.setdefault(service, []).extend(patterns)
    assert granted.keys() == own.keys()
    for service, patterns in granted.items():
        assert {arn for arn in own[service] if is_matched(arn, patterns)} == own[service]
        assert [arn for arn in stranger[service] if is_matched(arn, patterns)] == []


def test_what_happened_is_in_cloudwatch(town: Town) -> None:
    """The log group that Terraform made has the flows and the metrics of every zone."""
    lab = town.deployment.lab

    def zones() -> set[str]:
        return {json.loads(line)["Zone"] for line in lab.log_events("metrics")}

    assert wait_until(lambda: zones() == set(town.deployment.zones), 20), zones()
    assert wait_until(lambda: any(API in line for line in lab.log_events("flow")), 20)
