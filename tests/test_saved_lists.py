"""`check`, `explain` and `replay` with lists of names: what is given of them, what is said, and what is not known."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import InputError
from appliance.explanation import Explanation
from appliance.policy.inventory import Inventory
from appliance.policy.name_list import NameList, parse_list
from appliance.policy.reference import Reference
from appliance.report import Check
from appliance.sources import Source, check
from tests.test_explain import ask, tcp, vpc

PASSWORD = "hunter2!correct-horse"
REFERENCES = ("@ssm/apps/Acme/allow", "@secret/apps=acme", "@list/central")


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    described = [{"CidrIp": "0.0.0.0/0", "Description": f"discriminat:tls:{','.join(REFERENCES)},own.com"}]
    permission = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": described}
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"SecurityGroups": [{"GroupId": "sg-1", "IpPermissionsEgress": [permission]}]}))
    return path


def given(folder: Path, **texts: str) -> tuple[str, ...]:
    """Return the arguments that give a text for each store's list."""
    arguments = []
    for reference in REFERENCES:
        store = reference[1:].partition("/")[0]
        if store in texts:
            path = folder / f"{store}.txt"
            path.write_text(texts[store])
            arguments.append(f"{reference}={path}")
    return tuple(arguments)


def parameter(value: str, kind: str = "String") -> str:
    return json.dumps({"Parameter": {"Name": "x", "Type": kind, "Value": value}})


def secret(**value: str) -> str:
    return json.dumps({"ARN": "arn:aws:secretsmanager:x", "Name": "x", **value})


def test_check_says_which_lists_it_does_not_know(groups: Path) -> None:
    """As warnings: the appliance knows what is in them."""
    report = check(Source(groups))

    assert (report.rejected, report.warnings) == (0, 3)
    assert {each.check for each in report.findings} == {Check.NAME_LIST_UNKNOWN}
    assert [each.fault.text[slice(*each.fault.span)] for each in report.findings] == list(REFERENCES)
    assert [each.fault.hint for each in report.findings] == [
        f"give it with --list '{each}=FILE'" for each in REFERENCES
    ]


def test_check_reads_lists_as_text_and_as_aws_prints_them(groups: Path, tmp_path: Path) -> None:
    """Their names count, and their faults are told."""
    texts = {
        "ssm": "# mine\na.com\n",
        "secret": secret(SecretString="b.com"),
        "list": parameter("c.com,d", "StringList"),
    }
    report = check(Source(groups, name_lists=given(tmp_path, **texts)))

    assert report.names == 4
    assert [each.fault.message for each in report.findings] == ["@list/central line 1: 'd' is a single label"]


@pytest.mark.parametrize(
    "text",
    [
        secret(SecretString=f'{{"password": "{PASSWORD}"}}'),
        f'{{"password": "{PASSWORD}"}}',
        secret(SecretBinary=PASSWORD),
        secret(SecretString=f"a.com\n{PASSWORD}"),
        f"a.com\n{PASSWORD}",
        f"[{PASSWORD}",
    ],
)
def test_what_a_saved_secret_holds_is_not_repeated(groups: Path, tmp_path: Path, text: str) -> None:
    """It is a rejection with its line, however it was saved."""
    report = check(Source(groups, name_lists=given(tmp_path, secret=text, ssm="a.com", list="b.com")))

    assert report.rejected == 1
    assert PASSWORD not in repr(report)


def test_an_alias_for_a_secret_is_as_secret(groups: Path, tmp_path: Path) -> None:
    """AWS's answer tells what it is."""
    report = check(
        Source(groups, name_lists=given(tmp_path, secret="a.com", ssm="a.com", list=secret(SecretString="x!")))
    )

    assert [each.fault.message for each in report.findings] == ["@list/central line 1: an entry is no name"]


def test_an_encrypted_parameter_is_no_list(groups: Path, tmp_path: Path) -> None:
    """As the appliance has it."""
    lists = given(tmp_path, ssm=parameter(PASSWORD, "SecureString"), secret="a.com", list="a.com")
    (finding,) = check(Source(groups, name_lists=lists)).findings

    assert "grants nothing: it is a SecureString; make it a String" in finding.fault.message
    assert PASSWORD not in repr(finding)


