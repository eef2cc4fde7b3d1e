"""`terraform destroy` leaves nothing of ours. The last of these tests, as their deployment is gone after it."""

from typing import Any

from tests.lab.lab import wait_until
from tests.terraform.deployment import Deployment


def what_is_there(deployment: Deployment) -> dict[str, list[Any]]:
    """Return all that costs money, holds a name or lets somebody do something, in the whole account."""
    client = deployment.lab.emulator.client
    ec2 = client("ec2")
    cloudwatch, logs, autoscaling, iam = (client(each) for each in ("cloudwatch", "logs", "autoscaling", "iam"))
    instances = [each for found in ec2.describe_instances()["Reservations"] for each in found["Instances"]]
    groups = [each["GroupName"] for each in ec2.describe_security_groups()["SecurityGroups"]]
    return {
        "instances": [each["InstanceId"] for each in instances if each["State"]["Name"] != "terminated"],
        "volumes": [each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]],
        "interfaces": [each["NetworkInterfaceId"] for each in ec2.describe_network_interfaces()["NetworkInterfaces"]],
        "addresses": [each["PublicIp"] for each in ec2.describe_addresses()["Addresses"]],
        "VPCs": [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]],
        "security groups": [each for each in groups if each != "default"],
        "launch templates": [each["LaunchTemplateName"] for each in ec2.describe_launch_templates()["LaunchTemplates"]],
        "groups": autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"],
        "roles": [each["RoleName"] for each in iam.list_roles()["Roles"]],
        "profiles": iam.list_instance_profiles()["InstanceProfiles"],
        "log groups": [each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]],
        "queries": logs.describe_query_definitions()["queryDefinitions"],
        "alarms": [each["AlarmName"] for each in cloudwatch.describe_alarms()["MetricAlarms"]],
        "dashboards": cloudwatch.list_dashboards()["DashboardEntries"],
        "parameters": client("ssm").describe_parameters()["Parameters"],
    }


def test_destroy_leaves_nothing(deployment: Deployment) -> None:
    """Before it there is something of every kind, after it nothing of any, and the appliances have ended."""
    before = what_is_there(deployment)
    assert [kind for kind, found in before.items() if not found] == []

    deployment.destroy()

    assert {kind: found for kind, found in what_is_there(deployment).items() if found} == {}
    assert wait_until(lambda: deployment.fleet.fault or not deployment.fleet.appliances, 30)
    assert deployment.fleet.fault is None
    assert [each.name for each in deployment.fleet.gone if "Traceback" in each.said()] == []
