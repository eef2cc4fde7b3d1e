"""The command `discriminat`: verbs, arguments and exit codes, nothing else.

Standard output carries what was asked for; everything else goes to standard error, as
`discriminat: error: …` and `discriminat: hint: …`. Exit codes: 0 fine, 1 refused or failed, 2 usage.
"""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from appliance import __version__
from appliance.errors import DiscriminatError, SettingsError
from appliance.settings import describe_settings, parse_settings

DEFAULT_CONFIG = Path("/etc/discriminat/discriminat.toml")


def main() -> NoReturn:
    """Run the verb on the command line, and exit."""
    arguments = _parser().parse_args()
    try:
        sys.exit(arguments.run(arguments))
    except DiscriminatError as fault:
        sys.stderr.write(f"discriminat: error: {fault.message}\n")
        if fault.hint:
            sys.stderr.write(f"discriminat: hint: {fault.hint}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="discriminat",
        description="An egress firewall for AWS VPCs, and their NAT. The allowlist is written into the descriptions"
        " of the workloads' own Security Group rules, as in discriminat:tls:api.example.com",
    )
    parser.add_argument("--version", action="version", version=f"discriminat {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    run = verbs.add_parser(
        "run",
        help="filter this machine's forwarded traffic, as the appliance does",
        description="Load the ruleset, read policy from AWS, and filter until told to stop (SIGTERM). Wants root,"
        " or CAP_NET_ADMIN and CAP_NET_RAW.",
        epilog=f"settings, in TOML; each is also an environment variable, as DISCRIMINAT_POLICY_POLL_INTERVAL:\n"
        f"{describe_settings()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--config", type=Path, metavar="FILE", help=f"settings file (default: {DEFAULT_CONFIG}, if it exists)")
    run.set_defaults(run=_run)

    worker = verbs.add_parser("worker")  # started by `run`; no help, for nobody should
    worker.add_argument("descriptor", type=int)
    worker.set_defaults(run=_worker)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from appliance.app import run  # noqa: PLC0415 -- AWS and netfilter libraries, which the other verbs do without

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="discriminat: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    run(parse_settings(_read_config(arguments.config), os.environ))
    return 0


def _read_config(path: Path | None) -> str:
    if path is None and not DEFAULT_CONFIG.exists():
        return ""
    try:
        return (path or DEFAULT_CONFIG).read_text()
    except OSError as fault:
        raise SettingsError(f"{path or DEFAULT_CONFIG}: {fault.strerror}", hint="name a settings file with --config") from None


def _worker(arguments: argparse.Namespace) -> int:
    from appliance.worker import work  # noqa: PLC0415 -- as above

    work(arguments.descriptor)
    return 0
