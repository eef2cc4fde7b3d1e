"""`discriminat suggest`: where it reads from, what it prints, and how it ends."""

import io
import itertools
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.stub import Stubber

from appliance import cli, survey
from appliance.edge.log_reader import ATTEMPTS, PATTERN, LogReader, connect
from appliance.errors import AwsError
from appliance.reason import Reason
from appliance.sighting import LINE_MAX
from tests.sightings import GROUP, MORNING, OTHER_GROUP, line

LOG = "\n".join([line(), line(), line("files.example.com", 8443), line(gid=OTHER_GROUP), "garbage"]).encode()
MILLIS = int(MORNING.timestamp() * 1000)


class Ran(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def suggest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the verb inside this process."""

    def run(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "argv", ["discriminat", "suggest", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Ran(int(caught.value.code or 0), *capsys.readouterr())

    return run


Suggest = Callable[..., Ran]


# ---- files ----


def test_files_and_standard_input_are_read(suggest: Suggest, tmp_path: Path) -> None:
    """All of them, line by line; one without an end counts."""
    (tmp_path / "flow.jsonl").write_bytes(LOG)
    ran = suggest(str(tmp_path / "flow.jsonl"), "-", "--format", "json", stdin=LOG + b"\r\n\n")
    document = json.loads(ran.out)

    assert (ran.status, ran.err) == (0, "")
    assert (document["lines"], document["unread"], document["flows"]) == (10, 2, 8)
    assert [group["gid"] for group in document["groups"]] == [GROUP, OTHER_GROUP]
    assert document["groups"][0]["names"][0]["count"] == 4


def test_a_line_without_end_costs_no_memory(suggest: Suggest) -> None:
    """It is one line that cannot be read, and the next one can."""
    log = b"x" * 1_000_000 + b"\n" + line().encode()
    ran = suggest("-", "--format", "json", stdin=log)

    assert (json.loads(ran.out)["unread"], json.loads(ran.out)["names"]) == (1, 1)
    assert [len(each) for each in survey._lines(Sipped(log))] == [LINE_MAX + 2, len(line())]


class Sipped(io.BytesIO):
    """A file that may be read in sips alone."""

    def readline(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert 0 < size <= LINE_MAX + 2
        return super().readline(size)


@pytest.mark.parametrize("form", ["table", "annotations", "terraform", "json"])
def test_every_form_has_the_names(suggest: Suggest, form: str) -> None:
    """And a page as well, if that was asked for."""
    ran = suggest("-", "--format", form, stdin=LOG)

    assert (ran.status, ran.err) == (0, "")
    assert "api.example.com" in ran.out


def test_a_page_is_written_beside(suggest: Suggest, tmp_path: Path) -> None:
    """It is a whole document, and what is printed does not change."""
    ran = suggest("-", "--html", str(tmp_path / "report.html"), stdin=LOG)

    assert ran == suggest("-", stdin=LOG)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_options_narrow_it(suggest: Suggest) -> None:
    """Group, count, and time."""

    def names(*arguments: str) -> int:
        return json.loads(suggest("-", "--format", "json", *arguments, stdin=LOG).out)["names"]

    assert names() == 3
    assert names("--group", OTHER_GROUP) == 1
    assert names("--group", OTHER_GROUP, "--group", GROUP) == 3
    assert names("--min-count", "2") == 1
    assert names("--since", "2027-01-05T09:12:44.317") == 3
    assert names("--since", "2027-01-05T09:12:44.318") == 0
    assert names("--until", "2027-01-05T09:12:44.317") == 0
    assert names("--until", "2027-01-06") == 3


def test_interfaces_tell_the_groups(suggest: Suggest, tmp_path: Path) -> None:
    """As EC2 describes them."""
    saved = tmp_path / "interfaces.json"
    worn = {
        "NetworkInterfaceId": "eni-1",
        "Groups": [{"GroupId": GROUP}],
        "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.10"}],
    }
    saved.write_text(json.dumps({"NetworkInterfaces": [worn]}))
    ran = suggest("-", "--network-interfaces", str(saved), stdin=line(gid="%default").encode())

    assert ran.out.startswith(f"{GROUP}\n")


def test_groups_tell_their_names_and_masks(suggest: Suggest, tmp_path: Path) -> None:
    """As EC2 describes them."""
    saved = tmp_path / "groups.json"
    taken = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    group = {"GroupId": GROUP, "GroupName": "web", "IpPermissionsEgress": [taken]}
    saved.write_text(json.dumps({"SecurityGroups": [group]}))
    ran = suggest("-", "--security-groups", str(saved), "--format", "annotations", stdin=line().encode())

    assert ran.out.startswith(f"{GROUP} (web)\n  tcp/443 0.0.0.0/1  discriminat:tls:api.example.com\n")


def test_wildcards_are_for_who_asks(suggest: Suggest) -> None:
    """With the Public Suffix List of this machine; without the option nothing changes."""
    log = "\n".join(line(f"a{index}.cdn.example.com") for index in range(4) for _ in range(3)).encode()
    asked = json.loads(suggest("-", "--format", "json", "--wildcards", stdin=log).out)
    plain = json.loads(suggest("-", "--format", "json", stdin=log).out)

    (pattern,) = asked["groups"][0]["patterns"]
    assert (pattern["pattern"], pattern["count"], asked["names"]) == ("a+.cdn.example.com", 12, 0)
    assert ("patterns" in plain, "patterns" in plain["groups"][0], plain["names"]) == (False, False, 4)
    for narrow in (("--wildcards-from", "5"), ("--wildcard-exposure", "none")):
        assert json.loads(suggest("-", "--format", "json", "--wildcards", *narrow, stdin=log).out)["patterns"] == 0


def test_a_page_without_a_place_is_refused_before_the_log_is_read(suggest: Suggest) -> None:
    """A long query in vain is not what anybody wants."""
    ran = suggest("/nowhere/flow.jsonl", "--html", "/nowhere-else/report.html")

    assert "/nowhere-else/report.html: No such file or directory" in ran.err


USAGE = [
    # arguments, status, part of what is said
    (["--group", "web"], 2, "is not the id of a Security Group"),
    (["--group", f"{GROUP}\n"], 2, "is not the id of a Security Group"),
    (["--min-count", "0"], 2, "is no count"),
    (["--min-count", "x"], 2, "invalid int value"),
    (["--since", "yesterday"], 2, "is not a time"),
    (["--since", "2027-01-05", "--until", "2027-01-05"], 2, "no time between --since and --until"),
    (["--keep", "com"], 2, "single label"),
    (["--format", "yaml"], 2, "invalid choice"),
    (["-", "--network-interfaces", "-"], 2, "standard input can be one file only"),
    (["/nowhere/flow.jsonl"], 1, "/nowhere/flow.jsonl: No such file or directory"),
    (["-", "--security-groups", "-"], 2, "standard input can be one file only"),
    (["-", "--security-groups", "/nowhere/g.json"], 1, "/nowhere/g.json: No such file or directory"),
    (["-", "--html", "/nowhere/report.html"], 1, "/nowhere/report.html: No such file or directory"),
    (["-", "--html", "/"], 1, "/: Is a directory"),
    (["-", "--html", "-"], 2, "--html: - is read, or is no file"),
    (["/nowhere/flow.jsonl", "-", "--html", "/nowhere/flow.jsonl"], 2, "--html: /nowhere/flow.jsonl is read"),
    (["-", "--wildcards", "--wildcards-from", "1"], 2, "--wildcards-from: 1 names are no family"),
    (["-", "--wildcards", "--wildcard-exposure", "some"], 2, "invalid choice"),
    (["-", "--network-interfaces", "/nowhere/i.json"], 1, "/nowhere/i.json: No such file or directory"),
]


@pytest.mark.parametrize(("arguments", "status", "says"), USAGE, ids=[" ".join(row[0]).strip() for row in USAGE])
def test_mistakes_are_told(suggest: Suggest, arguments: list[str], status: int, says: str) -> None:
    """On standard error, in words, and nothing is printed."""
    ran = suggest(*arguments, *([] if "-" in arguments or status == 1 else ["-"]), stdin=LOG)

    assert (ran.status, ran.out) == (status, "")
    assert says in ran.err


def test_a_page_never_takes_the_place_of_what_was_read(suggest: Suggest, tmp_path: Path) -> None:
    """However its path is spelled."""
    log = tmp_path / "flow.jsonl"
    log.write_bytes(LOG)
    (tmp_path / "link.html").symlink_to(log)
    (tmp_path / "twin.html").hardlink_to(log)
    for page in ("link.html", "twin.html", f"../{tmp_path.name}/flow.jsonl"):
        ran = suggest(str(log), "--html", str(tmp_path / page))

        assert (ran.status, ran.out) == (2, "")
        assert "is read, or is no file" in ran.err
        assert log.read_bytes() == LOG


@pytest.mark.parametrize("stdin", [b"", b"\n\n", b"not a log\n", b"\x00\xff\xfe"])
def test_a_file_that_is_no_flow_log_is_an_error(suggest: Suggest, stdin: bytes) -> None:
    """Rather than an empty allowlist."""
    ran = suggest("-", stdin=stdin)

    assert (ran.status, ran.out) == (1, "")
    assert "standard input: there is no flow event in it" in ran.err


def test_a_log_without_see_thru_is_none(suggest: Suggest) -> None:
    """It has flow events, and nothing to list."""
    ran = suggest("-", stdin=line(reason=Reason.NAME_LISTED, gid=None).encode())

    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("nothing to list")


# ---- CloudWatch ----


@pytest.fixture
def logs(aws_in_memory: None) -> Any:
    client = boto3.client("logs", region_name="eu-west-1")
    client.create_log_group(logGroupName="discrimiNAT")
    client.create_log_stream(logGroupName="discrimiNAT", logStreamName="flow")
    return client


def recent(minutes: int, name: str) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    return {"timestamp": int(at.timestamp() * 1000), "message": line(name, at=at)}


def test_cloudwatch_is_read(suggest: Suggest, logs: Any) -> None:
    """The appliance's own stream, within the time asked for, over more than one page."""
    events = [recent(120 - minute, f"n{minute % 7}.example.com") for minute in range(100)]
    logs.put_log_events(logGroupName="discrimiNAT", logStreamName="flow", logEvents=events)

    everything = json.loads(suggest("--region", "eu-west-1", "--format", "json").out)
    last_hour = json.loads(suggest("--region", "eu-west-1", "--format", "json", "--since", "60m").out)

    assert (everything["flows"], everything["names"]) == (100, 7)
    assert 38 <= last_hour["flows"] <= 40


def test_a_missing_group_is_told(suggest: Suggest, logs: Any) -> None:
    """With where to look."""
    ran = suggest("--region", "eu-west-1", "--log-group", "elsewhere")

    assert (ran.status, ran.out) == (1, "")
    assert "there is no log stream flow in log group elsewhere" in ran.err
    assert "hint: look at --region" in ran.err


def page(*names: str, token: str = "") -> dict[str, Any]:
    events = [{"timestamp": MILLIS + i, "message": line(name)} for i, name in enumerate(names)]
    return {"events": events} | ({"nextToken": token} if token else {})


def asked(token: str = "") -> dict[str, Any]:
    wanted = {
        "logGroupName": "g",
        "logStreamNames": ["s"],
        "filterPattern": PATTERN,
        "startTime": 1,
        "endTime": 2,
    }
    return wanted | ({"nextToken": token} if token else {})


def test_pages_are_followed_even_over_empty_ones(credentials: None) -> None:
    """AWS scans a part of the log for each; only a page without a token is the last."""
    told: list[tuple[int, int]] = []
    client = connect("eu-west-1")
    with Stubber(client) as stub:
        stub.add_response("filter_log_events", page("a.b", token="1"), asked())
        stub.add_response("filter_log_events", page(token="2"), asked("1"))
        stub.add_response("filter_log_events", page("c.d", "e.f"), asked("2"))
        lines = list(LogReader(client, "g", "s").lines(1, 2, lambda *at: told.append(at)))
        stub.assert_no_pending_responses()

    assert lines == [line("a.b"), line("c.d"), line("e.f")]
    assert told == [(1, MILLIS), (1, MILLIS), (3, MILLIS + 1)]


def test_a_circle_ends(credentials: None) -> None:
    """A token that leads to itself is an error, and no loop."""
    client = connect("eu-west-1")
    with Stubber(client) as stub:
        stub.add_response("filter_log_events", page(token="1"), asked())
        stub.add_response("filter_log_events", page(token="1"), asked("1"))
        with pytest.raises(AwsError, match="in circles"):
            list(LogReader(client, "g", "s").lines(1, 2, lambda *_: None))


@pytest.mark.parametrize(
    ("code", "says", "hints"),
    [
        ("AccessDeniedException", "not permitted", "to yourself: the appliance's role does not read logs"),
        ("ResourceNotFoundException", "there is no log stream s in log group g", "--log-group"),
        ("ThrottlingException", "throttled by AWS", "asks logs too often"),
        ("UnrecognizedClientException", "credentials not accepted", "clock"),
        ("InvalidParameterException", "InvalidParameterException: no", "--region"),
    ],
)
def test_a_refusal_is_named(credentials: None, code: str, says: str, hints: str) -> None:
    """For the operator, whose right it is to read logs."""
    client = connect("eu-west-1")
    with Stubber(client) as stub:
        stub.add_client_error("filter_log_events", code, "no")
        with pytest.raises(AwsError) as refused:
            list(LogReader(client, "g", "s").lines(1, 2, lambda *_: None))

    assert says in refused.value.message
    assert hints in refused.value.hint


def test_it_is_patient(credentials: None) -> None:
    """Long queries are throttled, and slow down by themselves."""
    retries = connect("eu-west-1").meta.config.retries

    assert (retries["mode"], retries["total_max_attempts"]) == ("adaptive", ATTEMPTS)


def test_progress_is_told_on_standard_error(suggest: Suggest, logs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every few seconds of a long query; a short one is silent."""
    logs.put_log_events(logGroupName="discrimiNAT", logStreamName="flow", logEvents=[recent(5, "a.example.com")])
    assert suggest("--region", "eu-west-1").err == ""
    ticks = itertools.count(0.0, survey.PROGRESS)
    monkeypatch.setattr(survey.time, "monotonic", lambda: next(ticks))

    ran = suggest("--region", "eu-west-1")

    assert ran.err.startswith("discriminat: reading discrimiNAT/flow: 1 so far, up to 20")
    assert "a.example.com" in ran.out


def test_progress_of_a_file_is_told_as_well(suggest: Suggest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of millions of lines takes a while; a small one is silent."""
    log = tmp_path / "flow.jsonl"
    log.write_text("\n".join([line()] * (2 * survey.STEP + 1)))
    assert suggest(str(log)).err == ""
    ticks = itertools.count(0.0, survey.PROGRESS)
    monkeypatch.setattr(survey.time, "monotonic", lambda: next(ticks))

    ran = suggest(str(log))

    assert ran.err == "".join(f"discriminat: reading {log}: {count} so far\n" for count in ("1,000", "2,000"))
    assert "api.example.com" in ran.out
