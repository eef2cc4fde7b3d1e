"""The instance metadata service: who this machine is, and anything else it says by path.

Source: EC2 User Guide, "Instance metadata" (IMDSv2: a token by PUT, then GET with the token).

Version 1 is never spoken, and no proxy is ever used: the service is link-local.
"""

import contextlib
import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.address import Ipv4, Network, parse_ipv4
from appliance.errors import AwsError, InvalidAddress

ENDPOINT: Final = "http://169.254.169.254"
TIMEOUT: Final = 2.0  # seconds for one request; the service is on this very host
TOKEN_TTL: Final = 21600  # seconds: the longest there is
TOKEN_MARGIN: Final = 300.0  # seconds before its end that a token is renewed
ANSWER_MAX: Final = 65536  # octets (ours)

_TOKEN_PATH = "/latest/api/token"
_HINT = "run this on an EC2 instance, with its metadata service (version 2) switched on"


@dataclass(frozen=True, slots=True)
class Identity:
    """Where this machine is. The interface is the primary one; `vpc_networks` are all IPv4 blocks of the VPC."""

    instance_id: str
    region: str
    zone: str
    account: str
    interface_id: str
    private_address: Ipv4
    vpc_id: str
    vpc_networks: tuple[Network, ...]
    mac: str


class Imds:
    """Asks the metadata service. Every method blocks for TIMEOUT at most per request, two or three requests a call."""

    def __init__(
        self, endpoint: str = ENDPOINT, timeout: float = TIMEOUT, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        parts = urllib.parse.urlsplit(endpoint)
        if parts.scheme != "http" or not parts.hostname:
            raise AwsError(f"{endpoint!r} is not an address of the metadata service", hint=f"write {ENDPOINT}")
        self._host, self._port = parts.hostname, parts.port or 80
        self._endpoint = endpoint
        self._timeout = timeout
        self._clock = clock
        self._token = ""
        self._token_ends = 0.0
        self._lock = threading.Lock()

    def identity(self) -> Identity:
        """Return who this machine is.

        Raises:
            AwsError: the service cannot be reached, or says something else than AWS documents. The
                caller tries again: it may be slow to come up with the network.
        """
        document = self._need("/latest/dynamic/instance-identity/document")
        mac = self._need("/latest/meta-data/mac").strip().lower()
        interface = f"/latest/meta-data/network/interfaces/macs/{mac}"
        blocks = self._need(f"{interface}/vpc-ipv4-cidr-blocks")
        try:
            told = json.loads(document)
            return Identity(
                instance_id=str(told["instanceId"]),
                region=str(told["region"]),
                zone=str(told["availabilityZone"]),
                account=str(told["accountId"]),
                interface_id=self._need(f"{interface}/interface-id").strip(),
                private_address=parse_ipv4(self._need("/latest/meta-data/local-ipv4").strip()),
                vpc_id=self._need(f"{interface}/vpc-id").strip(),
                vpc_networks=tuple(Network.parse(block) for block in blocks.split()),
                mac=mac,
            )
        except (ValueError, KeyError, TypeError, InvalidAddress) as error:
            raise AwsError(f"the metadata service's answer cannot be read: {error!r}", hint=_HINT) from error

    def user_data(self) -> str:
        """Return the user data that this instance was launched with; empty if there is none.

        Raises:
            AwsError: the service cannot be reached, or refuses.
        """
        return self.get("/latest/user-data") or ""

    def get(self, path: str) -> str | None:
        """Return what stands at a path such as `/latest/meta-data/mac`; None if there is no such path.

        Raises:
            AwsError: the service cannot be reached, or refuses.
        """
        status, body = self._request("GET", path, {"X-aws-ec2-metadata-token": self._fresh_token()})
        if status == http.HTTPStatus.UNAUTHORIZED:  # the token ended early, as after a stop and start
            with self._lock:
                self._token = ""
            status, body = self._request("GET", path, {"X-aws-ec2-metadata-token": self._fresh_token()})
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        if status != http.HTTPStatus.OK:
            raise AwsError(f"the metadata service answers {status} to {path}", hint=_HINT)
        return body

    def _need(self, path: str) -> str:
        body = self.get(path)
        if body is None:
            raise AwsError(f"the metadata service has no {path}", hint=_HINT)
        return body

    def _fresh_token(self) -> str:
        with self._lock:
            if not self._token or self._clock() >= self._token_ends:
                asked = self._clock()
                status, body = self._request(
                    "PUT", _TOKEN_PATH, {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL)}
                )
                if status != http.HTTPStatus.OK or not body.isascii() or not body.isprintable() or not body:
                    raise AwsError(f"the metadata service answers {status} to a request for a token", hint=_HINT)
                self._token, self._token_ends = body, asked + TOKEN_TTL - TOKEN_MARGIN
            return self._token

    def _request(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """Return the status and the body of one exchange, on a connection of its own."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, headers=headers)
                response = connection.getresponse()
                body = response.read(ANSWER_MAX + 1)
            except (OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
                raise AwsError(f"the metadata service at {self._endpoint}: {reason}", hint=_HINT) from error
        if len(body) > ANSWER_MAX:
            raise AwsError(f"the metadata service's answer to {path} is longer than {ANSWER_MAX} octets", hint=_HINT)
        return response.status, body.decode("utf-8", "replace")
