"""What a card or its bearer can try at a door, against a whole door and virtual cards in the in-process carrier."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from door_world import (
    DAY_S,
    OWNER,
    VISITOR,
    Issued,
    Key,
    ListLock,
    Machine,
    Running,
    World,
    connect,
    make_card,
    uuid4,
)

from cardlink.iso7816.sw import SW
from cardlink.piv.commands import wrap_object
from cardlink.piv.tables import CARD_CREDENTIAL, CERT_CARD_AUTH, Interface
from cardlink.statements.bundle import Mechanism, Rule
from cardlink.statements.card import encode_card_credential, issue_card_credential
from cardlink.statements.cose import sign1
from cardlink.statements.cose_key import ORDER
from cardlink.statements.record import Decision, Kind, decode_record
from cardlink.statements.status import Status
from cardlink.statements.trust import KeyState
from cardos import faults
from cardos.card import Card
from cardos.store import MemoryStore
from cardos.vpcd import Answering
from reader_daemon.reasons import ALARMS, DoorReason


class Place:
    """One person with a card, and a door that lets this person in."""

    def __init__(self, tmp_path: Path) -> None:
        self.world = World()
        self.card = self.world.issue()
        self.other = self.world.issue()
        self.door = self.world.ready_door(tmp_path / "door", self.world.everybody(self.card, self.other))

    def tap(self, card: Issued | Answering) -> str:
        return self.door.tap(card).said

    def records(self) -> list[tuple[str, str | None]]:
        rows = self.door.daemon.database.rows("SELECT record FROM records ORDER BY boot, seq")
        records = [decode_record(row[0]) for row in rows if isinstance(row[0], bytes)]
        return [(one.kind, one.reason) for one in records if one.kind == Kind.TAP]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.door.close()


# -- what must work ----------------------------------------------------------------------------------------------


def test_a_card_of_ours_opens_in_three_exchanges_and_at_most_450_bytes(place: Place) -> None:
    result = place.door.tap(place.card).result
    assert result.opened
    assert result.exchanges == 3
    assert result.bytes_out + result.bytes_in <= 450
    assert place.records() == [("tap", None)]


def test_the_contact_face_opens_as_well(place: Place) -> None:
    assert place.door.loop.tap(place.card.connect(Interface.CONTACT)).opened


def test_an_open_lock_is_shut_again_after_its_time(tmp_path: Path) -> None:
    world = World()
    card = world.issue()
    bundle = world.everybody(card)
    door = world.ready_door(tmp_path / "door", replace(bundle, settings=replace(bundle.settings, unlock_ms=30)))
    assert door.tap(card).opened
    assert _wait_for(lambda: door.lock.moves[-1] == "relock")
    assert door.lock.moves == ["relock", "unlock", "relock"]  # shut at the start, too
    door.close()


def test_a_visitor_of_the_other_agency_enters_by_the_rule_for_that_agency(tmp_path: Path) -> None:
    world = World()
    visitor, own = world.issue(VISITOR), world.issue()
    door = world.ready_door(tmp_path / "door", world.rules(Rule(1, True, (), (VISITOR,), 1)))
    assert door.tap(visitor).said == "granted"
    assert door.tap(own).said == DoorReason.UNKNOWN_CARD
    door.close()


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


def carrying(key: Key, raw: bytes) -> Card:
    return make_card(key, {CARD_CREDENTIAL.tag: raw})


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


# -- hostile and broken cards ------------------------------------------------------------------------------------


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


# -- the door itself ---------------------------------------------------------------------------------------------


def test_the_lock_moves_only_after_the_event_is_on_disk(tmp_path: Path) -> None:
    world = World()
    card = world.issue()
    door = world.ready_door(tmp_path / "door", world.everybody(card))

    class Watching(ListLock):
        def unlock(self, open_ms: int) -> None:
            rows = door.daemon.database.rows("SELECT record FROM records ORDER BY boot DESC, seq DESC LIMIT 1")
            assert isinstance(rows[0][0], bytes)
            record = decode_record(rows[0][0])
            assert record.decision is Decision.GRANTED
            assert record.card_uuid == card.credential.card_uuid
            super().unlock(open_ms)

    watching = Watching()
    door.loop.door._lock = watching
    assert door.loop.tap(card.connect()).opened
    assert watching.unlocks == 1
    door.close()


def test_a_lost_clock_opens_nothing_until_a_nonce_is_answered(tmp_path: Path) -> None:
    world = World()
    card = world.issue()
    door = world.ready_door(tmp_path / "door", world.everybody(card))
    door.close()
    machine = Machine(world.now)
    machine.wall_s = 0.0  # the battery of the clock is empty: 1970
    again = world.open_door(door.config, machine)
    assert again.tap(card).said == DoorReason.CLOCK_LOST
    again.freshen()
    assert again.tap(card).said == "granted"
    again.close()


def test_the_door_goes_on_offline_flags_and_at_last_denies(place: Place) -> None:
    place.door.machine.run(3601)
    result = place.door.tap(place.card).result
    assert result.opened
    assert result.decision.is_stale
    place.door.machine.run(DAY_S)
    assert place.tap(place.card) == DoorReason.STALE


def test_two_readers_tap_at_the_same_time_and_every_event_is_stored_once(place: Place) -> None:
    import threading

    def many(card: Issued) -> None:
        for _ in range(25):
            assert place.door.loop.tap(card.connect()).opened

    threads = [threading.Thread(target=many, args=(card,)) for card in (place.card, place.other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(place.records()) == 50


def _wait_for(condition: Callable[[], bool], wait_s: float = 3.0) -> bool:
    import time

    deadline = time.monotonic() + wait_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_an_anchor_that_is_no_certificate_refuses_the_card_and_not_the_door(tmp_path: Path) -> None:
    world, key, card_uuid = World(), Key(), uuid4()
    with certificate_door(tmp_path, world, key, card_uuid, Mechanism.PKI_CAK) as door:
        content = world.trust_list(2)
        broken = replace(content, anchors=(replace(content.anchors[0], certificate=b"junk"),))
        assert door.state.take_trust(world.issue_trust(broken)) is None
        assert door.tap(world.certificate_card(key, card_uuid)).said == "unknown-signer"
