"""Uses every call of yubikit's PivSession. Runs in .venv-foreign: reader and chapters as arguments, JSON out.

Each chapter starts from a card in its factory state and tells what the test compares.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding
from smartcard.System import readers
from ykman.pcsc import ScardSmartCardConnection
from ykman.piv import generate_self_signed_certificate
from yubikit.core import NotSupportedError
from yubikit.core.smartcard import ApduError
from yubikit.piv import (
    DEFAULT_MANAGEMENT_KEY,
    KEY_TYPE,
    MANAGEMENT_KEY_TYPE,
    OBJECT_ID,
    PIN_POLICY,
    SLOT,
    InvalidPinError,
    PivSession,
)

PIN, PUK = "123456", "12345678"
SAID = "Thẻ mở cửa".encode()
SIGNING = (SLOT.AUTHENTICATION, SLOT.SIGNATURE, SLOT.CARD_AUTH)
AGREEING = (SLOT.KEY_MANAGEMENT, SLOT.RETIRED1, SLOT.RETIRED20)
OLD = SLOT.RETIRED5
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call answers, or how it is refused."""
    try:
        return call(*arguments)
    except ApduError as refused:
        return f"{refused.sw:04X}"
    except InvalidPinError as wrong:
        return f"{wrong.attempts_remaining} left"
    except (NotSupportedError, InvalidSignature) as error:
        return type(error).__name__


def started(session: PivSession) -> PivSession:
    """The administrator and the holder are known."""
    session.authenticate(DEFAULT_MANAGEMENT_KEY)
    session.verify_pin(PIN)
    return session


def use(session: PivSession, slot: SLOT, key_type: KEY_TYPE, public: Any) -> str:
    """Do with a key what it is for, and compare with what its public key says."""
    session.verify_pin(PIN)
    if isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(session.sign(slot, key_type, SAID, hashes.SHA256()), SAID)
        return "verified"
    if isinstance(public, x25519.X25519PublicKey):
        other = x25519.X25519PrivateKey.generate()
        return "agreed" if session.calculate_secret(slot, other.public_key()) == other.exchange(public) else "differs"
    if isinstance(public, ec.EllipticCurvePublicKey):
        if slot in (*AGREEING, OLD):
            mine = ec.generate_private_key(public.curve)
            shared = session.calculate_secret(slot, mine.public_key())
            return "agreed" if shared == mine.exchange(ec.ECDH(), public) else "differs"
        hash_ = hashes.SHA384() if key_type is KEY_TYPE.ECCP384 else hashes.SHA256()
        public.verify(session.sign(slot, key_type, SAID, hash_), SAID, ec.ECDSA(hash_))
        return "verified"
    assert isinstance(public, rsa.RSAPublicKey)
    if slot in (*AGREEING, OLD):
        return "deciphered" if session.decrypt(slot, public.encrypt(SAID, OAEP), OAEP) == SAID else "differs"
    public.verify(session.sign(slot, key_type, SAID, hashes.SHA256(), padding.PKCS1v15()), SAID, padding.PKCS1v15(),
                  hashes.SHA256())  # fmt: skip
    return "verified"


def references(session: PivSession) -> dict[str, Any]:
    told: dict[str, Any] = {"attempts": session.get_pin_attempts()}
    told["wrong_pin"] = attempt(session.verify_pin, "999999")
    told["wrong_puk"] = attempt(session.change_puk, "99999999", PUK)
    session.change_pin(PIN, "246813")
    session.change_puk(PUK, "87654321")
    told["changed"] = [session.get_pin_metadata().default_value, session.get_puk_metadata().default_value]
    told["old_pin"] = attempt(session.verify_pin, PIN)
    for _ in range(4):
        attempt(session.verify_pin, PIN)
    told["blocked"] = [session.get_pin_attempts(), attempt(session.verify_pin, "246813")]
    session.unblock_pin("87654321", PIN)
    session.verify_pin(PIN)
    session.authenticate(DEFAULT_MANAGEMENT_KEY)
    session.set_pin_attempts(8, 3)
    told["set"] = [session.get_pin_metadata().total_attempts, session.get_puk_metadata().total_attempts]
    told["default_again"] = [session.get_pin_metadata().default_value, session.get_puk_metadata().default_value]
    told["fingers"] = [
        attempt(session.get_bio_metadata), attempt(session.verify_uv),
        attempt(lambda: session.verify_temporary_pin(bytes(16))),
    ]  # fmt: skip
    return told


