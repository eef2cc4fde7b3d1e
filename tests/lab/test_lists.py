"""Names in lists that are kept elsewhere: Parameter Store and Secrets Manager, of this Region and others."""

from collections.abc import Iterator

import boto3
import pytest

from tests.lab.appliance import Appliance
from tests.lab.emulator import ACCOUNT
from tests.lab.event_log import Event
from tests.lab.lab import Lab, wait_until
from tests.lab.story import SHORT_WAITS, allowed, conversation, launch, refused, tls

FAR = "us-east-1"
PASSWORD = "hunter2!correct-horse-battery"
ARNS = [f"far=arn:aws:ssm:{FAR}:{ACCOUNT}:parameter/central/allow"]


@pytest.fixture(scope="module", autouse=True)
def appliance(lab: Lab) -> Iterator[Appliance]:
    """The appliance, which reads each list every second."""
    lab.appliance.start({**SHORT_WAITS, "lists": {"interval": 1.0, "arns": ARNS}})
    yield lab.appliance
    lab.appliance.wipe()
    forget(lab)


def forget(lab: Lab) -> None:
    """Take all references out of the VPC: who runs after this asks for no list."""
    with lab.fabric.paused():
        for page in lab.ec2.get_paginator("describe_security_group_rules").paginate():
            for rule in page["SecurityGroupRules"]:
                if "@" in rule.get("Description", ""):
                    ids = [rule["SecurityGroupRuleId"]]
                    lab.ec2.revoke_security_group_egress(GroupId=rule["GroupId"], SecurityGroupRuleIds=ids)


def write(lab: Lab, name: str, text: str, *, kind: str = "String") -> None:
    """Make a parameter hold this text."""
    lab.ssm.put_parameter(Name=name, Value=text, Type=kind, Overwrite=True)


def wait_told(lab: Lab, skip: int, words: str, **fields: object) -> Event:
    """Wait for an event of the config log that has these words."""
    return lab.appliance.wait_for_event(lambda event: words in event["reason"], skip=skip, **fields)


def so_far(lab: Lab) -> int:
    return len(lab.appliance.config_events())


def test_names_of_a_list_pass_and_its_edits_count(lab: Lab) -> None:
    """Within a reading, without a restart; an open flow to a name that is taken out ends."""
    stays, goes, comes = (lab.internet.tls(f"{each}.ssm.test") for each in ("stays", "goes", "comes"))
    write(lab, "/apps/Acme/allow", f"# of Acme\n{stays.name}\n{goes.name.upper()}  # for now\n")
    client = launch(lab, "listed-ssm", tls("@ssm/apps/Acme/allow"))
    assert client.curl(f"https://{stays.name}/").ok
    event, _ = allowed(lab, stays)
    assert event["rule"] == "tcp/443 0.0.0.0/0"
    assert not client.curl(f"https://{comes.name}/").ok
    refused(lab, comes, "name_not_listed", src=client.address)

    with conversation(client, goes.name) as open_flow, conversation(client, stays.name) as other:
        skip = so_far(lab)
        write(lab, "/apps/Acme/allow", f"{stays.name},{comes.name}")
        for outcome, name in (("removed", goes.name), ("accepted", comes.name)):
            lab.appliance.wait_for_event(cat="fqdn", outcome=outcome, fqdn=name, skip=skip)
        lab.appliance.wait_for_event(dst=goes.address, code="rule_removed")
        assert not open_flow("/after")
        assert other("/after")
    assert b"/after" not in goes.connections[0].plain
    assert client.curl(f"https://{comes.name}/").ok
    goes.forget()
    assert not client.curl(f"https://{goes.name}/").ok
    refused(lab, goes, "name_not_listed", src=client.address)

    skip = so_far(lab)
    write(lab, "/apps/Acme/allow", ",".join([stays.name, comes.name, *(f"n{i}.ssm.test" for i in range(50))]))
    wait_told(lab, skip, "and 30 more, 50 in all, by @ssm/apps/Acme/allow", cat="fqdn", outcome="accepted", fqdn="")
    named = [event for event in lab.appliance.config_events()[skip:] if event["cat"] == "fqdn" and event["fqdn"]]
    assert len(named) == 20


def test_names_of_a_secret_pass(lab: Lab) -> None:
    """And beside a reference, names of the rule's own; patterns, too."""
    one, own, wild = (lab.internet.tls(f"{each}.secret.test") for each in ("one", "own", "w1"))
    other = lab.internet.tls("other.secret.test")
    lab.emulator.client("secretsmanager").create_secret(Name="apps/acme", SecretString=f"{one.name}\nw?.secret.test")
    client = launch(lab, "listed-secret", tls("@secret/apps/acme", own.name))
    for server in (one, own, wild):
        assert client.curl(f"https://{server.name}/").ok
    assert not client.curl(f"https://{other.name}/").ok
    refused(lab, other, "name_not_listed", src=client.address)


def test_a_list_elsewhere_is_found_by_its_alias(lab: Lab) -> None:
    """In another Region; an alias that nobody gave an ARN is a fault of the rule."""
    server = lab.internet.tls("far.list.test")
    far = boto3.client("ssm", FAR, endpoint_url=lab.emulator.url, aws_access_key_id="lab", aws_secret_access_key="lab")
    far.put_parameter(Name="/central/allow", Value=server.name, Type="String")
    skip = so_far(lab)
    client = launch(lab, "listed-far", tls("@list/far", "@list/nobody"))

    event = wait_told(lab, skip, "the list @list/nobody grants nothing", cat="error", outcome="rejected")
    assert "no ARN has this name" in event["reason"]
    assert client.curl(f"https://{server.name}/").ok


