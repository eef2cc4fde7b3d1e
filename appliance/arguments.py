"""The arguments of the verbs that have many, or have them in common. What becomes of them is the verb's business."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from appliance.policy.exposure import Exposure


class Verb(argparse.ArgumentParser):
    """Parser of one verb's arguments; what it does not know is its own error, and its own usage is shown for that.

    argparse leaves them to the parser of the verbs, whose usage knows none of the options.
    """

    def parse_known_args(  # type: ignore[override]  # typeshed's takes any object for a namespace, which nobody has here
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Return what was given, and nothing else: there must not be more."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown


def add_sources(verb: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """Add where Security Groups and interfaces are read from, and return the group, for what else is read."""
    sources = verb.add_argument_group("where to read from")
    sources.add_argument(
        "--security-groups", type=Path, metavar="FILE", help="saved answer of EC2; - is standard input"
    )
    sources.add_argument("--network-interfaces", type=Path, metavar="FILE", help="likewise")
    _add_lists(sources)
    sources.add_argument("--vpc-id", default="", metavar="ID", help="VPC (the one this machine is in)")
    sources.add_argument("--region", default="", help="AWS region ($AWS_REGION, or the one this machine is in)")
    verb.add_argument("--json", action="store_true", help="print JSON, for programs")
    verb.set_defaults(refuse=verb.error, preferences=None)
    return sources


def add_exposure(verb: argparse.ArgumentParser, what: str) -> None:
    """Add the preference that patterns are judged by. `what`: it says of them."""
    verb.add_argument(
        "--wildcard-exposure",
        choices=[each.value for each in Exposure],
        default=Exposure.PROHIBIT_PUBLIC_SUFFIX,
        metavar="WORD",
        help=f"{what}: {', '.join(Exposure)} ({Exposure.PROHIBIT_PUBLIC_SUFFIX})",
    )


def _add_lists(group: "argparse._ArgumentGroup") -> None:
    what = "likewise, the entries of a prefix list; may be repeated"
    group.add_argument("--prefix-list", action="append", default=[], metavar="ID=FILE", help=what)
    what = "likewise, a list of names that annotations refer to, as '@ssm/NAME=FILE'; may be repeated"
    group.add_argument("--list", action="append", default=[], metavar="@REF=FILE", dest="name_list", help=what)


def add_selftest(selftest: argparse.ArgumentParser) -> None:
    """Add what `selftest` is told: whom to try it with, and how to say what was found."""
    selftest.add_argument("host", metavar="HOST[:PORT]", help="a host listed for TLS in this workload's groups (443)")
    selftest.add_argument("--other", metavar="HOST[:PORT]", help="a TLS host elsewhere, to send the listed name to")
    selftest.add_argument("--ssh", metavar="HOST[:PORT]", help="a host listed for SSH in this workload's groups (22)")
    selftest.add_argument(
        "--here", action="store_true", help="on the box: through a ruleset and an engine in a network of their own"
    )
    selftest.add_argument("--list", action="store_true", help="print what would be tried, and send nothing")
    selftest.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_replay(replay: argparse.ArgumentParser) -> None:
    """Add what `replay` is told: captures, and the policy and the names they are judged by."""
    replay.add_argument(
        "captures", nargs="+", type=Path, metavar="CAPTURE", help="pcap or pcapng file; - is standard input"
    )
    policy = replay.add_argument_group("policy")
    policy.add_argument("--security-groups", type=Path, metavar="FILE", help="saved answer of EC2")
    policy.add_argument("--network-interfaces", type=Path, metavar="FILE", help="likewise")
    _add_lists(policy)
    policy.add_argument("--vpc-id", default="", metavar="ID", help="VPC of the clients, where the files hold several")
    policy.add_argument("--preferences", type=Path, metavar="FILE", help="saved answer of SSM, or the text it holds")
    names = policy.add_mutually_exclusive_group()
    names.add_argument("--addresses", type=Path, metavar="FILE", help="JSON object: the addresses of each name")
    names.add_argument("--trust-names", action="store_true", help="each name has the addresses that its flows go to")
