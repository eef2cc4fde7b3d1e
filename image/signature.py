"""Signatures by SSH keys, which every machine can check: `ssh-keygen -Y`.

    sign(Path("release-key"), data)         the armoured signature
    verify(Path("release-key"), data, signature)

A key is a private one, or a public one whose private half an agent holds, as of a hardware token.

Source: ssh-keygen(1), "-Y sign", "-Y verify", "ALLOWED SIGNERS"; OpenSSH's PROTOCOL.sshsig.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from image.errors import ImageError

NAMESPACE: Final = "discriminat-image"  # a signature for anything else is none for this
SIGNER: Final = "discriminat"  # what allowed_signers files call whoever publishes
PROGRAM: Final = "ssh-keygen"


def sign(key: Path, data: bytes) -> bytes:
    """Return the armoured signature of some octets; ssh-keygen asks for the key's passphrase on the terminal.

    Raises:
        ImageError: the key cannot sign.
    """
    done = _run(["-Y", "sign", "-n", NAMESPACE, "-f", str(key)], data)
    if done.returncode:
        raise ImageError(
            f"{key} cannot sign ({_said(done)}): name a private SSH key, or a public one that ssh-agent has"
        )
    return done.stdout


def verify(key: Path, data: bytes, signature: bytes) -> bool:
    """Tell whether some octets were signed by a key."""
    with tempfile.TemporaryDirectory(prefix="signature-") as directory:
        signers, armoured = Path(directory) / "allowed_signers", Path(directory) / "signature"
        signers.write_text(allowed_signers(key), encoding="utf-8")
        armoured.write_bytes(signature)
        where = ["-f", str(signers), "-s", str(armoured)]
        done = _run(["-Y", "verify", "-n", NAMESPACE, "-I", SIGNER, *where], data)
    return done.returncode == 0


def allowed_signers(key: Path) -> str:
    """Return the line of an allowed_signers file by which others check what a key has signed."""
    return f'{SIGNER} namespaces="{NAMESPACE}" {_public(key)}\n'


def _public(key: Path) -> str:
    """Return the public half of a key, without its comment."""
    for path in (key, key.with_name(f"{key.name}.pub")):
        try:
            words = path.read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError):
            continue
        if len(words) > 1 and words[0].partition("-")[0] in {"ssh", "ecdsa", "sk"}:
            return " ".join(words[:2])
    done = _run(["-y", "-f", str(key)], b"")
    if done.returncode:
        raise ImageError(f"{key} has no public half ({_said(done)}): put it beside it, as {key.name}.pub")
    return " ".join(done.stdout.decode().split()[:2])


def _run(arguments: Sequence[str], data: bytes) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run([PROGRAM, *arguments], input=data, capture_output=True, check=False)
    except FileNotFoundError:
        raise ImageError(f"{PROGRAM} is missing: install openssh-client, or leave out --sign-key") from None


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    return " ".join(done.stderr.decode(errors="replace").split()) or f"exit code {done.returncode}"
