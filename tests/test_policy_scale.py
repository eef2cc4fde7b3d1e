"""A large policy is compiled in seconds, and decided by as quickly as a small one."""

from tests.bench.policy import KINDS, measure

SLOWEST = 12.0  # seconds; it takes less than 3 on a machine of its own
RATIO_OF_A_FEW = 2.0  # of a thousand; about 1, as the same little memory is read
RATIO = 4.0  # of a thousand; less than 2 without neighbours, who take the processor's caches away


def test_decisions_do_not_slow_down_with_names_and_patterns() -> None:
    """A thousand times the names, a thousand times the patterns, and about the same time for each decision."""
    few, many = measure((100, 10), (100_000, 10_000))

    ratios = {kind: many.decided[kind] / few.decided[kind] for kind in KINDS}
    assert many.compiled < SLOWEST
    assert max(ratios.values()) < RATIO, ratios
    assert max(ratio for kind, ratio in ratios.items() if kind.endswith("of a few")) < RATIO_OF_A_FEW, ratios
