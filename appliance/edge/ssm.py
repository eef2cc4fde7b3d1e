"""Systems Manager's Parameter Store: one parameter, read as text.

Source: Systems Manager API reference, GetParameter. Reading asks AWS and blocks until it has answered. The role may do
no more than this, to this parameter.
"""

from typing import Any, Final, Protocol

import boto3
from botocore.config import Config

from appliance.aws import asking, client_config, error_code
from appliance.errors import AwsError

# The first policy waits for the first reading, and what is in force does not wait for any: better none than a late one.
CONNECT_TIMEOUT: Final = 3.0  # seconds
READ_TIMEOUT: Final = 5.0  # seconds
ATTEMPTS: Final = 2  # requests for one answer, the first included

MISSING: Final = "ParameterNotFound"


class Ssm(Protocol):
    """The part of a boto3 SSM client that is used here."""

    def get_parameter(self, **arguments: Any) -> Any:
        """Return a parameter, its value encrypted if that is how it is kept."""


def connect(region: str) -> Any:
    """Return a boto3 SSM client with short timeouts."""
    short = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    return boto3.client("ssm", region_name=region, config=client_config().merge(short))


class Parameter:
    """A parameter of type String."""

    def __init__(self, client: Ssm, name: str) -> None:
        self._client = client
        self.name = name

    def read(self) -> str | None:
        """Return the parameter's text; None if AWS says that it does not exist.

        Raises:
            AwsError: AWS could not be asked, or the parameter is encrypted. The caller keeps what it had.
        """
        try:
            with asking("ssm", "get_parameter") as action:
                parameter = self._client.get_parameter(Name=self.name)["Parameter"]
        except AwsError as fault:
            if error_code(fault) == MISSING:
                return None
            raise
        if parameter["Type"] == "SecureString":
            raise AwsError(f"{action}: {self.name} is encrypted", hint="make it a parameter of type String")
        return str(parameter["Value"])
