"""The maker of virtual cards as a certification authority: root, one authority a batch, one key F9 a card.

All that a maker signs follows from its seed: the same maker gives the same root and the same batches again, so nothing
but the seed is kept. Only the key F9 of each card is random.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cardlink.errors import Malformed
from cardlink.piv.commands import wrap_object
from cardlink.piv.objects import encode_certificate
from cardlink.piv.tables import CERT_ATTESTATION, Algorithm, KeyRef
from cardlink.piv.yubico import Origin, PinPolicy
from cardos.piv.keys import save_private
from cardos.records import Chip, SlotKey, StoredObject

SEED_BYTES: Final = 32
LIFE: Final = timedelta(days=40 * 365)
NAME: Final = "Thẻ Mở virtual card maker"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (FIPS 186-5)
_WIDE_BYTES: Final = 40  # 64 bits more than the order: no value is more likely than another (FIPS 186-5 A.2.1)
_SERIAL_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Maker:
    """A card maker. `since` is when it began: its certificates hold from then on. Raises Malformed for a short seed."""

    seed: bytes = field(repr=False)
    since: datetime
    name: str = NAME

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise Malformed("card maker", f"a seed of {len(self.seed)} bytes, want {SEED_BYTES}")

    def root(self) -> x509.Certificate:
        """The certificate to trust."""
        key = self._key("root")
        name = self._called("root")
        return self._sign(name, key.public_key(), name, key, below=2)

    def batch(self, number: int) -> x509.Certificate:
        """The authority of one batch, under the root."""
        called = self._called(f"batch {number:04X}")
        public = self._key(f"batch {number:04X}").public_key()
        return self._sign(called, public, self._called("root"), self._key("root"), below=1)

    def equip(self, chip: Chip) -> tuple[SlotKey, StoredObject]:
        """Key F9 and its certificate for one card, signed by the authority of the chip's batch."""
        batch = f"batch {chip.kdd[-2:].hex().upper()}"
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            self._called(f"card {chip.serial.hex().upper()}"),
            key.public_key(),
            self._called(batch),
            self._key(batch),
            below=0,
        )
        content = encode_certificate(certificate.public_bytes(Encoding.DER))
        return (
            SlotKey(KeyRef.ATTESTATION, Algorithm.P_256, save_private(key), Origin.IMPORTED, PinPolicy.NEVER),
            StoredObject(CERT_ATTESTATION.tag, wrap_object(CERT_ATTESTATION.tag, content)),
        )

    def _derive(self, label: str, size: int) -> bytes:
        return HKDF(SHA256(), size, None, b"themo card maker " + label.encode("ascii")).derive(self.seed)

    def _key(self, label: str) -> ec.EllipticCurvePrivateKey:
        wide = int.from_bytes(self._derive(f"key {label}", _WIDE_BYTES), "big")
        return ec.derive_private_key(wide % (_ORDER - 1) + 1, ec.SECP256R1())

    def _called(self, what: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.name),
                x509.NameAttribute(NameOID.COMMON_NAME, f"PIV attestation {what}"),
            ]
        )

    def _sign(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        issuer: x509.Name,
        issuer_key: ec.EllipticCurvePrivateKey,
        *,
        below: int,
    ) -> x509.Certificate:
        """A certificate of an authority with that many others below it (RFC 5280 §4.2.1.9)."""
        key_id = x509.SubjectKeyIdentifier.from_public_key(public)
        serial = self._derive(f"serial {key_id.digest.hex()}", _SERIAL_BYTES)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .serial_number(int.from_bytes(serial, "big") >> 1 or 1)
            .subject_name(subject)
            .public_key(public)
            .issuer_name(issuer)
            .not_valid_before(self.since)
            .not_valid_after(self.since + LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(key_id, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        return builder.sign(issuer_key, SHA256(), ecdsa_deterministic=True)
