"""Vectors of the card credential (F3): for each rule one that breaks it, named after the refusal."""

from typing import Any

from world import (
    CARD,
    CARD_UUID,
    DAY,
    DROP,
    LATER_KID,
    NOW,
    OTHER_UUID,
    YEAR,
    changed,
    cose_key,
    sign_with,
    signed,
    trust_statement,
)

from cardlink.statements import cbor, cose

STATUS = (65535, "status_list")
KEY = (8, 1)


def build() -> dict[str, dict[str, Any]]:
    """The file of this module."""
    return {
        "card": {
            "source": "docs/formats.md F2, F3",
            "now": NOW,
            "trust": trust_statement().hex(),
            "good": _good(),
            "bad": _malformed() + _judged(),
        }
    }


def _good() -> list[dict[str, Any]]:
    spared = changed(changed(CARD, (7,), OTHER_UUID), KEY, cose_key("spared-card-9e").fields())
    before = changed(CARD, (6,), NOW - 200 * DAY)
    return [
        {"name": "a card of an agency below the signer's scope", "raw": signed(CARD, "card").hex()},
        {"name": "on the allow-list of a compromised signer", "raw": signed(spared, "card-compromised").hex()},
        {"name": "signed by a retired key while it signed", "raw": signed(before, "card-retired").hex()},
        {"name": "last index of list 1", "raw": signed(changed(CARD, (*STATUS, "idx"), 999), "card").hex()},
    ]


def _row(refusal: str, name: str, raw: bytes, why: str = "", **more: Any) -> dict[str, Any]:
    return {"name": f"{refusal}: {name}", "refusal": refusal, "raw": raw.hex(), "why": why, **more}


def _malformed() -> list[dict[str, Any]]:
    whole, long_name = signed(CARD, "card"), "H49." + "1" * 31
    cases: list[tuple[str, tuple[Any, ...], Any, str]] = [
        *((f"no {name}", (key,), DROP, "missing") for key, name in _NAMES.items()),
        ("unknown claim", (9,), 1, "unknown key"),
        ("a text claim", ("name",), "Đặng", "unknown key"),
        ("agency in small letters", (1,), "h49", "agency code"),
        ("agency with a level of 12 digits", (1,), "H49.001190012345", "12 digits"),
        ("agency as bytes", (1,), b"H49", "agency code"),
        ("exp as text", (4,), "tomorrow", "exp"),
        ("exp negative", (4,), -1, "exp"),
        ("exp in the year 10000", (4,), 253_402_300_800, "exp"),
        ("exp true", (4,), True, "exp"),
        ("iat null", (6,), None, "iat"),
        ("expires when it is issued", (4,), NOW - 10 * DAY, "expires before"),
        ("UUID of 15 bytes", (7,), CARD_UUID[:15], "16 bytes"),
        ("UUID as text", (7,), str(CARD_UUID.hex()), "16 bytes"),
        ("UUID of version 1", (7,), CARD_UUID[:6] + b"\x1c" + CARD_UUID[7:], "version 4"),
        ("UUID of another variant", (7,), CARD_UUID[:8] + b"\xca" + CARD_UUID[9:], "version 4"),
        ("cnf by kid", (8,), {3: b"12345678"}, "missing"),
        ("cnf with two methods", (8, 3), b"12345678", "unknown key"),
        ("key on P-384", (*KEY, -1), 2, "P-256"),
        ("key uncompressed", (*KEY, -3), bytes(32), "true or false"),
        ("key x short", (*KEY, -2), bytes(31), "32 bytes"),
        ("status without idx", (*STATUS, "idx"), DROP, "idx and uri"),
        ("status idx negative", (*STATUS, "idx"), -1, "status index"),
        ("status idx beyond any list", (*STATUS, "idx"), 1 << 22, "status index"),
        ("status of another feed", (*STATUS, "uri"), "https://example.org/1", "urn:themo"),
        ("status list 01", (*STATUS, "uri"), "urn:themo:status:01", "urn:themo"),
        ("status list 65536", (*STATUS, "uri"), "urn:themo:status:65536", "urn:themo"),
        ("status list in other digits", (*STATUS, "uri"), "urn:themo:status:１", "urn:themo"),
        ("status with a second entry", (65535, "other"), 1, "status_list alone"),
    ]
    rows = [
        _row("malformed-credential", name, signed(changed(CARD, path, value), "card"), why)
        for name, path, value, why in cases
    ]
    payload = cbor.encode(CARD)
    swapped = b"\xa6" + payload[1 + 11 : 1 + 11 + 6] + payload[1 : 1 + 11] + payload[1 + 17 :]
    shapes = [
        ("claims out of order", signed(swapped, "card"), "out of order"),
        ("repeated claim", signed(b"\xa7" + payload[1:12] * 2 + payload[12:], "card"), "repeated key"),
        ("long number", signed(payload.replace(b"\x19\x01\xa7", b"\x1a\x00\x00\x01\xa7"), "card"), "shortest"),
        ("indefinite claims", signed(b"\xbf" + payload[1:] + b"\xff", "card"), "indefinite"),
        ("trailing byte in claims", signed(payload + b"\x00", "card"), "trailing"),
        ("trailing byte", whole + b"\x00", "trailing"),
        ("type header", signed(CARD, "card", typ="application/cwt"), "type header"),
        ("253 bytes", _of_size(253), "too long"),
        ("cut", whole[:-1], "truncated"),
        ("empty", b"", "tag 18"),
        ("an array of claims", signed([CARD], "card"), "want a map"),
        (
            "point not on the curve",
            signed(changed(CARD, (*KEY, -2), bytes(31) + b"\x01"), "card"),
            "not on P-256",
        ),
        ("agency of 36 characters", signed(changed(CARD, (1,), long_name + "1"), "card"), "agency code"),
    ]
    return rows + [_row("malformed-credential", name, raw, why) for name, raw, why in shapes]


