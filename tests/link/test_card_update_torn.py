"""All that an update may renew, and a card pulled out at any exchange of it: it goes on, and no key set is lost."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from card_office import ADMIN, ENCODER, HOME, Blank, Centre, open_centre, silent
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from cardlink.check.path import verify_card_certificate
from cardlink.check.readback import check_chuid
from cardlink.errors import LinkLost
from cardlink.iso7816.apdu import Ins
from cardlink.piv.commands import unwrap_object
from cardlink.piv.objects import decode_certificate
from cardlink.piv.tables import CERT_CARD_AUTH, CHUID, Container
from cardlink.statements.refusal import Refused as Judged
from cardlink.statements.trust import KeyState
from cardlink.transport.connection import Connection, Torn
from issuer import database
from issuer.audit import log as audit
from issuer.audit.log import Intact
from issuer.cards import blocking, journal, lifecycle, personalise, renewed, update_plan
from issuer.cards import update as updates
from issuer.cards.acts import trust_of
from issuer.cards.blocking import BlockReason
from issuer.cards.personalise import Done
from issuer.cards.profiles import THEMO, THEMO_VCI, CardProfile
from issuer.cards.run import run
from issuer.cards.tables import Card, CardCertificate, CardUpdate
from issuer.cards.update_plan import Cause, What, Why
from issuer.errors import Refused
from issuer.trust import compromise, masters
from issuer.trust.crl import CrlReason
from issuer.trust.revocation_tables import RevokedCertificate
from issuer.trust.tables import CardMasterRow, SignerRow


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


def fell(centre: Centre, label: str) -> None:
    centre.clock.pass_by(timedelta(seconds=1))
    compromise.compromised(centre.factory, centre.ceremony, ADMIN, label, centre.clock())


def bring(centre: Centre, card: Card, line: Connection, profile: CardProfile = THEMO) -> object:
    """The holder comes to the station."""
    job = updates.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock, profile=profile)
    return run(line, job, silent).outcome


def causes(centre: Centre, card: Card) -> tuple[Cause, ...]:
    with database.reading(centre.factory) as session:
        found = lifecycle.find(session, card.id)
        return update_plan.causes_of(session, found, update_plan.keys_at_fault(session, centre.clock()))


def certificates(centre: Centre, card: Card) -> dict[str, CardCertificate]:
    with database.reading(centre.factory) as session:
        rows = session.scalars(select(CardCertificate).where(CardCertificate.card_id == card.id)).all()
        session.expunge_all()
        return {row.slot: row for row in rows}


def listed(centre: Centre, serials: list[str]) -> set[int]:
    """Why these certificates stand on a list; of those that do not, nothing."""
    with database.reading(centre.factory) as session:
        query = select(RevokedCertificate.reason).where(RevokedCertificate.serial.in_(serials))
        return set(session.scalars(query))


def content(blank: Blank, row: Container) -> bytes:
    return unwrap_object(row.tag, blank.chip.persistent.objects[row.tag])


def master_of_now(centre: Centre) -> str:
    with database.reading(centre.factory) as session:
        return masters.current(session)


def torn_at(centre: Centre, card: Card, blank: Blank, step: str) -> None:
    """Begin an update and lose the card as that step's first command is due."""
    job = updates.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)
    connection, answer = blank.connect(), None
    while True:
        following = job.advance(answer)
        assert isinstance(following, personalise.Send), following
        if following.step == step:
            job.abandon()
            return
        answer = connection.transmit(following.apdu)


def test_under_a_fallen_authority_all_certificates_are_new_and_the_former_ones_on_the_list(centre: Centre) -> None:
    card, blank = centre.active()
    before = certificates(centre, card)
    authority = before["9E"].issuer_label
    fell(centre, authority)
    found = {one.what: one for one in causes(centre, card)}
    assert found[What.CERTIFICATES] == Cause(What.CERTIFICATES, authority, Why.COMPROMISED)
    assert found[What.CONTENT].why is Why.REPLACED  # the content signer went with the authority that certified it
    assert bring(centre, card, blank.connect()) == Done(card.id, card.uuid)
    assert causes(centre, card) == ()
    after = certificates(centre, card)
    assert {row.issuer_label for row in after.values()} == {f"x509-ca-{HOME}-2"}
    assert set(after) == set(before)
    assert listed(centre, [row.serial for row in before.values()]) == {CrlReason.SUPERSEDED}
    assert not listed(centre, [row.serial for row in after.values()])
    with database.reading(centre.factory) as session:
        trust, held = trust_of(session), lifecycle.find(session, card.id)
        points = renewed.points_of(session, held, THEMO)
    on_chip = decode_certificate(content(blank, CERT_CARD_AUTH)).certificate
    assert on_chip == after["9E"].certificate != before["9E"].certificate
    assert not isinstance(verify_card_certificate(on_chip, trust, centre.clock()), Judged)
    assert not isinstance(check_chuid(content(blank, CHUID), trust, centre.clock()), Judged)
    assert len(points) == len(THEMO.slots)  # of the keys that are on the card, which stayed


