"""Namespace: one host of the lab, as a network namespace with its own mounts.

A namespace is kept alive by a holder process and by nothing else (no name under /run/netns), so it goes when the
holder goes; inside an enclosure (enclosure.py) that is when the lab goes, however it goes. Programs enter it with
nsenter; sockets for servers that live in this process are made by stepping into it for one call.

    left, right = Namespace("left"), Namespace("right")
    veth(left, "eth0", right, "eth0")
    left.ip("address add 10.0.0.1/24 dev eth0", "route add default via 10.0.0.2")
    left.run("ping", "-c1", "10.0.0.2")
    listener = right.listen("10.0.0.2", 443)          # a socket of this process, in that namespace

Source: namespaces(7), setns(2), ip-link(8).
"""

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

CLONE_NEWNET = 0x40000000
BACKLOG = 512  # connections waiting to be accepted
MTU = 1500  # octets
HOLD = "echo; exec sleep infinity"  # says when it is inside

_libc = ctypes.CDLL(None, use_errno=True)
_OURS = ("AWS_", "DISCRIMINAT_")  # variables that steer this machine's programs, not the lab's
_PROXIES = {"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"}


class NamespaceError(Exception):
    """A command inside a namespace failed that had to work; the text holds its standard error."""


class Namespace:
    """A network and a mount namespace, and the commands run in them."""

    def __init__(self, name: str, *, environment: Mapping[str, str] | None = None) -> None:
        """Start the holder and bring loopback up.

        Args:
            name: for people, in messages only.
            environment: variables every command in here gets on top of this process's; its proxies and AWS settings
                never reach them.
        """
        self.name = name
        self.environment = dict(environment or {})
        self._mounted: list[tuple[str, str]] = []
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", HOLD],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if not self._holder.stdout.readline():
            raise NamespaceError(f"namespace {name}: {self._holder.stderr.read().decode().strip()}")
        self.ip("link set lo up")

    @property
    def pid(self) -> int:
        """Process id of the holder, for `ip link ... netns PID` and nsenter."""
        return self._holder.pid

    def argv(self, *command: str, cwd: str | Path | None = None) -> list[str]:
        """Return the argument list that runs a command in this namespace, for those who start it themselves."""
        # nsenter into a mount namespace lands in /, so the working directory is restored by env.
        directory = f"--chdir={cwd or Path.cwd()}"
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "env", directory, *command]

    def run(
        self,
        *command: str,
        timeout: float = 30.0,
        input: str | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and return its exit status and output.

        Raises:
            NamespaceError: `check` is set and the command failed.
            subprocess.TimeoutExpired: it ran longer than `timeout` seconds (it is killed).
        """
        done = subprocess.run(
            self.argv(*command, cwd=cwd),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=self._environment(env),
            check=False,
        )
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise NamespaceError(f"{self.name}: {' '.join(command)}: exit {done.returncode}: {said}")
        return done

    def popen(
        self,
        *command: str,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        **options: Any,
    ) -> "subprocess.Popen[bytes]":
        """Start a command and return it running; its pid is the program's own."""
        return subprocess.Popen(
            self.argv(*command, cwd=cwd),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=self._environment(env),
            **options,
        )

    def ip(self, *lines: str) -> None:
        """Run ip(8) commands, without the leading `ip`, in one batch that stops at the first failure."""
        self.run("ip", "-batch", "-", input="".join(f"{line}\n" for line in lines))

    def nft(self, ruleset: str) -> None:
        """Load nftables text in one transaction."""
        self.run("nft", "-f", "-", input=ruleset)

    def sysctl(self, **settings: str | int) -> None:
        """Write settings; `net__ipv4__ip_forward=1` is net.ipv4.ip_forward (two underscores are a dot)."""
        self.run("sysctl", "-qw", *(f"{key.replace('__', '.')}={value}" for key, value in settings.items()))

    def address(self, device: str, *networks: str) -> None:
        """Bring a device up and add addresses in prefix notation, such as 10.0.1.10/24."""
        self.ip(f"link set {device} up", *(f"address add {network} dev {device}" for network in networks))

    def route(self, destination: str, *, via: str = "", device: str = "") -> None:
        """Add or replace one route of the main table."""
        self.ip(f"route replace {destination}" + (f" via {via}" if via else "") + (f" dev {device}" if device else ""))

    def write(self, path: str, text: str) -> None:
        """Make a system file such as /etc/resolv.conf hold this text, in this namespace only."""
        target = Path(path).resolve()
        if not target.exists():  # a dangling link into /run, which is the enclosure's own
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        directory = Path("/run/lab-files") / f"{self.name}-{self.pid}"
        directory.mkdir(parents=True, exist_ok=True)
        source = directory / path.strip("/").replace("/", "_")
        source.write_text(text)
        if (str(source), str(target)) not in self._mounted:
            self.run("mount", "--bind", str(source), str(target))
            self._mounted.append((str(source), str(target)))

    def use_resolver(self, *nameservers: str) -> None:
        """Make programs in here resolve names by DNS at these addresses, and by nothing else."""
        self.write("/etc/resolv.conf", "".join(f"nameserver {each}\n" for each in nameservers))
        if Path("/etc/nsswitch.conf").exists():
            self.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Step into the network namespace with the calling thread only, for the duration of the block."""
        with Path("/proc/thread-self/ns/net").open("rb") as home, Path(f"/proc/{self.pid}/ns/net").open("rb") as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def open_socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """Return a socket of this process that lives in this namespace."""
        with self.entered():
            return socket.socket(family, kind, protocol)

    def listen(self, address: str, port: int) -> socket.socket:
        """Return a listening TCP socket of this process in this namespace."""
        listener = self.open_socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        return listener

    def bind(self, address: str, port: int) -> socket.socket:
        """Return a bound UDP socket of this process in this namespace."""
        datagrams = self.open_socket(kind=socket.SOCK_DGRAM)
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        datagrams.bind((address, port))
        return datagrams

    def close(self) -> None:
        """End the holder; the namespace goes once no program or socket uses it."""
        self._holder.kill()
        self._holder.wait()
        for stream in (self._holder.stdout, self._holder.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _environment(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        ours = {
            key: value for key, value in os.environ.items() if key.lower() not in _PROXIES and not key.startswith(_OURS)
        }
        return {**ours, **self.environment, **(extra or {})}


def veth(a: Namespace, a_device: str, b: Namespace, b_device: str, *, mtu: int = MTU, a_mac: str = "") -> None:
    """Connect two namespaces with a pair of interfaces and bring both up.

    Args:
        mtu: octets, both ends.
        a_mac: hardware address of `a`'s end; chosen by the kernel when empty.
    """
    mac = f"address {a_mac} " if a_mac else ""
    a.ip(f"link add name {a_device} mtu {mtu} {mac}type veth peer name {b_device} mtu {mtu} netns {b.pid}")
    a.ip(f"link set {a_device} up")
    b.ip(f"link set {b_device} up")


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise NamespaceError(f"setns: {os.strerror(ctypes.get_errno())}")


if not sys.platform.startswith("linux"):  # pragma: no cover
    raise ImportError("namespaces exist on Linux only")
