"""The metadata client against a small HTTP server that follows IMDSv2's rules."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.address import Network, parse_ipv4
from appliance.edge.imds import ANSWER_MAX, TOKEN_MARGIN, TOKEN_TTL, Identity, Imds
from appliance.errors import AwsError

pytestmark = pytest.mark.sockets

MAC = "0a:1b:2c:3d:4e:5f"
INTERFACE = f"/latest/meta-data/network/interfaces/macs/{MAC}"
DOCUMENT = {
    "accountId": "111122223333",
    "architecture": "arm64",
    "availabilityZone": "eu-west-1a",
    "billingProducts": None,
    "imageId": "ami-0123456789abcdef0",
    "instanceId": "i-0123456789abcdef0",
    "instanceType": "c7gn.medium",
    "privateIp": "10.0.0.10",
    "region": "eu-west-1",
    "version": "2017-09-30",
}
TREE = {
    "/latest/dynamic/instance-identity/document": json.dumps(DOCUMENT, indent=2),
    "/latest/meta-data/mac": MAC,
    "/latest/meta-data/local-ipv4": "10.0.0.10",
    f"{INTERFACE}/interface-id": "eni-0123456789abcdef0",
    f"{INTERFACE}/vpc-id": "vpc-0123456789abcdef0",
    f"{INTERFACE}/vpc-ipv4-cidr-blocks": "10.0.0.0/16\n100.64.0.0/20",
}
IDENTITY = Identity(
    instance_id="i-0123456789abcdef0",
    region="eu-west-1",
    zone="eu-west-1a",
    account="111122223333",
    interface_id="eni-0123456789abcdef0",
    private_address=parse_ipv4("10.0.0.10"),
    vpc_id="vpc-0123456789abcdef0",
    vpc_networks=(Network.parse("10.0.0.0/16"), Network.parse("100.64.0.0/20")),
    mac=MAC,
)


class MetadataService(http.server.ThreadingHTTPServer):
    """IMDSv2: no GET without a token it gave out."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MetadataHandler)
        self.tree = dict(TREE)
        self.tokens: list[str] = []
        self.valid: set[str] = set()
        self.status = 0  # answered to everything, unless 0
        self.requests: list[tuple[str, str, str]] = []  # method, path, `Host`
        self.stall = threading.Event()
        self.stalled = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class MetadataHandler(http.server.BaseHTTPRequestHandler):
    server: MetadataService

    def do_PUT(self) -> None:
        self._note()
        if self.path != "/latest/api/token" or self.headers["X-aws-ec2-metadata-token-ttl-seconds"] != str(TOKEN_TTL):
            self._answer(400, "")
            return
        token = f"AQAEA{len(self.server.tokens)}=="
        self.server.tokens.append(token)
        self.server.valid.add(token)
        self._answer(200, token)

    def do_GET(self) -> None:
        self._note()
        if self.headers["X-aws-ec2-metadata-token"] not in self.server.valid:
            self._answer(401, "")
        elif self.path in self.server.tree:
            self._answer(200, self.server.tree[self.path])
        else:
            self._answer(404, "<html>not found</html>")

    def _note(self) -> None:
        self.server.requests.append((self.command, self.path, self.headers["Host"]))
        if self.server.stalled:
            self.server.stall.wait(10)

    def _answer(self, status: int, body: str) -> None:
        octets = body.encode()
        self.send_response(self.server.status or status)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[MetadataService]:
    with MetadataService() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stall.set()
        server.shutdown()
        thread.join(10)


def test_identity_is_read_with_one_token(service: MetadataService) -> None:
    """Who we are comes from a handful of paths, all with the same token."""
    assert Imds(service.endpoint).identity() == IDENTITY
    assert len(service.tokens) == 1


