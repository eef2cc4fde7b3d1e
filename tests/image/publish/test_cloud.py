"""How AWS is asked: how long is waited, what ends it, and what is said when nobody answers."""

import socket
import threading

import boto3
import pytest

from image.cloud import Interrupted, Patience, Region
from image.errors import ImageError
from tests.image.publish.account import HOME, Account
from tests.image.publish.disks import Bakery


class Clock(threading.Event):
    """Remembers what it was asked to wait for, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        return self.is_set()


def test_waits_grow_and_last_two_minutes() -> None:
    """Twice as long each time, up to a bound, never the same for two, and long enough for a snapshot to be known."""
    totals = []
    for _ in range(50):
        clock = Clock()
        patience = Patience(stop=clock)
        for failed in range(1, patience.attempts):
            patience.before_attempt(failed)
        longest = [min(16.0, 0.25 * 2**step) for step in range(patience.attempts - 1)]
        assert all(most / 2 <= wait <= most for wait, most in zip(clock.waits, longest, strict=True))
        totals.append(sum(clock.waits))

    assert len(set(totals)) == 50
    assert sum(longest) / 2 >= 60
    assert 90 <= sum(totals) / 50 <= 130


def test_who_waits_can_be_stopped() -> None:
    """Before the next attempt and before the next look."""
    patience = Patience()
    patience.stop.set()

    with pytest.raises(Interrupted):
        patience.before_attempt(1)
    with pytest.raises(Interrupted):
        patience.before_look()


def test_no_answer_is_told(account: Account, bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few attempts, not after two minutes, with the region and what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")

    with pytest.raises(ImageError, match=f"{HOME}: GetCallerIdentity got no answer, 4 times .*spelt right") as told:
        account.publish(bakery.bake(), patience=Patience(scale=0.0))

    assert "run the command again" in str(told.value)
    assert len(account.calls("sts")) == 4


def test_what_boto3_does_not_take_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in AWS's settings is not passed on as a traceback."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    region = Region(boto3.Session(aws_access_key_id="a", aws_secret_access_key="b"), "no region at all", Patience())

    with pytest.raises(ImageError, match="region"):
        region.ask("ec2", "describe_regions")
