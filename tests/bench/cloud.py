"""Just enough AWS for a large VPC: EC2's two descriptions, CloudWatch Logs as a sink, IMDSv2, and the resolver.

The lab's emulator is faithful and slow; here 10,000 interfaces are described every few seconds and thousands of
log lines a second arrive, beside the measurement and on the same processors. So everything EC2 says is rendered
once, and nothing that arrives is looked at.

Source: EC2 API reference (query protocol, 2016-11-15), RFC 1035 section 4 (DNS messages).
"""

import json
import re
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Protocol

from tests.lab.namespaces import Namespace

METADATA: Final = "169.254.169.254"
RESOLVER: Final = "169.254.169.253"
API_PORT: Final = 8000
PAGE: Final = 1000  # items
TTL: Final = 3600  # seconds, of every name
REGION: Final = "eu-west-1"


@dataclass(frozen=True, slots=True)
class Group:
    """A Security Group: its id, and (port, CIDR block, description) of its TCP egress rules."""

    id: str
    rules: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface: its address and the ids of its groups."""

    address: str
    groups: tuple[str, ...]


class Cloud:
    """The services, in threads of this process, on addresses of one namespace."""

    def __init__(self, namespace: Namespace, networks: tuple[str, ...], addresses: Callable[[str], str]) -> None:
        """Start serving.

        Args:
            networks: IPv4 blocks of every VPC, as IMDS tells them.
            addresses: gives the address of a name, or nothing if there is no such name.
        """
        self.endpoint = f"http://{METADATA}:{API_PORT}"
        self.look_ups = 0
        self.log_octets = 0
        self._networks = networks
        self._addresses = addresses
        self._pages: dict[tuple[str, str], list[bytes]] = {}  # (operation, VPC) -> pages
        namespace.ip(f"address add {METADATA}/32 dev lo", f"address add {RESOLVER}/32 dev lo")
        self._servers = [
            _serve(namespace.listen(METADATA, 80), self._metadata),
            _serve(namespace.listen(METADATA, API_PORT), self._api),
        ]
        self._udp = namespace.bind(RESOLVER, 53)
        threading.Thread(target=self._resolve, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._udp.close()

    def describe(self, vpc: str, groups: list[Group], interfaces: list[Interface]) -> None:
        """Make a VPC hold these groups and interfaces."""
        self._pages["DescribeSecurityGroups", vpc] = _pages(
            "DescribeSecurityGroups", "securityGroupInfo", [_render_group(group, vpc) for group in groups]
        )
        self._pages["DescribeNetworkInterfaces", vpc] = _pages(
            "DescribeNetworkInterfaces", "networkInterfaceSet", [_render_interface(each, vpc) for each in interfaces]
        )

    def _api(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        target = request.headers.get("X-Amz-Target", "")
        if target:  # CloudWatch Logs
            self.log_octets += len(body)
            return 200, b"{}"
        form = urllib.parse.parse_qs(body.decode())
        action, page = form["Action"][0], int(form.get("NextToken", ["0"])[0])
        filters = {
            form[key][0]: form.get(key[: -len("Name")] + "Value.1", [""])[0] for key in form if _FILTER.fullmatch(key)
        }
        pages = self._pages.get((action, filters.get("vpc-id", "")))
        if pages is None or filters.keys() - {"vpc-id"}:  # a question about an unknown client: there is none
            return 200, _pages(action, _SETS.get(action, "set"), [])[0]
        return 200, pages[page]

    def _metadata(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        if request.path == "/latest/api/token":
            return 200, b"token"
        mac = "02:00:00:00:00:01"
        interface = f"/latest/meta-data/network/interfaces/macs/{mac}"
        document = {
            "instanceId": "i-0123456789abcdef0",
            "region": REGION,
            "availabilityZone": f"{REGION}a",
            "accountId": "123456789012",
        }
        answer = {
            "/latest/dynamic/instance-identity/document": json.dumps(document),
            "/latest/meta-data/mac": mac,
            "/latest/meta-data/local-ipv4": request.client_address[0],
            f"{interface}/vpc-ipv4-cidr-blocks": "\n".join(self._networks),
            f"{interface}/interface-id": "eni-0123456789abcdef0",
            f"{interface}/vpc-id": "vpc-bench",
        }.get(request.path)
        return (404, b"") if answer is None else (200, answer.encode())

    def _resolve(self) -> None:
        """Answer A questions: one address, or NXDOMAIN."""
        while True:
            try:
                query, source = self._udp.recvfrom(4096)
            except OSError:
                return
            self.look_ups += 1
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode())
                at += 1 + query[at]
            address = self._addresses(".".join(labels))
            question = query[12 : at + 5]
            head = query[:2] + struct.pack("!HHHHH", 0x8180 if address else 0x8183, 1, 1 if address else 0, 0, 0)
            answer = struct.pack("!HHHIH", 0xC00C, 1, 1, TTL, 4) + socket.inet_aton(address) if address else b""
            self._udp.sendto(head + question + answer, source)


_FILTER = re.compile(r"Filter\.\d+\.Name")
_SETS = {"DescribeSecurityGroups": "securityGroupInfo", "DescribeNetworkInterfaces": "networkInterfaceSet"}


def _pages(action: str, container: str, items: list[str]) -> list[bytes]:
    """Cut rendered items into the pages of an answer; the token of a page is its number."""
    pages: list[bytes] = []
    for start in range(0, max(len(items), 1), PAGE):
        more = f"<nextToken>{len(pages) + 1}</nextToken>" if start + PAGE < len(items) else ""
        inside = "".join(items[start : start + PAGE])
        pages.append(
            f'<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>0</requestId>'
            f"<{container}>{inside}</{container}>{more}</{action}Response>".encode()
        )
    return pages


def _render_group(group: Group, vpc: str) -> str:
    # One rule per permission: EC2 would put rules with the same port together, to the same effect.
    rules = "".join(
        f"<item><ipProtocol>tcp</ipProtocol><fromPort>{port}</fromPort><toPort>{port}</toPort><groups/><ipRanges><item>"
        f"<cidrIp>{cidr}</cidrIp><description>{description}</description></item></ipRanges></item>"
        for port, cidr, description in group.rules
    )
    return (
        f"<item><ownerId>123456789012</ownerId><groupId>{group.id}</groupId><groupName>{group.id}</groupName>"
        f"<vpcId>{vpc}</vpcId><ipPermissions/><ipPermissionsEgress>{rules}</ipPermissionsEgress></item>"
    )


def _render_interface(interface: Interface, vpc: str) -> str:
    groups = "".join(
        f"<item><groupId>{each}</groupId><groupName>{each}</groupName></item>" for each in interface.groups
    )
    number = int.from_bytes(socket.inet_aton(interface.address))
    return (
        f"<item><networkInterfaceId>eni-{number:017x}</networkInterfaceId><vpcId>{vpc}</vpcId><status>in-use</status>"
        f"<privateIpAddress>{interface.address}</privateIpAddress><groupSet>{groups}</groupSet>"
        f"<privateIpAddressesSet><item><privateIpAddress>{interface.address}</privateIpAddress><primary>true</primary>"
        "</item></privateIpAddressesSet></item>"
    )


class Answer(Protocol):
    """What turns a request and its body into a status and a body."""

    def __call__(self, request: BaseHTTPRequestHandler, body: bytes, /) -> tuple[int, bytes]:
        """Return status and body."""


def _serve(listener: socket.socket, answer: Answer) -> ThreadingHTTPServer:
    """Serve HTTP on a socket from threads."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            status, octets = answer(self, self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            self.send_response(status)
            self.send_header("Content-Length", str(len(octets)))
            self.send_header("Content-Type", "application/x-amz-json-1.1" if octets[:1] == b"{" else "text/xml")
            self.end_headers()
            self.wfile.write(octets)

        do_GET = do_PUT = do_POST = handle_one  # noqa: N815 -- http.server's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing: a box that is taken down cuts its connections."""

    server = Server(listener.getsockname(), Handler, bind_and_activate=False)
    server.daemon_threads = True
    server.socket.close()
    server.socket = listener
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    return server
