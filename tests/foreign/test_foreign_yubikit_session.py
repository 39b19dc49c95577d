"""yubikit's PivSession on a card from the factory: every call that it has, in chapters of `yubikit_session`."""

import json
from typing import Any

import pytest
from cryptography import x509

from foreign.factory_card import MAKER, SERIAL, FactoryCard
from foreign.programs import LIMIT_S

SCRIPT = "yubikit_session.py"
SIGNING, AGREEING = ("9A", "9C", "9E"), ("9D", "82", "95")
CHAPTERS = (
    "references", "management", "generated", "octets", "rsa_2048", "imported", "policies", "moved", "certificates",
    "objects", "attested", "reset",
)  # fmt: skip


def tell(card: FactoryCard, *chapters: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(card.yubikit(SCRIPT, *chapters, limit_s=limit_s))
    return told


@pytest.fixture(scope="module")
def told(card: FactoryCard) -> dict[str, Any]:
    return tell(card, *CHAPTERS)


def test_pin_and_puk_are_tried_changed_blocked_unblocked_and_counted(told: dict[str, Any]) -> None:
    assert told["references"] == {
        "attempts": 5, "wrong_pin": "4 left", "wrong_puk": "4 left", "changed": [False, False], "old_pin": "4 left",
        "blocked": [0, "0 left"], "set": [8, 3], "default_again": [True, True], "fingers": ["NotSupportedError"] * 3,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["TDES", "AES128", "AES192", "AES256"])
def test_each_kind_of_management_key_opens_the_card_and_a_wrong_one_does_not(told: dict[str, Any], kind: str) -> None:
    assert told["management"][kind] == [kind, False, "6982"]


def test_nothing_is_written_without_the_management_key_and_no_touch_is_promised(told: dict[str, Any]) -> None:
    assert told["management"]["unauthenticated"] == "6982"
    assert told["management"]["touch"] == "6A80"


@pytest.mark.parametrize("kind", ["ECCP256", "ECCP384"])
def test_an_elliptic_key_made_in_any_slot_does_what_the_slot_is_for(told: dict[str, Any], kind: str) -> None:
    for slots, outcome in ((SIGNING, "verified"), (AGREEING, "agreed")):
        assert {told["generated"][f"{kind} {slot}"] for slot in slots} == {outcome}


def test_ed25519_signs_and_x25519_agrees(told: dict[str, Any]) -> None:
    assert {told["octets"][f"ED25519 {slot}"] for slot in SIGNING} == {"verified"}
    assert {told["octets"][f"X25519 {slot}"] for slot in AGREEING} == {"agreed"}


def test_rsa_keys_sign_and_decipher(told: dict[str, Any]) -> None:
    assert told["rsa_2048"] == {"9A": "verified", "9C": "verified", "9D": "deciphered", "82": "deciphered"}


def test_imported_keys_of_every_kind_are_used(told: dict[str, Any]) -> None:
    assert told["imported"] == {
        **{kind: [False, "ALWAYS", "verified"] for kind in ("ECCP256", "ECCP384", "ED25519", "RSA2048")},
        "X25519": [False, "ALWAYS", "agreed"],
        "RSA1024": [False, "ALWAYS", "deciphered"],  # for old mail; none is made on the card
        "short": "6A80",
    }


def test_the_pin_policy_of_a_key_is_kept_and_never_weaker_than_the_slots(told: dict[str, Any]) -> None:
    assert told["policies"] == {"NEVER": [True, True], "ONCE": [True, True], "ALWAYS": [True, "6982"], "weaker": "6A80"}


def test_keys_are_moved_and_deleted(told: dict[str, Any]) -> None:
    assert told["moved"] == {"there": True, "used": "verified", "source": "6A88", "deleted": "6A88"}


def test_certificates_are_kept_plain_and_compressed_and_deleted(told: dict[str, Any]) -> None:
    assert told["certificates"] == {"compressed False": True, "compressed True": True, "deleted": "6A82"}


def test_objects_come_back_as_they_were_put(told: dict[str, Any]) -> None:
    assert told["objects"].pop("unknown") == "6A82"
    assert set(told["objects"].values()) == {True}


def test_a_made_key_is_attested_up_to_the_card_maker_and_an_imported_one_is_not(told: dict[str, Any]) -> None:
    attested = told["attested"]
    assert attested["same_key"]
    maker = x509.load_pem_x509_certificate(attested["maker"].encode())
    batch = MAKER.batch(int.from_bytes(SERIAL[-2:], "big"))
    maker.verify_directly_issued_by(batch)
    batch.verify_directly_issued_by(MAKER.root())
    assert attested["extensions"]["1.3.6.1.4.1.41482.3.3"] == "050700"
    assert bytes.fromhex(attested["extensions"]["1.3.6.1.4.1.41482.3.7"])[2:] == attested["serial"].to_bytes(4, "big")
    assert attested["imported"] in ("6A80", "6A88", "6985")


def test_a_reset_empties_the_card_and_brings_the_factory_secrets_back(told: dict[str, Any]) -> None:
    assert told["reset"] == {"key": "6A88", "object": "6A82", "attempts": 5}


@pytest.mark.soak
def test_long_rsa_keys_are_made_and_imported_and_used(card: FactoryCard) -> None:
    outcomes = {"9A": "verified", "9D": "deciphered"}
    assert tell(card, "long_rsa", limit_s=600)["long_rsa"] == {
        f"{kind} {origin} {slot}": outcome
        for kind in ("RSA3072", "RSA4096")
        for origin in ("made", "imported")
        for slot, outcome in outcomes.items()
    }
