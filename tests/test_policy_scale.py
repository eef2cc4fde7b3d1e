"""A large policy is compiled in seconds, and decided by as quickly as a small one."""

from tests.bench.policy import KINDS, measure

SLOWEST = 12.0  # seconds; it takes less than 3 on a machine of its own
RATIO = 3.0


def test_decisions_do_not_slow_down_with_names_and_patterns() -> None:
    """A thousand times the names, a thousand times the patterns, and about the same time for each decision."""
    few, many = measure(100, 10), measure(100_000, 10_000)

    assert many.compiled < SLOWEST
    assert {
        kind: round(many.decided[kind] / few.decided[kind], 1)
        for kind in KINDS
        if many.decided[kind] > RATIO * few.decided[kind]
    } == {}
