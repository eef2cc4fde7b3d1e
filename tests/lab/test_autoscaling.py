"""An Auto Scaling group of the emulator does with its one instance and its interface what AWS does."""

import base64
from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import pytest

from tests.lab.lab import Lab

NAME = "group"


class Group:
    """A group of one whose launch template pins an interface, and the calls that stories about it make."""

    def __init__(self, lab: Lab) -> None:
        self.ec2, self.autoscaling = lab.ec2, lab.emulator.client("autoscaling")
        self.iam = lab.emulator.client("iam")
        self.iam.create_role(RoleName=NAME, AssumeRolePolicyDocument="{}")
        self.iam.create_instance_profile(InstanceProfileName=NAME)
        self.iam.add_role_to_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
        devices = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 4}}]
        self.image = self.ec2.register_image(
            Name="an image", Architecture="arm64", RootDeviceName="/dev/xvda", BlockDeviceMappings=devices
        )["ImageId"]
        made = self.ec2.create_network_interface(SubnetId=lab.subnets["public-a"])
        self.interface = made["NetworkInterface"]["NetworkInterfaceId"]
        self.template = self.ec2.create_launch_template(
            LaunchTemplateName=NAME,
            LaunchTemplateData=self.data("one"),
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": [{"Key": "of", "Value": "template"}]}],
        )["LaunchTemplate"]["LaunchTemplateId"]
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=NAME,
            MinSize=1,
            MaxSize=1,
            AvailabilityZones=[f"{lab.region}a"],
            LaunchTemplate={"LaunchTemplateId": self.template, "Version": "1"},
            HealthCheckGracePeriod=600,
            DefaultInstanceWarmup=30,
            InstanceMaintenancePolicy={"MinHealthyPercentage": 0, "MaxHealthyPercentage": 100},
            LifecycleHookSpecificationList=[
                {"LifecycleHookName": "ready", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
            ],
        )

    def data(self, user_data: str) -> dict[str, Any]:
        return {
            "ImageId": self.image,
            "InstanceType": "t4g.small",
            "UserData": base64.b64encode(user_data.encode()).decode(),
            "IamInstanceProfile": {"Name": NAME},
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": self.interface}],
            "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3", "Encrypted": True}}],
        }

    def described(self) -> dict[str, Any]:
        return dict(self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[NAME])["AutoScalingGroups"][0])

    def member(self) -> tuple[str, str]:
        """Return id and lifecycle state of the one instance."""
        (instance,) = self.described()["Instances"]
        return instance["InstanceId"], instance["LifecycleState"]

    def instance(self) -> dict[str, Any]:
        id, _ = self.member()
        return dict(self.ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0])

    def complete(self, result: str = "CONTINUE") -> str:
        """Complete the launch, and return the id of the instance it was about."""
        id, _ = self.member()
        self.autoscaling.complete_lifecycle_action(
            AutoScalingGroupName=NAME, LifecycleHookName="ready", InstanceId=id, LifecycleActionResult=result
        )
        return id

    def holder(self) -> str:
        """Return the id of the instance that has the interface, empty if it is free."""
        told = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[self.interface])["NetworkInterfaces"][0]
        return str(told.get("Attachment", {}).get("InstanceId", ""))

    def take_away(self) -> None:
        self.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=NAME, ForceDelete=True)
        self.ec2.deregister_image(ImageId=self.image)
        self.ec2.delete_launch_template(LaunchTemplateId=self.template)
        self.ec2.delete_network_interface(NetworkInterfaceId=self.interface)
        self.iam.remove_role_from_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
        self.iam.delete_instance_profile(InstanceProfileName=NAME)
        self.iam.delete_role(RoleName=NAME)


@pytest.fixture
def group(lab: Lab) -> Iterator[Group]:
    made = Group(lab)
    yield made
    made.take_away()


def refusal(call: Any, **arguments: Any) -> str:
    """Return the code with which AWS refuses a call."""
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Code"])


def test_an_instance_has_what_its_template_says(group: Group) -> None:
    """Interface, user data, profile, metadata options, disk: those of the launch template's version."""
    instance = group.instance()

    assert [each["NetworkInterfaceId"] for each in instance["NetworkInterfaces"]] == [group.interface]
    assert group.holder() == instance["InstanceId"]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["IamInstanceProfile"]["Arn"].endswith(f":instance-profile/{NAME}")
    told = group.ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
    assert base64.b64decode(told["UserData"]["Value"]) == b"one"
    (device,) = instance["BlockDeviceMappings"]
    volume = group.ec2.describe_volumes(VolumeIds=[device["Ebs"]["VolumeId"]])["Volumes"][0]
    assert (device["DeviceName"], volume["Encrypted"], volume["Size"], volume["VolumeType"]) == (
        "/dev/xvda",
        True,
        4,
        "gp3",
    )
    template = group.ec2.describe_launch_template_versions(LaunchTemplateId=group.template)
    assert "TagSpecifications" not in template["LaunchTemplateVersions"][0]["LaunchTemplateData"]


