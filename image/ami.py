"""An AMI in one region: registered, copied, described and checked, shared, named in Parameter Store.

    amis = Amis(region, say)
    ami = amis.find(baked) or amis.register(baked, disk, snapshot)
    other = Amis(elsewhere, say).copy(baked, ami)

What is asked for is done once: a name is taken by one image, found again by it, and never by another.

Boot mode. x86_64 is `uefi-preferred`: the disk has a path for legacy BIOS too, which bare metal and some families need.
arm64 knows `uefi` only. TpmSupport is set for neither: AWS takes it with the boot mode `uefi` alone, so x86_64 would
lose its BIOS path, and for arm64 it refuses it ("Invalid machineArchitecture value 'arm64' for tpmSupport"). Nothing in
the image measures its boot: the root is verified by a hash in the kernel's command line. SriovNetSupport is left out:
it is for the network cards of instances before Nitro, and cannot be taken back.

ImdsSupport v2.0 makes instances refuse IMDSv1. It sets their hop limit to 2; the Terraform module sets it back to 1.

Source: EC2 API reference; user guide, "Instance launch behavior with Amazon EC2 boot modes", "NitroTPM", "Deprecate an
AMI", "Share an AMI".
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from image.baked import Baked
from image.cloud import RefusedError, Region
from image.ebs import IDENTITY, Disk, Say
from image.errors import ImageError

ROOT: Final = "/dev/xvda"
BOOT_MODES: Final = {"x86_64": "uefi-preferred", "arm64": "uefi"}
UNKNOWN: Final = {"InvalidAMIID.NotFound": 14, "InvalidAMIID.Unavailable": 14}  # for a moment after it was made
EVERYBODY: Final = "all"


@dataclass(frozen=True, slots=True)
class Ami:
    """An image that is there: its id, that of its snapshot, and when it was made."""

    region: str
    id: str
    snapshot: str
    created: datetime


class Amis:
    """The AMIs of one region."""

    def __init__(self, region: Region, say: Say) -> None:
        self.region = region
        self._say = say

    # ---- there already ----

    def find(self, baked: Baked) -> str:
        """Return the id of the AMI that a baked image is already; empty if there is none.

        Raises:
            ImageError: the name is taken by another image.
        """
        filters = [{"Name": "name", "Values": [baked.name]}]
        found = self.region.ask("ec2", "describe_images", Owners=["self"], Filters=filters, IncludeDisabled=True)
        for image in found["Images"]:
            ami, state = str(image["ImageId"]), image["State"]
            removal = f"aws ec2 deregister-image --region {self.region.name} --image-id {ami}"
            if _tags(image).get(IDENTITY) != baked.sha256:
                raise ImageError(
                    f"{self.region.name}: {baked.name} is {ami}, which is another image: raise the version in"
                    f" pyproject.toml and bake it, or, if nobody uses it: {removal}"
                )
            if state not in {"available", "pending"}:
                raise ImageError(f"{self.region.name}: {ami}, {baked.name}, is {state}: to make it again: {removal}")
            return ami
        return ""

    # ---- made ----

    def register(self, baked: Baked, disk: Disk, snapshot: str) -> str:
        """Make an AMI of a complete snapshot, and return its id."""
        ebs = {"SnapshotId": snapshot, "VolumeSize": disk.gib, "VolumeType": "gp3", "DeleteOnTermination": True}
        try:
            made = self.region.ask(
                "ec2",
                "register_image",
                passing={"InvalidSnapshot.NotFound": 14},  # what one server of EC2 knows, another learns later
                Name=baked.name,
                Description=describe(baked),
                Architecture=baked.architecture,
                BootMode=BOOT_MODES[baked.architecture],
                EnaSupport=True,
                ImdsSupport="v2.0",
                VirtualizationType="hvm",
                RootDeviceName=ROOT,
                BlockDeviceMappings=[{"DeviceName": ROOT, "Ebs": ebs}],
                TagSpecifications=[_specify("image", baked)],
            )
        except RefusedError as fault:
            # Registered by an attempt whose answer was lost, or by somebody else; `find` tells which.
            if fault.code == "InvalidAMIName.Duplicate" and (found := self.find(baked)):
                return found
            raise
        self._say(f"{self.region.name}: registered {made['ImageId']} as {baked.name}")
        return str(made["ImageId"])

    def copy(self, baked: Baked, source: Ami) -> str:
        """Begin to copy an AMI from its region to this one, and return the id of the copy."""
        made = self.region.ask(
            "ec2",
            "copy_image",
            ClientToken=uuid.uuid4().hex,  # for the attempts of this call; a further run finds the copy by its name
            Name=baked.name,
            Description=describe(baked),
            SourceImageId=source.id,
            SourceRegion=source.region,
            TagSpecifications=[_specify("image", baked), _specify("snapshot", baked)],
        )
        self._say(f"{self.region.name}: copying {source.id} to {made['ImageId']}")
        return str(made["ImageId"])

    def require(self, ami: str, baked: Baked, *, clear: bool) -> Ami:
        """Return an AMI once it is available and is what it should be.

        Args:
            clear: its snapshot may not be encrypted, as others are to use it.

        Raises:
            ImageError: it has failed, takes too long, or is not what was asked for.
        """
        image = self._await(ami)
        root = _root(image)
        wanted = {
            "Architecture": baked.architecture,
            "BootMode": BOOT_MODES[baked.architecture],
            "EnaSupport": True,
            "ImdsSupport": "v2.0",
            "Name": baked.name,
            "RootDeviceName": ROOT,
            "VirtualizationType": "hvm",
        }
        wrong = [f"{key} {image.get(key)}, not {value}" for key, value in wanted.items() if image.get(key) != value]
        if root.get("VolumeType") != "gp3" or not root.get("SnapshotId"):
            wrong.append(f"a root device on {root.get('VolumeType')}, not gp3")
        if clear and root.get("Encrypted"):
            wrong.append("an encrypted snapshot, which nobody else can use")
        if wrong:
            raise ImageError(
                f"{self.region.name}: {ami} has {'; '.join(wrong)}: remove it, and publish again: aws ec2"
                f" deregister-image --region {self.region.name} --image-id {ami} --delete-associated-snapshots"
            )
        created = datetime.fromisoformat(image["CreationDate"])
        return Ami(self.region.name, ami, str(root["SnapshotId"]), created)

    def _await(self, ami: str) -> dict[str, Any]:
        for _ in range(self.region.patience.looks):
            image = self._describe(ami)
            if image["State"] == "available":
                return image
            if image["State"] != "pending":
                why = image.get("StateReason", {}).get("Message", "AWS does not say why")
                raise ImageError(
                    f"{self.region.name}: {ami} is {image['State']} ({why}): remove it, and publish again: aws ec2"
                    f" deregister-image --region {self.region.name} --image-id {ami}"
                )
            self.region.patience.before_look()
        raise ImageError(f"{self.region.name}: {ami} is not available yet: run the command again, it goes on from here")

    def _describe(self, ami: str) -> dict[str, Any]:
        return dict(self.region.ask("ec2", "describe_images", passing=UNKNOWN, ImageIds=[ami])["Images"][0])

    # ---- given to others ----

    def deprecate(self, ami: Ami, at: datetime) -> None:
        """Have AWS leave the AMI out of lists after a time; who pins it may go on to launch it."""
        self.region.ask("ec2", "enable_image_deprecation", ImageId=ami.id, DeprecateAt=at)
        self._say(f"{self.region.name}: {ami.id} is deprecated at {at:%Y-%m-%dT%H:%MZ}")

    def share(self, ami: Ami, accounts: Sequence[str], *, public: bool) -> None:
        """Let accounts, or everybody, launch the AMI, and copy it, for which they need its snapshot too."""
        added = [*({"UserId": account} for account in accounts), *([{"Group": EVERYBODY}] if public else [])]
        if not added:
            return
        whom: dict[str, Any] = {"Attribute": "createVolumePermission", "OperationType": "add"}
        if accounts:
            whom["UserIds"] = [*accounts]
        if public:
            whom["GroupNames"] = [EVERYBODY]
        try:
            # The snapshot first: without its image nobody finds it.
            self.region.ask("ec2", "modify_snapshot_attribute", SnapshotId=ami.snapshot, **whom)
            self.region.ask("ec2", "modify_image_attribute", ImageId=ami.id, LaunchPermission={"Add": added})
        except RefusedError as fault:
            if public and fault.code == "OperationNotPermitted":
                raise ImageError(f"{blocked(self.region.name)} ({fault})") from None
            raise
        who = ", ".join([*accounts, *(["everybody"] if public else [])])
        self._say(f"{self.region.name}: {ami.id} and {ami.snapshot} may be used by {who}")

    # ---- Parameter Store ----

    def parameter(self, name: str) -> str:
        """Return the value of a parameter, empty if there is none."""
        try:
            return str(self.region.ask("ssm", "get_parameter", Name=name)["Parameter"]["Value"])
        except RefusedError as fault:
            if fault.code == "ParameterNotFound":
                return ""
            raise

    def set_parameter(self, name: str, ami: Ami, baked: Baked) -> None:
        """Have a parameter hold the AMI's id, and see that it does: SSM looks at such a value only after its answer."""
        before = self.parameter(name)
        if before == ami.id:
            return
        self.region.ask(
            "ssm",
            "put_parameter",
            Name=name,
            Description=f"AMI {baked.name}",
            Value=ami.id,
            Type="String",
            DataType="aws:ec2:image",
            Overwrite=bool(before),
        )
        for _ in range(self.region.patience.attempts):
            if self.parameter(name) == ami.id:
                self._say(f"{self.region.name}: {name} is {ami.id}{f', and was {before}' if before else ''}")
                return
            self.region.patience.before_look()
        raise ImageError(f"{self.region.name}: SSM has not taken {ami.id} for {name}: run the command again")


