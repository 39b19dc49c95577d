"""Rotation in the light of years: what a retired signer signed, when; and changes that come in between."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from card_register import ADMIN, HOME, HR, NOW, Register, open_register
from signing_keys import LocalKeys

from cardlink.statements.card import CardCredential, issue_card_credential, read_card_credential
from cardlink.statements.cose_key import from_point
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.signers import verify_statement
from cardlink.statements.trust import Signer, Trust, Use, accept_trust_list
from issuer import database, errors
from issuer.trust import publication, rotation, signers, status, trust_list
from issuer.trust.port import KeyInfo

YEAR = timedelta(days=365)


class Room(LocalKeys):
    """Keys with states, as the HSM's officer has them; `between` happens while a root signs."""

    def __init__(self, held: LocalKeys) -> None:
        super().__init__()
        self.made = held.made
        self.states: dict[str, str] = {}
        self.between: Callable[[], None] = lambda: None

    def set_state(self, label: str, state: str) -> None:
        self.states[label] = state

    def load_transport(self, label: str, enc: bytes, mac: bytes, dek: bytes) -> KeyInfo:
        return self.generate(label, "scp03-set", "transport", ())

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        if use == "root":
            self.between()
        return super().sign(label, use, data)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return open_register(tmp_path)


@pytest.fixture
def room(register: Register) -> Room:
    return Room(register.keys)


def credential(register: Register, room: Room, now: datetime) -> bytes:
    """A card's statement of that day, for five years."""
    with database.reading(register.factory) as session:
        signer = signers.signer_for(session, room, HOME, "card", now)
    card = CardCredential(
        agency=HOME,
        expires_s=int((now + 5 * YEAR).timestamp()),
        issued_s=int(now.timestamp()),
        card_uuid=uuid.uuid4().bytes,
        key=from_point(room.info("card-H38-1").public),
        status_list=1,
        status_index=7,
    )
    return issue_card_credential(card, signer.kid, signer.sign)


def list_of(register: Register, room: Room, now: datetime) -> Trust:
    """The list of that day, with a status signer of that year."""
    rotation.rotate_signer(register.factory, room, ADMIN, "status", HOME, now)
    with database.reading(register.factory) as session:
        trust = accept_trust_list(trust_list.current(session), trust_list.roots(session), now)
    assert isinstance(trust, Trust), trust
    return trust


def judged(raw: bytes, trust: Trust, now: datetime) -> Signer | Refused:
    received = read_card_credential(raw)
    return verify_statement(received.statement, Use.CARD, HOME, received.value.issued_s, trust, now)


def test_a_card_of_a_retired_signer_is_good_for_its_five_years_and_no_longer(register: Register, room: Room) -> None:
    last_day = NOW + YEAR
    before, last = credential(register, room, NOW), credential(register, room, last_day - timedelta(minutes=1))
    rotated = rotation.rotate_signer(register.factory, room, ADMIN, "card", HOME, last_day)
    assert rotated.replaced == ("card-H38-1",)
    assert room.states == {"card-H38-1": "deactivated"}
    assert rotated.number == 2
    for now in (last_day, NOW + 3 * YEAR, NOW + 6 * YEAR - timedelta(days=1)):
        trust = list_of(register, room, now)
        assert isinstance(judged(before, trust, now), Signer)
        assert isinstance(judged(last, trust, now), Signer)
    over = last_day + timedelta(days=5 * 366 + 181)
    gone = judged(last, list_of(register, room, over), over)
    assert isinstance(gone, Refused)
    assert gone.reason is Reason.UNKNOWN_SIGNER


def test_a_statement_dated_after_the_retirement_is_refused(register: Register, room: Room) -> None:
    rotation.rotate_signer(register.factory, room, ADMIN, "card", HOME, NOW + YEAR)
    later = NOW + YEAR + timedelta(days=1)
    made = CardCredential(
        HOME,
        int((later + YEAR).timestamp()),
        int(later.timestamp()),
        uuid.uuid4().bytes,
        from_point(room.info("card-H38-1").public),
        1,
        7,
    )
    stolen = issue_card_credential(
        made, from_point(room.info("card-H38-1").public).kid(), lambda data: room.sign("card-H38-1", "card", data)
    )
    refused = judged(stolen, list_of(register, room, later), later)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.SIGNER_PERIOD


def test_an_announced_signer_is_not_believed_before_it_begins(register: Register, room: Room) -> None:
    rotation.rotate_signer(register.factory, room, ADMIN, "card", HOME, NOW + YEAR, timedelta(days=14))
    assert room.states == {}
    early, then = NOW + YEAR + timedelta(days=1), NOW + YEAR + timedelta(days=15)
    with database.reading(register.factory) as session:
        assert signers.signer_for(session, room, HOME, "card", early).label == "card-H38-1"
        assert signers.signer_for(session, room, HOME, "card", then).label == "card-H38-2"
    assert isinstance(judged(credential(register, room, early), list_of(register, room, early), early), Signer)
    assert isinstance(judged(credential(register, room, then), list_of(register, room, then), then), Signer)
    assert "card-H38-1" not in rotation.sweep(register.factory, room, early)
    assert "card-H38-1" in rotation.sweep(register.factory, room, then)
    with pytest.raises(errors.Refused, match="bad_ahead"):
        rotation.rotate_signer(register.factory, room, ADMIN, "card", HOME, then, timedelta(days=91))


def test_what_moved_while_the_roots_signed_is_in_the_list(register: Register, room: Room) -> None:
    moved = iter([True])

    def open_a_list() -> None:
        if next(moved, False):
            with database.transaction(register.factory) as session:
                status.create_list(session, 8, NOW)

    room.between = open_a_list
    number = publication.publish(register.factory, room, NOW + timedelta(hours=1))
    with database.reading(register.factory) as session:
        trust = accept_trust_list(trust_list.current(session), trust_list.roots(session), NOW + timedelta(hours=1))
    assert isinstance(trust, Trust)
    assert (trust.content.number, len(trust.lists)) == (number, 2)


def test_a_centre_that_never_stands_still_gets_no_list_and_loses_nothing(register: Register, room: Room) -> None:
    def open_a_list() -> None:
        with database.transaction(register.factory) as session:
            status.create_list(session, 8, NOW)

    room.between = open_a_list
    with pytest.raises(errors.Conflict, match="moved"):
        rotation.rotate_signer(register.factory, room, ADMIN, "card", HOME, NOW + YEAR)
    with database.reading(register.factory) as session:
        assert trust_list.current_number(session) == 1
        assert rotation.active_signer(session, "card", HOME).label == "card-H38-1"
    assert room.states == {}


def test_nobody_but_an_administrator_rotates(register: Register, room: Room) -> None:
    with pytest.raises(errors.Forbidden):
        rotation.rotate_signer(register.factory, room, HR, "card", HOME, NOW)
