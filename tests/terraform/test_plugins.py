"""The provider is found wherever its mirror lies, and the search ends."""

from pathlib import Path

import pytest

from tests.terraform import plugins
from tests.terraform.plugins import VARIABLE, mirror, search

PROVIDER = "registry.example.com/hashicorp/aws/5.100.0/linux_amd64/terraform-provider-aws_v5.100.0_x5"


def make_mirror(root: Path) -> Path:
    file = root / PROVIDER
    file.parent.mkdir(parents=True)
    file.write_bytes(b"ELF")
    return root


def test_search_finds_the_root_of_a_mirror(tmp_path: Path) -> None:
    """The root is six folders above the provider; what an init left behind is not a mirror."""
    make_mirror(tmp_path / ".terraform" / "providers")
    root = make_mirror(tmp_path / "deep" / "mirror")

    assert search(tmp_path, least=3) == root


def test_search_passes_over_what_is_too_small(tmp_path: Path) -> None:
    """What a test has put there to be found, as here, is not the provider for others who search the disk."""
    make_mirror(tmp_path / "mirror")

    assert search(tmp_path) is None
    assert search(tmp_path, least=4) is None


def test_search_ends(tmp_path: Path) -> None:
    """Neither a disk without a mirror nor one without an end holds the tests up."""
    (tmp_path / "loop").symlink_to(tmp_path)

    assert search(tmp_path) is None
    assert search(Path("/"), limit=0.0) is None


def test_the_variable_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TERRAFORM_PLUGINS names the mirror; empty, it leaves all to Terraform."""
    found = []
    for value in (str(tmp_path), ""):
        mirror.cache_clear()
        monkeypatch.setenv(VARIABLE, value)
        found.append(mirror())
    mirror.cache_clear()

    assert found == [tmp_path.resolve(), None]


def test_no_terraform_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no Terraform is told what to install."""
    monkeypatch.setenv("PATH", "")

    assert plugins.obstacle().startswith("there is no terraform in PATH: install Terraform")
    assert plugins.provide() == plugins.obstacle()
