"""Managed prefix lists: those that annotated rules lead to, read again when their version is another.

Source: EC2 API, DescribeManagedPrefixLists and GetManagedPrefixListEntries.

- What cannot be read stays as it was read last, with the trouble told; what was never read has no networks.
- A list that EC2 does not show any more is gone: what was read of it counts no more.
- AWS's own lists carry no version. They are read again every UNVERSIONED_AGE seconds.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from appliance.address import Network
from appliance.aws import asking
from appliance.errors import AwsError, InvalidAddress
from appliance.policy.annotation import Allow, parse_description
from appliance.policy.destination import PrefixList
from appliance.policy.inventory import SecurityGroup

PAGE: Final = 100  # lists or entries: the most EC2 returns at once
FILTER_VALUES: Final = 200  # values: the most one filter takes
UNVERSIONED_AGE: Final = 300.0  # seconds
GONE: Final = "EC2 does not show it: it was deleted, or is shared with this account no more"

Item = Mapping[str, Any]


class Paginator(Protocol):
    """The part of a boto3 paginator that is used here."""

    def paginate(self, **arguments: Any) -> Iterable[Item]:
        """Yield the pages of an answer."""


class Ec2(Protocol):
    """The part of a boto3 EC2 client that is used here."""

    def get_paginator(self, operation_name: str) -> Paginator:
        """Return the paginator of an operation."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A list as it was read. `version`: None for AWS's own lists; `at`: monotonic seconds."""

    content: PrefixList
    version: int | None
    at: float


class PrefixListReader:
    """Reads the lists that groups refer to. It may be called from any thread; two at once read twice, no worse."""

    def __init__(self, client: Ec2, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._read: dict[str, _Reading] = {}

    def follow(self, groups: Iterable[SecurityGroup]) -> tuple[PrefixList, ...]:
        """Return the lists of all groups there are, as EC2 has them now, and forget all others."""
        wanted = _wanted(groups)
        for list_id in self._read.copy().keys() - wanted:
            self._read.pop(list_id, None)
        return self._refresh(wanted)

    def of(self, groups: Iterable[SecurityGroup]) -> tuple[PrefixList, ...]:
        """Return the lists of some groups; EC2 is asked for those alone that were never read."""
        wanted = _wanted(groups)
        held = self._read.copy()  # another thread may forget one just now
        known = tuple(held[list_id].content for list_id in sorted(wanted & held.keys()))
        return known + self._refresh(wanted - held.keys())

    def _refresh(self, wanted: Iterable[str]) -> tuple[PrefixList, ...]:
        ids = sorted(wanted)
        lists: list[PrefixList] = []
        for start in range(0, len(ids), FILTER_VALUES):
            part = ids[start : start + FILTER_VALUES]
            here = [{"Name": "prefix-list-id", "Values": part}]
            try:
                found = self._ask("describe_managed_prefix_lists", "PrefixLists", Filters=here)
                described = {str(item["PrefixListId"]): item for item in found}
            except (AwsError, KeyError) as fault:
                lists += (self._troubled(list_id, _words(fault)) for list_id in part)
                continue
            lists += (self._current(list_id, described.get(list_id)) for list_id in part)
        return tuple(lists)

    def _current(self, list_id: str, item: Item | None) -> PrefixList:
        if item is None:
            self._read.pop(list_id, None)
            return PrefixList(list_id, None, trouble=GONE)
        held = self._read.get(list_id)
        version, now = item.get("Version"), self._clock()
        if held and held.version == version and (version is not None or now - held.at < UNVERSIONED_AGE):
            return held.content
        try:
            content = self._entries(list_id, item, version)
        except (AwsError, KeyError, TypeError, InvalidAddress) as fault:
            return self._troubled(list_id, _words(fault))
        self._read[list_id] = _Reading(content, version, now)
        return content

    def _entries(self, list_id: str, item: Item, version: int | None) -> PrefixList:
        if item.get("AddressFamily") == "IPv6":
            return PrefixList(list_id, (), is_ipv6=True)
        # Pages of one version: a list that is being edited must not be half the one and half the other.
        pinned = {} if version is None else {"TargetVersion": version}
        return parse_entries(
            list_id, self._ask("get_managed_prefix_list_entries", "Entries", PrefixListId=list_id, **pinned)
        )

    def _troubled(self, list_id: str, trouble: str) -> PrefixList:
        held = self._read.get(list_id)
        return replace(held.content, trouble=trouble) if held else PrefixList(list_id, None, trouble=trouble)

    def _ask(self, operation: str, key: str, **arguments: Any) -> list[Item]:
        with asking("ec2", operation) as action:
            try:
                pages = self._client.get_paginator(operation).paginate(**arguments, PaginationConfig={"PageSize": PAGE})
                return [item for page in pages for item in page[key]]
            except KeyError as error:
                raise AwsError(f"{action} answered without {key}") from error


def parse_entries(list_id: str, entries: Iterable[Item]) -> PrefixList:
    """Return a list by its entries, as GetManagedPrefixListEntries gives them.

    Raises:
        InvalidAddress: an entry is no CIDR block.
        KeyError, TypeError: these are something else.
    """
    blocks = [entry["Cidr"] for entry in entries]
    if blocks and all(":" in block for block in blocks):
        return PrefixList(list_id, (), is_ipv6=True)
    return PrefixList(list_id, tuple(map(Network.parse, blocks)))


def _wanted(groups: Iterable[SecurityGroup]) -> set[str]:
    """Return the lists that rules with names lead to."""
    return {
        egress.destination
        for group in groups
        for egress in group.rules
        if egress.destination.startswith("pl-")
        and any(isinstance(each, Allow) for each in parse_description(egress.description).annotations)
    }


def _words(fault: Exception) -> str:
    return fault.message if isinstance(fault, AwsError | InvalidAddress) else f"the answer cannot be read: {fault!r}"
