"""The systems that are measured side by side, each on a box of its own, all with the same list of names.

`nat` is the yardstick: the kernel's masquerade and connection tracking, no filter. The proxies are set up as one
would deploy them for the same purpose: transparent, the name taken from the ClientHello and compared with a list,
the connection made to the address the client asked for and from the box's own, and a log line per connection.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from tests.bench.hello import make_certificate
from tests.bench.site import CLIENTS, PORT, Box, Target, end

TPROXY_PORT = 3129
INTERCEPT_PORT = 3130
CERTIFICATE_HELPER = "/usr/lib/squid/security_file_certgen"
PROXY_USER = "proxy"  # Debian's, for Squid, which will not serve as root


class System(Protocol):
    """One of the systems, running on its box."""

    @property
    def name(self) -> str:
        """Key in the results."""

    @property
    def box(self) -> Box:
        """Where it runs."""

    @property
    def filters(self) -> bool:
        """Whether it refuses names that are not listed."""

    def processes(self) -> list[int]:
        """Process ids of what runs for it; children are found from these."""

    def close(self) -> None:
        """End it."""


@dataclass(slots=True)
class Running:
    """A system without needs of its own: a box, and at most one process with its children."""

    name: str
    box: Box
    filters: bool
    process: "subprocess.Popen[bytes] | None" = None
    log: IO[bytes] | None = None

    def processes(self) -> list[int]:
        return [] if self.process is None else [self.process.pid]

    def close(self) -> None:
        if self.process is not None:
            end(self.process)
        if self.log is not None:
            self.log.close()


Starter = Callable[[Box, list[Target], Path], System]


def start_nat(box: Box, targets: list[Target], folder: Path) -> System:
    """Forward and masquerade in the kernel."""
    box.namespace.nft(
        f"""table ip nat {{
            chain postrouting {{
                type nat hook postrouting priority srcnat
                ip saddr {CLIENTS} masquerade
            }}
        }}
        """
    )
    return Running("nat", box, filters=False)


def start_haproxy(box: Box, targets: list[Target], folder: Path) -> System:
    """HAProxy with two threads: TPROXY, the name by `req.ssl_sni`, a list of names, a log line per connection."""
    names = folder / "haproxy.names"
    names.write_text("".join(f"{target.name}\n" for target in targets))
    settings = folder / "haproxy.cfg"
    settings.write_text(
        f"""global
    nbthread 2
    maxconn 8000
    log stdout format raw local0
defaults
    mode tcp
    log global
    option tcplog
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend tls
    bind 0.0.0.0:{TPROXY_PORT} transparent
    tcp-request inspect-delay 5s
    acl listed req.ssl_sni -i -f {names}
    tcp-request content accept if {{ req.ssl_hello_type 1 }} listed
    tcp-request content reject if {{ req.ssl_hello_type 1 }} !listed
    tcp-request content reject if WAIT_END
    default_backend original
backend original
    option nolinger
    server original 0.0.0.0:0
"""
    )
    box.namespace.nft(
        f"""table ip divert {{
            chain prerouting {{
                type filter hook prerouting priority mangle
                ip saddr {CLIENTS} tcp dport {PORT} meta mark set 1 tproxy to :{TPROXY_PORT}
            }}
        }}
        """
    )
    box.namespace.ip("rule add fwmark 1 lookup 100", "route add local default dev lo table 100")
    log = (folder / "haproxy.log").open("wb")
    process = box.namespace.popen("haproxy", "-db", "-f", str(settings), stdout=log, stderr=subprocess.STDOUT)
    return Running("haproxy", box, filters=True, process=process, log=log)


def start_squid(box: Box, targets: list[Target], folder: Path) -> System:
    """Squid with two workers: intercepts, peeks at the ClientHello, splices listed names, terminates the others.

    It decrypts nothing, but will not listen without a certificate authority. Its check of the name against the
    address is satisfied by a hosts file, so that no name server is measured.
    """
    home = folder / "squid"
    home.mkdir(exist_ok=True)
    (home / "names").write_text("".join(f"{target.name}\n" for target in targets))
    (home / "hosts").write_text("".join(f"{target.address} {target.name}\n" for target in targets))
    certificate, key = make_certificate(home, "authority", authority=True)
    (home / "authority.both").write_text(certificate.read_text() + key.read_text())
    settings = home / "squid.conf"
    settings.write_text(
        f"""workers 2
http_port 127.0.0.1:{INTERCEPT_PORT + 1}
https_port {INTERCEPT_PORT} intercept ssl-bump tls-cert={home}/authority.both generate-host-certificates=off
sslcrtd_program {CERTIFICATE_HELPER} -s {home}/certificates -M 4MB
sslcrtd_children 1 startup=1
acl listed ssl::server_name "{home}/names"
acl first_step at_step SslBump1
ssl_bump peek first_step
ssl_bump splice listed
ssl_bump terminate all
http_access allow all
host_verify_strict off
hosts_file {home}/hosts
dns_nameservers 127.0.0.1
cache deny all
cache_mem 8 MB
access_log stdio:{home}/access.log squid
cache_log {home}/cache.log
pid_filename {home}/squid.pid
coredump_dir {home}
max_filedescriptors 16000
shutdown_lifetime 1 seconds
pinger_enable off
"""
    )
    subprocess.run(["rm", "-rf", f"{home}/certificates"], check=True)
    # Its workers meet in shared memory and in sockets below /run: both private to this box.
    box.namespace.run("mount", "-t", "tmpfs", "none", "/dev/shm")  # noqa: S108
    box.namespace.run("install", "-d", "-o", PROXY_USER, "/run/squid")
    box.namespace.run(CERTIFICATE_HELPER, "-c", "-s", f"{home}/certificates", "-M", "4MB")
    box.namespace.run("chown", "-R", PROXY_USER, str(home))
    box.namespace.nft(
        f"""table ip divert {{
            chain prerouting {{
                type nat hook prerouting priority dstnat
                ip saddr {CLIENTS} tcp dport {PORT} redirect to :{INTERCEPT_PORT}
            }}
        }}
        """
    )
    log = (home / "output.log").open("wb")
    process = box.namespace.popen("squid", "--foreground", "-f", str(settings), stdout=log, stderr=subprocess.STDOUT)
    return Running("squid", box, filters=True, process=process, log=log)
