"""Vectors of the trust list (F8)."""

from copy import deepcopy
from typing import Any

from world import (
    DAY,
    DROP,
    NOW,
    ROOTS,
    TRUST,
    YEAR,
    changed,
    cose_key,
    entry,
    kid,
    sign_with,
    trust_statement,
)

from cardlink.statements import cbor, cose
from cardlink.statements.akp_key import AkpKey

NUMBER, EPOCH, PINNED, KEYS, ANCHORS, LISTS, ALLOWED = -65539, -65538, -65547, -65548, -65549, -65550, -65551


def build() -> dict[str, dict[str, Any]]:
    """The file of this module."""
    held = trust_statement()
    return {
        "trust": {
            "source": "docs/formats.md F8",
            "now": NOW,
            "threshold": 2,
            "roots": [cose_key(root).encode().hex() for root in ROOTS],
            "held": held.hex(),
            "good": _good(),
            "bad": [*_malformed(), *_judged()],
        }
    }


def _rotated() -> dict[Any, Any]:
    """List 8, with root-3 replaced by root-4."""
    claims = changed(TRUST, (NUMBER,), 8)
    claims[PINNED][2][2] = cose_key("root-4").fields()
    return claims


def _next() -> dict[Any, Any]:
    return changed(TRUST, (NUMBER,), 8)


def _good() -> list[dict[str, Any]]:
    junk = cose.sign_several(
        cbor.encode(_next()),
        [(kid("root-1"), sign_with("root-1")), (kid("root-3"), sign_with("root-3")), (kid("clone"), sign_with("card"))],
    )
    skipping = changed(TRUST, (NUMBER,), 40)
    return [
        {"name": "the list held, again", "raw": trust_statement().hex()},
        {"name": "the same by three roots", "raw": trust_statement(roots=ROOTS).hex()},
        {"name": "the next list", "raw": trust_statement(_next()).hex()},
        {"name": "a later list, others skipped", "raw": trust_statement(skipping).hex()},
        {"name": "a root replaced, signed by both thresholds", "raw": trust_statement(_rotated()).hex()},
        {"name": "a signature in an unknown name does no harm", "raw": junk.hex()},
        {"name": "a later epoch", "raw": trust_statement(changed(_next(), (EPOCH,), 2)).hex()},
    ]


def _row(refusal: str, name: str, raw: bytes, why: str = "") -> dict[str, Any]:
    return {"name": f"{refusal}: {name}", "refusal": refusal, "raw": raw.hex(), "why": why}


