"""Key diversification after AN10922, for cards of the DESFire family: one AES-128 key of one card from a master key.

The input is up to 31 bytes that name the card and the use: UID, application, system. The function is CMAC over 32
bytes, so that a short input is filled up to two blocks and not to one, as plain CMAC would do it.
Source: NXP AN10922 rev. 2.2, §2.2 (AES-128) with the example of §2.2.1.
"""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cardlink.errors import Malformed

KEY_BYTES = 16
BLOCK_BYTES = 16
INPUT_MAX_BYTES = 31
DIVERSIFIED_BYTES = 2 * BLOCK_BYTES
AES_128 = b"\x01"  # the constant that says which key is wanted (§2.2)
_R128 = 0x87  # SP 800-38B §5.3


def diversify_aes128(master_key: bytes, diversification: bytes) -> bytes:
    """Derive the AES-128 key of one card. Raises Malformed for a master key or an input of another length."""
    if len(master_key) != KEY_BYTES:
        raise Malformed("AN10922 master key", f"want {KEY_BYTES} bytes")
    if not 1 <= len(diversification) <= INPUT_MAX_BYTES:
        raise Malformed("AN10922 input", f"want 1 to {INPUT_MAX_BYTES} bytes, got {len(diversification)}")
    first = _double(_encrypt(master_key, bytes(BLOCK_BYTES)))
    data, mask = AES_128 + diversification, first
    if len(data) < DIVERSIFIED_BYTES:
        data, mask = (data + b"\x80").ljust(DIVERSIFIED_BYTES, b"\0"), _double(first)
    last = bytes(one ^ other for one, other in zip(data[BLOCK_BYTES:], mask, strict=True))
    cipher = Cipher(algorithms.AES(master_key), modes.CBC(bytes(BLOCK_BYTES))).encryptor()
    return cipher.update(data[:BLOCK_BYTES] + last)[BLOCK_BYTES:]


def _encrypt(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305 one block, no mode involved


def _double(block: bytes) -> bytes:
    """Multiply by x in GF(2^128), as CMAC makes its subkeys (SP 800-38B §6.1)."""
    number = int.from_bytes(block, "big") << 1
    return ((number & ((1 << 128) - 1)) ^ (_R128 if number >> 128 else 0)).to_bytes(BLOCK_BYTES, "big")
