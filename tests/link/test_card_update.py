"""An issued card brought up to date at a station: the drill from the fallen key to the door, and everything refused."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from card_office import ADMIN, APPROVER, ENCODER, HOME, OTHER, Blank, Centre, officer, open_centre, silent
from near_door import NearDoor, near_door
from sqlalchemy import select
from sqlalchemy import update as sql_update

from cardlink.piv.commands import wrap_object
from cardlink.piv.tables import CARD_CREDENTIAL
from cardlink.statements.refusal import Reason
from cardlink.statements.trust import Trust, accept_trust_list
from issuer import database
from issuer.__main__ import run as issuer_command
from issuer.audit import log as audit
from issuer.cards import blocking, lifecycle, outdated, update, update_plan
from issuer.cards.blocking import BlockReason
from issuer.cards.personalise import Done
from issuer.cards.run import run
from issuer.cards.tables import Card
from issuer.cards.update_plan import Cause, What, Why
from issuer.errors import Conflict, Forbidden, Refused
from issuer.policy import Actor
from issuer.policy import Role as Office
from issuer.trust import compromise, publication, rotation, trust_list
from issuer.trust.publication import nothing
from issuer.trust.tables import SignerRow


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


@pytest.fixture(scope="module")
def door(centre: Centre, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NearDoor]:
    with near_door(centre, tmp_path_factory.mktemp("door") / "near") as opened:
        yield opened


def fell(centre: Centre, label: str) -> compromise.Drill:
    """`issuer keys compromised LABEL`, a second after what was signed last."""
    centre.clock.pass_by(timedelta(seconds=1))
    return compromise.compromised(centre.factory, centre.ceremony, ADMIN, label, centre.clock())


def published(centre: Centre) -> Trust:
    """`issuer keys trust-list --publish`."""
    publication.publish(centre.factory, centre.ceremony, centre.clock(), nothing)
    with database.reading(centre.factory) as session:
        trust = accept_trust_list(trust_list.current(session), trust_list.roots(session), centre.clock())
    assert isinstance(trust, Trust)
    return trust


def updated(centre: Centre, card: Card, blank: Blank, actor: Actor = ENCODER) -> object:
    job = update.start(centre.factory, centre.hsm, actor, card.id, centre.clock)
    return run(blank.connect(), job, silent).outcome


def causes(centre: Centre, card: Card) -> tuple[Cause, ...]:
    with database.reading(centre.factory) as session:
        found = lifecycle.find(session, card.id)
        return update_plan.causes_of(session, found, update_plan.keys_at_fault(session, centre.clock()))


def waiting(centre: Centre, actor: Actor = ENCODER) -> dict[uuid.UUID, tuple[Cause, ...]]:
    with database.reading(centre.factory) as session:
        return {one.card.id: one.causes for one in outdated.waiting(session, actor, centre.clock())}


def on_chip(blank: Blank) -> bytes:
    return blank.chip.persistent.objects[CARD_CREDENTIAL.tag]


def audited(centre: Centre, card: Card) -> list[str]:
    with database.reading(centre.factory) as session:
        return [row.action for row in audit.entries(session, subject=str(card.uuid))]


def test_the_whole_drill_from_the_fallen_card_signer_to_the_door(centre: Centre, door: NearDoor) -> None:
    card, blank = centre.active()
    door.hear()
    assert door.tap(blank) == "granted"
    keys, references = dict(blank.chip.persistent.keys), dict(blank.chip.persistent.references)
    drill = fell(centre, f"card-{HOME}-1")
    assert card.uuid in drill.cards
    assert causes(centre, card) == (Cause(What.CREDENTIAL, f"card-{HOME}-1", Why.COMPROMISED),)
    assert waiting(centre)[card.id] == causes(centre, card)
    assert card.uuid.bytes in {one for one, _ in published(centre).content.allowed}
    door.hear()
    assert door.tap(blank) == "granted"  # on the allow-list
    old = on_chip(blank)

    assert updated(centre, card, blank) == Done(card.id, card.uuid)

    found = centre.card(card.id)
    assert (found.state, found.uuid, found.key_hash, found.kvn) == (card.state, card.uuid, card.key_hash, card.kvn)
    assert found.credential_label == f"card-{HOME}-2"
    assert wrap_object(CARD_CREDENTIAL.tag, found.credential or b"") == on_chip(blank) != old
    assert blank.chip.persistent.keys == keys
    assert blank.chip.persistent.references == references  # PIN and PUK, and their tries
    assert causes(centre, card) == ()
    assert card.id not in waiting(centre)
    assert card.uuid.bytes not in {one for one, _ in published(centre).content.allowed}
    door.hear()
    assert door.tap(blank) == "granted"
    assert audited(centre, card)[:2] == ["card.updated", "card.update_begun"]  # newest first

    # whoever has copied the former credential and puts it back has a card that no door believes
    new = on_chip(blank)
    blank.chip.persistent.objects[CARD_CREDENTIAL.tag] = old
    assert door.tap(blank) == str(Reason.COMPROMISED_SIGNER)
    blank.chip.persistent.objects[CARD_CREDENTIAL.tag] = new
    with database.reading(centre.factory) as session:
        told = outdated.progress_of(session, f"card-{HOME}-1", centre.clock())
    assert (told.done, told.total) == (1, 1)
    with pytest.raises(Refused, match=r"updates\.up_to_date"):
        updated(centre, card, blank)


def test_a_card_that_is_torn_between_signing_and_writing_stays_on_the_allow_list(
    centre: Centre, door: NearDoor
) -> None:
    """Its holder went home with the old signature: doors have to go on believing that."""
    card, blank = centre.active()
    fell(centre, centre.card(card.id).credential_label or "")
    job = update.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)
    answer: bytes | None = None
    connection = blank.connect()
    while job.step != f"write-{CARD_CREDENTIAL.tag:X}":
        following = job.advance(answer)
        answer = connection.transmit(following.apdu)  # type: ignore[union-attr]  # Send, or the test fails here
    job.abandon()
    assert card.uuid.bytes in {one for one, _ in published(centre).content.allowed}
    door.hear()
    assert door.tap(blank) == "granted"
    assert updated(centre, card, blank) == Done(card.id, card.uuid)


def test_officers_of_another_agency_and_approvers_are_refused(centre: Centre) -> None:
    card, blank = outdated_card(centre)
    stranger = officer("cán bộ nơi khác", Office.CARD_OFFICE, OTHER)
    assert card.id not in waiting(centre, stranger)
    with pytest.raises(Forbidden, match=r"policy\.other_agency"):
        updated(centre, card, blank, stranger)
    both = Actor(APPROVER.user_id, APPROVER.name, ((Office.CARD_OFFICE, HOME),))
    with pytest.raises(Forbidden, match=r"cards\.approver_encodes"):
        updated(centre, card, blank, both)
    with pytest.raises(Forbidden, match=r"policy\.no_role"):
        updated(centre, card, blank, ADMIN)


def outdated_card(centre: Centre) -> tuple[Card, Blank]:
    """An active card under a key that has fallen."""
    card, blank = centre.active()
    fell(centre, card.credential_label or "")
    return card, blank


def test_another_card_of_ours_is_refused_and_left_as_it_is(centre: Centre) -> None:
    card, blank = outdated_card(centre)
    _, other = centre.active()
    before = dict(other.chip.persistent.objects)
    with pytest.raises(Refused, match=r"updates\.other_card"):
        updated(centre, card, other)
    assert other.chip.persistent.objects == before
    assert updated(centre, card, blank) == Done(card.id, card.uuid)


def test_a_foreign_card_that_names_the_same_chip_is_refused_before_anything_is_signed(centre: Centre) -> None:
    card, _ = outdated_card(centre)
    centre.blanks -= 1  # a blank with this card's number and the maker's keys: not the keys that we loaded
    foreign = centre.blank()
    assert foreign.serial == card.stock_serial
    with pytest.raises(Refused, match=r"updates\.not_ours"):
        updated(centre, card, foreign)
    with database.reading(centre.factory) as session:
        found = update.find_open(session, card.id)
        assert found is not None
        assert update.signed_anew(session, found.id) == {}


@pytest.mark.parametrize("reason", [BlockReason.LOST, BlockReason.STOLEN, BlockReason.SUSPENDED, BlockReason.DAMAGED])
def test_a_blocked_card_is_refused(centre: Centre, reason: BlockReason) -> None:
    card, blank = outdated_card(centre)
    with database.transaction(centre.factory) as session:
        blocking.block(session, centre.hsm, ENCODER, card.id, reason, centre.clock())
    with pytest.raises(Refused, match=r"updates\.blocked"):
        updated(centre, card, blank)


def test_revoked_cards_and_cards_past_their_day_are_refused(centre: Centre) -> None:
    card, blank = outdated_card(centre)
    with database.transaction(centre.factory) as session:
        session.get_one(Card, card.id).expires_on = centre.clock().date() - timedelta(days=1)
    with pytest.raises(Refused, match=r"cards\.expired"):
        updated(centre, card, blank)
    with database.transaction(centre.factory) as session:
        session.get_one(Card, card.id).expires_on = card.expires_on
        blocking.revoke(session, centre.hsm, ENCODER, card.id, "hết dùng", centre.clock())
    with pytest.raises(Refused, match=r"updates\.ended"):
        updated(centre, card, blank)
    assert card.id not in waiting(centre)


def test_two_stations_cannot_update_one_card_at_once(centre: Centre) -> None:
    card, blank = outdated_card(centre)
    first = update.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)
    with pytest.raises(Conflict, match=r"cards\.job_taken"):
        updated(centre, card, blank)
    first.abandon()
    assert updated(centre, card, blank) == Done(card.id, card.uuid)


def test_what_a_replaced_signer_signed_is_renewed_at_the_station_and_no_reason_to_call_a_card_in(
    centre: Centre,
) -> None:
    card, blank = centre.active()
    centre.clock.pass_by(timedelta(seconds=1))
    rotation.rotate_signer(centre.factory, centre.ceremony, ADMIN, "identity", HOME, centre.clock())
    assert causes(centre, card) == (Cause(What.IDENTITY, card.identity_label or "", Why.REPLACED),)
    assert card.id not in waiting(centre)
    assert updated(centre, card, blank) == Done(card.id, card.uuid)
    assert causes(centre, card) == ()


def test_a_card_is_called_in_before_doors_stop_believing_its_signer_and_not_when_it_ends_itself(centre: Centre) -> None:
    card, _ = centre.active()
    for until, is_due in ((59, True), (61, False)):
        with database.transaction(centre.factory) as session:
            signer = session.get_one(SignerRow, card.credential_label)
            kept, signer.verifies_until = signer.verifies_until, centre.clock() + timedelta(days=until)
        assert ([one.why for one in waiting(centre).get(card.id, ())] == [Why.ENDING]) is is_due
        with database.transaction(centre.factory) as session:
            session.get_one(Card, card.id).expires_on = centre.clock().date() + timedelta(days=50)
        assert card.id not in waiting(centre)
        with database.transaction(centre.factory) as session:
            session.get_one(Card, card.id).expires_on = card.expires_on
            session.get_one(SignerRow, card.credential_label).verifies_until = kept


def test_the_commands_list_who_waits_say_what_is_due_and_how_far_it_has_come(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card, _ = outdated_card(centre)
    environ = {
        "THEMO_CENTRE_DATA_DIR": str(tmp_path),
        "THEMO_CENTRE_DATABASE_URL": str(centre.factory.kw["bind"].url),
        "THEMO_CENTRE_INSTALLATION": HOME,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def typed(*words: str, code: int = 0) -> str:
        assert issuer_command(["--lang", "en", "cards", *words]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    hit = tmp_path / "waiting.txt"
    told = typed("outdated", "--agency", HOME, "--out", str(hit))
    assert str(card.uuid) in hit.read_text().split()
    assert f"{card.credential_label}: 0 of " in told
    assert f"card credential: its key is compromised ({card.credential_label})" in typed("outdated")
    assert typed("outdated", "--agency", OTHER).startswith("no card waits")
    due = f"card credential: its key is compromised ({card.credential_label})\n"
    assert typed("update", str(card.uuid), "--show") == due
    good, _ = centre.active()
    assert "has nothing to be updated" in typed("update", str(good.uuid), "--show", code=1)
    assert "has no PIN of the allocator" in typed("outdated", "--open", code=1)


def test_a_database_from_before_learns_who_signed_what_is_on_its_cards(centre: Centre) -> None:
    centre.active()

    def labels() -> dict[uuid.UUID, tuple[str | None, ...]]:
        with database.reading(centre.factory) as session:
            rows = session.scalars(select(Card)).all()
            return {row.id: (row.credential_label, row.identity_label, row.content_label) for row in rows}

    before = labels()
    with database.transaction(centre.factory) as session:
        session.execute(sql_update(Card).values(credential_label=None, identity_label=None, content_label=None))
    with centre.factory.kw["bind"].begin() as connection:
        import_module("issuer.migrations.versions.0006_card_updates").name_signers(connection)
    assert labels() == before
    assert len(set(before.values())) > 2
