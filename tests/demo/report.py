"""The report: what was allowed, what was refused and why, for a terminal of 120 columns."""

import os
from typing import TextIO

from tests.demo.stage import Outcome, Stage
from tests.lab.security_group import Rule

TITLES = ("", "WHAT WAS TRIED", "THE CLIENT SAW", "LOGGED", "CODES", "SERVER GOT")
WIDTHS = (4, 41, 19, 11, 32)
BOLD, DIM, GREEN, RED, YELLOW = "1", "2", "32", "31", "33"


class Report:
    """Writes to a stream; in colour only where that is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and "NO_COLOR" not in os.environ

    def say(self, text: str = "", style: str = "") -> None:
        """Write a line."""
        self._stream.write(self._styled(text, style) + "\n")
        self._stream.flush()

    def groups(self, stage: Stage) -> None:
        """Write the Security Groups and their annotations."""
        self.say("Security Groups of the workloads, egress rules and their descriptions:", BOLD)
        for name, group in stage.groups.items():
            for rule in group.rules:
                shown = name if rule is group.rules[0] else ""
                self.say(f"    {shown:<8}{_rule(rule):<13}{rule.description}".rstrip())
        self.say()

    def head(self) -> None:
        """Write the head of the table."""
        self.say(_columns(TITLES).rstrip(), BOLD)

    def row(self, outcome: Outcome) -> None:
        """Write what came of one scenario, on two lines."""
        good = not outcome.faults
        codes = ", ".join(outcome.codes) or "-"
        if outcome.exerted is not None:
            codes += " (see-thru)" if outcome.exerted else " (ended)"
        title = outcome.scenario.title
        if outcome.took is not None:
            title += f": {outcome.took:.1f} s"
        cells = ("ok" if good else "NO", title, outcome.saw, outcome.outcome or "-", codes, outcome.reach.value)
        allowed = outcome.outcome == "allowed"
        style = RED if not good else GREEN if allowed else YELLOW if outcome.exerted else ""
        self.say(_columns(cells).rstrip(), style)
        self.say(f"    {outcome.scenario.client}$ {outcome.scenario.attempt.text}", DIM)
        for fault in outcome.faults:
            self.say(f"    {fault}", RED)

    def log(self, stage: Stage) -> None:
        """Write the flow log as the program wrote it."""
        self.say("\nThe flow log, as the appliance wrote it:", BOLD)
        for line in stage.flow_lines():
            self.say(line)

    def _styled(self, text: str, style: str) -> str:
        return f"\033[{style}m{text}\033[0m" if style and self._coloured else text


def _columns(cells: tuple[str, ...]) -> str:
    """Return the cells side by side; one that is too long pushes the others, but never touches them."""
    return "".join(f"{cell:<{width - 1}} " for cell, width in zip(cells[:-1], WIDTHS, strict=True)) + cells[-1]


def _rule(rule: Rule) -> str:
    return "all traffic" if rule.protocol == "-1" else f"{rule.protocol}/{rule.from_port}"
