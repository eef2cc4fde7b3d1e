"""From disks to AMIs in every region: what they are, who may use them, and what a further run finds done."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from image.cloud import Interrupted
from image.errors import ImageError
from tests.image.publish.account import HOME, OTHER, THIRD, Account
from tests.image.publish.disks import Bakery, content

ARM, X86 = "discriminat-0.1.0-arm64", "discriminat-0.1.0-x86_64"
STRANGER, FRIEND = "111122223333", "444455556666"
PARAMETER = "/discriminat/ami/0.1.0/arm64"


def tags(resource: Mapping[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in resource["Tags"]}


def root(image: Mapping[str, Any]) -> dict[str, Any]:
    (device,) = image["BlockDeviceMappings"]
    assert device["DeviceName"] == image["RootDeviceName"] == "/dev/xvda"
    return dict(device["Ebs"])


BOOT = [("arm64", "uefi"), ("x86_64", "uefi-preferred")]


@pytest.mark.parametrize(("architecture", "boot_mode"), BOOT)
def test_an_ami_is_what_its_disk_needs(account: Account, bakery: Bakery, architecture: str, boot_mode: str) -> None:
    """ENA, IMDSv2, gp3, its boot mode; no TPM and no SR-IOV of old; and its tags say what it is."""
    disk = bakery.bake(architecture)

    assert account.publish(disk) == 0

    image = account.images()[f"discriminat-0.1.0-{architecture}"]
    wanted = {"Architecture": architecture, "BootMode": boot_mode, "EnaSupport": True, "ImdsSupport": "v2.0"}
    assert wanted.items() <= image.items()
    assert (image["VirtualizationType"], image["Public"], image["State"]) == ("hvm", False, "available")
    (snapshot,) = account.snapshots()
    device = {"SnapshotId": snapshot, "VolumeType": "gp3", "VolumeSize": 1, "DeleteOnTermination": True}
    assert device.items() <= root(image).items()
    (asked,) = account.calls("ec2", "RegisterImage")
    assert asked.arguments.keys().isdisjoint({"TpmSupport", "SriovNetSupport"})
    about = tags(image)
    assert (about["discriminat:version"], about["discriminat:commit"]) == ("0.1.0", bakery.commit)
    described = account.client("ec2").describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]
    assert tags(described) == about


def test_a_further_run_changes_nothing(account: Account, bakery: Bakery) -> None:
    """What is there is found: only questions are asked."""
    disk = bakery.bake()
    account.publish(disk, copy_to=(OTHER,))
    account.log.clear()

    assert account.publish(disk, copy_to=(OTHER,)) == 0

    assert account.changes() == []
    assert f"{HOME}: {ARM} is {account.images()[ARM]['ImageId']} already" in account.said


def test_a_name_is_one_image(account: Account, bakery: Bakery) -> None:
    """Another content under the same version is refused, with what to do, and nothing is uploaded."""
    account.publish(bakery.bake(seed=1))
    taken = account.images()[ARM]["ImageId"]
    account.log.clear()
    (bakery.directory / "discriminat-0.1.0.manifest.json").unlink()

    with pytest.raises(ImageError, match=r"raise the version in pyproject\.toml") as told:
        account.publish(bakery.bake(seed=2))

    assert f"aws ec2 deregister-image --region {HOME} --image-id {taken}" in str(told.value)
    assert account.changes() == []


def test_an_answer_that_was_lost_makes_no_second_image(account: Account, bakery: Bakery) -> None:
    """RegisterImage has done it, and says at the next attempt that the name is taken: by ourselves."""
    account.fail("ec2", "RegisterImage", status=500, times=1, lost=True)

    assert account.publish(bakery.bake()) == 0

    assert list(account.images()) == [ARM]


def test_copies_are_whole(account: Account, bakery: Bakery) -> None:
    """Two disks in three regions: each with a snapshot of its own, all attributes, and the same tags."""
    disks = {ARM: bakery.bake("arm64"), X86: bakery.bake("x86_64")}

    assert account.publish(*disks.values(), copy_to=(OTHER, THIRD)) == 0

    home = account.images()
    for region in (OTHER, THIRD):
        there = account.images(region)
        assert there.keys() == {ARM, X86}
        for name, image in there.items():
            same = ("Architecture", "BootMode", "EnaSupport", "ImdsSupport", "RootDeviceName", "Tags")
            assert {key: image[key] for key in same} == {key: home[name][key] for key in same}
            assert root(image)["SnapshotId"] != root(home[name])["SnapshotId"]
            assert account.blocks(root(image)["SnapshotId"], region) == content(disks[name])
            snapshot = account.client("ec2", region).describe_snapshots(SnapshotIds=[root(image)["SnapshotId"]])
            assert tags(snapshot["Snapshots"][0]) == tags(image)
        arguments = [each.arguments for each in account.calls("ec2", "CopyImage", region)]
        assert {each["SourceImageId"] for each in arguments} == {image["ImageId"] for image in home.values()}


def test_a_region_that_fails_stops_no_other(account: Account, bakery: Bakery) -> None:
    """The rest is published whole; what is missing is told, and a further run does that and no more."""
    disk = bakery.bake()
    account.fail("ec2", "CopyImage", code="UnauthorizedOperation", status=403, region=OTHER)

    assert account.publish(disk, copy_to=(OTHER, THIRD)) == 1

    assert (account.images(OTHER), account.parameters(OTHER)) == ({}, {})
    for region in (HOME, THIRD):
        assert account.parameters(region) == {PARAMETER: account.images(region)[ARM]["ImageId"]}
    (missing,) = (line for line in account.said if line.startswith("missing: "))
    assert f"{ARM} in {OTHER}: {OTHER}: AWS denies CopyImage" in missing
    assert account.said[-1] == "run the same command again: it does what is missing"

    account.mend()
    account.log.clear()
    assert account.publish(disk, copy_to=(OTHER, THIRD)) == 0

    assert account.parameters(OTHER) == {PARAMETER: account.images(OTHER)[ARM]["ImageId"]}
    assert account.changes() == ["CopyImage", "PutParameter"]


def test_a_region_that_does_not_answer_stops_no_other(account: Account, bakery: Bakery) -> None:
    """Not even when it is asked for its settings, before anything else."""
    for operation in ("GetEbsEncryptionByDefault", "DescribeImages", "CopyImage"):
        account.fail("ec2", operation, code="InternalError", status=500, region=OTHER)

    assert account.publish(bakery.bake(), copy_to=(OTHER, THIRD), share=(STRANGER,)) == 1

    for region in (HOME, THIRD):
        assert account.may_launch(account.images(region)[ARM]["ImageId"], region) == [{"UserId": STRANGER}]
    assert any("going on without this region's settings" in line for line in account.said)
    assert any(line.startswith(f"missing: {ARM} in {OTHER}") for line in account.said)


def test_a_copy_is_waited_for(account: Account, bakery: Bakery) -> None:
    """It is shared when AWS says that it is available, and not before."""

    def pending(_: object) -> None:
        account.set_image(OTHER, state="pending")
        account.after("ec2", "DescribeImages", lambda _: account.set_image(OTHER, state="available"))

    account.after("ec2", "CopyImage", pending)

    assert account.publish(bakery.bake(), copy_to=(OTHER,), share=(STRANGER,)) == 0

    assert account.may_launch(account.images(OTHER)[ARM]["ImageId"], OTHER) == [{"UserId": STRANGER}]


def test_a_copy_that_takes_long_is_found_by_the_next_run(account: Account, bakery: Bakery) -> None:
    """The command gives up waiting, and says so; later it goes on with the same copy."""
    disk = bakery.bake()
    account.after("ec2", "CopyImage", lambda _: account.set_image(OTHER, state="pending"))

    assert account.publish(disk, copy_to=(OTHER,)) == 1

    assert any("is not available yet: run the command again" in line for line in account.said)
    assert account.parameters(OTHER) == {}
    account.set_image(OTHER, state="available")
    account.log.clear()
    assert account.publish(disk, copy_to=(OTHER,)) == 0
    assert account.changes() == ["PutParameter"]


SPOILT = [
    ({"state": "failed"}, "is failed"),
    ({"imds_support": None}, "ImdsSupport None, not v2.0"),
    ({"boot_mode": "legacy-bios"}, "BootMode legacy-bios, not uefi"),
    ({"ena_support": False}, "EnaSupport False, not True"),
]


@pytest.mark.parametrize(("attributes", "told"), SPOILT)
def test_a_copy_that_is_not_what_it_should_be_is_shown_to_nobody(
    account: Account, bakery: Bakery, attributes: dict[str, object], told: str
) -> None:
    """No permission, no parameter, no entry; the command that removes it is named."""
    account.after("ec2", "CopyImage", lambda _: account.set_image(OTHER, **attributes))

    assert account.publish(bakery.bake(), copy_to=(OTHER,), share=(STRANGER,)) == 1

    id = account.images(OTHER)[ARM]["ImageId"]
    (missing,) = (line for line in account.said if line.startswith("missing: "))
    assert told in missing
    assert f"aws ec2 deregister-image --region {OTHER} --image-id {id}" in missing
    assert account.may_launch(id, OTHER) == []
    assert account.parameters(OTHER) == {}
    assert OTHER not in bakery.manifest()["images"]["arm64"]["regions"]


def test_accounts_may_launch_and_copy(account: Account, bakery: Bakery) -> None:
    """Those named, in every region, and nobody else; once all images are there."""
    assert account.publish(bakery.bake(), copy_to=(OTHER,), share=(STRANGER, FRIEND)) == 0

    for region in (HOME, OTHER):
        image = account.images(region)[ARM]
        allowed = [{"UserId": STRANGER}, {"UserId": FRIEND}]
        assert account.may_launch(image["ImageId"], region) == allowed
        assert sorted(map(str, account.may_copy(root(image)["SnapshotId"], region))) == sorted(map(str, allowed))
        assert not image["Public"]
    order = account.changes()
    seen_by_others = {"ModifySnapshotAttribute", "ModifyImageAttribute", "EnableImageDeprecation", "PutParameter"}
    first = min(order.index(each) for each in seen_by_others & {*order})
    assert seen_by_others.isdisjoint(order[:first])
    assert seen_by_others.issuperset(order[first:])


def test_everybody_may_launch_and_copy(account: Account, bakery: Bakery) -> None:
    """A public image, and its snapshot, so that people can keep a copy of their own."""
    assert account.publish(bakery.bake(), public=True) == 0

    image = account.images()[ARM]
    assert image["Public"]
    assert account.may_copy(root(image)["SnapshotId"]) == [{"Group": "all"}]


@pytest.mark.parametrize("kind", ["image", "snapshot"])
def test_where_public_images_are_blocked_nothing_is_done(account: Account, bakery: Bakery, kind: str) -> None:
    """One region of two says no: it is named with the way out, and nothing is uploaded to either."""
    account.block(kind, OTHER)

    with pytest.raises(ImageError, match=f"{OTHER}: this account blocks public access") as told:
        account.publish(bakery.bake(), copy_to=(OTHER,), public=True)

    assert f"aws ec2 disable-{kind}-block-public-access --region {OTHER}" in str(told.value)
    assert account.changes() == []


def test_a_region_that_blocks_meanwhile_is_left_private(account: Account, bakery: Bakery) -> None:
    """It refuses at the last moment: there the image is nobody's business yet, elsewhere it is public."""
    account.after("ec2", "CopyImage", lambda _: account.block("snapshot", OTHER))

    assert account.publish(bakery.bake(), copy_to=(OTHER,), public=True) == 1

    assert account.images()[ARM]["Public"]
    assert not account.images(OTHER)[ARM]["Public"]
    assert account.parameters(OTHER) == {}
    assert list(bakery.manifest()["images"]["arm64"]["regions"]) == [HOME]
    assert any("disable-image-block-public-access" in line for line in account.said if line.startswith("missing: "))


