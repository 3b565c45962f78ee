"""Certificates for tests: an authority of a moment, and what it signs."""

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """An authority; `path` is its certificate, for those who are to trust it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "authority.pem"

    def issue(self, *names: str) -> Path:
        """A file with a new certificate for names, of hosts or IPv4, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(names[0], key, self, names=names)
        path = self.folder / f"{names[0]}.pem"
        path.write_bytes(_pem(certificate, key))
        return path

    def server(self, *names: str) -> ssl.SSLContext:
        """A server's context with a certificate for names, of hosts or IPv4."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(*names))
        return context

    def client(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        return ssl.create_default_context(cafile=self.path)


def authority(folder: Path) -> Authority:
    """Make an authority that keeps its files in a folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = Authority(_sign("authority", key, None), key, folder)
    made.path.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
    return made


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    by: Authority | None,
    *,
    names: tuple[str, ...] = (),
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(by is None, None), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
    )
    if by is not None:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general(given) for given in names]),
            critical=False,
        ).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()),
            critical=False,
        )
    return builder.sign(key if by is None else by.key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    if name.replace(".", "").isdigit():
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
