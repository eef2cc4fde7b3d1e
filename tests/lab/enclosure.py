"""Enclosure: a command run where nothing it starts, mounts or configures can outlive it.

    python tests/lab/enclosure.py COMMAND [ARGUMENT ...]

The command gets its own network, mount, IPC and process namespaces (and a user namespace in which it is root,
when it is not root already). The first process in there reaps orphans and ends with the command; the kernel then
kills whatever is left. The same happens when anybody kills the outer process, with SIGKILL too, because the first
process asks for SIGKILL on its parent's death. Private there: /proc, an empty /run, a loopback that is up, and no
other interface.

Source: namespaces(7), pid_namespaces(7), user_namespaces(7), prctl(2) PR_SET_PDEATHSIG.
This file is run by path as well as imported: standard library only, and nothing of ours.
"""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x00020000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
SI_KERNEL = 0x80  # si_code of a signal the terminal sent: the whole process group has it already

FORWARDED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
MARK = "LAB_ENCLOSURE"  # environment: inode of the enclosure's process namespace

_libc = ctypes.CDLL(None, use_errno=True)


class EnclosureError(Exception):
    """The system does not permit the namespaces the lab is made of; the text says which and what to do."""


def inside() -> bool:
    """Whether this process already runs in an enclosure."""
    return os.environ.get(MARK) == str(Path("/proc/self/ns/pid").stat().st_ino)


def ensure() -> None:
    """Replace this process by itself inside an enclosure, or return when it is in one.

    Call it before any thread is started and before anything worth keeping is in memory.
    """
    if not inside():
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, __file__, *sys.orig_argv])


def obstacle() -> str:
    """Return why no enclosure can be made here, or the empty text."""
    if inside():
        return ""
    probe = subprocess.run([sys.executable, __file__, "true"], capture_output=True, text=True, timeout=30, check=False)
    return "" if probe.returncode == 0 else probe.stderr.strip()


def enclose(command: list[str]) -> int:
    """Run a command inside a new enclosure and return its exit status (128 + signal when killed)."""
    _unshare()
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED | {signal.SIGCHLD})
    first = os.fork()
    if first == 0:
        _first_process(command)
    return _wait_for(first)


def _first_process(command: list[str]) -> NoReturn:
    """Be process 1: prepare the mounts, start the command, reap, and end when the command ends."""
    status = 125  # as timeout(1) and docker: the wrapper failed, not the command
    try:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        _mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        os.environ[MARK] = str(Path("/proc/self/ns/pid").stat().st_ino)
        main = os.fork()
        if main == 0:
            _become(command)
        status = _wait_for(main)
    except (EnclosureError, OSError, subprocess.SubprocessError) as error:
        print(f"enclosure: error: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _become(command: list[str]) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED | {signal.SIGCHLD})
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"enclosure: error: {command[0]}: {error.strerror}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(127)


def _wait_for(main: int) -> int:
    """Reap every child and pass signals on until `main` has ended; return its exit status."""
    while True:
        received = signal.sigwaitinfo(FORWARDED | {signal.SIGCHLD})
        if received.si_signo != signal.SIGCHLD:
            if received.si_code != SI_KERNEL:
                os.kill(main, received.si_signo)
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == main:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _unshare() -> None:
    namespaces = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC
    user, group = os.getuid(), os.getgid()
    if user == 0:
        try:
            _call("unshare", namespaces)
        except EnclosureError:  # root of a container without CAP_SYS_ADMIN: try as anybody else would
            pass
        else:
            return
    try:
        _call("unshare", namespaces | CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except (EnclosureError, OSError) as error:
        settings = "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"
        raise EnclosureError(f"{error}; run as root, or allow user namespaces (sysctl {settings})") from None


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    _call("mount", source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), None)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        told = ", ".join(a.decode() for a in arguments if isinstance(a, bytes))
        raise EnclosureError(f"{name}({told}): {os.strerror(ctypes.get_errno())}")


def main() -> int:
    """Run the command given as arguments inside an enclosure."""
    command = sys.argv[1:]
    if not command:
        print("usage: enclosure.py COMMAND [ARGUMENT ...]", file=sys.stderr)
        return 2
    try:
        return enclose(command)
    except EnclosureError as error:
        print(f"enclosure: error: {error}", file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
