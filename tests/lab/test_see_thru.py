"""See-thru: lets a client reach what its rules do not list, until a date, and says so in every line."""

import datetime

import pytest

from tests.lab.lab import Lab
from tests.lab.security_group import Rule, egress
from tests.lab.story import SHORT_WAITS, allowed, launch, refused, tls
from tests.lab.workload import Workload

pytestmark = pytest.mark.usefixtures("appliance")

TODAY = datetime.datetime.now(datetime.UTC).date()


def see_thru(days: int) -> Rule:
    """Return a rule that grants see-thru until so many days from now."""
    until = TODAY + datetime.timedelta(days)
    return egress("-1", None, description=f"discriminat:see-thru:{until.isoformat()}")


@pytest.fixture(scope="module")
def explorer(lab: Lab, appliance: object) -> Workload:
    """A client with see-thru until tomorrow, and one listed name."""
    return launch(lab, "see-thru", see_thru(1), tls("listed.see.test"))


def test_what_is_not_listed_passes_and_is_logged_as_exerted(lab: Lab, explorer: Workload) -> None:
    """The other fields say what the rules say: disallowed, and why."""
    server = lab.internet.tls("unlisted.see.test")

    assert explorer.curl("https://unlisted.see.test/").ok
    event = refused(lab, server, "name_not_listed", saw=None)
    assert event["see_thru_exerted"] is True
    assert event["see_thru_days_remaining"] == 1
    assert event["see_thru_gid"].startswith("sg-")
    assert event["dhost"] == "unlisted.see.test"


def test_what_is_listed_is_not_exerted(lab: Lab, explorer: Workload) -> None:
    """A grant that is not needed is shown, and not used."""
    server = lab.internet.tls("listed.see.test")

    assert explorer.curl("https://listed.see.test/").ok
    event, _ = allowed(lab, server)
    assert (event["see_thru_exerted"], event["see_thru_days_remaining"]) == (False, 1)


def test_plain_http_passes(lab: Lab, explorer: Workload) -> None:
    """On a port without annotation, with its request in the log."""
    server = lab.internet.http("plain.see.test", port=8000)

    assert explorer.curl("http://plain.see.test:8000/a").ok
    event = lab.appliance.wait_for_event(dst=server.address, dpt=8000, see_thru_exerted=True)
    assert event["outcome"] == "disallowed"
    assert event["code"] in ("port_not_listed", "http_plaintext")
    reply = lab.appliance.wait_for_event(dst=server.address, cat="server", outcome="disallowed")
    assert (reply["http_code"], reply["see_thru_exerted"]) == (200, True)


def test_ssh_passes(lab: Lab, explorer: Workload) -> None:
    """A server that speaks first is heard."""
    server = lab.internet.ssh("ssh.see.test")

    assert explorer.ssh("ssh.see.test", "echo", "hello").out == "hello\n"
    assert lab.appliance.wait_for_event(dst=server.address, dpt=22)["see_thru_exerted"] is True


def test_udp_passes(lab: Lab, explorer: Workload) -> None:
    """Both directions, and the first packet is logged."""
    server = lab.internet.udp("quic.see.test")

    assert explorer.exchange_datagram(server.address, 443, b"ping") == b"ping"
    assert lab.appliance.wait_for_event(dst=server.address, dpt=443)["see_thru_exerted"] is True


def test_a_silent_client_and_a_mute_server_pass(lab: Lab, explorer: Workload) -> None:
    """See-thru learns what a workload does; it must not break protocols nobody has heard of."""
    server = lab.internet.lines("odd.see.test", port=7000, greeting=b"HELO?\n")

    with explorer.connect(server.address, 7000) as stream:
        assert stream.recv(100) == b"HELO?\n"
        stream.sendall(b"\x00\x01")
        assert lab.appliance.wait_for_event(dst=server.address, dpt=7000)["see_thru_exerted"] is True


