"""The Public Suffix List on this machine: Debian's, which its updates keep current, or that of a Python package.

The newer one wins.
"""

import functools
import importlib.util
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from appliance.policy.suffixes import NO_SUFFIXES, Suffixes, parse_suffixes

DEBIAN = Path("/usr/share/publicsuffix/public_suffix_list.dat")
PACKAGE = "publicsuffixlist"
FEWEST = 5000  # suffixes: a list with less is broken (ours; there are about 10,000)

log = logging.getLogger("discriminat")


@functools.cache
def read_suffixes() -> Suffixes:
    """Return the list; an empty one, by which no pattern with an asterisk passes, where there is none."""
    found = []
    for path in _places():
        try:
            day = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
            suffixes = parse_suffixes(path.read_text(encoding="utf-8"), f"{day.isoformat()}, by its file")
        except (OSError, UnicodeError) as fault:
            log.warning("the Public Suffix List cannot be read: %s: %s", path, fault)
            continue
        if len(suffixes) >= FEWEST:
            found.append(suffixes)
        else:
            log.warning("the Public Suffix List is cut short: %s has %d suffixes", path, len(suffixes))
    return max(found, key=lambda suffixes: suffixes.version, default=NO_SUFFIXES)  # versions begin with the date


def _places() -> Iterator[Path]:
    """Yield where there is a list."""
    if DEBIAN.exists():
        yield DEBIAN
    spec = importlib.util.find_spec(PACKAGE)
    for place in spec.submodule_search_locations or () if spec else ():
        yield Path(place) / "public_suffix_list.dat"
