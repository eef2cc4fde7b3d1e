"""The command line: what each verb prints, where, and with which exit code it ends."""

import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest

from appliance import __version__, cli, probing, sources, trial
from appliance.address import parse_ipv4
from appliance.edge import hosts, system
from appliance.errors import AwsError, BaselineError
from appliance.policy.addresses import Answer
from appliance.selftest.rows import ROWS
from appliance.trial import Findings
from tests import captures

VECTORS = Path(__file__).parent / "vectors/aws"
GROUPS, INTERFACES = str(VECTORS / "groups.json"), str(VECTORS / "interfaces.json")
FAULTY = ("--security-groups", str(VECTORS / "faulty_groups.json"))
SAVED = ("--security-groups", GROUPS, "--network-interfaces", INTERFACES)
ASKED = ("--client", "10.0.1.10", "--port", "443", "--name", "api.example.com")


class Ran(NamedTuple):
    status: int
    out: str
    err: str


class Discriminat:
    """Runs the program inside this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Ran:
        self._monkeypatch.setattr(sys, "argv", ["discriminat", *arguments])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Ran(int(caught.value.code or 0), *self._capsys.readouterr())


@pytest.fixture
def discriminat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Discriminat:
    return Discriminat(monkeypatch, capsys)


# ---- help and usage ----


def test_help_names_the_verbs_people_type(discriminat: Discriminat) -> None:
    """The verb by which `run` starts its workers shows nowhere: neither in the help nor in an error."""
    text = discriminat("--help").out + discriminat("nonsense").err

    assert all(
        verb in text for verb in ("run", "prepare", "prove", "check", "explain", "replay", "selftest", "version")
    )
    assert "worker" not in text


def test_the_worker_s_verb_is_there_all_the_same(discriminat: Discriminat) -> None:
    """`run` starts its workers through a verb that wants a descriptor."""
    ran = discriminat("worker", "zero")

    assert ran.status == 2
    assert "argument descriptor: invalid int value: 'zero'" in ran.err


def test_run_s_help_holds_every_setting(discriminat: Discriminat) -> None:
    """The help is where the settings are described."""
    text = discriminat("run", "--help").out

    assert "[policy]\npoll_interval = 10.0" in text


# ---- version, prepare, prove ----


def test_version_is_there_for_people_and_for_programs(discriminat: Discriminat) -> None:
    """The first line is what --version says; a broken or missing manifest is no failure."""
    text, document = discriminat("version"), discriminat("version", "--json")

    assert text.status == document.status == 0
    assert text.out.splitlines()[0] + "\n" == discriminat("--version").out
    assert json.loads(document.out)["version"] == __version__


@pytest.mark.parametrize("failed", [[], ["net/ipv4/ip_forward: Permission denied"]])
def test_prepare_fails_if_a_setting_could_not_be_set(
    discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, failed: list[str]
) -> None:
    """Then the unit does not start the engine, and all stays closed."""
    monkeypatch.setattr(system, "apply_kernel_settings", lambda memory: failed)

    ran = discriminat("prepare")

    assert ran.status == len(failed)
    assert ran.err.splitlines() == [f"discriminat: error: kernel setting left alone: {each}" for each in failed]


@pytest.mark.parametrize("failure", ["", "no way"])
def test_prove_prints_what_it_found(discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    """In JSON, `passed` and the exit code agree; else a failure is an error with its hint."""
    findings = Findings(failure, "go there" if failure else "", nft_queue=True, isn_reversed=False, seconds=0.5)
    monkeypatch.setattr(trial, "run_trial", lambda: findings)

    text, document = discriminat("prove"), discriminat("prove", "--json")

    assert text.status == document.status == int(bool(failure))
    assert json.loads(document.out)["passed"] is not bool(failure)
    if failure:
        assert text == (1, "", "discriminat: error: no way\ndiscriminat: hint: go there\n")
    else:
        assert text.out.startswith("passed: a listed name got through and another was reset, through the nft queue")


# ---- selftest ----


def test_selftest_lists_its_rows_and_sends_nothing(discriminat: Discriminat) -> None:
    """No socket may be opened here, so none was."""
    ran = discriminat("selftest", "api.example.com", "--list")

    assert (ran.status, ran.err) == (0, "")
    assert len(ran.out.splitlines()) == len(ROWS)
    assert "N5   no name " in ran.out


NO_TARGETS = [
    # arguments                                       complaint
    (["api"], "'api' is a single label"),
    (["203.0.113.10"], "is an address, not a name"),
    (["api.example.com:https"], "'https' is not a port"),
    (["api.example.com:0"], "'0' is not a port"),
    (["api.example.com", "--ssh", "git.example.com:65536"], "'65536' is not a port"),
    ([], "the following arguments are required: HOST[:PORT]"),
]


@pytest.mark.parametrize(("arguments", "complaint"), NO_TARGETS, ids=[" ".join(row[0]) for row in NO_TARGETS])
def test_selftest_wants_names(discriminat: Discriminat, arguments: list[str], complaint: str) -> None:
    """A wrong argument is usage, and nothing is sent."""
    ran = discriminat("selftest", *arguments)

    assert (ran.status, ran.out) == (2, "")
    assert complaint in ran.err


def test_selftest_without_an_honest_connection_is_not_judged(
    discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is neither passed nor failed."""

    def nothing_works(_: object) -> None:
        raise BaselineError("an honest connection does not work", hint="list it")

    monkeypatch.setattr(probing, "run_selftest", nothing_works)

    ran = discriminat("selftest", "api.example.com", "--json")

    assert (ran.status, ran.out) == (3, "")
    assert ran.err.endswith("discriminat: error: an honest connection does not work\ndiscriminat: hint: list it\n")


