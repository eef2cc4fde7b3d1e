"""What `terraform apply` of an example has made, read back through the AWS API, and what it does with changes."""

import base64
import json
import socket
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore.exceptions
import pytest

from appliance.policy.preferences import DEFAULTS, write_preferences
from tests.lab.lab import Lab
from tests.terraform.deployment import CENTRAL, NAME, ROOT_DEVICE, Deployment
from tests.terraform.terraform import Terraform, aws

BIGGER_DISK = "root_volume = { size_gib = 10 }"  # reaches the launch template


def interface(deployment: Deployment, zone: str) -> dict[str, Any]:
    id = deployment.outputs["network_interface_ids"][zone]
    return dict(deployment.lab.ec2.describe_network_interfaces(NetworkInterfaceIds=[id])["NetworkInterfaces"][0])


def group(deployment: Deployment, zone: str) -> dict[str, Any]:
    autoscaling = deployment.lab.emulator.client("autoscaling")
    name = deployment.outputs["autoscaling_group_names"][zone]
    return dict(autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0])


def instance(deployment: Deployment, zone: str) -> dict[str, Any]:
    (member,) = group(deployment, zone)["Instances"]
    told = deployment.lab.ec2.describe_instances(InstanceIds=[member["InstanceId"]])
    return dict(told["Reservations"][0]["Instances"][0])


def tags(resource: dict[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in resource.get("Tags") or resource.get("TagSet") or []}


def test_there_is_an_appliance_in_every_zone(deployment: Deployment) -> None:
    """Three zones, three groups, three instances in service, each of which has answered its launch hook."""
    assert len(deployment.zones) == 3
    for zone in deployment.zones:
        assert [each["LifecycleState"] for each in group(deployment, zone)["Instances"]] == ["InService"]
        assert deployment.appliance(zone).health()[0] == 200
        deployment.appliance(zone).wait_for_event(cat="appliance", outcome="in service")


def test_the_interface_is_pinned(deployment: Deployment) -> None:
    """The instance has the interface of its zone, which forwards and outlives it, in the public subnet."""
    for zone in deployment.zones:
        eni, host = interface(deployment, zone), instance(deployment, zone)

        assert eni["SourceDestCheck"] is False
        assert eni["SubnetId"] == deployment.example_outputs["public_subnet_ids"][zone]
        assert eni["Attachment"]["InstanceId"] == host["InstanceId"]
        assert eni["Attachment"]["DeleteOnTermination"] is False
        assert [each["NetworkInterfaceId"] for each in host["NetworkInterfaces"]] == [eni["NetworkInterfaceId"]]
        assert [each["GroupId"] for each in eni["Groups"]] == [deployment.outputs["security_group_id"]]
        assert tags(eni)["Name"] == tags(host)["Name"] == f"{NAME}-{zone}"


def test_the_public_address_is_bound(deployment: Deployment) -> None:
    """Each interface has an Elastic IP, the one of the output."""
    public = {zone: interface(deployment, zone)["Association"]["PublicIp"] for zone in deployment.zones}

    assert public == deployment.outputs["public_ips"]
    assert len(set(public.values())) == 3


def test_private_subnets_leave_by_the_appliance_of_their_zone(deployment: Deployment) -> None:
    """The default route of the private table leads to the interface, and the public one to the Internet gateway."""
    state = deployment.lab.state()
    subnets = deployment.example_outputs
    for zone in deployment.zones:
        eni = deployment.outputs["network_interface_ids"][zone]

        private, public = (state.subnets[subnets[f"{kind}_subnet_ids"][zone]] for kind in ("private", "public"))
        assert [(each.destination, each.target) for each in private.routes] == [("0.0.0.0/0", eni)]
        assert [each.target[:4] for each in public.routes] == ["igw-"]


def test_the_instance_is_closed(deployment: Deployment) -> None:
    """IMDSv2 alone and for the host alone, no key pair, detailed monitoring, the disk gp3 and encrypted."""
    for zone in deployment.zones:
        host = instance(deployment, zone)

        options = host["MetadataOptions"]
        assert (options["HttpTokens"], options["HttpPutResponseHopLimit"], options["HttpEndpoint"]) == (
            "required",
            1,
            "enabled",
        )
        assert "KeyName" not in host
        assert host["Monitoring"]["State"] == "enabled"
        (device,) = host["BlockDeviceMappings"]
        volume = deployment.lab.ec2.describe_volumes(VolumeIds=[device["Ebs"]["VolumeId"]])["Volumes"][0]
        assert device["DeviceName"] == ROOT_DEVICE
        assert (volume["VolumeType"], volume["Encrypted"], device["Ebs"]["DeleteOnTermination"]) == ("gp3", True, True)


def test_user_data_are_settings(deployment: Deployment) -> None:
    """The program is told its deployment, its group and hook, where preferences, logs and lists elsewhere are."""
    for zone in deployment.zones:
        told = deployment.lab.ec2.describe_instance_attribute(
            InstanceId=instance(deployment, zone)["InstanceId"], Attribute="userData"
        )
        text = base64.b64decode(told["UserData"]["Value"]).decode()

        assert text.startswith("# Settings of discriminat")
        assert tomllib.loads(text) == {
            "aws": {"deployment": NAME, "auto_scaling_group": f"{NAME}-{zone}", "launch_hook": f"{NAME}-ready"},
            "preferences": {"parameter": f"DiscrimiNAT_{NAME}"},
            "logs": {"group": f"discrimiNAT_{NAME}"},
            "health": {"port": 1042},
            "lists": {"arns": [f"central={CENTRAL}"]},
        }


def test_a_launch_that_does_not_filter_is_abandoned(deployment: Deployment) -> None:
    """Each group of one has the launch hook, whose silence ends the instance; the newest version is launched."""
    autoscaling = deployment.lab.emulator.client("autoscaling")
    for zone in deployment.zones:
        described = group(deployment, zone)

        (hook,) = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=f"{NAME}-{zone}")["LifecycleHooks"]
        assert (hook["LifecycleHookName"], hook["LifecycleTransition"]) == (
            f"{NAME}-ready",
            "autoscaling:EC2_INSTANCE_LAUNCHING",
        )
        assert (hook["DefaultResult"], hook["HeartbeatTimeout"]) == ("ABANDON", 600)
        assert (described["MinSize"], described["MaxSize"], described["DesiredCapacity"]) == (1, 1, 1)
        assert described["AvailabilityZones"] == [zone]
        assert described["AutoScalingGroupName"] == f"{NAME}-{zone}"


