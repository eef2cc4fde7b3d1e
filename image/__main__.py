"""Bakes, checks and publishes the appliance's disk image."""

import argparse
import errno
import sys
from pathlib import Path

from image import apt, publish, verify
from image.build import build, renew_locks
from image.errors import ImageError
from image.order import Order, read_revision
from image.recipe import architecture, native, read_recipe

INTERRUPTED = 130  # as a shell says it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of `build` and `lock`."""
    add = parser.add_argument
    add("--arch", default="", help="x86_64 or arm64 (this machine's own)")
    add("--mirror", default="", metavar="URL", help="Debian's archive (the one in this machine's apt configuration)")
    add("--security-mirror", default="", metavar="URL", help="that of its security updates (MIRROR-security)")
    add("--commit", default="", help="what is built, where there is no git")
    add("--epoch", type=int, default=0, metavar="SECONDS", help="and its time, since 1970")


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m image", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    builder = verbs.add_parser("build", help="bake the disk, in build/")
    add_arguments(builder)
    builder.add_argument("--output", type=Path, metavar="FILE", help="another file, or a block device")
    builder.add_argument("--renew-lock", action="store_true", help="take the packages that the archive has now")
    builder.add_argument("--keep", action="store_true", help="leave the working directory, to look at")
    add_arguments(verbs.add_parser("lock", help="write image/lock anew, and bake nothing"))
    verify.add_arguments(verbs.add_parser("check", help="prove what is promised of a disk"))
    publish.add_arguments(verbs.add_parser("publish", help="make AMIs of disks, in every region"))
    return parser.parse_args(argv)


def bake(arguments: argparse.Namespace) -> int:
    """Run `build` or `lock`."""
    recipe = read_recipe()
    arch = architecture(arguments.arch) if arguments.arch else native()
    order = Order(recipe, arch, read_revision(arguments.commit, arguments.epoch))
    sources = apt.sources(recipe.suite, arguments.mirror, arguments.security_mirror)
    if arguments.verb == "lock":
        renew_locks(order, sources)
    else:
        made = build(order, sources, arguments.output, renew_lock=arguments.renew_lock, keep=arguments.keep)
        print(f"{made} is whole")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run a verb; what is wrong is told in a sentence."""
    arguments = arguments_of(argv)
    try:
        return {"check": verify.run, "publish": publish.run}.get(arguments.verb, bake)(arguments)
    except ImageError as error:
        told = str(error)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        told = f"the disk is full at {error.filename or 'build/'}: make room, and start again"
    except KeyboardInterrupt:
        print("\nimage: interrupted: nothing was left under the image's name", file=sys.stderr)
        return INTERRUPTED
    print(f"\nimage: error: {told}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
