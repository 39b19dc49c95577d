"""The door application: its messages on both sides, and what the card answers in each state."""

import hashlib
import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.access.door import (
    DOOR_AID,
    SELECT_DOOR_APDU,
    decode_door_answer,
    door_authenticate,
    door_authenticate_apdu,
    encode_door_answer,
)
from cardlink.errors import CardStatus, Malformed
from cardlink.gp.inventory import AppState, LifeCycle
from cardlink.iso7816.sw import SW
from cardlink.piv import commands as piv
from cardlink.piv.tables import CARD_CREDENTIAL, Algorithm, Interface, KeyRef
from cardlink.piv.yubico import Origin, PinPolicy
from cardlink.statements.challenge import challenge_digest, door_challenge_digest
from cardlink.statements.cose_key import from_public_key
from cardlink.transport.connection import Counted, command
from cardlink.transport.loopback import Loopback
from cardos.card import Card
from cardos.factory import make_blank
from cardos.piv.keys import save_private
from cardos.records import Life, Owner, Record, SlotKey, StoredObject, record_name
from cardos.store import MemoryStore

DOOR, NONCE = bytes(range(16)), bytes(range(100, 132))
CREDENTIAL = os.urandom(215)
KEY = ec.generate_private_key(ec.SECP256R1())
POINT = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
NINE_E = SlotKey(KeyRef.CARD_AUTH, Algorithm.P_256, save_private(KEY), Origin.GENERATED, PinPolicy.NEVER)
STORED = StoredObject(CARD_CREDENTIAL.tag, piv.wrap_object(CARD_CREDENTIAL.tag, CREDENTIAL))


def card(*records: Record) -> Card:
    image = make_blank(bytes(10), (bytes(16), bytes(16), bytes(16)))
    image.update((record_name(one.kind, one.number), one.encode()) for one in records)
    return Card(MemoryStore(image))


def connect(one: Card, interface: Interface = Interface.CONTACTLESS) -> Counted:
    return Counted(Loopback(lambda apdu: one.transmit(apdu, interface)))


@pytest.mark.parametrize("interface", list(Interface))
def test_two_exchanges_give_credential_y_and_a_signature_that_names_the_door(interface: Interface) -> None:
    connection = connect(card(STORED, NINE_E), interface)
    command(connection, SELECT_DOOR_APDU)
    answer = decode_door_answer(command(connection, door_authenticate_apdu(DOOR, NONCE)))
    assert answer.credential == CREDENTIAL
    assert answer.y == POINT[33:]
    # written out from docs/formats.md, F12
    KEY.public_key().verify(answer.signature, b"themo-door-1" + DOOR + NONCE, ec.ECDSA(hashes.SHA256()))
    assert connection.exchanges == 2
    assert connection.bytes_sent + connection.bytes_received <= 450


def test_a_reader_that_passes_short_apdus_only_gets_it_in_three() -> None:
    connection = connect(card(STORED, NINE_E))
    command(connection, SELECT_DOOR_APDU)
    answer = decode_door_answer(command(connection, door_authenticate(DOOR, NONCE, extended=False)))
    assert answer.credential == CREDENTIAL
    assert connection.exchanges == 3


def test_the_ready_made_apdu_is_the_encoded_command() -> None:
    assert door_authenticate_apdu(DOOR, NONCE) == door_authenticate(DOOR, NONCE).encode()
    assert door_authenticate_apdu(DOOR, NONCE).hex() == "0088009e000030" + (DOOR + NONCE).hex() + "0000"
    for wrong in (b"", bytes(31)):
        with pytest.raises(Malformed):
            door_authenticate_apdu(DOOR, wrong)
        with pytest.raises(Malformed):
            door_authenticate(DOOR, wrong)


def test_its_fci_is_the_same_on_every_card() -> None:
    assert command(connect(card()), SELECT_DOOR_APDU).hex() == "6f0a8408" + DOOR_AID.hex()


HEAD = "0088009E"


@pytest.mark.parametrize(
    ("apdu", "sw"),
    [
        ("0088009D" + "30" + "00" * 48 + "00", SW.INCORRECT_P1P2),
        ("0088119E" + "30" + "00" * 48 + "00", SW.INCORRECT_P1P2),
        (HEAD + "2F" + "00" * 47 + "00", SW.INCORRECT_DATA),
        (HEAD, SW.INCORRECT_DATA),
        (HEAD.replace("00", "80", 1) + "30" + "00" * 48 + "00", SW.INS_NOT_SUPPORTED),
        (HEAD.replace("00", "10", 1) + "30" + "00" * 48 + "00", SW.CHAINING_NOT_SUPPORTED),
        ("00870E9E" + "00", SW.INS_NOT_SUPPORTED),
        ("0020008008" + "313233343536FFFF", SW.INS_NOT_SUPPORTED),
    ],
)
def test_what_is_no_question_of_a_door_gets_its_status_word(apdu: str, sw: SW) -> None:
    connection = connect(card(STORED, NINE_E))
    command(connection, SELECT_DOOR_APDU)
    assert connection.transmit(bytes.fromhex(apdu)) == int(sw).to_bytes(2, "big")


