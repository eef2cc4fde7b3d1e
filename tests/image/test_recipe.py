"""The recipe is read as what it is declared to be; every mistake in it is named, with what to do."""

from pathlib import Path

import pytest

from image.errors import ImageError
from image.recipe import ARCHITECTURES, PATH, architecture, read_recipe

TEXT = PATH.read_text(encoding="utf-8")
SHA256 = "0" * 64

# what is replaced in the recipe, by what, and what is said about it
MISTAKES = [
    ('suite = "trixie"', 'suit = "trixie"', "unknown key suit: known are suite, packages,"),
    ('suite = "trixie"', "", "suite is missing"),
    ('suite = "trixie"', "suite = 13", "suite has the wrong type: 13"),
    ("esp_mib = 96", 'esp_mib = "96"', "disk.esp_mib has the wrong type: '96'"),
    ("esp_mib = 96", "esp_mib = true", "disk.esp_mib has the wrong type: True"),
    ("esp_mib = 96", "esp_mb = 96", "unknown key disk.esp_mb: known are uuid,"),
    ("force_drivers = [", "force_drivers = [1, ", "initrd.force_drivers has the wrong type: 1"),
    ('arm64 = "linux-image-cloud-arm64"', 'aarch64 = "x"', "unknown architecture 'aarch64': use one of x86_64, arm64"),
    ("package = {}", 'package = { x86_64 = "agent.deb" }', "give session_manager.sha256.x86_64 too"),
    ("[session_manager]\npackage = {}\nsha256 = {}", "[session_manager]", "session_manager.package is missing"),
    ("[disk]", "[disk", "cannot be read"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES, ids=[said for *_, said in MISTAKES])
def test_mistake_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    """The message names the file, the key and what is wrong with it."""
    assert old in TEXT
    path = tmp_path / "recipe.toml"
    path.write_text(TEXT.replace(old, new), encoding="utf-8")

    with pytest.raises(ImageError) as caught:
        read_recipe(path)

    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_recipe_that_is_a_table_too_few(tmp_path: Path) -> None:
    """A value where a table belongs is refused as that."""
    path = tmp_path / "recipe.toml"
    head, _, tail = TEXT.partition("[disk]")
    path.write_text(f"disk = 1\n{head}[kept_apart]{tail}", encoding="utf-8")

    with pytest.raises(ImageError, match="unknown key kept_apart"):
        read_recipe(path)

    path.write_text(f"disk = 1\n{head}{tail[tail.index('[session_manager]') :]}", encoding="utf-8")
    with pytest.raises(ImageError, match="disk has to be a table"):
        read_recipe(path)


def test_agent_with_a_digest_is_taken(tmp_path: Path) -> None:
    """Session Manager is a matter of two values."""
    path = tmp_path / "recipe.toml"
    text = TEXT.replace("package = {}", 'package = { arm64 = "a.deb" }')
    path.write_text(text.replace("sha256 = {}", f'sha256 = {{ arm64 = "{SHA256}" }}'), encoding="utf-8")

    assert dict(read_recipe(path).session_manager.sha256) == {"arm64": SHA256}


def test_our_recipe() -> None:
    """It speaks of each architecture, Session Manager is off, and what it fixes is fixed once."""
    recipe = read_recipe()

    assert set(recipe.kernel.package) == set(recipe.kernel.console) == set(ARCHITECTURES)
    assert not recipe.session_manager.package
    uuids = [value for name, value in vars(recipe.disk).items() if name.endswith("uuid")]
    assert len(set(uuids)) == len(uuids) == 6


def test_unknown_architecture_is_refused() -> None:
    """With the names that are known: AWS's."""
    with pytest.raises(ImageError, match="unknown architecture 'amd64': use one of x86_64, arm64"):
        architecture("amd64")
