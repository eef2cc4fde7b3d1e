"""What the documents say is so: verbs, targets, links, sizes and sample log lines."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.edge.journal import render
from appliance.event import CONFIG_FIELDS, FLOW_FIELDS
from appliance.reason import REASON_TEXT, Reason
from appliance.selftest.findings import Findings, render_findings
from appliance.selftest.judging import Outcome, Result
from appliance.selftest.rows import ROWS
from image.promises import PROMISES
from tests.readme import GENERATED, OVERVIEW, SCHEMA, fill, render_schema
from tests.sightings import line

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RUNBOOK = (ROOT / "appliance/RUNBOOK.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
DOCUMENTS = [
    path
    for folder in (".", "appliance", "image", "terraform", "terraform/modules/*")
    for path in sorted(ROOT.glob(f"{folder}/*.md"))
]
ONE_PAGE = 90  # lines

TARGETS = set(re.findall(r"^([a-z-]+):.* ## ", MAKEFILE, re.MULTILINE))
VERBS = {"check", "explain", "prepare", "prove", "replay", "run", "selftest", "suggest", "version"}


def discriminat(*arguments: str, status: int = 0) -> str:
    """Return what the program prints, after it has exited with this status."""
    command = [sys.executable, "-m", "appliance", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (status, "")
    return done.stdout


def test_the_command_is_the_program() -> None:
    """Installing the package brings the command `discriminat`."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    assert scripts == {"discriminat": "appliance.cli:main"}


@pytest.mark.subprocesses
def test_help_names_every_verb() -> None:
    """`discriminat --help` lists the verbs."""
    text = discriminat("--help")

    assert {verb for verb in VERBS if re.search(rf"^ +{verb} +\S", text, re.MULTILINE)} == VERBS


@pytest.mark.subprocesses
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb: str) -> None:
    """`discriminat VERB --help` says how it is called and what it does."""
    text = discriminat(verb, "--help")

    assert text.startswith(f"usage: discriminat {verb}")
    assert len(text.splitlines()) > 4


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_readme_shows_every_verb(verb: str) -> None:
    """README shows each verb in use."""
    assert f"discriminat {verb}" in README


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_targets_and_verbs_in_documents_exist(document: Path) -> None:
    """Whatever a document tells to type is there to be typed."""
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", document.read_text(), re.DOTALL))

    assert set(re.findall(r"(?:^|`|\$ )make ([a-z-]+)", code, re.MULTILINE)) <= TARGETS
    assert set(re.findall(r"(?:^|`|\$ )discriminat ([a-z]+)(?![a-z=])", code, re.MULTILINE)) <= VERBS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    """Each relative link names a file of the repository."""
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", document.read_text())

    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_a_page_at_most(name: str) -> None:
    """The documents beside README are read because they are short, tables apart that come from the code."""
    written = re.sub(r"<!-- \w+:.*?<!-- end -->", "", (ROOT / name).read_text(), flags=re.DOTALL)

    assert len(written.splitlines()) <= ONE_PAGE


LOG_LINES = [line for line in README.splitlines() if line.startswith('{"time"')]


def test_log_lines_in_readme_show_both_outcomes() -> None:
    """README shows an allowed and a disallowed flow."""
    assert [json.loads(line)["outcome"] for line in LOG_LINES] == ["allowed", "disallowed"]


@pytest.mark.parametrize("line", LOG_LINES, ids=["allowed", "disallowed"])
def test_log_lines_in_readme_are_what_the_program_writes(line: str) -> None:
    """The fields, their order, the text of the reason and every octet of the line are those of a real one."""
    event = json.loads(line)
    when = datetime.fromisoformat(event.pop("time")).timestamp()

    assert [field for field in FLOW_FIELDS if field in event] == list(event)
    assert event["reason"].startswith(REASON_TEXT[Reason(event["code"])])
    assert render(event, when).decode() == f"{line}\n"


