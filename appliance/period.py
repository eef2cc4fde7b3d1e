"""Periods: how a time is written on the command line. Everything here is pure."""

import re
from datetime import UTC, datetime, timedelta

from appliance.errors import PolicyError
from appliance.policy.fqdn import quote

_AGO = re.compile(r"([1-9][0-9]{0,3})([dhm])", re.ASCII)
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?Z?)?", re.ASCII)


def parse_moment(text: str, now: datetime) -> datetime:
    """Return the time, in UTC, that is written as a day, a time of it, or how long ago it is.

    `text`: `2027-01-05`, which is when that day begins; `2027-01-05T09:30`; `14d`, `6h` or `30m`.

    Raises:
        PolicyError: it is none of these.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    if _WRITTEN.fullmatch(text):
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError:
            pass  # not in the calendar, or not on the clock
    raise PolicyError(
        f"{quote(text)} is not a time",
        hint="write a day or a time in UTC, 2027-01-05 or 2027-01-05T09:30, or 14d, 6h, 30m",
    )