@pytest.mark.parametrize("verb", ["check", "explain", "selftest"])
def test_help_has_examples_and_exit_codes(discriminat: Discriminat, verb: str) -> None:
    """Each verb's help shows how it is used and how it ends."""
    text = discriminat(verb, "--help").out

    assert f"\n  discriminat {verb} " in text
    assert "exit 1" in text or "exit 0" in text


USAGE = [
    ("no verb", [], "VERB"),
    ("no question", ["explain"], "--client, --port, --name"),
    ("interfaces alone", ["check", "--network-interfaces", INTERFACES], "--network-interfaces needs --security-groups"),
    ("groups alone", ["explain", *ASKED, "--security-groups", GROUPS], "--security-groups needs --network-interfaces"),
    (
        "two files from one stream",
        ["check", "--security-groups", "-", "--network-interfaces", "-"],
        "standard input can be one file only",
    ),
    (
        "three files from one stream",
        ["explain", *ASKED, *SAVED[:3], "-", "--preferences", "-"],
        "standard input can be one file only",
    ),
    (
        "a parameter beside files",
        ["explain", *ASKED, *SAVED, "--preferences-parameter", "P"],
        "give --preferences FILE",
    ),
    (
        "a parameter beside a file",
        ["explain", *ASKED, "--preferences", "p.json", "--preferences-parameter", "P"],
        "give --preferences FILE",
    ),
    ("preferences to check", ["check", "--preferences", "p.json"], "unrecognized arguments: --preferences p.json"),
    ("a port that is none", ["explain", *ASKED, "--port", "https", *SAVED], "'https' is not a port"),
    ("a name that is none", ["explain", *ASKED, "--name", "api", *SAVED], "hint: write the full name"),
    ("an address that is none", ["explain", *ASKED, "--address", "::1", *SAVED], "'::1' is not an IPv4 address"),
    ("a protocol that is none", ["explain", *ASKED, "--protocol", "https", *SAVED], "hint: write tls, ssh, http"),
]


@pytest.mark.parametrize(("arguments", "told"), [row[1:] for row in USAGE], ids=[row[0] for row in USAGE])
def test_usage(discriminat: Discriminat, arguments: list[str], told: str) -> None:
    """What cannot be meant ends with 2, and says why on standard error."""
    ran = discriminat(*arguments)

    assert (ran.status, ran.out) == (2, "")
    assert told in ran.err


# what a verb cannot do without
NEEDED = {"explain": ASKED, "replay": ("capture.pcap",), "selftest": ("api.example.com",)}


@pytest.mark.parametrize("verb", ["run", "prepare", "prove", "check", "explain", "replay", "selftest", "suggest"])
def test_the_usage_that_is_shown_is_the_verbs_own(discriminat: Discriminat, verb: str) -> None:
    """Also for an option that it does not have: the usage of all verbs would name no option at all."""
    ran = discriminat(verb, *NEEDED.get(verb, ()), "--no-such-option")

    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"usage: discriminat {verb} ")
    assert ran.err.endswith(f"discriminat {verb}: error: unrecognized arguments: --no-such-option\n")


# ---- check ----


def test_check_of_good_groups(discriminat: Discriminat) -> None:
    """Nothing to say is a summary and exit code 0."""
    assert discriminat("check", *SAVED) == (0, "3 groups, 6 names, 0 rejected, 0 warnings\n", "")


def test_check_of_faulty_groups(discriminat: Discriminat) -> None:
    """A rejection ends with 1; the findings go to standard output, with the summary last."""
    ran = discriminat("check", *FAULTY)

    assert (ran.status, ran.err) == (1, "")
    assert ran.out.startswith("rejected: sg-0b00000000000001a (typos), tcp/443 0.0.0.0/0\n")
    assert ran.out.endswith("\n5 groups, 16 names, 1 pattern, 12 rejected, 7 warnings\n")


