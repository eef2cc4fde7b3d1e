"""Preferences: an edit of one parameter changes what holds for the whole deployment, while everything runs."""

import datetime
import json
import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from appliance.policy.preferences import DEFAULTS, state_preferences
from tests import hellos
from tests.lab.appliance import Appliance
from tests.lab.event_log import Event
from tests.lab.lab import Lab, wait_until
from tests.lab.preferring import NAME, PREFERRED, prefer, preferred, running, wait_told, write
from tests.lab.security_group import egress
from tests.lab.servers import Server
from tests.lab.story import SHORT_WAITS, allowed, hello, last_inspected, launch, refused, tls, wait_known
from tests.lab.workload import Workload

TOMORROW = (datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(1)).isoformat()


@pytest.fixture(scope="module", autouse=True)
def appliance(lab: Lab) -> Iterator[Appliance]:
    """The appliance with a parameter to read, which asks for nothing at first."""
    with running(lab) as started:
        yield started


@pytest.fixture
def firewall(lab: Lab, appliance: Appliance) -> Appliance:
    """The appliance, running and with the defaults, whatever the test before did to it."""
    if appliance.process is None:
        write(lab, '{"%default": {}}')
        appliance.start(PREFERRED)
    return appliance


@pytest.fixture(scope="module")
def mute(lab: Lab, appliance: object) -> Workload:
    """A client that AWS lets send anything, and no annotation anywhere."""
    return launch(lab, "mute", egress("-1", None))


@pytest.fixture(scope="module")
def web(lab: Lab, appliance: object) -> Workload:
    """A client with a list."""
    names = ("api", "quiet", "ech", "ech2", "esni")
    return launch(lab, "prefs-web", tls(*(f"{each}.prefs.test" for each in names)), egress("-1", None))


@pytest.fixture(scope="module")
def anywhere(lab: Lab) -> str:
    """The URL of a server that nobody lists."""
    lab.internet.tls("anywhere.prefs.test")
    return "https://anywhere.prefs.test/"


# ---- reading ----


def test_what_is_read_at_the_start_is_told(lab: Lab, firewall: Appliance) -> None:
    """With the parameter's name and all values."""
    event = firewall.wait_for_event(cat="preferences", outcome="accepted")

    assert event["reason"] == f"read from SSM parameter {NAME}: {state_preferences(DEFAULTS)}"
    first = [each["cat"] for each in firewall.config_events()]
    assert first.index("preferences") < first.index("policy")


def test_only_this_is_asked_of_ssm(lab: Lab, firewall: Appliance) -> None:
    """Again and again."""
    asked = lambda: [each for each in lab.emulator.switchboard.calls() if each.service == "ssm"]  # noqa: E731
    before = len(asked())

    assert wait_until(lambda: len(asked()) >= before + 2)
    assert {each.action for each in asked()} == {"GetParameter"}


# ---- see-thru ----


def test_see_thru_lets_a_workload_without_annotation_out_until_it_is_taken_away(
    lab: Lab, firewall: Appliance, mute: Workload
) -> None:
    """Logged as %default's; new connections are refused once it is gone."""
    server, plain = lab.internet.tls("any.prefs.test"), lab.internet.http("plain.prefs.test", port=8000)
    echo = lab.internet.udp("udp.prefs.test")
    assert not mute.curl("https://any.prefs.test/").ok
    assert "see_thru_gid" not in refused(lab, server, "client_not_annotated", src=mute.address)
    skip = len(firewall.config_events())
    with preferred(lab, see_thru=TOMORROW):
        event = firewall.wait_for_event(cat="see-thru", outcome="accepted", skip=skip)
        assert (event["gid"], event["reason"]) == ("%default", f"until {TOMORROW}")
        assert mute.address in firewall.kernel_set("see_thru")

        assert mute.curl("https://any.prefs.test/").ok
        event = refused(lab, server, "client_not_annotated", saw=None, see_thru_exerted=True)
        assert (event["see_thru_gid"], event["see_thru_days_remaining"]) == ("%default", 1)
        assert event["dhost"] == "any.prefs.test"
        assert mute.curl("http://plain.prefs.test:8000/").ok
        assert firewall.wait_for_event(dst=plain.address, see_thru_gid="%default")["http_path"] == "/"
        assert mute.exchange_datagram(echo.address, 443, b"ping") == b"ping"

    firewall.wait_for_event(cat="see-thru", outcome="removed", gid="%default", skip=skip)
    assert mute.address not in firewall.kernel_set("see_thru")
    server.forget()
    logged = len(firewall.flow_events())
    assert not mute.curl("https://any.prefs.test/").ok
    assert "see_thru_gid" not in firewall.wait_for_event(dst=server.address, skip=logged)
    assert server.received() == b""


