"""The reader of the preferences: what is in force, and what is told, as its parameter comes, changes and goes."""

import asyncio
import json
import time
from collections.abc import Iterable
from datetime import date

import pytest

from appliance import preference_reader
from appliance.errors import AwsError
from appliance.policy.policy import Change
from appliance.policy.preferences import DEFAULTS, Ech, Preferences, state_preferences, write_preferences
from appliance.preference_reader import PreferenceReader
from appliance.settings import Settings

OPEN = Preferences(see_thru=date(2027, 1, 31))
OPEN_TEXT = '{"%default": {"see_thru": "2027-01-31"}}'
DENIED = AwsError("ssm:GetParameter: not permitted", hint="allow it")
AWAY = AwsError("ssm:GetParameter: throttled")

Answer = str | None | AwsError


class Parameter:
    """Gives its answers one after the other, and the last for ever."""

    name = "P"

    def __init__(self, answers: Iterable[Answer]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def read(self) -> str | None:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, AwsError):
            raise answer
        return answer


class Story:
    """A reader that has been asked for as many readings as there are answers, and once more."""

    def __init__(self, *answers: Answer, settings: Settings | None = None) -> None:
        self.steps: list[Preferences | Change] = []  # what was put in force and what was told, in order
        self.parameter = Parameter(answers)
        asyncio.run(self._play(settings or Settings()))

    async def _play(self, settings: Settings) -> None:
        self.reader = PreferenceReader(
            settings, self.parameter, put_in_force=self._put_in_force, tell=self.steps.extend
        )
        assert not self.reader.settled.is_set()
        task = asyncio.create_task(self.reader.follow())
        async with asyncio.timeout(10):
            await self.reader.settled.wait()
            while self.parameter.asked <= len(self.parameter.answers):  # noqa: ASYNC110 -- another task counts
                await asyncio.sleep(0)
        self.report = self.reader.report()
        task.cancel()

    async def _put_in_force(self, preferences: Preferences) -> None:
        assert preferences == self.reader.current
        self.steps.append(preferences)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(step.cat, step.outcome) for step in self.steps if isinstance(step, Change)]

    @property
    def put(self) -> list[Preferences]:
        return [step for step in self.steps if isinstance(step, Preferences)]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, which take no time."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def instead(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(preference_reader.asyncio, "sleep", instead)
    return waits


def test_what_is_read_is_put_in_force_and_then_told() -> None:
    """Once: the same text again is no news."""
    story = Story(OPEN_TEXT, OPEN_TEXT)

    assert story.steps == [
        OPEN,
        Change(
            "preferences",
            "accepted",
            reason=f"read from SSM parameter P: {state_preferences(OPEN)}",
        ),
        Change("preferences", "accepted", reason='see_thru: "2027-01-31", was null'),
        Change("see-thru", "accepted", gid="%default", reason="until 2027-01-31"),
    ]


def test_defaults_are_told_but_change_nothing() -> None:
    """So that one can see in the log that the parameter is found."""
    story = Story('{"%default": {}}')

    assert story.put == []
    assert story.told == [("preferences", "accepted")]


def test_an_edit_takes_effect() -> None:
    """Only what has changed is told."""
    story = Story('{"%default": {}}', OPEN_TEXT, '{"%default": {"ech": "allow"}}')

    assert story.put == [OPEN, Preferences(ech=Ech.ALLOW)]
    assert story.told[1:] == [
        ("preferences", "accepted"),
        ("see-thru", "accepted"),
        ("preferences", "accepted"),
        ("preferences", "accepted"),
        ("see-thru", "removed"),
    ]


def test_a_bad_value_keeps_the_last_good_one() -> None:
    """It is told once, and again only when the text changes."""
    bad = json.dumps({"%default": {"see_thru": "31-01-2027", "ech": "allow"}})
    story = Story(OPEN_TEXT, bad, bad, "{", OPEN_TEXT)

    assert story.put == [OPEN, Preferences(see_thru=OPEN.see_thru, ech=Ech.ALLOW), OPEN]
    assert story.told[3:] == [
        ("error", "rejected"),
        ("preferences", "accepted"),
        ("error", "rejected"),
        ("preferences", "accepted"),
    ]


def test_before_the_first_reading_the_defaults_hold(waits: list[float]) -> None:
    """A failure settles the matter for the time being, and is told once for each cause; then it is read after all."""
    story = Story(DENIED, DENIED, AWAY, OPEN_TEXT)

    reasons = [step.reason for step in story.steps if isinstance(step, Change) and step.cat == "error"]
    assert reasons == [
        "the preferences cannot be read, the safe defaults are in force: ssm:GetParameter: not permitted; allow it",
        "the preferences cannot be read, the safe defaults are in force: ssm:GetParameter: throttled",
        "the preferences can be read again",
    ]
    assert story.put == [OPEN]
    assert waits[:4] == pytest.approx([10, 10, 10, 60], rel=preference_reader.JITTER * 1.01)  # sooner while it fails