def _malformed() -> list[dict[str, Any]]:
    twice = [*deepcopy(TRUST[KEYS]), TRUST[KEYS][0]]
    wrong_kid = entry("card", "card", ["H49"], kid=bytes(8))
    akp = AkpKey(bytes(1312))
    akp_short = entry("new", "identity", ["H49"], kid=akp.kid(), key={1: 7, 3: -48, -1: bytes(1311)})
    akp_more = entry("new", "identity", ["H49"], kid=akp.kid(), key={**akp.fields(), -2: bytes(32)})
    akp_named = entry("new", "identity", ["H49"], kid=bytes(8), key=akp.fields())
    no_point = entry("card", "card", ["H49"], key={1: 2, -1: 1, -2: bytes(32), -3: False, 9: 9})
    cases: list[tuple[str, tuple[Any, ...], Any, str]] = [
        *((f"no claim {key}", (key,), DROP, "missing") for key in (4, 6, EPOCH, NUMBER, PINNED, KEYS, ANCHORS, LISTS)),
        ("unknown claim", (1,), "H49", "unknown key"),
        ("a life of 31 days", (4,), NOW + 30 * DAY, "30 days"),
        ("expires before it is issued", (4,), NOW - 2 * DAY, "30 days"),
        ("threshold 0", (PINNED, 1), 0, "threshold"),
        ("threshold above the roots", (PINNED, 1), 4, "threshold"),
        ("no roots", (PINNED, 2), [], "root keys"),
        ("a root twice", (PINNED, 2, 1), cose_key("root-1").fields(), "twice"),
        ("a root off the curve", (PINNED, 2, 0, -2), bytes(31) + b"\x01", "not on P-256"),
        ("one kid twice", (KEYS,), twice, "twice"),
        ("kid of another key", (KEYS, 0), wrong_kid, "thumbprint"),
        ("P-256 key with a field more", (KEYS, 0), no_point, "unknown key"),
        ("ML-DSA-44 key too short", (KEYS, 5), akp_short, "1312 bytes"),
        ("ML-DSA-44 key with its secret", (KEYS, 5), akp_more, "unknown key"),
        ("kid of another ML-DSA-44 key", (KEYS, 5), akp_named, "thumbprint"),
        ("key without scope", (KEYS, 0, 3), [], "scope"),
        ("one prefix twice", (KEYS, 0, 3), ["H49", "H49"], "twice"),
        ("unknown use", (KEYS, 0, 4), "door-opener", "unknown use"),
        ("signs until before from", (KEYS, 0, 6), NOW - YEAR, "signs from"),
        ("verifies shorter than it signs", (KEYS, 0, 7), NOW, "signs from"),
        ("state 3", (KEYS, 0, 8), 3, "state"),
        ("anchor empty", (ANCHORS,), [{1: b"", 2: ["H49"], 3: "own"}], "certificate"),
        ("anchor of an unknown profile", (ANCHORS,), [{1: b"x", 2: ["H49"], 3: "free"}], "profile"),
        ("a list twice", (LISTS, 1, 1), 1, "twice"),
        ("a list of length 0", (LISTS, 0, 2), 0, "length 0"),
        ("a list too long", (LISTS, 0, 2), (1 << 22) + 1, "length"),
        ("list signer of another use", (LISTS, 0, 3), kid("card"), "use status"),
        ("list signer unknown", (LISTS, 0, 3), bytes(8), "use status"),
        ("allow-list entry of one", (ALLOWED, 0), [bytes(16)], "allow-list"),
    ]
    return [
        *(
            _row("malformed", name, trust_statement(changed(TRUST, path, value)), why)
            for name, path, value, why in cases
        ),
        _row("malformed", "trailing byte", trust_statement() + b"\x00", "trailing"),
        _row("malformed", "claims out of order", trust_statement(_unsorted()), "out of order"),
    ]


def _unsorted() -> bytes:
    payload = cbor.encode(TRUST)
    return payload[:1] + payload[7:13] + payload[1:7] + payload[13:]


def _judged() -> list[dict[str, Any]]:
    whole = trust_statement(_next())
    swapped = changed(TRUST, (NUMBER,), 8)
    swapped[PINNED] = {1: 1, 2: [cose_key("root-4").fields()]}
    older = changed(TRUST, (NUMBER,), 6)
    return [
        _row("threshold-not-met", "one of two roots", trust_statement(_next(), ROOTS[:1])),
        _row("threshold-not-met", "by strangers", trust_statement(_next(), ("clone", "stranger"))),
        _row("threshold-not-met", "new roots in their own name only", trust_statement(swapped, ("root-4",))),
        _row("threshold-not-met", "a root replaced without its signature", trust_statement(_lowered(), ROOTS[:2])),
        _row("forged-statement", "a flipped bit", whole[:-1] + bytes((whole[-1] ^ 1,))),
        _row("forged-statement", "one good, one forged", _one_forged()),
        _row("older", "number 6 after 7", trust_statement(older)),
        _row("older", "an earlier epoch", trust_statement(changed(_next(), (EPOCH,), 0))),
        _row("forked", "another number 7", trust_statement(changed(TRUST, (4,), NOW + 21 * DAY))),
        _row("not-yet-valid", "issued 301 s from now", trust_statement(changed(_next(), (6,), NOW + 301))),
        _row("expired", "on its last second", trust_statement(changed(_next(), (4,), NOW))),
    ]


def _lowered() -> dict[Any, Any]:
    """List 8, whose own threshold is two others."""
    claims = changed(TRUST, (NUMBER,), 8)
    claims[PINNED] = {1: 2, 2: [cose_key("root-4").fields(), cose_key("root-5").fields()]}
    return claims


def _one_forged() -> bytes:
    signers = [(kid("root-1"), sign_with("root-1")), (kid("root-2"), sign_with("clone"))]
    return cose.sign_several(cbor.encode(_next()), signers)
