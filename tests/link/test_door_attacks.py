"""What a card or its bearer can try at a door: copies, replays, statements that do not count, downgrades."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from door_cards import Issued, Key, make_card, uuid4
from door_place import Place, carrying
from door_world import DAY_S, OWNER, VISITOR, Running, World

from cardlink.iso7816.sw import SW
from cardlink.piv.tables import CARD_CREDENTIAL, CERT_CARD_AUTH, Interface
from cardlink.statements.bundle import Mechanism, Rule
from cardlink.statements.card import encode_card_credential, issue_card_credential
from cardlink.statements.cose import sign1
from cardlink.statements.status import Status
from cardlink.statements.trust import KeyState
from cardos import faults
from cardos.card import Card
from cardos.store import MemoryStore
from reader_daemon.reasons import ALARMS, DoorReason


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.door.close()


# -- copies, replays, swapped objects ----------------------------------------------------------------------------


def test_a_clone_with_copied_public_data_is_an_alarm(place: Place) -> None:
    clone = Card(MemoryStore(faults.clone(place.card.card)))
    assert place.tap(clone) == "bad-signature"
    assert place.door.tap(clone).result.reason in ALARMS


def test_a_statement_of_card_a_on_card_b_is_refused(place: Place) -> None:
    swapped = faults.swapped_objects(place.other.card, place.card.card, (CARD_CREDENTIAL.tag,))
    assert place.tap(swapped) == "bad-signature"


def test_a_card_that_has_another_answer_its_challenge_is_refused(place: Place) -> None:
    assert place.tap(faults.swapped_key(place.card.card, place.other.card)) == "bad-signature"


def test_a_recorded_answer_opens_once_at_most(place: Place) -> None:
    replaying = faults.replayed(place.card.card)
    assert place.tap(replaying) == "granted"
    assert place.tap(replaying) == "bad-signature"
    assert place.tap(place.card) == "granted"


def test_an_answer_for_another_door_is_refused_here(place: Place, tmp_path: Path) -> None:
    there = replace(place.world, door=uuid4())
    recording = faults.replayed(place.card.card)
    other_door = there.ready_door(tmp_path / "other", there.everybody(place.card))
    assert other_door.tap(recording).said == "granted"
    assert place.tap(recording) == "bad-signature"
    other_door.close()


def test_the_same_nonce_at_another_door_asks_for_another_signature(place: Place, tmp_path: Path) -> None:
    there = replace(place.world, door=uuid4())
    recording = faults.replayed(place.card.card)
    other_door = there.ready_door(tmp_path / "other", there.everybody(place.card))
    place.door.loop.draw = other_door.loop.draw = bytes  # both draw zeros: only the door's number differs
    assert other_door.tap(recording).said == "granted"
    assert place.tap(recording) == "bad-signature"
    other_door.close()


# -- statements that should not count ----------------------------------------------------------------------------


def test_a_signer_of_another_agency_cannot_put_a_known_number_on_its_own_key(place: Place) -> None:
    key = Key()
    forged = place.world.credential(key, VISITOR, card_uuid=place.card.credential.card_uuid)
    raw = issue_card_credential(forged, place.world.visitor_card.kid, place.world.visitor_card.sign)
    assert place.tap(carrying(key, raw)) == DoorReason.KEY_HASH_MISMATCH


def test_a_signer_outside_its_agencys_scope_is_refused(place: Place) -> None:
    key = Key()
    raw = issue_card_credential(
        place.world.credential(key, OWNER), place.world.visitor_card.kid, place.world.visitor_card.sign
    )
    assert place.tap(carrying(key, raw)) == "out-of-scope"


@pytest.mark.parametrize(
    ("signer", "want"), [("unknown", "unknown-signer"), ("status", "wrong-use"), ("self", "self-signed")]
)
def test_unknown_misused_and_own_signers_each_have_their_reason(place: Place, signer: str, want: str) -> None:
    key = Key()
    signing = {"unknown": Key(), "status": place.world.status, "self": key}[signer]
    raw = issue_card_credential(place.world.credential(key), signing.kid, signing.sign)
    assert place.tap(carrying(key, raw)) == want


@pytest.mark.parametrize("change", ["agency", "expires_s", "status_index"])
def test_altered_claims_are_refused_also_while_the_card_is_cached(place: Place, change: str) -> None:
    assert place.tap(place.card) == "granted"
    values: dict[str, object] = {"agency": f"{OWNER}.09", "expires_s": 4_000_000_000, "status_index": 999}
    altered = replace(place.card.credential, **{change: values[change]})  # type: ignore[arg-type]  # one of the above
    kid, signature = place.world.card.kid, place.card.raw[-64:]
    raw = sign1(encode_card_credential(altered), kid, lambda _: signature)
    assert place.tap(carrying(place.card.key, raw)) == "forged-statement"


def test_an_expired_card_is_refused_also_while_it_is_cached(place: Place) -> None:
    short = place.world.issue(expires_s=place.world.now_s + 60)
    place.door.state.take_bundle(place.world.issue_rules(place.world.everybody(short)))
    assert place.tap(short) == "granted"
    place.door.machine.run(61)
    assert place.tap(short) == "expired"


def test_a_card_signed_later_than_now_is_not_yet_valid(place: Place) -> None:
    early = place.world.issue(issued_s=place.world.now_s + DAY_S)
    assert place.tap(early) == "not-yet-valid"


def test_a_card_of_an_agency_without_a_rule_is_refused(tmp_path: Path) -> None:
    world = World()
    door = world.ready_door(tmp_path / "door", world.rules(Rule(1, True, (), (OWNER,), 1)))
    assert door.tap(world.issue(VISITOR)).said == DoorReason.NOT_THIS_AGENCY
    door.close()


def test_a_compromised_signer_takes_its_cards_with_it_but_for_those_allowed(place: Place) -> None:
    assert place.tap(place.card) == "granted"
    content = place.world.trust_list(2)
    keys = tuple(
        replace(one, state=KeyState.COMPROMISED) if one.kid == place.world.card.kid else one for one in content.keys
    )
    allowed = ((place.other.credential.card_uuid, place.other.credential.key.key_hash()),)
    raw = place.world.issue_trust(replace(content, keys=keys, allowed=allowed))
    assert place.door.state.take_trust(raw) is None
    assert place.tap(place.card) == "compromised-signer"  # its verified credential was in the cache until now
    assert place.tap(place.other) == "granted"


def test_a_trust_list_that_ran_out_lets_nobody_in(place: Place) -> None:
    place.door.machine.run(20 * DAY_S + 1)
    bundle = place.world.everybody(place.card)
    settings = replace(bundle.settings, deny_stale_s=60 * DAY_S)
    assert place.door.state.take_bundle(place.world.issue_rules(replace(bundle, settings=settings))) is not None
    assert place.tap(place.card) == "trust-expired"


# -- status ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "want"), [(Status.REVOKED, "revoked"), (Status.SUSPENDED, "suspended"), (Status.STOLEN, "stolen")]
)
def test_a_change_of_status_between_two_taps_is_seen_at_the_second(place: Place, status: Status, want: str) -> None:
    assert place.tap(place.card) == "granted"  # and its credential is cached
    assert place.door.state.take_event(place.world.set_status(place.card, status)) is None
    assert place.tap(place.card) == want
    assert place.tap(place.other) == "granted"


def test_a_suspension_that_is_lifted_opens_again(place: Place) -> None:
    place.door.state.take_event(place.world.set_status(place.card, Status.SUSPENDED))
    assert place.tap(place.card) == "suspended"
    place.door.state.take_event(place.world.set_status(place.card, Status.VALID))
    assert place.tap(place.card) == "granted"


def test_a_card_whose_place_is_beyond_the_list_is_refused(place: Place) -> None:
    beyond = place.world.issue(status_index=1000)
    elsewhere = place.world.issue(status_list=2)
    place.door.state.take_bundle(place.world.issue_rules(place.world.everybody(beyond, elsewhere)))
    assert place.tap(beyond) == "index-beyond-end"
    assert place.tap(elsewhere) == "unknown-list"


# -- downgrades --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sw", [SW.FUNCTION_NOT_SUPPORTED, SW.SECURITY_STATUS_NOT_SATISFIED, SW.INCORRECT_P1P2])
def test_a_card_that_claims_not_to_know_its_key_is_refused(place: Place, sw: SW) -> None:
    assert place.tap(faults.no_9e(place.card.card, sw=sw)) == DoorReason.NO_CARD_KEY


def test_a_card_with_only_a_chuid_is_refused(place: Place) -> None:
    assert place.tap(faults.only_chuid(place.card.card)) == DoorReason.NO_CREDENTIAL


def test_a_card_that_hides_its_credential_behind_6982_is_refused(place: Place) -> None:
    class Hiding:
        atr = place.card.card.atr

        def transmit(self, apdu: bytes, interface: Interface) -> bytes:
            return b"\x69\x82" if apdu[1] == 0xCB else place.card.card.transmit(apdu, interface)

        def reset(self) -> None:
            place.card.card.reset()

    assert place.tap(Hiding()) == DoorReason.CARD_REFUSED


@contextmanager
def certificate_door(
    tmp_path: Path, world: World, key: Key, card_uuid: bytes, *mechanisms: Mechanism
) -> Iterator[Running]:
    """A door whose rules name this key, for these mechanisms."""
    person = Issued(make_card(None, {}), key, world.credential(key, card_uuid=card_uuid), b"")
    bundle = world.everybody(person)
    door = world.ready_door(
        tmp_path / "door", replace(bundle, settings=replace(bundle.settings, mechanisms=mechanisms))
    )
    yield door
    door.close()


def test_a_card_without_a_credential_is_checked_by_certificate_only_where_the_rules_allow(tmp_path: Path) -> None:
    world, key, card_uuid = World(), Key(), uuid4()
    card = world.certificate_card(key, card_uuid)
    with certificate_door(tmp_path / "a", world, key, card_uuid, Mechanism.CREDENTIAL) as door:
        assert door.tap(card).said == DoorReason.NO_CREDENTIAL
    with certificate_door(tmp_path / "b", world, key, card_uuid, Mechanism.CREDENTIAL, Mechanism.PKI_CAK) as door:
        assert door.tap(card).said == "granted"
    with certificate_door(tmp_path / "c", world, key, card_uuid, Mechanism.PKI_AUTH_PIN) as door:
        assert door.tap(card).said == DoorReason.MECHANISM_NOT_ALLOWED


def test_the_certificate_of_a_with_the_key_of_b_and_a_certificate_for_another_purpose_are_refused(
    tmp_path: Path,
) -> None:
    world, key, card_uuid = World(), Key(), uuid4()
    card = world.certificate_card(key, card_uuid)
    stranger = world.certificate_card(Key(), uuid4())
    wrong_purpose = world.certificate_card(key, card_uuid, purpose="1.3.6.1.5.5.7.3.2")
    with certificate_door(tmp_path, world, key, card_uuid, Mechanism.PKI_CAK) as door:
        assert door.tap(card).said == "granted"
        assert door.tap(faults.swapped_objects(stranger, card, (CERT_CARD_AUTH.tag,))).said == "bad-signature"
        assert door.tap(stranger).said == DoorReason.UNKNOWN_CARD
        assert door.tap(wrong_purpose).said == "wrong-eku"


def test_a_card_of_another_kind_is_no_card_of_this_system(place: Place) -> None:
    class Other:
        atr = b"\x3b\x00"

        def transmit(self, apdu: bytes, interface: Interface) -> bytes:
            return b"\x6a\x82"

        def reset(self) -> None:
            """Nothing to forget."""

    assert place.tap(Other()) == DoorReason.NOT_A_PIV_CARD


def test_an_anchor_that_is_no_certificate_refuses_the_card_and_not_the_door(tmp_path: Path) -> None:
    world, key, card_uuid = World(), Key(), uuid4()
    with certificate_door(tmp_path, world, key, card_uuid, Mechanism.PKI_CAK) as door:
        content = world.trust_list(2)
        broken = replace(content, anchors=(replace(content.anchors[0], certificate=b"junk"),))
        assert door.state.take_trust(world.issue_trust(broken)) is None
        assert door.tap(world.certificate_card(key, card_uuid)).said == "unknown-signer"
