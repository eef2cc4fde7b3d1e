"""The catalogue of attacks: what is tried, what meets it, and the tests that prove it.

    python -m tests.attacks         write the table into SECURITY.md

`tests/test_attacks.py` fails if a row has no test, or names one that pytest does not find.
"""

from tests.attacks import dns, names, packets, plaintext, state, tls
from tests.attacks.row import Row

FAMILIES: dict[str, tuple[Row, ...]] = {
    "Names": names.ROWS,
    "TLS": tls.ROWS,
    "TCP and IP": packets.ROWS,
    "DNS": dns.ROWS,
    "State, protocols and platform": state.ROWS,
    "Plaintext of revocation": plaintext.ROWS,
}
ROWS: tuple[Row, ...] = tuple(row for rows in FAMILIES.values() for row in rows)


def render_table() -> str:
    """Return the table of the rows, as it stands in SECURITY.md."""
    lines = ["| Row | Attack | What meets it | `code` |", "| --- | --- | --- | --- |"]
    for row in ROWS:
        codes = ", ".join(f"`{code.value}`" for code in row.codes)
        lines.append(f"| {row.mark} | {row.attack} | {row.defence} | {codes} |")
    return "\n".join(lines)
