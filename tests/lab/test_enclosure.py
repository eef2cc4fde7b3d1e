"""The enclosure keeps everything in, and takes everything with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import enclosure
from tests.lab.lab import wait_until

ENTER = [sys.executable, enclosure.__file__]

STORY = """
import sys, time
from tests.lab.lab import Lab
from tests.lab.security_group import egress
lab = Lab.start()
web = lab.workload("web", groups=[lab.security_group("web", egress("tcp", 443))])
web.popen("sh", "-c", "trap '' TERM HUP INT; setsid sleep 1000 & sleep 1000")
with lab.plain_nat():
    print("ready", flush=True)
    time.sleep(1000)
"""


def enter(*command: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*ENTER, *command], capture_output=True, text=True, timeout=30, check=False, **options
    )


def descendants(pid: int) -> set[int]:
    """Processes below one, children of children included."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        parents[int(status.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def is_command(pid: int) -> bool:
    """Whether a process is the one the enclosure was made for: it runs the story, and as neither of its wrappers."""
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return STORY in command and enclosure.__file__ not in command


@pytest.mark.parametrize(
    ("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_status_is_the_commands(command: str, status: int) -> None:
    """Whoever starts the enclosure sees what the command did."""
    assert enter("sh", "-c", command).returncode == status


def test_a_command_that_does_not_exist_is_reported() -> None:
    """As a shell would."""
    done = enter("/no/such/program")

    assert (done.returncode, done.stderr) == (127, "enclosure: error: /no/such/program: No such file or directory\n")


def test_the_command_is_alone_with_a_loopback() -> None:
    """It sees its own processes, one interface, and an empty /run."""
    done = enter("sh", "-c", "ip -o link | wc -l; ls /run | wc -l; echo $PPID")

    assert done.stdout.split() == ["1", "0", "1"]


def test_processes_left_behind_end_with_the_command() -> None:
    """A daemon that the command forgot does not survive it."""
    before = alive(descendants(1))

    enter("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & exit 0")

    assert wait_until(lambda: alive(descendants(1)) <= before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command(number: signal.Signals) -> None:
    """The command may tidy up when the outer process is asked to end."""
    script = f"trap 'echo told; exit 3' {number.name.removeprefix('SIG')}; echo ready; while :; do sleep 0.01; done"
    # What a shell starts in the background is deaf to some of them, and so is all that it starts.
    hearing = ["env", f"--default-signal={number.name.removeprefix('SIG')}"]
    with subprocess.Popen([*hearing, *ENTER, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == "ready\n"
        outer.send_signal(number)

        assert (outer.stdout.readline(), outer.wait(10)) == ("told\n", 3)


@pytest.mark.parametrize("victim", ["outer", "command"])
def test_nothing_remains_of_a_lab_that_is_killed(victim: str) -> None:
    """SIGKILL of the outermost process, or of the lab itself, ends every process and takes every interface along."""
    links = subprocess.check_output(["ip", "-o", "link"], text=True)
    mounts = Path("/proc/self/mountinfo").read_text()
    files = sorted(Path("/run").iterdir())
    with subprocess.Popen([*ENTER, sys.executable, "-c", STORY], stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == "ready\n"
        pids = descendants(outer.pid)
        assert len(pids) > 8  # holders, the workload's programs

        if victim == "outer":
            outer.kill()
        else:
            os.kill(next(pid for pid in pids if is_command(pid)), signal.SIGKILL)
        outer.wait(10)

        assert wait_until(lambda: not alive(pids - {outer.pid}))
    assert subprocess.check_output(["ip", "-o", "link"], text=True) == links
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert sorted(Path("/run").iterdir()) == files


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give it up")
def test_root_is_not_needed(tmp_path: Path) -> None:
    """Without privileges the lab runs in a user namespace of its own."""
    (tmp_path / "story.py").write_text(STORY.replace("time.sleep(1000)", 'print(web.run("id", "-u").out, flush=True)'))
    drop = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]  # an ordinary user, who may read our files

    done = subprocess.run(
        [*drop, "setpriv", "--no-new-privs", *ENTER, sys.executable, str(tmp_path / "story.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["ready", "0"], "")