def blocked(region: str) -> str:
    """Return what to do where an account blocks public images or snapshots."""
    return (
        f"{region}: this account blocks public access to its AMIs or snapshots there: to allow it, run `aws ec2"
        f" disable-image-block-public-access --region {region}` and `aws ec2 disable-snapshot-block-public-access"
        f" --region {region}`, wait ten minutes, and run the command again; or leave out --public or this region"
    )


def describe(baked: Baked) -> str:
    """Return the description of the AMI and of its snapshot."""
    return f"{baked.product} {baked.version} for {baked.architecture}, commit {baked.commit}"


def labels(baked: Baked) -> dict[str, str]:
    """Return the tags of the AMI and of its snapshot."""
    return {
        "Name": baked.name,
        IDENTITY: baked.sha256,
        "discriminat:version": baked.version,
        "discriminat:commit": baked.commit,
        "discriminat:sbom-sha256": baked.sbom_sha256,
    }


def _specify(kind: str, baked: Baked) -> dict[str, Any]:
    return {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in labels(baked).items()]}


def _tags(resource: dict[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in resource.get("Tags", [])}


def _root(image: dict[str, Any]) -> dict[str, Any]:
    """Return the EBS part of an image's root device."""
    devices = {each["DeviceName"]: each.get("Ebs", {}) for each in image["BlockDeviceMappings"]}
    return dict(devices.get(image.get("RootDeviceName", ""), {}))
