"""The command `discriminat`: verbs, arguments and exit codes, nothing else.

Standard output carries what was asked for; everything else goes to standard error, as
`discriminat: error: …` and `discriminat: hint: …`. Exit codes: 0 fine, 1 refused or failed, 2 usage.
"""

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from appliance import __version__
from appliance.errors import DiscriminatError, PolicyError, SettingsError, TrialError
from appliance.settings import Settings, describe_settings, parse_settings

DEFAULT_CONFIG = Path("/etc/discriminat/discriminat.toml")
WORKER = "worker"  # the verb by which `run` starts its workers

SOURCES = """\
Security Groups and network interfaces are read from AWS, as the appliance reads them, or from files:
  aws ec2 describe-security-groups    --filters Name=vpc-id,Values=vpc-0a1b2c3d > groups.json
  aws ec2 describe-network-interfaces --filters Name=vpc-id,Values=vpc-0a1b2c3d > interfaces.json"""

CHECK_EPILOG = f"""\
{SOURCES}

examples:
  discriminat check --security-groups groups.json
  discriminat check --security-groups groups.json --network-interfaces interfaces.json --json
  aws ec2 describe-security-groups | discriminat check --security-groups -
  discriminat check --vpc-id vpc-0a1b2c3d --region eu-west-1

rejected, exit 1: what grants nothing, because the appliance or AWS refuses it
  an annotation or a name that cannot be read, a rule of the wrong shape, a description with characters that
  AWS refuses or of more than 255 of them, two rules with the same protocol, port and destination
warnings, exit 0 unless --strict: what works, but perhaps not as it was meant
  a port annotated for 0.0.0.0/1 or narrower where no rule has 0.0.0.0/0 (AWS drops the rest), names listed
  twice in a group, see-thru that has ended or holds for more than a year, a group that no interface wears"""

EXPLAIN_EPILOG = f"""\
{SOURCES}
So are the preferences of the deployment, if this machine has the settings that name their parameter:
  aws ssm get-parameter --name DiscrimiNAT_egress > preferences.json

examples:
  discriminat explain --client 10.0.1.10 --port 443 --name api.example.com
  discriminat explain --client 10.0.1.10 --port 443 --name api.example.com --address 203.0.113.10
  discriminat explain --client 10.0.1.10 --port 22 --name git.example.com --protocol ssh --resolve \\
      --security-groups groups.json --network-interfaces interfaces.json --preferences preferences.json

exit 0 when the connection would be made, also if only because of see-thru; 1 when it would be refused.
A well-formed hello, TLS 1.2 or newer and a server that agrees are taken for granted."""

REPLAY_EPILOG = """\
Captures are pcap or pcapng files of tcpdump, dumpcap or Wireshark; several are merged by time, - is standard input.
Without files of policy every client is unknown, and refused; what its packets say is shown all the same.

examples:
  discriminat replay capture.pcapng
  tcpdump -i eth0 -s 0 -U -w - tcp | discriminat replay -
  discriminat replay --security-groups groups.json --network-interfaces interfaces.json --trust-names capture.pcap
  echo '{"api.example.com": ["203.0.113.10"]}' | discriminat replay --addresses - \\
      --security-groups groups.json --network-interfaces interfaces.json before.pcap after.pcap

The engine is given what the kernel would give it, at the times of the capture. Capture whole packets (-s 0), from
before the connections begin: what is cut is `truncated_copy`, what was joined in the middle `mid_stream`.
exit 0 when all was read, whatever the outcomes; 1 when a file cannot be read, or not to its end"""


def main() -> NoReturn:
    """Run the verb on the command line, and exit."""
    arguments = _parser(sys.argv[1:]).parse_args()
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
    except DiscriminatError as fault:
        sys.stderr.write(f"discriminat: error: {fault.message}\n")
        if fault.hint:
            sys.stderr.write(f"discriminat: hint: {fault.hint}\n")
        status = 2 if isinstance(fault, PolicyError) else 1  # only an argument can be one here
    except BrokenPipeError:  # the reader has seen enough; what is still in the buffer must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


