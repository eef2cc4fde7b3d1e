"""Authority: the lab's certificate authority, which its clients trust, and server certificates signed by it.

Everything is made anew for each lab, of elliptic-curve keys, and lives as long as its directory.
"""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

LIFE = datetime.timedelta(days=2)
_CA_USAGE = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A CA whose certificate is in the file `bundle`, and whose private key in `key`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab authority")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(constraints, critical=True)
            .add_extension(_CA_USAGE, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = directory / "authority.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.key = directory / "authority.key"
        self.key.write_bytes(
            self._key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def write_index(self, *paths: Path, revoked: tuple[Path, ...] = ()) -> Path:
        """Return a file that tells an `openssl ocsp` responder what was issued into these files, and revoked."""
        now = datetime.datetime.now(datetime.UTC)
        index = self._directory / "index.txt"
        lines = []
        for path in (*paths, *revoked):
            serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
            state, when = ("R", f"{now - LIFE:%y%m%d%H%M%SZ}") if path in revoked else ("V", "")
            lines.append(f"{state}\t{now + LIFE:%y%m%d%H%M%SZ}\t{when}\t{serial:040X}\tunknown\t/CN={path.stem}\n")
        index.write_text("".join(lines))
        return index

    def issue(self, name: str, *others: str, crl: str = "", ocsp: str = "") -> Path:
        """Return a file with a private key and a certificate for these names or addresses.

        `crl`, `ocsp`: URLs of the revocation list and the responder that the certificate points at.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())  # Python 3.13 wants one
        builder = (
            _builder(subject, self._name, key)
            .add_extension(issuer, critical=False)
            .add_extension(x509.SubjectAlternativeName([_general(each) for each in (name, *others)]), critical=False)
        )
        if crl:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        if ocsp:
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp))
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        path = self._directory / f"{name[:64]}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return path

    def revoke(self, *paths: Path) -> bytes:
        """Return a revocation list (DER) of certificates that were issued into these files."""
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - LIFE).next_update(now + LIFE)
        for path in paths:
            serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - LIFE).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def make_ssh_key(path: Path) -> None:
    """Write a new SSH key pair: `path` and `path`.pub."""
    key = ed25519.Ed25519PrivateKey.generate()
    encoding, form = serialization.Encoding, serialization.PrivateFormat
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(encoding.PEM, form.OpenSSH, serialization.NoEncryption()))
    public = key.public_key().public_bytes(encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(public + b"\n")


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LIFE)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
