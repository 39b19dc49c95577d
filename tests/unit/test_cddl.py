"""The CDDL of docs/formats.cddl against the vectors: it takes every good one, and what it refuses we refuse too."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pycddl
import pytest
from statement_vectors import load

from cardlink.errors import Malformed
from cardlink.statements import cbor, cose

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "formats.cddl").read_text(encoding="utf-8")
RULES = re.findall(r"^([a-z0-9-]+) =", TEXT, re.MULTILINE)
SCHEMAS = {rule: pycddl.Schema(f"root = {rule}\n{TEXT}") for rule in RULES}
STATEMENTS = {"card": "card-credential", "identity": "identity", "qr": "qr", "bundle": "bundle", "receipt": "receipt"}


def _takes(rule: str, raw: bytes) -> bool:
    try:
        SCHEMAS[rule].validate_cbor(raw)
    except pycddl.ValidationError:
        return False
    return True


def _statements(part: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, rule in STATEMENTS.items():
        for row in load(name)[part]:
            yield name, rule, row
    for row in load("status")[part]:
        yield "status", row["kind"], row
    for row in load("record")[f"{part}_heads"]:
        yield "head", "head", row


def _cases(part: str) -> pytest.MarkDecorator:
    listed = [pytest.param(rule, row, id=f"{name}: {row['name']}") for name, rule, row in _statements(part)]
    return pytest.mark.parametrize(("rule", "row"), listed)


def test_every_format_has_its_rule() -> None:
    named = {"statement", "card-credential", "identity", "qr", "snapshot", "event", "heartbeat", "fresh", "bundle"}
    assert named | {"trust-list", "trust", "record", "head", "receipt"} <= set(RULES)


@_cases("good")
def test_a_good_statement_matches_its_rule(rule: str, row: dict[str, Any]) -> None:
    raw = bytes.fromhex(row["raw"])
    statement = cose.parse_sign1(raw, max_bytes=1 << 24)
    SCHEMAS["statement"].validate_cbor(raw)
    SCHEMAS["header"].validate_cbor(statement.protected)
    SCHEMAS[rule].validate_cbor(statement.payload)


def test_every_good_trust_list_matches_its_rule() -> None:
    for row in load("trust")["good"]:
        raw = bytes.fromhex(row["raw"])
        several = cose.parse_several(raw, max_bytes=1 << 24)
        SCHEMAS["trust-list"].validate_cbor(raw)
        SCHEMAS["trust"].validate_cbor(several.payload)
        for one in several.signatures:
            SCHEMAS["root-header"].validate_cbor(one.protected)


@pytest.mark.parametrize("row", load("ml_dsa")["good"], ids=lambda row: row["name"])
def test_a_good_statement_of_either_algorithm_matches_its_rule(row: dict[str, Any]) -> None:
    raw = bytes.fromhex(row["raw"])
    statement = cose.parse_sign1(raw, max_bytes=1 << 13, is_agile=True)
    prefix = "" if statement.alg == cose.ES256 else "ml-dsa-"
    SCHEMAS[f"{prefix}statement"].validate_cbor(raw)
    SCHEMAS[f"{prefix}header"].validate_cbor(statement.protected)
    SCHEMAS["identity"].validate_cbor(statement.payload)


def test_every_key_of_the_trust_list_matches_a_rule_or_is_of_a_later_algorithm() -> None:
    several = cose.parse_several(bytes.fromhex(load("ml_dsa")["trust"]), max_bytes=1 << 24)
    keys = [cbor.encode(one[2]) for one in cbor.decode(several.payload, max_bytes=1 << 24)[-65548]]  # type: ignore[index]
    taken = [[rule for rule in ("cose-key", "akp-key") if _takes(rule, key)] for key in keys]
    assert taken.count(["akp-key"]) == 3
    assert taken.count([]) == 1
    assert len(taken) - 4 == taken.count(["cose-key"])


def test_every_good_record_matches_its_rule() -> None:
    for row in load("record")["good"]:
        SCHEMAS["record"].validate_cbor(bytes.fromhex(row["raw"]))


def test_every_good_key_matches_its_rule() -> None:
    for row in load("cose_key")["good"]:
        SCHEMAS["cose-key"].validate_cbor(bytes.fromhex(row["raw"]))


@pytest.mark.parametrize("key", [1, 4, 6, 7, 8, 65535])
def test_a_missing_claim_does_not_match(key: int) -> None:
    payload = cose.parse_sign1(bytes.fromhex(load("card")["good"][0]["raw"]), max_bytes=252).payload
    claims = cbor.decode(payload, max_bytes=252)
    assert isinstance(claims, dict)
    del claims[key]
    assert not _takes("card-credential", cbor.encode(claims))


def test_most_broken_structures_fail_already_at_the_rule() -> None:
    """What is left are rules that CDDL cannot say: encoding, order, bounds between fields, the calendar."""
    refused = taken = 0
    for _, rule, row in _statements("bad"):
        if not row.get("refusal", "").startswith("malformed"):
            continue
        try:
            payload = cose.parse_sign1(bytes.fromhex(row["raw"]), max_bytes=1 << 24).payload
            cbor.decode(payload, max_bytes=1 << 24)
        except Malformed:
            continue
        if _takes(rule, payload):
            taken += 1
        else:
            refused += 1
    assert refused > 130
    assert refused > 2 * taken
