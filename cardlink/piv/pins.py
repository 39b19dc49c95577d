"""PIN, PUK and pairing code as they stand in commands. No message here repeats a secret."""

from cardlink.errors import Malformed

REFERENCE_BYTES = 8
PIN_DIGITS_MIN = 6
PAD = 0xFF
FACTORY_PIN, FACTORY_PUK = "123456", "12345678"  # what a blank of ours is delivered with


def encode_pin(digits: str) -> bytes:
    """Write a PIN: 6 to 8 ASCII digits, padded with FF to 8 bytes.

    Raises Malformed for anything else. Source: SP 800-73pt2-5 §2.4.3.
    """
    raw = digits.encode("utf-8")
    if not is_pin(raw.ljust(REFERENCE_BYTES, b"\xff")):
        raise Malformed("PIN", "want 6 to 8 digits")
    return raw.ljust(REFERENCE_BYTES, b"\xff")


def is_pin(raw: bytes) -> bool:
    """Is it a well-formed PIN reference: 8 bytes, 6 to 8 digits 30-39, then only FF."""
    if len(raw) != REFERENCE_BYTES:
        return False
    digits = raw.rstrip(b"\xff")
    return len(digits) >= PIN_DIGITS_MIN and all(0x30 <= byte <= 0x39 for byte in digits)


def decode_pin(raw: bytes) -> str:
    """Read a PIN reference back into its digits. Raises Malformed unless it is well-formed."""
    if not is_pin(raw):
        raise Malformed("PIN", "not 6 to 8 digits padded with FF")
    return raw.rstrip(b"\xff").decode("ascii")


def check_puk(raw: bytes) -> bytes:
    """A PUK is any 8 bytes (SP 800-73pt2-5 §2.4.3). Returns it; raises Malformed for another length."""
    if len(raw) != REFERENCE_BYTES:
        raise Malformed("PUK", f"want 8 bytes, got {len(raw)}")
    return raw


def encode_pairing_code(digits: str) -> bytes:
    """Write a pairing code: exactly 8 ASCII digits (SP 800-73pt1-5 §5.1.3)."""
    raw = digits.encode("utf-8")
    if not is_pairing_code(raw):
        raise Malformed("pairing code", "want 8 digits")
    return raw


def is_pairing_code(raw: bytes) -> bool:
    """Is it 8 digits 30-39."""
    return len(raw) == REFERENCE_BYTES and all(0x30 <= byte <= 0x39 for byte in raw)