@pytest.mark.parametrize("text", ["@list.txt=a", "@ssm/a:1=list.txt", "ssm/a=list.txt"])
def test_a_list_wants_its_reference(groups: Path, text: str) -> None:
    """With a correction."""
    with pytest.raises(InputError, match="refers to no list") as refused:
        check(Source(groups, name_lists=(text,)))
    assert "--list '@ssm/apps/acme/allow=list.txt'" in refused.value.hint


@pytest.mark.parametrize("text", ["", "list.txt", "@ssm/a", "@ssm/a=", "=x", "@secret/a="])
def test_a_list_wants_a_file(groups: Path, text: str) -> None:
    """With an example."""
    with pytest.raises(InputError, match="is not @REF=FILE") as refused:
        check(Source(groups, name_lists=(text,)))
    assert "--list '@ssm/apps/acme/allow=list.txt'" in refused.value.hint


def test_a_file_may_have_an_equals_sign_and_so_may_a_secret(groups: Path, tmp_path: Path) -> None:
    """A secret's name ends at the last one, everything else at the first."""
    (tmp_path / "a=b").write_text("a.com")
    (tmp_path / "c").write_text("b.com")
    report = check(Source(groups, name_lists=(f"@ssm/apps/acme/allow={tmp_path}/a=b", f"@secret/no=such={tmp_path}/c")))

    assert report.names == 1


def test_check_looks_into_lists(groups: Path, tmp_path: Path) -> None:
    """What it warns of in a description, it warns of there; of a secret without saying what it is."""
    told = "exam?le.com\ndns.google\n*.quad9.net"
    report = check(Source(groups, name_lists=given(tmp_path, ssm=told, secret=told, list="a.com")))

    anybody = "a public suffix: anybody may get a name that it matches"
    assert [(each.check, each.fault.message) for each in report.findings] == [
        ("pattern_wide", f"exam?le.com (@ssm/apps/Acme/allow line 1) reaches com, {anybody}"),
        ("pattern_wide", f"@secret/apps=acme line 1 reaches {anybody}"),
        (
            "resolver_listed",
            "dns.google (@ssm/apps/Acme/allow line 2), dns.quad9.net by *.quad9.net (@ssm/apps/Acme/allow line 3),"
            " @secret/apps=acme line 2 and 1 more answers anybody's questions over TLS",
        ),
    ]


def test_a_file_that_is_no_text_is_refused(groups: Path, tmp_path: Path) -> None:
    """Without any of it."""
    path = tmp_path / "list"
    path.write_bytes(b"\xff" + PASSWORD.encode())
    for name in (path, tmp_path / "none"):
        with pytest.raises(InputError) as refused:
            check(Source(groups, name_lists=(f"@secret/x={name}",)))
        assert PASSWORD not in repr(refused.value) + repr(refused.value.__cause__)


# ---- explain ----


def explained(name: str, *lists: NameList) -> Explanation:
    inventory: Inventory = vpc(web=[tcp("discriminat:tls:own.com,@ssm/a,@secret/b")])
    return ask(replace(inventory, name_lists=lists), name=name)


def listing(reference: str, text: str, trouble: str = "") -> NameList:
    return NameList(Reference.parse(reference), parse_list(text, is_secret="secret" in reference), trouble)


def test_explain_says_which_list_a_name_comes_from() -> None:
    """With its line, and whether that is as it was."""
    lists = listing("@ssm/a", "x.com\napi.example.com"), listing("@secret/b", "\nweb-?.example.com", "throttled")
    first, second = explained("api.example.com", *lists), explained("web-1.example.com", *lists)

    assert first.passes
    assert second.passes
    assert "the name comes from the list @ssm/a, line 2" in first.notes
    stale = ", as it was before it could not be read: throttled"
    assert f"a pattern that matches it comes from the list @secret/b, line 2{stale}" in second.notes
    assert not any("list" in note for note in explained("own.com", *lists).notes)


def test_explain_says_which_lists_it_does_not_know() -> None:
    """Where they may be why."""
    explanation = explained("api.example.com", NameList(Reference.parse("@secret/b"), None, "denied"))

    assert not explanation.passes
    assert "the list @ssm/a is not known here, and may hold the name: give it with --list" in explanation.notes
    assert "the list @secret/b may hold the name, but grants nothing: denied" in explanation.notes