def test_see_thru_covers_a_workload_that_is_launched_meanwhile(lab: Lab, firewall: Appliance) -> None:
    """It is looked up when it first speaks, and passes."""
    server = lab.internet.tls("late.prefs.test")
    with preferred(lab, see_thru=TOMORROW):
        late = lab.workload("late", groups=[lab.security_group("late", egress("tcp", 443))])
        assert late.curl("https://late.prefs.test/").ok
        assert firewall.wait_for_event(dst=server.address, src=late.address)["see_thru_gid"] == "%default"


def test_see_thru_is_for_known_clients_and_public_destinations(lab: Lab, firewall: Appliance, mute: Workload) -> None:
    """Neither a stranger nor the VPC's neighbours."""
    server = lab.internet.tls("stranger.prefs.test")
    with preferred(lab, see_thru=TOMORROW):
        with pytest.raises(ConnectionRefusedError):
            mute.connect("172.16.0.9", 8123)
        event = firewall.wait_for_event(dst="172.16.0.9", code="destination_private")
        assert (event["see_thru_gid"], event["see_thru_exerted"]) == ("%default", False)
        with lab.trouble("ec2", "deny"):
            stranger = lab.workload("stranger", groups=[lab.security_group("stranger", egress("-1", None))])
            with pytest.raises(ConnectionRefusedError):
                stranger.connect(server.address, 443, timeout=8)
            assert "see_thru_gid" not in refused(lab, server, "client_unknown", src=stranger.address)
    assert server.connections == []


def test_see_thru_of_a_day_that_is_over_lets_nothing_pass(lab: Lab, firewall: Appliance, mute: Workload) -> None:
    """The log shows for how long it has been."""
    server = lab.internet.tls("over.prefs.test")
    with preferred(lab, see_thru="2026-01-01"):
        assert not mute.curl("https://over.prefs.test/").ok
        event = refused(lab, server, "client_not_annotated", src=mute.address)
    assert event["see_thru_exerted"] is False
    assert event["see_thru_days_remaining"] < 0


# ---- the others ----


def quiet_events(lab: Lab, server: Server) -> list[Event]:
    """Return the flow events about a server, once the workers have written all there is to write."""
    last_inspected(lab)
    return [each for each in lab.appliance.flow_events() if each["dst"] == server.address]


def test_only_what_is_disallowed_is_logged(lab: Lab, firewall: Appliance, web: Workload, mute: Workload) -> None:
    """Refusals stay, and so does what only see-thru lets pass: the rules disallow it."""
    server, other = lab.internet.tls("quiet.prefs.test"), lab.internet.tls("loud.prefs.test")
    with preferred(lab, flow_log_verbosity="only_disallowed", see_thru=TOMORROW):
        assert web.curl("https://quiet.prefs.test/").ok
        assert mute.curl("https://loud.prefs.test/").ok
        refused(lab, other, "client_not_annotated", saw=None, see_thru_exerted=True)
        assert quiet_events(lab, server) == []
    assert web.curl("https://quiet.prefs.test/").ok
    allowed(lab, server)