def management(session: PivSession) -> dict[str, Any]:
    told: dict[str, Any] = {"unauthenticated": attempt(session.put_object, OBJECT_ID.IRIS, b"x")}
    old = DEFAULT_MANAGEMENT_KEY
    for kind in MANAGEMENT_KEY_TYPE:
        session.authenticate(old)
        new = bytes(range(kind.value, kind.value + kind.key_len))
        session.set_management_key(kind, new)
        metadata = session.get_management_key_metadata()
        session.authenticate(new)
        wrong = attempt(session.authenticate, bytes(kind.key_len))
        told[kind.name] = [metadata.key_type.name, metadata.default_value, wrong]
        old = new
    session.authenticate(old)
    session.set_management_key(MANAGEMENT_KEY_TYPE.AES192, DEFAULT_MANAGEMENT_KEY)
    told["touch"] = attempt(
        lambda: session.set_management_key(MANAGEMENT_KEY_TYPE.AES192, DEFAULT_MANAGEMENT_KEY, require_touch=True)
    )
    return told


def generated(
    session: PivSession, kinds: tuple[KEY_TYPE, ...] = (KEY_TYPE.ECCP256, KEY_TYPE.ECCP384)
) -> dict[str, Any]:
    started(session)
    told = {}
    for kind in kinds:
        for slot in (*SIGNING, *AGREEING):
            public = session.generate_key(slot, kind)
            metadata = session.get_slot_metadata(slot)
            same = metadata.public_key == public and metadata.key_type is kind and metadata.generated
            told[f"{kind.name} {slot:X}"] = use(session, slot, kind, public) if same else "other metadata"
    return told


def octets(session: PivSession) -> dict[str, Any]:
    started(session)
    told = {}
    for kind, slots in ((KEY_TYPE.ED25519, SIGNING), (KEY_TYPE.X25519, AGREEING)):
        for slot in slots:
            public = session.generate_key(slot, kind)
            told[f"{kind.name} {slot:X}"] = use(session, slot, kind, public)
    return told


def rsa_2048(session: PivSession) -> dict[str, Any]:
    started(session)
    told = {}
    for slot in (SLOT.AUTHENTICATION, SLOT.SIGNATURE, SLOT.KEY_MANAGEMENT, SLOT.RETIRED1):
        told[f"{slot:X}"] = use(session, slot, KEY_TYPE.RSA2048, session.generate_key(slot, KEY_TYPE.RSA2048))
    return told


def long_rsa(session: PivSession) -> dict[str, Any]:
    started(session)
    told = {}
    for kind in (KEY_TYPE.RSA3072, KEY_TYPE.RSA4096):
        for slot in (SLOT.AUTHENTICATION, SLOT.KEY_MANAGEMENT):
            told[f"{kind.name} made {slot:X}"] = use(session, slot, kind, session.generate_key(slot, kind))
            private = rsa.generate_private_key(65537, kind.bit_len)
            session.put_key(slot, private)
            told[f"{kind.name} imported {slot:X}"] = use(session, slot, kind, private.public_key())
    return told


def imported(session: PivSession) -> dict[str, Any]:
    started(session)
    told = {}
    privates = {
        KEY_TYPE.ECCP256: ec.generate_private_key(ec.SECP256R1()),
        KEY_TYPE.ECCP384: ec.generate_private_key(ec.SECP384R1()),
        KEY_TYPE.ED25519: ed25519.Ed25519PrivateKey.generate(),
        KEY_TYPE.X25519: x25519.X25519PrivateKey.generate(),
        KEY_TYPE.RSA2048: rsa.generate_private_key(65537, 2048),
        KEY_TYPE.RSA1024: rsa.generate_private_key(65537, 1024),  # noqa: S505 to read old mail with
    }
    for kind, private in privates.items():
        slot = OLD if kind in (KEY_TYPE.X25519, KEY_TYPE.RSA1024) else SLOT.SIGNATURE
        session.put_key(slot, private, PIN_POLICY.ALWAYS)
        metadata = session.get_slot_metadata(slot)
        told[kind.name] = [metadata.generated, metadata.pin_policy.name, use(session, slot, kind, private.public_key())]
    told["short"] = attempt(session.generate_key, OLD, KEY_TYPE.RSA1024)
    return told


