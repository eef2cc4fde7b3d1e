"""Runs other programs, and says in a sentence what their failure means to who bakes an image."""

import re
import subprocess
from collections.abc import Mapping, Sequence

from image.errors import ImageError

# When Python ends, whatever ends it, the program ends too, with all that it started and mounted.
CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"),
)
LINES_TOLD = 12
TELLING = re.compile(r"\bE: |\berror\b|\bfailed\b|\bdepends on\b", re.IGNORECASE)

# What programs say when something else than the program is at fault, and what to do about it.
FAULTS = (
    (r"No space left on device|ENOSPC", "the disk is full: make room where build/ is, and start again"),
    (
        r"Temporary failure resolving|Could not (?:resolve|connect|handshake)|Network is unreachable|Failed to fetch",
        "Debian's archive cannot be reached: see that the network is up and what apt-get update says, or use --mirror",
    ),
    (
        r"NO_PUBKEY|is not signed|KEYEXPIRED|EXPKEYSIG",
        "the archive's signature is by no key that this machine trusts: install debian-archive-keyring",
    ),
    (
        r"Unable to locate package|has no installation candidate|unmet dependencies",
        "the archive lacks a package: see that the mirror is complete, and `packages` in image/recipe.toml",
    ),
    (
        r"Exec format error|cannot be executed|can neither be executed natively",
        "this machine cannot run programs of the image's architecture",
    ),
)


def run(command: Sequence[str], name: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed; of one that fails, the end of what it said goes into the error."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            umask=0o022,
            env=environment,
        )
    except FileNotFoundError:
        raise missing(command[0]) from None
    if done.returncode:
        raise ImageError(explain(name or command[0], done.returncode, done.stdout + done.stderr))
    return done.stdout


def missing(program: str) -> ImageError:
    """Return the error for a program that this machine lacks."""
    return ImageError(f"{program} is missing: install it (tests/setup.sh packages image)")


def explain(name: str, code: int, said: str) -> str:
    """Return one sentence for what went wrong, and below it the last telling lines of what the program said."""
    if code == 127 and (
        found := re.search(r"(?:setpriv|unshare): (?:failed to execute )?([\w.-]+): No such file", said)
    ):
        return str(missing(found[1]))
    meaning = next((text for pattern, text in FAULTS if re.search(pattern, said)), f"{name} failed, exit code {code}")
    lines = said.strip().splitlines()
    telling = [line for line in lines if TELLING.search(line)] or lines
    return "\n".join([meaning, *(f"  {line.strip()}" for line in telling[-LINES_TOLD:])])
