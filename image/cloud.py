"""AWS as the publisher asks it: one region at a time, with patience for what passes by itself, and faults in our words.

    region = Region(boto3.Session(), "eu-west-1", Patience())
    region.ask("ec2", "describe_images", Owners=["self"])["Images"]

Retries are ours and not botocore's: they know that a snapshot begun a moment ago may not be known yet, can be cut short
by an interrupt, and are counted.

Source: EBS direct APIs reference, "Error retries"; EC2 API reference, "Error codes".
"""

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import botocore.exceptions
from botocore.config import Config

from image.errors import ImageError

CONNECTIONS: Final = 16  # for each client: as many as there are workers, at most
CONNECT: Final = 10  # seconds
ANSWER: Final = 60  # seconds
MAKING: Final = threading.Lock()
FIRST_WAIT: Final = 0.25  # seconds before the second attempt; doubled for each one after it
SERVER_FAULT: Final = 500  # HTTP status, and all above
ALWAYS: Final = 1_000_000  # attempts: as many as patience has
NOTHING: Final[Mapping[str, int]] = {}
PASSING: Final = frozenset({
    "ConcurrentLimitExceededException",
    "InternalError",
    "InternalServerException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "Unavailable",
})  # fmt: skip
DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
STALE: Final = frozenset({
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
})  # fmt: skip
CREDENTIALS: Final = (
    "AWS has no credentials here: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in with the"
    " aws command"
)


class RefusedError(ImageError):
    """AWS answered, and the answer is no. `code` is AWS's own."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Interrupted(ImageError):
    """Somebody wants the work to end; what was asked of AWS was not answered."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to ask, and how long to wait in between.

    Attributes:
        attempts: in all. Fourteen last for two minutes, which is how long EBS may not know a new snapshot.
        longest: seconds between two attempts.
        looks: how often the end of a copy or a snapshot is looked for.
        interval: seconds between two looks.
        scale: of every wait; 0 for who has an emulator before him.
        stop: ends every wait, and the work with it, once it is set.
    """

    attempts: int = 14
    longest: float = 16.0
    looks: int = 720
    interval: float = 5.0
    scale: float = 1.0
    stop: threading.Event = field(default_factory=threading.Event)

    def before_attempt(self, failed: int) -> None:
        """Wait after so many failures, for a time that spreads those who wait with us.

        Raises:
            Interrupted: the work has to end.
        """
        wait = min(self.longest, FIRST_WAIT * 2.0 ** (failed - 1))
        self._wait(wait * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads load, keeps no secret

    def before_look(self) -> None:
        """Wait before the next look.

        Raises:
            Interrupted: the work has to end.
        """
        self._wait(self.interval)

    def _wait(self, seconds: float) -> None:
        if self.stop.wait(seconds * self.scale):
            raise Interrupted("interrupted")


class Region:
    """One region of the account that publishes. May be used by several threads at once."""

    def __init__(self, session: Any, name: str, patience: Patience) -> None:  # noqa: ANN401 -- boto3 has no types
        self.name = name
        self.patience = patience
        self._session = session
        self._clients: dict[str, Any] = {}

    def _client(self, service: str) -> Any:  # noqa: ANN401 -- boto3 has no types
        """Return boto3's client, made when it is first needed: by one thread, as sessions do not make two at once."""
        with MAKING:
            if service not in self._clients:
                config = Config(
                    retries={"total_max_attempts": 1},
                    max_pool_connections=CONNECTIONS,
                    connect_timeout=CONNECT,
                    read_timeout=ANSWER,
                )
                self._clients[service] = self._session.client(service, self.name, config=config)
            return self._clients[service]

    def ask(
        self,
        service: str,
        operation: str,
        *,
        passing: Mapping[str, int] = NOTHING,
        patience: Patience | None = None,
        **arguments: object,
    ) -> dict[str, Any]:
        """Return AWS's answer.

        Args:
            operation: as boto3 calls it, such as `describe_images`.
            passing: error codes that pass by themselves here, beside those that do everywhere, and after how many
                attempts they have not.
            patience: other than that of the region.

        Raises:
            RefusedError: AWS said no, or still could not answer at the last attempt.
            ImageError: AWS could not be reached, or there are no credentials.
            Interrupted: the work has to end.
        """
        patience = patience or self.patience
        failed = 0
        while True:
            try:
                return dict(getattr(self._client(service), operation)(**arguments))
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as fault:
                failed += 1
                if failed >= min(patience.attempts, _attempts(fault, passing)):
                    raise self._told(fault, operation, failed) from None
            patience.before_attempt(failed)

    def _told(self, fault: Exception, operation: str, attempts: int) -> ImageError:
        """Return a fault in our words, with what to do about it."""
        doing = "".join(word.capitalize() for word in operation.split("_"))
        tried = f", {attempts} times" if attempts > 1 else ""
        if isinstance(fault, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
            return ImageError(CREDENTIALS)
        if not isinstance(fault, botocore.exceptions.ClientError):
            return ImageError(
                f"{self.name}: {doing} got no answer{tried} ({fault}): see that the region is spelt right and can be"
                " reached from here, and run the command again"
            )
        code, message = (str(fault.response["Error"].get(each, "")) for each in ("Code", "Message"))
        if code in DENIED:
            text = f"AWS denies {doing}: give the publisher the rights in image/publisher-policy.json ({message})"
        elif code in STALE:
            text = f"AWS does not take these credentials ({code}): renew them, and run the command again"
        elif code in PASSING:
            text = f"{doing} failed{tried}, {code}: run the command again later, it goes on where it stopped"
        else:
            text = f"AWS refused {doing}{tried}, {code}: {message}"
        return RefusedError(f"{self.name}: {text}", code)


def _attempts(fault: Exception, passing: Mapping[str, int]) -> int:
    """Return how often it may make sense to ask, by what one attempt has come to."""
    if isinstance(fault, botocore.exceptions.ClientError):
        code = fault.response["Error"].get("Code", "")
        status = fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return passing.get(code, ALWAYS if code in PASSING or status >= SERVER_FAULT else 1)
    return ALWAYS if isinstance(fault, botocore.exceptions.HTTPClientError | botocore.exceptions.ConnectionError) else 1
