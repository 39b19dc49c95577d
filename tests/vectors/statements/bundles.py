"""Vectors of the door bundle (F7)."""

from typing import Any

from world import (
    CARD_UUID,
    DAY,
    DOOR_UUID,
    DROP,
    EPOCH,
    NOW,
    OTHER_UUID,
    changed,
    cose_key,
    signed,
    trust_statement,
)

SETTINGS, RULES, CALENDARS, HOLDERS, EPOCH_CLAIM, SEQ = -65541, -65542, -65543, -65544, -65538, -65539
OFFICE = [[450, 690], [780, 1020]]
BUNDLE: dict[Any, Any] = {
    1: "H49.01",
    2: DOOR_UUID,
    4: NOW + 7 * DAY,
    5: NOW - 60,
    6: NOW - 60,
    EPOCH_CLAIM: EPOCH,
    SEQ: 3,
    SETTINGS: {1: 1, 2: [1, 3], 3: 5000, 4: 1500, 5: 120, 6: 259_200, 7: 0, 8: "Asia/Ho_Chi_Minh"},
    RULES: [
        {1: 1, 2: 1, 3: {1: [0]}, 4: 1, 5: NOW - DAY, 6: NOW + 30 * DAY, 7: [1]},
        {1: 2, 2: 1, 3: {2: ["G09"]}, 4: 2},
        {1: 3, 2: 0, 3: {1: [1]}, 4: 2},
    ],
    CALENDARS: {
        1: {1: [OFFICE] * 5 + [[], []], 2: {20260902: []}},
        2: {1: [[[0, 1440]]] * 7},
    },
    HOLDERS: [
        [[CARD_UUID, cose_key("card-9e").key_hash()]],
        [[OTHER_UUID, cose_key("spared-card-9e").key_hash()]],
    ],
}


def build() -> dict[str, dict[str, Any]]:
    """The file of this module."""
    closed = {**BUNDLE, RULES: [], CALENDARS: {}}
    return {
        "bundle": {
            "source": "docs/formats.md F7",
            "now": NOW,
            "trust": trust_statement().hex(),
            "owner": "H49.01",
            "door": DOOR_UUID.hex(),
            "held": signed(BUNDLE, "bundle").hex(),
            "good": [
                {"name": "the bundle held, again", "raw": signed(BUNDLE, "bundle").hex()},
                {"name": "the next", "raw": signed(changed(BUNDLE, (SEQ,), 4), "bundle").hex()},
                {"name": "without rules", "raw": signed(changed(closed, (SEQ,), 4), "bundle").hex()},
            ],
            "bad": [*_malformed(), *_judged()],
        }
    }


def _row(refusal: str, name: str, raw: bytes, why: str = "") -> dict[str, Any]:
    return {"name": f"{refusal}: {name}", "refusal": refusal, "raw": raw.hex(), "why": why}