def test_check_knows_what_is_worn_only_from_interfaces(discriminat: Discriminat) -> None:
    """With interfaces there is one warning more: a group that none of them wears."""
    ran = discriminat("check", *FAULTY, "--network-interfaces", str(VECTORS / "faulty_interfaces.json"))

    assert "no network interface wears this group" in ran.out
    assert ran.out.endswith("12 rejected, 8 warnings\n")


def saved_rule(description: object, destination: object = "0.0.0.0/0", **more: object) -> bytes:
    """Return what EC2 says of one group with one rule."""
    ranges = [{"CidrIp": destination, "Description": description}]
    permission = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": ranges, **more}
    group = {"GroupId": "sg-1", "GroupName": "web", "IpPermissionsEgress": [permission]}
    return json.dumps({"SecurityGroups": [group]}).encode()


EXITS = [
    # description, destination, options, exit code
    ("discriminat:tls:a.example.com", "0.0.0.0/0", [], 0),
    ("discriminat:tls:a", "0.0.0.0/0", [], 1),
    ("it's discriminat:tls:a.example.com", "0.0.0.0/0", [], 1),  # AWS would refuse it
    ("discriminat:tls:a.example.com", "0.0.0.0/1", [], 0),  # a warning
    ("discriminat:tls:a.example.com", "0.0.0.0/1", ["--strict"], 1),
    ("discriminat:tls:a.example.com", "0.0.0.0/0", ["--strict"], 0),
    ("discriminat:see-thru:2020-01-31", "0.0.0.0/0", [], 0),  # a warning
]


@pytest.mark.parametrize(("description", "destination", "options", "status"), EXITS)
def test_check_s_exit_code(
    discriminat: Discriminat, description: str, destination: str, options: list[str], status: int
) -> None:
    """Rejections end with 1, warnings with 0 unless --strict; text and JSON alike."""
    octets = saved_rule(description, destination)

    assert discriminat("check", "--security-groups", "-", *options, stdin=octets).status == status
    assert discriminat("check", "--security-groups", "-", *options, "--json", stdin=octets).status == status


def test_check_in_json(discriminat: Discriminat) -> None:
    """JSON is all there is on standard output."""
    document = json.loads(discriminat("check", *FAULTY, "--json").out)

    assert (document["groups"], document["rejected"], document["warnings"]) == (5, 12, 7)
    assert len(document["findings"]) == 19


def test_the_bare_list_is_as_good(discriminat: Discriminat) -> None:
    """What `--query SecurityGroups` leaves of the answer can be read as well."""
    items = json.loads(Path(GROUPS).read_text())["SecurityGroups"]

    assert discriminat("check", "--security-groups", "-", stdin=json.dumps(items).encode()).status == 0


def test_utf_16_is_read(discriminat: Discriminat) -> None:
    """PowerShell's > writes UTF-16 with a byte order mark."""
    octets = Path(GROUPS).read_text().encode("utf-16")

    assert discriminat("check", "--security-groups", "-", stdin=octets).status == 0


def test_one_vpc_of_several(discriminat: Discriminat) -> None:
    """--vpc-id leaves out the groups of other VPCs."""
    other = json.loads(saved_rule("discriminat:tls:a"))["SecurityGroups"][0] | {"VpcId": "vpc-other"}
    both = json.dumps([*json.loads(Path(GROUPS).read_text())["SecurityGroups"], other]).encode()

    assert discriminat("check", "--security-groups", "-", stdin=both).status == 1
    ran = discriminat("check", "--security-groups", "-", "--vpc-id", "vpc-0a1b2c3d4e5f60718", stdin=both)
    assert (ran.status, ran.out) == (0, "3 groups, 6 names, 0 rejected, 0 warnings\n")


def test_names_cannot_steer_the_terminal(discriminat: Discriminat) -> None:
    """Whatever a file holds, only printable characters come out."""
    octets = saved_rule("discriminat:tls:a \x1b[2J \u202e \ud800").replace(b'"web"', b'"\\u001b[31m\\ud800"')
    ran = discriminat("check", "--security-groups", "-", stdin=octets)

    assert ran.status == 1
    assert all(character.isprintable() or character == "\n" for character in ran.out)


# ---- bad files ----

PREFIX = "discriminat: error: standard input"
JSON_HINT = "discriminat: hint: give what `aws ec2 describe-security-groups --output json` prints\n"