def test_the_last_names_stand_while_a_list_cannot_be_read(lab: Lab) -> None:
    """It is told with the rule, in /healthz too, and again when it is over; a list never read grants nothing."""
    known, new = lab.internet.tls("known.lists.test"), lab.internet.tls("new.lists.test")
    write(lab, "standing", known.name)
    write(lab, "fresh", new.name)
    client = launch(lab, "listed-standing", tls("@ssm/standing"))
    skip = so_far(lab)
    with lab.trouble("ssm", "deny", "GetParameter"):
        event = wait_told(lab, skip, "the list @ssm/standing cannot be read", cat="error", outcome="failed")
        assert "its last names stand: ssm:GetParameter: not permitted" in event["reason"]
        assert "give it in `lists` of the Terraform module" in event["reason"]
        assert event["rule"] == "tcp/443 0.0.0.0/0"
        assert client.curl(f"https://{known.name}/").ok
        told = {each["list"]: each for each in lab.appliance.details()["lists"]}
        assert "not permitted" in told["@ssm/standing"]["trouble"]
        assert told["@ssm/standing"]["entries"] == 1
        late = launch(lab, "listed-late", tls("@ssm/fresh"), tls(known.name, port=8443))
        wait_told(lab, skip, "the list @ssm/fresh grants nothing", cat="error", outcome="rejected")
        assert not late.curl(f"https://{new.name}/").ok
    wait_told(lab, skip, "the list @ssm/standing can be read again", cat="error", outcome="recovered")
    assert wait_until(lambda: late.curl(f"https://{new.name}/").ok)


def test_a_service_that_hangs_holds_up_no_policy(lab: Lab) -> None:
    """Rules are edited and clients come while it does not answer."""
    listed, own = lab.internet.tls("listed.hang.test"), lab.internet.tls("own.hang.test")
    write(lab, "hanging", listed.name)
    client = launch(lab, "listed-hanging", tls("@ssm/hanging"))
    skip = so_far(lab)
    with lab.trouble("ssm", "hang", "GetParameter"):
        wait_told(lab, skip, "the list @ssm/hanging cannot be read", cat="error", outcome="failed")
        other = launch(lab, "unlisted", tls(own.name))
        assert other.curl(f"https://{own.name}/").ok
        assert client.curl(f"https://{listed.name}/").ok
    wait_told(lab, skip, "the list @ssm/hanging can be read again", cat="error", outcome="recovered")


def test_a_list_that_is_deleted_closes(lab: Lab) -> None:
    """Nothing of it counts any more, and open flows end."""
    server = lab.internet.tls("deleted.lists.test")
    write(lab, "deleted", server.name)
    client = launch(lab, "listed-deleted", tls("@ssm/deleted"), tls("other.lists.test", peer="0.0.0.0/1"))
    with conversation(client, server.name) as open_flow:
        skip = so_far(lab)
        lab.ssm.delete_parameter(Name="deleted")
        wait_told(lab, skip, "AWS says that it does not exist", cat="error", outcome="rejected")
        lab.appliance.wait_for_event(dst=server.address, code="rule_removed")
        assert not open_flow("/after")
    server.forget()
    assert not client.curl(f"https://{server.name}/").ok
    refused(lab, server, "name_not_listed", src=client.address)


def test_what_a_wrong_secret_holds_is_in_no_log(lab: Lab) -> None:
    """A password among the names, and a secret that is no list: told with its line, and not one octet of it."""
    server = lab.internet.tls("beside.secret.test")
    secrets = lab.emulator.client("secretsmanager")
    secrets.create_secret(Name="wrong", SecretString=f"{server.name}\n{PASSWORD}\nuser:{PASSWORD}@db.internal\n")
    skip = so_far(lab)
    client = launch(lab, "listed-wrong", tls("@secret/wrong"))
    wait_told(lab, skip, "@secret/wrong line 2: an entry is no name", cat="error", outcome="rejected")
    assert client.curl(f"https://{server.name}/").ok
    for text in (f'{{"password": "{PASSWORD}"}}', PASSWORD * 3000):
        skip = so_far(lab)
        secrets.put_secret_value(SecretId="wrong", SecretString=text)
        wait_told(lab, skip, "the list @secret/wrong cannot be read", cat="error", outcome="failed")
        assert client.curl(f"https://{server.name}/").ok
        skip = so_far(lab)
        secrets.put_secret_value(SecretId="wrong", SecretString=server.name)
        wait_told(lab, skip, "the list @secret/wrong can be read again", cat="error", outcome="recovered")

    written = [path for path in lab.appliance.directory.rglob("*") if path.is_file()]
    assert lab.appliance.output in written
    assert lab.appliance.logs / "config.jsonl" in written
    assert [path for path in written if PASSWORD.encode() in path.read_bytes()] == []
    assert PASSWORD not in str(lab.appliance.details())


def test_only_the_very_lists_are_asked_for(lab: Lab) -> None:
    """No version, no path, no listing: two actions, and nothing else."""
    switchboard = lab.emulator.switchboard
    assert {each.action for each in switchboard.calls() if each.service == "ssm"} == {"GetParameter"}
    assert {each.action for each in switchboard.calls() if each.service == "secretsmanager"} == {"GetSecretValue"}
