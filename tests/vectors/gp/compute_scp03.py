"""A second computation of SCP03 sessions, for levels and key lengths of which nobody has published any.

Written from GlobalPlatform Amendment D v1.1.2 ("Amd D", S16 mode after v1.2) with the `cryptography` package alone: it
uses none of this project's code, takes the derivation from the library's SP 800-108 and sets every cipher up afresh.
So it cannot say what the standard says, as a published session can, but it has none of our own mistakes twice.

    python tests/vectors/gp/compute_scp03.py > tests/vectors/gp/scp03_computed.json
"""

import json
import sys
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

LEVELS = (0x01, 0x03, 0x11, 0x13, 0x33)
KEY_BITS = (128, 192, 256)
AID = bytes.fromhex("A000000151000000")
KDD, KVN, COUNTER = bytes.fromhex("0001000200C0FFEE0001"), 0x30, bytes.fromhex("000007")
EXCHANGES = (
    # command without Lc, data to be sent, Le; data of the answer, status word
    (bytes.fromhex("80F28002"), bytes.fromhex("4F00"), b"\0", bytes.fromhex("E3064F04A0000001"), 0x9000),
    (bytes.fromhex("80CA9F7F"), b"", b"\0", bytes(range(48)), 0x9000),
    (bytes.fromhex("00DB3FFF"), bytes(range(40)), b"", b"", 0x9000),
    (bytes.fromhex("10DB3FFF"), bytes(range(16)), b"", b"", 0x9000),
    (bytes.fromhex("80F28003"), bytes.fromhex("4F00"), b"\0", b"more", 0x6310),
    (bytes.fromhex("80F0800F"), b"", b"", b"", 0x6985),
    (bytes.fromhex("80CA0066"), b"", b"\0", bytes(15), 0x9000),
)


def derive(key: bytes, constant: int, context: bytes, bits: int) -> bytes:
    """Amd D §4.1.5: the fixed input 0^11, constant, 00, L; then the counter of one byte; then the context."""
    before = bytes(11) + bytes((constant, 0)) + bits.to_bytes(2, "big")
    return KBKDFCMAC(
        algorithms.AES, Mode.CounterMode, bits // 8, rlen=1, llen=None, location=CounterLocation.MiddleFixed,
        break_location=len(before), label=None, context=None, fixed=before + context,
    ).derive(key)  # fmt: skip


def mac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC."""
    state = CMAC(algorithms.AES(key))
    state.update(data)
    return state.finalize()


def encrypt(key: bytes, counter_block: bytes, data: bytes) -> bytes:
    """Amd D §6.2.6 and 6.2.7: the ICV is the encrypted counter block; padding 80 00..."""
    icv = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(counter_block)  # noqa: S305 one block
    padded = data + b"\x80" + bytes(-(len(data) + 1) % 16)
    return Cipher(algorithms.AES(key), modes.CBC(icv)).encryptor().update(padded)


def session(level: int, bits: int, size: int) -> dict[str, Any]:
    """One session at this level, with keys of this length, in S8 (size 8) or S16 mode (size 16)."""
    enc, mac_key, dek = (bytes((first + at) & 0xFF for at in range(bits // 8)) for first in (0x10, 0x50, 0x90))
    host = bytes(range(0xA0, 0xA0 + size))
    card = derive(enc, 0x02, COUNTER + AID, 8 * size)
    s_enc, s_mac, s_rmac = (
        derive(key, constant, host + card, bits) for key, constant in ((enc, 0x04), (mac_key, 0x06), (mac_key, 0x07))
    )
    cryptograms = [derive(s_mac, constant, host + card, 8 * size) for constant in (0x00, 0x01)]
    option = 0x70 | (size == 16)
    answer = KDD + bytes((KVN, 3, option)) + card + cryptograms[0] + COUNTER
    header = bytes((0x84, 0x82, level, 0x00, 2 * size))
    chaining = mac(s_mac, bytes(16) + header + cryptograms[1])
    told: dict[str, Any] = {
        "name": f"computed aes-{bits} S{size} level {level:02X}",
        "mode": f"S{size}",
        "keys": {"enc": enc.hex().upper(), "mac": mac_key.hex().upper(), "dek": dek.hex().upper()},
        "aid": AID.hex().upper(),
        "initialize_update": (bytes((0x80, 0x50, KVN, 0, size)) + host + b"\0").hex().upper(),
        "answer": answer.hex().upper(),
        "external_authenticate": (header + cryptograms[1] + chaining[:size]).hex().upper(),
        "exchanges": [],
    }
    for counter, (head, data, le, back, sw) in enumerate(EXCHANGES, start=1):
        block = counter.to_bytes(16, "big")
        sent = encrypt(s_enc, block, data) if level & 0x02 and data else data
        secured = bytes((head[0] | 0x04,)) + head[1:] + bytes((len(sent) + size,))
        chaining = mac(s_mac, chaining + secured + sent)
        received, status = back, sw.to_bytes(2, "big")
        if level & 0x10 and (sw == 0x9000 or status[0] in (0x62, 0x63)):
            if level & 0x20 and back:
                received = encrypt(s_enc, b"\x80" + block[1:], back)
            received += mac(s_rmac, chaining + received + status)[:size]
        plain = head + (bytes((len(data),)) + data if data else b"") + le
        told["exchanges"].append(
            {
                "plain": plain.hex().upper(),
                "sent": (secured + sent + chaining[:size] + le).hex().upper(),
                "received": (received + status).hex().upper(),
                "answer": (back + status).hex().upper(),
            }
        )
    return told


def compute() -> dict[str, Any]:
    """All of them."""
    return {
        "source": ["computed by tests/vectors/gp/compute_scp03.py from the standard's text, with keys made up for it"],
        "note": "No published sessions: a second computation that shares no code with the project.",
        "sessions": [session(level, bits, size) for size in (8, 16) for bits in KEY_BITS for level in LEVELS],
    }


if __name__ == "__main__":
    json.dump(compute(), sys.stdout, indent=1)
    print()