BAD_FILES = [
    ("empty", b"", f"{PREFIX}: there is nothing in it\n{JSON_HINT}"),
    ("blank", b" \n", f"{PREFIX}: there is nothing in it\n{JSON_HINT}"),
    ("a table", b"-----\n|Describe|", f"{PREFIX}: it is not JSON: Expecting value"),
    ("cut off", b'{"SecurityGroups": [', f"{PREFIX}: it is not JSON: "),
    ("not text", b"\x80\x81\x82\x83", f"{PREFIX}: it is not JSON: "),
    ("too deep", b"[" * 200_000, f"{PREFIX}: it is not JSON: "),
    ("a number", b"1", f"{PREFIX}: it has no list of SecurityGroups\n{JSON_HINT}"),
    ("null", b"null", f"{PREFIX}: it has no list of SecurityGroups\n{JSON_HINT}"),
    ("another answer", b'{"Vpcs": []}', f"{PREFIX}: it has no list of SecurityGroups\n{JSON_HINT}"),
    ("a list of something", b"[1]", f"{PREFIX}: it has no list of SecurityGroups\n{JSON_HINT}"),
    (
        "the other file",
        b'{"NetworkInterfaces": []}',
        f"{PREFIX} holds NetworkInterfaces, not SecurityGroups\ndiscriminat: hint: was it meant for --network-interf",
    ),
    ("no egress", b'[{"GroupId": "sg-1"}]', f"{PREFIX}: this is not a description of SecurityGroups"),
    ("egress null", b'[{"GroupId": "sg-1", "IpPermissionsEgress": null}]', f"{PREFIX}: this is not a description"),
    ("a text for a rule", b'[{"GroupId": "sg-1", "IpPermissionsEgress": ["x"]}]', f"{PREFIX}: this is not a"),
    ("a description null", saved_rule(None), f"{PREFIX}: a Description of sg-1 is None\n{JSON_HINT}"),
    ("a description number", saved_rule(1), f"{PREFIX}: a Description of sg-1 is 1\n{JSON_HINT}"),
    ("a destination number", saved_rule("", 1), f"{PREFIX}: a destination of sg-1 is 1\n{JSON_HINT}"),
    ("a port in words", saved_rule("", FromPort="https"), f"{PREFIX}: a port of sg-1 is 'https'\n{JSON_HINT}"),
    ("a protocol number", saved_rule("", IpProtocol=6), f"{PREFIX}: IpProtocol of sg-1 is 6\n{JSON_HINT}"),
    ("an id list", b'[{"GroupId": [], "IpPermissionsEgress": []}]', f"{PREFIX}: GroupId is []\n{JSON_HINT}"),
]


@pytest.mark.parametrize(("octets", "told"), [row[1:] for row in BAD_FILES], ids=[row[0] for row in BAD_FILES])
def test_bad_groups(discriminat: Discriminat, octets: bytes, told: str) -> None:
    """A file that is not what it should be ends with 1, one error and one hint."""
    ran = discriminat("check", "--security-groups", "-", stdin=octets)

    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(told)
    assert ran.err.count("\n") == 2


BAD_INTERFACES = [
    ("empty", b"", "there is nothing in it"),
    ("the other file", b'{"SecurityGroups": []}', "holds SecurityGroups, not NetworkInterfaces"),
    ("no id", b'[{"Groups": []}]', "this is not a description of NetworkInterfaces"),
    ("an id number", b'[{"NetworkInterfaceId": 1, "Groups": []}]', "NetworkInterfaceId is 1"),
    (
        "a group list",
        b'[{"NetworkInterfaceId": "eni-1", "Groups": [{"GroupId": ["sg-1"]}]}]',
        "GroupId of eni-1 is ['sg-1']",
    ),
    (
        "an address in words",
        b'[{"NetworkInterfaceId": "eni-1", "Groups": [], "PrivateIpAddress": "ten"}]',
        "this is not a description of NetworkInterfaces",
    ),
]


@pytest.mark.parametrize(
    ("octets", "told"), [row[1:] for row in BAD_INTERFACES], ids=[row[0] for row in BAD_INTERFACES]
)
def test_bad_interfaces(discriminat: Discriminat, octets: bytes, told: str) -> None:
    """The same holds for the other file."""
    ran = discriminat("explain", *ASKED, "--security-groups", GROUPS, "--network-interfaces", "-", stdin=octets)

    assert (ran.status, ran.out) == (1, "")
    assert told in ran.err
    assert ran.err.count("\n") == 2


UNREADABLE = [
    ("missing", lambda folder: folder / "none.json", "No such file or directory"),
    ("a folder", lambda folder: folder, "Is a directory"),
]


