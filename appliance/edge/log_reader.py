"""CloudWatch Logs, read: the lines of one stream that only see-thru explains, page by page.

The right to read logs is the operator's: the appliance's role has none, and needs none.

Source: CloudWatch Logs API reference, FilterLogEvents; filter patterns for JSON. A page may be empty and not the last.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import boto3
from botocore.config import Config

from appliance.aws import FORBIDDEN, asking, client_config, error_code
from appliance.errors import AwsError

PATTERN: Final = '{ ($.see_thru_exerted IS TRUE) && ($.cat = "client") }'
ATTEMPTS: Final = 12  # requests for one page: those after the first wait, longer each time, up to 20 s
MISSING: Final = "ResourceNotFoundException"

OnPage = Callable[[int, int], None]  # lines so far; time of the last one, Unix milliseconds, 0 without any


class Logs(Protocol):
    """The part of a boto3 client of CloudWatch Logs that is used here."""

    def filter_log_events(self, **arguments: Any) -> Any:
        """Return a page of events."""


def connect(region: str) -> Any:
    """Return a client that is patient: a long query is throttled as a rule."""
    patient = Config(retries={"mode": "adaptive", "total_max_attempts": ATTEMPTS})
    return boto3.client("logs", region_name=region, config=client_config().merge(patient))


class LogReader:
    """A stream of a log group."""

    def __init__(self, client: Logs, group: str, stream: str) -> None:
        self._client = client
        self._group = group
        self._stream = stream

    def lines(self, since: int, until: int, on_page: OnPage) -> Iterator[str]:
        """Yield lines, those of a page after it has been told to `on_page`.

        Args:
            since, until: Unix milliseconds; both are included.
            on_page: is told how far it is.

        Raises:
            AwsError: AWS could not be asked, or there is no such stream.
        """
        wanted = {
            "logGroupName": self._group,
            "logStreamNames": [self._stream],
            "filterPattern": PATTERN,
            "startTime": since,
            "endTime": until,
        }
        count = last = 0
        token = ""
        while True:
            page = self._ask(wanted | ({"nextToken": token} if token else {}))
            events = page["events"]
            count += len(events)
            last = max([last, *(event["timestamp"] for event in events)])
            on_page(count, last)
            yield from (event["message"] for event in events)
            following = page.get("nextToken", "")
            if not following:
                return
            if following == token:
                raise AwsError("logs:FilterLogEvents: AWS goes in circles", hint="ask for a shorter time with --since")
            token = following

    def _ask(self, wanted: dict[str, object]) -> Any:
        try:
            with asking("logs", "filter_log_events") as action:
                return self._client.filter_log_events(**wanted)
        except AwsError as fault:
            code = error_code(fault)
            if code in FORBIDDEN:
                hint = f"allow {action} on log group {self._group} to yourself: the appliance's role does not read logs"
                raise AwsError(fault.message, hint=hint) from fault
            if code == MISSING:
                raise AwsError(
                    f"there is no log stream {self._stream} in log group {self._group}",
                    hint="look at --region and --log-group; the appliance makes the stream with its first line",
                ) from fault
            if not fault.hint or not code:
                hint = "look at your credentials, at --region and at the AWS_ variables, or give files"
                raise AwsError(fault.message, hint=hint) from fault
            raise
