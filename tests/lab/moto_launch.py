"""What moto does not do as EC2 does between a launch template and a running instance, put right; see moto_gaps.py.

    instance = launch(ec2_backend, version, zone="eu-west-1a", subnet=None, tags={})

Source: EC2 API, CreateLaunchTemplate, RunInstances, TerminateInstances, DeleteNetworkInterface.
"""

from collections.abc import Callable
from typing import Any

import moto.ec2.models.launch_templates as templates
from moto.core.types import Base64EncodedString
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import instances
from moto.ec2.responses import EC2Response
from moto.ec2.utils import convert_tag_spec, parse_user_data

from tests.lab.moto_patch import wrap


def close_launch_gaps() -> None:
    """Patch moto; moto_gaps calls it once."""
    _keep_template_tags_apart()
    _read_user_data_of_every_version()
    _attach_interfaces_once()
    _release_interfaces()


def launch(ec2: Any, version: Any, *, zone: str, subnet: str | None, tags: dict[str, str]) -> Any:
    """Return an instance that has all that a launch template's version says, as RunInstances would make it.

    Raises:
        EC2ClientError: the image does not exist, or an interface of the template is in use.
    """
    data = version.data
    image = ec2.describe_images(ami_ids=[data["ImageId"]])[0]
    interfaces = data.get("NetworkInterfaces") or []
    for pinned in interfaces:
        if "NetworkInterfaceId" in pinned:
            _refuse_in_use(ec2.get_network_interface(pinned["NetworkInterfaceId"]))
    # What the template says of a device goes before what the image says of the same one.
    devices: dict[str, dict[str, Any]] = {}
    for each in (*image.block_device_mappings, *data.get("BlockDeviceMappings", [])):
        before = devices.get(each["DeviceName"], {"Ebs": {"DeleteOnTermination": True}})
        devices[each["DeviceName"]] = {**each, "Ebs": before["Ebs"] | each["Ebs"]}
    described = convert_tag_spec(data.get("TagSpecifications", []))
    made = ec2.run_instances(
        data["ImageId"],
        1,
        version.user_data,
        [],
        instance_type=data["InstanceType"],
        is_instance_type_default=False,
        region_name=ec2.region_name,
        placement=zone,
        subnet_id=None if interfaces else subnet,
        nics=interfaces,
        security_group_ids=list(data.get("SecurityGroupIds") or []),
        launch_template={"LaunchTemplateId": version.template.id, "Version": str(version.number)},
        metadata_options=data.get("MetadataOptions") or {},
        monitoring_state="enabled" if (data.get("Monitoring") or {}).get("Enabled") else "disabled",
        ebs_optimized=bool(data.get("EbsOptimized")),
        block_device_mappings=list(devices.values()),
        tags={"instance": {**described.get("instance", {}), **tags}, "volume": described.get("volume", {})},
        associate_public_ip=False if interfaces else None,
    )
    instance = made.instances[0]
    if profile := data.get("IamInstanceProfile"):
        ec2.associate_iam_instance_profile(instance.id, profile.get("Name"), profile.get("Arn"))
    return instance


def _refuse_in_use(interface: Any) -> None:
    if interface.instance is not None:
        raise EC2ClientError("InvalidNetworkInterface.InUse", f"Interface: [{interface.id}] in use.")


def _keep_template_tags_apart() -> None:
    """A launch template's own tags are no part of what it launches."""

    def created(original: Callable[..., Any], self: Any) -> Any:
        answer = original(self)
        data = (
            self.ec2_backend.get_launch_template(answer.result["LaunchTemplate"]["LaunchTemplateId"]).versions[0].data
        )
        passed_on = [each for each in data.pop("TagSpecifications", []) if each["ResourceType"] != "launch-template"]
        if passed_on:
            data["TagSpecifications"] = passed_on
        return answer

    wrap(EC2Response, "create_launch_template")(created)


def _read_user_data_of_every_version() -> None:
    """User data of a launch template's later versions is kept like that of the first."""

    def created(original: Callable[..., Any], self: Any, data: dict[str, Any], description: str) -> Any:
        if not isinstance(data.get("UserData"), Base64EncodedString | None):
            data["UserData"] = parse_user_data(data["UserData"])
        return original(self, data, description)

    wrap(templates.LaunchTemplate, "create_version")(created)


def _attach_interfaces_once() -> None:
    """An interface that is in use can be neither attached elsewhere nor deleted."""

    def attached(original: Callable[..., Any], self: Any, interface: Any, index: int) -> Any:
        _refuse_in_use(interface)
        return original(self, interface, index)

    def deleted(original: Callable[..., Any], self: Any) -> Any:
        _refuse_in_use(self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId")))
        return original(self)

    wrap(instances.Instance, "attach_eni")(attached)
    wrap(EC2Response, "delete_network_interface")(deleted)


def _release_interfaces() -> None:
    """An instance that ends lets go of its interfaces, and has no address any more."""

    def terminated(original: Callable[..., Any], self: Any) -> Any:
        before = original(self)
        for interface in list(self.nics.values()):
            self.detach_eni(interface)
        return before

    wrap(instances.Instance, "terminate")(terminated)
    for name in ("private_ip", "private_ip_address", "public_ip", "public_ip_address", "private_dns_name"):
        setattr(instances.Instance, name, _told_while_it_has_interfaces(getattr(instances.Instance, name)))


def _told_while_it_has_interfaces(original: property) -> property:
    return property(lambda self: original.fget(self) if self.nics else None)  # type: ignore[misc]
