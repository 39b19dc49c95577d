"""A door that asks the door application first: what opens, what does not, and when it goes on to PIV."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from door_cards import Issued, Key
from door_world import Running, World

from cardlink.access.door import DOOR_AID, encode_door_answer
from cardlink.check.evidence import CredentialEvidence
from cardlink.iso7816.apdu import Ins
from cardlink.iso7816.sw import SUCCESS_BYTES, SW
from cardlink.piv.tables import CARD_CREDENTIAL, Interface
from cardlink.statements.bundle import Bundle, Mechanism
from cardlink.statements.status import Status
from cardos import faults
from cardos.card import Card
from cardos.faults import Faulty
from cardos.hostile.faulty import Transmit
from cardos.store import MemoryStore
from reader_daemon.evidence import Metered, collect
from reader_daemon.reasons import DoorReason

BOTH = (Mechanism.DOOR_APPLICATION, Mechanism.CREDENTIAL)
ONLY = (Mechanism.DOOR_APPLICATION,)


def speaking(bundle: Bundle, mechanisms: tuple[Mechanism, ...]) -> Bundle:
    return replace(bundle, settings=replace(bundle.settings, mechanisms=mechanisms))


class Place:
    def __init__(self, path: Path, mechanisms: tuple[Mechanism, ...] = BOTH) -> None:
        self.world = World()
        self.card, self.other = self.world.issue(), self.world.issue()
        self.door: Running = self.world.ready_door(
            path / "door", speaking(self.world.everybody(self.card, self.other), mechanisms)
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.door.close()


def on_door_command(card: Card, answer: Callable[[bytes], bytes]) -> Faulty:
    def transmit(apdu: bytes, interface: Interface) -> bytes:
        return answer(apdu) if apdu[1] == Ins.INTERNAL_AUTHENTICATE else card.transmit(apdu, interface)

    return Faulty(card, transmit)


def without_door_application(card: Card, sw: int = SW.NOT_FOUND) -> Faulty:
    def transmit(apdu: bytes, interface: Interface) -> bytes:
        if apdu[1] == Ins.SELECT and DOOR_AID in apdu:
            return sw.to_bytes(2, "big")
        return card.transmit(apdu, interface)

    return Faulty(card, transmit)


def test_a_card_of_ours_opens_in_two_exchanges(place: Place) -> None:
    result = place.door.tap(place.card).result
    assert result.opened
    assert result.exchanges == 2
    assert result.bytes_out + result.bytes_in <= 450
    assert result.card is not None
    assert result.card.mechanism is Mechanism.DOOR_APPLICATION


def test_it_says_of_a_card_what_the_piv_way_says(place: Place) -> None:
    by_application = place.door.tap(place.card).result.card
    by_piv = place.door.tap(without_door_application(place.card.card)).result.card
    assert by_application is not None
    assert by_piv is not None
    assert by_piv.mechanism is Mechanism.CREDENTIAL
    assert replace(by_application, mechanism=Mechanism.CREDENTIAL) == by_piv


@pytest.mark.parametrize("sw", [SW.NOT_FOUND, SW.FUNCTION_NOT_SUPPORTED, SW.INS_NOT_SUPPORTED, SW.NO_PRECISE_DIAGNOSIS])
def test_a_card_without_it_is_asked_by_piv(place: Place, sw: SW) -> None:
    result = place.door.tap(without_door_application(place.card.card, sw)).result
    assert result.opened
    assert result.exchanges == 4


@pytest.mark.parametrize("sw", [SW.REFERENCE_NOT_FOUND, SW.INS_NOT_SUPPORTED, SW.SECURITY_STATUS_NOT_SATISFIED])
def test_a_card_that_does_not_answer_there_is_asked_by_piv(place: Place, sw: SW) -> None:
    card = on_door_command(place.card.card, lambda apdu: int(sw).to_bytes(2, "big"))
    assert place.door.tap(card).said == "granted"


def test_behind_a_reader_of_short_apdus_the_short_form_serves(place: Place) -> None:
    def transmit(apdu: bytes, interface: Interface) -> bytes:
        if len(apdu) > 5 and apdu[4] == 0:
            return int(SW.WRONG_LENGTH).to_bytes(2, "big")
        return place.card.card.transmit(apdu, interface)

    result = place.door.tap(Faulty(place.card.card, transmit)).result
    assert result.opened
    assert result.card is not None
    assert result.card.mechanism is Mechanism.DOOR_APPLICATION
    assert result.exchanges == 4


def test_where_only_it_is_allowed_no_other_way_opens(tmp_path: Path) -> None:
    place = Place(tmp_path, ONLY)
    assert place.door.tap(place.card).said == "granted"
    assert place.door.tap(without_door_application(place.card.card)).said == DoorReason.NO_CREDENTIAL
    place.door.close()


def test_a_door_of_before_that_allows_only_the_credential_does_not_ask_it(tmp_path: Path) -> None:
    place = Place(tmp_path, (Mechanism.CREDENTIAL,))
    result = place.door.tap(place.card).result
    assert result.opened
    assert result.exchanges == 3
    place.door.close()


def test_a_rule_that_demands_the_credential_takes_it(tmp_path: Path) -> None:
    world = World()
    card = world.issue()
    for demands, said in (((1,), "granted"), ((2,), "granted"), ((3,), DoorReason.DEMANDS_MORE)):
        bundle = speaking(world.everybody(card), BOTH)
        rules = tuple(replace(rule, demands=demands) for rule in bundle.rules)
        door = world.ready_door(tmp_path / f"door{demands[0]}", replace(bundle, rules=rules))
        assert door.tap(card).said == said
        door.close()


# -- what must not open ------------------------------------------------------------------------------------------


def test_a_clone_with_copied_public_data_is_refused(place: Place) -> None:
    clone = Card(MemoryStore(faults.clone(place.card.card)))
    assert place.door.tap(clone).said == "bad-signature"


def with_credential_of(answering: Issued, shown: Issued) -> Transmit:
    """`answering` gives its own signature beside the credential and the y of `shown`."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        answer = answering.card.transmit(apdu, interface)
        if apdu[1] != Ins.INTERNAL_AUTHENTICATE:
            return answer
        own = answer[answer.index(b"\x86\x20") :]
        stored = shown.card.persistent.objects[CARD_CREDENTIAL.tag]
        return stored + b"\x86\x20" + shown.card.persistent.point(0x9E)[33:] + own[34:]

    return transmit