def test_certificates_near_their_end_are_made_anew(centre: Centre) -> None:
    card, blank = centre.active()
    with database.transaction(centre.factory) as session:
        near = centre.clock() + timedelta(days=30)
        session.execute(update(CardCertificate).where(CardCertificate.card_id == card.id).values(not_after=near))
    assert [(one.what, one.why) for one in causes(centre, card)] == [(What.CERTIFICATES, Why.ENDING)]
    assert bring(centre, card, blank.connect()) == Done(card.id, card.uuid)
    assert causes(centre, card) == ()


def test_a_content_signer_falls_and_a_card_with_secure_messaging_gets_all_that_hangs_on_it(centre: Centre) -> None:
    blank = centre.blank()
    card = centre.allocate(centre.approved().id, blank.serial)
    job = personalise.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock, THEMO_VCI)
    run(blank.connect(), job, silent)
    label = centre.card(card.id).content_label or ""
    fell(centre, label)
    assert causes(centre, card) == (Cause(What.CONTENT, label, Why.COMPROMISED),)
    before, cvc = content(blank, CHUID), blank.chip.persistent.messaging_suite
    assert bring(centre, card, blank.connect(), THEMO_VCI) == Done(card.id, card.uuid)
    assert (content(blank, CHUID) != before, blank.chip.persistent.messaging_suite) == (True, cvc)
    assert causes(centre, card) == ()
    assert centre.card(card.id).state == "encoded"  # as it was: it waits to be printed


def test_a_fallen_master_leaves_the_card_with_another_key_set_and_administration_key(centre: Centre) -> None:
    card, blank = centre.active()
    chip = blank.chip.persistent
    keys, references, sets, admin = dict(chip.keys), dict(chip.references), dict(chip.key_sets), chip.admin
    former = master_of_now(centre)
    fell(centre, former)
    assert causes(centre, card) == (Cause(What.KEYS, former, Why.COMPROMISED),)
    assert bring(centre, card, blank.connect()) == Done(card.id, card.uuid)
    found = centre.card(card.id)
    assert (found.master_label, found.kvn) == (master_of_now(centre), 0x02)
    assert centre.hsm.info(former).state == "compromised"
    chip = blank.chip.persistent
    assert set(chip.key_sets) == {0x02} != set(sets)
    assert chip.admin.key != admin.key
    assert (dict(chip.keys), dict(chip.references)) == (keys, references)
    assert causes(centre, card) == ()


def test_a_master_that_falls_while_a_card_is_torn_is_replaced_too(centre: Centre) -> None:
    card, blank = centre.active()
    fell(centre, master_of_now(centre))
    torn_at(centre, card, blank, "new-admin-key")  # the second key set is on the card
    assert set(blank.chip.persistent.key_sets) == {0x02}
    fell(centre, master_of_now(centre))
    assert bring(centre, card, blank.connect()) == Done(card.id, card.uuid)
    found = centre.card(card.id)
    assert (found.master_label, found.kvn) == (master_of_now(centre), 0x03)
    assert set(blank.chip.persistent.key_sets) == {0x03}


def test_what_was_signed_by_a_key_that_falls_while_the_card_is_torn_is_signed_again(centre: Centre) -> None:
    card, blank = centre.active()
    fell(centre, card.credential_label or "")
    torn_at(centre, card, blank, "look")
    with database.reading(centre.factory) as session:
        found = updates.find_open(session, card.id)
        assert found is not None
        signer = updates.signed_anew(session, found.id)["labels"]["credential"]
    fell(centre, signer)
    assert bring(centre, card, blank.connect()) == Done(card.id, card.uuid)
    assert centre.card(card.id).credential_label not in (signer, card.credential_label)
    assert causes(centre, card) == ()


