"""Programs: clients as Debian 13 has them, in a tree of their own, so that every machine tries the same versions.

    python -m tests.lab.programs [MIRROR]       before the tests, as root: make build/tools/clients, or say why not

They enter it by chroot from a workload's namespaces. Nothing of it is installed on this machine, and `make demo` does
without. MIRROR is Debian's archive, for where this machine's apt has another distribution's.
"""

import os
import shutil
import subprocess
import sys

from image import apt
from image.errors import ImageError
from image.tools import SUITE, Tree, made, tools
from tests.lab.lab import Lab
from tests.lab.workload import Result, Workload

KIND = "clients"
WORK = "/work"  # where the tree's programs see the folder
TRUST = f"{WORK}/authority.pem"
PASSWORD = "changeit"  # of Java's trust store
ENVIRONMENT = {
    "HOME": f"{WORK}/home",
    "NODE_EXTRA_CA_CERTS": TRUST,
    "REQUESTS_CA_BUNDLE": TRUST,
    "SSL_CERT_FILE": TRUST,
}
ENTER = 'mount --bind resolv.conf /etc/resolv.conf; exec "$@"'
TRUST_IT = (
    ("keytool", "-importcert", "-noprompt", "-file", TRUST, "-keystore", "trust.p12", "-storepass", PASSWORD),
    ("certutil", "-N", "--empty-password", "-d", "sql:home/.pki/nssdb"),
    ("certutil", "-A", "-n", "lab", "-t", "C,,", "-i", TRUST, "-d", "sql:home/.pki/nssdb"),
)


class Programs:
    """The tree, and a folder with what its programs are to trust, to ask and to log in with."""

    def __init__(self, tree: Tree, lab: Lab, name: str = "programs") -> None:
        self._tree = tree
        self.folder = lab.directory / name
        (self.folder / "home/.pki/nssdb").mkdir(parents=True)
        (self.folder / "resolv.conf").write_text(f"nameserver {lab.resolver}\n")
        shutil.copy(lab.internet.authority.bundle, self.folder / "authority.pem")
        shutil.copy(lab.internet.ssh_key, self.folder / "key")
        for command in TRUST_IT:
            tree.run(command, self.folder)

    def argv(self, *command: str) -> list[str]:
        """Return the argument list that runs a program of the tree, for those who start it themselves."""
        return self._tree.command(("sh", "-ec", ENTER, "sh", *command), self.folder, **ENVIRONMENT)

    def run(self, host: Workload, *command: str, input: str = "", timeout: float = 30.0) -> Result:
        """Run a program of the tree on a workload."""
        return host.run(*self.argv(*command), input=input, timeout=timeout)


def tree() -> Tree | None:
    """Return the tree if it is there and up to date."""
    return made(KIND)


def main() -> None:
    """Make the tree where that can be; the tests of clients say so where it cannot."""
    if os.geteuid() != 0:
        print("clients: no tree of programs is made, as that needs root; without it their tests are skipped")
        return
    if tree() is not None:
        return
    if subprocess.run(["tests/setup.sh", "packages", KIND], check=False).returncode:
        return  # it has said why
    print(f"making a tree of clients in build/tools/{KIND}")
    try:
        tools(KIND, apt.sources(SUITE, *sys.argv[1:2]))
    except ImageError as error:
        print(f"clients: {error}\nclients: an archive is named by make test-clients MIRROR=...", file=sys.stderr)


if __name__ == "__main__":
    main()