@pytest.mark.parametrize("document", GENERATED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_generated_parts_of_documents_are_up_to_date(document: Path) -> None:
    """Tables of reasons, settings and promises are those of the code: python -m tests.readme writes them."""
    text = document.read_text()

    assert fill(text, GENERATED[document]) == text


def test_every_check_stands_in_the_table_of_promises() -> None:
    """README's table leaves out no check, and names none twice."""
    named = [check for _, checks, _ in OVERVIEW for check in checks]

    assert sorted(named) == sorted(promise.id for promise in PROMISES)


@pytest.mark.parametrize("test", [test for _, _, tests in OVERVIEW for test in tests])
def test_tests_in_the_table_of_promises_are_there(test: str) -> None:
    """README's table names functions that can be run."""
    path, _, name = test.partition("::")

    assert f"def {name}(" in (ROOT / path).read_text()


def test_the_schema_of_the_preferences_is_up_to_date() -> None:
    """The file that is shipped is that of the code: python -m tests.readme writes it."""
    assert SCHEMA.read_text() == render_schema()


def test_readme_names_every_field_of_the_logs() -> None:
    """Who queries the logs finds each field in README."""
    assert [field for field in ("time", *FLOW_FIELDS, *CONFIG_FIELDS) if f"`{field}`" not in README] == []


def test_the_runbook_names_every_field_of_healthz() -> None:
    """Who looks at /healthz at night finds each field in the runbook."""
    keys = set()
    for module, function in (
        ("app", "report"),
        ("edge/name_lists", "report"),
        ("preference_reader", "report"),
        ("vitals", "document"),
    ):
        tree = ast.parse((ROOT / f"appliance/{module}.py").read_text())
        found = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function)
        keys |= {key.value for node in ast.walk(found) if isinstance(node, ast.Dict) for key in node.keys}

    assert {key for key in keys if f"`{key}`" not in RUNBOOK} == set()
    assert keys >= {"status", "clients", "queue_drops"}


@pytest.mark.subprocesses
def test_check_prints_what_readme_shows(tmp_path: Path) -> None:
    """The sample output of `discriminat check` is its output."""
    rules = [
        (443, "0.0.0.0/0", "discriminat:tsl:api.example.com"),
        (443, "0.0.0.0/1", "discriminat:tls:a.example.com, b.example.com"),
        (8443, "0.0.0.0/1", "discriminat:tls:files.example.com"),
    ]
    permissions = [
        {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr, "Description": text}]}
        for port, cidr, text in rules
    ]
    group = {"GroupId": "sg-0a1b2c3d4e5f60718", "GroupName": "web", "IpPermissionsEgress": permissions}
    saved = tmp_path / "groups.json"
    saved.write_text(json.dumps({"SecurityGroups": [group]}))

    shown = re.search(r"\$ discriminat check --security-groups groups.json\n(.*?)```", README, re.DOTALL)

    assert shown is not None
    assert discriminat("check", "--security-groups", str(saved), status=1) == shown[1]


def test_readme_shows_lines_of_the_selftest() -> None:
    """Rows, words and codes of its sample are in the columns where the program prints them; times are a sample's."""
    sample = re.search(r"appliance selftest api.example.com.*?\n\n(.*?)\.\.\.\n(.*?)```", README, re.DOTALL)
    assert sample is not None
    told = [Result(row, Outcome.ALLOWED if row.must_pass else Outcome.STOPPED, "") for row in ROWS]
    printed = render_findings(Findings("api.example.com", 443, "203.0.113.10", 0.0117, tuple(told))).splitlines()

    lines = sample[1].splitlines()
    assert len(lines) == 4
    assert [line for line in lines if not any(real and line.startswith(real) for real in printed)] == []
    assert sample[2] == f"passed: {len(ROWS) - 7} stopped, 6 allowed, 1 not tried\n"


@pytest.mark.subprocesses
def test_suggest_prints_what_readme_shows(tmp_path: Path) -> None:
    """The sample output of `discriminat suggest` is its output."""
    lines = [
        line("api.example.com", at=datetime(2027, 1, 5, 9, 12, tzinfo=UTC)),
        line("api.example.com", at=datetime(2027, 1, 5, 11, 40, tzinfo=UTC)),
        line("files.example.com", 8443, at=datetime(2027, 1, 5, 9, 13, tzinfo=UTC)),
        line("", 22, protocol="ssh", version="2.0", at=datetime(2027, 1, 5, 9, 14, tzinfo=UTC)),
    ]
    saved = tmp_path / "flow.jsonl"
    saved.write_text("\n".join(lines))

    shown = re.search(r"\$ discriminat suggest flow.jsonl\n(.*?)```", README, re.DOTALL)

    assert shown is not None
    assert discriminat("suggest", str(saved)) == shown[1]


def test_readme_is_read_because_it_is_short() -> None:
    """README is about 300 lines, its first screen about 50."""
    lines = README.splitlines()

    assert len(lines) <= 330
    assert lines.index("## Numbers") <= 55


def test_make_help_is_the_default_and_lists_every_target() -> None:
    """Typing `make` prints the targets."""
    phony = set(re.findall(r"^\.PHONY: ([a-z-]+)$", MAKEFILE, re.MULTILINE))

    assert re.search(r"^([a-z]+):", MAKEFILE, re.MULTILINE)[1] == "help"
    assert phony - TARGETS == {"packages", "plugins", "clients"}
