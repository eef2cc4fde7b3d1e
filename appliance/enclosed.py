"""The self-test on the box: the same rows through a ruleset and a worker of its own, towards the real host.

The box's own connections do not pass its forward chain, and what is in force must not be touched. So a client, a
ruleset and a worker are started in a sandbox, as `prove` does (`trial.py`), and what they let through is carried on to
the host by a relay (`edge/relay.py`). The policy lists the host that the user names; that of AWS is not asked for.

The process that calls `run_enclosed` is of no use afterwards: it has moved into the sandbox.
"""

import contextlib
import dataclasses
import json
import select
import threading
from typing import Self

from appliance.address import parse_ipv4
from appliance.edge import sandbox
from appliance.edge.channel import WorkerChannel
from appliance.edge.netfilter import Netfilter, NetfilterConfig
from appliance.edge.relay import Relay
from appliance.messages import FlowLines, NewAnswers, WantName
from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule
from appliance.probing import WAIT, Found, find, try_rows
from appliance.selftest.findings import Findings
from appliance.selftest.row import Place
from appliance.selftest.rows import ROWS
from appliance.selftest.target import Targets
from appliance.trial import PATIENCE, put_in_force, started_worker

CONNECTIONS = 2 * len(ROWS)
TTL = 3600.0  # seconds
LOG_WAIT = 2.0  # seconds for the last lines of the log


def run_enclosed(targets: Targets) -> Findings:
    """Try every row in a sandbox on this machine, and return what came of it; a code that is not logged breaks it.

    Raises:
        BaselineError: there is no honest connection through the sandbox.
        KernelError, TrialError: there is no sandbox, or no worker in it.
    """
    found = find(targets)
    places = [place for place in (found.place, found.other, found.ssh) if isinstance(place, Place)]
    relay = Relay(CONNECTIONS, WAIT)
    ends = sandbox.enter(clients=0, wait=PATIENCE, places=places)
    with started_worker() as channel:
        netfilter = Netfilter()
        queue, isn = netfilter.has_nft_queue(), netfilter.has_reversed_isn()
        config = NetfilterConfig((sandbox.CLIENT_NETWORK,), 1, nft_queue=queue, isn_reversed=isn)
        netfilter.load(config)
        answers = _answers(found, targets)
        put_in_force(channel, netfilter, config, _rules(found, targets), answers)
        for listener, place in zip(ends.others, places, strict=True):
            relay.serve(listener, place)
        with _Attendant(channel, answers) as attendant:
            sandbox.become_client(ends)
            findings = try_rows(found)
            missing = attendant.missing({result.code for result in findings.results if result.code})
    if missing and not findings.broken:
        return dataclasses.replace(findings, broken=f"the log lacks {', '.join(sorted(missing))}")
    return findings


def _rules(found: Found, targets: Targets) -> tuple[EgressRule, ...]:
    named = [("tls", targets.host)]
    if targets.ssh is not None and isinstance(found.ssh, Place):
        named.append(("ssh", targets.ssh))
    return tuple(
        EgressRule("tcp", each.port, each.port, "0.0.0.0/0", f"discriminat:{protocol}:{each.name}")
        for protocol, each in named
    )


def _answers(found: Found, targets: Targets) -> tuple[Answer, ...]:
    named = [(targets.host, found.place), (targets.ssh, found.ssh)]
    return tuple(
        Answer(Fqdn.parse(target.name), (parse_ipv4(place.address),), TTL)
        for target, place in named
        if target is not None and isinstance(place, Place)
    )


class _Attendant:
    """Answers what the worker asks of DNS, and keeps the codes that it logs, beside the attempts."""

    def __init__(self, channel: WorkerChannel, answers: tuple[Answer, ...]) -> None:
        self._channel = channel
        self._answers = {answer.name: answer for answer in answers}
        self._codes: set[str] = set()
        self._more = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._attend, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def missing(self, codes: set[str]) -> set[str]:
        """Return which of these codes have not been logged, after a moment for the last."""
        with self._more:
            self._more.wait_for(lambda: codes <= self._codes, LOG_WAIT)
            return codes - self._codes

    def _attend(self) -> None:
        with contextlib.suppress(EOFError):  # the worker is gone: then an honest connection fails in the end
            while not self._over.is_set():
                select.select([self._channel], [], [], 0.1)
                for message in self._channel.receive():
                    if isinstance(message, WantName):
                        nothing = Answer(message.name, (), 0.0, "nxdomain")
                        self._channel.send(NewAnswers((self._answers.get(message.name, nothing),)))
                    elif isinstance(message, FlowLines):
                        with self._more:
                            self._codes |= {json.loads(line)["code"] for line in message.lines.splitlines()}
                            self._more.notify_all()