def test_a_card_blocked_while_it_is_torn_has_its_new_certificates_on_the_list_too(centre: Centre) -> None:
    card, blank = centre.active()
    fell(centre, certificates(centre, card)["9E"].issuer_label)
    torn_at(centre, card, blank, "look")
    with database.transaction(centre.factory) as session:
        new = [serial for _, serial, _ in updates.pending_certificates(session, card.id)]
        blocking.block(session, centre.hsm, ENCODER, card.id, BlockReason.LOST, centre.clock())
    assert len(new) == len(THEMO.slots)
    assert listed(centre, new) == {CrlReason.CERTIFICATE_HOLD}
    with database.transaction(centre.factory) as session:
        blocking.unblock(session, centre.hsm, ENCODER, card.id, centre.clock())
    assert bring(centre, card, blank.connect()) == Done(card.id, card.uuid)
    assert listed(centre, new) == {CrlReason.REMOVE_FROM_CRL}
    assert {row.serial for row in certificates(centre, card).values()} == set(new)


def go_on(job: personalise.Job, connection: Connection, following: object) -> None:
    """Drive a job to its end."""
    while isinstance(following, personalise.Send):
        following = job.advance(connection.transmit(following.apdu))


@pytest.mark.parametrize("step", ["sign-anew", "look"])
@pytest.mark.parametrize("is_revoked", [False, True])
def test_a_card_blocked_or_revoked_on_the_reader_ends_with_no_certificate_that_counts(
    centre: Centre, step: str, *, is_revoked: bool
) -> None:
    card, blank = centre.active()
    before = certificates(centre, card)
    fell(centre, before["9E"].issuer_label)
    job = updates.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)
    connection, following = blank.connect(), job.advance(None)
    while step == "look" and isinstance(following, personalise.Send) and following.step != step:
        following = job.advance(connection.transmit(following.apdu))
    with database.transaction(centre.factory) as session:
        blocking.block(session, centre.hsm, ENCODER, card.id, BlockReason.STOLEN, centre.clock())
        if is_revoked:
            blocking.revoke(session, centre.hsm, ENCODER, card.id, "mất cắp", centre.clock())
    with pytest.raises(Refused, match=r"updates\.ended" if is_revoked else r"updates\.blocked"):
        go_on(job, connection, following)
    with database.reading(centre.factory) as session:
        assert updates.find_open(session, card.id) is not None
        new = [serial for _, serial, _ in updates.pending_certificates(session, card.id)]
    why = {CrlReason.KEY_COMPROMISE if is_revoked else CrlReason.CERTIFICATE_HOLD}
    assert {one.serial for one in certificates(centre, card).values()} == {one.serial for one in before.values()}
    assert listed(centre, [one.serial for one in before.values()]) == why
    assert (len(new), listed(centre, new)) == ((len(THEMO.slots), why) if step == "look" else (0, set()))
    if not is_revoked:
        with database.transaction(centre.factory) as session:
            blocking.unblock(session, centre.hsm, ENCODER, card.id, centre.clock())
        assert bring(centre, card, blank.connect()) == Done(card.id, card.uuid)


def test_certificates_signed_by_a_station_that_died_before_it_noted_the_step_are_known(centre: Centre) -> None:
    card, blank = centre.active()
    fell(centre, certificates(centre, card)["9E"].issuer_label)
    job = updates.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)
    connection, following = blank.connect(), job.advance(None)

    class Died(BaseException):
        """The process is gone."""

    def die(_: Session) -> None:
        raise Died

    event.listen(centre.factory, "after_commit", die)  # of what was signed
    try:
        with pytest.raises(Died):
            go_on(job, connection, following)
    finally:
        event.remove(centre.factory, "after_commit", die)
    with database.reading(centre.factory) as session:
        lost = [serial for _, serial, _ in updates.pending_certificates(session, card.id)]
    assert len(lost) == len(THEMO.slots)
    assert bring(centre, card, blank.connect()) == Done(card.id, card.uuid)
    assert listed(centre, lost) == {CrlReason.SUPERSEDED}
    assert not {one.serial for one in certificates(centre, card).values()} & set(lost)


@pytest.fixture(scope="module")
def keyring(centre: Centre) -> tuple[str, str]:
    """Two masters that take turns: the one in use, and one that has fallen for the register alone."""
    first = master_of_now(centre)
    centre.ceremony.generate("card-master-spare", "aes-256", "card-master", ())
    with database.transaction(centre.factory) as session:
        masters.put(session, "card-master-spare", centre.clock() + timedelta(days=1))
    return first, "card-master-spare"


