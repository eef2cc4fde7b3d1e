"""The AWS API and the metadata service of the lab behave as AWS's do, on good days and bad ones."""

import json
import time
from collections.abc import Callable

import botocore.exceptions
import pytest

from tests.lab.lab import Lab
from tests.lab.moto_gaps import Paging
from tests.lab.security_group import egress


def test_metadata_needs_a_token(lab: Lab) -> None:
    """IMDSv2 only: no token, a stranger's token and a proxied request are refused."""
    host = lab.appliance
    url = "http://169.254.169.254/latest"

    def ask(path: str, *options: str, who: Callable[..., object] = host.namespace.run) -> tuple[str, str]:
        done = who("curl", "-sS", "-w", "\n%{http_code}", *options, f"{url}/{path}")
        body, _, status = done.stdout.rpartition("\n")  # type: ignore[attr-defined]
        return status, body

    ttl = ("-H", "X-aws-ec2-metadata-token-ttl-seconds: 60")
    assert ask("meta-data/instance-id")[0] == "401"
    assert ask("api/token", "-X", "PUT")[0] == "400"
    assert ask("api/token", "-X", "PUT", *ttl, "-H", "X-Forwarded-For: 10.0.0.1")[0] == "403"
    token = ask("api/token", "-X", "PUT", *ttl)[1]
    held = ("-H", f"X-aws-ec2-metadata-token: {token}")
    assert ask("meta-data/instance-id", *held) == ("200", host.instance)
    assert json.loads(ask("dynamic/instance-identity/document", *held)[1])["region"] == lab.region
    mac = ask("meta-data/mac", *held)[1]
    interface = f"meta-data/network/interfaces/macs/{mac}"
    assert ask(f"{interface}/interface-id", *held)[1] == host.interface
    assert ask(f"{interface}/vpc-id", *held)[1] == lab.vpc
    assert ask(f"{interface}/vpc-ipv4-cidr-blocks", *held)[1].splitlines()[0] == "10.0.0.0/16"
    assert ask("meta-data/nothing", *held)[0] == "404"
    role = ask("meta-data/iam/security-credentials/", *held)[1]
    assert json.loads(ask(f"meta-data/iam/security-credentials/{role}", *held)[1])["Code"] == "Success"
    stranger = lab.workload("stranger", groups=[lab.security_group("stranger")])
    assert ask("meta-data/instance-id", *held, who=stranger.namespace.run)[0] == "401"


@pytest.mark.parametrize("description", ["a|b", 'say "hi"', "tab\there", "naïve", "x" * 256, "what?", "100%"])
def test_the_api_refuses_descriptions_that_aws_refuses(lab: Lab, description: str) -> None:
    """255 characters of AWS's set, on creation and on every kind of edit."""
    group = lab.security_group("described", egress("tcp", 443, description="fine"))
    rule = egress("tcp", 8443, description=description)

    for attempt in (
        lambda: lab.add_rule(group, rule),
        lambda: lab.edit_rule(group, description=description),
        lambda: lab.ec2.update_security_group_rule_descriptions_egress(
            GroupId=group.id, IpPermissions=[egress("tcp", 443, description=description).permission()]
        ),
    ):
        with pytest.raises(botocore.exceptions.ClientError, match="Invalid rule description"):
            attempt()


def test_the_api_keeps_descriptions_byte_exact(lab: Lab) -> None:
    """Every character AWS allows survives."""
    text = "aZ09 ._-:/()#,@[]+=&;{}!$* discriminat:tls:api.example.com"
    group = lab.security_group("exact", egress("tcp", 443, description=text))

    described = lab.ec2.describe_security_groups(GroupIds=[group.id])["SecurityGroups"][0]

    assert described["IpPermissionsEgress"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0", "Description": text}]


def test_the_api_lists_in_pages(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that reads one page only sees part of the VPC."""
    whole = lab.state()
    monkeypatch.setattr(Paging, "most", 2)

    assert len(lab.ec2.describe_network_interfaces()["NetworkInterfaces"]) == 2
    assert lab.state() == whole


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ("throttle", "RequestLimitExceeded"),
        ("fail", "InternalError"),
        ("deny", "ec2:DescribeVpcs"),
        ("refuse", "Could not connect|ConnectionRefused|Connection refused"),
        ("hang", "Read timeout"),
    ],
)
def test_the_api_has_bad_days(lab: Lab, trouble: str, expected: str) -> None:
    """Each trouble shows itself to programs of the lab, ends with its block, and spares the lab and other services."""
    script = (
        "import boto3, botocore.config\n"
        "quick = botocore.config.Config(retries={'total_max_attempts': 1}, read_timeout=1)\n"
        "for service, call in (('ec2', 'describe_vpcs'), ('logs', 'describe_log_groups')):\n"
        "    try: getattr(boto3.client(service, config=quick), call)(); print(service, 'fine')\n"
        "    except Exception as error: print(service, error)\n"
    )
    with lab.trouble("ec2", trouble):
        lab.state()
        ec2, logs = lab.appliance.run_python(script).splitlines()
    assert any(each in ec2 for each in expected.split("|"))
    assert logs == "logs fine"
    assert lab.appliance.run_python(script).splitlines() == ["ec2 fine", "logs fine"]


def test_the_api_remembers_who_asked(lab: Lab) -> None:
    """Tests can count a program's calls."""
    start = time.monotonic()

    lab.appliance.run_python("import boto3; boto3.client('ec2').describe_vpcs()")

    calls = lab.emulator.switchboard.calls("DescribeVpcs", since=start)
    assert [(each.service, each.source) for each in calls] == [("ec2", lab.appliance.address)]


def test_log_batches_are_limited(lab: Lab) -> None:
    """PutLogEvents takes what AWS takes, and what it took can be read."""
    group, stream = "discrimiNAT", "limits"
    lab.logs.create_log_stream(logGroupName=group, logStreamName=stream)
    now = int(time.time() * 1000)

    def put(*messages: str, times: list[int] | None = None) -> None:
        events = [
            {"timestamp": at, "message": each}
            for at, each in zip(times or [now] * len(messages), messages, strict=True)
        ]
        lab.logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    put("fine")
    for messages, times in (
        (["x"] * 10_001, None),
        (["x" * 600_000, "y" * 600_000], None),
        (["a", "b"], [now - 25 * 3600 * 1000, now]),
        (["a", "b"], [now, now - 1]),
    ):
        with pytest.raises(botocore.exceptions.ClientError):
            put(*messages, times=times)
    assert lab.log_events(stream) == ["fine"]


def test_an_idle_appliance_is_not_healthy(lab: Lab) -> None:
    """Nothing answers the health port before the program does."""
    assert lab.appliance.health()[0] == 0
