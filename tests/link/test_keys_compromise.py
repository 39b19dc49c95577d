"""The compromise drill as commands: a key of each kind is given up; what happens to cards, doors and statements."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from card_office import HOME, Blank
from key_drill import KeyRoom, open_key_room, right_now, tap, within
from sqlalchemy import select, update

from cardlink.check.cache import CredentialCache, VerifiedCredential
from cardlink.check.card import check_identity, verify_credential
from cardlink.check.path import verify_card_certificate
from cardlink.statements.cose import parse_sign1
from cardlink.statements.cose_key import from_point
from cardlink.statements.identity import Identity
from cardlink.statements.qr import parse_fragment, read_qr, verify_qr
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import KeyEntry, KeyState, Use
from issuer import database
from issuer.access import bundles
from issuer.cards.tables import Card, CardCertificate
from issuer.trust import ca, masters, revocation, x509_roots
from issuer.trust.port import HsmError
from reader_daemon.daemon import Daemon


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyRoom]:
    with open_key_room(tmp_path_factory.mktemp("room")) as opened:
        opened.start_feed()
        yield opened


@pytest.fixture(scope="module")
def door(room: KeyRoom) -> Daemon:
    return room.door()


def entry(room: KeyRoom, label: str) -> KeyEntry:
    """A key in the list in force."""
    point = room.centre.hsm.info(label).public
    assert point is not None
    kid = from_point(point).kid()
    return next(one for one in room.list_in_force().content.keys if one.kid == kid)


def not_in_the_register(room: KeyRoom, card: Card) -> None:
    """Take a card's statement out of the register: as if the thief had made it."""
    with database.transaction(room.centre.factory) as session:
        session.execute(update(Card).where(Card.id == card.id).values(credential=None))


def opens(room: KeyRoom, door: Daemon, blank: Blank) -> None:
    room.poke()
    within(15, lambda: tap(door, blank) == "granted")


def test_a_card_signer_falls_and_only_cards_on_the_allow_list_still_open(
    room: KeyRoom, door: Daemon, tmp_path: Path
) -> None:
    known, blank = room.active_card()
    strange, forged = room.active_card()
    opens(room, door, blank)
    opens(room, door, forged)
    not_in_the_register(room, strange)
    hit = tmp_path / "the.txt"
    told = room.type("keys", "compromised", f"card-{HOME}-1", "--out", str(hit))
    assert told.splitlines()[:2] == [f"key card-{HOME}-1 is stopped in the HSM", f"card-{HOME}-2"]
    assert "1 cards bear a statement of this key, 1 of them stay good" in told
    assert hit.read_text() == f"{known.uuid}\n"
    room.follows(door)
    assert tap(door, blank) == "granted"
    assert tap(door, forged) == str(Reason.COMPROMISED_SIGNER)
    assert room.state_of(f"card-{HOME}-1") == "compromised"
    with pytest.raises(HsmError):
        room.centre.hsm.sign(f"card-{HOME}-1", "card", b"one more")
    assert [one.state for one in room.list_in_force().content.keys if one.use is Use.CARD and one.scope == (HOME,)] == [
        KeyState.COMPROMISED,
        KeyState.ACTIVE,
    ]
    _, new = room.active_card()
    opens(room, door, new)


def test_a_card_that_got_a_new_signature_leaves_the_allow_list(room: KeyRoom, door: Daemon) -> None:
    (uuid_bytes, _), *_ = room.list_in_force().content.allowed
    with database.transaction(room.centre.factory) as session:
        session.execute(update(Card).where(Card.uuid == uuid.UUID(bytes=uuid_bytes)).values(state="revoked"))
    room.type("keys", "trust-list", "--publish")
    assert room.list_in_force().content.allowed == ()


def test_cards_signed_after_the_day_of_the_theft_are_not_believed(room: KeyRoom, door: Daemon) -> None:
    _, blank = room.active_card()
    opens(room, door, blank)
    day = right_now().strftime("%d/%m/%Y")  # signed later than the beginning of today
    told = room.type("keys", "compromised", f"card-{HOME}-2", "--known-good-until", day)
    assert ", 0 of them stay good" in told
    room.follows(door)
    assert tap(door, blank) == str(Reason.COMPROMISED_SIGNER)


def identity_of(room: KeyRoom, card: Card) -> Identity | Refused:
    """What the identity statement of a card says to whoever trusts the list in force."""
    trust = room.list_in_force()
    assert card.credential is not None
    assert card.identity is not None
    beside = verify_credential(card.credential, trust, right_now(), CredentialCache())
    assert isinstance(beside, VerifiedCredential)
    return check_identity(card.identity, beside, trust, right_now())


def test_an_identity_signer_falls_and_its_cards_open_as_before(room: KeyRoom, door: Daemon) -> None:
    known, blank = room.active_card()
    strange, _ = room.active_card()
    opens(room, door, blank)
    not_in_the_register(room, strange)
    told = room.type("keys", "compromised", f"identity-{HOME}-1")
    assert "Encode each card again" in told
    room.follows(door)
    assert tap(door, blank) == "granted"
    assert isinstance(identity_of(room, known), Identity)
    refused = identity_of(room, strange)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.COMPROMISED_SIGNER


