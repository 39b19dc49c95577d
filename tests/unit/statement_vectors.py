"""The statement vectors, as the tests read them."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from cardlink.statements import cbor
from cardlink.statements.cose_key import ORDER, CoseKey, decode_cose_key, from_public_key
from cardlink.statements.trust import Roots, Trust, accept_trust_list

HERE = Path(__file__).resolve().parent.parent / "vectors" / "statements"


def load(name: str) -> dict[str, Any]:
    """One file of vectors."""
    content: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return content


def rows(name: str, part: str) -> pytest.MarkDecorator:
    """Parametrize a test by the rows of one part of a file; the row's name is the test's id."""
    listed = load(name)[part]
    return pytest.mark.parametrize("row", listed, ids=[row["name"] for row in listed])


def raw(row: dict[str, Any]) -> bytes:
    """The bytes of a row."""
    return bytes.fromhex(row["raw"])


def at(content: dict[str, Any]) -> datetime:
    """The moment at which a row or a file is judged."""
    return datetime.fromtimestamp(content["now"], UTC)


def trust_of(content: dict[str, Any]) -> Trust:
    """The trust list of a file, accepted by a door of the vectors' world."""
    pinned = load("trust")
    roots = Roots(pinned["threshold"], tuple(read_key(key) for key in pinned["roots"]))
    accepted = accept_trust_list(bytes.fromhex(content["trust"]), roots, at(content))
    assert isinstance(accepted, Trust)
    return accepted


def read_key(encoded: str) -> CoseKey:
    """A COSE_Key out of its hex."""
    return decode_cose_key(cbor.decode(bytes.fromhex(encoded), max_bytes=128))


def private_key(label: str) -> ec.EllipticCurvePrivateKey:
    """The published test key of a label (tests/vectors/statements/world.py)."""
    number = int.from_bytes(hashlib.sha256(b"themo test key " + label.encode()).digest(), "big") % (ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def public_key(label: str) -> CoseKey:
    """Its public half."""
    return from_public_key(private_key(label).public_key())


def sign_with(label: str) -> Callable[[bytes], bytes]:
    """Sign as an HSM would: bytes in, r‖s out."""

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private_key(label).sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign
