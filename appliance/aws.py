"""AWS's API: how its clients are set up, and what its refusals mean for the operator.

Source: botocore's exceptions; "Common errors" of the EC2, Auto Scaling and Systems Manager API references.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import botocore.exceptions
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from appliance.errors import AwsError

CONNECT_TIMEOUT: Final = 5.0  # seconds
READ_TIMEOUT: Final = 10.0  # seconds
ATTEMPTS: Final = 4  # requests for one answer, the first included

THROTTLED: Final = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "EC2ThrottledException",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "SlowDown",
}
FORBIDDEN: Final = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
UNTRUSTED: Final = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}

# How AWS writes the names of its services where people read them.
SERVICES: Final = {
    "autoscaling": "Auto Scaling",
    "ec2": "EC2",
    "logs": "CloudWatch Logs",
    "secretsmanager": "Secrets Manager",
    "ssm": "Systems Manager",
}


def client_config() -> Config:
    """Return how a client asks: with timeouts, and retries that slow down when AWS throttles."""
    return Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "adaptive", "total_max_attempts": ATTEMPTS},
        user_agent_extra="discriminat",
    )


@contextmanager
def asking(service: str, operation: str) -> Iterator[str]:
    """Turn whatever botocore raises in the block into an AwsError in words; yield the action's IAM name.

    Args:
        service: prefix of the action, such as `ec2`.
        operation: boto3's name, such as `describe_security_groups`.
    """
    action = f"{service}:{operation.title().replace('_', '')}"
    try:
        yield action
    except ClientError as error:
        raise _refused(action, error) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        raise AwsError(
            f"{action}: no credentials",
            hint="attach an instance profile, and allow this machine to reach its metadata service",
        ) from error
    except (botocore.exceptions.ConnectionError, HTTPClientError) as error:
        raise AwsError(
            f"{action}: {SERVICES[service]} cannot be reached: {error}",
            hint=f"the appliance needs a public address and a route to the Internet, or a VPC endpoint of {service}",
        ) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise AwsError(f"{action}: {error}") from error


def code_of(error: BaseException | None) -> str:
    """Return AWS's code of an error, or an empty text for one that is not AWS's answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def error_code(fault: AwsError) -> str:
    """Return the error code with which AWS refused, or nothing if it was something else."""
    return code_of(fault.__cause__)


def _refused(action: str, error: ClientError) -> AwsError:
    """Return what an error code means for the operator."""
    told = error.response.get("Error", {})
    code, message = told.get("Code", "unknown"), told.get("Message", "")
    if code in THROTTLED:
        return AwsError(
            f"{action}: throttled by AWS ({code})",
            hint=f"something in this account and region asks {action.partition(':')[0]} too often; it is tried again",
        )
    if code in FORBIDDEN:
        return AwsError(f"{action}: not permitted ({code})", hint=f"allow {action} in the role of the appliance")
    if code in UNTRUSTED:
        return AwsError(
            f"{action}: credentials not accepted ({code}): {message}",
            hint="check the clock of this machine and the trust policy of its role",
        )
    return AwsError(f"{action}: {code}: {message}")
