"""Vectors of the status feed (F6): the four messages, and an order of events that must hold."""

import zlib
from typing import Any

from world import DAY, DROP, EPOCH, NOW, changed, signed, trust_statement

TYPE = "application/statuslist+cwt"
CENTRE = "G09"
LIST = 65533
EPOCH_CLAIM, SEQ, ENTRIES, NONCE_CLAIM = -65538, -65539, -65540, -65546
NONCE = bytes(range(16))
PACKED = bytearray(250)
PACKED[0] = 0b11_10_01_00  # cards 0 to 3: valid, revoked, suspended, stolen

SNAPSHOT: dict[Any, Any] = {
    1: CENTRE,
    2: "urn:themo:status:1",
    4: NOW + DAY,
    6: NOW - 60,
    65534: 300,
    LIST: {"bits": 2, "lst": zlib.compress(bytes(PACKED), 9)},
    EPOCH_CLAIM: EPOCH,
    SEQ: 10,
}
EVENT: dict[Any, Any] = {1: CENTRE, 6: NOW - 30, EPOCH_CLAIM: EPOCH, SEQ: 11, ENTRIES: [[1, 423, 2], [1, 7, 1]]}
BEAT: dict[Any, Any] = {1: CENTRE, 6: NOW - 5, EPOCH_CLAIM: EPOCH, SEQ: 11}
FRESH: dict[Any, Any] = {**BEAT, NONCE_CLAIM: NONCE}


def build() -> dict[str, dict[str, Any]]:
    """The file of this module."""
    return {
        "status": {
            "source": "docs/formats.md F6; IETF draft-ietf-oauth-status-list §4, §5.2",
            "now": NOW,
            "trust": trust_statement().hex(),
            "nonce": NONCE.hex(),
            "packed": {  # the draft's example of 2 bits (§4.1): C9 44 F9
                "raw": "c944f9",
                "statuses": [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3],
            },
            "good": [
                _good("snapshot", signed(SNAPSHOT, "status", typ=TYPE)),
                _good("event", signed(EVENT, "status")),
                _good("event", signed(changed(EVENT, (ENTRIES,), [[2, 63, 3]]), "status-2")),
                _good("heartbeat", signed(BEAT, "status")),
                _good("fresh", signed(FRESH, "status-2")),
                _good("fresh", signed(changed(FRESH, (6,), NOW + 3 * DAY), "status")),  # a door whose clock is lost
            ],
            "bad": [*_malformed_snapshots(), *_malformed(), *_judged()],
        }
    }


def _good(kind: str, raw: bytes) -> dict[str, Any]:
    return {"name": kind, "kind": kind, "raw": raw.hex()}


def _row(refusal: str, kind: str, name: str, raw: bytes, why: str = "", **more: Any) -> dict[str, Any]:
    return {
        "name": f"{refusal}: {kind}, {name}",
        "refusal": refusal,
        "kind": kind,
        "raw": raw.hex(),
        "why": why,
        **more,
    }


def _malformed_snapshots() -> list[dict[str, Any]]:
    packed = zlib.compress(bytes(PACKED), 9)
    cases: list[tuple[str, tuple[Any, ...], Any, str]] = [
        *((f"no claim {key}", (key,), DROP, "missing") for key in SNAPSHOT),
        ("unknown claim", (5,), 1, "unknown key"),
        ("1 bit a card", (LIST, "bits"), 1, "2 bits"),
        ("bits true", (LIST, "bits"), True, "2 bits"),
        ("aggregation beside the list", (LIST, "aggregation_uri"), "x", "bits and lst"),
        ("list as text", (LIST, "lst"), "", "bits and lst"),
        ("list not compressed", (LIST, "lst"), bytes(PACKED), "zlib"),
        ("list cut", (LIST, "lst"), packed[:-1], "cut short"),
        ("list with wrong checksum", (LIST, "lst"), packed[:-1] + bytes((packed[-1] ^ 1,)), "zlib"),
        ("bytes behind the list", (LIST, "lst"), packed + b"\x00", "more follows"),
        ("bomb of 4 MB", (LIST, "lst"), zlib.compress(bytes(4 << 20), 9), "larger than any list"),
        ("of another feed", (2,), "https://example.org/1", "urn:themo"),
        ("expires before it is issued", (4,), NOW - DAY, "expires before"),
    ]
    rows = [
        _row("malformed", "snapshot", name, signed(changed(SNAPSHOT, path, value), "status", typ=TYPE), why)
        for name, path, value, why in cases
    ]
    return [
        *rows,
        _row("malformed", "snapshot", "no type header", signed(SNAPSHOT, "status"), "type header"),
        _row("malformed", "snapshot", "of another type", signed(SNAPSHOT, "status", typ="application/cwt"), "type"),
    ]


