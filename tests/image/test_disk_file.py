"""The image that `make image` has left in build/, if there is one: taken apart by the real tools, whole and damaged."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from image.gpt import read_table
from image.opening import PIECE
from image.verify import check
from tests.image.specimen import ROOT

IMAGES = sorted((ROOT / "build").glob("discriminat-*-*.raw"))

pytestmark = pytest.mark.subprocesses


@pytest.fixture
def image(tmp_path: Path) -> Path:
    if not IMAGES:
        pytest.skip("there is no image in build/: make image")
    if os.geteuid():
        pytest.skip("root is needed to enter the tools' tree")
    copy = tmp_path / IMAGES[0].name
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", IMAGES[0], copy], check=True)
    for beside in (f"{copy.name}.json", f"{copy.stem}.cdx.json"):
        shutil.copy(IMAGES[0].with_name(beside), tmp_path)
    return copy


def test_one_changed_octet_of_the_root_is_found(image: Path) -> None:
    """Somewhere in the middle of the root file system: dm-verity does not match, nor does the document beside it."""
    root = next(partition for partition in read_table(image).partitions if partition.name == "root")
    with image.open("r+b") as disk:
        at = root.start + root.size // 2
        disk.seek(at)
        octets = disk.read(PIECE)
        place = next(index for index, octet in enumerate(octets) if octet)
        disk.seek(at + place)
        disk.write(bytes([octets[place] ^ 1]))

    findings = [(finding.promise, finding.text) for finding in check(image)]

    assert any(promise == "verified-root" and "does not match its hash" in text for promise, text in findings)
    assert any(promise == "report" and "sha256" in text for promise, text in findings)
