"""The padding of secure messaging: 80, then zeros up to a whole block (ISO/IEC 9797-1, method 2)."""

from cardlink.errors import Malformed

BLOCK_BYTES = 16


def pad(data: bytes) -> bytes:
    """Append 80 and zeros up to a whole AES block; always at least one byte."""
    return data + b"\x80" + bytes(-(len(data) + 1) % BLOCK_BYTES)


def unpad(padded: bytes) -> bytes:
    """Take the padding off. Raises Malformed unless the last block ends in 80 and zeros."""
    data = padded.rstrip(b"\0")
    if len(padded) % BLOCK_BYTES or not data.endswith(b"\x80") or len(padded) - len(data) >= BLOCK_BYTES:
        raise Malformed("padding", "want 80 and zeros within the last block")
    return data[:-1]