def test_an_account_that_encrypts_cannot_share(account: Account, bakery: Bakery) -> None:
    """Its snapshots would be of use to nobody else: refused before, and no matter for one's own images."""
    account.client("ec2", OTHER).enable_ebs_encryption_by_default()
    disk = bakery.bake()

    with pytest.raises(ImageError, match="aws ec2 disable-ebs-encryption-by-default --region eu-west-2"):
        account.publish(disk, copy_to=(OTHER,), share=(STRANGER,))

    assert account.changes() == []
    assert account.publish(disk, copy_to=(OTHER,)) == 0


def test_an_encrypted_image_of_before_is_not_shared(account: Account, bakery: Bakery) -> None:
    """It was made when the account encrypted, which it no longer does."""
    disk = bakery.bake()
    account.client("ec2").enable_ebs_encryption_by_default()
    account.publish(disk)
    account.client("ec2").disable_ebs_encryption_by_default()

    with pytest.raises(ImageError, match="an encrypted snapshot, which nobody else can use"):
        account.publish(disk, share=(STRANGER,))

    assert account.may_launch(account.images()[ARM]["ImageId"]) == []


def test_deprecation_is_the_same_everywhere_and_always(account: Account, bakery: Bakery) -> None:
    """So many days after the first image was made, in each region, and after a further run."""
    disk = bakery.bake()
    account.after(
        "ec2", "CopyImage", lambda _: account.set_image(OTHER, creation_date=datetime(2020, 2, 2, tzinfo=UTC))
    )
    for _ in range(2):
        assert account.publish(disk, copy_to=(OTHER,), deprecate_after=365) == 0

    made = datetime.fromisoformat(account.images()[ARM]["CreationDate"])
    times = {account.images(region)[ARM]["DeprecationTime"] for region in (HOME, OTHER)}
    assert times == {f"{made + timedelta(days=365):%Y-%m-%dT%H:%M}:00.000Z"}