def test_a_credential_of_another_card_is_refused(place: Place) -> None:
    swapped = Faulty(place.other.card, with_credential_of(place.other, place.card))
    assert place.door.tap(swapped).said == "bad-signature"


def test_a_recorded_answer_opens_no_second_time(place: Place) -> None:
    kept: list[bytes] = []

    def replay(apdu: bytes) -> bytes:
        if not kept:
            kept.append(place.card.card.transmit(apdu, Interface.CONTACTLESS))
        return kept[0]

    replaying = on_door_command(place.card.card, replay)
    assert place.door.tap(replaying).said == "granted"
    assert place.door.tap(replaying).said == "bad-signature"


def test_an_answer_for_another_door_is_refused(place: Place) -> None:
    def for_another(apdu: bytes) -> bytes:
        return place.card.card.transmit(apdu[:7] + bytes(16) + apdu[23:], Interface.CONTACTLESS)

    assert place.door.tap(on_door_command(place.card.card, for_another)).said == "bad-signature"


def test_y_of_another_point_helps_nobody(place: Place) -> None:
    attacker = Key()

    def forged(apdu: bytes) -> bytes:
        stored = place.card.card.persistent.objects[CARD_CREDENTIAL.tag]
        y = attacker.private.public_key().public_numbers().y.to_bytes(32, "big")
        return (
            encode_door_answer(
                stored, y, attacker.private.sign(b"themo-door-1" + apdu[7:55], ec.ECDSA(hashes.SHA256()))
            )
            + SUCCESS_BYTES
        )

    assert place.door.tap(on_door_command(place.card.card, forged)).said == "bad-signature"


@pytest.mark.parametrize(
    "answer",
    [b"", bytes(300), b"\x53\x00", b"\x53\x00\x86\x00\x82\x00", b"\xff" * 8, b"\x53\x82\xff\xff" + bytes(64)],
)
def test_an_answer_out_of_form_is_refused_and_not_asked_again(place: Place, answer: bytes) -> None:
    result = place.door.tap(on_door_command(place.card.card, lambda apdu: answer + SUCCESS_BYTES)).result
    assert not result.opened
    assert result.reason in (DoorReason.MALFORMED_ANSWER, "malformed-credential")
    assert result.exchanges == 2


def test_a_revoked_card_is_refused_by_this_way_too(place: Place) -> None:
    assert place.door.state.take_event(place.world.set_status(place.card, Status.REVOKED)) is None
    assert place.door.tap(place.card).said == DoorReason.REVOKED


def test_each_question_has_a_nonce_of_its_own(place: Place) -> None:
    asked: list[bytes] = []
    seen = on_door_command(
        place.card.card, lambda apdu: (asked.append(apdu), place.card.card.transmit(apdu, Interface.CONTACTLESS))[1]
    )
    for _ in range(2):
        place.door.tap(seen)
    assert len({apdu[23:55] for apdu in asked}) == 2
    assert {apdu[7:23] for apdu in asked} == {place.world.door}


def test_the_evidence_says_how_it_was_got(place: Place) -> None:
    evidence = collect(Metered(place.card.connect(Interface.CONTACTLESS), 2.0), place.world.door, BOTH)
    assert isinstance(evidence, CredentialEvidence)
    assert evidence.mechanism is Mechanism.DOOR_APPLICATION
    assert evidence.y == place.card.card.persistent.point(0x9E)[33:]
