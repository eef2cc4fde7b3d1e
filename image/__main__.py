"""`python3 -m image`: build, and what C and E add."""

import argparse
import sys
from pathlib import Path

from image import apt
from image.build import build
from image.errors import ImageError
from image.manifest import read_revision
from image.recipe import architecture, native, read_recipe


def main() -> int:
    """Run a verb; a mistake is one sentence."""
    parser = argparse.ArgumentParser(prog="python3 -m image", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("build", help="bake the disk")
    verb.add_argument("--arch", default="", help="x86_64 or arm64; this machine's own if not given")
    verb.add_argument("--output", type=Path, help="a file, or a block device; build/discriminat-VERSION-ARCH.raw if not given")
    verb.add_argument("--mirror", default="", help="Debian's archive, where this machine's apt is not to be asked")
    verb.add_argument("--security-mirror", default="", help="that of its security updates; MIRROR-security if not given")
    verb.add_argument("--commit", default="", help="what is built, where there is no git")
    verb.add_argument("--epoch", type=int, default=0, help="and its time")
    verb.add_argument("--renew-lock", action="store_true", help="take the packages that the archive has now")
    arguments = parser.parse_args()
    try:
        recipe = read_recipe()
        build(
            recipe,
            architecture(arguments.arch) if arguments.arch else native(),
            read_revision(arguments.commit, arguments.epoch),
            apt.sources(recipe.suite, arguments.mirror, arguments.security_mirror),
            arguments.output,
            renew_lock=arguments.renew_lock,
        )
    except ImageError as error:
        print(f"\nimage: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
