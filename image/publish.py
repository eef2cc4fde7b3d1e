"""`python -m image publish`: its arguments. What they ask for is done in publisher.py, which needs boto3."""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from image.baked import Baked
from image.errors import ImageError
from image.order import baked_images

REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+")
ACCOUNT: Final = re.compile(r"[0-9]{12}")
PREFIX: Final = re.compile(r"(/[A-Za-z0-9_.-]+){1,12}")
LONGEST: Final = 3650  # days that AWS lets pass before an image is deprecated
LONGEST_PUBLIC: Final = 730  # the same for a public one

EPILOG: Final = """\
The steps, each of which a further run finds done: a snapshot, block by block; an AMI of it; copies, all at once; and
when these are there and are what they should be, what others see: deprecation, permissions, parameter, manifest.
A region that fails does not stop the others, and the same command run again does what is missing.

exit 0 when everything is done, 1 when something was refused or is missing, 2 for a wrong argument, 130 after Ctrl-C.
What the publisher's role has to allow is in image/publisher-policy.json; see image/README.md."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for.

    Attributes:
        region: where the snapshot is written; empty for the one that AWS's own settings name.
        copy_to: further regions.
        share: accounts that may use it.
        deprecate_after: days after it was made; 0 for never.
        parameter: what stands before /VERSION/ARCHITECTURE in Parameter Store.
        manifest: None for the default one, beside the image.
    """

    region: str
    copy_to: tuple[str, ...] = ()
    share: tuple[str, ...] = ()
    public: bool = False
    deprecate_after: int = 0
    parameter: str = "/discriminat/ami"
    sign_key: Path | None = None
    manifest: Path | None = None
    dry_run: bool = False

    @property
    def for_others(self) -> bool:
        """Whether anybody but this account is to use it."""
        return self.public or bool(self.share)

    def parameter_of(self, baked: Baked) -> str:
        """Return the name of the SSM parameter of an image."""
        return f"{self.parameter}/{baked.version}/{baked.architecture}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of `publish`."""
    parser.description = "Make AMIs of baked images, without an instance, and write the release manifest."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--region", type=_region, metavar="R", help="where to write the snapshot ($AWS_REGION)")
    add(
        "--image", type=Path, action="append", default=[], metavar="FILE",
        help="raw disk, as often as there are architectures (those of this version in build/)",
    )  # fmt: skip
    add("--copy-to", type=_regions, default=(), metavar="R,R", help="further regions")
    add("--share", type=_accounts, default=(), metavar="ACCOUNT,ACCOUNT", help="accounts that may launch and copy it")
    add("--public", action="store_true", help="let everybody launch and copy it")
    add(
        "--deprecate-after", type=_days, default=0, metavar="DAYS",
        help=f"have AWS leave it out of lists so many days after it was made (never; a public one: {LONGEST_PUBLIC})",
    )  # fmt: skip
    add(
        "--parameter", type=_prefix, default="/discriminat/ami", metavar="PREFIX",
        help="the id goes into the SSM parameter PREFIX/VERSION/ARCHITECTURE (/discriminat/ami)",
    )  # fmt: skip
    add("--sign-key", type=Path, metavar="FILE", help="SSH key that signs the manifest (it stays unsigned)")
    add("--manifest", type=Path, metavar="FILE", help="release manifest (PRODUCT-VERSION.manifest.json by the image)")
    add("--dry-run", action="store_true", help="say what would be done, and change nothing")


def run(arguments: argparse.Namespace) -> int:
    """Publish, and return the exit code.

    Raises:
        ImageError: something was refused; what was done stays, and a further run goes on from there.
    """
    wishes = Wishes(
        region=arguments.region or "",
        copy_to=arguments.copy_to,
        share=arguments.share,
        public=arguments.public,
        deprecate_after=arguments.deprecate_after,
        parameter=arguments.parameter,
        sign_key=arguments.sign_key,
        manifest=arguments.manifest,
        dry_run=arguments.dry_run,
    )
    if wishes.public and wishes.deprecate_after > LONGEST_PUBLIC:
        raise ImageError(f"a public image is deprecated after {LONGEST_PUBLIC} days at most: shorten --deprecate-after")
    paths = arguments.image or baked_images()
    try:
        from image.cloud import Interrupted  # noqa: PLC0415 -- the other verbs do without boto3
        from image.publisher import Publisher, connect  # noqa: PLC0415
    except ModuleNotFoundError as fault:
        raise ImageError(f"{fault.name} is missing: run .venv/bin/python -m image publish, after make setup") from None
    try:
        return Publisher(connect(wishes), wishes, say=say).publish(paths)
    except Interrupted as fault:
        sys.stderr.write(f"\nimage: error: {fault}\n")
        return 130


def say(line: str) -> None:
    """Print a line at once, whole, whichever thread it comes from."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# ---- single arguments ----


def _region(text: str) -> str:
    if not REGION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no region: want one such as eu-west-1")
    return text


def _regions(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_region(each) for each in text.split(",")))


def _accounts(text: str) -> tuple[str, ...]:
    for each in text.split(","):
        if not ACCOUNT.fullmatch(each):
            raise argparse.ArgumentTypeError(f"{each!r} is no AWS account: want 12 digits")
    return tuple(dict.fromkeys(text.split(",")))


def _days(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 1 to {LONGEST}")
    return int(text)


def _prefix(text: str) -> str:
    if not PREFIX.fullmatch(text) or re.match(r"/(aws|ssm)", text, re.IGNORECASE):  # noqa: TID251 -- a prefix is meant
        raise argparse.ArgumentTypeError(
            f"{text!r} is no path for a parameter: want one such as /discriminat/ami, and not below /aws or /ssm"
        )
    return text
