"""A small real signer for tests that need no HSM process: keys in memory, behind the port's signing part."""

import secrets
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.orm import Session

from cardlink.statements.cose_key import CoseKey, from_public_key
from issuer.trust.port import Attestation, Capabilities, CapInForce, HsmStatus, KeyInfo
from issuer.trust.signature_check import is_signature
from issuer.trust.tables import SignerRow


def sign_with(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


MadeKey = tuple[ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, KeyInfo]


class LocalKeys:
    """Keys by label and use."""

    def __init__(self) -> None:
        self.made: dict[str, MadeKey] = {}

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        if kind == "ed25519":
            edwards = ed25519.Ed25519PrivateKey.generate()
            info = KeyInfo(label, kind, use, scope, edwards.public_key().public_bytes_raw(), "active")
            self.made[label] = edwards, info
            return info
        key = ec.generate_private_key(ec.SECP256R1())
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        info = KeyInfo(label, kind, use, scope, point, "active")
        self.made[label] = key, info
        return info

    def info(self, label: str) -> KeyInfo:
        return self.made[label][1]

    def keys(self) -> Sequence[KeyInfo]:
        return [info for _, info in self.made.values()]

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        key, info = self.made[label]
        if info.use != use:
            raise PermissionError(f"{label} is for {info.use}, not {use}")
        return key.sign(data) if isinstance(key, ed25519.Ed25519PrivateKey) else sign_with(key, data)

    def sign_many(self, label: str, use: str, data: Sequence[bytes]) -> list[bytes]:
        return [self.sign(label, use, one) for one in data]

    def sign_digest(self, label: str, use: str, digest: bytes) -> bytes:
        key, info = self.made[label]
        if (info.use, use) != ("ca", "ca"):
            raise PermissionError(f"{label} signs no digest")
        r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def random(self, n: int) -> bytes:
        return secrets.token_bytes(n)

    def status(self) -> HsmStatus:
        return HsmStatus("memory", "tests", len(self.made), 0)

    def capabilities(self) -> Capabilities:
        return Capabilities(*(False for _ in fields(Capabilities)))

    def caps(self) -> list[CapInForce]:
        return [CapInForce("reveal-pin", 5, 500, 7), CapInForce("card-H38-1", 0, 40, 3)]

    def attest(self, label: str) -> Attestation:
        return Attestation(label, False, False)

    def verify(self, label: str, data: bytes, signature: bytes) -> bool:
        return is_signature(self.info(label), data, signature)

    def cose_key(self, label: str) -> CoseKey:
        key = self.made[label][0]
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return from_public_key(key.public_key())


def add_signer(session: Session, keys: LocalKeys, use: str, agency_code: str, now: datetime) -> str:
    """Make a signing key of an agency, with its row."""
    label = f"{use}-{agency_code}-1"
    info = keys.generate(label, "ec-p256", use, (agency_code,))
    session.add(
        SignerRow(
            label=label,
            kid=keys.cose_key(label).kid(),
            use=use,
            agency_code=agency_code,
            scope=[agency_code],
            point=info.public,
            signs_from=now - timedelta(days=1),
            signs_until=now + timedelta(days=365),
            verifies_until=now + timedelta(days=400),
            state=0,
        )
    )
    session.flush()
    return label