# Arguments


def _parser(given: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="discriminat",
        description="An egress firewall for AWS VPCs, and their NAT. The allowlist is written into the descriptions"
        " of the workloads' own Security Group rules, as in discriminat:tls:api.example.com",
        epilog="discriminat VERB --help says more. Exit codes: 0 fine, 1 refused or failed, 2 usage.",
    )
    parser.add_argument("--version", action="version", version=f"discriminat {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_run(verbs)
    _add_prepare(verbs)
    _add_prove(verbs)
    _add_check(verbs)
    _add_explain(verbs)
    _add_replay(verbs)
    _add_version(verbs)
    if given[:1] == [WORKER]:  # nobody types it, so no help and no message mentions it
        worker = verbs.add_parser(WORKER)
        worker.add_argument("descriptor", type=int)
        worker.set_defaults(run=_worker)
    return parser


def _add_run(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = verbs.add_parser(
        "run",
        help="filter this machine's forwarded traffic, as the appliance does",
        description="Load the ruleset, read policy from AWS, and filter until told to stop (SIGTERM).\n"
        "Wants root, or CAP_NET_ADMIN and CAP_NET_RAW.",
        epilog="settings, in TOML, with their defaults; each is also an environment variable, such as\n"
        f"DISCRIMINAT_POLICY_POLL_INTERVAL, which wins:\n\n{describe_settings()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--config", type=Path, metavar="FILE", help=f"settings file ({DEFAULT_CONFIG}, if it exists)")
    run.set_defaults(run=_run)


def _add_prepare(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    prepare = verbs.add_parser(
        "prepare",
        help="set the kernel's network settings, where `run` may not",
        description="Set the kernel's network settings for the filter, as `run` does by itself where it may write\n"
        "/proc/sys: forwarding, and connection tracking sized from memory. For a service manager, as root, before\n"
        "`run` as another user. Load a closed ruleset first: this switches forwarding on.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prepare.set_defaults(run=_prepare)


def _add_prove(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    prove = verbs.add_parser(
        "prove",
        help="prove that this machine filters: one flow that must pass, one that must not",
        description="Load the ruleset and start a worker in network namespaces of their own, and let two connections\n"
        "through: one that policy allows and one that it refuses. Nothing else on this machine is touched. `run` does\n"
        "it by itself, and is not ready before it has passed. Wants root, or user namespaces.",
        epilog="exit 0 when it has passed, 1 when it has not",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prove.add_argument("--json", action="store_true", help="print JSON, for programs")
    prove.set_defaults(run=_prove)


def _add_check(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = verbs.add_parser(
        "check",
        help="find the mistakes in the annotations of Security Groups",
        description="Say what is wrong with the annotations of Security Groups, where, and what to write instead.",
        epilog=CHECK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_sources(check)
    check.add_argument("--strict", action="store_true", help="exit 1 for warnings as well")
    check.set_defaults(run=_check)


def _add_explain(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    explain = verbs.add_parser(
        "explain",
        help="say whether a connection would be allowed, by which rule, and why",
        description="Say whether a connection would be allowed, which rule of which Security Group decides, and why.",
        epilog=EXPLAIN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.add_argument("--client", required=True, metavar="ADDRESS", help="private IPv4 address of the workload")
    explain.add_argument("--port", required=True, help="TCP port of the server")
    explain.add_argument("--name", required=True, help="name of the server: its server_name, or whose address it is")
    explain.add_argument("--address", help="IPv4 address of the server (any)")
    explain.add_argument("--protocol", default="tls", help="tls or ssh (tls)")
    explain.add_argument("--resolve", action="store_true", help="ask this machine's resolver for the name's addresses")
    sources = _add_sources(explain)
    sources.add_argument("--preferences", type=Path, metavar="FILE", help="saved answer of SSM, or the text it holds")
    sources.add_argument(
        "--preferences-parameter", default="", metavar="NAME", help="SSM parameter (the one of the settings here)"
    )
    explain.set_defaults(run=_explain)


def _add_replay(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    replay = verbs.add_parser(
        "replay",
        help="say what captured packets hold, and what would become of their flows",
        description="Play captured packets through the engine, and print the flow log that the appliance would write.",
        epilog=REPLAY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    replay.add_argument(
        "captures", nargs="+", type=Path, metavar="CAPTURE", help="pcap or pcapng file; - is standard input"
    )
    policy = replay.add_argument_group("policy")
    policy.add_argument("--security-groups", type=Path, metavar="FILE", help="saved answer of EC2")
    policy.add_argument("--network-interfaces", type=Path, metavar="FILE", help="likewise")
    policy.add_argument("--vpc-id", default="", metavar="ID", help="VPC of the clients, where the files hold several")
    names = policy.add_mutually_exclusive_group()
    names.add_argument("--addresses", type=Path, metavar="FILE", help="JSON object: the addresses of each name")
    names.add_argument("--trust-names", action="store_true", help="each name has the addresses that its flows go to")
    replay.set_defaults(run=_replay, refuse=replay.error)


def _add_version(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    version = verbs.add_parser(
        "version",
        help="say what runs here: version, engine, Python, kernel, image",
        description="Say what runs here: version, engine, Python, kernel, and the image's commit and packages.",
    )
    version.add_argument("--json", action="store_true", help="print JSON, with the version of every package")
    version.set_defaults(run=_version)


def _add_sources(verb: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    sources = verb.add_argument_group("where to read from")
    sources.add_argument(
        "--security-groups", type=Path, metavar="FILE", help="saved answer of EC2; - is standard input"
    )
    sources.add_argument("--network-interfaces", type=Path, metavar="FILE", help="likewise")
    sources.add_argument("--vpc-id", default="", metavar="ID", help="VPC (the one this machine is in)")
    sources.add_argument("--region", default="", help="AWS region ($AWS_REGION, or the one this machine is in)")
    verb.add_argument("--json", action="store_true", help="print JSON, for programs")
    verb.set_defaults(refuse=verb.error, preferences=None)
    return sources


# Verbs. Each imports what it needs and the others do without: AWS's and the kernel's libraries are slow to load.


def _run(arguments: argparse.Namespace) -> int:
    from appliance.app import run  # noqa: PLC0415

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="discriminat: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    text = _read_config(arguments.config)
    run(lambda user_data: parse_settings(text, os.environ, user_data))
    return 0


def _read_config(path: Path | None) -> str:
    if path is None and not DEFAULT_CONFIG.exists():
        return ""
    hint = "name a settings file with --config"
    try:
        return (path or DEFAULT_CONFIG).read_text()
    except OSError as fault:
        raise SettingsError(f"{path or DEFAULT_CONFIG}: {fault.strerror}", hint=hint) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path or DEFAULT_CONFIG}: it is not text", hint=hint) from None


def _prepare(_: argparse.Namespace) -> int:
    from appliance.edge import system  # noqa: PLC0415

    failed = system.apply_kernel_settings(system.memory_octets())
    for setting in failed:
        sys.stderr.write(f"discriminat: error: kernel setting left alone: {setting}\n")
    return int(bool(failed))


def _prove(arguments: argparse.Namespace) -> int:
    from appliance.trial import run_trial  # noqa: PLC0415

    findings = run_trial()
    if findings.failure and not arguments.json:
        raise TrialError(findings.failure, hint=findings.hint)
    _print(findings.document() if arguments.json else f"passed: {findings.summary}\n")
    return int(bool(findings.failure))


def _worker(arguments: argparse.Namespace) -> int:
    from appliance.worker import work  # noqa: PLC0415

    work(arguments.descriptor)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from appliance.report import render_report, report_document  # noqa: PLC0415
    from appliance.sources import Source, check  # noqa: PLC0415

    _refuse_sources(arguments)
    files = arguments.security_groups, arguments.network_interfaces
    report = check(Source(*files, vpc_id=arguments.vpc_id, region=arguments.region))
    _print(report_document(report) if arguments.json else render_report(report))
    return int(report.rejected > 0 or (arguments.strict and report.warnings > 0))


def _explain(arguments: argparse.Namespace) -> int:
    from appliance.account import explanation_document, render_explanation  # noqa: PLC0415
    from appliance.question import Question  # noqa: PLC0415
    from appliance.sources import Source, answer  # noqa: PLC0415

    _refuse_sources(arguments)
    if arguments.security_groups and not arguments.network_interfaces:
        arguments.refuse("--security-groups needs --network-interfaces, to know which of them the client wears")
    if arguments.preferences_parameter and (arguments.preferences or arguments.security_groups):
        arguments.refuse("--preferences-parameter is read from AWS: beside files, or instead, give --preferences FILE")
    question = Question.parse(
        client=arguments.client,
        port=arguments.port,
        protocol=arguments.protocol,
        name=arguments.name,
        address=arguments.address,
    )
    source = Source(
        arguments.security_groups,
        arguments.network_interfaces,
        arguments.preferences,
        arguments.preferences_parameter,
        vpc_id=arguments.vpc_id,
        region=arguments.region,
    )

    def read_settings(user_data: str) -> Settings:
        return parse_settings(_read_config(None), os.environ, user_data)

    explanation = answer(source, question, resolve=arguments.resolve, read_settings=read_settings)
    _print(explanation_document(explanation) if arguments.json else render_explanation(explanation))
    return 0 if explanation.passes else 1


def _replay(arguments: argparse.Namespace) -> int:
    from appliance.directory import Directory  # noqa: PLC0415
    from appliance.policy.inventory import Inventory  # noqa: PLC0415
    from appliance.replay import replay  # noqa: PLC0415

    _refuse_sources(arguments)
    if arguments.security_groups and not arguments.network_interfaces:
        arguments.refuse("--security-groups needs --network-interfaces, to know which of them a client wears")
    inventory, directory = Inventory((), ()), Directory({}, trusting=arguments.trust_names)
    if arguments.security_groups or arguments.addresses:
        from appliance.sources import Source, saved_addresses, saved_inventory  # noqa: PLC0415

        if arguments.addresses:
            directory = Directory(saved_addresses(arguments.addresses), trusting=False)
        if arguments.security_groups:
            files = arguments.security_groups, arguments.network_interfaces
            inventory = saved_inventory(Source(*files, vpc_id=arguments.vpc_id))
    replay(arguments.captures, inventory, directory, sys.stdout.buffer)
    return 0


def _version(arguments: argparse.Namespace) -> int:
    from appliance.about import about_document, render_about  # noqa: PLC0415

    _print(about_document() if arguments.json else render_about())
    return 0


def _refuse_sources(arguments: argparse.Namespace) -> None:
    """Exit for a combination of files that makes no sense."""
    if arguments.network_interfaces and not arguments.security_groups:
        arguments.refuse("--network-interfaces needs --security-groups")
    given = vars(arguments)
    files = [given.get(name) for name in ("network_interfaces", "security_groups", "preferences", "addresses")]
    files += given.get("captures", ())
    if files.count(Path("-")) > 1:
        arguments.refuse("standard input can be one file only")


def _print(result: dict[str, object] | str) -> None:
    """Print a document as JSON, and a text without what could steer a terminal: names come from files."""
    if isinstance(result, str):
        text = "".join(char if char.isprintable() or char == "\n" else "?" for char in result)
    else:
        text = json.dumps(result, indent=2) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
