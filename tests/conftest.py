"""What holds for every test.

A unit test opens no socket and starts no program unless it is marked so: what touches the machine
belongs to the lab (`tests/lab`, `tests/netns`, `tests/terraform`, `tests/image/boot`). In continuous integration a
skipped test is a failed one.
"""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

HERE = Path(__file__).parent
LAB = (HERE / "image" / "boot", HERE / "lab", HERE / "netns", HERE / "terraform")

# Boots of the image take minutes and want an image: they run when they are asked for, by `make image-test`.
collect_ignore = ["image/boot"]

# `fast` is for every run; `HYPOTHESIS_PROFILE=deep make test-unit` is for a night or a doubt. No
# deadline: the time that an example takes says more about a shared machine than about the code.
hypothesis.settings.register_profile("fast", max_examples=50, deadline=None, print_blob=True)
hypothesis.settings.register_profile("deep", max_examples=5000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

STRICT = os.environ.get("STRICT_TESTS", "0") != "0" or os.environ.get("CI", "").lower() in {"true", "1"}


def in_lab(item: pytest.Item) -> bool:
    return any(item.path.is_relative_to(folder) for folder in LAB)


# ---- order: tests are shuffled, except the lab's ----


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the lab last and in its own order: its first tests show that the lab itself works."""
    items.sort(key=lambda item: (True, str(item.path), item.location[1] or 0) if in_lab(item) else (False, "", 0))


# ---- continuous integration: no skips ----


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    refuse_skip(report)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nA skipped test is a failure in continuous integration (STRICT_TESTS, CI)."


# ---- AWS: nobody's credentials, and an emulator in memory ----


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that open nothing, and none of the variables by which AWS's clients are sent elsewhere."""
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")


@pytest.fixture
def aws_in_memory(credentials: None) -> Iterator[None]:
    """Every AWS client of this process asks moto."""
    import moto

    with moto.mock_aws():
        yield


# ---- unit tests: no sockets, no programs ----


class ForbiddenInUnitTest(BaseException):
    """Not an `Exception`, so that no broad handler in the code under test can hide it."""


SOCKET_CALLS = (
    *((socket.socket, name) for name in ("bind", "connect", "connect_ex", "sendto", "sendmsg")),
    (socket, "getaddrinfo"),
)
PROGRAM_CALLS = ((subprocess.Popen, "__init__"), (os, "system"), (os, "posix_spawn"), (os, "fork"))


def forbidden(what: str, marker: str) -> Callable[..., None]:
    def refuse(*_args: object, **_named: object) -> None:
        raise ForbiddenInUnitTest(f"{what} in a unit test: mark it @pytest.mark.{marker}, or move it to the lab")

    return refuse


@pytest.fixture(autouse=True)
def _stay_in_process(request: pytest.FixtureRequest) -> Iterator[None]:
    if in_lab(request.node):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for calls, marker in ((SOCKET_CALLS, "sockets"), (PROGRAM_CALLS, "subprocesses")):
            if request.node.get_closest_marker(marker) is None:
                for owner, name in calls:
                    patch.setattr(owner, name, forbidden(name, marker))
        yield
