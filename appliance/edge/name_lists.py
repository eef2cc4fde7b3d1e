"""Lists of names in Parameter Store and Secrets Manager: those that annotations refer to, read again and again.

Source: Systems Manager API, GetParameter; Secrets Manager API, GetSecretValue. Nothing else is asked, and for nothing
but the very names that the annotations have, or the ARNs that the settings have.

- What cannot be read stays as it was read last, with the trouble told; what was never read grants nothing.
- A list of which AWS says that it does not exist is gone: what was read of it counts no more.
- Reading a policy must not wait for lists: timeouts are short, a service that does not answer is left alone until lists
  are old, and after BUDGET seconds what was not asked stays as it was until the next time, when it comes first.
- What a secret holds is in no message, whatever goes wrong with it: of an answer that cannot be read nothing is told.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import boto3
import botocore.exceptions
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, NoCredentialsError

from appliance.aws import FORBIDDEN, THROTTLED, asking, client_config, error_code
from appliance.errors import AwsError, InvalidList
from appliance.policy.annotation import references_of
from appliance.policy.inventory import SecurityGroup
from appliance.policy.location import Aliases, Location, Service, locate
from appliance.policy.name_list import NameList, parse_list
from appliance.policy.reference import Reference

CONNECT_TIMEOUT: Final = 2.0  # seconds
READ_TIMEOUT: Final = 3.0  # seconds
BUDGET: Final = 5.0  # seconds for the lists of a reading; no request begins after them
BUDGET_OF_ONE: Final = 2.0  # seconds for those of a client that is waiting

_MISSING: Final = {"ParameterNotFound", "ResourceNotFoundException"}
# Of a secret that waits to be deleted: there is no code for it, and these are both of AWS's wordings.
_DELETED: Final = ("marked for deletion", "marked deleted")

GONE: Final = "AWS says that it does not exist: make it, or remove the reference"
NAMELESS: Final = "no ARN has this name: put it into the configuration ([lists] arns)"
PUT_OFF: Final = "there was no time to read it; it is the first to be read next time"
NOT_ASKED: Final = "AWS did not answer when it was asked for another list"

# What may be told of a request for a secret: no part of an answer is in these.
_TELLABLE: Final = (ClientError, botocore.exceptions.ConnectionError, HTTPClientError, NoCredentialsError)

Connect = Callable[[Service, str], Any]


@dataclass(frozen=True, slots=True)
class _Reading:
    """A list as it is told. Both in monotonic seconds: `asked`, of the last try; `read`, of its content."""

    told: NameList
    asked: float | None = None
    read: float | None = None


def connect(service: Service, region: str) -> Any:
    """Return a boto3 client with short timeouts."""
    short = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": 1},  # the next reading is the second attempt
    )
    return boto3.client(service.value, region_name=region, config=client_config().merge(short))


class NameListReader:
    """Reads the lists that groups refer to. It may be called from any thread; two at once read twice, no worse."""

    def __init__(
        self,
        region: str,
        aliases: Aliases,
        *,
        interval: float,
        connect: Connect = connect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._region = region
        self._aliases = aliases
        self._interval = interval
        self._connect = connect
        self._clock = clock
        self._silent: dict[tuple[Service, str], float] = {}  # until when what does not answer is left alone
        self._clients: dict[tuple[Service, str], Any] = {}
        self._readings: dict[Reference, _Reading] = {}
        self.spent = 0.0  # seconds that the last `follow` took, which has a pace of its own
        self._lock = threading.Lock()  # of the readings; it is never held while AWS is asked

    def follow(self, groups: Iterable[SecurityGroup]) -> tuple[NameList, ...]:
        """Return the lists of all groups there are, those that are old read again, and forget all others."""
        wanted = _wanted(groups)
        now = self._clock()
        with self._lock:
            self._readings = {each: reading for each, reading in self._readings.items() if each in wanted}
            held = dict(self._readings)
        due = [each for each in wanted if each not in held or self._is_due(held[each], now)]
        self._refresh(sorted(due, key=lambda each: (_last_asked(held.get(each)), each)), BUDGET)
        self.spent = self._clock() - now
        return self._told(wanted)

    def of(self, groups: Iterable[SecurityGroup]) -> tuple[NameList, ...]:
        """Return the lists of some groups; AWS is asked for those alone that it was never asked for."""
        wanted = _wanted(groups)
        with self._lock:
            new = sorted(wanted - self._readings.keys())
        self._refresh(new, BUDGET_OF_ONE)
        return self._told(wanted)

    def report(self) -> list[dict[str, object]]:
        """Return what /healthz says of the lists. May be called from any thread."""
        now = self._clock()
        with self._lock:
            readings = sorted(self._readings.items())
        return [
            {
                "list": str(reference),
                "age_seconds": None if reading.read is None else round(now - reading.read, 1),
                "entries": _size(reading.told),
                "trouble": reading.told.trouble,
            }
            for reference, reading in readings
        ]

    def _told(self, wanted: Iterable[Reference]) -> tuple[NameList, ...]:
        with self._lock:
            return tuple(self._readings[each].told for each in sorted(wanted) if each in self._readings)

    def _is_due(self, reading: _Reading, now: float) -> bool:
        return reading.asked is None or now - reading.asked >= self._interval or reading.told.trouble in _UNASKED

    def _refresh(self, due: Sequence[Reference], budget: float) -> None:
        deadline = self._clock() + budget
        for reference in due:
            with self._lock:
                held = self._readings.get(reference, _Reading(NameList(reference, None)))
            location = locate(reference, self._aliases)
            now = self._clock()
            if location is None:
                new = _Reading(NameList(reference, None, NAMELESS), now)
            elif now >= deadline:
                new = _Reading(NameList(reference, held.told.content, PUT_OFF), held.asked, held.read)
            elif self._silent.get(self._place(location), now) > now:
                new = _Reading(NameList(reference, held.told.content, NOT_ASKED), held.asked, held.read)
            else:
                try:
                    new = self._read(reference, location, now)
                except (AwsError, InvalidList) as fault:
                    if isinstance(fault.__cause__, botocore.exceptions.ConnectionError | HTTPClientError):
                        self._silent[self._place(location)] = self._clock() + self._interval
                    asked = held.asked if isinstance(fault, AwsError) and error_code(fault) in THROTTLED else now
                    new = _Reading(NameList(reference, held.told.content, _words(fault)), asked, held.read)
            with self._lock:
                self._readings[reference] = new

    def _place(self, location: Location) -> tuple[Service, str]:
        return location.service, location.region or self._region

    def _read(self, reference: Reference, location: Location, now: float) -> _Reading:
        """Return what AWS says of a list, or that it has none."""
        try:
            text = self._ask(location)
        except AwsError as fault:
            if _is_gone(fault):
                return _Reading(NameList(reference, None, GONE), now)
            raise
        is_secret = location.service is Service.SECRETS
        return _Reading(NameList(reference, parse_list(text, is_secret=is_secret)), now, now)

    def _ask(self, location: Location) -> str:
        """Return the text of a list.

        Raises:
            AwsError: AWS did not give it. The cause is kept where it is AWS's word, or that of the network.
            InvalidList: it gave what no list can be.
        """
        is_secret = location.service is Service.SECRETS
        operation = "get_secret_value" if is_secret else "get_parameter"
        try:
            with asking(location.service, operation):
                answer = _request(self._client(location), location)
        except AwsError as fault:
            cause = fault.__cause__
            if isinstance(cause, _TELLABLE) or not is_secret:
                raise
        except (KeyError, TypeError, ValueError):
            pass
        else:
            return read_secret(answer) if is_secret else read_parameter(answer)
        # Raised out here, it has no cause or context that holds the answer.
        raise AwsError("it could not be asked for, or the answer cannot be read")

    def _client(self, location: Location) -> Any:
        place = self._place(location)
        client = self._clients.get(place)
        if client is None:
            self._clients[place] = client = self._connect(*place)
        return client


_UNASKED: Final = {PUT_OFF, NOT_ASKED}


def read_parameter(answer: Any) -> str:
    """Return the text in what GetParameter answers under `Parameter`.

    Raises:
        InvalidList: it is encrypted, or no text.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("Value"), str):
        raise InvalidList("it has no value")
    if answer.get("Type") == "SecureString":
        hint = "make it a String or StringList, or keep it in Secrets Manager: @secret/NAME"
        raise InvalidList("it is a SecureString", hint=hint)
    return str(answer["Value"])


