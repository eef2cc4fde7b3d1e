"""Workload: a client of the VPC, with real programs to reach the Internet with."""

import json
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from tests.lab.namespaces import Namespace

CONNECT_TIMEOUT = 3  # seconds
TRANSFER_TIMEOUT = 8  # seconds


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended. `code` is its exit status, -1 when it had to be killed after the time given."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether the program says it succeeded."""
        return self.code == 0

    @property
    def json(self) -> Any:
        """The output as JSON: what a server of the lab saw of us (servers.speak_http)."""
        return json.loads(self.out)


class Workload:
    """A host with one interface of the VPC."""

    def __init__(self, name: str, namespace: Namespace, interface: str, addresses: tuple[str, ...]) -> None:
        self.name = name
        self.namespace = namespace
        self.interface = interface  # its ENI's id
        self.addresses = addresses  # the primary one first
        self.ssh_options: list[str] = []

    @property
    def address(self) -> str:
        """Primary private address."""
        return self.addresses[0]

    def run(
        self,
        *command: str,
        timeout: float = 15.0,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a program to its end; failure is a result, not an exception."""
        try:
            done = self.namespace.run(*command, timeout=timeout, input=input, env=env, check=False)
        except subprocess.TimeoutExpired as late:
            return Result(-1, _text(late.stdout), _text(late.stderr))
        return Result(done.returncode, done.stdout, done.stderr)

    def popen(self, *command: str, **options: Any) -> "subprocess.Popen[bytes]":
        """Start a program."""
        return self.namespace.popen(*command, **options)

    def curl(self, url: str, *options: str, timeout: int = TRANSFER_TIMEOUT) -> Result:
        """Fetch a URL with curl, which trusts the lab's CA and resolves names as the VPC does."""
        limits = ["--connect-timeout", str(CONNECT_TIMEOUT), "--max-time", str(timeout)]
        return self.run("curl", "--silent", "--show-error", *limits, *options, url, timeout=timeout + 5)

    def openssl(self, server: str, *options: str, port: int = 443, input: str = "Q\n", timeout: float = 8) -> Result:
        """Open TLS with openssl s_client; pass `-servername NAME` or `-noservername`."""
        return self.run("openssl", "s_client", "-connect", f"{server}:{port}", *options, input=input, timeout=timeout)

    def ssh(
        self, server: str, *command: str, port: int = 22, options: tuple[str, ...] = (), timeout: float = 10
    ) -> Result:
        """Log in to an sshd of the lab and run a command there."""
        limits = ["-o", f"ConnectTimeout={CONNECT_TIMEOUT}", "-p", str(port)]
        return self.run("ssh", *self.ssh_options, *limits, *options, server, *command, timeout=timeout)

    def connect(self, address: str, port: int, *, timeout: float = CONNECT_TIMEOUT, source: str = "") -> socket.socket:
        """Return a TCP connection made from here, as a socket of this process.

        Raises:
            OSError: as `socket.connect`; TimeoutError when nothing answers.
        """
        stream = self.namespace.open_socket()
        stream.settimeout(timeout)
        try:
            if source:
                stream.bind((source, 0))
            stream.connect((address, port))
        except OSError:
            stream.close()
            raise
        return stream

    def exchange_datagram(self, address: str, port: int, payload: bytes, *, timeout: float = 2.0) -> bytes:
        """Send one UDP datagram and return the answer.

        Raises:
            OSError: ConnectionRefusedError after an ICMP port unreachable, other errors after other ICMP;
                TimeoutError when nothing answers.
        """
        with self.namespace.open_socket(kind=socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(timeout)
            datagrams.connect((address, port))
            datagrams.send(payload)
            return datagrams.recv(65535)

    def close(self) -> None:
        """Switch the host off."""
        self.namespace.close()


def _text(output: str | bytes | IO[Any] | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else str(output or "")
