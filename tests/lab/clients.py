"""Clients: real programs, how each is called, what it sends, and how it says that it was refused.

test_clients.py runs each and holds it to its row; `python -m tests.readme` makes the tables of appliance/CLIENTS.md of
them. In a command, {host} is the server's name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

SSH_USER = "lab"
GREETING = "hello"  # what is to be read from a host over SSH
SHARE = "share"  # the folder there, relative to the home, with a repository and a file

_JAVA = ("java", "-Djavax.net.ssl.trustStore=trust.p12", "-Djavax.net.ssl.trustStorePassword=changeit", "Fetch.java")
_CHROMIUM = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--user-data-dir=/tmp/profile", "--dump-dom", "https://{host}/"),
)
_NO_ECH = """
mount -t tmpfs tmpfs /etc/chromium
mkdir -p /etc/chromium/policies/managed
echo '{"EncryptedClientHelloEnabled": false}' >/etc/chromium/policies/managed/ech.json
exec "$@"
"""
_SSH_OPTIONS = ("-F", "/dev/null", "-i", "key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
_PARAMIKO = f"""
import sys, paramiko
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect(sys.argv[1], username="{SSH_USER}", key_filename="key")
print(client.exec_command("cat {SHARE}/{GREETING}")[1].read().decode())
"""


@dataclass(frozen=True)
class Hello:
    """A ClientHello. `versions`: oldest and newest of TLS; `post_quantum`: with a share of X25519MLKEM768."""

    octets: int  # about, with the record's header
    segments: int  # at an MTU of 1,500
    versions: str = "1.2 - 1.3"
    post_quantum: bool = False
    alpn: tuple[str, ...] = ()
    ech: bool = False


@dataclass(frozen=True)
class Client:
    """A program. `hello` is None for SSH; `refused` is a part of what it says then, and `code` its exit status."""

    name: str
    version: str  # the oldest that was tried
    show_version: tuple[str, ...]
    command: tuple[str, ...]
    refused: str
    code: int
    hello: Hello | None = None
    needs: str = ""
    asks: str = ""  # what it writes to the connection, where it is no HTTP client

    @property
    def id(self) -> str:
        """As a label of a domain name."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def argv(self, host: str) -> tuple[str, ...]:
        """Return the command for a host."""
        return tuple(word.replace("{host}", host) for word in self.command)


def python(script: str) -> tuple[str, ...]:
    """Return the command of a script that is given a URL."""
    return ("python3", "-c", script, "https://{host}/")


REQUEST = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
URL = "https://{host}/"
OPENSSL = ("openssl", "s_client", "-brief", "-ign_eof", "-connect", "{host}:443", "-servername", "{host}")
RESET = "Connection reset by peer"

