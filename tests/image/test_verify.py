"""Each promise is proved by a check that can fail: an image that keeps all of them, and each broken at least once."""

import argparse
import re
import shutil
from pathlib import Path

import pytest

from appliance.policy.location import Service
from image import verify
from image.errors import ImageError
from image.opened import NOTHING, Opened
from image.promises import PROMISES
from image.recipe import read_recipe
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


# ---- the command ----


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verify.add_arguments(parser)
    return parser.parse_args(words)


def test_an_image_that_was_taken_apart_is_checked_again(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--extracted DIR`; the recipe's lock is not that of the specimen, so that it is not kept."""
    status = verify.run(arguments("--extracted", str(good)))

    out = capsys.readouterr().out
    assert status == 1
    assert "ok      closed-first " in out
    assert "broken  locked " in out
    assert "of the promises" not in out


def test_what_is_no_disk_keeps_no_promise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing can be looked at: each promise of the disk is broken, and nothing is left behind."""
    path = tmp_path / "discriminat-0.1.0-x86_64.raw"
    path.write_bytes(bytes(1 << 20))

    assert verify.run(arguments(str(path))) == 1
    assert "the partition table is broken: sector 0 has no boot signature" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


def test_every_check_needs_something_to_look_at(tmp_path: Path) -> None:
    """In an image without any content no check is content, but those that look for what may not be there."""
    for folder in ("root", "esp"):
        (tmp_path / folder).mkdir()

    kept = {promise.id for promise in PROMISES} - {finding.promise for finding in judge(Opened(tmp_path, WANTED))}

    absent = {"no-sshd", "no-console-login", "no-secrets", "no-compilers", "no-setuid", "nothing-writable"}
    assert kept == absent | {"session-manager", "nothing-left", "not-newer"}


def test_without_an_image_the_next_step_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file nor one in build/."""
    monkeypatch.setattr("image.order.BUILD", tmp_path)

    for given, words in (
        ([], "make image"),
        ([str(tmp_path / "a.raw")], "make image"),
        (["a", "b", "--keep", "c"], "--keep"),
    ):
        with pytest.raises(ImageError, match=words):
            verify.run(arguments(*given))


# ---- what recipe and lock ask for ----


def test_the_recipe_names_the_services_that_the_engine_asks() -> None:
    """botocore's data is cut down to the clients that the source makes, by name or for where a list of names is."""
    source = "".join(path.read_text() for path in (specimen.ROOT / "appliance").rglob("*.py"))
    clients = set(re.findall(r"\.client\(\s*\"([a-z0-9-]+)\"", source))

    wanted = verify.wanted(read_recipe(), "x86_64")

    assert clients >= {"ec2", "logs"}
    assert wanted.services == clients | set(Service)
    assert {"discriminat.service", "discriminat-firewall.service", "chrony.service"} <= wanted.units
    assert all(len(sha256) == 64 for _, sha256 in wanted.lock.values())
