"""The order: what `suggest` is asked for on the command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.arguments import add_exposure
from appliance.errors import PolicyError
from appliance.family import FEWEST, LEAST
from appliance.offer import SOURCE
from appliance.policy.exposure import Exposure
from appliance.policy.fqdn import Fqdn, quote
from appliance.sighting import GROUP

FORMATS: Final = ("table", "annotations", "terraform", "json")
STANDARD_INPUT: Final = Path("-")


@dataclass(frozen=True, slots=True)
class Order:
    """What to read, what of it to look at, and what to write.

    `files`: none: CloudWatch. `since`, `until`: as they are written; empty where not given.
    `groups`: the ids of those to look at; none: all. `min_count`: flows that a name needs.
    `kept`: parents of names that are suggested, however many there are.
    `wildcards_from`: names that a pattern is proposed for; 0: none is. `exposure`: which patterns the deployment takes.
    `html`: where a page is written, besides what is printed. `module`: source of the Terraform module.
    """

    files: tuple[Path, ...]
    log_group: str
    log_stream: str
    region: str
    network_interfaces: Path | None
    security_groups: Path | None
    since: str
    until: str
    groups: tuple[str, ...]
    min_count: int
    kept: tuple[Fqdn, ...]
    wildcards_from: int
    exposure: Exposure
    format: str
    html: Path | None
    module: str

    @classmethod
    def read(cls, arguments: argparse.Namespace) -> "Order":
        """Return what the arguments say that `add_arguments` has added.

        Raises:
            PolicyError: an argument that cannot be used.
        """
        for group in arguments.group:
            if not GROUP.fullmatch(group):
                raise PolicyError(f"{quote(group)} is not the id of a Security Group", hint="write it as sg-0a1b2c3d")
        if arguments.min_count < 1:
            raise PolicyError(f"--min-count: {arguments.min_count} is no count", hint="write a whole number, 1 or more")
        fewest = arguments.wildcards_from
        if fewest < LEAST:
            raise PolicyError(f"--wildcards-from: {fewest} names are no family", hint=f"write {LEAST} or more")
        files = [*arguments.files, arguments.network_interfaces, arguments.security_groups]
        if files.count(STANDARD_INPUT) > 1:
            raise PolicyError("standard input can be one file only", hint="name the others")
        if arguments.html and any(_is_same(arguments.html, other) for other in (*files, STANDARD_INPUT) if other):
            raise PolicyError(f"--html: {arguments.html} is read, or is no file", hint="name a file to write a page to")
        return cls(
            files=tuple(arguments.files),
            log_group=arguments.log_group,
            log_stream=arguments.log_stream,
            region=arguments.region,
            network_interfaces=arguments.network_interfaces,
            security_groups=arguments.security_groups,
            since=arguments.since,
            until=arguments.until,
            groups=tuple(arguments.group),
            min_count=arguments.min_count,
            kept=tuple(map(Fqdn.parse, arguments.keep)),
            wildcards_from=fewest if arguments.wildcards else 0,
            exposure=Exposure(arguments.wildcard_exposure),
            format=arguments.format,
            html=arguments.html,
            module=arguments.module,
        )


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of `suggest`."""
    verb.add_argument("files", nargs="*", type=Path, metavar="FILE", help="flow log in JSON lines (CloudWatch)")
    verb.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="what to print (table)")
    verb.add_argument("--html", type=Path, metavar="FILE", help="write a page for people as well")
    verb.add_argument("--module", default=SOURCE, metavar="SOURCE", help=f"of the Terraform module ({SOURCE})")
    verb.add_argument("--since", default="", metavar="TIME", help="2027-01-05, 2027-01-05T09:30, or 6h (14d)")
    verb.add_argument("--until", default="", metavar="TIME", help="likewise, excluded (now)")
    verb.add_argument("--group", action="append", default=[], metavar="ID", help="of this group alone; repeatable")
    verb.add_argument("--min-count", type=int, default=1, metavar="N", help="flows that a name needs (1)")
    verb.add_argument("--keep", action="append", default=[], metavar="NAME", help="parent of names to suggest anyway")
    verb.add_argument("--wildcards", action="store_true", help="propose patterns for names that differ in one label")
    verb.add_argument(
        "--wildcards-from", type=int, default=FEWEST, metavar="N", help=f"names that a pattern needs ({FEWEST})"
    )
    add_exposure(verb, "which patterns the deployment takes")
    sources = verb.add_argument_group("where to read from")
    sources.add_argument("--log-group", default="discrimiNAT", metavar="NAME", help="in CloudWatch (discrimiNAT)")
    sources.add_argument("--log-stream", default="flow", metavar="NAME", help="in it (flow)")
    sources.add_argument("--region", default="", help="AWS region ($AWS_REGION, or the one this machine is in)")
    sources.add_argument("--network-interfaces", type=Path, metavar="FILE", help="saved answer of EC2")
    sources.add_argument("--security-groups", type=Path, metavar="FILE", help="likewise, for names and free masks")


def _is_same(page: Path, other: Path) -> bool:
    """Tell whether to write a page would overwrite the other file, however either is spelled."""
    try:
        return page == other or page.samefile(other)
    except OSError:  # one of them is not there, or only the terminal's
        return False