def test_no_proxy_is_used(service: MetadataService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment would be asked for its own identity."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert Imds(service.endpoint).identity() == IDENTITY


def test_user_data_may_be_absent(service: MetadataService) -> None:
    """An instance launched without any has none, which is no error."""
    assert Imds(service.endpoint).user_data() == ""

    service.tree["/latest/user-data"] = "# Settings of discriminat"
    assert Imds(service.endpoint).user_data() == "# Settings of discriminat"


def test_a_path_that_is_not_there_is_none(service: MetadataService) -> None:
    """Optional metadata, such as a spot interruption, is told from an error."""
    service.tree["/latest/meta-data/spot/instance-action"] = '{"action": "stop"}'
    imds = Imds(service.endpoint)

    assert imds.get("/latest/meta-data/spot/instance-action") == '{"action": "stop"}'
    assert imds.get("/latest/meta-data/elastic-gpus") is None


def test_a_token_is_renewed_before_it_ends(service: MetadataService) -> None:
    """The same token serves until shortly before its end, then another is asked for."""
    now = [1000.0]
    imds = Imds(service.endpoint, clock=lambda: now[0])
    imds.get("/latest/meta-data/mac")
    now[0] += TOKEN_TTL - TOKEN_MARGIN - 1
    imds.get("/latest/meta-data/mac")
    assert len(service.tokens) == 1
    now[0] += 2
    imds.get("/latest/meta-data/mac")
    assert len(service.tokens) == 2


def test_a_token_that_is_refused_is_replaced_once(service: MetadataService) -> None:
    """A 401 leads to a new token and one more try; a second one is an error, not a loop."""
    imds = Imds(service.endpoint)
    imds.get("/latest/meta-data/mac")
    service.valid.clear()

    assert imds.get("/latest/meta-data/mac") == MAC
    assert len(service.tokens) == 2

    service.status = 401
    before = len(service.requests)
    with pytest.raises(AwsError, match="401"):
        imds.get("/latest/meta-data/mac")
    assert len(service.requests) - before <= 3


BAD_ANSWERS: dict[str, dict[str, Any]] = {
    "no document": {"/latest/dynamic/instance-identity/document": None},
    "a document that is no JSON": {"/latest/dynamic/instance-identity/document": "<html>"},
    "a document of another shape": {"/latest/dynamic/instance-identity/document": "[]"},
    "a document without the region": {"/latest/dynamic/instance-identity/document": '{"instanceId": "i-1"}'},
    "no network of the VPC": {f"{INTERFACE}/vpc-ipv4-cidr-blocks": None},
    "a network that is none": {f"{INTERFACE}/vpc-ipv4-cidr-blocks": "10.0.0.0"},
    "an address that is none": {"/latest/meta-data/local-ipv4": "::1"},
    "an answer without end": {"/latest/meta-data/mac": "0" * (ANSWER_MAX + 1)},
}


@pytest.mark.parametrize("changes", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_an_answer_that_cannot_be_read_is_an_error(service: MetadataService, changes: dict[str, Any]) -> None:
    """Identity is whole or an error."""
    for path, body in changes.items():
        service.tree.pop(path)
        if body is not None:
            service.tree[path] = body

    with pytest.raises(AwsError) as refused:
        Imds(service.endpoint).identity()

    assert refused.value.hint


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_a_refusal_is_an_error(service: MetadataService, status: int) -> None:
    """A switched-off or failing service is named with its status."""
    service.status = status

    with pytest.raises(AwsError, match=str(status)):
        Imds(service.endpoint).identity()


def test_nobody_there_is_an_error_with_a_hint() -> None:
    """A closed port is reported at once."""
    with pytest.raises(AwsError) as refused:
        Imds("http://127.0.0.1:9", timeout=0.5).identity()

    assert "127.0.0.1:9" in refused.value.message
    assert "EC2 instance" in refused.value.hint


def test_silence_ends_with_the_timeout(service: MetadataService) -> None:
    """A service that accepts and says nothing costs one timeout."""
    service.stalled = True

    with pytest.raises(AwsError, match="timed out"):
        Imds(service.endpoint, timeout=0.2).identity()


@pytest.mark.parametrize("endpoint", ["169.254.169.254", "https://169.254.169.254", "http://", ""])
def test_an_endpoint_must_be_a_url(endpoint: str) -> None:
    """A setting that is no http URL is refused before it is used."""
    with pytest.raises(AwsError, match="not an address"):
        Imds(endpoint)
