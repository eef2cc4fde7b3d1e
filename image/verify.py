"""`python -m image check FILE`: opens an image, neither booting nor mounting it, and proves each promise.

A promise that cannot be looked at is broken: a check finds what is missing as much as what is wrong.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from image.opened import Opened, Wanted
from image.opening import open_image
from image.promises import PROMISES, Finding

MOST_SHOWN = 20  # findings of one promise in the table; ours


def check(path: Path, wanted: Wanted) -> list[Finding]:
    """Return where the image at `path` breaks a promise; nothing of one that keeps them all."""
    with tempfile.TemporaryDirectory(prefix="image-", dir=path.parent) as directory:
        open_image(path, Path(directory))
        return judge(Opened(Path(directory), wanted))


def judge(image: Opened) -> list[Finding]:
    """Return where an image that is open already breaks a promise."""
    return [Finding(promise.id, text) for promise in PROMISES for text in promise.check(image)]


def table(findings: Iterable[Finding]) -> str:
    """Return the promises as text, one a line, each with `ok` or `broken` and with what was found."""
    by_promise: dict[str, list[str]] = {}
    for finding in findings:
        by_promise.setdefault(finding.promise, []).append(finding.text)
    lines = []
    for promise in PROMISES:
        found = by_promise.get(promise.id, [])
        lines.append(f"{'broken' if found else 'ok':8}{promise.id:18}{promise.text}")
        lines += [f"{'':10}{text}" for text in found[:MOST_SHOWN]]
        if len(found) > MOST_SHOWN:
            lines.append(f"{'':10}… and {len(found) - MOST_SHOWN} more")
    return "\n".join(lines)