def test_the_group_lets_clients_in(deployment: Deployment) -> None:
    """The appliance's Security Group takes what the VPC sends, probes included, and lets everything out."""
    state = deployment.lab.state()
    rules = state.groups[deployment.outputs["security_group_id"]]

    assert {(each.protocol, each.peer) for each in rules.egress} == {("-1", "0.0.0.0/0")}
    assert {each.peer for each in rules.ingress} == set(state.networks)


def test_logs_and_preferences(deployment: Deployment) -> None:
    """The log group is kept for a year, and the parameter holds every preference in the clear."""
    (kept,) = deployment.lab.logs.describe_log_groups(logGroupNamePrefix=deployment.outputs["log_group_name"])[
        "logGroups"
    ]
    ssm = deployment.lab.emulator.client("ssm")
    parameter = ssm.get_parameter(Name=deployment.outputs["preferences_parameter_name"])["Parameter"]

    assert (kept["logGroupName"], kept["retentionInDays"]) == (f"discrimiNAT_{NAME}", 365)
    assert kept["arn"].removesuffix(":*") == deployment.outputs["log_group_arn"]
    assert parameter["Type"] == "String"
    assert json.loads(parameter["Value"]) == {"%default": write_preferences(DEFAULTS)}


def test_alarms_and_queries_are_there(deployment: Deployment) -> None:
    """Each alarm of the output exists, and each query asks the log group."""
    cloudwatch = deployment.lab.emulator.client("cloudwatch")
    alarms = {
        each["AlarmArn"]
        for page in cloudwatch.get_paginator("describe_alarms").paginate()
        for each in page["MetricAlarms"]
    }
    queries = deployment.lab.logs.describe_query_definitions(queryDefinitionNamePrefix=NAME)["queryDefinitions"]

    assert set(deployment.outputs["alarm_arns"].values()) == alarms
    assert len(alarms) >= 3 * 6
    assert {tuple(each["logGroupNames"]) for each in queries} == {(deployment.outputs["log_group_name"],)}
    assert len(queries) >= 2


def test_the_role_is_the_instances_own(deployment: Deployment) -> None:
    """EC2 may take the role, whose policy is one document of the module's, and each instance has it."""
    iam = deployment.lab.emulator.client("iam")
    role = deployment.outputs["role_arn"].rpartition("/")[2]

    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    assert role == f"{NAME}-{deployment.lab.region}"
    assert [each["Principal"] for each in trust["Statement"]] == [{"Service": "ec2.amazonaws.com"}]
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    for zone in deployment.zones:
        profile = instance(deployment, zone)["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        assert [
            each["RoleName"]
            for each in iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
        ] == [role]


def test_nothing_is_left_to_do(deployment: Deployment) -> None:
    """A second plan is empty: what was applied is what AWS says."""
    plan = deployment.vpc.plan(**deployment.variables)

    assert not plan.changes, plan.out


def test_a_change_of_the_launch_template_replaces_instances(deployment: Deployment) -> None:
    """A new version, an instance refresh, a new instance for each zone; interface, address and Elastic IP stay."""
    old = {zone: deployment.appliance(zone) for zone in deployment.zones}

    deployment.override(BIGGER_DISK)

    for zone, before in old.items():
        after = deployment.fleet.wait_replaced(before)
        assert after.instance != before.instance
        assert (after.interface, after.address, after.public) == (before.interface, before.address, before.public)
        (device,) = instance(deployment, zone)["BlockDeviceMappings"]
        volume = deployment.lab.ec2.describe_volumes(VolumeIds=[device["Ebs"]["VolumeId"]])["Volumes"][0]
        assert volume["Size"] == 10
    plan = deployment.vpc.plan(**deployment.variables)
    assert not plan.changes, plan.out


def test_a_change_of_preferences_replaces_nothing(deployment: Deployment) -> None:
    """Appliances read preferences while they run: the parameter changes, they obey, and no instance changes."""
    before = {zone: deployment.appliance(zone) for zone in deployment.zones}

    for verbosity in ("only_disallowed", "full"):
        deployment.override(f'{BIGGER_DISK}\npreferences = {{ flow_log_verbosity = "{verbosity}" }}')
        for appliance in before.values():
            appliance.wait_for_event(
                lambda event, text=f'flow_log_verbosity: "{verbosity}", was': event["reason"].startswith(text),  # type: ignore[misc]
                cat="preferences",
                outcome="accepted",
            )

    assert {zone: deployment.appliance(zone) for zone in deployment.zones} == before


def test_an_interface_in_use_cannot_be_lost(deployment: Deployment) -> None:
    """The interface of an appliance cannot be deleted under it."""
    with pytest.raises(botocore.exceptions.ClientError, match="in use"):
        deployment.lab.ec2.delete_network_interface(
            NetworkInterfaceId=deployment.outputs["network_interface_ids"][deployment.zones[0]]
        )


@contextmanager
def answering(lab: Lab, prefix: str) -> Iterator[None]:
    """Complete every launch of groups whose names begin so, for the duration of a block: nobody else is there to."""
    autoscaling = lab.emulator.client("autoscaling")
    changed, ended = threading.Event(), threading.Event()

    def answer() -> None:
        while not ended.is_set():
            changed.wait()
            changed.clear()
            for each in autoscaling.describe_auto_scaling_instances()["AutoScalingInstances"]:
                if each["AutoScalingGroupName"].startswith(prefix) and each["LifecycleState"] == "Pending:Wait":
                    autoscaling.complete_lifecycle_action(
                        AutoScalingGroupName=each["AutoScalingGroupName"],
                        LifecycleHookName=f"{prefix}-ready",
                        InstanceId=each["InstanceId"],
                        LifecycleActionResult="CONTINUE",
                    )

    lab.emulator.follow(changed.set)
    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        changed.set()
        thread.join()


@pytest.fixture(scope="module")
def other(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """examples/one-zone, not yet applied, in the same account and region; its AWS API has the lab's bad days."""
    lab = deployment.lab
    listener = socket.create_server(("127.0.0.1", 0))
    environment = aws(f"http://127.0.0.1:{listener.getsockname()[1]}", lab.region)
    lab.emulator.serve(listener)
    made = Terraform.copy(tmp_path_factory.mktemp("other"), "examples/one-zone", environment)
    made.init()
    return made


def test_what_an_apply_left_half_made_the_next_one_finishes(deployment: Deployment, other: Terraform) -> None:
    """AWS refuses in the middle; once it does not, the same command makes all, and has nothing left to do."""
    lab = deployment.lab
    with lab.trouble("autoscaling", "deny", "CreateAutoScalingGroup"):
        failed = other.apply(check=False, region=lab.region)
    assert "autoscaling:CreateAutoScalingGroup" in failed.complaint

    with answering(lab, "one-zone"):
        other.apply(region=lab.region)

    plan = other.plan(region=lab.region)
    assert not plan.changes, plan.out


def test_two_deployments_live_side_by_side(deployment: Deployment, other: Terraform) -> None:
    """One of another name takes nothing of the first one's, and goes without it."""
    with answering(deployment.lab, "one-zone"):
        other.apply(region=deployment.lab.region)
    plan = deployment.vpc.plan(**deployment.variables)
    assert not plan.changes, plan.out

    other.destroy(region=deployment.lab.region)

    plan = deployment.vpc.plan(**deployment.variables)
    assert not plan.changes, plan.out
