"""Playing: the demo run to its end by a test, in this enclosure, with a lab of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TIMEOUT = 180  # seconds


def play(report: Path, *options: str) -> dict[str, Any]:
    """Return what `python -m tests.demo` reports, its `status` and its `output`.

    Args:
        report: the file for its JSON.
    """
    command = [sys.executable, "-m", "tests.demo", "--json", str(report), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert report.exists(), done.stdout[-4000:] + done.stderr[-4000:]
    return {**json.loads(report.read_text()), "status": done.returncode, "output": done.stdout}
