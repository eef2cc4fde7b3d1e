"""The catalogue of attacks is whole, and every row of it is proved by tests that are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.reason import Reason
from tests.attacks import FAMILIES, ROWS
from tests.attacks.row import Row

ROOT = Path(__file__).parents[1]
LAST = {"N": 17, "T": 14, "P": 19, "D": 14, "X": 13, "H": 9}
MARK = re.compile(r"\b[NTPDXH]\d{1,2}\b")

# Refusals of what is no attack, but not listed, or not known yet.
ORDINARY = {
    Reason.POLICY_NOT_LOADED,
    Reason.CLIENT_UNKNOWN,
    Reason.CLIENT_NOT_ANNOTATED,
    Reason.DESTINATION_NOT_IN_RULE,
    Reason.SERVER_REFUSED,
    Reason.SERVER_TIMEOUT,
    Reason.IPV6,
    Reason.MALFORMED_PACKET,
    Reason.INTERNAL_ERROR,
}
ALLOWING = {
    *(Reason.NAME_LISTED, Reason.PATTERN_LISTED, Reason.ADDRESS_LISTED, Reason.CRL_LISTED),
    *(Reason.OCSP_LISTED, Reason.SERVER_AGREED, Reason.SEE_THRU),
}


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """What pytest finds, with and without parameters."""
    files = sorted({test.partition("::")[0] for row in ROWS for test in (*row.unit, *row.story)})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    whole = {line for line in done.stdout.splitlines() if "::" in line}
    return whole | {test.partition("[")[0] for test in whole}


def test_no_row_is_missing() -> None:
    """Each family is numbered from 1, without a gap."""
    assert [row.mark for row in ROWS] == [
        f"{family}{number}" for family, last in LAST.items() for number in range(1, last + 1)
    ]
    assert len(FAMILIES) == len(LAST)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mark)
@pytest.mark.subprocesses
def test_every_row_has_its_tests(row: Row, collected: set[str]) -> None:
    """A test of the defence alone and a story in the lab, or the reason why there cannot be any."""
    assert row.attack
    assert row.defence
    assert {*row.unit, *row.story} <= collected
    if row.unseen:
        assert not row.codes
    else:
        assert row.unit
        assert bool(row.story) != bool(row.no_story)
    assert all(test.startswith(("tests/lab/", "tests/image/boot/")) for test in row.story)
    assert not any(test.startswith("tests/lab/") for test in row.unit)


def test_every_refusal_is_of_some_row_or_ordinary() -> None:
    """No code is without a meaning in the catalogue."""
    told = {code for row in ROWS for code in row.codes}

    assert told.isdisjoint(ALLOWING)
    assert told | ORDINARY | ALLOWING == set(Reason)


def test_marks_beside_codes_are_of_their_rows() -> None:
    """The comment behind a code names rows that name the code."""
    rows = {row.mark: row for row in ROWS}
    for line in (ROOT / "appliance/reason.py").read_text().splitlines():
        code, _, comment = line.partition("#")
        value = re.search(r'= "(\w+)"', code)
        if value is not None:
            for mark in MARK.findall(comment):
                assert Reason(value[1]) in rows[mark].codes, f"{value[1]}: {mark}"


def test_marks_in_the_code_are_of_the_table() -> None:
    """A mark in a comment leads somewhere."""
    marks = {row.mark for row in ROWS}
    for path in (ROOT / "appliance").rglob("*.py"):
        comments = re.findall(r"\(([^()]*)\)", path.read_text())
        found = {
            mark
            for comment in comments
            if re.fullmatch(r"(?:\w+(?:\.md)?,? (?:and )?)*[NTPDXH]\d+", comment)
            for mark in MARK.findall(comment)
        }
        assert found <= marks, path


def test_what_cannot_be_seen_is_told() -> None:
    """SECURITY.md lists each such row under what still works."""
    text = (ROOT / "SECURITY.md").read_text()
    rest = text.partition("## What still works against it")[2]

    assert {row.mark for row in ROWS if row.unseen} <= set(MARK.findall(rest))
