"""Internet: public addresses with real servers on them, in one network namespace.

Every address of the three documentation networks is local there, so a server may listen on any. Servers run in one
event loop in a thread of this process; what they received can be asked from any thread. Names are the resolver's
(tests/dns_server.py): `names["api.example.com"] = ["203.0.113.10"]`.

Source: RFC 5737 (the networks).
"""

import asyncio
import contextlib
import ipaddress
import itertools
import shutil
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.lab.authority import Authority, make_ssh_key
from tests.lab.namespaces import Namespace
from tests.lab.servers import (
    Connection,
    Conversation,
    Ended,
    Server,
    speak_http,
    speak_lines,
    speak_program,
    speak_relay,
    speak_tls,
    tls_context,
)

NETWORKS = ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24")
SSH_USER = "lab"
T = TypeVar("T")
_SSH_ID = "1000"


class Internet:
    """The servers of the lab. Each method that starts one takes its name and registers it in the DNS."""

    def __init__(self, namespace: Namespace, directory: Path, register: Callable[[str, str], None]) -> None:
        """Make the networks local and start the event loop.

        Args:
            directory: for certificates and keys.
            register: told (name, address) of every server that gets a name.
        """
        self.namespace = namespace
        self.authority = Authority(directory / "authority")
        self._directory = directory
        self._register = register
        self._addresses: dict[str, str] = {}
        hosts = [ipaddress.IPv4Network(each).hosts() for each in NETWORKS]
        self._free = (str(each) for each in itertools.chain(*(itertools.islice(each, 9, None) for each in hosts)))
        self._sshd_command: list[str] = []
        namespace.ip(*(f"route add local {each} dev lo" for each in NETWORKS))
        namespace.sysctl(net__ipv4__ip_unprivileged_port_start=0)
        self._loop = asyncio.new_event_loop()
        self._listening: list[asyncio.Server | asyncio.DatagramTransport] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="internet", daemon=True)
        self._thread.start()

    def address(self, name: str = "") -> str:
        """Return the address of a name, a free one for a name not met before or for none."""
        if name not in self._addresses or not name:
            self._addresses[name] = next(self._free)
        return self._addresses[name]

    def http(self, name: str, *, address: str = "", port: int = 80) -> Server:
        """Start a plain HTTP server."""
        return self._listen(name, address, port, speak_http(name))

    def tls(
        self,
        name: str,
        *,
        address: str = "",
        port: int = 443,
        oldest: str = "TLSv1_2",
        newest: str = "TLSv1_3",
        curve: str = "",
        refuse: bool = False,
    ) -> Server:
        """Start an HTTPS server with a certificate for its name; see servers.tls_context for the rest."""
        certificate = self.authority.issue(name)
        context = tls_context(certificate, oldest=oldest, newest=newest, curve=curve, refuse=refuse)
        return self._listen(name, address, port, speak_tls(name, context))

    def lines(
        self,
        name: str,
        *,
        address: str = "",
        port: int = 443,
        greeting: bytes = b"",
        reply: bytes = b"",
        after: int = 1,
        close: bool = False,
    ) -> Server:
        """Start a server of fixed octets; with neither greeting nor reply, one that never answers."""
        return self._listen(name, address, port, speak_lines(greeting=greeting, reply=reply, after=after, close=close))

    def relay(self, other: Server, *, name: str = "", port: int = 0) -> Server:
        """Start a host that passes everything on to another server, under an address that has no name by default."""

        def connect() -> socket.socket:
            stream = self.namespace.open_socket()
            stream.connect((other.address, other.port))
            return stream

        return self._listen(name, "", port or other.port, speak_relay(connect))

    def ssh(self, name: str, *, address: str = "", port: int = 22) -> Server:
        """Start a real sshd, which `ssh_options` of this object let one log in to as SSH_USER."""
        return self._listen(name, address, port, speak_program(*self._sshd()))

    def udp(self, name: str, *, address: str = "", port: int = 443) -> Server:
        """Start a UDP server that sends every datagram back."""
        server = self._server(name, address, port)
        datagrams = self.namespace.bind(server.address, port)

        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
                server.datagrams.append((source[0], data))
                self.transport.sendto(data, source)  # type: ignore[attr-defined]

        transport, _ = self._run(self._loop.create_datagram_endpoint(Echo, sock=datagrams))
        self._listening.append(transport)
        return server

    @property
    def ssh_key(self) -> Path:
        """The private key that any server here lets SSH_USER in with."""
        self._sshd()
        return self._directory / "ssh" / "user"

    @property
    def ssh_options(self) -> list[str]:
        """Arguments for ssh that log in to any server here, without questions."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR"]
        words = itertools.chain(*(("-o", each) for each in options))
        return ["-F", "/dev/null", "-i", str(self.ssh_key), "-l", SSH_USER, *words]

    def close(self) -> None:
        """Stop all servers and close every connection."""

        async def end() -> None:
            for each in self._listening:
                each.close()
            ending = asyncio.all_tasks() - {asyncio.current_task()}
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await asyncio.sleep(0)  # lets transports close their sockets

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.namespace.close()

    def _server(self, name: str, address: str, port: int) -> Server:
        server = Server(name, address or self.address(name), port)
        if name and not address:
            self._register(name, server.address)
        return server

    def _listen(self, name: str, address: str, port: int, conversation: Conversation) -> Server:
        server = self._server(name, address, port)
        listener = self.namespace.listen(server.address, port)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            source, source_port = writer.get_extra_info("peername")[:2]
            connection = Connection(source, source_port, reader, writer)
            server.connections.append(connection)
            try:
                await conversation(connection)
            except (Ended, asyncio.CancelledError):
                pass
            finally:
                connection.open = False
                with contextlib.suppress(OSError):
                    writer.close()

        self._listening.append(self._run(asyncio.start_server(serve, sock=listener)))
        return server

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def _sshd(self) -> list[str]:
        """Return the command of an sshd that serves one connection; makes its keys and its world once.

        sshd runs in a user namespace as an ordinary user, so that it needs neither root nor a system account;
        a mount namespace shows it a passwd file in which that user exists.
        """
        home = self._directory / "ssh"
        if not self._sshd_command:
            home.mkdir(parents=True, exist_ok=True)
            for key in ("host", "user"):
                make_ssh_key(home / key)
            (home / "passwd").write_text(f"{SSH_USER}:x:{_SSH_ID}:{_SSH_ID}::{home}:/bin/sh\n")
            (home / "sshd_config").write_text(
                f"HostKey {home}/host\nAuthorizedKeysFile {home}/user.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
                "Subsystem sftp internal-sftp\n"
            )
            sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "sshd"
            inner = f"mount --bind {home}/passwd /etc/passwd && exec unshare --user --map-user={_SSH_ID} "
            inner += f"--map-group={_SSH_ID} {sshd} -i -e -f {home}/sshd_config"
            self._sshd_command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", inner]
        return self._sshd_command
