"""What moto does not do as AWS does about managed prefix lists, put right inside moto's own classes.

    close_prefix_list_gaps()      once per process, by moto_gaps.close_gaps()

Source: EC2 API references; measured against moto 5.2.5.
"""

from collections.abc import Callable
from typing import Any

import moto.ec2.models.managed_prefixes as lists
import moto.ec2.models.security_groups as groups
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

from tests.lab.moto_patch import wrap

PAGE = 100  # lists or entries, at most


def close_prefix_list_gaps() -> None:
    """Patch moto, once."""
    _keep_descriptions()
    _list_in_pages()
    _refuse_unknown_lists()
    _begin_empty()


def _keep_descriptions() -> None:
    """A rule that leads to a prefix list keeps its description."""

    def made(original: Callable[..., Any], self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        leads = next((each for each in arguments[6:] if isinstance(each, dict) and "PrefixListId" in each), None)
        self.leads_to = leads if self.prefix_list_id else None

    def flattened(original: Callable[..., Any], self: Any, rules: list[Any]) -> list[Any]:
        views: list[Any] = original(self, rules)
        for view in views:
            here = (view.from_port, view.to_port, view.ip_protocol)
            view.prefix_list_ids[:] = [
                rule.leads_to
                for rule in rules
                if rule.prefix_list_id and (rule.from_port, rule.to_port, rule.ip_protocol) == here
            ]
        return views

    wrap(groups.SecurityGroupRule, "__init__")(made)
    wrap(groups.SecurityGroup, "_flattened_rules")(flattened)


def _list_in_pages() -> None:
    """MaxResults and NextToken of both calls; TargetVersion of one that there is not is refused."""
    for action, key in (
        ("describe_managed_prefix_lists", "PrefixLists"),
        ("get_managed_prefix_list_entries", "Entries"),
    ):

        def paged(original: Callable[..., Any], self: Any, key: str = key) -> ActionResult:
            items = original(self).result[key]
            if items is None:
                raise EC2ClientError("InvalidPrefixListVersion", "The specified version does not exist.")
            start = int(self._get_param("NextToken", 0) or 0)
            size = min(int(self._get_param("MaxResults", 0) or PAGE), PAGE)
            page: dict[str, Any] = {key: items[start : start + size]}
            if start + size < len(items):
                page["NextToken"] = str(start + size)
            return ActionResult(page)

        wrap(EC2Response, action)(paged)


def _refuse_unknown_lists() -> None:
    """A list that does not exist, or no longer, has no entries to show."""

    def known(original: Callable[..., Any], self: Any) -> Any:
        id = self._get_param("PrefixListId")
        found = self.ec2_backend.managed_prefix_lists.get(id)
        if found is None or found.state == "delete-complete":
            raise EC2ClientError("InvalidPrefixListID.NotFound", f"The prefix list ID '{id}' does not exist.")
        return original(self)

    wrap(EC2Response, "get_managed_prefix_list_entries")(known)


def _begin_empty() -> None:
    """A list that is made without entries has a first version, with none."""

    def made(original: Callable[..., Any], self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.entries = self.entries or {self.version: []}

    wrap(lists.ManagedPrefixList, "__init__")(made)