@pytest.mark.parametrize(("path_in", "told"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
def test_unreadable_file(discriminat: Discriminat, tmp_path: Path, path_in: Any, told: str) -> None:
    """A file that cannot be opened is named, with the reason."""
    path = path_in(tmp_path)
    ran = discriminat("check", "--security-groups", str(path))

    assert ran.status == 1
    assert ran.err == (
        f"discriminat: error: {path}: {told}\ndiscriminat: hint: --security-groups wants a file to read\n"
    )


# ---- explain ----

EXPLAINED = [
    # question, exit code, first word
    ([], 0, "allowed:"),
    (["--address", "203.0.113.10"], 0, "allowed:"),
    (["--name", "nothing.example.com"], 1, "refused:"),
    (["--name", "partner.example.com", "--address", "203.0.113.10"], 1, "refused:"),
    (["--name", "git.example.com", "--port", "22", "--protocol", "ssh"], 0, "allowed:"),
    (["--client", "10.0.1.211"], 0, "allowed:"),
    (["--client", "10.0.9.9"], 1, "refused:"),
]


@pytest.mark.parametrize(("question", "status", "outcome"), EXPLAINED)
def test_explain(discriminat: Discriminat, question: list[str], status: int, outcome: str) -> None:
    """Allowed ends with 0, refused with 1; the outcome is the first word."""
    ran = discriminat("explain", *ASKED, *question, *SAVED)

    assert (ran.status, ran.out.split()[0], ran.err) == (status, outcome, "")


def test_explain_in_json(discriminat: Discriminat) -> None:
    """JSON is all there is on standard output, and `passes` agrees with the exit code."""
    ran = discriminat("explain", *ASKED, *SAVED, "--json")
    document = json.loads(ran.out)

    assert (ran.status, document["passes"], document["code"]) == (0, True, "name_listed")
    assert document["description"] == "payments: discriminat:tls:api.example.com,files.example.com"


def test_resolve_asks_only_when_told_to(discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --resolve, no name leaves this machine; with it, the addresses are shown."""
    asked = []

    def look_up(name: Any) -> Answer:
        asked.append(str(name))
        return Answer(name, (parse_ipv4("203.0.113.10"),), 60.0)

    monkeypatch.setattr(hosts, "look_up", look_up)

    assert discriminat("explain", *ASKED, *SAVED).status == 0
    assert asked == []
    ran = discriminat("explain", *ASKED, *SAVED, "--resolve")
    assert asked == ["api.example.com"]
    assert "this machine's resolver gives 203.0.113.10 for api.example.com" in ran.out
    assert discriminat("explain", *ASKED, *SAVED, "--resolve", "--address", "203.0.113.99").status == 1


OPEN = '{"%default": {"see_thru": "9999-12-31"}}'


@pytest.mark.parametrize("text", [OPEN, json.dumps({"Parameter": {"Name": "P", "Type": "String", "Value": OPEN}})])
def test_preferences_of_a_file(discriminat: Discriminat, text: str) -> None:
    """The text of the parameter, or SSM's answer: see-thru for all lets pass what the rules refuse."""
    question = ("explain", *ASKED, "--name", "nothing.example.com", *SAVED)
    assert discriminat(*question).status == 1

    ran = discriminat(*question, "--preferences", "-", stdin=text.encode())

    assert ran.status == 0
    assert "  preferred by standard input\n" in ran.out
    assert "until 9999-12-31" in ran.out


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b" \n", "there is nothing in it"),
        (b"\xff\xfe\x00", "it is not text"),
        (b'{"Parameter": {"Name": "P"}}', "its Parameter has no Value"),
        (b'{"Parameter": "P"}', "its Parameter has no Value"),
        (b'{"Parameter": {"Value": 1}}', "its Parameter has no Value"),
    ],
)
def test_bad_preferences(discriminat: Discriminat, octets: bytes, told: str) -> None:
    """A file that holds no preferences ends with 1, and a hint."""
    ran = discriminat("explain", *ASKED, *SAVED, "--preferences", "-", stdin=octets)

    assert (ran.status, ran.out) == (1, "")
    assert f"standard input: {told}" in ran.err
    assert "give what `aws ssm get-parameter --output json` prints" in ran.err


def test_preferences_with_a_mistake_are_explained_as_the_appliance_takes_them(discriminat: Discriminat) -> None:
    """What is wrong counts as its default here, and is said."""
    ran = discriminat("explain", *ASKED, *SAVED, "--preferences", "-", stdin=b'{"see_thru": "9999-12-31"}')

    assert ran.status == 0
    assert "note      preferences: there is no %default" in ran.out


