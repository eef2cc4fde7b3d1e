"""Nobody gets in: no server to log in to, no account to log in with, no secret, no tool to build one."""

import re
from collections.abc import Iterator

from image.debian import accounts
from image.opened import Opened
from image.promises.promise import Promise
from image.units import Units

REMOTE_SHELLS = ("dropbear", "in.rlogind", "in.rshd", "in.telnetd", "mosh-server", "sshd", "sshd-session", "telnetd")
LOCAL_LOGINS = (
    *("autovt@tty1.service", "console-getty.service", "container-getty@1.service", "debug-shell.service"),
    *("getty@tty1.service", "serial-getty@ttyS0.service", "systemd-logind.service", "user@0.service"),
)
NO_SHELLS = {"/usr/sbin/nologin", "/sbin/nologin", "/usr/bin/false", "/bin/false"}
LOCKED = re.compile(r"[!*].*")
PROGRAMS = re.compile(r"/(?:usr/(?:local/)?)?s?bin/[^/]+|/usr/lib(?:exec)?/.+|/opt/.+")
COMPILER = re.compile(
    r"(?:[a-z0-9_]+-linux-gnu[a-z0-9]*-)?(?:as|c[89]9|cc|c\+\+|clang|clang\+\+|cpp|g\+\+|gcc|gccgo|gfortran|go|gold|ld|"
    r"ld\.(?:bfd|gold|lld|so\.bfd)|lto1|cc1|cc1plus|collect2|make|gmake|cmake|ninja|rustc|cargo|tcc|pip3?|easy_install)"
    r"(?:-?[0-9][0-9.]*)?"
)
PRIVATE_KEY = re.compile(
    rb"^-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n(?:[A-Za-z-]+: .*\r?\n|\r?\n)*[A-Za-z0-9+/=]{40}", re.MULTILINE
)
ACCESS_KEY = re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{9}(?!EXAMPLE)[A-Z0-9]{7}(?![A-Z0-9])")
LARGEST_SECRET = 1 << 20  # octets of a file that is searched for keys; ours
SECRET_NAMES = re.compile(
    r"authorized_keys2?|known_hosts|id_(?:rsa|dsa|ecdsa|ed25519)|ssh_host_.*|.*\.(?:p12|pfx|jks|kdbx)|\.netrc|\.pgpass|"
    r"random-seed|credential\.secret|\.(?:ash|bash|python|sh|zsh|psql|mysql|node_repl)_history|\.lesshst|\.viminfo|\.Xauthority"
)
NO_IDENTITY = {"", "uninitialized"}  # machine-id(5): made anew at each boot
STICKY = {"/tmp", "/var/tmp", "/run/lock", "/dev/shm", "/var/lock", "/var/spool/mail", "/var/mail"}  # noqa: S108


def no_sshd(image: Opened) -> Iterator[str]:
    """Find servers of remote shells, and what is left of them."""
    for entry in image.tree.named(*REMOTE_SHELLS):
        if not entry.is_directory:
            yield f"{entry.path} is a server to log in to"
    for name in ("openssh-server", "dropbear-bin", "telnetd", "ec2-instance-connect"):
        if name in image.packages:
            yield f"the package {name} is installed"
    if image.tree.has("/etc/ssh/sshd_config"):
        yield "/etc/ssh/sshd_config is there"


def no_console_login(image: Opened) -> Iterator[str]:
    """Find units that ask for a name on a console, and the setting that lets a locked root in."""
    units = Units(image.tree)
    for name in LOCAL_LOGINS:
        unit = units.unit(name)
        if unit is not None and not unit.masked:
            yield f"{name} can be started: mask it"
    for entry in image.tree.under("/etc/systemd", "/usr/lib/systemd/system"):
        if entry.is_file and "SYSTEMD_SULOGIN_FORCE" in image.tree.text(entry.path):
            yield f"{entry.path} lets root in without a password"


def accounts_locked(image: Opened) -> Iterator[str]:
    """Find accounts with a password, a shell, or root's rights."""
    people = accounts(image.tree.text("/etc/passwd"))
    shadow = {fields[0]: fields[1] for fields in accounts(image.tree.text("/etc/shadow")) if len(fields) > 1}
    if not people:
        yield "/etc/passwd is empty"
    for fields in people:
        if len(fields) != 7:
            yield f"a line of /etc/passwd has {len(fields)} fields: {fields[0]}"
            continue
        name, password, uid, *_, shell = fields
        if password != "x" or LOCKED.fullmatch(shadow.get(name, "")) is None:
            yield f"the account {name} is not locked"
        if shell not in NO_SHELLS:
            yield f"the account {name} has the shell {shell or '/bin/sh'}"
        if uid == "0" and name != "root":
            yield f"the account {name} is a second root"
    for name in sorted(shadow.keys() - {fields[0] for fields in people}):
        yield f"/etc/shadow knows {name}, /etc/passwd does not"


def no_secrets(image: Opened) -> Iterator[str]:
    """Find keys, identities and histories, by name and by content."""
    for path, entry in image.tree.entries.items():
        if SECRET_NAMES.fullmatch(path.rpartition("/")[2]) and not entry.is_directory:
            yield f"{path} has the name of a secret"
        elif entry.is_file and entry.size <= LARGEST_SECRET:
            octets = image.tree.octets(path)
            if PRIVATE_KEY.search(octets):
                yield f"{path} holds a private key"
            if ACCESS_KEY.search(octets):
                yield f"{path} holds an AWS access key"
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if image.tree.text(path).strip() not in NO_IDENTITY:
            yield f"{path} gives every machine the same identity"


def no_compilers(image: Opened) -> Iterator[str]:
    """Find programs that build programs, or fetch them."""
    for path, entry in image.tree.entries.items():
        if not entry.is_directory and PROGRAMS.fullmatch(path) and COMPILER.fullmatch(path.rpartition("/")[2]):
            if entry.mode & 0o111:
                yield f"{path} builds or fetches programs"
    for entry in image.tree.under("/usr/lib/python3/dist-packages", "/usr/local/lib"):
        if entry.is_directory and entry.path.rpartition("/")[2] in {"pip", "setuptools", "mypyc"}:
            yield f"{entry.path} builds or fetches programs"


def no_setuid(image: Opened) -> Iterator[str]:
    """Find files that give whoever runs them another's rights."""
    for path, entry in image.tree.entries.items():
        if entry.is_file and entry.mode & 0o6000:
            yield f"{path} runs with the rights of its owner or group"
        if entry.capabilities:
            yield f"{path} has capabilities of its own"


def nothing_writable(image: Opened) -> Iterator[str]:
    """Find what anybody may write to: files, and directories that are not for temporary files."""
    for path, entry in image.tree.entries.items():
        if entry.is_link or not entry.mode & 0o002:
            continue
        if not (entry.is_directory and entry.mode & 0o1000 and path in STICKY):
            yield f"{path} may be written by everybody"


ACCESS = (
    Promise("no-sshd", "There is no SSH server, nor any other server to log in to.", no_sshd),
    Promise("no-console-login", "No console asks for a login: no getty, no logind, no debug shell.", no_console_login),
    Promise("accounts-locked", "Every account, root included, is locked and has no login shell.", accounts_locked),
    Promise("no-secrets", "No keys, passwords, machine identity or histories are in it.", no_secrets),
    Promise("no-compilers", "It holds no compiler, linker, make or pip.", no_compilers),
    Promise("no-setuid", "No file is setuid or setgid, or has file capabilities.", no_setuid),
    Promise(
        "nothing-writable",
        "Nothing may be written by everybody but the directories for temporary files.",
        nothing_writable,
    ),
)
