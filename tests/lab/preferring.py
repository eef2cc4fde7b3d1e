"""Preferring: what a test writes into the deployment's preferences, and how it knows that they are in force."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.appliance import Appliance, Config
from tests.lab.event_log import Event
from tests.lab.lab import Lab
from tests.lab.story import SHORT_WAITS

NAME = "DiscrimiNAT_egress"
PREFERRED: Config = {**SHORT_WAITS, "preferences": {"parameter": NAME, "interval": 0.3}}


@contextmanager
def running(lab: Lab) -> Iterator[Appliance]:
    """Run the appliance with a parameter to read, which asks for nothing at first."""
    write(lab, '{"%default": {}}')
    lab.appliance.start(PREFERRED)
    yield lab.appliance
    lab.appliance.wipe()
    lab.ssm.delete_parameter(Name=NAME)


def write(lab: Lab, text: str) -> None:
    """Make the parameter hold this text."""
    lab.ssm.put_parameter(Name=NAME, Value=text, Type="String", Overwrite=True)


def prefer(lab: Lab, **values: object) -> None:
    """Write preferences, and wait until each has been told to be in force; all others get their defaults."""
    skip = len(lab.appliance.config_events())
    write(lab, json.dumps({"%default": values}))
    for key, value in values.items():
        wait_told(lab, skip, f"{key}: {json.dumps(value)}, was ")


def wait_told(lab: Lab, skip: int, reason: str, **fields: object) -> Event:
    """Wait for an event of the config log that begins like this."""
    return lab.appliance.wait_for_event(
        lambda event: event["reason"].startswith(reason), skip=skip, **({"cat": "preferences"} | fields)
    )


@contextmanager
def preferred(lab: Lab, **values: object) -> Iterator[None]:
    """Prefer something, and afterwards the defaults again."""
    prefer(lab, **values)
    try:
        yield
    finally:
        skip = len(lab.appliance.config_events())
        write(lab, '{"%default": {}}')
        for key in values:
            wait_told(lab, skip, f"{key}: ")