def test_no_flow_is_logged(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """The config log goes on, as the end of it shows."""
    server = lab.internet.tls("api.prefs.test")
    with preferred(lab, flow_log_verbosity="none"):
        assert web.curl("https://api.prefs.test/").ok
        assert not web.curl("https://api.prefs.test:444/").ok
        assert quiet_events(lab, server) == []
    assert web.curl("https://api.prefs.test/").ok
    allowed(lab, server)


@pytest.mark.parametrize("name", ["ech", "esni"])
def test_encrypted_hellos_pass_while_they_may(lab: Lab, firewall: Appliance, web: Workload, name: str) -> None:
    """And not a moment longer: nothing of the time when they did is recalled."""
    hidden = hellos.extension({"ech": hellos.ECH, "esni": hellos.ESNI}[name], bytes(64))
    octets = hello(f"{name}.prefs.test", extra=hidden)
    server = lab.internet.lines(f"{name}.prefs.test", reply=hellos.server_stream(), after=len(octets))

    def passes() -> bool:
        with web.connect(server.address, 443) as stream:
            stream.sendall(octets)
            try:
                return stream.recv(4096) == hellos.server_stream()
            except ConnectionResetError:
                return False

    assert not passes()
    refused(lab, server, "ech")
    with preferred(lab, ech="allow"):
        assert all(passes() for _ in range(8))
        allowed(lab, server)
    server.forget()
    assert not any(passes() for _ in range(8))
    assert server.received() == b""


def test_the_settings_count_where_no_parameter_is_named(lab: Lab, firewall: Appliance, web: Workload) -> None:
    """Nothing is asked of SSM then."""
    octets = hello("ech2.prefs.test", ech=True)
    server = lab.internet.lines("ech2.prefs.test", reply=hellos.server_stream(), after=len(octets))
    firewall.stop()
    asked = len(lab.emulator.switchboard.calls("GetParameter"))
    firewall.start({**SHORT_WAITS, "tls": {"ech": True}})
    try:
        with web.connect(server.address, 443) as stream:
            stream.sendall(octets)
            assert stream.recv(4096) == hellos.server_stream()
        assert firewall.health()[0] == 200
        assert len(lab.emulator.switchboard.calls("GetParameter")) == asked
    finally:
        firewall.stop()


def test_other_client_networks_are_filtered_too(lab: Lab, firewall: Appliance) -> None:
    """Such as a CIDR block that the VPC got after the start; without a reload, so that flows go on."""
    server = lab.internet.tls("pods.prefs.test")
    lab.add_subnet("pods-b", "100.70.1.0/24")
    lab.route_default("pods-b", lab.appliance)
    lab.set_groups(lab.appliance, [lab.security_group("nat", egress("-1", None), ingress=(egress("-1", None),))])
    pod = launch(lab, "pod-b", tls(server.name), subnet="pods-b")
    assert not pod.curl(f"https://{server.name}/", timeout=1).ok
    assert server.connections == []
    rules = firewall.namespace.run("nft", "--handle", "list", "chain", "inet", "discriminat", "forward").stdout

    with preferred(lab, clients=["100.70.0.0/16"]):
        assert "100.70.0.0/16" in firewall.kernel_set("clients")
        assert pod.curl(f"https://{server.name}/").json["client"] == firewall.public
        allowed(lab, server)
        assert (
            rules == firewall.namespace.run("nft", "--handle", "list", "chain", "inet", "discriminat", "forward").stdout
        )

    assert "100.70.0.0/16" not in firewall.kernel_set("clients")
    assert not pod.curl(f"https://{server.name}/", timeout=1).ok


def test_what_is_preferred_survives_a_flush_and_the_death_of_workers(
    lab: Lab, firewall: Appliance, mute: Workload
) -> None:
    """The ruleset that is put back, and workers that are started again, have it too."""
    server = lab.internet.tls("again.prefs.test")
    with preferred(lab, see_thru=TOMORROW, clients=["100.66.0.0/16"]):
        skip = len(firewall.config_events())
        firewall.namespace.nft("delete table inet discriminat")
        firewall.wait_for_event(lambda event: "is loaded again" in event["reason"], skip=skip, timeout=15)
        assert wait_until(lambda: mute.address in firewall.kernel_set("see_thru"))
        assert "100.66.0.0/16" in firewall.kernel_set("clients")

        workers = firewall.workers()
        assert workers
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: firewall.health()[0] == 503)
        firewall.wait_healthy()
        assert mute.curl("https://again.prefs.test/").ok
        assert server.received() != b""


def test_what_patterns_are_judged_by_may_change_with_something_else(
    lab: Lab, firewall: Appliance, mute: Workload
) -> None:
    """One edit of both puts both in force, whether a rule has a pattern or none has."""
    lab.internet.tls("both.prefs.test")
    with preferred(lab, wildcard_exposure="none", see_thru=TOMORROW):
        assert mute.address in firewall.kernel_set("see_thru")
        assert mute.curl("https://both.prefs.test/").ok
    assert mute.address not in firewall.kernel_set("see_thru")
    client = launch(lab, "both", tls("*.both-of.prefs.test"))
    server = lab.internet.tls("a.both-of.prefs.test")
    assert client.curl("https://a.both-of.prefs.test/").ok
    with preferred(lab, wildcard_exposure="none", see_thru=TOMORROW):
        assert mute.address in firewall.kernel_set("see_thru")
        assert client.curl("https://a.both-of.prefs.test/").ok
        refused(lab, server, "client_not_annotated", saw=None, src=client.address, see_thru_exerted=True)
    assert mute.address not in firewall.kernel_set("see_thru")