def test_a_qr_signer_falls_and_what_it_signed_is_refused_with_its_faces_listed(room: KeyRoom, door: Daemon) -> None:
    card, _ = room.active_card()
    assert card.qr_text is not None
    received = read_qr(parse_fragment(card.qr_text.split("#")[1]))
    assert not isinstance(verify_qr(received, room.list_in_force(), right_now()), Refused)
    told = room.type("keys", "compromised", f"qr-{HOME}-1")
    assert "Print the faces again" in told
    assert "0 cards" not in told
    refused = verify_qr(received, room.list_in_force(), right_now())
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.COMPROMISED_SIGNER


def test_a_bundle_signer_falls_and_every_door_gets_rules_of_the_new_one(room: KeyRoom, door: Daemon) -> None:
    _, blank = room.active_card()
    opens(room, door, blank)
    before = door.state.view.rules
    assert before is not None
    room.type("keys", "compromised", f"bundle-{HOME}-1")
    room.follows(door)
    within(10, lambda: door.state.view.rules is not None and door.state.view.rules.bundle.seq > before.bundle.seq)
    assert tap(door, blank) == "granted"
    with database.reading(room.centre.factory) as session:
        _, body = bundles.current(session, uuid.UUID(bytes=door.enrolment.door))
    assert parse_sign1(body, max_bytes=1 << 20).kid == entry(room, f"bundle-{HOME}-2").kid


def test_a_status_signer_falls_and_the_doors_begin_a_new_epoch(room: KeyRoom, door: Daemon) -> None:
    _, blank = room.active_card()
    opens(room, door, blank)
    room.type("keys", "compromised", f"status-{HOME}-1")
    room.follows(door)
    assert door.state.view.status is not None
    within(10, lambda: door.state.view.status is not None and door.state.view.status.epoch == 2)
    opens(room, door, blank)


def test_a_command_signer_falls(room: KeyRoom, door: Daemon) -> None:
    assert "Commands of the old key are refused" in room.type("keys", "compromised", f"command-{HOME}-1")
    room.follows(door)
    assert entry(room, f"command-{HOME}-1").state is KeyState.COMPROMISED


def test_an_issuing_authority_falls_with_its_content_signer_and_doors_drop_the_anchor(
    room: KeyRoom, door: Daemon
) -> None:
    told = room.type("keys", "compromised", f"x509-ca-{HOME}-1")
    assert told.splitlines()[1:3] == [f"x509-ca-{HOME}-2", f"x509-content-{HOME}-2"]
    room.follows(door)
    anchors = [one for one in room.list_in_force().content.anchors if one.scope == (HOME,)]
    assert len(anchors) == 1
    with database.reading(room.centre.factory) as session:
        revoked = {one.label: one.entries for one in revocation.described(session)}
    assert revoked["x509-root-1"] == 1
    _, blank = room.active_card()  # encoded under the new ones
    opens(room, door, blank)


def test_a_content_signer_falls(room: KeyRoom) -> None:
    assert f"x509-content-{HOME}-3" in room.type("keys", "compromised", f"x509-content-{HOME}-2")


def test_a_card_master_falls_and_its_cards_are_listed(room: KeyRoom, tmp_path: Path) -> None:
    old, _ = room.active_card()
    hit = tmp_path / "the.txt"
    assert "card-master-2" in room.type("keys", "compromised", "card-master-1", "--out", str(hit))
    assert str(old.uuid) in hit.read_text()
    with database.reading(room.centre.factory) as session:
        assert masters.current(session) == "card-master-2"
    new, _ = room.active_card()
    assert new.master_label == "card-master-2"


def test_the_command_may_be_run_again(room: KeyRoom) -> None:
    number = room.list_number()
    room.type("keys", "compromised", f"card-{HOME}-2")
    assert room.list_number() == number + 1
    assert entry(room, f"card-{HOME}-2").state is KeyState.COMPROMISED


def test_the_root_of_certificates_falls_and_cards_keep_theirs_under_a_new_one(
    room: KeyRoom, door: Daemon, tmp_path: Path
) -> None:
    card, _ = room.active_card()
    with database.reading(room.centre.factory) as session:
        query = select(CardCertificate).where(CardCertificate.card_id == card.id, CardCertificate.slot == "9E")
        mine = session.scalars(query).one()
        before = [ca.find(session, label).certificate for label in ("x509-root-1", mine.issuer_label)]
    told = room.type("keys", "compromised", "x509-root-1")
    assert told.splitlines()[:2] == ["key x509-root-1 is stopped in the HSM", "x509-root-2"]
    assert x509_roots.fingerprint(before[0]) in told
    assert "0 cards" in told
    room.follows(door)
    anchors = [one.certificate for one in room.list_in_force().content.anchors]
    assert before[1] not in anchors
    assert not isinstance(verify_card_certificate(mine.certificate, room.list_in_force(), right_now()), Refused)
    folder, leaf = tmp_path / "crl", tmp_path / "leaf.cer"
    leaf.write_bytes(mine.certificate)
    revocation.publish_due(room.centre.factory, room.centre.hsm, right_now())
    room.type("keys", "crl", "export", str(folder), officer=None)
    assert {"x509-root-2.crl", "x509-root-2.cer"} <= {one.name for one in folder.iterdir()}
    assert not list(folder.glob("*x509-root-1*"))
    assert "the certificate is good" in room.type("keys", "crl", "check", str(leaf), officer=None)
    _, blank = room.active_card()
    opens(room, door, blank)


def test_a_key_that_nobody_knows_is_refused(room: KeyRoom) -> None:
    assert "there is no key" in room.type("keys", "compromised", "card-H99-1", code=1)
