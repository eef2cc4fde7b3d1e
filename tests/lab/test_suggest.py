"""From see-thru to an allowlist and back: what is suggested from the appliance's own log is what the client needs."""

import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.appliance import Appliance
from tests.lab.lab import Lab, wait_until
from tests.lab.preferring import preferred, running
from tests.lab.security_group import Group, Rule, egress
from tests.lab.story import launch, launch_in, tls
from tests.lab.workload import Workload

SHIPPED = 25.0  # seconds for lines to reach CloudWatch
TOMORROW = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).date().isoformat()
URLS = {"https://api.suggest.test/": 443, "https://files.suggest.test:8443/": 8443}


@pytest.fixture(scope="module", autouse=True)
def appliance(lab: Lab) -> Iterator[Appliance]:
    """The appliance, with preferences that can be edited."""
    with running(lab) as started:
        yield started


@pytest.fixture(scope="module")
def explorer(lab: Lab, appliance: Appliance) -> Workload:
    """A client that has done all it does, under see-thru; its log is in CloudWatch."""
    client = launch(lab, "explorer", egress("-1", None, description=f"discriminat:see-thru:{TOMORROW}"))
    for url, port in URLS.items():
        lab.internet.tls(url.split("/")[2].partition(":")[0], port=port)
    lab.internet.ssh("git.suggest.test")
    lab.internet.http("plain.suggest.test", port=8000)
    for url in (*URLS, *URLS, "http://plain.suggest.test:8000/"):
        assert client.curl(url).ok
    assert client.ssh("git.suggest.test", "echo", "hello").out == "hello\n"
    assert wait_until(lambda: len(exerted(lab, client)) >= 6, SHIPPED)
    return client


def exerted(lab: Lab, client: Workload) -> list[dict[str, Any]]:
    """Return the client's events in CloudWatch that only see-thru explains."""
    events = map(json.loads, lab.log_events("flow"))
    return [each for each in events if each["src"] == client.address and each.get("see_thru_exerted")]


def group_of(lab: Lab, client: Workload) -> str:
    (gid,) = lab.state().interfaces[client.interface].groups
    return gid


def suggest(lab: Lab, *arguments: str) -> str:
    """Return what the verb prints, run where the emulator is AWS."""
    command = (sys.executable, "-m", "appliance", "suggest", *arguments)
    done = lab.appliance.namespace.run(*command, env=lab.appliance.environment, timeout=60.0)
    assert done.stderr == ""
    return done.stdout


def suggested(lab: Lab, *arguments: str) -> dict[str, Any]:
    return json.loads(suggest(lab, "--format", "json", *arguments))


def listed(group: dict[str, Any]) -> list[tuple[str, int, str, int]]:
    return [(each["proto"], each["dpt"], each["dhost"], each["count"]) for each in group["names"]]


def test_it_lists_what_the_client_used(lab: Lab, explorer: Workload) -> None:
    """Read from CloudWatch; what has no name, or is not encrypted, is set apart."""
    document = suggested(lab, "--group", group_of(lab, explorer))
    (group,) = document["groups"]

    assert group["gid"] == group_of(lab, explorer)
    assert listed(group) == [("tls", 443, "api.suggest.test", 2), ("tls", 8443, "files.suggest.test", 2)]
    assert {(each["dpt"], each["reason"]) for each in document["others"]} == {
        (22, "SSH carries no name"),
        (8000, "plaintext HTTP"),
    }
    assert "api.suggest.test" in suggest(lab)


def test_the_file_on_the_appliance_says_the_same(lab: Lab, explorer: Workload) -> None:
    """For who has no CloudWatch."""
    gid = group_of(lab, explorer)

    assert (
        suggested(lab, "--group", gid, str(lab.appliance.logs / "flow.jsonl"))["groups"]
        == suggested(lab, "--group", gid)["groups"]
    )


def test_with_the_suggested_annotations_see_thru_is_not_needed(lab: Lab, explorer: Workload) -> None:
    """The same client, in a group that has them alone, gets where it got before, and nowhere else."""
    (group,) = suggested(lab, "--group", group_of(lab, explorer))["groups"]
    strict = lab.security_group("strict", *(rule(each) for each in group["rules"]))
    wear(lab, explorer, strict)
    skip = len(lab.appliance.flow_events())

    for url in URLS:
        assert explorer.curl(url).ok
    for name, port in (("api.suggest.test", 443), ("files.suggest.test", 8443)):
        event = lab.appliance.wait_for_event(
            dhost=name, dpt=port, src=explorer.address, cat="client", outcome="allowed", skip=skip
        )
        assert event["gid"] == strict.id
        assert "see_thru_exerted" not in event
    assert not explorer.curl("http://plain.suggest.test:8000/").ok


def rule(suggestion: dict[str, str]) -> Rule:
    """Return a rule as it is suggested: `tcp/443 0.0.0.0/0`, and its description."""
    ports, destination = suggestion["rule"].split()
    return egress("tcp", int(ports.removeprefix("tcp/")), destination, suggestion["description"])


def wear(lab: Lab, client: Workload, group: Group) -> None:
    """Put a client into a group, and wait until the appliance knows it."""
    lab.set_groups(client, [group])
    lab.appliance.wait_for_event(
        lambda event: group.id in event["gid"], cat="client", outcome="accepted", client=client.address
    )


