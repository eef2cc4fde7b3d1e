"""GET /healthz, asked over loopback."""

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from appliance.edge.health import HealthServer

pytestmark = pytest.mark.sockets


class Report:
    """What the appliance says of itself."""

    def __init__(self) -> None:
        self.is_well = True

    def __call__(self) -> tuple[bool, dict[str, object]]:
        return self.is_well, {"policy_age": 1.5, "workers": 2}


@pytest.fixture
def report() -> Report:
    return Report()


@pytest.fixture
def server(report: Report) -> Iterator[HealthServer]:
    server = HealthServer(0, report)
    server.start()
    yield server
    server.close()


def ask(server: HealthServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_well(server: HealthServer) -> None:
    """200, and the details as JSON."""
    status, body = ask(server, "/healthz")
    assert (status, json.loads(body)) == (200, {"policy_age": 1.5, "workers": 2})


def test_unwell(server: HealthServer, report: Report) -> None:
    """503, with the same details."""
    report.is_well = False
    status, body = ask(server, "/healthz")
    assert (status, json.loads(body)["workers"]) == (503, 2)


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/healthz/x", "GET", 404), ("/healthz", "POST", 501)]
)
def test_anything_else(server: HealthServer, path: str, method: str, status: int) -> None:
    """Is not there."""
    assert ask(server, path, method)[0] == status


def test_a_prober_that_sends_nothing_holds_up_nobody(server: HealthServer) -> None:
    """Each is served by a thread of its own."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5):
        assert ask(server, "/healthz")[0] == 200


def test_close_frees_the_port(report: Report) -> None:
    """The next one may have it."""
    server = HealthServer(0, report)
    server.start()
    server.close()
    with pytest.raises(OSError, match="refused"):
        ask(server, "/healthz")


def test_nothing_is_printed(server: HealthServer, capfd: pytest.CaptureFixture[str]) -> None:
    """A prober every second is no news."""
    ask(server, "/healthz")
    ask(server, "/x")
    assert capfd.readouterr() == ("", "")