def read_secret(answer: Any) -> str:
    """Return the text in what GetSecretValue answers.

    Raises:
        InvalidList: it holds octets, or nothing.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("SecretString"), str):
        raise InvalidList("it holds no text", hint="write the list as plain text, not as binary")
    return str(answer["SecretString"])


def _request(client: Any, location: Location) -> Any:
    if location.service is Service.SECRETS:
        return client.get_secret_value(SecretId=location.id)
    return client.get_parameter(Name=location.id)["Parameter"]


def _wanted(groups: Iterable[SecurityGroup]) -> set[Reference]:
    """Return the lists that annotations refer to."""
    return {reference for group in groups for egress in group.rules for reference in references_of(egress.description)}


def _last_asked(reading: _Reading | None) -> float:
    return -1.0 if reading is None or reading.asked is None else reading.asked


def _size(told: NameList) -> int:
    return 0 if told.content is None else len(told.content.names) + len(told.content.patterns)


def _is_gone(fault: AwsError) -> bool:
    if error_code(fault) == "InvalidRequestException":
        return any(words in fault.message for words in _DELETED)
    return error_code(fault) in _MISSING


def _words(fault: AwsError | InvalidList) -> str:
    if isinstance(fault, AwsError) and error_code(fault) in FORBIDDEN:
        if "kms" in str(fault.__cause__).lower():
            return f"{fault.message}: the role may not use its key; give it in `lists.kms_keys` of the Terraform module"
        return f"{fault.message}: the role may not read it; give it in `lists` of the Terraform module"
    return f"{fault.message}; {fault.hint}" if fault.hint else fault.message
