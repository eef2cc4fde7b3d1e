"""Membership: when the group is told that a launch is over, and when that an instance must go."""

import asyncio
from collections.abc import Callable

import pytest

from appliance import membership
from appliance.errors import AwsError
from appliance.membership import Membership
from appliance.settings import Settings


class Group:
    """Remembers what it was told; refuses so many times first."""

    def __init__(self, *, refusals: int = 0, launching: bool = True) -> None:
        self.refusals = refusals
        self.launching = launching
        self.told: list[str] = []

    def complete_launch(self, hook: str) -> bool:
        self._answer(f"complete {hook}")
        return self.launching

    def give_up(self) -> None:
        self._answer("give up")

    def _answer(self, what: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise AwsError("throttled")
        self.told.append(what)


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "LOOK", 0.001)
    monkeypatch.setattr(membership, "RETRY", 0.001)


class Story:
    """A membership that is kept until a condition is true."""

    def __init__(self, group: Group, **settings: object) -> None:
        self.group = group
        self.well = False
        self.events: list[tuple[str, str]] = []
        self._membership = Membership(
            group,  # type: ignore[arg-type]
            Settings(aws_auto_scaling_group="egress", **settings),  # type: ignore[arg-type]
            is_well=lambda: self.well,
            tell=lambda cat, outcome, reason: self.events.append((cat, outcome)),
        )

    def keep(self, until: Callable[[], bool], *, get_well: bool = True) -> None:
        async def play() -> None:
            task = asyncio.create_task(self._membership.keep())
            await asyncio.sleep(0.01)
            assert self.group.told == []  # whatever comes, not before it is well
            self.well = get_well
            async with asyncio.timeout(5):
                while not until():  # noqa: ASYNC110 -- the tests tell by data, not by events
                    await asyncio.sleep(0.001)
            task.cancel()

        asyncio.run(play())


def test_the_launch_is_completed_when_well() -> None:
    """Not before flows are filtered, and once."""
    story = Story(Group(), aws_launch_hook="ready")

    story.keep(lambda: bool(story.group.told))

    assert story.group.told == ["complete ready"]
    assert story.events == [("appliance", "in service")]


def test_a_restart_within_service_tells_nothing() -> None:
    """The program may start again in an instance that has long been launched."""
    story = Story(Group(launching=False), aws_launch_hook="ready")

    story.keep(lambda: bool(story.group.told))

    assert story.events == []


def test_a_refusal_is_tried_again() -> None:
    """The launch waits for an hour at most, and AWS may be busy."""
    story = Story(Group(refusals=2), aws_launch_hook="ready")

    story.keep(lambda: bool(story.group.told))

    assert story.events == [("error", "failed"), ("error", "failed"), ("appliance", "in service")]


def test_a_long_illness_ends_the_instance() -> None:
    """Who is not well for so long asks to be replaced; without a hook from the start on."""
    story = Story(Group(), aws_replace_after=0.05)

    story.keep(lambda: bool(story.group.told), get_well=False)

    assert story.group.told[0] == "give up"
    assert story.events[0] == ("appliance", "unhealthy")


def test_an_illness_may_be_borne() -> None:
    """With 0 seconds the instance is never given up."""
    story = Story(Group(), aws_replace_after=0.0)
    looks = iter(range(50))

    story.keep(lambda: next(looks, None) is None, get_well=False)

    assert story.group.told == []
