"""The findings of a self-test: as a table for people, and as a document for programs. Everything here is pure."""

from dataclasses import dataclass

from appliance.selftest.judging import Outcome, Result
from appliance.selftest.row import Row

EXIT_PASSED, EXIT_FAILED, EXIT_NOT_JUDGED = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Findings:
    """What was tried, and what came of it.

    Attributes:
        away: seconds to the server and back.
        broken: why the rows cannot be judged although they were tried; empty if they can.
    """

    host: str
    port: int
    address: str
    away: float
    results: tuple[Result, ...]
    broken: str = ""

    def count(self, outcome: Outcome) -> int:
        """Return how many rows ended so."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def status(self) -> int:
        """Exit code. What got through got through, even where the rest cannot be judged."""
        if self.count(Outcome.NOT_STOPPED):
            return EXIT_FAILED
        if self.broken:
            return EXIT_NOT_JUDGED
        return EXIT_FAILED if self.count(Outcome.BROKEN) else EXIT_PASSED

    @property
    def summary(self) -> str:
        """The last line."""
        if self.broken:
            return f"nothing above can be relied on: {self.broken}"
        counts = [f"{self.count(outcome)} {outcome.value}" for outcome in Outcome if self.count(outcome)]
        return f"{'FAILED' if self.status else 'passed'}: {', '.join(counts)}"

    def document(self) -> dict[str, object]:
        """Return the findings for programs, as JSON values."""
        return {
            "passed": self.status == EXIT_PASSED,
            "summary": self.summary,
            "host": self.host,
            "port": self.port,
            "address": self.address,
            "away_seconds": round(self.away, 6),
            "results": [
                {
                    "mark": result.row.mark,
                    "tried": result.row.tried,
                    "outcome": result.outcome.value,
                    "detail": result.detail,
                    "code": result.code,
                    "seconds": round(result.seconds, 6),
                }
                for result in self.results
            ],
        }


def render_findings(findings: Findings) -> str:
    """Return the table."""
    here = f"{findings.host} is {findings.address}, port {findings.port}, {findings.away * 1000:.1f} ms away"
    rows = [(each.row, each.outcome.value, each.code or "", each.detail) for each in findings.results]
    return f"{here}\n\n{_table(rows)}\n{findings.summary}\n"


def render_rows(rows: tuple[Row, ...]) -> str:
    """Return what would be tried."""
    return _table([(row, "must pass" if row.must_pass else "must not", row.code or "", "") for row in rows])


def _table(rows: list[tuple[Row, str, str, str]]) -> str:
    wide = max(len(row.tried) for row, *_ in rows)
    code = max(len(code) for _, _, code, _ in rows)
    lines = [
        f"{row.mark:<4} {row.tried:<{wide}}  {word:<11}  {log:<{code}}  {detail}".rstrip()
        for row, word, log, detail in rows
    ]
    return "\n".join([*lines, ""])
