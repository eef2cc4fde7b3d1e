"""What runs here, with a manifest of the image, without one, and with broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance import __version__, about
from appliance.edge import manifest
from appliance.edge.manifest import Manifest, read_manifest
from appliance.errors import InputError

DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "name": "discriminat",
    "version": "0.1.0",
    "architecture": "arm64",
    "commit": "0123456789abcdef0123456789abcdef01234567-dirty",
    "source_date_epoch": 1795600000,
    "debian": "13.2",
    "suite": "trixie",
    "kernel": "6.12.57+deb13-cloud-arm64",
    "packages": {"nftables": "1.1.3-1", "python3": "3.13.5-1"},
}


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the manifest is looked for."""
    path = tmp_path / "manifest.json"
    monkeypatch.setattr(manifest, "PATH", path)
    about.commit.cache_clear()
    yield path
    about.commit.cache_clear()


def test_an_image_says_what_it_is_made_of(image: Path) -> None:
    """For people in a line, for programs in full."""
    image.write_text(json.dumps(DOCUMENT))

    text, document = about.render_about(), about.about_document()

    assert text.splitlines()[0] == f"discriminat {__version__}"
    assert text.splitlines()[-1] == (
        "image: discriminat 0.1.0 for arm64, commit 0123456789abcdef0123456789abcdef01234567-dirty,"
        " Debian 13.2 (trixie) with 2 packages, kernel 6.12.57+deb13-cloud-arm64"
    )
    assert document["image"] == {key: value for key, value in DOCUMENT.items() if key != "schema"}
    assert document["image_failure"] == ""
    assert about.commit() == DOCUMENT["commit"]
    assert f", image of commit {DOCUMENT['commit']}, Public Suffix List of 20" in about.program()


def test_without_an_image_the_rest_is_there(image: Path) -> None:
    """As on a machine where the program was installed by pip."""
    text, document = about.render_about(), about.about_document()

    assert text.splitlines()[-1] == f"image: none: there is no {image}"
    parts = ["engine", "Python", "kernel", "Public Suffix List", "image"]
    assert [line.partition(":")[0] for line in text.splitlines()[1:]] == parts
    assert (document["image"], document["image_failure"]) == (None, "")
    assert about.commit() == ""
    assert "image" not in about.program()


BROKEN = [
    ("{", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ("\xff", "not JSON: "),
    ("[]", "not a manifest of schema 1"),
    (json.dumps(DOCUMENT | {"schema": 2}), "not a manifest of schema 1"),
    (json.dumps(DOCUMENT | {"commit": None}), "'commit' is None, not a text"),
    (json.dumps({key: DOCUMENT[key] for key in DOCUMENT if key != "kernel"}), "'kernel' is None, not a text"),
    (json.dumps(DOCUMENT | {"source_date_epoch": True}), "'source_date_epoch' is True, not a whole number"),
    (json.dumps(DOCUMENT | {"packages": ["nftables"]}), "'packages' does not give each name a version"),
    (json.dumps(DOCUMENT | {"packages": {"nftables": 1}}), "'packages' does not give each name a version"),
]


@pytest.mark.parametrize(("text", "complaint"), BROKEN)
def test_a_broken_manifest_is_named_and_the_rest_is_there(image: Path, text: str, complaint: str) -> None:
    """A program in an image with a broken manifest is as good as ever."""
    image.write_bytes(text.encode("latin-1"))

    with pytest.raises(InputError) as caught:
        read_manifest(image)

    assert caught.value.message.startswith(f"{image}: {complaint}")
    assert about.render_about().splitlines()[-1].startswith(f"image: unknown: {image}: {complaint}")
    assert about.about_document()["version"] == __version__
    assert str(about.about_document()["image_failure"]).startswith("unknown")
    assert about.commit() == ""


def test_a_manifest_that_cannot_be_read(image: Path) -> None:
    """A folder in its place, for one."""
    image.mkdir()

    with pytest.raises(InputError, match="Is a directory"):
        read_manifest(image)


def test_what_is_kept_of_it() -> None:
    """Every key of the schema, and no other."""
    assert {"schema", *Manifest.__slots__} == DOCUMENT.keys()