def _malformed() -> list[dict[str, Any]]:
    card = [CARD_UUID, cose_key("card-9e").key_hash()]
    cases: list[tuple[str, tuple[Any, ...], Any, str]] = [
        *((f"no claim {key}", (key,), DROP, "missing") for key in BUNDLE),
        *((f"no setting {key}", (SETTINGS, key), DROP, "missing") for key in range(1, 9)),
        ("unknown claim", (7,), bytes(16), "unknown key"),
        ("area level 3", (SETTINGS, 1), 3, "area level"),
        ("no mechanism", (SETTINGS, 2), [], "mechanisms"),
        ("mechanism 0", (SETTINGS, 2), [0], "mechanisms"),
        ("mechanism 7", (SETTINGS, 2), [7], "mechanism"),
        ("mechanism twice", (SETTINGS, 2), [1, 1], "mechanisms"),
        ("unlock for an hour", (SETTINGS, 3), 3_600_000, "unlock"),
        ("anti-passback 4", (SETTINGS, 7), 4, "anti-passback"),
        ("no time zone", (SETTINGS, 8), "", "time zone"),
        ("rule id twice", (RULES, 1, 1), 1, "twice"),
        ("rule effect 2", (RULES, 0, 2), 2, "effect"),
        ("rule for nobody", (RULES, 0, 3), {}, "nobody"),
        ("rule with no holders", (RULES, 0, 3), {1: []}, "rule holders"),
        ("rule with no agencies", (RULES, 0, 3), {2: []}, "rule agencies"),
        ("rule for a holder that is not there", (RULES, 0, 3, 1), [2], "beyond"),
        ("rule for an agency in small letters", (RULES, 1, 3, 2), ["g09"], "agency"),
        ("rule in no calendar", (RULES, 0, 4), 9, "no calendar"),
        ("rule ends before it begins", (RULES, 0, 6), NOW - DAY, "ends before"),
        ("rule with no demands", (RULES, 0, 7), [], "demands"),
        ("rule with an unknown field", (RULES, 0, 8), 1, "unknown key"),
        ("week of six days", (CALENDARS, 1, 1), [OFFICE] * 6, "7"),
        ("range backwards", (CALENDARS, 1, 1, 0), [[690, 450]], "rising"),
        ("ranges overlap", (CALENDARS, 1, 1, 0), [[450, 690], [600, 700]], "rising"),
        ("ranges out of order", (CALENDARS, 1, 1, 0), [[780, 1020], [450, 690]], "rising"),
        ("empty range", (CALENDARS, 1, 1, 0), [[450, 450]], "rising"),
        ("minute 1441", (CALENDARS, 1, 1, 0), [[0, 1441]], "minute"),
        ("date that does not exist", (CALENDARS, 1, 2), {20260931: []}, "no such day"),
        ("no dates", (CALENDARS, 1, 2), {}, "dates"),
        ("calendar named by text", (CALENDARS,), {"1": {}}, "calendar number"),
        ("holder without cards", (HOLDERS, 0), [], "holder"),
        ("card without key-hash", (HOLDERS, 0, 0), [CARD_UUID], "2"),
        ("one card of two holders", (HOLDERS, 1, 0), card, "twice"),
        ("expires before it begins", (4,), NOW - 60, "expires before"),
    ]
    rows = [
        _row("malformed", name, signed(changed(BUNDLE, path, value), "bundle"), why) for name, path, value, why in cases
    ]
    return [*rows, _row("malformed", "type header", signed(BUNDLE, "bundle", typ="x"), "type header")]


def _judged() -> list[dict[str, Any]]:
    following = changed(BUNDLE, (SEQ,), 4)
    whole = signed(following, "bundle")
    return [
        _row("wrong-owner", "of an agency beside", signed(changed(following, (1,), "H49.02"), "bundle")),
        _row("wrong-owner", "of the owner's parent", signed(changed(following, (1,), "H49"), "bundle")),
        _row("wrong-door", "for another door", signed(changed(following, (2,), OTHER_UUID), "bundle")),
        _row("out-of-scope", "signed by another ministry", signed(following, "bundle-g09")),
        _row("wrong-use", "by a card key", signed(following, "card")),
        _row("unknown-signer", "by a stranger", signed(following, "stranger")),
        _row("forged-statement", "a flipped bit", whole[:-1] + bytes((whole[-1] ^ 1,))),
        _row("not-yet-valid", "from tomorrow", signed(changed(following, (5,), NOW + DAY), "bundle")),
        _row("expired", "yesterday", signed({**following, 4: NOW - DAY, 5: NOW - 2 * DAY}, "bundle")),
        _row("older", "number 2 after 3", signed(changed(BUNDLE, (SEQ,), 2), "bundle")),
        _row("older", "an earlier epoch", signed(changed(following, (EPOCH_CLAIM,), 0), "bundle")),
        _row("forked", "another number 3", signed(changed(BUNDLE, (SETTINGS, 3), 4000), "bundle")),
    ]