def fall_again(centre: Centre, card: Card, keyring: tuple[str, str]) -> str:
    """The signer of a card's statements and the master of its keys have fallen. Answers the master of now."""
    held = centre.card(card.id).master_label
    other = keyring[0] if held == keyring[1] else keyring[1]
    with database.transaction(centre.factory) as session:
        session.get_one(CardMasterRow, held).state = int(KeyState.COMPROMISED)
        session.get_one(CardMasterRow, other).state = int(KeyState.ACTIVE)
        session.get_one(Card, card.id).credential_label = "fallen"
    return other


def is_torn_and_resumed(
    centre: Centre, card: Card, blank: Blank, keyring: tuple[str, str], at: int, *, after_card: bool
) -> bool:
    """Let statements and master fall once more, lose the card at one exchange, put it back; False past the end."""
    held, other = centre.card(card.id), fall_again(centre, card, keyring)
    try:
        bring(centre, card, Torn(blank.connect(), at, after_card=after_card))
        return False
    except LinkLost:
        torn = centre.card(card.id)
        assert (torn.master_label, torn.credential, torn.job_token) == (held.master_label, held.credential, None)
        assert len(blank.chip.persistent.key_sets) == 1
    assert bring(centre, card, blank.connect()) == Done(card.id, card.uuid)
    found = centre.card(card.id)
    assert found.master_label == other
    assert set(blank.chip.persistent.key_sets) == {found.kvn}
    assert causes(centre, card) == ()
    return True


@pytest.fixture(scope="module")
def torn_card(centre: Centre, keyring: tuple[str, str]) -> tuple[Card, Blank]:
    """A card, and a signer that has fallen, which the register may name for it again and again."""
    card, blank = centre.active()
    with database.transaction(centre.factory) as session:
        signer = session.get_one(SignerRow, card.credential_label)
        kept = {column.key: getattr(signer, column.key) for column in SignerRow.__table__.columns}
        session.add(SignerRow(**kept | {"label": "fallen", "kid": bytes(8), "state": int(KeyState.COMPROMISED)}))
    return card, blank


def test_torn_at_every_exchange_it_is_resumed(
    centre: Centre, keyring: tuple[str, str], torn_card: tuple[Card, Blank]
) -> None:
    """Before the card acts and after it acted, in turns."""
    at = 1
    while is_torn_and_resumed(centre, *torn_card, keyring, at, after_card=at % 2 == 0):
        at += 1
    assert at > 25
    assert_all_is_well(centre, *torn_card)


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [False, True])
def test_torn_at_every_exchange_before_and_after_the_card_acts_it_is_resumed(
    centre: Centre, keyring: tuple[str, str], torn_card: tuple[Card, Blank], is_first: bool
) -> None:
    at = 1
    while is_torn_and_resumed(centre, *torn_card, keyring, at, after_card=is_first):
        at += 1
    assert_all_is_well(centre, *torn_card)


def test_a_torn_put_key_is_resumed_whichever_set_is_alive(
    centre: Centre, keyring: tuple[str, str], torn_card: tuple[Card, Blank]
) -> None:
    sent: list[int] = []

    class Heard:
        """Notes the instructions."""

        def transmit(self, apdu: bytes) -> bytes:
            sent.append(apdu[1])
            return line.transmit(apdu)

    line = torn_card[1].connect()
    fall_again(centre, torn_card[0], keyring)
    assert bring(centre, torn_card[0], Heard()) == Done(torn_card[0].id, torn_card[0].uuid)
    assert sent.count(Ins.PUT_KEY) == 1
    for after_card in (False, True):
        at = sent.index(Ins.PUT_KEY) + 1
        assert is_torn_and_resumed(centre, *torn_card, keyring, at, after_card=after_card)


def assert_all_is_well(centre: Centre, card: Card, blank: Blank) -> None:
    """Keys, PIN and PUK as they were, nothing left over, every act in the log."""
    chip = blank.chip.persistent
    assert all(reference.left == reference.limit and not reference.is_default for reference in chip.references.values())
    with database.reading(centre.factory) as session:
        points = renewed.points_of(session, lifecycle.find(session, card.id), THEMO)
        assert set(points) <= set(chip.keys)
        rows = session.scalars(select(CardUpdate).where(CardUpdate.card_id == card.id)).all()
        assert all(row.ended is not None for row in rows)
        assert not any(journal.objects_of(session, row.id, journal.UPDATING) for row in rows)
        assert isinstance(audit.verify(session), Intact)
