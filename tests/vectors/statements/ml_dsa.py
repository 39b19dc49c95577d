"""Vectors of statements by ML-DSA-44 beside ES256 (F2, F4, F8), and of algorithms that are not ours.

ML-DSA signatures are drawn with fresh randomness: one that is committed already and still verifies is kept.
"""

import hashlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from world import (
    CARD,
    IDENTITY,
    LATER_KID,
    NOW,
    TRUST,
    Sign,
    changed,
    entry,
    kid,
    sign_with,
    signed,
    trust_statement,
)

from cardlink.statements import cbor, cose
from cardlink.statements.akp_key import AkpKey
from cardlink.statements.algorithms import ES256, ML_DSA_44

NAME = "ml_dsa"
KEYS, HOLDER = -65548, -65537
ML_DSA_65, EDDSA = -49, -8
LONG_NAME = "Đ" * 101


def build() -> dict[str, dict[str, Any]]:
    """The file of this module."""
    zero = MLDSA44PrivateKey.from_seed_bytes(bytes(32)).public_key().public_bytes_raw()
    return {
        NAME: {
            "source": "FIPS 204, RFC 9964 (numbers, key type; thumbprint: Appendix A.2), docs/formats.md F2, F4, F8",
            "now": NOW,
            "thumbprint": {
                "seed": bytes(32).hex(),
                "public_sha256": hashlib.sha256(zero).hexdigest(),
                "sha256": "b8969ab4b37da9f0684e42647eb8a0be8b5b661ebf5d76f0583bf5b8d3a8059a",
            },
            "trust": trust_statement(_trust()).hex(),
            "credential": signed(CARD, "card").hex(),
            "good": _good(),
            "bad": _bad(),
        }
    }


def _private(label: str) -> MLDSA44PrivateKey:
    return MLDSA44PrivateKey.from_seed_bytes(hashlib.sha256(b"themo test key " + label.encode()).digest())


def _key(label: str) -> AkpKey:
    return AkpKey(_private(label).public_key().public_bytes_raw())


def _trust() -> dict[Any, Any]:
    """The list of the vectors' world with two keys more: one that may sign, one of a use that has no ML-DSA."""
    claims = deepcopy(TRUST)
    for label, use in (("identity-pq", "identity"), ("identity-pq-over", "identity"), ("card-pq", "card")):
        state = {"state": 2} if label == "identity-pq-over" else {}
        claims[KEYS].append(entry(label, use, ["H49"], kid=_key(label).kid(), key=_key(label).fields(), **state))
    later = entry("later", "identity", ["H49"], kid=LATER_KID, key={1: 7, 3: ML_DSA_65, -1: bytes(1952)})
    claims[KEYS] = [one for one in claims[KEYS] if one[1] != LATER_KID] + [later]
    return claims


def _held() -> dict[str, str]:
    path = Path(__file__).resolve().parent / f"{NAME}.json"
    if not path.exists():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return {row["name"]: row["raw"] for row in (*content["good"], *content["bad"])}


def _sign(name: str, label: str) -> Sign:
    """Sign with ML-DSA-44, or answer the signature that the committed row of this name holds."""

    def sign(data: bytes) -> bytes:
        held = bytes.fromhex(_held().get(name, ""))[-2420:]
        try:
            _private(label).public_key().verify(held, data)
        except InvalidSignature:
            return _private(label).sign(data)
        return held

    return sign


def _statement(name: str, claims: Any, label: str) -> bytes:
    return cose.sign1(cbor.encode(claims), _key(label).kid(), _sign(name, label), alg=ML_DSA_44)


def _under(alg: object, by: bytes, signature: bytes) -> bytes:
    """A statement with any algorithm and signature in its envelope."""
    protected = cbor.encode({1: alg, 4: by})
    return b"\xd2" + cbor.encode([protected, {}, cbor.encode(IDENTITY), signature])


def _good() -> list[dict[str, Any]]:
    name = "a person, by ML-DSA-44"
    return [
        {"name": name, "alg": ML_DSA_44, "raw": _statement(name, IDENTITY, "identity-pq").hex()},
        {"name": "the same by ES256, from the same list", "alg": ES256, "raw": signed(IDENTITY, "identity").hex()},
    ]


def _bad() -> list[dict[str, Any]]:
    """Rows of identity statements; those of algorithms nobody here knows come first."""
    mine, es256 = _key("identity-pq").kid(), kid("identity")
    good = bytes.fromhex(_good()[0]["raw"])
    rows = [
        ("unsupported-algorithm", "ML-DSA-65 by a key of ML-DSA-65", _under(ML_DSA_65, LATER_KID, bytes(3309)), ""),
        ("unsupported-algorithm", "ES256 by a key of ML-DSA-65", _under(ES256, LATER_KID, bytes(64)), ""),
        ("unsupported-algorithm", "ML-DSA-65 by a key of ML-DSA-44", _under(ML_DSA_65, mine, bytes(3309)), ""),
        ("unsupported-algorithm", "EdDSA by a key of ES256", _under(EDDSA, es256, bytes(64)), ""),
        ("algorithm-mismatch", "ML-DSA-44 by a key of ES256", _under(ML_DSA_44, es256, bytes(2420)), ""),
        ("algorithm-mismatch", "ES256 by a key of ML-DSA-44", _under(ES256, mine, bytes(64)), ""),
        ("forged-statement", "a flipped bit", good[:-1] + bytes((good[-1] ^ 1,)), ""),
        ("forged-statement", "zeros in place of a signature", good[:-2420] + bytes(2420), ""),
        ("malformed-identity", "signature too short", _under(ML_DSA_44, mine, bytes(2419)), "2420 bytes"),
        ("malformed-identity", "ES256 under the name of ML-DSA-44", _under(ML_DSA_44, mine, bytes(64)), "2420 bytes"),
        ("malformed-identity", "no signature", _under(ML_DSA_65, LATER_KID, b""), "1 to 8192"),
        ("malformed-identity", "algorithm as text", _under("ML-DSA-44", mine, bytes(2420)), "not a number"),
        ("malformed-identity", "algorithm null", _under(None, mine, bytes(2420)), "not a number"),
    ]
    found = [_row(refusal, name, raw, why) for refusal, name, raw, why in rows]
    for refusal, name, path, value, label, why in (
        ("malformed-identity", "a name of 101 letters", (HOLDER, 3), LONG_NAME, "identity-pq", "1 to 100"),
        ("wrong-use", "by a card key", (), None, "card-pq", ""),
        ("compromised-signer", "by a key in other hands", (), None, "identity-pq-over", ""),
        ("unknown-signer", "by a stranger", (), None, "stranger", ""),
        ("expired", "yesterday", (4,), NOW - 86_400, "identity-pq", ""),
    ):
        claims = changed(IDENTITY, path, value) if path else IDENTITY
        found.append(_row(refusal, name, _statement(f"{refusal}: {name}", claims, label), why))
    protected = cbor.encode({1: ES256, 4: es256})
    payload = cbor.encode(changed(IDENTITY, (HOLDER, 3), "Đ" * 100) | {9999: bytes(700)})
    signature = sign_with("identity")(cose.to_be_signed(protected, payload))
    long = b"\xd2" + cbor.encode([protected, {}, payload, signature])
    found.append(_row("malformed-identity", "ES256 of more than 1024 bytes", long, "too long"))
    return found


def _row(refusal: str, name: str, raw: bytes, why: str) -> dict[str, Any]:
    return {"name": f"{refusal}: {name}", "refusal": refusal, "raw": raw.hex(), "why": why}