def test_a_group_keeps_its_attributes(group: Group) -> None:
    """What a group was made with is what it is described with."""
    described = group.described()

    assert described["DefaultInstanceWarmup"] == 30
    assert described["InstanceMaintenancePolicy"] == {"MinHealthyPercentage": 0, "MaxHealthyPercentage": 100}
    (hook,) = group.autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=NAME)["LifecycleHooks"]
    assert {"RoleARN", "NotificationTargetARN"} & hook.keys() == set()


def test_a_launch_waits_for_its_hook(group: Group) -> None:
    """The instance is held until the hook is completed, which can be done once."""
    assert group.member()[1] == "Pending:Wait"

    id = group.complete()

    assert group.member() == (id, "InService")
    arguments = {"AutoScalingGroupName": NAME, "LifecycleHookName": "ready", "LifecycleActionResult": "CONTINUE"}
    assert refusal(group.autoscaling.complete_lifecycle_action, InstanceId=id, **arguments) == "ValidationError"


def test_an_abandoned_launch_is_tried_again(group: Group) -> None:
    """The instance ends, lets go of the interface, and the next one has it."""
    ended = group.complete("ABANDON")

    id, state = group.member()
    assert (id != ended, state, group.holder()) == (True, "Pending:Wait", id)
    gone = group.ec2.describe_instances(InstanceIds=[ended])["Reservations"][0]["Instances"][0]
    assert (gone["State"]["Name"], gone["NetworkInterfaces"]) == ("terminated", [])


def test_an_interface_is_in_one_place(group: Group, lab: Lab) -> None:
    """One that is in use is neither attached again nor deleted."""
    other = lab.appliance.instance

    attach = {"NetworkInterfaceId": group.interface, "InstanceId": other, "DeviceIndex": 1}
    assert refusal(group.ec2.attach_network_interface, **attach) == "InvalidNetworkInterface.InUse"
    assert (
        refusal(group.ec2.delete_network_interface, NetworkInterfaceId=group.interface)
        == "InvalidNetworkInterface.InUse"
    )


def test_the_unhealthy_are_replaced(group: Group) -> None:
    """At once when the grace period is not respected, and not within it when it is."""
    old = group.complete()
    told = {"InstanceId": old, "HealthStatus": "Unhealthy"}

    group.autoscaling.set_instance_health(**told)
    assert group.member()[0] == old
    group.autoscaling.set_instance_health(**told, ShouldRespectGracePeriod=False)
    assert group.member()[0] == group.holder() != old


def use(group: Group, user_data: str) -> None:
    """Make the group launch a new version of its template from now on."""
    group.ec2.create_launch_template_version(LaunchTemplateId=group.template, LaunchTemplateData=group.data(user_data))
    group.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=NAME, LaunchTemplate={"LaunchTemplateId": group.template, "Version": "$Latest"}
    )


def refresh(group: Group, **preferences: int) -> dict[str, Any]:
    """Have the instances refreshed to a second version of the template, and return what AWS says of it."""
    use(group, "two")
    group.autoscaling.start_instance_refresh(AutoScalingGroupName=NAME, Preferences=preferences)
    return refreshed(group)


def refreshed(group: Group) -> dict[str, Any]:
    return dict(group.autoscaling.describe_instance_refreshes(AutoScalingGroupName=NAME)["InstanceRefreshes"][0])


def test_a_refresh_brings_the_new_version(group: Group) -> None:
    """The old instance ends, the new one has the same interface, and the refresh lasts until it is in service."""
    old = group.complete()

    assert refresh(group, MinHealthyPercentage=0)["Status"] == "InProgress"
    assert refusal(group.autoscaling.start_instance_refresh, AutoScalingGroupName=NAME) == "InstanceRefreshInProgress"
    new = group.complete()

    assert refreshed(group)["Status"] == "Successful"
    assert (new != old, group.holder()) == (True, new)
    told = group.ec2.describe_instance_attribute(InstanceId=new, Attribute="userData")
    assert base64.b64decode(told["UserData"]["Value"]) == b"two"
    assert group.described()["Instances"][0]["LaunchTemplate"]["Version"] == "2"


def test_launching_before_terminating_cannot_work(group: Group) -> None:
    """A second instance cannot have the interface as well: the refresh fails, and the first one stays."""
    old = group.complete()

    failed = refresh(group, MinHealthyPercentage=100, MaxHealthyPercentage=200)

    assert failed["Status"] == "Failed"
    assert "in use" in failed["StatusReason"]
    assert group.member() == (old, "InService")
    (activity,) = group.autoscaling.describe_scaling_activities(AutoScalingGroupName=NAME)["Activities"]
    assert activity["StatusCode"] == "Failed"


def test_a_launch_that_failed_is_tried_again(group: Group) -> None:
    """Once what stood in its way is gone, the group has its instance."""
    old = group.complete()
    image, group.image = group.image, "ami-00000000000000000"
    refresh(group, MinHealthyPercentage=0)
    assert group.described()["Instances"] == []

    group.image = image
    use(group, "three")

    assert group.member()[0] == group.holder() != old
