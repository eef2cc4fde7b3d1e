"""What moto does not do as EC2 does with images, put right; see moto_gaps.py.

An image is what it was registered with, its copy too; its snapshot is complete; its name is its owner's once. Nobody
makes one public where the account blocks that. A copy is available at once.

Source: EC2 API reference, RegisterImage, CopyImage, ModifyImageAttribute, EnableImageDeprecation; user guide, "Block
public access to your AMIs", "NitroTPM". That arm64 takes no TPM is what RegisterImage says.
"""

import copy
from collections.abc import Callable
from typing import Any

import moto.ec2.models.amis as images
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response

from tests.lab.moto_patch import wrap
from tests.lab.moto_snapshots import copy_blocks

ATTRIBUTES = {
    "Architecture": "architecture",
    "BootMode": "boot_mode",
    "EnaSupport": "ena_support",
    "ImdsSupport": "imds_support",
    "RootDeviceName": "root_device_name",
    "SriovNetSupport": "sriov_net_support",
    "TpmSupport": "tpm_support",
    "VirtualizationType": "virtualization_type",
}
UNBLOCKED = "unblocked"


def close_image_gaps() -> None:
    """Patch moto; moto_gaps calls it once."""
    _keep_attributes()
    _copy_all()
    _deprecate()
    _block_public_access()


def _keep_attributes() -> None:
    """RegisterImage: architecture, devices, boot mode and the like are those that it was called with."""

    def registered(original: Callable[..., Any], self: Any) -> Any:
        _refuse(self)
        answer = original(self)
        image = self.ec2_backend.amis[answer.result["ImageId"]]
        image.architecture, image.virtualization_type, image.hypervisor = "x86_64", "hvm", "xen"
        image.root_device_type, image.boot_mode = "ebs", None
        for parameter, attribute in ATTRIBUTES.items():
            if (value := self._get_param(parameter)) is not None:
                setattr(image, attribute, value)
        image.registered_devices = self._get_param("BlockDeviceMappings", [])
        for device in image.registered_devices:
            if snapshot := self.ec2_backend.snapshots.get(device.get("Ebs", {}).get("SnapshotId")):
                snapshot.from_ami = image.id
                device["Ebs"].setdefault("VolumeSize", snapshot.volume_size)
                device["Ebs"]["Encrypted"] = snapshot.encrypted
                self.ec2_backend.snapshots.pop(image.ebs_snapshot.id)  # moto's own, which it has for every image
        _tag(self, image)
        return answer

    original = images.Ami.block_device_mappings.fget  # type: ignore[attr-defined]
    devices = property(lambda self: getattr(self, "registered_devices", []) or original(self))
    images.Ami.block_device_mappings = devices  # type: ignore[method-assign]
    wrap(EC2Response, "register_image")(registered)


def _refuse(self: Any) -> None:
    """Refuse what RegisterImage refuses."""
    _refuse_taken(self)
    if self._get_param("TpmSupport"):
        if self._get_param("Architecture") == "arm64":
            raise EC2ClientError("InvalidParameterValue", "Invalid machineArchitecture value 'arm64' for tpmSupport")
        if self._get_param("BootMode") != "uefi":
            raise EC2ClientError("InvalidParameterCombination", "tpmSupport needs the boot mode uefi")
    for device in self._get_param("BlockDeviceMappings", []):
        if id := device.get("Ebs", {}).get("SnapshotId"):
            snapshot = self.ec2_backend.get_snapshot(id)
            if snapshot.status != "completed":
                raise EC2ClientError("IncorrectState", f"Snapshot {id} is not in the completed state.")


def _refuse_taken(self: Any) -> None:
    name = self._get_param("Name")
    for other in self.ec2_backend.amis.values():
        if other.name == name and other.owner_id == self.current_account:
            text = f"AMI name {name} is already in use by AMI {other.id}"
            raise EC2ClientError("InvalidAMIName.Duplicate", text)


def _tag(self: Any, image: Any, *snapshots: Any) -> None:
    for tags in self._get_param("TagSpecifications", []):
        pairs = {each["Key"]: each["Value"] for each in tags["Tags"]}
        for tagged in [image] if tags["ResourceType"] == "image" else snapshots:
            tagged.add_tags(pairs)


