"""Whether the account that publishes, and its settings in each region, let it: asked before anything is changed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from image.ami import blocked
from image.cloud import Patience, Region
from image.ebs import Say
from image.errors import ImageError
from image.publish import Wishes

BRIEF: Final = 4  # attempts: a region that does not exist should not take minutes
ENABLED: Final = {"opt-in-not-required", "opted-in"}


def require_account(regions: Mapping[str, Region], wishes: Wishes, say: Say) -> str:
    """Return the id of the account.

    A region to copy to that does not answer stops nothing: what it would have said, AWS says again when it comes to it.

    Args:
        regions: by name, home first.

    Raises:
        ImageError: what is in the way, all of it, each with what to do.
    """
    home = next(iter(regions.values()))
    brief = replace(home.patience, attempts=min(BRIEF, home.patience.attempts))
    account = str(home.ask("sts", "get_caller_identity", patience=brief)["Account"])
    known = home.ask("ec2", "describe_regions", patience=brief, AllRegions=True)["Regions"]
    states = {each["RegionName"]: each.get("OptInStatus", "opted-in") for each in known}
    problems = []
    for name, region in regions.items():
        if name not in states:
            problems.append(f"AWS has no region {name}: see how it is spelt")
        elif states[name] not in ENABLED:
            problems.append(f"{name} is not enabled for this account: aws account enable-region --region-name {name}")
        else:
            try:
                problems += _forbidden(region, wishes, brief)
            except ImageError as fault:
                if region is home:
                    raise
                say(f"{fault}; going on without this region's settings")
    if problems:
        raise ImageError("\n".join(problems))
    return account


def _forbidden(region: Region, wishes: Wishes, brief: Patience) -> Iterator[str]:
    """Return why images of a region cannot be for others, where that is asked for."""
    if not wishes.for_others:
        return
    if region.ask("ec2", "get_ebs_encryption_by_default", patience=brief)["EbsEncryptionByDefault"]:
        yield (
            f"{region.name}: this account encrypts every snapshot there with its own key, so that nobody else could use"
            f" it: aws ec2 disable-ebs-encryption-by-default --region {region.name}, or publish from another account"
        )
    if wishes.public:
        image = region.ask("ec2", "get_image_block_public_access_state", patience=brief)
        snapshot = region.ask("ec2", "get_snapshot_block_public_access_state", patience=brief)
        if {image["ImageBlockPublicAccessState"], snapshot["State"]} != {"unblocked"}:
            yield blocked(region.name)