@pytest.mark.parametrize(
    "records",
    [
        pytest.param((), id="blank"),
        pytest.param((STORED,), id="no key"),
        pytest.param((NINE_E,), id="no credential"),
        pytest.param((NINE_E, StoredObject(CARD_CREDENTIAL.tag, b"\x53\x00")), id="empty credential"),
    ],
)
def test_a_card_without_credential_or_key_says_6a88(records: tuple[Record, ...]) -> None:
    connection = connect(card(*records))
    command(connection, SELECT_DOOR_APDU)
    with pytest.raises(CardStatus) as refused:
        command(connection, door_authenticate_apdu(DOOR, NONCE))
    assert refused.value.sw == SW.REFERENCE_NOT_FOUND


def test_a_key_of_a_stricter_policy_than_its_slots_is_not_used_without_the_pin() -> None:
    strict = SlotKey(KeyRef.CARD_AUTH, Algorithm.P_256, save_private(KEY), Origin.GENERATED, PinPolicy.ONCE)
    connection = connect(card(STORED, strict))
    command(connection, SELECT_DOOR_APDU)
    with pytest.raises(CardStatus) as refused:
        command(connection, door_authenticate_apdu(DOOR, NONCE))
    assert refused.value.sw == SW.SECURITY_STATUS_NOT_SATISFIED


@pytest.mark.parametrize(
    ("life", "sw"),
    [
        (Life(Owner.PIV, AppState.SELECTABLE | AppState.LOCKED), SW.NOT_FOUND),
        (Life(Owner.CARD, LifeCycle.CARD_LOCKED), SW.FUNCTION_NOT_SUPPORTED),
        (Life(Owner.CARD, LifeCycle.TERMINATED), SW.CONDITIONS_NOT_SATISFIED),
    ],
)
def test_what_locks_piv_or_the_card_locks_it_too(life: Life, sw: SW) -> None:
    with pytest.raises(CardStatus) as refused:
        command(connect(card(STORED, NINE_E, life)), SELECT_DOOR_APDU)
    assert refused.value.sw == sw


def test_a_new_key_in_the_slot_shows_its_own_y() -> None:
    one = card(STORED, NINE_E)
    assert one.persistent.point(KeyRef.CARD_AUTH) == POINT
    other = ec.generate_private_key(ec.SECP256R1())
    one.persistent.commit(
        [SlotKey(KeyRef.CARD_AUTH, Algorithm.P_256, save_private(other), Origin.GENERATED, PinPolicy.NEVER)]
    )
    expected = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert one.persistent.point(KeyRef.CARD_AUTH) == expected


GOOD = encode_door_answer(b"\x53\x01\x00", bytes(32), b"\x30\x00")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\x00",
        GOOD[3:],
        GOOD[:3] + GOOD[37:],
        GOOD[3:37] + GOOD[:3] + GOOD[37:],
        GOOD.replace(b"\x86\x20", b"\x86\x1f", 1),
        b"\x7c" + bytes((len(GOOD),)) + GOOD,
    ],
)
def test_an_answer_of_another_form_is_malformed(raw: bytes) -> None:
    assert decode_door_answer(GOOD).credential == b"\x00"
    with pytest.raises(Malformed):
        decode_door_answer(raw)


def test_y_is_only_a_hint() -> None:
    key = from_public_key(KEY.public_key())
    right = POINT[33:]
    other = (ec.generate_private_key(ec.SECP256R1()).public_key()).public_bytes(
        Encoding.X962, PublicFormat.UncompressedPoint
    )[33:]
    prime = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
    minus = (prime - int.from_bytes(right, "big")).to_bytes(32, "big")
    for y in (None, right, other, minus, bytes(32), b"\xff" * 32, b"", right[1:]):
        assert key.public_key(y).public_numbers() == KEY.public_key().public_numbers(), y


def test_the_digest_is_the_one_of_the_piv_way() -> None:
    assert challenge_digest(DOOR + NONCE) == door_challenge_digest(DOOR, NONCE)
    assert challenge_digest(DOOR + NONCE) == hashlib.sha256(b"themo-door-1" + DOOR + NONCE).digest()
