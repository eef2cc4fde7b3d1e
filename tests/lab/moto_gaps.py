"""What moto does not do as AWS does, put right inside moto's own classes, as far as the lab needs it.

    close_gaps()      once per process, before the emulator serves

Each function names the AWS behaviour it brings; what it takes to launch an instance is in moto_launch.py, what an
Auto Scaling group does in moto_autoscaling.py, what it takes to make an image in moto_snapshots.py and moto_images.py.
The patches reach into private classes, so the version of moto is pinned; a gap that moto closes itself makes its
function here superfluous, not wrong.

Source: EC2 and CloudWatch Logs API references; measured against moto 5.2.5.
"""

import functools
import ipaddress
import itertools
import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import moto.ec2.models.elastic_ip_addresses as addresses
import moto.ec2.models.elastic_network_interfaces as interfaces
import moto.logs.responses as logs
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response
from moto.logs.exceptions import InvalidParameterException

from tests.lab.fabric_rules import PUBLIC_POOL
from tests.lab.moto_autoscaling import close_autoscaling_gaps
from tests.lab.moto_images import close_image_gaps
from tests.lab.moto_launch import close_launch_gaps
from tests.lab.moto_patch import wrap
from tests.lab.moto_prefix_lists import close_prefix_list_gaps
from tests.lab.moto_snapshots import close_snapshot_gaps

DESCRIPTION = re.compile(r"[0-9A-Za-z_ .:/()#,@\[\]+=&;{}!$*-]{0,255}")
SUBNET_RESERVED = 4  # first addresses of a subnet that AWS keeps


class Paging:
    """How much one answer of a list holds; tests make it small to see several pages in a small VPC."""

    most: int = 1000  # items, whatever MaxResults asks for


BATCH_OCTETS = 1_048_576  # PutLogEvents, with EVENT_OVERHEAD for each event
EVENT_OVERHEAD = 26  # octets
EVENT_OCTETS = 1_048_576  # one event with its overhead (262,144 until April 2025)
BATCH_EVENTS = 10_000
BATCH_SPAN = 24 * 3600 * 1000  # milliseconds


@functools.cache
def close_gaps() -> None:
    """Patch moto, once."""
    _check_descriptions()
    _list_in_pages()
    _give_free_addresses()
    _delegate_prefixes()
    _find_any_private_address()
    _give_public_addresses()
    _limit_log_batches()
    _keep_query_definitions()
    close_launch_gaps()
    close_snapshot_gaps()
    close_image_gaps()
    close_autoscaling_gaps()
    close_prefix_list_gaps()


def _check_descriptions() -> None:
    """Rule descriptions: at most 255 characters of AWS's set."""

    def check(value: Any) -> None:
        for each in value if isinstance(value, list) else [value] if isinstance(value, dict) else []:
            for key, inner in each.items():
                if key == "Description" and isinstance(inner, str) and not DESCRIPTION.fullmatch(inner):
                    raise EC2ClientError(
                        "InvalidParameterValue",
                        "Invalid rule description. Valid descriptions are strings less than 256 characters from the "
                        "following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
                    )
                check(inner)

    def checked(original: Callable[..., Any], self: Any) -> Any:
        check(self._get_param("IpPermissions", []))
        check(self._get_param("SecurityGroupRules", []))
        return original(self)

    for direction in ("ingress", "egress"):
        wrap(EC2Response, f"authorize_security_group_{direction}")(checked)
        wrap(EC2Response, f"update_security_group_rule_descriptions_{direction}")(checked)
    wrap(EC2Response, "modify_security_group_rules")(checked)


def _list_in_pages() -> None:
    """MaxResults and NextToken of the two lists the appliance polls."""
    for action, key in (
        ("describe_network_interfaces", "NetworkInterfaces"),
        ("describe_security_groups", "SecurityGroups"),
    ):

        def paged(original: Callable[..., Any], self: Any, key: str = key) -> ActionResult:
            items = list(original(self).result[key])
            start = int(self._get_param("NextToken", 0) or 0)
            size = min(int(self._get_param("MaxResults", 0) or Paging.most), Paging.most)
            page: dict[str, Any] = {key: items[start : start + size]}
            if start + size < len(items):
                page["NextToken"] = str(start + size)
            return ActionResult(page)

        wrap(EC2Response, action)(paged)


def _give_free_addresses() -> None:
    """An interface without a chosen address gets a free one of its subnet, not a random one."""

    def free(original: Callable[..., Any], self: Any, subnet: Any, private: Any, *rest: Any, **options: Any) -> Any:
        if isinstance(subnet, str):
            subnet = self.get_subnet(subnet)
        if not private and not (rest and rest[0]):
            network = ipaddress.IPv4Network(subnet.cidr_block)
            taken = {item["PrivateIpAddress"] for each in self.enis.values() for item in each.private_ip_addresses}
            hosts = itertools.islice(network.hosts(), SUBNET_RESERVED - 1, None)
            private = next(str(host) for host in hosts if str(host) not in taken)
        return original(self, subnet, private, *rest, **options)

    wrap(interfaces.NetworkInterfaceBackend, "create_network_interface")(free)


