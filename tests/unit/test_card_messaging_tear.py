"""Power cut, or no room, at every write of what secure messaging, Global PIN and pairing code brought."""

from collections.abc import Callable, Mapping

import pytest
from messaging_card import (
    CARD_UUID,
    CODE,
    CONTACT,
    CONTACTLESS,
    GLOBAL,
    PIN,
    WRONG,
    become_admin,
    issued,
    office,
    opened,
    records,
    sayer,
)

from cardlink.errors import CardStatus
from cardlink.piv import commands as piv
from cardlink.piv.cvc import CVC_TAG, decode_cvc, issue_card_cvc
from cardlink.piv.objects import encode_pairing_code_reference
from cardlink.piv.secure_messaging import CS2
from cardlink.piv.secure_session import SecureSession, authenticate
from cardos.card import Card
from cardos.errors import StoreFailed
from cardos.records import Kind, record_name
from cardos.store import MemoryStore

USAGE = 0x6C


class PowerCut(Exception):
    """The card loses its power here."""


class CutStore(MemoryStore):
    """A store that loses power, or has no room, at write number `at`: before it or, if `late`, just after it."""

    def __init__(self, kept: Mapping[bytes, bytes]) -> None:
        super().__init__(kept)
        self.at, self.late, self.full, self.writes = 0, False, False, 0

    def arm(self, at: int, *, late: bool = False, full: bool = False) -> None:
        self.at, self.late, self.full, self.writes = at, late, full, 0

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.writes += 1
        here = self.writes == self.at
        if here and self.full:
            raise StoreFailed("no room")
        if here and not self.late:
            raise PowerCut
        super().commit(changes)
        if here:
            raise PowerCut


def new_cvc(card: Card) -> bytes:
    """Another certificate of the card's own key."""
    point = decode_cvc(card.persistent.cvc).point
    return issue_card_cvc(CS2, point, bytes(16), office(CS2).signer.issuer_id, office(CS2).sign)


def administer(command: Callable[[Card], object]) -> Callable[[Card], Callable[[], object]]:
    """Prepare as the administrator over contact; then the command."""

    def prepare(card: Card) -> Callable[[], object]:
        become_admin(card)
        return lambda: command(card)

    return prepare


def talk(command: Callable[[SecureSession], object]) -> Callable[[Card], Callable[[], object]]:
    """Prepare a session over contactless; then the command."""

    def prepare(card: Card) -> Callable[[], object]:
        session = opened(card)
        return lambda: command(session)

    return prepare


STEPS: dict[str, Callable[[Card], Callable[[], object]]] = {
    "make the key": administer(lambda card: sayer(card)(piv.generate_key(0x04, 0x27))),
    "make another suite's key": administer(lambda card: sayer(card)(piv.generate_key(0x04, 0x2E))),
    "certify it": administer(lambda card: sayer(card)(piv.put_data(CVC_TAG, new_cvc(card)))),
    "take the certificate away": administer(lambda card: sayer(card)(piv.put_data(CVC_TAG, b""))),
    "set the Global PIN": administer(lambda card: sayer(card)(piv.set_reference_data(0x00, WRONG))),
    "set the pairing code": administer(
        lambda card: sayer(card)(piv.put_data(0x5FC123, encode_pairing_code_reference(b"11112222")))
    ),
    "verify": talk(lambda session: session.command(piv.verify(PIN))),
    "verify the Global PIN": talk(lambda session: session.command(piv.verify(GLOBAL, 0x00))),
    "verify a wrong Global PIN": talk(lambda session: session.command(piv.verify(WRONG, 0x00))),
    "change": talk(lambda session: session.command(piv.change_reference_data(0x80, PIN, WRONG))),
    "change the Global PIN": talk(lambda session: session.command(piv.change_reference_data(0x00, GLOBAL, WRONG))),
}
REFUSED = {"verify a wrong Global PIN"}


