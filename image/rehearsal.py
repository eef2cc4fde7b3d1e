"""What publishing would do, said and not done: `--dry-run`. It reads what publishing reads before its first change."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from image.ami import Amis
from image.baked import Baked
from image.cloud import Region
from image.ebs import BLOCK, Say, Uploader
from image.journal import Journal, beside
from image.publish import Wishes
from image.release import Image


def rehearse(
    images: Sequence[Image],
    regions: Mapping[str, Region],
    wishes: Wishes,
    *,
    account: str,
    manifest: Path,
    say: Say,
) -> None:
    """Say what would be done with each image in each region.

    Raises:
        ImageError: a name is taken, so publishing would be refused too.
    """
    home = next(iter(regions.values()))
    for image in images:
        for region in regions.values():
            ami = Amis(region, say).find(image.baked)
            if ami:
                say(f"{region.name}: {image.baked.name} is {ami} already")
            elif region is home:
                say(_upload(image, region, account, say))
            else:
                say(f"{region.name}: would copy {image.baked.name} from {home.name}")
            for line in _show(image.baked, ami, region, wishes, say):
                say(f"{region.name}: would {line}")
    say(f"would write {manifest}, {f'signed by {wishes.sign_key}' if wishes.sign_key else 'not signed'}")
    say("nothing was changed")


def _upload(image: Image, home: Region, account: str, say: Say) -> str:
    if snapshot := Uploader(home, say).find(image.disk):
        return f"{home.name}: would register {snapshot} as {image.baked.name}"
    held = Journal(beside(image.disk.path, account, home.name), image.disk.sha256).blocks
    missing = len(image.disk.blocks) - len(held)
    return (
        f"{home.name}: would put {missing} blocks, {missing * BLOCK >> 20} MiB, into a snapshot of {image.disk.gib} GiB"
        f" and register it as {image.baked.name}"
    )


def _show(baked: Baked, ami: str, region: Region, wishes: Wishes, say: Say) -> list[str]:
    lines = []
    if wishes.deprecate_after:
        lines.append(f"deprecate it {wishes.deprecate_after} days after it was made")
    if wishes.for_others:
        who = ", ".join([*wishes.share, *(["everybody"] if wishes.public else [])])
        lines.append(f"let {who} launch and copy it")
    name = wishes.parameter_of(baked)
    value = Amis(region, say).parameter(name)
    if not value or value != ami:
        lines.append(f"put its id into {name}{f', which is {value}' if value else ''}")
    return lines
