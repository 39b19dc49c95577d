"""Keys on their way to a card: check values, encryption under the DEK, derivation from a master key."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from cardlink.errors import Malformed
from cardlink.gp.scp03 import BLOCK_BYTES, KEY_BYTES, StaticKeys

KCV_BYTES = 3
KDD_BYTES = 10
PUK_DIGITS = 8


class Label(Enum):
    """Purposes of derived card keys (docs/formats.md F11)."""

    ENC = b"themo1-enc"
    MAC = b"themo1-mac"
    DEK = b"themo1-dek"
    ADMIN = b"themo1-9b"
    PUK = b"themo1-puk"


def key_check_value(key: bytes) -> bytes:
    """The first 3 bytes of a block of 01 encrypted under an AES key (GPCS v2.3.1 §B.6, Amd D §7.2)."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 one block, no mode involved
    return encryptor.update(b"\x01" * BLOCK_BYTES)[:KCV_BYTES]


def encrypt_key(dek: bytes, key: bytes) -> bytes:
    """Encrypt a key for PUT KEY: AES-CBC under the static DEK with a zero IV (Amd D §6.2.8).

    An AES-192 key is filled up with zeros to two blocks; its true length stands beside it in the command.
    """
    return Cipher(algorithms.AES(dek), modes.CBC(bytes(BLOCK_BYTES))).encryptor().update(filled_up(key))


def filled_up(key: bytes) -> bytes:
    """A key as whole blocks, zeros behind it."""
    return key + bytes(-len(key) % BLOCK_BYTES)


def decrypt_key(dek: bytes, encrypted: bytes, key_bytes: int) -> bytes:
    """Decrypt a key of PUT KEY. Raises Malformed unless exactly the blocks of a key of that length are there."""
    if key_bytes not in KEY_BYTES or len(encrypted) != -(-key_bytes // BLOCK_BYTES) * BLOCK_BYTES:
        raise Malformed("encrypted key", f"{len(encrypted)} bytes for a key of {key_bytes}")
    decryptor = Cipher(algorithms.AES(dek), modes.CBC(bytes(BLOCK_BYTES))).decryptor()
    return decryptor.update(encrypted)[:key_bytes]


Mac = Callable[[bytes], bytes]
"""AES-CMAC under one key, wherever that key is: the value of a key at hand, or a key inside a device."""


def keyed_cmac(key: bytes) -> Mac:
    """AES-CMAC under a key at hand whose schedule is made once: each message starts from a copy. For any thread."""
    keyed = CMAC(algorithms.AES(key))

    def mac(data: bytes) -> bytes:
        context = keyed.copy()
        context.update(data)
        return context.finalize()

    return mac


def derive_card_key(master_key: bytes, label: Label, kdd: bytes, kvn: int, bits: int) -> bytes:
    """Derive one key of one card from the value of a master key; see `derive_card_key_by`."""
    return derive_card_key_by(keyed_cmac(master_key), label, kdd, kvn, bits)


def derive_card_key_by(mac: Mac, label: Label, kdd: bytes, kvn: int, bits: int) -> bytes:
    """Derive one key of one card: SP 800-108 counter mode with AES-CMAC (docs/formats.md F11).

    `kdd` is the diversification data of the card's INITIALIZE UPDATE answer, `kvn` the version the derived set has.
    """
    if len(kdd) != KDD_BYTES:
        raise Malformed("key diversification data", f"want {KDD_BYTES} bytes, got {len(kdd)}")
    fixed = label.value + b"\0" + kdd + bytes((kvn,)) + bits.to_bytes(4, "big")
    blocks = -(-bits // 128)
    output = b"".join(mac(i.to_bytes(4, "big") + fixed) for i in range(1, blocks + 1))
    return output[: bits // 8]


def derive_card_keys(master_key: bytes, kdd: bytes, kvn: int, bits: int = 256) -> StaticKeys:
    """Derive a card's SCP03 key set from the value of a master key."""
    return derive_card_keys_by(keyed_cmac(master_key), kdd, kvn, bits)


def derive_card_keys_by(master: Mac, kdd: bytes, kvn: int, bits: int = 256) -> StaticKeys:
    """Derive a card's SCP03 key set."""
    enc, mac, dek = (derive_card_key_by(master, one, kdd, kvn, bits) for one in (Label.ENC, Label.MAC, Label.DEK))
    return StaticKeys(enc, mac, dek)


@dataclass(frozen=True, slots=True)
class CardSecrets:
    """What else is derived for one card: the PIV management key 9B (AES-256) and the PUK."""

    admin_key: bytes = field(repr=False)
    puk: bytes = field(repr=False)


def derive_card_secrets(master_key: bytes, kdd: bytes, kvn: int) -> CardSecrets:
    """Derive 9B and the PUK from the value of a master key."""
    return derive_card_secrets_by(keyed_cmac(master_key), kdd, kvn)


def derive_card_secrets_by(master: Mac, kdd: bytes, kvn: int) -> CardSecrets:
    """Derive 9B and the PUK (F11). The PUK is 128 derived bits as a number modulo 10^8, written as 8 ASCII digits."""
    admin_key = derive_card_key_by(master, Label.ADMIN, kdd, kvn, 256)
    number = int.from_bytes(derive_card_key_by(master, Label.PUK, kdd, kvn, 128), "big")
    return CardSecrets(admin_key, b"%0*d" % (PUK_DIGITS, number % 10**PUK_DIGITS))
