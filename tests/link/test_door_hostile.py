"""Hostile and broken cards at a whole door: whatever they say, one event with its reason, and the lock stays shut."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from door_cards import connect
from door_place import Place, carrying
from door_world import World

from cardlink.piv.commands import wrap_object
from cardlink.piv.tables import CARD_CREDENTIAL, Interface
from cardlink.statements.card import encode_card_credential
from cardlink.statements.cose import sign1
from cardlink.statements.cose_key import ORDER
from cardos import faults
from cardos.card import Card
from reader_daemon.reasons import DoorReason


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.door.close()


@pytest.mark.parametrize(
    ("profile", "want"),
    [
        ("mute", {"link-lost"}),
        ("garbage", {"malformed-answer"}),
        ("no-status-word", {"malformed-answer"}),
        ("endless-61", {"too-much"}),
        ("empty-61", {"malformed-answer"}),
        ("ping-pong-6c", {"malformed-answer"}),
        ("huge-answer", {"malformed-answer", "too-much"}),
        ("no-9e", {"no-card-key"}),
        ("only-chuid", {"no-credential"}),
    ],
)
def test_a_hostile_card_ends_in_one_event_with_its_reason_and_the_next_tap_works(
    place: Place, profile: str, want: set[str]
) -> None:
    said = place.tap(faults.PROFILES[profile](place.card.card))
    assert said in want
    assert place.records() == [("tap", said)]
    assert place.tap(place.card) == "granted"


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.04])
def test_a_relay_is_bounded_by_the_time_budget(tmp_path: Path, delay_s: float) -> None:
    world = World()
    card = world.issue()
    bundle = world.everybody(card)
    door = world.ready_door(tmp_path / "door", replace(bundle, settings=replace(bundle.settings, budget_ms=100)))
    assert door.tap(faults.slow(card.card, delay_s=delay_s)).said == ("too-slow" if delay_s > 0.033 else "granted")
    door.close()


def test_a_card_torn_away_after_any_byte_leaves_the_lock_shut_and_one_event(place: Place) -> None:
    whole = place.door.tap(place.card).result
    total = whole.bytes_out + whole.bytes_in - 8  # the next signature may be some bytes shorter in DER
    for number in range(total):
        before = len(place.records())
        assert place.tap(faults.torn_at_byte(place.card.card, number)) == "link-lost"
        assert len(place.records()) == before + 1
    assert place.tap(place.card) == "granted"


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("after_card", [False, True])
def test_a_card_that_leaves_at_an_exchange_is_one_event(place: Place, number: int, after_card: bool) -> None:
    assert place.tap(faults.torn_at_exchange(place.card.card, number, after_card=after_card)) == "link-lost"
    assert place.tap(place.card) == "granted"


def test_a_pulled_connection_is_one_event(place: Place) -> None:
    connection = connect(place.card.card)
    connection.pull()
    assert place.door.loop.tap(connection).reason is DoorReason.LINK_LOST


def wrapped(content: bytes) -> bytes:
    return wrap_object(CARD_CREDENTIAL.tag, content) + b"\x90\x00"


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (wrapped(b"\xd2" + b"\x81" * 200), "malformed-credential"),  # arrays in arrays
        (wrapped(b"\xd2\x9f" + b"\xff" * 40), "malformed-credential"),  # indefinite length
        (wrapped(b"\xd2\x84\x5b" + b"\xff" * 40), "malformed-credential"),  # a string of 2^64 bytes
        (wrapped(bytes(252)), "malformed-credential"),
        (wrapped(b"\x00" * 4000), "malformed-credential"),
        (b"\x53\x80\x00\x00\x90\x00", "malformed-answer"),  # indefinite TLV
        (b"\x53\x84\xff\xff\xff\xff\x90\x00", "malformed-answer"),
        (b"\x53\x81\x05hello\x90\x00", "malformed-answer"),  # length not in its shortest form
        (b"\x53\x05hello!\x90\x00", "malformed-answer"),  # a byte behind it
        (b"\x53\x00\x90\x00", "no-credential"),
        (b"\x90\x00", "malformed-answer"),
    ],
)
def test_malformed_credentials_have_a_typed_end(place: Place, answer: bytes, want: str) -> None:
    class Saying:
        atr = place.card.card.atr

        def transmit(self, apdu: bytes, interface: Interface) -> bytes:
            return answer if apdu[1] == 0xCB else place.card.card.transmit(apdu, interface)

        def reset(self) -> None:
            place.card.card.reset()

    assert place.tap(Saying()) == want


class Flipping:
    """A card with one bit of its evidence flipped: of the bytes that it answers after SELECT, the one at `at`."""

    def __init__(self, card: Card, at: int) -> None:
        self.card = card
        self.atr = card.atr
        self.left = at
        self.is_done = False

    def transmit(self, apdu: bytes, interface: Interface) -> bytes:
        answer = bytearray(self.card.transmit(apdu, interface))
        size = len(answer) - 2
        if apdu[1] != 0xA4 and not self.is_done:
            if self.left < size:
                answer[self.left] ^= 0x01
                self.is_done = True
            self.left -= size
        return bytes(answer)

    def reset(self) -> None:
        self.card.reset()


def test_one_flipped_bit_anywhere_in_the_evidence_never_opens(place: Place) -> None:
    at = 0
    while True:
        card = Flipping(place.card.card, at)
        opened = place.door.tap(card).opened
        if not card.is_done:
            break
        assert not opened, at
        at += 3
    assert at > 280


def _signature(r: int, s: int) -> bytes:
    return encode_dss_signature(r, s)


GOOD_R = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296


@pytest.mark.parametrize(
    "response",
    [
        b"",
        bytes(64),
        bytes(72),
        _signature(0, 1),
        _signature(1, 0),
        _signature(ORDER, 1),
        _signature(1, ORDER),
        _signature(ORDER + 1, ORDER + 1),
        _signature(GOOD_R, GOOD_R),
        b"\x30\x80" + bytes(8),
        b"\x30\x06\x02\x01\x00\x02\x01\x00",
        b"\x30\x07\x02\x01\x01\x02\x01\x01\x00",
        b"\x30\x08\x02\x02\x00\x01\x02\x02\x00\x01",
    ],
    ids=lambda value: value.hex()[:16] or "empty",
)
def test_junk_in_place_of_a_signature_is_bad(place: Place, response: bytes) -> None:
    assert place.tap(faults.fixed_response(place.card.card, response)) in ("bad-signature", "malformed-answer")


@pytest.mark.parametrize("x", [bytes(32), b"\xff" * 32, (5).to_bytes(32, "big")])
def test_a_credential_whose_key_is_no_point_is_malformed(place: Place, x: bytes) -> None:
    credential = replace(place.card.credential, key=replace(place.card.credential.key, x=x))
    raw = sign1(encode_card_credential(credential), place.world.card.kid, place.world.card.sign)
    expected = {"malformed-credential"} if not _is_on_curve(x) else {"bad-signature"}
    assert place.tap(carrying(place.card.key, raw)) in expected


def _is_on_curve(x: bytes) -> bool:
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x02" + x)
    except ValueError:
        return False
    return True
