"""Vectors of what names a person: the identity statement (F4) and the QR (F5)."""

from typing import Any

from world import (
    CARD,
    CARD_UUID,
    DROP,
    IDENTITY,
    NOW,
    OTHER_UUID,
    QR,
    YEAR,
    changed,
    cose_key,
    signed,
    trust_statement,
)

from cardlink.statements.qr import signed_text

HOLDER = -65537
FIELDS = -65545


def build() -> dict[str, dict[str, Any]]:
    """The files of this module."""
    return {"identity": _identity(), "qr": _qr()}


def _row(refusal: str, name: str, raw: bytes, why: str = "") -> dict[str, Any]:
    return {"name": f"{refusal}: {name}", "refusal": refusal, "raw": raw.hex(), "why": why}


def _identity() -> dict[str, Any]:
    second_scheme = changed(changed(changed(IDENTITY, (HOLDER, 1), 2), (HOLDER, 9), "01.003"), (HOLDER, 12), DROP)
    second_scheme = changed(second_scheme, (HOLDER, 2), "H49.01.02.001190012345.01.003")
    cases: list[tuple[str, tuple[Any, ...], Any, str]] = [
        *((f"no field {key}", (HOLDER, key), DROP, "missing") for key in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13)),
        ("unknown field", (HOLDER, 14), 1, "unknown key"),
        ("scheme 0", (HOLDER, 1), 0, "want 1 or 2"),
        ("scheme 3", (HOLDER, 1), 3, "scheme"),
        ("identifier of another person", (HOLDER, 2), "H49.01.02.001190012346.CC", "contradicts"),
        ("identifier of another agency", (HOLDER, 2), "H49.01.03.001190012345.CC", "contradicts"),
        ("identifier with another category", (HOLDER, 2), "H49.01.02.001190012345.VC", "contradicts"),
        ("identifier of an unknown category", (HOLDER, 2), "H49.01.02.001190012345.ZZ", "category"),
        ("identifier without a citizen number", (HOLDER, 2), "H49.01.02.CC", "12 digits"),
        ("identifier with two levels of 12 digits", (HOLDER, 2), "H49.001190012345.001190012345.CC", "found 2"),
        ("name decomposed", (HOLDER, 3), "Đặng Thị Bình", "NFC"),
        ("name empty", (HOLDER, 3), "", "1 to 100"),
        ("name with a line break", (HOLDER, 3), "Đặng\nBình", "control"),
        ("name with a direction mark", (HOLDER, 3), "Đặng \u202eBình", "control"),
        ("birth date that does not exist", (HOLDER, 4), 19900230, "no such day"),
        ("29 February 1900", (HOLDER, 4), 19000229, "no such day"),
        ("sex 0", (HOLDER, 5), 0, "sex"),
        ("sex 3", (HOLDER, 5), 3, "sex"),
        ("citizen number of 11 digits", (HOLDER, 6), "00119001234", "contradicts"),
        ("unknown category", (HOLDER, 11), "ZZ", "category"),
        ("face hash short", (HOLDER, 12), bytes(31), "32 bytes"),
        ("key-hash short", (HOLDER, 13), bytes(15), "16 bytes"),
        ("no card", (7,), DROP, "missing"),
        ("expires before it is issued", (4,), NOW - YEAR, "expires before"),
    ]
    decomposed = "Đặng Thị Bình".replace("ặ", "\u0061\u0323\u0306")
    cases = [(n, p, decomposed if n == "name decomposed" else v, w) for n, p, v, w in cases]
    whole = signed(IDENTITY, "identity")
    elsewhere = changed(IDENTITY, (HOLDER, 7), "H49.01.03")
    elsewhere = changed(elsewhere, (HOLDER, 2), "H49.01.03.001190012345.CC")
    return {
        "source": "docs/formats.md F2, F4",
        "now": NOW,
        "trust": trust_statement().hex(),
        "credential": signed(CARD, "card").hex(),
        "good": [
            {"name": "a person in scheme 1", "raw": whole.hex()},
            {"name": "a person in scheme 2, no portrait", "raw": signed(second_scheme, "identity").hex()},
        ],
        "bad": [
            *(
                _row("malformed-identity", name, signed(changed(IDENTITY, path, value), "identity"), why)
                for name, path, value, why in cases
            ),
            _row("malformed-identity", "type header", signed(IDENTITY, "identity", typ="x"), "type header"),
            _row("agency-mismatch", "another issuer", signed(changed(IDENTITY, (1,), "H49.01"), "identity")),
            _row("uuid-mismatch", "another card", signed(changed(IDENTITY, (7,), OTHER_UUID), "identity")),
            _row(
                "key-mismatch",
                "another key",
                signed(changed(IDENTITY, (HOLDER, 13), cose_key("clone").key_hash()), "identity"),
            ),
            _row("foreign-object", "a person of the agency beside", signed(elsewhere, "identity")),
            _row("forged-statement", "a flipped bit", whole[:-1] + bytes((whole[-1] ^ 1,))),
            _row("wrong-use", "by a card key", signed(IDENTITY, "card")),
            _row("unknown-signer", "by a stranger", signed(IDENTITY, "stranger")),
            _row("not-yet-valid", "issued tomorrow", signed(changed(IDENTITY, (6,), NOW + 86_400), "identity")),
            _row("expired", "yesterday", signed(changed(IDENTITY, (4,), NOW - 86_400), "identity")),
        ],
    }


