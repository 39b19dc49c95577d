"""Certificates over keys that a foreign program made on the card: OpenSC shows no key without one."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
ISSUER = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Cơ quan thử nghiệm")])
KEY = ec.generate_private_key(ec.SECP256R1())


def certify(public: Public, name: str, *, agrees: bool = False) -> x509.Certificate:
    """A certificate for `name`, to sign with (and, of an RSA key, to decipher with) or to agree on keys with."""
    is_rsa = isinstance(public, rsa.RSAPublicKey)
    usage = x509.KeyUsage(
        digital_signature=not agrees, content_commitment=False, key_encipherment=is_rsa, data_encipherment=is_rsa,
        key_agreement=agrees, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(ISSUER)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .add_extension(usage, critical=True)
        .sign(KEY, hashes.SHA256())
    )
