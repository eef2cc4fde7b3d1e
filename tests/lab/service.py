"""Service: the program as its unit starts it, as far as that can be had without systemd.

A user of its own with the unit's capabilities, and no others to be had; its limits and its mode of new files; what the
unit does before, as root. What only systemd can do (system calls, read-only folders) is for the image's boot test.

Source: appliance/systemd/usr/lib/systemd/system/discriminat.service; setpriv(1), systemd.exec(5).
"""

import functools
import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path

from tests import installed
from tests.unit_file import read_unit, words

USER = 64242  # nobody's
ENTRY_POINT = "/usr/bin/discriminat"


@functools.cache
def user() -> int:
    """Return who the program is run as: root where nobody else can be had, or nobody else may read this checkout."""
    try:
        probe = subprocess.run(
            [*_become(USER), sys.executable, "-c", "import appliance.cli"],
            env={**os.environ, **installed.environment()},
            capture_output=True,
            check=False,
        )
    except OSError:
        return 0
    return USER if probe.returncode == 0 else 0


def command(*program: str) -> list[str]:
    """Return the command line that runs a program as the unit runs the engine."""
    unit = read_unit("discriminat.service")["Service"]
    files = min(int(unit["LimitNOFILE"][-1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    limits = [f"--nofile={files}", f"--core={unit['LimitCORE'][-1]}"]
    script = f'umask {unit["UMask"][-1]}; exec "$@"'
    environment = words(unit, "Environment")
    return ["prlimit", *limits, *_become(user(), more()), "env", *environment, "sh", "-c", script, "sh", *program]


def preparations() -> list[list[str]]:
    """Return what the unit does as root before each start, but for the folder, which is the lab's own."""
    lines = [line.lstrip("-+") for line in read_unit("discriminat.service")["Service"]["ExecStartPre"]]
    return [_here(shlex.split(line)) for line in lines if not line.startswith("/usr/bin/install ")]


def own(path: Path) -> None:
    """Give a folder and all in it to the program's user."""
    for each in (path, *path.rglob("*")):
        os.chown(each, user(), user(), follow_symlinks=False)


@functools.cache
def more() -> tuple[str, ...]:
    """Return the capability that this machine wants beyond the unit's for the self-test's network; none on the image.

    Who is root in a user namespace may be root in another one only with CAP_SETFCAP (user_namespaces(7)); Ubuntu wants
    CAP_SYS_ADMIN of whoever makes one.
    """
    for extra in ((), ("CAP_SETFCAP",), ("CAP_SYS_ADMIN",)):
        namespace = ["unshare", "--user", "--map-root-user", "--net", "true"]
        if subprocess.run([*_become(user(), extra), *namespace], capture_output=True, check=False).returncode == 0:
            return extra
    return ()


def _become(user: int, extra: tuple[str, ...] = ()) -> list[str]:
    unit = read_unit("discriminat.service")["Service"]
    ambient, bounding = (
        ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in (*words(unit, key), *extra))])
        for key in ("AmbientCapabilities", "CapabilityBoundingSet")
    )
    assert unit["NoNewPrivileges"] == ["yes"]
    return [
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups" if user else "--keep-groups",  # in a user namespace of one user there is no other choice
        f"--inh-caps={ambient}",
        f"--ambient-caps={ambient}",
        f"--bounding-set={bounding}",
        "--no-new-privs",
    ]


def _here(line: list[str]) -> list[str]:
    """Return a command line of the image with this machine's program and user in it."""
    line = [str(user()) if word == "discriminat" else word for word in line]
    return [sys.executable, "-m", "appliance", *line[1:]] if line[0] == ENTRY_POINT else line
