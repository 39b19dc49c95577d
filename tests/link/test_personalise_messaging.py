"""A product with secure messaging: its key made on the card, certified, written, used; torn around both."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
from card_office import ENCODER, Centre, open_centre, silent

from cardlink.errors import CardStatus, LinkLost
from cardlink.piv import commands as piv
from cardlink.piv.cvc import CVC_TAG, signer_of
from cardlink.piv.secure_messaging import CS2, CS7
from cardlink.piv.secure_session import authenticate, open_session, read_signer
from cardlink.piv.tables import CERT_PIV_AUTH, IDENTITY_STATEMENT, PRINTED_INFORMATION, Interface
from cardlink.piv.templates import decode_apt
from cardlink.transport.connection import Connection, Torn, command
from cardlink.transport.loopback import Loopback
from cardos.card import Card as ChipCard
from issuer import database
from issuer.cards import personalise
from issuer.cards.personalise import Done, Spoiled
from issuer.cards.profiles import THEMO, THEMO_VCI
from issuer.cards.run import run


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


def encode(centre: Centre, card_id: object, line: Connection) -> object:
    job = personalise.start(centre.factory, centre.hsm, ENCODER, card_id, centre.clock, THEMO_VCI)
    return run(line, job, silent).outcome


def contactless(chip: ChipCard) -> partial[bytes]:
    return partial(command, Loopback(lambda apdu: chip.transmit(apdu, Interface.CONTACTLESS)))


def test_a_card_of_this_product_opens_the_virtual_contact_interface(centre: Centre) -> None:
    card, blank = centre.allocated()
    outcome = encode(centre, card.id, blank.connect())
    assert isinstance(outcome, Done)
    say = contactless(blank.chip)
    assert decode_apt(say(piv.select())).secure_messaging == CS2.algorithm
    certificate, intermediate = read_signer(say)
    assert intermediate is None
    assert authenticate(say, CS2, signer_of(certificate)).subject == outcome.card_uuid.bytes
    session = open_session(say, CS2, signer_of(certificate))
    assert session.command(piv.get_data(CERT_PIV_AUTH.tag))
    for row in (IDENTITY_STATEMENT, PRINTED_INFORMATION):
        with pytest.raises(CardStatus, match="6982"):
            say(piv.get_data(row.tag))
        with pytest.raises(CardStatus, match="6982"):
            session.command(piv.get_data(row.tag))
    with database.transaction(centre.factory) as register:
        pin = personalise.reveal_pin(register, centre.hsm, ENCODER, card.id, centre.clock())
    session.command(piv.verify(pin.encode().ljust(8, b"\xff")))
    assert session.command(piv.get_data(IDENTITY_STATEMENT.tag))


class Watching:
    """A line that notes after which exchanges the card's secure messaging was another."""

    def __init__(self, line: Connection, chip: ChipCard) -> None:
        self._line, self._chip = line, chip
        self._exchanges = 0
        self._before: tuple[object, bytes] = (None, b"")
        self.changed: list[int] = []

    def transmit(self, apdu: bytes) -> bytes:
        self._exchanges += 1
        answer = self._line.transmit(apdu)
        now = (self._chip.persistent.keys.get(0x04), self._chip.persistent.cvc)
        if now != self._before:
            self.changed.append(self._exchanges)
            self._before = now
        return answer


def test_torn_around_the_key_and_around_its_certificate_it_is_resumed(centre: Centre) -> None:
    card, blank = centre.allocated()
    watching = Watching(blank.connect(), blank.chip)
    assert isinstance(encode(centre, card.id, watching), Done)
    assert len(watching.changed) == 2
    for at in watching.changed:
        for after_card in (False, True):
            card, blank = centre.allocated()
            with pytest.raises(LinkLost):
                encode(centre, card.id, Torn(blank.connect(), at, after_card=after_card))
            assert isinstance(encode(centre, card.id, blank.connect()), Done)
            say = contactless(blank.chip)
            say(piv.select())
            certificate, _ = read_signer(say)
            assert authenticate(say, CS2, signer_of(certificate)).subject == card.uuid.bytes


class OtherCvc:
    """A card that answers the key establishment with another card's proof."""

    def __init__(self, line: Connection, other: Connection) -> None:
        self._line, self._other = line, other

    def transmit(self, apdu: bytes) -> bytes:
        if apdu[:4] == bytes((0x00, 0x87, 0x27, 0x04)):
            self._other.transmit(piv.SELECT_PIV_APDU)
            return self._other.transmit(apdu)
        return self._line.transmit(apdu)


def test_a_card_that_shows_another_cards_certificate_is_spoiled(centre: Centre) -> None:
    card, blank = centre.allocated()
    assert isinstance(encode(centre, card.id, blank.connect()), Done)
    second, other = centre.allocated()
    outcome = encode(centre, second.id, OtherCvc(other.connect(), blank.connect()))
    assert isinstance(outcome, Spoiled)
    assert "secure messaging certificate" in outcome.reason


def test_the_product_without_it_has_none_of_it(centre: Centre) -> None:
    card, blank = centre.allocated()
    job = personalise.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock, THEMO)
    assert isinstance(run(blank.connect(), job, silent).outcome, Done)
    assert not blank.chip.persistent.messaging_suite
    assert CVC_TAG not in blank.chip.persistent.objects


def test_a_product_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="without secure messaging"):
        replace(THEMO, pin_policy=0x4C)
    with pytest.raises(ValueError, match="cipher suite 2"):
        replace(THEMO_VCI, messaging=CS7)
