"""Door records, heads and receipts (F9, F13)."""

import pytest
from statement_vectors import load, public_key, raw, read_key, rows, sign_with

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.bundle import Mechanism
from cardlink.statements.receipt import Receipt, issue_receipt, read_receipt, verify_receipt
from cardlink.statements.record import (
    Decision,
    Head,
    check_chain,
    check_head,
    decode_record,
    encode_record,
    issue_head,
    read_head,
    record_hash,
    verify_head,
)
from cardlink.statements.refusal import Reason, Refused

FILE = load("record")
DOOR = bytes.fromhex(FILE["door"])
KEY = read_key(FILE["key"])
CHAIN = [bytes.fromhex(one) for one in FILE["chain"]]


@rows("record", "good")
def test_a_record_is_written_as_it_was_read(row: dict[str, str]) -> None:
    assert encode_record(decode_record(raw(row))) == raw(row)


@rows("record", "bad")
def test_a_broken_record_is_malformed(row: dict[str, str]) -> None:
    with pytest.raises(Malformed, match=row["why"]):
        decode_record(raw(row))


def test_a_log_is_followed_to_its_end() -> None:
    assert check_chain(CHAIN) == record_hash(CHAIN[-1])


def test_a_log_is_followed_from_what_was_acknowledged() -> None:
    assert check_chain(CHAIN[2:], record_hash(CHAIN[1]), 1, 2) == record_hash(CHAIN[-1])
    assert check_chain([], record_hash(CHAIN[1]), 1, 2) == record_hash(CHAIN[1])


@rows("record", "bad_chains")
def test_a_broken_log_is_refused_for_its_reason(row: dict[str, list[str]]) -> None:
    refused = check_chain([bytes.fromhex(one) for one in row["records"]])
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]


@rows("record", "good_heads")
def test_a_head_is_verified_by_the_key_of_its_door(row: dict[str, str]) -> None:
    head = verify_head(read_head(raw(row)), DOOR, KEY)
    assert isinstance(head, Head)
    assert head.record_hash == record_hash(CHAIN[2])
    assert read_head(issue_head(head, KEY.kid(), sign_with("door"))).value == head


@rows("record", "bad_heads")
def test_a_head_is_refused_for_its_reason(row: dict[str, str]) -> None:
    if row["refusal"] == "malformed":
        with pytest.raises(Malformed, match=row["why"]):
            read_head(raw(row))
        return
    refused = verify_head(read_head(raw(row)), DOOR, KEY)
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]


def test_a_head_shows_a_shortened_and_a_forked_log() -> None:
    head = read_head(raw(FILE["good_heads"][0])).value
    assert check_head(head, 1, 3, record_hash(CHAIN[2])) == head
    assert check_head(head, 2, 1, record_hash(CHAIN[3])) == head
    shortened = check_head(head, 1, 2, record_hash(CHAIN[1]))
    forked = check_head(head, 1, 3, bytes(32))
    assert isinstance(shortened, Refused)
    assert isinstance(forked, Refused)
    assert (shortened.reason, forked.reason) == (Reason.SHORTENED, Reason.FORKED)


@rows("receipt", "good")
def test_a_receipt_is_verified_by_the_key_of_its_door(row: dict[str, str]) -> None:
    receipt = verify_receipt(read_receipt(raw(row)), DOOR, KEY)
    assert isinstance(receipt, Receipt)
    assert read_receipt(issue_receipt(receipt, KEY.kid(), sign_with("door"))).value == receipt
    assert public_key("door") == KEY


@rows("receipt", "bad")
def test_a_receipt_is_refused_for_its_reason(row: dict[str, str]) -> None:
    if row["refusal"] == "malformed":
        with pytest.raises(Malformed, match=row["why"]):
            read_receipt(raw(row))
        return
    refused = verify_receipt(read_receipt(raw(row)), DOOR, KEY)
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]


def test_a_record_with_a_kind_of_a_newer_door_is_kept() -> None:
    newer = decode_record(CHAIN[1])._replace(kind="area-full", reason="area-full")
    assert decode_record(encode_record(newer)) == newer


def test_a_record_written_by_hand_is_the_deterministic_encoding_of_its_map() -> None:
    base = decode_record(CHAIN[0])
    variants = [
        base,
        base._replace(card_uuid=None, mechanism=None, decision=None, reason=None),
        base._replace(
            card_uuid=bytes(range(16)), mechanism=Mechanism.PKI_CAK, decision=Decision.REFUSED, reason="stale"
        ),
        base._replace(boot=23, seq=24, wall_ms=1 << 40, monotonic_ms=255, bundle_seq=256, status_seq=65_536),
        base._replace(kind="a-kind-of-thirty-two-characters1", elapsed_us=(1 << 64) - 1),
    ]
    for record in variants:
        raw_record = encode_record(record)
        assert raw_record == cbor.encode(cbor.decode(raw_record, max_bytes=512))
        assert decode_record(raw_record) == record
    for broken in ({"door_uuid": bytes(15)}, {"previous": b""}, {"card_uuid": bytes(17)}, {"seq": 1 << 64}):
        with pytest.raises(Malformed):
            encode_record(base._replace(**broken))  # type: ignore[arg-type]  # the names stand above
