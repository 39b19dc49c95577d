"""AES-CBC under an enciphered counter, as SCP03 and PIV secure messaging have it, on two contexts that lie ready.

Source: GlobalPlatform Amendment D §6.2.6 and 6.2.7; SP 800-73pt2-5 §4.2.2.
"""

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from cardlink.errors import Malformed
from cardlink.iso7816.padding import BLOCK_BYTES, pad, unpad


class CounterCbc:
    """Pads and encrypts, decrypts and unpads; the vector of each text is AES of a counter block. Not for two threads.

    One encrypting context serves all counters: its running chaining block is cancelled by XOR, the first block that
    goes in is the counter block, so that what comes out first is the vector (AES of the counter) and what follows is
    chained to it. That saves setting up a context per text, which costs more than the AES of a short APDU.
    """

    __slots__ = ("_decrypt", "_encrypt", "_last")

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(algorithms.AES(key), modes.CBC(bytes(BLOCK_BYTES)))
        self._encrypt: CipherContext = cipher.encryptor()
        self._decrypt: CipherContext = cipher.decryptor()
        self._last = 0

    def encrypt(self, counter: int, data: bytes) -> bytes:
        """Pad and encrypt under the counter block of that number."""
        text = (counter ^ self._last).to_bytes(BLOCK_BYTES, "big") + pad(data)
        output = self._encrypt.update(text)
        self._last = int.from_bytes(output[-BLOCK_BYTES:], "big")
        return output[BLOCK_BYTES:]

    def decrypt(self, counter: int, encrypted: bytes) -> bytes:
        """Decrypt and unpad. Raises Malformed for a broken length or padding."""
        if not encrypted or len(encrypted) % BLOCK_BYTES:
            raise Malformed("encrypted data", f"want whole blocks, got {len(encrypted)} bytes")
        vector = self._encrypt.update((counter ^ self._last).to_bytes(BLOCK_BYTES, "big"))
        self._last = int.from_bytes(vector, "big")
        # whatever was decrypted before, the vector in front makes the first block of the text come out chained to it
        return unpad(self._decrypt.update(vector + encrypted)[BLOCK_BYTES:])