def policies(session: PivSession) -> dict[str, Any]:
    started(session)
    told = {}
    for policy in (PIN_POLICY.NEVER, PIN_POLICY.ONCE, PIN_POLICY.ALWAYS):
        public = attempt(session.generate_key, SLOT.CARD_AUTH, KEY_TYPE.ECCP256, policy)
        session.verify_pin(PIN)
        uses = [attempt(lambda: len(session.sign(SLOT.CARD_AUTH, KEY_TYPE.ECCP256, SAID, hashes.SHA256())) > 64)
                for _ in range(2)]  # fmt: skip
        told[policy.name] = public if isinstance(public, str) else uses
    told["weaker"] = attempt(session.generate_key, SLOT.SIGNATURE, KEY_TYPE.ECCP256, PIN_POLICY.NEVER)
    return told


def moved(session: PivSession) -> dict[str, Any]:
    started(session)
    public = session.generate_key(SLOT.AUTHENTICATION, KEY_TYPE.RSA2048)
    session.move_key(SLOT.AUTHENTICATION, SLOT.RETIRED3)
    told: dict[str, Any] = {
        "there": session.get_slot_metadata(SLOT.RETIRED3).public_key == public,
        "used": use(session, SLOT.RETIRED3, KEY_TYPE.RSA2048, public),
        "source": attempt(session.get_slot_metadata, SLOT.AUTHENTICATION),
    }
    session.delete_key(SLOT.RETIRED3)
    told["deleted"] = attempt(session.get_slot_metadata, SLOT.RETIRED3)
    return told


def certificates(session: PivSession) -> dict[str, Any]:
    started(session)
    public = session.generate_key(SLOT.AUTHENTICATION, KEY_TYPE.ECCP256)
    session.verify_pin(PIN)
    made = generate_self_signed_certificate(
        session,
        SLOT.AUTHENTICATION,
        public,
        "CN=Thẻ",
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2036, 1, 1, tzinfo=UTC),
    )
    told: dict[str, Any] = {}
    for compress in (False, True):
        session.put_certificate(SLOT.AUTHENTICATION, made, compress)
        told[f"compressed {compress}"] = session.get_certificate(SLOT.AUTHENTICATION) == made
    session.delete_certificate(SLOT.AUTHENTICATION)
    told["deleted"] = attempt(session.get_certificate, SLOT.AUTHENTICATION)
    return told


def objects(session: PivSession) -> dict[str, Any]:
    started(session)
    told = {}
    for name in ("CAPABILITY", "CHUID", "FINGERPRINTS", "SECURITY", "FACIAL", "PRINTED", "KEY_HISTORY", "IRIS"):
        content = name.encode() * 300
        session.put_object(OBJECT_ID[name], content)
        told[name] = session.get_object(OBJECT_ID[name]) == content
    told["unknown"] = attempt(session.get_object, 0x5FC1FF)
    return told


def attested(session: PivSession) -> dict[str, Any]:
    started(session)
    public = session.generate_key(SLOT.SIGNATURE, KEY_TYPE.ECCP384)
    certificate = session.attest_key(SLOT.SIGNATURE)
    maker = session.get_certificate(SLOT.ATTESTATION)
    certificate.verify_directly_issued_by(maker)
    session.put_key(SLOT.AUTHENTICATION, ec.generate_private_key(ec.SECP256R1()))
    return {
        "same_key": certificate.public_key() == public,
        "maker": maker.public_bytes(Encoding.PEM).decode(),
        "extensions": {one.oid.dotted_string: one.value.value.hex() for one in certificate.extensions
                       if one.oid.dotted_string.startswith("1.3.6.1.4.1.41482.")},
        "serial": session.get_serial(),
        "imported": attempt(session.attest_key, SLOT.AUTHENTICATION),
    }  # fmt: skip


def reset(session: PivSession) -> dict[str, Any]:
    started(session)
    session.generate_key(SLOT.AUTHENTICATION, KEY_TYPE.ECCP256)
    session.put_object(OBJECT_ID.CHUID, b"x")
    session.change_puk(PUK, "87654321")
    session.set_management_key(MANAGEMENT_KEY_TYPE.AES256, bytes(32))
    session.reset()
    session.authenticate(DEFAULT_MANAGEMENT_KEY)
    session.verify_pin(PIN)
    session.change_puk(PUK, PUK)
    return {
        "key": attempt(session.get_slot_metadata, SLOT.AUTHENTICATION),
        "object": attempt(session.get_object, OBJECT_ID.CHUID),
        "attempts": session.get_pin_attempts(),
    }


def main() -> None:
    (reader,) = [one for one in readers() if one.name == sys.argv[1]]
    connection = ScardSmartCardConnection(reader.createConnection())
    told = {}
    try:
        for chapter in sys.argv[2:]:
            session = PivSession(connection)
            session.reset()
            told[chapter] = globals()[chapter](session)
    finally:
        connection.close()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