# ---- how often is read ----


# preference, and what is asked of AWS as often as it says
READINGS = {"preferences_interval": "GetParameter", "policy_poll_interval": "DescribeNetworkInterfaces"}
LONG = 3  # seconds; the settings say half a second at most


@pytest.mark.parametrize("key", READINGS)
def test_readings_are_as_far_apart_as_is_preferred(lab: Lab, firewall: Appliance, key: str) -> None:
    """From the next one on, whatever the settings say; and they count again afterwards."""
    with preferred(lab, **{key: LONG}):
        time_readings(lab, READINGS[key], 1)  # one may be under way
        assert time_readings(lab, READINGS[key], 2) > LONG * 0.9
    time_readings(lab, READINGS[key], 1)
    assert time_readings(lab, READINGS[key], 2) < LONG


def time_readings(lab: Lab, action: str, count: int) -> float:
    """Wait until AWS has been asked so many times more; return in how many seconds it was."""
    began = time.monotonic()
    assert wait_until(lambda: len(lab.emulator.switchboard.calls(action, since=began)) >= count, 4 * LONG)
    return time.monotonic() - began


def test_a_shorter_interval_counts_at_once(lab: Lab, firewall: Appliance) -> None:
    """What AWS says by now does not wait for the end of the long one."""
    action, calls = READINGS["policy_poll_interval"], lab.emulator.switchboard.calls
    time_readings(lab, action, 3)  # after a start the first pause is a longer one
    with preferred(lab, policy_poll_interval=300):
        assert wait_until(lambda: not calls(action, since=time.monotonic() - LONG), 4 * LONG)
        client = lab.workload("interval", groups=[lab.security_group("interval", tls("interval.prefs.test"))])
        time_readings(lab, "GetParameter", 4)
        assert client.address not in {event.get("client") for event in firewall.config_events()}
    wait_known(lab, client)


# ---- what is said of them ----


def test_health_tells_what_is_preferred(lab: Lab, firewall: Appliance) -> None:
    """From which parameter, how long ago, and whether the last reading went well."""
    told = lambda: firewall.details()["preferences"]  # noqa: E731
    with preferred(lab, ech="allow", clients=["100.71.0.0/16"]):
        assert wait_until(lambda: told()["in_force"]["ech"] == "allow")
        page = told()
        assert (page["parameter"], page["outcome"], page["failure"]) == (NAME, "accepted", "")
        assert page["age_seconds"] < 5
        assert page["in_force"]["clients"] == ["100.71.0.0/16"]
        with lab.trouble("ssm", "deny"):
            assert wait_until(lambda: told()["outcome"] == "failed")
            assert "ssm:GetParameter" in told()["failure"]
            assert told()["in_force"] == page["in_force"]
        assert wait_until(lambda: told()["outcome"] == "accepted")


def test_explain_agrees_with_the_appliance(lab: Lab, firewall: Appliance, mute: Workload) -> None:
    """On its host it reads what the appliance reads, and answers as packets are answered."""
    server = lab.internet.tls("explain.prefs.test")
    command = (sys.executable, "-m", "appliance", "explain", "--client", mute.address, "--port", "443", "--json")
    command = (*command, "--name", "explain.prefs.test", "--address", server.address)
    environment = {**firewall.environment, "DISCRIMINAT_PREFERENCES_PARAMETER": NAME}

    def explained() -> dict[str, object]:
        return dict(json.loads(firewall.namespace.run(*command, env=environment, check=False).stdout))

    assert explained()["passes"] is mute.curl("https://explain.prefs.test/").ok is False
    with preferred(lab, see_thru=TOMORROW):
        answer = explained()
        assert answer["passes"] is mute.curl("https://explain.prefs.test/").ok is True
        event = refused(lab, server, str(answer["code"]), saw=None, see_thru_exerted=True)
        assert event["see_thru_gid"] == answer["see_thru_gid"] == "%default"
        assert answer["preferences_source"] == f"SSM parameter {NAME}"


# ---- bad input, bad days ----

