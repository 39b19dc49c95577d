"""Vectors of what a door signs and writes: its log (F9) and its receipts (F13)."""

import hashlib
from typing import Any

from world import CARD_UUID, DOOR_UUID, DROP, EPOCH, NOW, OTHER_UUID, changed, cose_key, signed

from cardlink.statements import cbor

RECORD = -65552
START: dict[Any, Any] = {
    RECORD: {
        1: DOOR_UUID,
        2: 1,
        3: 1,
        4: bytes(32),
        5: NOW * 1000,
        6: 12,
        7: 1,
        8: None,
        9: 0,
        10: "start",
        11: None,
        12: None,
        13: 3,
        14: [EPOCH, 11],
        15: 0,
    }
}
TAP: dict[Any, Any] = {
    RECORD: {
        1: DOOR_UUID,
        2: 1,
        3: 2,
        4: bytes(32),
        5: NOW * 1000 + 4321,
        6: 4333,
        7: 2,
        8: CARD_UUID,
        9: 1,
        10: "tap",
        11: 1,
        12: None,
        13: 3,
        14: [EPOCH, 11],
        15: 84_000,
    }
}
REFUSED = changed(changed(TAP, (RECORD, 11), 0), (RECORD, 12), "bad-signature")
HEAD: dict[Any, Any] = {2: DOOR_UUID, 6: NOW + 10, RECORD: {2: 1, 3: 3, 4: bytes(32)}}
RECEIPT: dict[Any, Any] = {2: DOOR_UUID, 6: NOW, -65538: EPOCH, -65539: 11}


def build() -> dict[str, dict[str, Any]]:
    """The files of this module."""
    return {"record": _records(), "receipt": _receipts()}


def _chain(*records: dict[Any, Any], previous: bytes = bytes(32)) -> list[bytes]:
    chained = []
    for record in records:
        raw = cbor.encode(changed(record, (RECORD, 4), previous))
        chained.append(raw)
        previous = hashlib.sha256(raw).digest()
    return chained


def _records() -> dict[str, Any]:
    third = changed(REFUSED, (RECORD, 3), 3)
    restart = changed(START, (RECORD, 2), 2)
    chain = _chain(START, TAP, third, restart)
    other_door = changed(third, (RECORD, 1), OTHER_UUID)
    cases: list[tuple[str, tuple[Any, ...], Any, str]] = [
        *((f"no field {key}", (RECORD, key), DROP, "missing") for key in range(1, 16)),
        ("unknown field", (RECORD, 16), 1, "unknown key"),
        ("a claim beside", (1,), "H49", "unknown key"),
        ("seq 0", (RECORD, 3), 0, "counts from 1"),
        ("hash of 31 bytes", (RECORD, 4), bytes(31), "32 bytes"),
        ("clock quality 3", (RECORD, 7), 3, "clock"),
        ("card as text", (RECORD, 8), "card", "16 bytes"),
        ("mechanism 7", (RECORD, 9), 7, "mechanism"),
        ("kind with a space", (RECORD, 10), "held open", "word"),
        ("decision 2", (RECORD, 11), 2, "decision"),
        ("decision true", (RECORD, 11), True, "decision"),
        ("reason in capitals", (RECORD, 12), "BAD", "word"),
        ("status place of one", (RECORD, 14), [1], "2"),
        ("negative elapsed", (RECORD, 15), -1, "elapsed"),
    ]
    head = changed(HEAD, (RECORD, 4), hashlib.sha256(chain[2]).digest())
    return {
        "source": "docs/formats.md F9",
        "door": DOOR_UUID.hex(),
        "key": cose_key("door").encode().hex(),
        "good": [{"name": f"record {place}", "raw": raw.hex()} for place, raw in enumerate(chain)],
        "bad": [
            {"name": f"malformed: {name}", "raw": cbor.encode(changed(TAP, path, value)).hex(), "why": why}
            for name, path, value, why in cases
        ],
        "chain": [raw.hex() for raw in chain],
        "bad_chains": [
            _bad_chain("gap", "the first is missing", chain[1:]),
            _bad_chain("gap", "one in the middle is missing", [chain[0], *chain[2:]]),
            _bad_chain("gap", "two swapped", [chain[0], chain[2], chain[1]]),
            _bad_chain("gap", "one twice", [chain[0], chain[0]]),
            _bad_chain("gap", "a boot that does not begin at 1", _chain(START, changed(TAP, (RECORD, 2), 2))),
            _bad_chain("gap", "an earlier boot", _chain(restart, START)),
            _bad_chain("broken-chain", "one altered", [chain[0], *_chain(REFUSED, previous=_hash(chain[0])), chain[2]]),
            _bad_chain("broken-chain", "begins with another hash", _chain(START, previous=b"\x01" * 32)),
            _bad_chain("broken-chain", "a boot cut off the one before", [chain[0], *_chain(restart)]),
            _bad_chain(
                "wrong-door", "a record of another door", [*chain[:2], *_chain(other_door, previous=_hash(chain[1]))]
            ),
        ],
        "good_heads": [{"name": "a head at record 1.3", "raw": signed(head, "door").hex()}],
        "bad_heads": [
            _bad_head("malformed", "no hash", changed(head, (RECORD, 4), DROP), "missing"),
            _bad_head("malformed", "seq 0", changed(head, (RECORD, 3), 0), "counts from 1"),
            _bad_head("malformed", "an agency", {**head, 1: "H49"}, "unknown key"),
            _bad_head("wrong-door", "of another door", changed(head, (2,), OTHER_UUID)),
            _bad_head("unknown-signer", "by another key", head, label="clone"),
            {
                "name": "forged-statement: altered",
                "refusal": "forged-statement",
                "raw": _flip(signed(head, "door")).hex(),
            },
        ],
    }


def _bad_chain(refusal: str, name: str, records: list[bytes]) -> dict[str, Any]:
    return {"name": f"{refusal}: {name}", "refusal": refusal, "records": [raw.hex() for raw in records]}


def _bad_head(refusal: str, name: str, claims: dict[Any, Any], why: str = "", label: str = "door") -> dict[str, Any]:
    return {"name": f"{refusal}: {name}", "refusal": refusal, "raw": signed(claims, label).hex(), "why": why}


def _receipts() -> dict[str, Any]:
    whole = signed(RECEIPT, "door")
    return {
        "source": "docs/formats.md F13",
        "door": DOOR_UUID.hex(),
        "key": cose_key("door").encode().hex(),
        "good": [{"name": "a receipt", "raw": whole.hex()}],
        "bad": [
            *(_bad_head("malformed", f"no claim {key}", changed(RECEIPT, (key,), DROP), "missing") for key in RECEIPT),
            _bad_head("malformed", "an agency", {**RECEIPT, 1: "H49"}, "unknown key"),
            _bad_head("malformed", "door of 15 bytes", changed(RECEIPT, (2,), DOOR_UUID[:15]), "16 bytes"),
            _bad_head("malformed", "a head in its place", HEAD, "too deep"),
            _bad_head("wrong-door", "of another door", changed(RECEIPT, (2,), OTHER_UUID)),
            _bad_head("unknown-signer", "by another key", RECEIPT, label="clone"),
            {"name": "forged-statement: altered", "refusal": "forged-statement", "raw": _flip(whole).hex()},
        ],
    }


def _flip(raw: bytes) -> bytes:
    return raw[:-1] + bytes((raw[-1] ^ 1,))


def _hash(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
