"""The benchmark's arithmetic: medians, ratios, targets, the table, and which measurement counts."""

from collections.abc import Callable, Iterable

import pytest

from tests.bench import measure
from tests.bench.__main__ import address_of
from tests.bench.hello import PLACEHOLDER, UNLISTED, listed_name
from tests.bench.measure import QUIET, Meter, Sample
from tests.bench.results import HAPROXY, MANY_NAMES, NAT, OURS, TARGETS, Results
from tests.bench.site import Load


def sample(rate: float, *, foreign: float = 0.0, failures: int = 0) -> Sample:
    return Sample(rate, 100.0, 40.0, 1.5, foreign, failures, 2.0)


def results(**rates: list[float]) -> Results:
    """Return results with these rates, and the same latencies for all."""
    return Results(
        "make bench",
        rates={name: [sample(rate) for rate in each] for name, each in rates.items()},
        latencies={name: [(200, 900), (300, 700), (100, 800)] for name in rates},
    )


def test_a_ratio_is_the_median_of_its_rounds() -> None:
    """What disturbs a round disturbs both sides: the medians of each alone would give 1.0 here."""
    measured = results(nat=[1000.0, 100.0, 1000.0, 1000.0], discriminat=[800.0, 60.0, 700.0, 1000.0])

    assert measured.ratios() == {"conn_rate_vs_nat": 0.75}


def test_only_what_was_measured_on_both_sides_has_a_ratio() -> None:
    """The others have neither a figure nor a target that is met or missed."""
    measured = results(discriminat=[900.0], haproxy=[1000.0])
    measured.bulk = {OURS: [9.0, 10.0], NAT: [10.0, 10.0]}
    measured.scale = {OURS: [sample(1000.0)], MANY_NAMES: [sample(950.0)]}

    document = measured.document()

    assert document["ratios"] == {"conn_rate_vs_haproxy": 0.9, "bulk_vs_nat": 0.95, "names_100k_vs_10": 0.95}
    assert document["targets"] == {
        "conn_rate_vs_haproxy": {"least": TARGETS["conn_rate_vs_haproxy"], "met": False},
        "bulk_vs_nat": {"least": TARGETS["bulk_vs_nat"], "met": True},
        "names_100k_vs_10": {"least": TARGETS["names_100k_vs_10"], "met": True},
    }


def test_the_document_has_medians_and_every_round() -> None:
    """Medians hide nothing: the rounds stand beside them."""
    document = results(nat=[3000.0, 1000.0, 1200.0]).document()

    assert document["conn_rate"] == {NAT: 1200}
    assert document["first_byte_us"] == {NAT: {"p50": 200, "p99": 800}}
    assert document["cpu_us_per_conn"] == {NAT: 100.0}
    assert document["rounds"] == {NAT: [3000, 1000, 1200]}
    assert (document["command"], document["faults"]) == ("make bench", [])


def test_the_table_has_a_line_for_each_system_and_each_target() -> None:
    """Met, missed or not measured; faults and disturbances are not left out."""
    measured = results(nat=[10_000.0], discriminat=[5_000.0])
    measured.rates[OURS] = [sample(5_000.0, foreign=QUIET * 2)]
    measured.bulk, measured.resident, measured.faults = {OURS: [9.5]}, {OURS: 99.6}, ["haproxy is not installed"]

    lines = measured.table().splitlines()

    assert lines[1].split() == ["nat", "10,000", "1.00", "100", "200", "800", "0.0", "0"]
    assert lines[2].split() == ["discriminat", "5,000", "0.50", "100", "200", "800", "9.5", "100"]
    assert {line.split()[0]: " ".join(line.split()[1:]) for line in lines[5:11]} == {
        "conn_rate_vs_nat": "0.50 0.60 MISSED",
        "conn_rate_vs_haproxy": "- 1.30 not measured",
        "conn_rate_vs_before": "- 0.90 not measured",
        "bulk_vs_nat": "- 0.95 not measured",
        "names_100k_vs_10": "- 0.90 not measured",
        "clients_10k_vs_10": "- 0.90 not measured",
    }
    assert lines[11] == "FAULT: haproxy is not installed"
    assert lines[-1] == "Other programs disturbed 1 of 2 measurements."


@pytest.mark.parametrize(
    ("rate", "failures", "is_fault"),
    [(10_000.0, 0, False), (10_000.0, 10, False), (10_000.0, 11, True), (0.0, 0, True)],
)
def test_too_many_failures_are_a_fault(rate: float, failures: int, is_fault: bool) -> None:
    """One of a thousand may fail; and who carries nothing does not work."""
    measured = results()
    measured.check(HAPROXY, sample(rate, failures=failures))

    assert bool(measured.faults) is is_fault


Measuring = Callable[[list[float], float], Sample]


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Measuring:
    """Measure on a machine of which others use so much, one time after the other, with so much patience."""

    def take(foreign: list[float], patience: float) -> Sample:
        left = iter(foreign)

        def once(run: Callable[[], Load], pids: Iterable[int]) -> Sample:
            used = next(left)
            return sample(used * 1000, foreign=used)

        monkeypatch.setattr(measure, "_measure_once", once)
        monkeypatch.setattr(Meter, "wait_for_quiet", lambda _: None)
        return Meter(patience).measure(lambda: pytest.fail("nothing is to be run"), [])

    return take


@pytest.mark.parametrize(
    ("foreign", "patience", "counts"),
    [
        ([0.1, 9.0], 60.0, 0.1),  # quiet: once is enough
        ([0.5, 0.3, 0.0], 60.0, 0.3),  # disturbed: once more, and no oftener
        ([0.3, 0.5], 60.0, 0.3),
        ([0.5, 0.0], 0.0, 0.5),  # patience has run out
    ],
)
def test_the_calmer_measurement_counts(
    measuring: Measuring, foreign: list[float], patience: float, counts: float
) -> None:
    """A disturbed one is made again, as long as there is patience."""
    assert measuring(foreign, patience).foreign == counts


def test_names_can_be_patched_into_the_recorded_hello() -> None:
    """All are as long as the placeholder, each has an address, and one is never listed."""
    names = [listed_name(number) for number in (0, 9, 99_999, 999_998)]

    assert {len(name) for name in (*names, UNLISTED)} == {len(PLACEHOLDER)}
    assert UNLISTED not in names
    assert [address_of(name) for name in names] == ["203.0.113.1", "203.0.113.10", "203.0.113.100", "203.0.113.99"]
    assert address_of("nothing.bench.example") == ""