def test_a_failure_later_changes_nothing() -> None:
    """What was read last stands, and is not put in force again when the same is read afterwards."""
    story = Story(OPEN_TEXT, AWAY, OPEN_TEXT)

    assert story.put == [OPEN]
    assert story.told[3:] == [("error", "failed"), ("error", "recovered")]
    failed = [step for step in story.steps if isinstance(step, Change) and step.outcome == "failed"]
    assert failed[0].reason.startswith("the preferences cannot be read, the last ones stand: ")


def test_a_parameter_that_is_gone_asks_for_nothing() -> None:
    """The defaults hold, which are closed; it is told once, as is its return."""
    story = Story(OPEN_TEXT, None, None, OPEN_TEXT)

    assert story.put == [OPEN, DEFAULTS, OPEN]
    assert story.told[3:] == [
        ("error", "missing"),
        ("preferences", "accepted"),
        ("see-thru", "removed"),
        ("preferences", "accepted"),
        ("preferences", "accepted"),
        ("see-thru", "accepted"),
    ]


def test_a_parameter_that_never_was_is_reported() -> None:
    """A name that was mistyped would otherwise be found out in the hour of need."""
    story = Story(None)

    assert story.put == []
    [told] = story.steps
    assert isinstance(told, Change)
    assert told.reason == (
        "SSM parameter P does not exist, and the safe defaults are in force; "
        "create it, or empty [preferences] parameter"
    )


@pytest.mark.parametrize(
    ("ech", "named", "current"),
    [
        (True, False, Preferences(ech=Ech.ALLOW)),
        (False, False, DEFAULTS),
        (True, True, DEFAULTS),
    ],
)
def test_the_settings_count_where_no_parameter_is_named(ech: bool, named: bool, current: Preferences) -> None:
    """With one, its value or its safe default overrules them."""
    settings = Settings(tls_ech=ech)

    async def play() -> PreferenceReader:
        reader = PreferenceReader(settings, Parameter([AWAY]) if named else None, put_in_force=None, tell=None)
        if not named:
            assert reader.settled.is_set()
            await reader.follow()
        return reader

    assert asyncio.run(play()).current == current


REPORTS = [
    # answers, outcome, how the failure begins, in force
    ([OPEN_TEXT], "accepted", "", "2027-01-31"),
    ([OPEN_TEXT, '{"%default": {"sea_thru": null}}'], "accepted", "", None),
    (
        [OPEN_TEXT, '{"%default": {"see_thru": "soon"}}'],
        "rejected",
        'preferences: see_thru "soon" is not',
        "2027-01-31",
    ),
    ([OPEN_TEXT, "{"], "rejected", "preferences: the text is not JSON", "2027-01-31"),
    ([OPEN_TEXT, None], "missing", "SSM parameter P does not exist", None),
    ([OPEN_TEXT, DENIED], "failed", "ssm:GetParameter: not permitted; allow it", "2027-01-31"),
    (["{", AWAY, "{"], "rejected", "preferences: the text is not JSON", None),
    ([AWAY], "failed", "ssm:GetParameter: throttled", None),
]


@pytest.mark.parametrize(("answers", "outcome", "failure", "see_thru"), REPORTS)
def test_the_last_reading_and_what_is_in_force_are_reported(
    answers: list[Answer], outcome: str, failure: str, see_thru: str | None
) -> None:
    """Also when the last reading failed, or brought the same bad text again."""
    report = Story(*answers).report

    assert (report["parameter"], report["outcome"]) == ("P", outcome)
    assert str(report["failure"]).startswith(failure)
    assert bool(report["failure"]) == bool(failure)
    assert report["in_force"] == write_preferences(DEFAULTS) | {"see_thru": see_thru}
    assert (report["age_seconds"] is None) == (answers == [AWAY])


def test_the_age_is_that_of_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows while nothing can be read."""
    story = Story(OPEN_TEXT, AWAY)
    now = time.monotonic()
    monkeypatch.setattr(preference_reader.time, "monotonic", lambda: now + 90)

    assert story.reader.report()["age_seconds"] == pytest.approx(90, abs=20)


def test_a_reader_of_nothing_reports_the_settings() -> None:
    """Nobody named a parameter: there is no reading to have an age or an outcome."""
    report = PreferenceReader(Settings(tls_ech=True), None, put_in_force=None, tell=None).report()

    assert report == {
        "parameter": "",
        "age_seconds": None,
        "outcome": "",
        "failure": "",
        "in_force": write_preferences(DEFAULTS) | {"ech": "allow"},
    }
