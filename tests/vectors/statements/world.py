"""The made-up world of the statement vectors: keys, signers, a trust list, one card.

The private keys are SHA-256 of a published label: made for these tests, known to everybody, good for nothing else.
"""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from cardlink.statements import cbor, cose, trust
from cardlink.statements.cose_key import ORDER, CoseKey, from_public_key

NOW = 1_782_864_000  # 2026-07-01T00:00:00Z
DAY = 86_400
YEAR = 365 * DAY
CARD_UUID = bytes.fromhex("0b5e7c9a41d24c3f8a6e1d2c3b4a5968")
OTHER_UUID = bytes.fromhex("7d1f2e3c4b5a4968b7a6958473625140")
DOOR_UUID = bytes.fromhex("d00fd00f00004000800000000000d001")
AGENCY = "H49.01.02"
EPOCH = 1

Sign = Callable[[bytes], bytes]


def private_key(label: str) -> ec.EllipticCurvePrivateKey:
    """The key of a label."""
    number = int.from_bytes(hashlib.sha256(b"themo test key " + label.encode()).digest(), "big") % (ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def cose_key(label: str) -> CoseKey:
    """The public half."""
    return from_public_key(private_key(label).public_key())


def kid(label: str) -> bytes:
    """The key identifier."""
    return cose_key(label).kid()


def sign_with(label: str) -> Sign:
    """Sign with the key of a label; the same bytes give the same signature (RFC 6979)."""

    def sign(data: bytes) -> bytes:
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(private_key(label).sign(data, algorithm))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def signed(claims: Any, label: str, *, typ: str | None = None) -> bytes:
    """A statement over claims (a value, or bytes that are written as they stand), by the key of a label."""
    payload = claims if isinstance(claims, bytes) else cbor.encode(claims)
    return cose.sign1(payload, kid(label), sign_with(label), typ)


def changed(claims: dict[Any, Any], path: tuple[Any, ...], value: Any) -> dict[Any, Any]:
    """A copy of claims with another value at a path; `DROP` takes the entry out."""
    copy: Any = deepcopy(claims)
    spot = copy
    for step in path[:-1]:
        spot = spot[step]
    if value is DROP:
        del spot[path[-1]]
    else:
        spot[path[-1]] = value
    return copy


DROP = object()


def entry(label: str, use: str, scope: list[str], **changes: Any) -> dict[int, Any]:
    """One key of the trust list, as its claims say it."""
    times = {"from_s": NOW - YEAR, "until_s": NOW + YEAR, "verifies_s": NOW + 6 * YEAR, "state": 0} | changes
    key = times.get("key", cose_key(label).fields())
    return {
        1: times.get("kid", kid(label)),
        2: key,
        3: scope,
        4: use,
        5: times["from_s"],
        6: times["until_s"],
        7: times["verifies_s"],
        8: times["state"],
    }


LATER_KID = bytes.fromhex("a1a2a3a4a5a6a7a8")  # of an algorithm that is not ours: ML-DSA-65
ROOTS = ("root-1", "root-2", "root-3")
TRUST: dict[Any, Any] = {
    4: NOW + 20 * DAY,
    6: NOW - DAY,
    -65538: EPOCH,
    -65539: 7,
    -65547: {1: 2, 2: [cose_key(root).fields() for root in ROOTS]},
    -65548: [
        entry("card", "card", ["H49"]),
        entry("card-other-agency", "card", ["H49.01.03", "H4"]),
        entry("card-compromised", "card", ["H49"], state=2),
        entry("card-over", "card", ["H49"], from_s=NOW - 9 * YEAR, until_s=NOW - 5 * YEAR, verifies_s=NOW - DAY),
        entry("card-retired", "card", ["H49"], from_s=NOW - 2 * YEAR, until_s=NOW - 100 * DAY, state=1),
        entry("identity", "identity", ["H49"]),
        entry("qr", "qr", ["H49"]),
        entry("status", "status", ["G09"]),
        entry("status-2", "status", ["G09"]),
        entry("status-idle", "status", ["G09"]),
        entry("bundle", "bundle", ["H49"]),
        entry("bundle-g09", "bundle", ["G09"]),
        entry("new", "card", ["H49"], kid=LATER_KID, key={1: 7, 3: -49, -1: bytes(4)}),
    ],
    -65549: [],
    -65550: [{1: 1, 2: 1000, 3: kid("status")}, {1: 2, 2: 64, 3: kid("status-2")}],
    -65551: [[OTHER_UUID, cose_key("spared-card-9e").key_hash()]],
}


def trust_statement(claims: Any = None, roots: tuple[str, ...] = ROOTS[:2]) -> bytes:
    """A trust list signed by these root keys."""
    payload = claims if isinstance(claims, bytes) else cbor.encode(TRUST if claims is None else claims)
    return cose.sign_several(payload, [(kid(root), sign_with(root)) for root in roots])


def pinned_roots() -> trust.Roots:
    """What a door of this world is enrolled with."""
    return trust.Roots(2, tuple(cose_key(root) for root in ROOTS))


CARD: dict[Any, Any] = {
    1: AGENCY,
    4: NOW + 5 * YEAR,
    6: NOW - 10 * DAY,
    7: CARD_UUID,
    8: {1: cose_key("card-9e").fields()},
    65535: {"status_list": {"idx": 423, "uri": "urn:themo:status:1"}},
}
IDENTITY: dict[Any, Any] = {
    1: AGENCY,
    4: NOW + 5 * YEAR,
    6: NOW - 10 * DAY,
    7: CARD_UUID,
    -65537: {
        1: 1,
        2: "H49.01.02.001190012345.CC",
        3: "Đặng Thị Bình Yên",
        4: 19901130,
        5: 2,
        6: "001190012345",
        7: "H49.01.02",
        8: "Sở Nội vụ tỉnh Quảng Ninh",
        9: "",
        10: "Chuyên viên chính",
        11: "CC",
        12: hashlib.sha256(b"a made-up portrait").digest(),
        13: cose_key("card-9e").key_hash(),
    },
}
QR: dict[Any, Any] = {
    1: AGENCY,
    4: NOW + 5 * YEAR,
    -65545: [1, "Đặng Thị Bình Yên", 19901130, 2, 1190012345, "H49.01.02", "Chuyên viên chính", "CC", 1, 423],
}