def _delegate_prefixes() -> None:
    """Ipv4Prefixes of CreateNetworkInterface and AssignPrivateIpAddresses."""
    prefixes = property(lambda self: self.__dict__.setdefault("_ipv4_prefixes", []))
    interfaces.NetworkInterface.ipv4_prefixes = prefixes  # type: ignore[attr-defined]

    def created(original: Callable[..., Any], self: Any) -> Any:
        answer = original(self)
        answer.result["NetworkInterface"].ipv4_prefixes.extend(self._get_param("Ipv4Prefixes", []))
        return answer

    def assigned(original: Callable[..., Any], self: Any) -> Any:
        wanted = self._get_param("Ipv4Prefixes", [])
        eni = self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId"))
        eni.ipv4_prefixes.extend({"Ipv4Prefix": each} for each in wanted)
        return original(self)

    def unassigned(original: Callable[..., Any], self: Any) -> Any:
        gone = self._get_param("Ipv4Prefixes", [])
        eni = self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId"))
        eni.ipv4_prefixes[:] = [each for each in eni.ipv4_prefixes if each["Ipv4Prefix"] not in gone]
        return original(self)

    wrap(EC2Response, "create_network_interface")(created)
    wrap(EC2Response, "assign_private_ip_addresses")(assigned)
    wrap(EC2Response, "unassign_private_ip_addresses")(unassigned)


def _find_any_private_address() -> None:
    """The filter addresses.private-ip-address looks at every private address, not at the primary one only."""

    def found(original: Callable[..., Any], self: Any, name: str, method: str | None = None) -> Any:
        if name == "addresses.private-ip-address":
            return [item["PrivateIpAddress"] for item in self.private_ip_addresses]
        return original(self, name, method)

    wrap(interfaces.NetworkInterface, "get_filter_value")(found)


def _give_public_addresses() -> None:
    """Elastic IPs are different from one another and routable; moto draws them from 127.0.0.0/8."""
    pool = PUBLIC_POOL.hosts()
    addresses.random_ip = lambda: str(next(pool))  # type: ignore[attr-defined]


def _limit_log_batches() -> None:
    """PutLogEvents refuses what is too much at once, as a whole."""

    def limited(original: Callable[..., Any], self: Any) -> Any:
        events = self._get_param("logEvents")
        sizes = [len(event["message"].encode()) + EVENT_OVERHEAD for event in events]
        times = [event["timestamp"] for event in events]
        if not events or len(events) > BATCH_EVENTS:
            raise InvalidParameterException(f"1 validation error: logEvents has {len(events)} members, want 1 to 10000")
        if sum(sizes) > BATCH_OCTETS:
            raise InvalidParameterException(f"Upload too large: {sum(sizes)} bytes exceeds limit of {BATCH_OCTETS}")
        if max(sizes) > EVENT_OCTETS:
            raise InvalidParameterException(f"Log event too large: {max(sizes)} bytes exceeds limit of {EVENT_OCTETS}")
        if max(times) - min(times) > BATCH_SPAN:
            raise InvalidParameterException(
                "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
            )
        return original(self)

    wrap(logs.LogsResponse, "put_log_events")(limited)


def _keep_query_definitions() -> None:
    """PutQueryDefinition, DescribeQueryDefinitions and DeleteQueryDefinition of CloudWatch Logs."""

    def kept(self: Any) -> dict[str, dict[str, Any]]:
        definitions: dict[str, dict[str, Any]] = self.logs_backend.__dict__.setdefault("query_definitions", {})
        return definitions

    def put(self: Any) -> str:
        id = self._get_param("queryDefinitionId") or str(uuid.uuid4())
        known = {key: self._get_param(key) for key in ("name", "queryString", "logGroupNames")}
        written = {"queryDefinitionId": id, "lastModified": int(time.time() * 1000)}
        kept(self)[id] = written | {key: value for key, value in known.items() if value}
        return json.dumps({"queryDefinitionId": id})

    def describe(self: Any) -> str:
        prefix = self._get_param("queryDefinitionNamePrefix") or ""
        found = [each for each in kept(self).values() if each["name"].startswith(prefix)]
        return json.dumps({"queryDefinitions": found})

    def delete(self: Any) -> str:
        return json.dumps({"success": kept(self).pop(self._get_param("queryDefinitionId"), None) is not None})

    logs.LogsResponse.put_query_definition = put  # type: ignore[attr-defined]
    logs.LogsResponse.describe_query_definitions = describe  # type: ignore[attr-defined]
    logs.LogsResponse.delete_query_definition = delete  # type: ignore[attr-defined]