def test_the_parameter_follows_the_image(account: Account, bakery: Bakery) -> None:
    """Of the type that EC2 can launch from; a value of before is replaced, and told."""
    ssm = account.client("ssm")
    ssm.put_parameter(Name=PARAMETER, Value="ami-00000000", Type="String", DataType="aws:ec2:image")

    assert account.publish(bakery.bake(), bakery.bake("x86_64")) == 0

    images = account.images()
    assert account.parameters() == {
        PARAMETER: images[ARM]["ImageId"],
        "/discriminat/ami/0.1.0/x86_64": images[X86]["ImageId"],
    }
    assert ssm.get_parameter(Name=PARAMETER)["Parameter"]["DataType"] == "aws:ec2:image"
    assert f"{HOME}: {PARAMETER} is {images[ARM]['ImageId']}, and was ami-00000000" in account.said


def test_a_parameter_that_ssm_does_not_take_is_told(account: Account, bakery: Bakery) -> None:
    """SSM says yes and looks at the image later: what it holds in the end is what counts."""
    account.after("ssm", "PutParameter", lambda given: account.client("ssm").delete_parameter(Name=given["Name"]))

    assert account.publish(bakery.bake()) == 1

    assert any(f"SSM has not taken {account.images()[ARM]['ImageId']}" in line for line in account.said)


