"""The appliance on a box: the real program under its real ruleset, with policy from the stand-in for AWS.

Policy, address binding, the log on disk and its shipping are all on, as they are by default.
"""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from tests import installed
from tests.bench.cloud import REGION, Cloud, Group, Interface
from tests.bench.hello import listed_name
from tests.bench.site import PORT, Box, end

HEALTH_PORT: Final = 1042
DESCRIPTION: Final = 255  # characters of a rule's description that AWS allows
RULES: Final = 60  # egress rules of a group, AWS's default
GROUPS: Final = 16  # groups of an interface, AWS's most
CIDR_BLOCKS: Final = tuple(f"0.0.0.0/{length}" for length in range(33))  # ways to write "anywhere" for one port
OTHER_PORT: Final = 8443  # where rules go once the first port has every block
SEE_THRU_CLIENT: Final = "10.50.255.1"
START_WAIT: Final = 60.0  # seconds until healthy
LOOK_UP_WAIT: Final = 240.0  # seconds until every listed name has been looked up


class NotReady(Exception):
    """A system does not do what it is there for; the text says what, and may hold the end of its output."""


class HealthTest(Protocol):
    """A condition on what /healthz says."""

    def __call__(self, health: dict[str, object], /) -> bool:
        """Tell whether this is what was waited for."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much policy there is, and how often it is read."""

    vpc: str
    names: int
    clients: int
    poll_interval: float = 10.0  # seconds
    look_ups: float = 200.0  # per second, in the background


class Discriminat:
    """The program, running on its box."""

    filters = True

    def __init__(  # noqa: PLR0917 -- as the starters of the other systems
        self, name: str, box: Box, cloud: Cloud, size: Size, folder: Path, build: Path | None = None
    ) -> None:
        """Describe the policy to the stand-in, start the program and wait until it is healthy and knows every name.

        Args:
            build: folder of an installed package, instead of that of ENGINE_BUILD.
        """
        self.name = name
        self.box = box
        self._folder = folder / name
        self._folder.mkdir(parents=True, exist_ok=True)
        names = [listed_name(number) for number in range(size.names)]
        groups = groups_of(names)
        cloud.describe(size.vpc, [*groups, SEE_THRU_GROUP], interfaces_of(groups, size.clients))
        settings = self._folder / "discriminat.toml"
        settings.write_text(
            f"""[aws]
vpc_id = "{size.vpc}"
[policy]
poll_interval = {size.poll_interval}
[names]
rate = {size.look_ups}
[logs]
directory = "{self._folder}/logs"
spool = "{self._folder}/spool"
cloudwatch = false  # the other systems log to local disk as well
[health]
port = {HEALTH_PORT}
"""
        )
        with (self._folder / "output.log").open("wb") as output:
            self._process: subprocess.Popen[bytes] = box.namespace.popen(
                *(sys.executable, "-m", "appliance", "run", "--config", str(settings)),
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **installed.environment(build),
                    "AWS_ENDPOINT_URL": cloud.endpoint,
                    "AWS_ENDPOINT_URL_EC2": cloud.endpoint,
                    "AWS_ENDPOINT_URL_LOGS": cloud.endpoint,
                    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": cloud.endpoint,
                    "AWS_ACCESS_KEY_ID": "bench",
                    "AWS_SECRET_ACCESS_KEY": "bench",
                    "AWS_DEFAULT_REGION": REGION,
                },
            )
        try:
            self._wait(START_WAIT, lambda health: health.get("status") == "ok")
            self._wait(LOOK_UP_WAIT, lambda health: health.get("names_to_look_up") == 0)
        except BaseException:
            self.close()
            raise

    def processes(self) -> list[int]:
        return [self._process.pid]

    def close(self) -> None:
        end(self._process)

    def health(self) -> dict[str, object]:
        """Return what /healthz says, or nothing while nobody answers there."""
        with self.box.namespace.entered():
            connection = http.client.HTTPConnection("127.0.0.1", HEALTH_PORT, timeout=5)
            try:
                connection.request("GET", "/healthz")
                report = json.loads(connection.getresponse().read())
            except (OSError, http.client.HTTPException, ValueError):
                return {}
            finally:
                connection.close()
        return report if isinstance(report, dict) else {}

    def _wait(self, patience: float, done: HealthTest) -> None:
        deadline = time.monotonic() + patience
        while not done(self.health()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "output.log").read_text(errors="replace")[-2000:]
                raise NotReady(f"{self.name}: {self.health() or 'no health'}\n{said}")
            time.sleep(0.2)


def groups_of(names: list[str]) -> list[Group]:
    """Write names into the descriptions of as few groups as AWS's limits permit."""
    per_rule = (DESCRIPTION - len("discriminat:tls:") + 1) // (len(names[0]) + 1)
    places = [(PORT, block) for block in CIDR_BLOCKS] + [(OTHER_PORT, block) for block in CIDR_BLOCKS]
    groups: list[Group] = []
    for chunk in _batched(names, per_rule * RULES):
        rules = _batched(chunk, per_rule)
        described = [
            (port, block, f"discriminat:tls:{','.join(rule)}")
            for (port, block), rule in zip(places, rules, strict=False)
        ]
        groups.append(Group(f"sg-{len(groups):017x}", tuple(described)))
    return groups


def interfaces_of(groups: list[Group], clients: int) -> list[Interface]:
    """Give the first groups to each of the clients, the other groups to interfaces that stay silent."""
    ids = [group.id for group in groups]
    wearers = [
        Interface(f"10.50.{number >> 8}.{number & 255}", tuple(ids[:GROUPS])) for number in range(1, clients + 1)
    ]
    silent = [
        Interface(f"10.50.200.{number}", tuple(batch))
        for number, batch in enumerate(_batched(ids[GROUPS:], GROUPS), start=1)
    ]
    return [*wearers, *silent, Interface(SEE_THRU_CLIENT, (SEE_THRU_GROUP.id,))]


SEE_THRU_GROUP: Final = Group("sg-0000000000000beef", ((5201, "0.0.0.0/0", "discriminat:see-thru:2099-12-31"),))


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the items, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
