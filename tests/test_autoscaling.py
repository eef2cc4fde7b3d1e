"""The Auto Scaling group: what AWS is told, and what its answers mean."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from appliance.edge.autoscaling import Group
from appliance.errors import AwsError


class Client:
    """Remembers what it is told; fails when it has a fault."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.told: list[tuple[str, dict[str, Any]]] = []

    def complete_lifecycle_action(self, **arguments: Any) -> None:
        self._take("complete", arguments)

    def set_instance_health(self, **arguments: Any) -> None:
        self._take("health", arguments)

    def _take(self, what: str, arguments: dict[str, Any]) -> None:
        self.told.append((what, arguments))
        if self.fault is not None:
            raise self.fault


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "CompleteLifecycleAction")


def group(client: Client) -> Group:
    return Group(client, "egress-eu-west-1a", "i-1")


def test_a_launch_goes_on() -> None:
    """The hook is completed with CONTINUE, for this instance."""
    client = Client()

    assert group(client).complete_launch("egress-ready")
    assert client.told == [
        (
            "complete",
            {
                "AutoScalingGroupName": "egress-eu-west-1a",
                "LifecycleHookName": "egress-ready",
                "InstanceId": "i-1",
                "LifecycleActionResult": "CONTINUE",
            },
        )
    ]


def test_no_launch_is_no_failure() -> None:
    """After a restart of the program no action is active, and AWS says so."""
    assert not group(Client(refusal("ValidationError"))).complete_launch("egress-ready")


FAULTS = [
    (refusal("AccessDenied"), "autoscaling:CompleteLifecycleAction: not permitted (AccessDenied)"),
    (refusal("Throttling"), "autoscaling:CompleteLifecycleAction: throttled by AWS (Throttling)"),
    (
        ConnectTimeoutError(endpoint_url="https://x"),
        'autoscaling:CompleteLifecycleAction: Auto Scaling cannot be reached: Connect timeout on endpoint URL: "https://x"',
    ),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_refusal_says_what_to_do(fault: Exception, message: str) -> None:
    """Whatever else AWS answers is an error in words, with a hint."""
    with pytest.raises(AwsError) as caught:
        group(Client(fault)).complete_launch("egress-ready")

    assert caught.value.message == message
    assert caught.value.hint


def test_giving_up_is_for_now() -> None:
    """The instance is told to be unhealthy without waiting for a grace period to end."""
    client = Client()

    group(client).give_up()

    wanted = {"InstanceId": "i-1", "HealthStatus": "Unhealthy", "ShouldRespectGracePeriod": False}
    assert client.told == [("health", wanted)]
