"""What the tests of publishing share: an emulator for all, and for each test an empty account and disks of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.publish.account import Account
from tests.image.publish.disks import Bakery, Repository
from tests.lab.emulator import Emulator

OURS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let all tests in here open sockets, on loopback, and run git and ssh-keygen."""
    for item in items:
        if item.path.is_relative_to(OURS):
            item.add_marker(pytest.mark.sockets)
            item.add_marker(pytest.mark.subprocesses)


@pytest.fixture(scope="package")
def emulator() -> Iterator[Emulator]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # which takes longer than all the rest
        started = Emulator()
        yield started
        started.close()


@pytest.fixture(scope="package")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def bakery(tmp_path: Path, repository: Repository) -> Bakery:
    return Bakery(tmp_path, repository)


@pytest.fixture
def account(emulator: Emulator, bakery: Bakery, monkeypatch: pytest.MonkeyPatch, hears_interrupts: None) -> Account:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    return Account(emulator, bakery.repository)
