"""The parameter store, against one in memory and one that answers what it is told to."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError
from botocore.stub import Stubber

from appliance.edge.ssm import Parameter, connect
from appliance.errors import AwsError

NAME = "DiscrimiNAT_egress"


@pytest.fixture
def aws(aws_in_memory: None) -> Any:
    return boto3.client("ssm", region_name="eu-west-1")


@pytest.fixture
def client(credentials: None) -> Any:
    return connect("eu-west-1")


def test_a_parameter_is_read_as_it_is_now(aws: Any) -> None:
    """Its latest version, and nothing once it is deleted."""
    parameter = Parameter(connect("eu-west-1"), NAME)
    assert parameter.read() is None
    for text in ('{"%default": {}}', "another"):
        aws.put_parameter(Name=NAME, Value=text, Type="String", Overwrite=True)
        assert parameter.read() == text
    aws.delete_parameter(Name=NAME)
    assert parameter.read() is None


def test_an_encrypted_parameter_is_not_taken_for_its_text(aws: Any) -> None:
    """The role may not decrypt, and preferences are no secret."""
    aws.put_parameter(Name=NAME, Value="{}", Type="SecureString")
    with pytest.raises(AwsError) as refused:
        Parameter(connect("eu-west-1"), NAME).read()

    assert refused.value.message == f"ssm:GetParameter: {NAME} is encrypted"
    assert refused.value.hint == "make it a parameter of type String"


def test_nothing_but_the_value_is_asked_for(client: Any) -> None:
    """By name, without decryption."""
    with Stubber(client) as ssm:
        ssm.add_response("get_parameter", {"Parameter": {"Type": "String", "Value": "x"}}, {"Name": NAME})
        assert Parameter(client, NAME).read() == "x"
        ssm.assert_no_pending_responses()


REFUSALS = [
    # code                          says                        hints
    ("AccessDeniedException",       "not permitted",            "allow ssm:GetParameter in the role of the appliance"),
    ("ThrottlingException",         "throttled by AWS",         "asks ssm too often"),
    ("ExpiredTokenException",       "credentials not accepted", "clock"),
    ("ValidationException",         "ValidationException: no",  ""),
    ("InternalServerError",         "InternalServerError: no",  ""),
]  # fmt: skip


@pytest.mark.parametrize(("code", "says", "hints"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_a_refusal_is_named(client: Any, code: str, says: str, hints: str) -> None:
    """Whatever AWS answers but the parameter, or that there is none, is an error in words."""
    with Stubber(client) as ssm:
        ssm.add_client_error("get_parameter", code, "no")
        with pytest.raises(AwsError) as refused:
            Parameter(client, NAME).read()

    assert refused.value.message.startswith("ssm:GetParameter: ")
    assert says in refused.value.message
    assert hints in refused.value.hint


class Unreachable:
    """A client whose requests come to nothing."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def get_parameter(self, **arguments: Any) -> Any:
        raise self.fault


SILENCES = [
    (ConnectTimeoutError(endpoint_url="https://x"), "Systems Manager cannot be reached", "a VPC endpoint of ssm"),
    (NoCredentialsError(), "no credentials", "instance profile"),
]


@pytest.mark.parametrize(("fault", "says", "hints"), SILENCES, ids=["network", "credentials"])
def test_silence_is_an_error(fault: Exception, says: str, hints: str) -> None:
    """Not the absence of the parameter."""
    with pytest.raises(AwsError) as refused:
        Parameter(Unreachable(fault), NAME).read()

    assert says in refused.value.message
    assert hints in refused.value.hint


def test_it_does_not_wait_for_long(client: Any) -> None:
    """The first policy waits for it: two attempts of a few seconds."""
    config = client.meta.config

    assert (config.connect_timeout, config.read_timeout) == (3, 5)
    assert config.retries["total_max_attempts"] == 2
    assert config.user_agent_extra == "discriminat"