def run(name: str, at: int = 0, *, late: bool = False, full: bool = False) -> tuple[CutStore, object]:
    """Prepare, arm, act; what came of it: "cut", a status word, or None for success."""
    store = CutStore(records(CS2, USAGE))
    card = issued(store=store)
    act = STEPS[name](card)
    store.arm(at, late=late, full=full)
    try:
        act()
    except PowerCut:
        return store, "cut"
    except CardStatus as status:
        return store, int(status.sw)
    return store, None


def without_tries(kept: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: bytes((raw[0], raw[0])) + raw[2:] if name[0] == Kind.REFERENCE else raw for name, raw in kept.items()}


def alike(one: Mapping[bytes, bytes], other: Mapping[bytes, bytes]) -> bool:
    """The same records; of keys drawn at random the same kinds."""
    left, right = without_tries(one), without_tries(other)
    return left.keys() == right.keys() and all(
        raw[:3] == right[name][:3] if name[0] == Kind.KEY else _same(name, raw, right[name])
        for name, raw in left.items()
    )


def _same(name: bytes, one: bytes, other: bytes) -> bool:
    """Equal, but for a certificate, whose signature is drawn at random and has no fixed length."""
    if name != record_name(Kind.OBJECT, CVC_TAG):
        return one == other
    left, right = (decode_cvc(piv.unwrap_object(CVC_TAG, raw)) for raw in (one, other))
    return left.signed == right.signed


@pytest.mark.parametrize("name", STEPS)
def test_a_command_cut_at_any_write_is_as_before_or_as_after(name: str) -> None:
    before = records(CS2, USAGE)
    done, answer = run(name)
    assert (answer is None) is (name not in REFUSED)
    after = done.load()
    assert 1 <= done.writes <= 2
    for at in range(1, done.writes + 1):
        for late in (False, True):
            store, answer = run(name, at, late=late)
            assert answer == "cut"
            left = store.load()
            assert alike(left, before) or alike(left, after), (at, late)
            for record, raw in left.items():
                if record[0] == Kind.REFERENCE and not alike(left, after):
                    assert raw[1] <= before[record][1]
            # whatever happened, the card works, and its certificate is of the key it has
            card = Card(MemoryStore(left))
            assert card.transmit(piv.SELECT_PIV_APDU, CONTACT)[-2:] == b"\x90\x00"
            if card.persistent.messaging_suite:
                assert authenticate(sayer(card), CS2, office(CS2).signer).subject in (CARD_UUID, bytes(16))


@pytest.mark.parametrize("name", STEPS)
def test_a_command_without_room_says_6581_and_keeps_what_was_there(name: str) -> None:
    store, answer = run(name, 1, full=True)
    assert answer == 0x6581
    assert store.load() == records(CS2, USAGE)


def test_no_room_inside_a_session_is_said_inside_its_protection() -> None:
    store = CutStore(records(CS2, USAGE))
    session = opened(issued(store=store))
    store.arm(1, full=True)
    with pytest.raises(CardStatus, match="6581"):
        session.command(piv.verify(PIN))
    assert session.is_open
    assert session.command(piv.verify(PIN)) == b""


@pytest.mark.parametrize("interface", [CONTACT, CONTACTLESS])
def test_cutting_the_power_after_a_global_pin_wins_no_try(interface: object) -> None:
    store = CutStore(records(CS2, USAGE))
    for left in (4, 3, 2):
        card = issued(store=store)
        session = opened(card, CONTACT if interface is CONTACT else CONTACTLESS)
        store.arm(1, late=True)
        with pytest.raises(PowerCut):
            session.command(piv.verify(WRONG, 0x00))
        assert Card(store).persistent.references[0x00].left == left


def test_the_pairing_code_costs_no_write() -> None:
    store = CutStore(records(CS2, 0x48))
    session = opened(Card(store))
    store.arm(0)
    with pytest.raises(CardStatus, match="6300"):
        session.command(piv.verify(b"00000000", 0x98))
    session.command(piv.verify(CODE, 0x98))
    assert store.writes == 0
