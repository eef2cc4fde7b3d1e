"""Pace: how long to wait between two readings of AWS. Everything here is pure."""

BUSY_SHARE = 5  # AWS is read for at most one part in so many of the time
JITTER = 0.1  # share of the interval
RETRY_MOST = 60.0  # seconds
BACKOFF_MOST = 10  # doublings of the interval; more would soon be no number any more


def pause(interval: float, *, spent: float, failures: int, dice: float) -> float:
    """Return the seconds until the next reading.

    Args:
        interval: seconds from one to the next, when all is well.
        spent: seconds that the last one took.
        failures: how many failed in a row.
        dice: a random number of 0 to 1, so that not all appliances ask at once.
    """
    wait = max(interval, BUSY_SHARE * spent)
    if failures:
        wait = min(interval * 2 ** min(failures, BACKOFF_MOST), RETRY_MOST)
    return wait * (1 - JITTER + 2 * JITTER * dice)