def test_every_call_may_be_throttled(account: Account, bakery: Bakery) -> None:
    """Twice each, and it goes on."""
    disk = bakery.bake()
    for service, code in (
        ("ec2", "RequestLimitExceeded"),
        ("ebs", "ThrottlingException"),
        ("ssm", "ThrottlingException"),
    ):
        for operation in OPERATIONS[service]:
            account.fail(service, operation, code=code, status=503 if service == "ec2" else 400, times=2)

    assert account.publish(disk, copy_to=(OTHER,), public=True, share=(STRANGER,), deprecate_after=30) == 0

    failed = {(each.service, each.operation) for each in account.log if each.failed}
    assert failed == {(service, operation) for service, names in OPERATIONS.items() for operation in names}


OPERATIONS = {
    "ebs": ("StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot"),
    "ec2": (
        *("DescribeRegions", "DescribeImages", "DescribeSnapshots", "RegisterImage", "CopyImage"),
        *("ModifyImageAttribute", "ModifySnapshotAttribute", "EnableImageDeprecation", "GetEbsEncryptionByDefault"),
        *("GetImageBlockPublicAccessState", "GetSnapshotBlockPublicAccessState"),
    ),
    "ssm": ("GetParameter", "PutParameter"),
}


def test_an_interrupt_while_copies_are_made_can_go_on(account: Account, bakery: Bakery) -> None:
    """After Ctrl-C nobody sees anything yet, and the next run finds the copy."""
    disk = bakery.bake()
    account.after("ec2", "CopyImage", lambda _: account.press_ctrl_c())

    with pytest.raises(Interrupted, match="run the same command again"):
        account.publish(disk, copy_to=(OTHER,), share=(STRANGER,))

    assert account.parameters() == {}
    account.log.clear()
    assert account.publish(disk, copy_to=(OTHER,), share=(STRANGER,)) == 0
    assert account.calls("ec2", "CopyImage") == []
    assert account.calls("ebs") == []


def test_a_dry_run_says_what_would_be_done(account: Account, bakery: Bakery) -> None:
    """Each step of the first run, and of a further one what is left of it; files and AWS stay as they are."""
    disk = bakery.bake()
    wishes: dict[str, Any] = {"copy_to": (OTHER,), "public": True, "deprecate_after": 365, "dry_run": True}
    files = sorted(bakery.directory.iterdir())

    assert account.publish(disk, **wishes) == 0

    assert account.said[2:] == [
        f"{HOME}: would put 6 blocks, 3 MiB, into a snapshot of 1 GiB and register it as {ARM}",
        *(line.format(HOME) for line in LATER),
        f"{OTHER}: would copy {ARM} from {HOME}",
        *(line.format(OTHER) for line in LATER),
        f"would write {bakery.directory}/discriminat-0.1.0.manifest.json, not signed",
        "nothing was changed",
    ]
    assert (account.changes(), sorted(bakery.directory.iterdir())) == ([], files)

    account.publish(disk)
    account.said.clear()
    account.log.clear()
    assert account.publish(disk, **wishes) == 0

    id = account.images()[ARM]["ImageId"]
    assert account.said[2:5] == [f"{HOME}: {ARM} is {id} already", *(line.format(HOME) for line in LATER[:2])]
    assert f"{LATER[2].format(HOME)}" not in account.said
    assert account.changes() == []

    account.client("ssm").put_parameter(Name=PARAMETER, Value="ami-00000000", Overwrite=True)
    account.publish(disk, **wishes)
    assert f"{LATER[2].format(HOME)}, which is ami-00000000" in account.said


LATER = (
    "{}: would deprecate it 365 days after it was made",
    "{}: would let everybody launch and copy it",
    f"{{}}: would put its id into {PARAMETER}",
)
