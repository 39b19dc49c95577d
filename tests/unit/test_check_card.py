"""The card credential (F3), the answer to the challenge (F12), and what else is on the card."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_vectors import at, load, private_key, public_key, raw, rows, sign_with, trust_of

from cardlink.check.cache import CredentialCache, VerifiedCredential
from cardlink.check.card import StatusPlace, VerifiedCard, check_credential, check_identity, verify_credential
from cardlink.check.evidence import Answer, CredentialEvidence
from cardlink.errors import Malformed
from cardlink.piv.chuid import encode_chuid
from cardlink.piv.fascn import FascN
from cardlink.statements import cbor
from cardlink.statements.bundle import Mechanism
from cardlink.statements.card import (
    MAX_CREDENTIAL_BYTES,
    CardCredential,
    _read_any,
    _read_usual,
    decode_claims,
    encode_card_credential,
    issue_card_credential,
    read_card_credential,
)
from cardlink.statements.challenge import door_challenge_digest
from cardlink.statements.cose import parse_sign1
from cardlink.statements.cose_key import CoseKey
from cardlink.statements.identity import Identity, issue_identity, read_identity
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import KeyState, Trust, accept_trust_list, issue_trust_list

FILE = load("card")
NOW = at(FILE)
TRUST = trust_of(FILE)
DOOR, NONCE = bytes(15) + b"\x01", bytes(range(32))
GOOD = bytes.fromhex(FILE["good"][0]["raw"])


def _answer(label: str = "card-9e", door: bytes = DOOR, nonce: bytes = NONCE) -> Answer:
    digest = door_challenge_digest(door, nonce)
    return Answer(DOOR, NONCE, private_key(label).sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))


def _next_trust(**changes: Any) -> Trust:
    content = replace(TRUST.content, number=TRUST.content.number + 1, **changes)
    signers = [(public_key(root).kid(), sign_with(root)) for root in ("root-1", "root-2")]
    accepted = accept_trust_list(issue_trust_list(content, signers), TRUST, NOW)
    assert isinstance(accepted, Trust)
    return accepted


@rows("card", "good")
def test_a_credential_is_verified(row: dict[str, str]) -> None:
    verified = verify_credential(raw(row), TRUST, NOW, CredentialCache())
    assert isinstance(verified, VerifiedCredential)
    assert verified.card == read_card_credential(raw(row)).value
    assert verified.key_hash == verified.card.key.key_hash()


@rows("card", "bad")
def test_a_credential_is_refused_for_its_reason(row: dict[str, Any]) -> None:
    now = at(row) if "now" in row else NOW
    refused = verify_credential(raw(row), TRUST, now, CredentialCache())
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]
    assert row["why"] in refused.detail


@rows("card", "bad")
def test_a_credential_is_refused_also_while_a_good_one_is_cached(row: dict[str, Any]) -> None:
    cache = CredentialCache()
    assert isinstance(verify_credential(GOOD, TRUST, NOW, cache), VerifiedCredential)
    refused = verify_credential(raw(row), TRUST, at(row) if "now" in row else NOW, cache)
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]


def test_a_card_that_answers_with_its_key_is_verified() -> None:
    card = read_card_credential(GOOD).value
    checked = check_credential(CredentialEvidence(GOOD, _answer()), TRUST, NOW, CredentialCache())
    assert checked == VerifiedCard(
        mechanism=Mechanism.CREDENTIAL,
        agency="H49.01.02",
        card_uuid=card.card_uuid,
        key_hash=public_key("card-9e").key_hash(),
        expires_s=card.expires_s,
        status=StatusPlace(1, 423),
    )


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_answer("clone"), id="public data copied to another card"),
        pytest.param(_answer(nonce=bytes(32)), id="an answer to an earlier challenge"),
        pytest.param(_answer(door=bytes(16)), id="an answer given at another door"),
        pytest.param(Answer(DOOR, NONCE, b""), id="no answer"),
    ],
)
def test_a_copied_or_replayed_card_is_refused(answer: Answer) -> None:
    refused = check_credential(CredentialEvidence(GOOD, answer), TRUST, NOW, CredentialCache())
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.BAD_SIGNATURE


def _chuid(card_uuid: bytes) -> bytes:
    return encode_chuid(FascN(9999, 9999, 999999), UUID(bytes=card_uuid), date(2031, 1, 1), b"unsigned")


def test_a_chuid_of_another_card_is_refused() -> None:
    own = CredentialEvidence(GOOD, _answer(), chuid=_chuid(read_card_credential(GOOD).value.card_uuid))
    assert isinstance(check_credential(own, TRUST, NOW, CredentialCache()), VerifiedCard)
    for chuid, reason in ((_chuid(bytes(16)), Reason.UUID_MISMATCH), (b"\x30", Reason.MALFORMED_CHUID)):
        refused = check_credential(replace(own, chuid=chuid), TRUST, NOW, CredentialCache())
        assert isinstance(refused, Refused)
        assert refused.reason is reason


def test_a_cached_credential_is_the_same_value() -> None:
    cache = CredentialCache()
    first = verify_credential(GOOD, TRUST, NOW, cache)
    assert verify_credential(bytes(GOOD), TRUST, NOW, cache) is first
    assert len(cache) == 1


def test_times_are_judged_anew_while_cached() -> None:
    cache = CredentialCache()
    assert isinstance(verify_credential(GOOD, TRUST, NOW, cache), VerifiedCredential)
    refused = verify_credential(GOOD, TRUST, NOW + timedelta(days=21), cache)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.TRUST_EXPIRED


def test_another_trust_list_empties_the_cache() -> None:
    cache = CredentialCache()
    assert isinstance(verify_credential(GOOD, TRUST, NOW, cache), VerifiedCredential)
    keys = tuple(
        replace(key, state=KeyState.COMPROMISED) if key.kid == public_key("card").kid() else key
        for key in TRUST.content.keys
    )
    refused = verify_credential(GOOD, _next_trust(keys=keys), NOW, cache)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.COMPROMISED_SIGNER
    gone = _next_trust(keys=tuple(key for key in keys if key.kid != public_key("card").kid()))
    refused = verify_credential(GOOD, gone, NOW, cache)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.UNKNOWN_SIGNER
    assert len(cache) == 0


def test_a_full_cache_forgets_what_was_used_longest_ago() -> None:
    cache = CredentialCache(capacity=2)
    raws = [bytes.fromhex(row["raw"]) for row in FILE["good"]]
    for one in (raws[0], raws[1], raws[0], raws[2]):
        assert isinstance(verify_credential(one, TRUST, NOW, cache), VerifiedCredential)
    assert len(cache) == 2
    assert cache.get(raws[0], TRUST) is not None
    assert cache.get(raws[1], TRUST) is None


def test_refusals_are_not_cached() -> None:
    cache = CredentialCache()
    verify_credential(bytes.fromhex(FILE["bad"][-3]["raw"]), TRUST, NOW, cache)
    verify_credential(b"", TRUST, NOW, cache)
    assert len(cache) <= 1  # at most the expired one, whose signature was right


def _card(**changes: Any) -> CardCredential:
    return replace(read_card_credential(GOOD).value, **changes)


def test_what_is_issued_is_what_is_read() -> None:
    made = issue_card_credential(_card(), public_key("card").kid(), sign_with("card"))
    assert read_card_credential(made).value == _card()
    assert len(made) <= 225


def test_the_largest_credential_fits_and_a_larger_is_not_issued() -> None:
    longest = _card(agency="H49." + "1" * 31, status_list=65_535, status_index=(1 << 22) - 1)
    made = issue_card_credential(longest, public_key("card").kid(), sign_with("card"))
    assert len(made) <= MAX_CREDENTIAL_BYTES
    with pytest.raises(Malformed, match="agency code"):
        issue_card_credential(replace(longest, agency="H49." + "1" * 32), public_key("card").kid(), sign_with("card"))


@rows("identity", "good")
def test_an_identity_counts_beside_its_credential(row: dict[str, str]) -> None:
    beside = verify_credential(bytes.fromhex(load("identity")["credential"]), TRUST, NOW, CredentialCache())
    assert isinstance(beside, VerifiedCredential)
    identity = check_identity(raw(row), beside, TRUST, NOW)
    assert isinstance(identity, Identity)
    assert identity.full_name == "Đặng Thị Bình Yên"
    made = issue_identity(identity, public_key("identity").kid(), sign_with("identity"))
    assert read_identity(made).value == identity
    assert len(raw(row)) < 400


@rows("identity", "bad")
def test_an_identity_is_refused_for_its_reason(row: dict[str, str]) -> None:
    beside = verify_credential(bytes.fromhex(load("identity")["credential"]), TRUST, NOW, CredentialCache())
    assert isinstance(beside, VerifiedCredential)
    refused = check_identity(raw(row), beside, TRUST, NOW)
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]
    assert row["why"] in refused.detail


def test_an_identity_of_a_compromised_signer_counts_for_cards_on_the_allow_list_alone() -> None:
    statement = raw(load("identity")["good"][0])
    beside = verify_credential(GOOD, TRUST, NOW, CredentialCache())
    assert isinstance(beside, VerifiedCredential)
    kid = public_key("identity").kid()
    keys = tuple(replace(key, state=KeyState.COMPROMISED) if key.kid == kid else key for key in TRUST.content.keys)
    for allowed in ((), ((bytes(16), beside.key_hash),), ((beside.card.card_uuid, bytes(16)),)):
        refused = check_identity(statement, beside, _next_trust(keys=keys, allowed=allowed), NOW)
        assert isinstance(refused, Refused)
        assert refused.reason is Reason.COMPROMISED_SIGNER
    spared = _next_trust(keys=keys, allowed=((beside.card.card_uuid, beside.key_hash),))
    assert isinstance(check_identity(statement, beside, spared, NOW), Identity)


def test_every_reason_is_a_code_of_its_own() -> None:
    assert len({str(reason) for reason in Reason}) == len(Reason)


CARDS = st.builds(
    CardCredential,
    agency=st.sampled_from(["H49", "G09", "H49.01.02", "H49." + "1" * 19, "H49." + "1" * 20, "H49." + "1" * 31]),
    issued_s=st.sampled_from([0, 23, 65_535, 65_536]),
    expires_s=st.sampled_from([65_537, 65_538, 1_782_864_000, (1 << 32) - 1, 1 << 32, 253_402_300_799]),
    card_uuid=st.sampled_from([read_card_credential(GOOD).value.card_uuid]),
    key=st.builds(CoseKey, x=st.binary(min_size=32, max_size=32), y_is_odd=st.booleans()),
    status_list=st.sampled_from([0, 1, 9, 10, 65_535]),
    status_index=st.sampled_from([0, 23, 24, 255, 256, 65_535, 65_536, (1 << 22) - 1]),
)


@given(CARDS)
def test_every_card_is_read_the_same_both_ways(card: CardCredential) -> None:
    payload = encode_card_credential(card)
    assert _read_any(payload) == decode_claims(payload) == card
    if card.issued_s >= 65_536 and card.expires_s < 1 << 32:  # times of four bytes: what is issued
        assert _read_usual(payload) == card


@settings(max_examples=600)
@given(CARDS, st.data())
def test_the_quick_way_takes_nothing_that_the_long_way_refuses(card: CardCredential, data: st.DataObject) -> None:
    payload = bytearray(encode_card_credential(card))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        quick = _read_usual(bytes(payload))
    except Malformed:
        with pytest.raises(Malformed):
            _read_any(bytes(payload))
        return
    assert quick is None or quick == _read_any(bytes(payload))


@pytest.mark.parametrize("name", ["card", "identity", "cose", "status"])
def test_an_envelope_is_read_the_same_both_ways(name: str) -> None:
    """A payload one byte longer than the quick way takes is read the long way; both must give the same parts."""
    for row in load(name)["good"]:
        whole = raw(row)
        statement = parse_sign1(whole, max_bytes=4096)
        parts: Any = cbor.decode(whole[1:], max_bytes=4096)
        assert [statement.protected, {}, statement.payload, statement.signature] == parts
        assert statement.kid == cbor.decode(statement.protected, max_bytes=64)[4]  # type: ignore[index]  # a map
