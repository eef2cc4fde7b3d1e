"""The Auto Scaling group that this instance belongs to: its launch hook, and its health.

Source: Auto Scaling API reference, CompleteLifecycleAction and SetInstanceHealth. Every method asks AWS and blocks
until it has answered. The role may do no more than these two, to its own group.
"""

from typing import Any, Protocol

import boto3

from appliance.aws import asking, client_config, error_code
from appliance.errors import AwsError

NOT_LAUNCHING = "ValidationError"  # "No active Lifecycle Action found": the hook has been completed, or is over


class AutoScaling(Protocol):
    """The part of a boto3 Auto Scaling client that is used here."""

    def complete_lifecycle_action(self, **arguments: Any) -> Any:
        """Go on with a launch that waits for us."""

    def set_instance_health(self, **arguments: Any) -> Any:
        """Say how an instance is."""


def connect(region: str) -> Any:
    """Return a boto3 Auto Scaling client with timeouts and retries."""
    return boto3.client("autoscaling", region_name=region, config=client_config())


class Group:
    """One group, and one instance of it."""

    def __init__(self, client: AutoScaling, name: str, instance: str) -> None:
        self._client = client
        self._name = name
        self._instance = instance

    def complete_launch(self, hook: str) -> bool:
        """Put the instance in service; False if it was not being launched, as after a restart of the program.

        Raises:
            AwsError: AWS could not be told. The caller tries again; a hook that is not completed ends the instance.
        """
        try:
            with asking("autoscaling", "complete_lifecycle_action"):
                self._client.complete_lifecycle_action(
                    AutoScalingGroupName=self._name,
                    LifecycleHookName=hook,
                    InstanceId=self._instance,
                    LifecycleActionResult="CONTINUE",
                )
        except AwsError as fault:
            if error_code(fault) == NOT_LAUNCHING:
                return False
            raise
        return True

    def give_up(self) -> None:
        """Have the instance replaced, at once.

        Raises:
            AwsError: AWS could not be told. The caller tries again.
        """
        with asking("autoscaling", "set_instance_health"):
            self._client.set_instance_health(
                InstanceId=self._instance, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False
            )