def test_addresses_mean_something_within_one_vpc(discriminat: Discriminat) -> None:
    """Interfaces of two VPCs are refused until one is chosen: both may have the client's address."""
    interfaces = json.loads(Path(INTERFACES).read_text())["NetworkInterfaces"]
    twin = interfaces[0] | {"VpcId": "vpc-other", "Groups": [], "NetworkInterfaceId": "eni-other"}
    octets = json.dumps([*interfaces, twin]).encode()
    files = ("--security-groups", GROUPS, "--network-interfaces", "-")

    ran = discriminat("explain", *ASKED, *files, stdin=octets)
    assert ran.status == 1
    assert ran.err == (
        "discriminat: error: standard input holds 2 VPCs: vpc-0a1b2c3d4e5f60718, vpc-other\n"
        "discriminat: hint: choose the client's with --vpc-id\n"
    )
    assert discriminat("explain", *ASKED, *files, "--vpc-id", "vpc-0a1b2c3d4e5f60718", stdin=octets).status == 0
    assert discriminat("explain", *ASKED, *files, "--vpc-id", "vpc-other", stdin=octets).status == 1


# ---- live AWS ----


@pytest.fixture
def vpc_id(aws_in_memory: None) -> str:
    """A VPC in memory, with one annotated group on 10.0.0.10."""
    ec2 = boto3.client("ec2", region_name="eu-west-1")
    vpc = str(ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(VpcId=vpc, GroupName="web", Description="web")["GroupId"]
    ranges = [{"CidrIp": "0.0.0.0/0", "Description": "discriminat:tls:api.example.com,x"}]
    permission = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": ranges}
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[permission])
    ec2.create_network_interface(SubnetId=subnet, Groups=[group], PrivateIpAddress="10.0.0.10")
    return vpc


def test_live_aws(discriminat: Discriminat, vpc_id: str) -> None:
    """Without files, AWS is read: the VPC's groups for `check`, its interfaces too for `explain`."""
    where = ("--vpc-id", vpc_id, "--region", "eu-west-1")

    checked = discriminat("check", *where)
    assert checked.status == 1
    assert "'x' is a single label" in checked.out
    assert discriminat("explain", *ASKED, "--client", "10.0.0.10", *where).status == 0
    assert discriminat("explain", *ASKED, "--client", "10.0.0.11", *where).status == 1