@pytest.mark.parametrize("address", ["169.254.10.10", "192.168.1.1", "172.16.0.1", "100.127.9.9", "10.99.0.1"])
def test_private_destinations_stay_out_of_reach(lab: Lab, explorer: Workload, address: str) -> None:
    """Other networks are refused whatever the grant (D8), and the log does not claim otherwise."""
    with pytest.raises(ConnectionRefusedError):
        explorer.connect(address, 8123)
    event = lab.appliance.wait_for_event(dst=address, code="destination_private", outcome="disallowed")
    assert event["see_thru_exerted"] is False


def test_an_expired_grant_lets_nothing_pass(lab: Lab) -> None:
    """It is shown in the log, with the days since, for as long as it stands in the rule."""
    server = lab.internet.tls("expired.see.test")
    client = launch(lab, "expired", see_thru(-3), tls("other.see.test"))

    assert not client.curl("https://expired.see.test/").ok
    event = refused(lab, server, "name_not_listed", src=client.address)
    assert (event["see_thru_exerted"], event["see_thru_days_remaining"]) == (False, -3)


def test_a_grant_holds_through_its_last_day(lab: Lab) -> None:
    """The date is inclusive."""
    server = lab.internet.tls("today.see.test")
    client = launch(lab, "today", see_thru(0))

    assert client.curl("https://today.see.test/").ok
    assert lab.appliance.wait_for_event(dst=server.address)["see_thru_days_remaining"] == 0


def test_a_grant_that_is_taken_away_ends(lab: Lab) -> None:
    """New connections are refused as soon as the edit is read; the config log says that it went."""
    server = lab.internet.tls("gone.see.test")
    group = lab.security_group("gone", see_thru(5), egress("tcp", 443))
    client = lab.workload("gone", groups=[group])
    lab.appliance.wait_for_event(cat="see-thru", outcome="accepted", gid=group.id)
    assert client.curl("https://gone.see.test/").ok
    server.forget()

    lab.edit_rule(group, description="nothing")

    lab.appliance.wait_for_event(cat="see-thru", outcome="removed", gid=group.id)
    assert not client.curl("https://gone.see.test/").ok
    assert server.received() == b""


CLOCK = """
import datetime as _datetime, os, pathlib, time as _time
_shift = pathlib.Path(os.environ["LAB_CLOCK"])
_real = _time.time
def _offset():
    return float(_shift.read_text())
class datetime(_datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(_real() + _offset(), tz)
_datetime.datetime = datetime
_time.time = lambda: _real() + _offset()
"""


def test_the_clock_may_jump(lab: Lab) -> None:
    """A day passes in a moment, forwards and backwards: the grant ends and comes back, and nothing else happens."""
    lab.appliance.stop()
    folder = lab.directory / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK)
    (folder / "shift").write_text("0")
    lab.appliance.start(SHORT_WAITS, env={"PYTHONPATH": str(folder), "LAB_CLOCK": str(folder / "shift")})
    server = lab.internet.tls("clock.see.test")
    client = launch(lab, "clock", see_thru(0), egress("tcp", 443))
    assert client.curl("https://clock.see.test/").ok

    (folder / "shift").write_text("86400")
    event = wait_for_days(lab, client, -1)
    assert event["see_thru_exerted"] is False
    assert not client.curl("https://clock.see.test/").ok

    (folder / "shift").write_text("-86400")
    event = wait_for_days(lab, client, 1)
    server.forget()
    assert client.curl("https://clock.see.test/").ok
    assert server.received() != b""
    assert lab.appliance.health()[0] == 200
    assert "Traceback" not in lab.appliance.said()


def wait_for_days(lab: Lab, client: Workload, days: int) -> dict[str, object]:
    """Connect until the log shows so many days remaining; return the event."""
    return lab.appliance.wait_for_event(
        lambda event: client.curl("https://clock.see.test/").code >= 0 and event.get("see_thru_days_remaining") == days,
        src=client.address,
        timeout=20,
    )
