"""Derivation in counter mode with a 32-bit counter before the fixed input (SP 800-108r1 §4.1), CMAC as its function."""

from collections.abc import Callable

Mac = Callable[[bytes], bytes]
BLOCK_BITS = 128
COUNTER_BYTES = 4


def counter_kdf(mac: Mac, fixed: bytes, bits: int) -> bytes:
    """Derive `bits` bits, whole bytes: `[i]32 ‖ fixed` for i from 1, as many blocks as it takes."""
    blocks = -(-bits // BLOCK_BITS)
    return b"".join(mac(i.to_bytes(COUNTER_BYTES, "big") + fixed) for i in range(1, blocks + 1))[: bits // 8]
