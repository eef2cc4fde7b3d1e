"""The report of `discriminat check`: what was found, and how it is shown.

Two levels. A *rejection* grants nothing: the appliance refuses it, or AWS would refuse the description that holds
it (which what AWS returned never shows, but a file made by a tool may). A *warning* works as it is written, but
perhaps not as it was meant. Everything here is pure.
"""

import enum
from dataclasses import dataclass

from appliance.policy.annotation import Fault


class Check(enum.StrEnum):
    """What was looked for. The values are part of what `check --json` prints: add members, never rename them."""

    ANNOTATION = "annotation"
    AWS_CHARACTER = "aws_character"
    AWS_LENGTH = "aws_length"
    AWS_DUPLICATE = "aws_duplicate"
    NARROW_REACH = "narrow_reach"
    NAME_REPEATED = "name_repeated"
    PATTERN_WIDE = "pattern_wide"
    RESOLVER_LISTED = "resolver_listed"
    SEE_THRU_ENDED = "see_thru_ended"
    SEE_THRU_LONG = "see_thru_long"
    SEE_THRU_REPEATED = "see_thru_repeated"
    GROUP_UNWORN = "group_unworn"
    PREFIX_LIST_UNKNOWN = "prefix_list_unknown"
    NAME_LIST_UNKNOWN = "name_list_unknown"


REJECTIONS = frozenset({Check.ANNOTATION, Check.AWS_CHARACTER, Check.AWS_LENGTH, Check.AWS_DUPLICATE})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `rule`: its reference, empty for what concerns the whole group, as is the fault's text then."""

    check: Check
    gid: str
    group: str
    rule: str
    fault: Fault

    @property
    def level(self) -> str:
        """Either `rejected` or `warning`."""
        return "rejected" if self.check in REJECTIONS else "warning"


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found, in the order of the groups and their rules.

    `annotated`: groups with an annotation, or with what was meant to be one. `names`, `patterns`: different ones that
    are listed.
    """

    groups: int
    annotated: int
    names: int
    findings: tuple[Finding, ...]
    patterns: int = 0

    @property
    def rejected(self) -> int:
        """Number of findings that grant nothing."""
        return sum(finding.check in REJECTIONS for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Number of the other findings."""
        return len(self.findings) - self.rejected


def render_report(report: Report) -> str:
    """Return the report for people: a paragraph for each finding, and the summary in the last line."""
    paragraphs = [_render_finding(finding) for finding in report.findings]
    if not report.annotated:
        paragraphs.append("no egress rule is annotated: the appliance would let nothing out")
    counts = (
        _count(report.groups, "group"),
        _count(report.names, "name"),
        *([_count(report.patterns, "pattern")] if report.patterns else []),
        f"{report.rejected} rejected",
        _count(report.warnings, "warning"),
    )
    return "\n\n".join([*paragraphs, ", ".join(counts)]) + "\n"


def report_document(report: Report) -> dict[str, object]:
    """Return the report for programs, as JSON values."""
    return {
        "groups": report.groups,
        "annotated": report.annotated,
        "names": report.names,
        "patterns": report.patterns,
        "rejected": report.rejected,
        "warnings": report.warnings,
        "findings": [
            {
                "level": finding.level,
                "check": finding.check.value,
                "gid": finding.gid,
                "group": finding.group,
                "rule": finding.rule,
                "message": finding.fault.message,
                "hint": finding.fault.hint,
                "description": finding.fault.text,
                "start": finding.fault.span[0],
                "end": finding.fault.span[1],
            }
            for finding in report.findings
        ],
    }


def _render_finding(finding: Finding) -> str:
    named = f"{finding.gid} ({finding.group})" if finding.group else finding.gid
    place = f"{named}, {finding.rule}" if finding.rule else named
    fault = finding.fault
    body = fault.render() if fault.text else f"{fault.message}\nhint: {fault.hint}"
    return "\n  ".join([f"{finding.level}: {place}", *body.splitlines()])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