def _qr() -> dict[str, Any]:
    cases: list[tuple[str, tuple[Any, ...], Any, str]] = [
        ("nine fields", (FIELDS,), QR[FIELDS][:9], "10"),
        ("eleven fields", (FIELDS,), [*QR[FIELDS], 1], "10"),
        ("scheme 3", (FIELDS, 0), 3, "scheme"),
        ("scheme 0", (FIELDS, 0), 0, "neither"),
        ("no name", (FIELDS, 1), "", "full name"),
        ("no such day", (FIELDS, 2), 19911131, "no such day"),
        ("sex 0", (FIELDS, 3), 0, "neither"),
        ("citizen number of 13 digits", (FIELDS, 4), 10**12, "citizen number"),
        ("agency in small letters", (FIELDS, 5), "h49", "agency"),
        ("unknown category", (FIELDS, 7), "ZZ", "category"),
        ("idx beyond any list", (FIELDS, 9), 1 << 22, "status index"),
        ("an iat", (6,), NOW, "unknown key"),
        ("no exp", (4,), DROP, "missing"),
    ]
    whole = signed(QR, "qr")
    text = signed_text("https://themo.vn/v", whole)
    digits = text.split("#")[1]
    return {
        "source": "docs/formats.md F2, F5; Decision 838/QĐ-BNV",
        "now": NOW,
        "trust": trust_statement().hex(),
        "url": "https://themo.vn/v",
        "card_uuid": CARD_UUID.hex(),
        "good": [{"name": "a face", "raw": whole.hex(), "text": text}],
        "bad": [
            *(
                _row("malformed-statement", name, signed(changed(QR, path, value), "qr"), why)
                for name, path, value, why in cases
            ),
            _row("foreign-object", "agency beside the issuer's", signed(changed(QR, (FIELDS, 5), "H49.01.03"), "qr")),
            _row("forged-statement", "a flipped bit", whole[:-1] + bytes((whole[-1] ^ 1,))),
            _row("wrong-use", "by a card key", signed(QR, "card")),
            _row("unknown-signer", "by a stranger", signed(QR, "stranger")),
            _row("out-of-scope", "an issuer of another province", _of_province()),
            _row("expired", "yesterday", signed(changed(QR, (4,), NOW - 86_400), "qr")),
        ],
        "bad_fragments": {
            "empty": "",
            "a letter": digits[:-1] + "a",
            "a leading zero": "0" + digits,
            "a sign": "-" + digits,
            "a space": digits + " ",
            "other digits": digits[:-1] + "\u0661",
            "no mark": str(int.from_bytes(whole, "big")),
            "mark 2": str(int.from_bytes(b"\x02" + whole, "big")),
            "endless": "1" * 5000,
        },
    }


def _of_province() -> bytes:
    return signed(changed(changed(QR, (1,), "H12"), (FIELDS, 5), "H12.01"), "qr")
