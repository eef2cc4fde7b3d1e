"""Every harness over its seeds and vectors, without the fuzzer: what it checks holds, and it still works."""

from pathlib import Path

import pytest

from tests.fuzz import catalogue

INPUT_MAX = 4096  # octets of a file in the repository

HARNESSES = {name: catalogue.load(name) for name in catalogue.NAMES}  # here: some edges look for IPv6 as they load
SEEDS = [(name, seed) for name in catalogue.NAMES for seed in catalogue.seeds(name)]
VECTORS = [(name, vector) for name in catalogue.NAMES for vector in catalogue.vectors(name)]


def ids(rows: list[tuple[str, Path]]) -> list[str]:
    return [f"{name}-{path.name}" for name, path in rows]


@pytest.mark.parametrize(("name", "seed"), SEEDS, ids=ids(SEEDS))
def test_a_seed_is_what_its_name_says(name: str, seed: Path) -> None:
    """What must hold holds of it, and the word for it is that before the dot of its name."""
    assert HARNESSES[name].check(seed.read_bytes()) == seed.name.partition(".")[0]


@pytest.mark.parametrize(("name", "vector"), VECTORS, ids=ids(VECTORS))
def test_what_once_failed_holds(name: str, vector: Path) -> None:
    """An input that a fuzzer found fails no more."""
    assert HARNESSES[name].check(vector.read_bytes())


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_a_harness_has_seeds_of_more_than_one_kind(name: str) -> None:
    """Small ones, within what the fuzzer makes; good ones and bad ones."""
    seeds = catalogue.seeds(name)

    assert len({seed.name.partition(".")[0] for seed in seeds}) > 1
    assert max(seed.stat().st_size for seed in seeds) <= min(INPUT_MAX, HARNESSES[name].MAX)


@pytest.mark.parametrize("kind", ["seeds", "vectors"])
def test_no_input_is_without_its_harness(kind: str) -> None:
    """A harness that was renamed takes its seeds and vectors with it."""
    assert {folder.name for folder in (catalogue.HERE / kind).iterdir()} <= set(catalogue.NAMES)
