"""Reads and uses a card with yubikit. Runs in .venv-foreign: reader name as argument, the PIN on stdin, JSON out."""

import json
import sys
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from smartcard.System import readers
from ykman.pcsc import ScardSmartCardConnection
from yubikit.core.smartcard import ApduError
from yubikit.piv import KEY_TYPE, OBJECT_ID, SLOT, Chuid, InvalidPinError, PivSession

SLOTS = {"9A": SLOT.AUTHENTICATION, "9C": SLOT.SIGNATURE, "9D": SLOT.KEY_MANAGEMENT, "9E": SLOT.CARD_AUTH}
SAID = "Thẻ mở cửa".encode()


def sign(session: PivSession, slot: SLOT) -> str:
    """Say whether the slot's certificate verifies what the slot's key signed, or with which status it refused."""
    try:
        signature = session.sign(slot, KEY_TYPE.ECCP256, SAID, hashes.SHA256())
    except ApduError as refused:
        return f"{refused.sw:04X}"
    session.get_certificate(slot).public_key().verify(signature, SAID, ec.ECDSA(hashes.SHA256()))
    return "verified"


def agree(session: PivSession) -> str:
    """Agree on a secret with 9D and compare it with our side of it."""
    other = ec.generate_private_key(ec.SECP256R1())
    shared = session.calculate_secret(SLOT.KEY_MANAGEMENT, other.public_key())
    ours = other.exchange(ec.ECDH(), session.get_certificate(SLOT.KEY_MANAGEMENT).public_key())
    return "agreed" if shared == ours else "differs"


def read(session: PivSession, pin: str) -> dict[str, Any]:
    """Everything the test compares."""
    raw = session.get_object(OBJECT_ID.CHUID)
    chuid = Chuid.from_bytes(raw)
    told: dict[str, Any] = {
        "version": str(session.version),
        "certificates": {name: session.get_certificate(slot).public_bytes(Encoding.DER).hex()
                         for name, slot in SLOTS.items()},
        "generated": {name: session.get_slot_metadata(slot).generated for name, slot in SLOTS.items()},
        "management_key": session.management_key_type.name,
        "management_key_is_default": session.get_management_key_metadata().default_value,
        "pin_is_default": session.get_pin_metadata().default_value,
        "puk_is_default": session.get_puk_metadata().default_value,
        "chuid": {"guid": chuid.guid.hex(), "expires": chuid.expiration_date.isoformat(), "fasc_n": str(chuid.fasc_n),
                  "signature": chuid.asymmetric_signature.hex(), "signed": chuid.tbs_bytes.hex(),
                  "same_again": bytes(chuid) == raw},
        "security_object": session.get_object(OBJECT_ID.SECURITY).hex(),
        "before_the_pin": {name: sign(session, slot) for name, slot in SLOTS.items() if name != "9D"},
    }  # fmt: skip
    try:
        session.verify_pin("000000" if pin != "000000" else "111111")
    except InvalidPinError as refused:
        told["wrong_pin_leaves"] = refused.attempts_remaining
    session.verify_pin(pin)
    told["after_the_pin"] = {"9A": sign(session, SLOT.AUTHENTICATION), "9D": agree(session)}
    session.verify_pin(pin)
    told["after_the_pin"]["9C"] = sign(session, SLOT.SIGNATURE)
    told["9C_again"] = sign(session, SLOT.SIGNATURE)
    told["face"] = session.get_object(OBJECT_ID.FACIAL).hex()
    return told


def main() -> None:
    (reader,) = [one for one in readers() if one.name == sys.argv[1]]
    connection = ScardSmartCardConnection(reader.createConnection())
    try:
        print(json.dumps(read(PivSession(connection), sys.stdin.read().strip())))
    finally:
        connection.close()


if __name__ == "__main__":
    main()
