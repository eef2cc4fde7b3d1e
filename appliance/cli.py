"""The command `discriminat`: verbs, arguments and exit codes, nothing else.

Standard output carries what was asked for; everything else goes to standard error, as
`discriminat: error: …` and `discriminat: hint: …`. Exit codes: 0 fine, 1 refused or failed, 2 usage, 3 not judged.
"""

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from appliance import __version__
from appliance.arguments import Verb, add_exposure, add_replay, add_selftest, add_sources
from appliance.errors import BaselineError, DiscriminatError, PolicyError, SettingsError, TrialError
from appliance.manual import CHECK_EPILOG, EXPLAIN_EPILOG, REPLAY_EPILOG, SELFTEST_EPILOG, SUGGEST_EPILOG
from appliance.order import Order, add_arguments
from appliance.policy.exposure import Exposure
from appliance.settings import Settings, describe_settings, parse_settings

if TYPE_CHECKING:
    from appliance.sources import Source

DEFAULT_CONFIG = Path("/etc/discriminat/discriminat.toml")
WORKER = "worker"  # the verb by which `run` starts its workers


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
        status = 3 if isinstance(fault, BaselineError) else 1
        if isinstance(fault, PolicyError):  # only an argument can be one here
            status = 2
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
        epilog="discriminat VERB --help says more. Exit codes: 0 fine, 1 refused or failed, 2 usage, 3 not judged.",
    )
    parser.add_argument("--version", action="version", version=f"discriminat {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=Verb)
    _add_run(verbs)
    _add_prepare(verbs)
    _add_prove(verbs)
    _add_check(verbs)
    _add_explain(verbs)
    _add_replay(verbs)
    _add_selftest(verbs)
    _add_suggest(verbs)
    _add_version(verbs)
    if given[:1] == [WORKER]:  # nobody types it, so no help and no message mentions it
        worker = verbs.add_parser(WORKER)
        worker.add_argument("descriptor", type=int)
        worker.set_defaults(run=_worker)
    return parser


def _add_run(verbs: "argparse._SubParsersAction[Verb]") -> None:
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


def _add_prepare(verbs: "argparse._SubParsersAction[Verb]") -> None:
    prepare = verbs.add_parser(
        "prepare",
        help="set the kernel's network settings, where `run` may not",
        description="Set the kernel's network settings for the filter, as `run` does by itself where it may write\n"
        "/proc/sys: forwarding, and connection tracking sized from memory. For a service manager, as root, before\n"
        "`run` as another user. Load a closed ruleset first: this switches forwarding on.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prepare.set_defaults(run=_prepare)


def _add_prove(verbs: "argparse._SubParsersAction[Verb]") -> None:
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


def _add_check(verbs: "argparse._SubParsersAction[Verb]") -> None:
    check = verbs.add_parser(
        "check",
        help="find the mistakes in the annotations of Security Groups",
        description="Say what is wrong with the annotations of Security Groups, where, and what to write instead.",
        epilog=CHECK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sources(check)
    add_exposure(check, "which patterns count, as in the preferences")
    check.add_argument("--strict", action="store_true", help="exit 1 for warnings as well")
    check.set_defaults(run=_check)


def _add_explain(verbs: "argparse._SubParsersAction[Verb]") -> None:
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
    explain.add_argument("--protocol", default="tls", help="tls, ssh or http, for revocation lists (tls)")
    explain.add_argument("--resolve", action="store_true", help="ask this machine's resolver for the name's addresses")
    sources = add_sources(explain)
    sources.add_argument("--preferences", type=Path, metavar="FILE", help="saved answer of SSM, or the text it holds")
    sources.add_argument(
        "--preferences-parameter", default="", metavar="NAME", help="SSM parameter (the one of the settings here)"
    )
    explain.set_defaults(run=_explain)


def _add_selftest(verbs: "argparse._SubParsersAction[Verb]") -> None:
    selftest = verbs.add_parser(
        "selftest",
        help="from a workload: try the harmless attacks of the catalogue, and print what was stopped",
        description="From a workload, through the appliance: try the harmless part of the catalogue of attacks (the\n"
        "table in SECURITY.md) against a host that is listed for it, and print what was stopped, row by row.",
        epilog=SELFTEST_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selftest(selftest)
    selftest.set_defaults(run=_selftest)


def _add_replay(verbs: "argparse._SubParsersAction[Verb]") -> None:
    replay = verbs.add_parser(
        "replay",
        help="say what captured packets hold, and what would become of their flows",
        description="Play captured packets through the engine, and print the flow log that the appliance would write.",
        epilog=REPLAY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_replay(replay)
    replay.set_defaults(run=_replay, refuse=replay.error)


def _add_suggest(verbs: "argparse._SubParsersAction[Verb]") -> None:
    suggest = verbs.add_parser(
        "suggest",
        help="build the allowlist from what see-thru alone let pass",
        description="Say which names to list in which Security Groups, from the flow log of a time under see-thru.",
        epilog=SUGGEST_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(suggest)
    suggest.set_defaults(run=_suggest)


def _add_version(verbs: "argparse._SubParsersAction[Verb]") -> None:
    version = verbs.add_parser(
        "version",
        help="say what runs here: version, engine, Python, kernel, image",
        description="Say what runs here: version, engine, Python, kernel, and the image's commit and packages.",
    )
    version.add_argument("--json", action="store_true", help="print JSON, with the version of every package")
    version.set_defaults(run=_version)


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
    from appliance.sources import check  # noqa: PLC0415

    _refuse_sources(arguments)
    report = check(_source(arguments), Exposure(arguments.wildcard_exposure), read_settings=_settings_here)
    _print(report_document(report) if arguments.json else render_report(report))
    return int(report.rejected > 0 or (arguments.strict and report.warnings > 0))


def _explain(arguments: argparse.Namespace) -> int:
    from appliance.account import explanation_document, render_explanation  # noqa: PLC0415
    from appliance.question import Question  # noqa: PLC0415
    from appliance.sources import answer  # noqa: PLC0415

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
    explanation = answer(_source(arguments), question, resolve=arguments.resolve, read_settings=_settings_here)
    _print(explanation_document(explanation) if arguments.json else render_explanation(explanation))
    return 0 if explanation.passes else 1


def _selftest(arguments: argparse.Namespace) -> int:
    from appliance.probing import run_selftest  # noqa: PLC0415
    from appliance.selftest.findings import render_findings, render_rows  # noqa: PLC0415
    from appliance.selftest.rows import ROWS  # noqa: PLC0415
    from appliance.selftest.target import SSH_PORT, Target, Targets  # noqa: PLC0415

    targets = Targets(
        Target.parse(arguments.host),
        Target.parse(arguments.other) if arguments.other else None,
        Target.parse(arguments.ssh, SSH_PORT) if arguments.ssh else None,
    )
    if arguments.list:
        _print(render_rows(ROWS))
        return 0
    run = run_selftest
    if arguments.here:
        from appliance.enclosed import run_enclosed as run  # noqa: PLC0415
    sys.stderr.write(f"discriminat: {len(ROWS)} rows, hellos only, towards {targets}; this takes about 20 s\n")
    findings = run(targets)
    _print(findings.document() if arguments.json else render_findings(findings))
    return findings.status


def _replay(arguments: argparse.Namespace) -> int:
    from appliance.directory import Directory  # noqa: PLC0415
    from appliance.policy.inventory import Inventory  # noqa: PLC0415
    from appliance.policy.preferences import DEFAULTS  # noqa: PLC0415
    from appliance.replay import replay  # noqa: PLC0415

    _refuse_sources(arguments)
    if arguments.security_groups and not arguments.network_interfaces:
        arguments.refuse("--security-groups needs --network-interfaces, to know which of them a client wears")
    inventory, directory = Inventory((), ()), Directory({}, trusting=arguments.trust_names)
    preferences = DEFAULTS
    if arguments.security_groups or arguments.addresses or arguments.preferences:
        from appliance.sources import saved_addresses, saved_inventory, saved_preferences  # noqa: PLC0415

        if arguments.preferences:
            preferred = saved_preferences(arguments.preferences)
            preferences = preferred.preferences
            sys.stderr.writelines(f"discriminat: {fault}\n" for fault in preferred.faults)
        if arguments.addresses:
            directory = Directory(saved_addresses(arguments.addresses), trusting=False)
        if arguments.security_groups:
            inventory = saved_inventory(_source(arguments))
    replay(arguments.captures, inventory, directory, preferences, sys.stdout.buffer)
    return 0


def _suggest(arguments: argparse.Namespace) -> int:
    from appliance.survey import fulfil  # noqa: PLC0415

    _print(fulfil(Order.read(arguments), lambda text: sys.stderr.write(f"discriminat: {text}\n")))
    return 0


def _version(arguments: argparse.Namespace) -> int:
    from appliance.about import about_document, render_about  # noqa: PLC0415

    _print(about_document() if arguments.json else render_about())
    return 0


def _settings_here(user_data: str) -> Settings:
    return parse_settings(_read_config(None), os.environ, user_data)


def _source(arguments: argparse.Namespace) -> "Source":
    """Return where to read from; not every verb reads from AWS."""
    from appliance.sources import Source  # noqa: PLC0415

    return Source(
        arguments.security_groups,
        arguments.network_interfaces,
        arguments.preferences,
        getattr(arguments, "preferences_parameter", ""),
        vpc_id=arguments.vpc_id,
        region=getattr(arguments, "region", ""),
        prefix_lists=tuple(arguments.prefix_list),
        name_lists=tuple(arguments.name_list),
    )


def _refuse_sources(arguments: argparse.Namespace) -> None:
    """Exit for a combination of files that makes no sense."""
    if arguments.network_interfaces and not arguments.security_groups:
        arguments.refuse("--network-interfaces needs --security-groups")
    if getattr(arguments, "prefix_list", None) and not arguments.security_groups:
        arguments.refuse("--prefix-list needs --security-groups: without files, lists are read from AWS")
    if getattr(arguments, "name_list", None) and not arguments.security_groups:
        arguments.refuse("--list needs --security-groups: without files, lists are read from AWS")
    given = vars(arguments)
    files = [given.get(name) for name in ("network_interfaces", "security_groups", "preferences", "addresses")]
    files += given.get("captures", ())
    files += (Path(each.partition("=")[2]) for each in given.get("prefix_list", ()))
    files += (Path(each.rpartition("=")[2]) for each in given.get("name_list", ()))
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