def _of_size(size: int) -> bytes:
    """A credential padded through its agency and status list name to an exact size (not a readable one)."""
    raw = signed(CARD, "card")
    return signed(changed(CARD, (*STATUS, "uri"), "urn:themo:status:1" + "0" * (size - len(raw) - 1)), "card")


def _judged() -> list[dict[str, Any]]:
    whole = signed(CARD, "card")
    protected, signature = cose.parse_sign1(whole, max_bytes=252).protected, whole[-64:]

    def under_old_signature(claims: dict[Any, Any]) -> bytes:
        return cose.sign1(cbor.encode(claims), protected[5:], lambda _: signature)

    order = bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
    self_signed = signed(CARD, "card-9e")
    future = changed(CARD, (6,), NOW + 301)
    return [
        _row("forged-statement", "a flipped signature bit", whole[:-1] + bytes((whole[-1] ^ 1,))),
        _row("forged-statement", "idx altered", under_old_signature(changed(CARD, (*STATUS, "idx"), 424))),
        _row("forged-statement", "exp altered", under_old_signature(changed(CARD, (4,), NOW + 9 * YEAR))),
        _row("forged-statement", "agency altered", under_old_signature(changed(CARD, (1,), "H49.01.03"))),
        _row("forged-statement", "key altered", under_old_signature(changed(CARD, KEY, cose_key("clone").fields()))),
        _row("forged-statement", "r = 0", whole[:-64] + bytes(32) + signature[32:]),
        _row("forged-statement", "s = 0", whole[:-32] + bytes(32)),
        _row("forged-statement", "r = n", whole[:-64] + order + signature[32:]),
        _row("forged-statement", "s = n", whole[:-32] + order),
        _row("forged-statement", "signed by another key under this kid", _in_name_of("card", "clone")),
        _row("unknown-signer", "a key that no list knows", signed(CARD, "stranger")),
        _row("self-signed", "by the card's own key", self_signed),
        _row("wrong-use", "by an identity key", signed(CARD, "identity")),
        _row("wrong-use", "by a status key", signed(CARD, "status")),
        _row("out-of-scope", "signer of the agency beside", signed(CARD, "card-other-agency")),
        _row("out-of-scope", "agency above the scope", signed(changed(CARD, (1,), "G09"), "card")),
        _row("out-of-scope", "H4 is no prefix of H49", signed(changed(CARD, (1,), "H49"), "card-other-agency")),
        _row("unsupported-algorithm", "a key of a later algorithm", _under_kid(LATER_KID)),
        _row("compromised-signer", "not on the allow-list", signed(CARD, "card-compromised")),
        _row(
            "compromised-signer",
            "a spared UUID with another key",
            signed(changed(CARD, (7,), OTHER_UUID), "card-compromised"),
        ),
        _row("revoked-signer", "verifies no longer", signed(changed(CARD, (6,), NOW - 6 * YEAR), "card-over")),
        _row("signer-period", "signed after the key's last day", signed(CARD, "card-retired")),
        _row("signer-period", "signed before its first", signed(changed(CARD, (6,), NOW - 2 * YEAR), "card")),
        _row("not-yet-valid", "issued 301 s from now", signed(future, "card")),
        _row("expired", "on its last second", signed(changed(CARD, (4,), NOW), "card")),
        _row("trust-expired", "a list of last month", whole, now=NOW + 20 * DAY),
    ]


def _in_name_of(label: str, forger: str) -> bytes:
    kid = cose_key(label).kid()
    return cose.sign1(cbor.encode(CARD), kid, sign_with(forger))


def _under_kid(kid: bytes) -> bytes:
    return cose.sign1(cbor.encode(CARD), kid, sign_with("stranger"))


_NAMES = {1: "iss", 4: "exp", 6: "iat", 7: "cti", 8: "cnf", 65535: "status"}
