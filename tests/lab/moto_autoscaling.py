"""What moto does not do as Auto Scaling does with a group of instances, put right; see moto_gaps.py.

An instance of a group with a launch hook is `Pending:Wait` until somebody completes the hook: with CONTINUE it is in
service, with ABANDON it ends and another one is launched. There is no clock in here: a hook never times out, a
replacement is launched at once, and one that failed is tried again when somebody looks at the group.

Source: Amazon EC2 Auto Scaling API reference; user guide, "Lifecycle hooks", "Instance refresh", "Health checks".
"""

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import moto.autoscaling.models as groups
from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError

from tests.lab.moto_launch import launch
from tests.lab.moto_patch import wrap

HELD, SERVING = "Pending:Wait", "InService"
LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"


def close_autoscaling_gaps() -> None:
    """Patch moto; moto_gaps calls it once."""
    _take_turns()
    _launch_the_right_version()
    _keep_attributes()
    _keep_hooks()
    _complete_hooks()
    _replace_the_unhealthy()
    _refresh_instances()
    _tell_failures()


class InstanceRefreshInProgress(AutoscalingClientError):
    code = "InstanceRefreshInProgress"


class ActiveInstanceRefreshNotFound(AutoscalingClientError):
    code = "ActiveInstanceRefreshNotFound"


def _take_turns() -> None:
    """Two requests about one group do not both launch what is missing."""
    turn = threading.RLock()

    def called(original: Callable[..., Any], self: Any) -> Any:
        with turn:
            return original(self)

    wrap(AutoScalingResponse, "call_action")(called)


def _launch_the_right_version() -> None:
    """A group launches from the version of its template that it names, and holds what it launched for its hooks."""

    def launched(original: Callable[..., Any], self: Any, count: int, tags: dict[str, str]) -> None:
        if self.ec2_launch_template is None:
            original(self, count, tags)
            return
        version = self.ec2_launch_template.get_version(self.launch_template_version)
        subnet = self.vpc_zone_identifier.split(",")[0] if self.vpc_zone_identifier else None
        for _ in range(count):
            try:
                instance = launch(
                    self.ec2_backend,
                    version,
                    zone=self.availability_zones[0],
                    subnet=subnet,
                    tags={**tags, groups.ASG_NAME_TAG: self.name},
                )
            except EC2ClientError as refused:
                _failures(self).append(_failure(self, str(refused.message)))
                return
            instance.autoscaling_group = self
            hooks = self.autoscaling_backend.describe_lifecycle_hooks(self.name)
            state = groups.InstanceState(
                instance,
                HELD if any(each.lifecycle_transition == LAUNCHING for each in hooks) else SERVING,
                protected_from_scale_in=self.new_instances_protected_from_scale_in,
            )
            state.launched_version = str(version.number)
            state.launched_at = time.monotonic()
            self.instance_states.append(state)

    def active(original: Callable[..., Any], self: Any) -> list[Any]:
        return [each for each in self.instance_states if each.lifecycle_state in (HELD, SERVING)]

    wrap(groups.FakeAutoScalingGroup, "replace_autoscaling_group_instances")(launched)
    wrap(groups.FakeAutoScalingGroup, "active_instances")(active)
    original = groups.InstanceState.launch_template.fget  # type: ignore[attr-defined]

    def template(self: Any) -> dict[str, Any] | None:
        told = original(self)
        return told and told | {"Version": getattr(self, "launched_version", told["Version"])}

    groups.InstanceState.launch_template = property(template)  # type: ignore[method-assign]


def _keep_attributes() -> None:
    """Attributes of a group that moto takes and forgets."""
    numbers = {
        "DefaultInstanceWarmup": "default_instance_warmup",
        "MaxInstanceLifetime": "max_instance_lifetime",
        "DefaultCooldown": "default_cooldown",
        "HealthCheckGracePeriod": "health_check_grace_period",
    }

    def kept(original: Callable[..., Any], self: Any) -> Any:
        answer = original(self)
        group = _group(self)
        for parameter, attribute in numbers.items():
            if (value := self._get_int_param(parameter)) is not None:
                setattr(group, attribute, value)
        if policies := self._get_param("TerminationPolicies"):
            group.termination_policies = policies
        if policy := self._get_param("InstanceMaintenancePolicy"):
            limits = {key: int(value) for key, value in policy.items()}
            group.instance_maintenance_policy = None if -1 in limits.values() else limits  # -1: take it away
        return answer

    def created(original: Callable[..., Any], self: Any) -> Any:
        answer = kept(original, self)
        if self._get_param("HealthCheckGracePeriod") is None:
            _group(self).health_check_grace_period = 0  # the API's default; 300 is the console's
        return answer

    wrap(AutoScalingResponse, "create_auto_scaling_group")(created)
    wrap(AutoScalingResponse, "update_auto_scaling_group")(kept)