def test_the_box_knows_where_it_is(discriminat: Discriminat, vpc_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an instance, VPC and region come from the metadata service."""

    class Identity:
        def __init__(self) -> None:
            self.region, self.vpc_id = "eu-west-1", vpc_id

        def identity(self) -> "Identity":
            return self

        def user_data(self) -> str:
            return user_data

    user_data = ""
    monkeypatch.setattr(sources, "Imds", Identity)
    question = ("explain", *ASKED, "--client", "10.0.0.10")

    ran = discriminat(*question)
    assert ran.status == 0
    assert "  preferred by the settings, which name no parameter\n" in ran.out
    user_data = "# Settings of discriminat\n[tls]\nech = true\n"
    assert 'ech: "allow"' in discriminat(*question).out
    user_data = '# Settings of discriminat\n[preferences]\nparameter = "P"\n[tls]\nech = true\n'
    ran = discriminat(*question)
    assert "  preferred by SSM parameter P\n" in ran.out
    assert "SSM parameter P does not exist, and the safe defaults are in force" in ran.out
    monkeypatch.setenv("DISCRIMINAT_AWS_USER_DATA", "false")
    assert "  preferred by the settings, which name no parameter\n" in discriminat(*question).out


def test_preferences_are_read_as_the_appliance_reads_them(
    discriminat: Discriminat, vpc_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the parameter that the settings of this machine name, or the command line, or a file instead."""
    boto3.client("ssm", region_name="eu-west-1").put_parameter(Name="P", Value=OPEN, Type="String")
    question = ("explain", *ASKED, "--client", "10.0.0.10", "--name", "nothing.example.com")
    question = (*question, "--vpc-id", vpc_id, "--region", "eu-west-1")

    ran = discriminat(*question)
    assert ran.status == 1
    assert "  preferred nobody was asked" in ran.out
    assert discriminat(*question, "--preferences-parameter", "P").status == 0
    monkeypatch.setenv("DISCRIMINAT_PREFERENCES_PARAMETER", "P")
    assert discriminat(*question).status == 0
    assert discriminat(*question, "--preferences", "-", stdin=b'{"%default": {}}').status == 1


def test_elsewhere_one_must_say_where(discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a metadata service, the error names what is missing and the ways out."""

    class Nowhere:
        def identity(self) -> None:
            raise AwsError("the metadata service is not there")

    monkeypatch.setattr(sources, "Imds", Nowhere)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    ran = discriminat("check")

    assert (ran.status, ran.out) == (1, "")
    assert ran.err == (
        "discriminat: error: --vpc-id: not given, and there is no asking the metadata service"
        " (the metadata service is not there)\n"
        "discriminat: hint: give both, or files with --security-groups and --network-interfaces\n"
    )


def test_a_region_that_is_none(discriminat: Discriminat, vpc_id: str) -> None:
    """botocore's own complaints are told as ours, without a traceback."""
    ran = discriminat("check", "--vpc-id", vpc_id, "--region", "eu west")

    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("discriminat: error: no client for AWS: ")
    assert "hint: look at --region" in ran.err


# ---- run ----

SETTINGS = [
    ("missing", None, "No such file or directory", "name a settings file with --config"),
    ("not text", b"\xff\xfe", "it is not text", "name a settings file with --config"),
    ("unknown", b"[polcy]\n", "unknown section [polcy]", "did you mean [policy]?"),
    ("out of range", b"[health]\nport = 0\n", "[health] port is 0", "it must be 1 to 65535"),
]


@pytest.mark.parametrize(("octets", "told", "hint"), [row[1:] for row in SETTINGS], ids=[row[0] for row in SETTINGS])
def test_run_refuses_bad_settings(
    discriminat: Discriminat, tmp_path: Path, octets: bytes | None, told: str, hint: str
) -> None:
    """`run` ends with 1 before it touches anything if a setting is wrong."""
    path = tmp_path / "discriminat.toml"
    if octets is not None:
        path.write_bytes(octets)
    ran = discriminat("run", "--config", str(path))

    assert (ran.status, ran.out) == (1, "")
    assert f"{told}\n" in ran.err
    assert ran.err.endswith(f"discriminat: hint: {hint}\n")


# ---- replay ----


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "flows.pcapng"
    path.write_bytes(captures.pcapng(captures.framed(captures.tls_flow() + captures.ssh_flow())))
    return path


class BinaryOut(io.StringIO):
    """Standard output as text; what the verb writes in octets is kept apart."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self.buffer = io.BytesIO()


def events_of(discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: bytes = b""):
    """Return what `replay` ends with, and the events it writes."""
    out = BinaryOut()
    monkeypatch.setattr(sys, "stdout", out)
    ran = discriminat("replay", *arguments, stdin=stdin)
    return ran, [json.loads(line) for line in out.buffer.getvalue().splitlines()]


def test_replay_without_policy_says_what_a_capture_holds(
    discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, capture: Path
) -> None:
    """A line of JSON for each flow, with the log's fields; the exit code tells that all was read."""
    ran, events = events_of(discriminat, monkeypatch, str(capture))

    assert (ran.status, ran.err) == (0, "")
    assert [(event["dhost"], event["proto"], event["proto_v"], event["code"]) for event in events] == [
        ("api.example.com", "tls", "TLS 1.3", "client_unknown"),
        ("203.0.113.10", "ssh", "2.0", "client_unknown"),
    ]
    assert {event["time"][:10] for event in events} == {"2027-01-15"}


@pytest.mark.parametrize(
    ("given", "code"),
    [((), "name_unresolved"), (("--trust-names",), "name_listed"), (("--addresses", "-"), "name_listed")],
)
def test_replay_with_policy_decides(
    discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, capture: Path, given: tuple[str, ...], code: str
) -> None:
    """Saved groups and interfaces are the policy; a file or the capture itself stands in for DNS."""
    stdin = b'{"api.example.com": ["203.0.113.10"]}'

    ran, events = events_of(discriminat, monkeypatch, *SAVED, *given, str(capture), stdin=stdin)

    assert (ran.status, ran.err) == (0, "")
    assert (events[0]["dhost"], events[0]["code"]) == ("api.example.com", code)


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ('{"%default": {}}', "port_not_listed", ""),
        ('{"%default": {"x509_crls": "allow"}}', "crl_listed", ""),
        (
            '{"%default": {"x509_crls": "allow", "ech": "yes"}}',
            "crl_listed",
            'discriminat: preferences: ech "yes" is not',
        ),
    ],
)
def test_replay_goes_by_preferences(  # noqa: PLR0917 -- fixtures
    discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, code: str, told: str
) -> None:
    """What is wrong in them is told beside the events."""
    wire = captures.Wire(server_port=80).handshake()
    wire.say(0, b"GET /a.crl HTTP/1.1\r\nHost: crl3.digicert.com\r\n\r\n")
    capture = tmp_path / "crl.pcap"
    capture.write_bytes(captures.pcap(captures.framed(wire.packets)))
    arguments = (*SAVED, "--trust-names", "--preferences", "-", str(capture))

    ran, events = events_of(discriminat, monkeypatch, *arguments, stdin=text.encode())

    assert (ran.status, events[0]["code"]) == (0, code)
    assert told in ran.err
    assert bool(told) == bool(ran.err)


