"""Days: how the end of a permission is written.

A date is written in full. `2027-1-5` is a fault whose hint is `2027-01-05`: to guess would be harmless there, but the
date ends a permission, and there should be one way to read it. Everything here is pure.
"""

import re
from calendar import monthrange
from datetime import date

from appliance.errors import PolicyError
from appliance.policy.fqdn import quote

DAY_HINT = "write the last day of see-thru, such as 2027-01-31"

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
_LOOSE_DATE = re.compile(r"([0-9]{4})[-/.]?([0-9]{1,2})[-/.]?([0-9]{1,2})\W*", re.ASCII)


def parse_day(text: str) -> date:
    """Return the day written as YYYY-MM-DD.

    Raises:
        PolicyError: it is written otherwise, or not in the calendar. The hint holds the correction, where one can be
            told.
    """
    shown = quote(text)
    if match := _DATE.fullmatch(text):
        day = _day(match)
        if day is None:
            raise PolicyError(f"{shown} is not in the calendar", hint=_calendar_hint(int(match[1]), int(match[2])))
        return day
    loose = _LOOSE_DATE.fullmatch(text)
    meant = _day(loose) if loose else None
    hint = f"write {meant.isoformat()}" if meant else DAY_HINT
    raise PolicyError(f"{shown} is not a date as YYYY-MM-DD", hint=hint)


def _day(match: re.Match[str]) -> date | None:
    try:
        return date(*map(int, match.groups()))
    except ValueError:
        return None


def _calendar_hint(year: int, month: int) -> str:
    if year < 1 or not 1 <= month <= 12:
        return "write year, month and day, in this order"
    return f"the last day of that month is {year:04}-{month:02}-{monthrange(year, month)[1]:02}"