def _keep_hooks() -> None:
    """A hook notifies nobody unless told so, can come with its group, and goes with it."""

    def put(original: Callable[..., Any], self: Any, **hook: Any) -> Any:
        made = original(self, **hook)
        made.role_arn = made.notification_target_arn = None
        return made

    def described(original: Callable[..., Any], self: Any) -> Any:
        answer = original(self)
        hook = self.autoscaling_backend.lifecycle_hooks[
            f"{self._get_param('AutoScalingGroupName')}_{self._get_param('LifecycleHookName')}"
        ]
        hook.role_arn, hook.notification_target_arn = (
            self._get_param("RoleARN"),
            self._get_param("NotificationTargetARN"),
        )
        hook.notification_metadata = self._get_param("NotificationMetadata")
        return answer

    def created(original: Callable[..., Any], self: Any) -> Any:
        for hook in self._get_param("LifecycleHookSpecificationList", []):
            self.autoscaling_backend.create_lifecycle_hook(
                name=hook["LifecycleHookName"],
                as_name=self._get_param("AutoScalingGroupName"),
                transition=hook["LifecycleTransition"],
                timeout=int(hook["HeartbeatTimeout"]) if "HeartbeatTimeout" in hook else None,
                result=hook.get("DefaultResult"),
            )
        return original(self)

    def deleted(original: Callable[..., Any], self: Any, name: str) -> Any:
        answer = original(self, name)
        for hook in self.describe_lifecycle_hooks(name):
            self.delete_lifecycle_hook(name, hook.name)
        return answer

    wrap(groups.AutoScalingBackend, "create_lifecycle_hook")(put)
    wrap(groups.AutoScalingBackend, "delete_auto_scaling_group")(deleted)
    wrap(AutoScalingResponse, "put_lifecycle_hook")(described)
    wrap(AutoScalingResponse, "create_auto_scaling_group")(created)


def _complete_hooks() -> None:
    """CompleteLifecycleAction."""

    def complete(self: Any) -> EmptyResult:
        group, id = _group(self), self._get_param("InstanceId")
        held = [each for each in group.instance_states if each.instance.id == id and each.lifecycle_state == HELD]
        hooks = self.autoscaling_backend.describe_lifecycle_hooks(group.name, [self._get_param("LifecycleHookName")])
        if not held or not hooks:
            raise ValidationError(f"No active Lifecycle Action found with instance ID {id}")
        if self._get_param("LifecycleActionResult") == "CONTINUE":
            held[0].lifecycle_state, held[0].launched_at = SERVING, time.monotonic()
        else:
            _replace(group, held[0])
        return EmptyResult()

    AutoScalingResponse.complete_lifecycle_action = complete  # type: ignore[attr-defined]


def _replace_the_unhealthy() -> None:
    """SetInstanceHealth Unhealthy: the instance ends, once its grace period is over or is not respected."""

    def told(original: Callable[..., Any], self: Any) -> EmptyResult:
        id, status = self._get_param("InstanceId"), self._get_param("HealthStatus")
        found = [
            each
            for group in self.autoscaling_backend.autoscaling_groups.values()
            for each in group.instance_states
            if each.instance.id == id
        ]
        if not found:
            raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {id}")
        group = found[0].auto_scaling_group
        graced = self._get_bool_param("ShouldRespectGracePeriod", True)
        graced = graced and time.monotonic() - found[0].launched_at < (group.health_check_grace_period or 0)
        if status == "Healthy" or not graced:
            found[0].health_status = status
        if found[0].health_status == "Unhealthy":
            _replace(group, found[0])
        return EmptyResult()

    wrap(AutoScalingResponse, "set_instance_health")(told)