BAD = {
    # text                                           what is said
    '{"%default": {"see_thru": "31/01/2027"}}':      'see_thru "31/01/2027" is not a day of the calendar',
    '{"%default": {"see_thru": 7}}':                 "see_thru 7 is not a date",
    '{"%default": {"see_thru": null':                "the text is not JSON",
    "see_thru: null":                                "the text is not JSON",
    "[]":                                            "the text is not a JSON object",
    "{}":                                            "there is no %default",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_understood_keeps_the_last_good_one(
    lab: Lab, firewall: Appliance, mute: Workload, anywhere: str, text: str
) -> None:
    """It is reported with what to write; nothing opens and nothing closes by it."""
    with preferred(lab, see_thru=TOMORROW):
        skip = len(firewall.config_events())
        write(lab, text)
        event = wait_told(lab, skip, f"preferences: {BAD[text]}", cat="error", outcome="rejected")
        assert "; write " in event["reason"]
        assert mute.curl(anywhere).ok
        assert [each["cat"] for each in firewall.config_events()[skip:] if "preference" in each["reason"]] == ["error"]
    assert not mute.curl(anywhere).ok


def test_an_unknown_key_is_warned_about(lab: Lab, firewall: Appliance) -> None:
    """It changes nothing."""
    skip = len(firewall.config_events())
    write(lab, '{"%default": {"see-thru": "2027-01-31"}}')

    event = wait_told(lab, skip, "preferences: 'see-thru'", cat="error", outcome="ignored")

    assert "did you mean see_thru?" in event["reason"]


def test_a_parameter_that_is_deleted_asks_for_nothing(
    lab: Lab, firewall: Appliance, mute: Workload, anywhere: str
) -> None:
    """The safe defaults hold until there is one again."""
    prefer(lab, see_thru=TOMORROW)
    assert mute.curl(anywhere).ok
    skip = len(firewall.config_events())

    lab.ssm.delete_parameter(Name=NAME)

    wait_told(lab, skip, f"SSM parameter {NAME} does not exist", cat="error", outcome="missing")
    wait_told(lab, skip, f'see_thru: null, was "{TOMORROW}"')
    assert not mute.curl(anywhere).ok
    prefer(lab, see_thru=TOMORROW)
    assert mute.curl(anywhere).ok
    with preferred(lab, ech="allow"):
        assert not mute.curl(anywhere).ok


HINTS = {
    "deny": "allow ssm:GetParameter in the role of the appliance",
    "throttle": "asks ssm too often",
    "refuse": "or a VPC endpoint of ssm",
    "fail": "",
}


@pytest.mark.parametrize("trouble", HINTS)
def test_the_last_ones_stand_while_ssm_is_away(
    lab: Lab, firewall: Appliance, mute: Workload, anywhere: str, trouble: str
) -> None:
    """It is said once, with what to do, and again when it is over; meanwhile an edit does not count."""
    with preferred(lab, see_thru=TOMORROW):
        skip = len(firewall.config_events())
        with lab.trouble("ssm", trouble):
            event = wait_told(lab, skip, "the preferences cannot be read, the last ones stand", cat="error")
            assert "ssm:GetParameter" in event["reason"]
            assert HINTS[trouble] in event["reason"]
            write(lab, json.dumps({"%default": {"see_thru": TOMORROW, "ech": "allow"}}))
            assert mute.curl(anywhere).ok
            assert firewall.health()[0] == 200
        firewall.wait_for_event(cat="error", outcome="recovered", skip=skip)
        wait_told(lab, skip, 'ech: "allow"')
        told = [each for each in firewall.config_events()[skip:] if each["reason"].startswith("the preferences ")]
        assert [each["outcome"] for each in told] == ["failed", "recovered"]


@pytest.mark.parametrize("trouble", ["deny", "hang"])
def test_ssm_may_be_away_at_the_start(
    lab: Lab, firewall: Appliance, mute: Workload, anywhere: str, trouble: str
) -> None:
    """The policy does not wait for long: the safe defaults hold, and what is preferred once it can be read."""
    write(lab, json.dumps({"%default": {"see_thru": TOMORROW}}))
    firewall.stop()
    skip = len(firewall.config_events())
    with lab.trouble("ssm", trouble):
        firewall.start(PREFERRED, wait=False)
        firewall.wait_healthy(40)
        wait_told(lab, skip, "the preferences cannot be read, the safe defaults are in force", cat="error")
        assert not mute.curl(anywhere).ok
    wait_told(lab, skip, f'see_thru: "{TOMORROW}", was null')
    assert mute.curl(anywhere).ok
    skip = len(firewall.config_events())
    write(lab, '{"%default": {}}')
    wait_told(lab, skip, "see_thru: null")
