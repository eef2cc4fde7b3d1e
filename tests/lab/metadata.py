"""Metadata: the instance metadata service, version 2, of every host of the VPC.

Who asks is told by the source address, as the fabric delivers it; what is answered comes from the AWS API's state
(interfaces, subnets, groups) and from the few facts a host was registered with. A request without a token is
refused (401), so is a token of another host, and so is asking for a token through a proxy (403).

Source: EC2 user guide, "Use the Instance Metadata Service", "Instance metadata categories".
"""

import datetime
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from tests.lab.vpc_state import Interface, VpcState

TOKEN_TTL_MOST = 21600  # seconds
ROLE = "appliance"
CREDENTIALS_LIFE = datetime.timedelta(hours=6)


class Headers(Protocol):
    """The headers of a request."""

    def get(self, name: str, /) -> str | None:
        """Return a header's value, whatever the case of its name."""


@dataclass(frozen=True, slots=True)
class Host:
    """What the metadata service knows about an instance beyond the AWS API."""

    instance: str
    region: str
    role: str = ROLE
    type: str = "c7gn.medium"
    user_data: str = ""
    tags: dict[str, str] = field(default_factory=dict)


class Metadata:
    """The service; hosts register under the id of their first interface."""

    def __init__(self, listener: socket.socket, state: Callable[[], VpcState | None]) -> None:
        self._state = state
        self._hosts: dict[str, Host] = {}
        self._tokens: dict[str, tuple[str, float]] = {}  # token -> (source address, end in monotonic seconds)
        self.down = False  # answer 503 to everything
        self.requests: list[tuple[str, str]] = []  # source address, path
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                self._reply(*service.put(self.client_address[0], self.path, self.headers))

            def do_GET(self) -> None:
                self._reply(*service.get(self.client_address[0], self.path, self.headers))

            def _reply(self, status: int, body: str) -> None:
                octets = body.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(listener.getsockname(), Handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.socket.close()
        self._server.socket = listener
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="imds", daemon=True).start()

    def register(self, interface: str, host: Host) -> None:
        """Make an interface's addresses those of an instance."""
        self._hosts[interface] = host

    def expire_tokens(self) -> None:
        """Make every token given so far invalid."""
        self._tokens.clear()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def put(self, source: str, path: str, headers: Headers) -> tuple[int, str]:
        """Answer a PUT: status and body."""
        self.requests.append((source, path))
        if self.down:
            return 503, ""
        if path != "/latest/api/token":
            return 404, ""
        if headers.get("X-Forwarded-For") is not None:
            return 403, ""
        ttl = headers.get("X-aws-ec2-metadata-token-ttl-seconds") or ""
        if not ttl.isdecimal() or not 1 <= int(ttl) <= TOKEN_TTL_MOST:
            return 400, ""
        token = secrets.token_urlsafe(40)
        self._tokens[token] = (source, time.monotonic() + int(ttl))
        return 200, token

    def get(self, source: str, path: str, headers: Headers) -> tuple[int, str]:
        """Answer a GET: status and body."""
        self.requests.append((source, path))
        if self.down:
            return 503, ""
        owner, end = self._tokens.get(headers.get("X-aws-ec2-metadata-token") or "", ("", 0.0))
        if owner != source or end < time.monotonic():
            return 401, ""
        state = self._state()
        interface = state.holder(source) if state is not None else None
        host = self._hosts.get(interface.id) if interface is not None else None
        if state is None or interface is None or host is None:
            return 404, ""
        body = look_up(render_tree(state, interface, host), path)
        return (404, "") if body is None else (200, body)


Tree = dict[str, "str | Tree"]


def look_up(tree: Tree, path: str) -> str | None:
    """Return a leaf's text, a listing of a folder (folders end in a slash), or None."""
    here: str | Tree = tree
    for part in filter(None, path.split("/")):
        if not isinstance(here, dict) or part not in here:
            return None
        here = here[part]
    if isinstance(here, str):
        return here
    return "\n".join(name + ("/" if isinstance(below, dict) else "") for name, below in here.items())


def render_tree(state: VpcState, interface: Interface, host: Host) -> Tree:
    """Return everything one instance can see below http://169.254.169.254/."""
    zone = state.subnets[interface.subnet].zone
    attached = [
        each for each in state.interfaces.values() if interface.instance and each.instance == interface.instance
    ]
    meta: Tree = {
        "instance-id": host.instance,
        "instance-type": host.type,
        "local-ipv4": interface.addresses[0],
        "mac": interface.mac,
        "placement": {"availability-zone": zone, "region": host.region},
        "network": {"interfaces": {"macs": {each.mac: _interface(state, each) for each in attached or [interface]}}},
        "iam": {"security-credentials": {host.role: _credentials()}},
    }
    if interface.public:
        meta["public-ipv4"] = interface.public
    if host.tags:
        meta["tags"] = {"instance": dict(host.tags)}
    document = {
        "accountId": state.owner,
        "availabilityZone": zone,
        "instanceId": host.instance,
        "instanceType": host.type,
        "privateIp": interface.addresses[0],
        "region": host.region,
    }
    latest: Tree = {"meta-data": meta, "dynamic": {"instance-identity": {"document": json.dumps(document, indent=2)}}}
    if host.user_data:
        latest["user-data"] = host.user_data
    return {"latest": latest}


def _interface(state: VpcState, interface: Interface) -> Tree:
    tree: Tree = {
        "device-number": "0",
        "interface-id": interface.id,
        "local-ipv4s": "\n".join(interface.addresses),
        "mac": interface.mac,
        "owner-id": state.owner,
        "security-group-ids": "\n".join(interface.groups),
        "security-groups": "\n".join(state.groups[each].name for each in interface.groups if each in state.groups),
        "subnet-id": interface.subnet,
        "subnet-ipv4-cidr-block": state.subnets[interface.subnet].network,
        "vpc-id": state.id,
        "vpc-ipv4-cidr-block": state.networks[0],
        "vpc-ipv4-cidr-blocks": "\n".join(state.networks),
    }
    if interface.prefixes:
        tree["ipv4-prefix"] = "\n".join(interface.prefixes)
    if interface.public:
        tree["public-ipv4s"] = interface.public
    return tree


def _credentials() -> str:
    now = datetime.datetime.now(datetime.UTC)

    def stamp(when: datetime.datetime) -> str:
        return when.strftime("%Y-%m-%dT%H:%M:%SZ")

    return json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": "ASIALAB",
            "SecretAccessKey": "lab",
            "Token": "lab",
            "LastUpdated": stamp(now),
            "Expiration": stamp(now + CREDENTIALS_LIFE),
        }
    )