def _copy_all() -> None:
    """CopyImage: the copy has all that its source has but tags and permissions, and a snapshot of its own."""

    def copied(original: Callable[..., Any], self: Any) -> Any:
        tokens: dict[str, Any] = self.ec2_backend.__dict__.setdefault("copy_tokens", {})
        token = self._get_param("ClientToken")
        if token in tokens:
            return tokens[token]
        _refuse_taken(self)
        origin = self._get_param("SourceRegion")
        source = ec2_backends[self.current_account][origin].describe_images([self._get_param("SourceImageId")])[0]
        answer = original(self)
        image = self.ec2_backend.amis[answer.result["ImageId"]]
        for attribute in (*ATTRIBUTES.values(), "hypervisor", "root_device_type"):
            setattr(image, attribute, getattr(source, attribute, None))
        image.registered_devices = copy.deepcopy(source.block_device_mappings)
        made = []
        for device in image.registered_devices:
            before = device["Ebs"]["SnapshotId"]
            snapshot = self.ec2_backend.copy_snapshot(before, origin, f"Copied for {image.id}", None)
            copy_blocks(self.current_account, (origin, before), (self.region, snapshot.id))
            snapshot.from_ami = image.id
            snapshot.encrypted = snapshot.encrypted or self.ec2_backend.ebs_encryption_by_default
            device["Ebs"] |= {"SnapshotId": snapshot.id, "Encrypted": snapshot.encrypted}
            made.append(snapshot)
        self.ec2_backend.snapshots.pop(image.ebs_snapshot.id)
        _tag(self, image, *made)
        if token:
            tokens[token] = answer
        return answer

    wrap(EC2Response, "copy_image")(copied)


def _deprecate() -> None:
    """EnableImageDeprecation: the time is kept, to the minute."""

    def enabled(self: Any) -> ActionResult:
        image = self.ec2_backend.describe_images([self._get_param("ImageId")])[0]
        at = self._get_param("DeprecateAt")
        image.deprecation_time = f"{at:%Y-%m-%dT%H:%M}:00.000Z"
        return ActionResult({"Return": True})

    EC2Response.enable_image_deprecation = enabled  # type: ignore[attr-defined]


def _block_public_access() -> None:
    """Get, Enable and Disable of ImageBlockPublicAccess and SnapshotBlockPublicAccess, and what these block."""
    for kind, key in (("image", "ImageBlockPublicAccessState"), ("snapshot", "State")):

        def state(self: Any, kind: str = kind, key: str = key) -> ActionResult:
            return ActionResult({key: _blocked(self, kind).get(kind, UNBLOCKED)})

        def enable(self: Any, kind: str = kind, key: str = key) -> ActionResult:
            _blocked(self, kind)[kind] = self._get_param(key)
            return ActionResult({key: self._get_param(key)})

        def disable(self: Any, kind: str = kind, key: str = key) -> ActionResult:
            _blocked(self, kind).pop(kind, None)
            return ActionResult({key: UNBLOCKED})

        def modified(original: Callable[..., Any], self: Any, kind: str = kind) -> Any:
            added = self._get_param("LaunchPermission", {}).get("Add", [])
            groups = {each.get("Group") for each in added} | {*self._get_param("GroupNames", [])}
            groups |= {*self._get_param("UserGroups", [])}
            if "all" in groups and kind in _blocked(self, kind):
                text = f"You can't publicly share this {kind} because block public access is enabled for this account."
                raise EC2ClientError("OperationNotPermitted", text)
            return original(self)

        setattr(EC2Response, f"get_{kind}_block_public_access_state", state)
        setattr(EC2Response, f"enable_{kind}_block_public_access", enable)
        setattr(EC2Response, f"disable_{kind}_block_public_access", disable)
        wrap(EC2Response, f"modify_{kind}_attribute")(modified)


def _blocked(self: Any, kind: str) -> dict[str, str]:
    blocked: dict[str, str] = self.ec2_backend.__dict__.setdefault(f"{kind}_block_public_access", {})
    return blocked