def _malformed() -> list[dict[str, Any]]:
    cases: list[tuple[str, dict[Any, Any], str, tuple[Any, ...], Any, str]] = [
        *(("event", EVENT, f"no claim {key}", (key,), DROP, "missing") for key in EVENT),
        *(("heartbeat", BEAT, f"no claim {key}", (key,), DROP, "missing") for key in BEAT),
        *(("fresh", FRESH, f"no claim {key}", (key,), DROP, "missing") for key in FRESH),
        ("event", EVENT, "no entries", (ENTRIES,), [], "1 to"),
        ("event", EVENT, "entry of two", (ENTRIES, 0), [1, 423], "3"),
        ("event", EVENT, "status 4", (ENTRIES, 0, 2), 4, "status"),
        ("event", EVENT, "idx beyond any list", (ENTRIES, 0, 1), 1 << 22, "status index"),
        ("event", EVENT, "list 65536", (ENTRIES, 0, 0), 65536, "list number"),
        ("event", EVENT, "one card twice", (ENTRIES, 1), [1, 423, 1], "twice"),
        ("event", EVENT, "seq 0", (SEQ,), 0, "seq 0"),
        ("event", EVENT, "a nonce", (NONCE_CLAIM,), NONCE, "unknown key"),
        ("heartbeat", BEAT, "entries", (ENTRIES,), [[1, 1, 1]], "unknown key"),
        ("heartbeat", BEAT, "seq as text", (SEQ,), "11", "seq"),
        ("fresh", FRESH, "nonce of 15 bytes", (NONCE_CLAIM,), NONCE[:15], "16 bytes"),
    ]
    rows = [
        _row("malformed", kind, name, signed(changed(claims, path, value), "status"), why)
        for kind, claims, name, path, value, why in cases
    ]
    return [
        *rows,
        _row("malformed", "event", "type header", signed(EVENT, "status", typ=TYPE), "type header"),
        _row("malformed", "heartbeat", "an event in its place", signed(EVENT, "status"), "unknown key"),
        _row("malformed", "event", "a heartbeat in its place", signed(BEAT, "status"), "missing"),
        _row("malformed", "fresh", "a heartbeat in its place", signed(BEAT, "status"), "missing"),
    ]


def _judged() -> list[dict[str, Any]]:
    event = signed(EVENT, "status")
    mixed = changed(EVENT, (ENTRIES,), [[1, 1, 2], [2, 1, 2]])
    return [
        _row("forged-statement", "event", "a flipped bit", event[:-1] + bytes((event[-1] ^ 1,))),
        _row("unknown-signer", "heartbeat", "by a stranger", signed(BEAT, "stranger")),
        _row("wrong-list-signer", "heartbeat", "by a card key", signed(BEAT, "card")),
        _row("wrong-list-signer", "event", "by the key of another list", signed(EVENT, "status-2")),
        _row("wrong-list-signer", "event", "by the key of one of its two lists", signed(mixed, "status")),
        _row("wrong-list-signer", "snapshot", "by another list's key", signed(SNAPSHOT, "status-2", typ=TYPE)),
        _row("wrong-list-signer", "fresh", "by a status key without a list", signed(FRESH, "status-idle")),
        _row("unknown-list", "event", "list 3", signed(changed(EVENT, (ENTRIES, 0, 0), 3), "status")),
        _row(
            "unknown-list",
            "snapshot",
            "list 3",
            signed(changed(SNAPSHOT, (2,), "urn:themo:status:3"), "status", typ=TYPE),
        ),
        _row("wrong-epoch", "event", "epoch 2", signed(changed(EVENT, (EPOCH_CLAIM,), 2), "status")),
        _row("wrong-epoch", "heartbeat", "epoch 0", signed(changed(BEAT, (EPOCH_CLAIM,), 0), "status")),
        _row("out-of-scope", "event", "in the name of another agency", signed(changed(EVENT, (1,), "H49"), "status")),
        _row("expired", "snapshot", "on its last second", signed(changed(SNAPSHOT, (4,), NOW), "status", typ=TYPE)),
        _row("trust-expired", "heartbeat", "a list of last month", signed(BEAT, "status"), now=NOW + 20 * DAY),
    ]