@pytest.mark.parametrize(("server", "code"), [("10.0.2.21", "name_listed"), ("10.0.2.20", "destination_private")])
def test_replay_leaves_closed_what_is_the_vpcs_own(
    discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str, code: str
) -> None:
    """Whatever private destinations the preferences open: it does not route to itself through the appliance."""
    capture = tmp_path / "private.pcap"
    capture.write_bytes(captures.pcap(captures.framed(captures.tls_flow(server=parse_ipv4(server)))))
    opened = b'{"%default": {"private_destinations": ["10.0.0.0/8"]}}'
    arguments = (*SAVED, "--trust-names", "--preferences", "-", str(capture))

    _, events = events_of(discriminat, monkeypatch, *arguments, stdin=opened)

    assert events[0]["code"] == code


@pytest.mark.parametrize(
    ("exposure", "code"), [("prohibit_public_suffix", "pattern_listed"), ("prohibit_asterisk", "name_not_listed")]
)
def test_replay_judges_patterns_by_preferences(  # noqa: PLR0917 -- fixtures
    discriminat: Discriminat,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capture: Path,
    exposure: str,
    code: str,
) -> None:
    """Those that may count do."""
    groups = tmp_path / "groups.json"
    groups.write_text(Path(GROUPS).read_text().replace("tls:api.example.com", "tls:*.example.com"))
    arguments = ("--security-groups", str(groups), "--network-interfaces", INTERFACES, "--trust-names")
    preferred = json.dumps({"%default": {"wildcard_exposure": exposure}}).encode()

    _, events = events_of(discriminat, monkeypatch, *arguments, "--preferences", "-", str(capture), stdin=preferred)

    assert events[0]["code"] == code


def test_replay_merges_captures_by_time(
    discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The halves of a capture, in any order, are one capture."""
    frames = captures.framed(captures.tls_flow("other.example.com", size=60))
    late = tmp_path / "late.pcap"
    late.write_bytes(captures.pcap(frames[5:]))

    ran, events = events_of(discriminat, monkeypatch, str(late), "-", stdin=captures.pcap(frames[:5]))

    assert (ran.status, [event["dhost"] for event in events]) == (0, ["other.example.com"])


def test_replay_of_a_cut_capture_tells_both(
    discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, capture: Path
) -> None:
    """What stands before the cut is played; then the cut is an error."""
    capture.write_bytes(capture.read_bytes()[:-30])

    ran, events = events_of(discriminat, monkeypatch, str(capture))

    assert (ran.status, len(events)) == (1, 2)
    assert ran.err.startswith(f"discriminat: error: {capture}: it ends in the middle of packet ")
    assert "discriminat: hint: it was cut" in ran.err


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"", "there is nothing in it"),
        (b"hello, world", "it is neither pcap nor pcapng: it begins with 68 65 6c 6c"),
        (
            captures.pcap(captures.framed(captures.tls_flow()), 105),
            "its frames are of link type 105, which cannot be read",
        ),
    ],
)
def test_replay_refuses_what_it_cannot_read(
    discriminat: Discriminat, monkeypatch: pytest.MonkeyPatch, capture: Path, octets: bytes, message: str
) -> None:
    """Other files and other links end in an error that says what to do."""
    capture.write_bytes(octets)

    ran, events = events_of(discriminat, monkeypatch, str(capture))

    assert (ran.status, events) == (1, [])
    assert f"discriminat: error: {capture}: {message}\ndiscriminat: hint: " in ran.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("nowhere.pcap",), 1, "nowhere.pcap: No such file or directory"),
        ((str(VECTORS),), 1, "Is a directory"),
        (("--security-groups", GROUPS, "x"), 2, "--security-groups needs --network-interfaces"),
        (("--network-interfaces", INTERFACES, "x"), 2, "--network-interfaces needs --security-groups"),
        (("--addresses", "x", "--trust-names", "x"), 2, "not allowed with argument"),
        (("--addresses", GROUPS, "x"), 1, "the addresses of 'SecurityGroups' are no list of texts"),
        (("--addresses", "-", "-"), 2, "standard input can be one file only"),
        ((), 2, "the following arguments are required: CAPTURE"),
    ],
)
def test_replay_refuses_what_makes_no_sense(
    discriminat: Discriminat, arguments: tuple[str, ...], status: int, message: str
) -> None:
    """Mistakes on the command line and files that are not there are told before anything is played."""
    ran = discriminat("replay", *arguments)

    assert (ran.status, ran.out) == (status, "")
    assert message in ran.err
