"""Each promise is proved by a check that can fail: an image that keeps all of them, and each broken at least once."""

import shutil
from pathlib import Path

import pytest

from image.opened import NOTHING, Opened
from image.promises import PROMISES
from image.verify import judge, table
from tests.image import specimen
from tests.image.breaks import BREAKS, Break
from tests.image.specimen import WANTED

CASES = [
    pytest.param(promise, damage, words, id=f"{promise}-{why}")
    for promise, cases in BREAKS.items()
    for why, damage, words in cases
]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("image")
    specimen.make(directory)
    return directory


@pytest.fixture
def image(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "image", symlinks=True)
    return tmp_path / "image"


def test_a_good_image_keeps_every_promise(good: Path) -> None:
    """Nothing is found in an image that is as it should be."""
    findings = judge(Opened(good, WANTED))

    assert findings == []
    assert table(findings).count("\nok ") == len(PROMISES) - 1


def test_an_image_for_arm64_needs_no_bios(tmp_path: Path) -> None:
    """What is for legacy BIOS alone is not asked of it; the rest is."""
    image = specimen.make(tmp_path, "arm64")

    assert judge(image) == []
    assert {finding.promise for finding in judge(Opened(tmp_path, NOTHING))} == {
        *("botocore", "locked", "nothing-else-runs"),
    }


def test_every_promise_is_broken_once() -> None:
    """A promise without a case that breaks it would be a check that may never fail."""
    assert list(BREAKS) == [promise.id for promise in PROMISES]


@pytest.mark.parametrize(("promise", "damage", "words"), CASES)
def test_a_broken_promise_is_found(image: Path, promise: str, damage: Break, words: str) -> None:
    """Each fault is found by the check of the promise that it breaks, in words that name it."""
    damage(image)

    findings = judge(Opened(image, WANTED))

    found = [finding.text for finding in findings if finding.promise == promise]
    assert any(words in text for text in found), found or "nothing was found"
    assert f"\nbroken  {promise} " in f"\n{table(findings)}"