def test_suggested_rules_get_on_with_those_that_the_group_has(lab: Lab, tmp_path: Path) -> None:
    """AWS takes them into the same group, and without its see-thru both the old name and the new one are reached."""
    old, new = lab.internet.tls("old.suggest.test"), lab.internet.tls("new.suggest.test")
    see_thru = egress("-1", None, description=f"discriminat:see-thru:{TOMORROW}")
    group = lab.security_group("grown", see_thru, tls(old.name))
    client = launch_in(lab, "grown", [group])
    for server in (old, new):
        assert client.curl(f"https://{server.name}/").ok
    lab.appliance.wait_for_event(dhost=new.name, cat="client", see_thru_exerted=True)
    saved = tmp_path / "groups.json"
    saved.write_text(json.dumps(lab.ec2.describe_security_groups(GroupIds=[group.id]), default=str))

    log = str(lab.appliance.logs / "flow.jsonl")
    (told,) = suggested(lab, log, "--group", group.id, "--security-groups", str(saved))["groups"]
    assert [each["rule"] for each in told["rules"]] == ["tcp/443 0.0.0.0/1"]
    for each in told["rules"]:
        lab.add_rule(group, rule(each))
    lab.remove_rule(group, see_thru)
    lab.appliance.wait_for_event(cat="see-thru", outcome="removed", gid=group.id)

    skip = len(lab.appliance.flow_events())
    for server in (old, new):
        assert client.curl(f"https://{server.name}/").ok
        lab.appliance.wait_for_event(dhost=server.name, cat="client", outcome="allowed", gid=group.id, skip=skip)


def test_a_suggested_pattern_lets_a_new_member_of_the_family_pass(lab: Lab) -> None:
    """Seen under see-thru, proposed, applied and enforced: the same names pass, and one more; no other name does."""
    names = [f"a{index}.family.suggest.test" for index in range(1, 5)]
    new, strange = "a5.family.suggest.test", "b1.family.suggest.test"
    for name in (*names, new, strange):
        lab.internet.tls(name)
    client = launch(lab, "family", egress("-1", None, description=f"discriminat:see-thru:{TOMORROW}"))
    skip = len(lab.appliance.flow_events())
    for name in names * 3:
        assert client.curl(f"https://{name}/").ok
    mine = {"cat": "client", "src": client.address, "see_thru_exerted": True}
    assert wait_until(lambda: len(matching(lab, skip, mine)) >= 3 * len(names), 10)

    log = str(lab.appliance.logs / "flow.jsonl")
    (group,) = suggested(lab, log, "--wildcards", "--group", group_of(lab, client))["groups"]
    assert [(each["pattern"], each["names"]) for each in group["patterns"]] == [("a+.family.suggest.test", names)]
    assert [each["description"] for each in group["rules"]] == ["discriminat:tls:a+.family.suggest.test"]
    wear(lab, client, lab.security_group("family-strict", *(rule(each) for each in group["rules"])))

    skip = len(lab.appliance.flow_events())
    for name in (*names, new):
        assert client.curl(f"https://{name}/").ok
        event = lab.appliance.wait_for_event(dhost=name, src=client.address, cat="client", outcome="allowed", skip=skip)
        assert "see_thru_exerted" not in event
    assert not client.curl(f"https://{strange}/").ok
    lab.appliance.wait_for_event(dhost=strange, src=client.address, cat="client", outcome="disallowed", skip=skip)


def matching(lab: Lab, skip: int, fields: dict[str, object]) -> list[dict[str, Any]]:
    """Return the flow events after the first `skip` that have these fields."""
    return [each for each in lab.appliance.flow_events()[skip:] if fields.items() <= each.items()]


def test_under_the_preferences_see_thru_groups_are_told_from_interfaces(lab: Lab, tmp_path: Path) -> None:
    """A client without annotation, everybody's see-thru, and EC2's answer as it is saved."""
    lab.internet.tls("default.suggest.test")
    group = lab.security_group("plain", egress("-1", None))
    client = lab.workload("plain", groups=[group])
    with preferred(lab, see_thru=TOMORROW):
        assert wait_until(lambda: client.curl("https://default.suggest.test/").ok, 10)
        lab.appliance.wait_for_event(see_thru_gid="%default", see_thru_exerted=True, src=client.address)
    saved = tmp_path / "interfaces.json"
    saved.write_text(json.dumps(lab.ec2.describe_network_interfaces(), default=str))
    log = str(lab.appliance.logs / "flow.jsonl")

    (alone,) = [each for each in suggested(lab, log)["groups"] if each["client"] == client.address]
    (told,) = suggested(lab, log, "--group", group.id, "--network-interfaces", str(saved))["groups"]

    assert [each["dhost"] for each in alone["names"]] == ["default.suggest.test"]
    assert (told["gid"], told["names"]) == (group.id, alone["names"])


def test_a_throttled_query_slows_down_and_goes_on(lab: Lab, explorer: Workload) -> None:
    """AWS refuses it a few times, and then answers."""
    command = (sys.executable, "-m", "appliance", "suggest", "--format", "json")
    calls = lab.emulator.switchboard.calls
    before = len(calls("FilterLogEvents"))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with lab.trouble("logs", "throttle", "FilterLogEvents"):
        process = lab.appliance.namespace.popen(*command, env=lab.appliance.environment, **pipes)
        assert wait_until(lambda: len(calls("FilterLogEvents")) >= before + 2, 30)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert all(each.startswith(b"discriminat: reading discrimiNAT/flow: ") for each in err.splitlines())
    assert json.loads(out)["names"] >= 2
    assert [each.trouble for each in calls("FilterLogEvents")[before:]][-1] == ""


def test_who_may_not_read_logs_is_told_whose_right_it_is(lab: Lab) -> None:
    """It is the operator's, and not the appliance's."""
    command = (sys.executable, "-m", "appliance", "suggest")
    with lab.trouble("logs", "deny", "FilterLogEvents"):
        done = lab.appliance.namespace.run(*command, env=lab.appliance.environment, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert "error: logs:FilterLogEvents: not permitted" in done.stderr
    assert "to yourself: the appliance's role does not read logs" in done.stderr
