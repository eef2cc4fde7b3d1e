"""What the documents say is so: verbs, targets, links, sizes and sample log lines."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
DOCUMENTS = [*sorted(ROOT.glob("*.md")), ROOT / "appliance/DIVERGENCES.md"]
ONE_PAGE = 70  # lines

TARGETS = set(re.findall(r"^([a-z-]+):.* ## ", MAKEFILE, re.MULTILINE))
VERBS = {"run", "check", "explain"}


def discriminat(*arguments: str) -> str:
    """Return what the installed program prints."""
    program = Path(sys.executable).with_name("discriminat")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_targets_and_verbs_in_documents_exist(document: Path) -> None:
    """Whatever a document tells to type is there to be typed."""
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", document.read_text(), re.DOTALL))

    assert set(re.findall(r"\bmake ([a-z-]+)", code)) <= TARGETS
    assert set(re.findall(r"(?:^|`|\$ )discriminat ([a-z]+)", code, re.MULTILINE)) <= VERBS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Each relative link names a file of the repository."""
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", document.read_text())

    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_a_page_at_most(name: str) -> None:
    """The documents beside README are read because they are short."""
    assert len((ROOT / name).read_text().splitlines()) <= ONE_PAGE


def test_log_lines_in_readme_are_events() -> None:
    """README shows an allowed and a disallowed flow, as JSON lines with the time first."""
    lines = [line for line in README.splitlines() if line.startswith('{"time"')]
    events = [json.loads(line) for line in lines]

    assert {"allowed", "disallowed"} <= {event["outcome"] for event in events}
    assert all(next(iter(event)) == "time" for event in events)


def test_make_help_is_the_default_and_lists_every_target() -> None:
    """Typing `make` prints the targets."""
    phony = set(re.findall(r"^\.PHONY: ([a-z-]+)$", MAKEFILE, re.MULTILINE))

    assert re.search(r"^([a-z]+):", MAKEFILE, re.MULTILINE)[1] == "help"
    assert phony - TARGETS == {"packages"}