def _refresh_instances() -> None:
    """StartInstanceRefresh, DescribeInstanceRefreshes and CancelInstanceRefresh: the rolling kind, one at a time."""

    def start(self: Any) -> ActionResult:
        group = _group(self)
        if any(each["Status"] == "InProgress" for each in settled(group)):
            raise InstanceRefreshInProgress(f"An Instance Refresh is already in progress for {group.name}")
        preferences = self._get_param("Preferences", {})
        wanted = str(group.ec2_launch_template.get_version(group.launch_template_version).number)
        skips = str(preferences.get("SkipMatching", "false")).lower() == "true"
        old = [each for each in group.instance_states if not skips or each.launched_version != wanted]
        policy = getattr(group, "instance_maintenance_policy", None) or {}
        most = int(preferences.get("MaxHealthyPercentage") or policy.get("MaxHealthyPercentage") or 100)
        refresh = {
            "InstanceRefreshId": str(uuid.uuid4()),
            "AutoScalingGroupName": group.name,
            "Status": "InProgress",
            "StartTime": utcnow(),
            "PercentageComplete": 0,
            "InstancesToUpdate": len(old),
            "Preferences": preferences,
        }
        _refreshes(group).insert(0, refresh)
        for each in old:
            if most > 100:  # the new one first
                before = len(_failures(group))
                group.replace_autoscaling_group_instances(1, group.get_propagated_tags())
                if len(_failures(group)) > before:
                    refresh |= {"Status": "Failed", "StatusReason": _failures(group)[-1]["StatusMessage"]}
                    break
            _replace(group, each)
        return ActionResult({"InstanceRefreshId": refresh["InstanceRefreshId"]})

    def describe(self: Any) -> ActionResult:
        wanted = self._get_param("InstanceRefreshIds", [])
        known = settled(_group(self))
        return ActionResult(
            {"InstanceRefreshes": [each for each in known if not wanted or each["InstanceRefreshId"] in wanted]}
        )

    def cancel(self: Any) -> ActionResult:
        for each in settled(_group(self)):
            if each["Status"] == "InProgress":
                each |= {"Status": "Cancelled", "EndTime": utcnow()}
                return ActionResult({"InstanceRefreshId": each["InstanceRefreshId"]})
        raise ActiveInstanceRefreshNotFound("No in progress or pending Instance Refresh found")

    def settled(group: Any) -> list[dict[str, Any]]:
        """Return the refreshes of a group, newest first; one ends when all that it launched is in service."""
        serving = [each for each in group.instance_states if each.lifecycle_state == SERVING]
        for each in _refreshes(group):
            if each["Status"] == "InProgress" and len(serving) == group.desired_capacity:
                each |= {"Status": "Successful", "EndTime": utcnow(), "PercentageComplete": 100, "InstancesToUpdate": 0}
        return _refreshes(group)

    AutoScalingResponse.start_instance_refresh = start  # type: ignore[attr-defined]
    AutoScalingResponse.describe_instance_refreshes = describe  # type: ignore[attr-defined]
    AutoScalingResponse.cancel_instance_refresh = cancel  # type: ignore[attr-defined]


def _tell_failures() -> None:
    """A launch that failed is in DescribeScalingActivities, and is tried again."""

    def described(original: Callable[..., Any], self: Any) -> ActionResult:
        return ActionResult({"Activities": list(reversed(_failures(_group(self))))})

    def looked(original: Callable[..., Any], self: Any) -> Any:
        for group in self.autoscaling_backend.autoscaling_groups.values():
            if len(group.active_instances()) < (group.desired_capacity or 0):
                group.set_desired_capacity(group.desired_capacity)
        return original(self)

    wrap(AutoScalingResponse, "describe_scaling_activities")(described)
    wrap(AutoScalingResponse, "describe_auto_scaling_groups")(looked)


def _group(response: Any) -> Any:
    """Return the group that a request names."""
    name = response._get_param("AutoScalingGroupName")
    group = response.autoscaling_backend.autoscaling_groups.get(name)
    if group is None:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return group


def _replace(group: Any, state: Any) -> None:
    """End an instance, and launch what the group then lacks."""
    group.instance_states.remove(state)
    group.ec2_backend.terminate_instances([state.instance.id])
    group.set_desired_capacity(group.desired_capacity)


def _refreshes(group: Any) -> list[dict[str, Any]]:
    refreshes: list[dict[str, Any]] = group.__dict__.setdefault("instance_refreshes", [])
    return refreshes


def _failures(group: Any) -> list[dict[str, Any]]:
    failures: list[dict[str, Any]] = group.__dict__.setdefault("failed_launches", [])
    return failures


def _failure(group: Any, reason: str) -> dict[str, Any]:
    now = utcnow()
    return {
        "ActivityId": str(uuid.uuid4()),
        "AutoScalingGroupName": group.name,
        "Description": "Launching a new EC2 instance.  Status Reason: " + reason,
        "Cause": f"At {now} an instance was started in response to a difference between desired and actual capacity",
        "StartTime": now,
        "EndTime": now,
        "StatusCode": "Failed",
        "StatusMessage": f"{reason} Launching EC2 instance failed.",
        "Progress": 100,
    }
