"""A PKOC reader written from the sources alone (docs/adr/0007), sharing nothing with the card but the wire."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

Transmit = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Read:
    """What a reader knows after a tap: the X of the key is the credential."""

    versions: bytes
    x: bytes
    is_proved: bool


class NoPkoc(Exception):
    """SELECT was refused: a card of another kind."""


def read_card(transmit: Transmit, transaction: bytes | None = None, *, with_le: bool = True) -> Read:
    """SELECT, take the first version, AUTHENTICATE, verify. Some readers send no Le with AUTHENTICATE."""
    answer = transmit(bytes.fromhex("00A4040008A00000089800000100"))
    if answer[-2:] != b"\x90\x00":
        raise NoPkoc(answer[-2:].hex())
    versions = values(answer[:-2])[0x5C]
    transaction = os.urandom(16) if transaction is None else transaction
    reader = bytes(16) + bytes(range(16))
    data = b"\x5c\x02" + versions[:2] + b"\x4c" + bytes([len(transaction)]) + transaction + b"\x4d\x20" + reader
    answer = transmit(b"\x80\x80\x00\x01" + bytes([len(data)]) + data + (b"\x00" if with_le else b""))
    assert answer[-2:] == b"\x90\x00", answer.hex()
    assert len(answer) == 135
    told = values(answer[:-2])
    key, signature = told[0x5A], told[0x9E]
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key).verify(der, transaction, ECDSA(SHA256()))
    except InvalidSignature:
        return Read(versions, key[1:33], False)
    return Read(versions, key[1:33], True)


def values(data: bytes) -> dict[int, bytes]:
    """Tag, one byte of length, value; and again."""
    found = {}
    while data:
        tag, length = data[0], data[1]
        assert len(data) >= 2 + length
        assert tag not in found
        found[tag], data = data[2 : 2 + length], data[2 + length :]
    return found