TLS_CLIENTS = (
    Client(
        "OpenSSL s_client -tls1_2",
        "3.5",
        ("openssl", "version"),
        (*OPENSSL, "-tls1_2"),
        "write:errno=104",
        1,
        Hello(230, 1, "1.2 - 1.2"),
        asks=REQUEST,
        needs="`-servername`, where `-connect` has an address",
    ),
    Client(
        "OpenSSL s_client",
        "3.5",
        ("openssl", "version"),
        OPENSSL,
        "write:errno=104",
        1,
        Hello(1570, 2, post_quantum=True),
        asks=REQUEST,
        needs="the same",
    ),
    Client(
        "gnutls-cli",
        "3.8",
        ("gnutls-cli", "--version"),
        ("gnutls-cli", "--x509cafile", "authority.pem", "{host}"),
        "*** Fatal error: Error in the pull function.",
        1,
        Hello(400, 1, "1.0 - 1.3"),
        asks=REQUEST,
    ),
    Client(
        "curl",
        "8.14",
        ("curl", "--version"),
        ("curl", "-sS", URL),
        f"curl: (35) Recv failure: {RESET}",
        35,
        Hello(1570, 2, post_quantum=True, alpn=("h2", "http/1.1")),
        needs="for `--http3`, see below",
    ),
    Client(
        "wget",
        "1.25",
        ("wget", "--version"),
        ("wget", "-nv", "-O-", "--ca-certificate=authority.pem", URL),
        "GnuTLS: Error in the pull function.",
        4,
        Hello(520, 1, "1.0 - 1.3"),
    ),
    Client(
        "Python ssl, urllib",
        "3.13",
        ("python3", "--version"),
        python("import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"),
        f"<urlopen error [Errno 104] {RESET}>",
        1,
        Hello(1590, 2, post_quantum=True, alpn=("http/1.1",)),
    ),
    Client(
        "Python requests",
        "2.32",
        ("python3", "-c", "import requests; print(requests.__version__)"),
        python("import sys, requests; print(requests.get(sys.argv[1]).text)"),
        f"('Connection aborted.', ConnectionResetError(104, '{RESET}'))",
        1,
        Hello(1580, 2, post_quantum=True, alpn=("http/1.1",)),
    ),
    Client(
        "Node.js fetch",
        "20.19",
        ("node", "--version"),
        ("node", "-e", "fetch(process.argv[1]).then(r => r.text()).then(console.log)", URL),
        "[cause]: Error: read ECONNRESET",
        1,
        Hello(1620, 2, post_quantum=True, alpn=("http/1.1",)),
    ),
    Client(
        "Node.js https",
        "20.19",
        ("node", "--version"),
        ("node", "-e", "require('https').get(process.argv[1], r => r.pipe(process.stdout))", URL),
        "Error: read ECONNRESET",
        1,
        Hello(1610, 2, post_quantum=True),
    ),
    Client(
        "Java HttpClient",
        "21",
        ("java", "--version"),
        (*_JAVA, "HttpClient", URL),
        "java.net.SocketException: Connection reset",
        1,
        Hello(470, 1, alpn=("h2", "http/1.1")),
        needs="`networkaddress.cache.ttl` not above that of the names and `[names] grace`; its default is 30 s",
    ),
    Client(
        "Java HttpsURLConnection",
        "21",
        ("java", "--version"),
        (*_JAVA, "HttpsURLConnection", URL),
        "java.net.SocketException: Connection reset",
        1,
        Hello(460, 1),
        needs="the same",
    ),
    Client(
        "Go net/http, in rclone",
        "1.23",
        ("sh", "-c", "rclone version | grep go/version"),
        ("rclone", "copyurl", URL, "--stdout"),
        f"read: {RESET.lower()}",
        5,
        Hello(300, 1, alpn=("h2", "http/1.1")),
    ),
    Client(
        "Perl HTTP::Tiny, IO::Socket::SSL",
        "2.089",
        ("perl", "-MIO::Socket::SSL", "-e", "print $IO::Socket::SSL::VERSION"),
        (
            *("perl", "-MHTTP::Tiny", "-e"),
            "$r = HTTP::Tiny->new(verify_SSL => 1)->get(shift); print $r->{content}; exit !$r->{success}",
            URL,
        ),
        "SSL connect attempt failed",
        1,
        Hello(1590, 2, post_quantum=True),
    ),
    Client(
        "Chromium",
        "156",
        ("chromium", "--version"),
        _CHROMIUM,
        "ERR_CONNECTION_RESET",
        0,
        Hello(1960, 2, post_quantum=True, alpn=("h2", "http/1.1"), ech=True),
        needs="`ech: allow` in the preferences, or the next row",
    ),
    Client(
        "Chromium without ECH",
        "156",
        ("chromium", "--version"),
        ("sh", "-ec", _NO_ECH, "sh", *_CHROMIUM),
        "ERR_CONNECTION_RESET",
        0,
        Hello(1750, 2, post_quantum=True, alpn=("h2", "http/1.1")),
        needs='the policy `{"EncryptedClientHelloEnabled": false}`, Chrome and Edge the same',
    ),
)

SSH_CLIENTS = (
    Client(
        "OpenSSH ssh",
        "10.0",
        ("ssh", "-V"),
        ("ssh", *_SSH_OPTIONS, f"{SSH_USER}@{{host}}", f"cat {SHARE}/{GREETING}"),
        f"kex_exchange_identification: read: {RESET}",
        255,
    ),
    Client(
        "OpenSSH sftp",
        "10.0",
        ("ssh", "-V"),
        ("sftp", *_SSH_OPTIONS, f"{SSH_USER}@{{host}}:{SHARE}/{GREETING}", "/dev/stdout"),
        f"kex_exchange_identification: read: {RESET}",
        255,
    ),
    Client(
        "git over SSH",
        "2.47",
        ("git", "--version"),
        (
            *("git", "-c", f"core.sshCommand=ssh {' '.join(_SSH_OPTIONS)}"),
            *("ls-remote", f"{SSH_USER}@{{host}}:{SHARE}/repository"),
        ),
        "fatal: Could not read from remote repository.",
        128,
        needs="for `https://` URLs, the host in a `tls` annotation",
    ),
    Client(
        "Paramiko",
        "3.5",
        ("python3", "-c", "import paramiko; print(paramiko.__version__)"),
        ("python3", "-c", _PARAMIKO, "{host}"),
        "Error reading SSH protocol banner",
        1,
    ),
)


def render_tls_clients() -> str:
    """Return the table of TLS clients."""
    return _table(
        ("Client", "Version", "TLS", "Hello", "ALPN", "When it is refused", "Needs"),
        (
            (each.name, each.version, *_describe(each.hello), _says(each), each.needs)
            for each in TLS_CLIENTS
            if each.hello
        ),
    )


def render_ssh_clients() -> str:
    """Return the table of SSH clients."""
    rows = ((each.name, each.version, _says(each), each.needs) for each in SSH_CLIENTS)
    return _table(("Client", "Version", "When it is refused", "Needs"), rows)


def _describe(hello: Hello) -> tuple[str, str, str]:
    size = f"{hello.octets:,} octets, {hello.segments} segment{'s' if hello.segments > 1 else ''}"
    extras = ["ML-KEM"] * hello.post_quantum + ["ECH"] * hello.ech
    return hello.versions, ", ".join([size, *extras]), ", ".join(hello.alpn)


def _says(client: Client) -> str:
    return f"{client.code}: `{client.refused}`"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
