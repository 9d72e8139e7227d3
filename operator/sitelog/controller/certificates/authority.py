"""Certificates for the webhook: a CA that signs one server certificate and whose key is then forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CLOCK_SKEW_SECONDS = 300.0  # by which clocks of API servers may be behind; a tenth of a very short lifetime


@dataclass(frozen=True)
class Issued:
    """A server certificate with its key and CA, all PEM."""

    certificate: bytes
    key: bytes
    authority: bytes


def issue(hosts: Sequence[str], lifetime: float, now: datetime) -> Issued:
    """Make a CA and a server certificate good for `hosts`, both for `lifetime` seconds.

    The CA's key is not kept: each renewal has a CA of its own, so there is no long-lived key to guard. The CA says
    itself which hosts it was made for.
    """
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    start, end = now - timedelta(seconds=min(_CLOCK_SKEW_SECONDS, lifetime / 10)), now + timedelta(seconds=lifetime)
    alternatives = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
    issuer = _name(f"Sitelog webhook CA {now:%Y-%m-%dT%H:%M:%SZ}")
    authority = (
        _builder(issuer, issuer, authority_key.public_key(), start, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(alternatives, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _builder(_name(hosts[0][:64]), issuer, server_key.public_key(), start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Issued(
        certificate=_pem(server),
        key=server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        authority=_pem(authority),
    )


@dataclass(frozen=True)
class Authority:
    """A CA certificate out of a bundle."""

    pem: bytes
    hosts: frozenset[str]
    not_before: datetime
    not_after: datetime


def read_bundle(bundle: bytes) -> list[Authority]:
    """Read the CAs of a bundle, oldest first; none from one that is empty or no PEM."""
    try:
        certificates = x509.load_pem_x509_certificates(bundle)
    except ValueError:
        return []
    authorities = [
        Authority(
            pem=_pem(certificate),
            hosts=_hosts(certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )
        for certificate in certificates
    ]
    return sorted(authorities, key=lambda authority: authority.not_before)


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset((*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
