"""Personalisation of cards that protect less than ours do, and of those with S16 or challenges from a counter."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from card_office import ENCODER, Blank, Centre, open_centre, silent

from cardlink.gp.inventory import LifeCycle
from cardlink.gp.scp03 import Level
from cardlink.iso7816.apdu import Ins
from cardlink.transport.connection import Connection
from cardos.records import Life, Owner
from issuer.cards import personalise
from issuer.cards.personalise import Done
from issuer.cards.profiles import THEMO, CardProfile
from issuer.cards.run import run
from issuer.cards.tables import Card
from issuer.errors import Refused

# option "i" of the card; what a product with such cards says in its profile
PRODUCTS = {
    0x00: replace(THEMO, name="never protects its answers", security_level=Level(0x03)),
    0x10: replace(THEMO, name="the same, challenges from a counter", security_level=Level(0x03)),
    0x20: replace(THEMO, name="never encrypts its answers", security_level=Level(0x13)),
    0x60: THEMO,
    0x70: replace(THEMO, name="challenges from a counter"),
    0x71: replace(THEMO, name="S16", mac_bytes=16),
}


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


def allocated(centre: Centre, option: int) -> tuple[Card, Blank]:
    blank = centre.blank(option)
    return centre.allocate(centre.approved().id, blank.serial), blank


class Listening:
    """A line to the card that keeps what went over it."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self.sent: list[bytes] = []
        self.answers: list[bytes] = []

    def transmit(self, apdu: bytes) -> bytes:
        answer = self._line.transmit(apdu)
        self.sent.append(apdu)
        self.answers.append(answer)
        return answer

    def close(self) -> None:
        self._line.close()

    @property
    def levels(self) -> set[int]:
        """P1 of every EXTERNAL AUTHENTICATE."""
        return {one[2] for one in self.sent if one[1] == Ins.EXTERNAL_AUTHENTICATE and one[0] == 0x84}


@pytest.mark.parametrize("option", PRODUCTS, ids=lambda option: f"i={option:02X}")
def test_a_card_is_personalised_at_the_level_of_its_product(centre: Centre, option: int) -> None:
    profile = PRODUCTS[option]
    card, blank = allocated(centre, option)
    line = Listening(blank.connect())
    job = personalise.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock, profile)
    report = run(line, job, silent)
    assert isinstance(report.outcome, Done)
    assert line.levels == {profile.security_level}
    assert set(blank.chip.persistent.key_sets) == {profile.card_kvn}
    # no protected command is longer than a short APDU, so that cards without extended lengths take it
    assert max(len(one) for one in line.sent) <= 5 + 255 + 1


@pytest.mark.parametrize(("option", "profile"), [(0x00, THEMO), (0x20, THEMO), (0x10, PRODUCTS[0x20])])
def test_a_card_that_cannot_do_what_its_product_says_is_left_as_it_is(
    centre: Centre, option: int, profile: CardProfile
) -> None:
    card, blank = allocated(centre, option)
    before = blank.chip.persistent.key_sets.copy()
    line = Listening(blank.connect())
    with pytest.raises(Refused, match="not_our_product") as refused:
        run(line, personalise.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock, profile), silent)
    assert f"option {option:02X} does not offer" in str(refused.value.facts)
    assert line.levels == set()
    assert blank.chip.persistent.key_sets == before
    # nothing is lost: with the right product the same job goes on
    right = PRODUCTS[option]
    again = run(
        blank.connect(), personalise.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock, right), silent
    )
    assert isinstance(again.outcome, Done)


def test_a_card_delivered_in_op_ready_ends_secured(centre: Centre) -> None:
    card, blank = allocated(centre, 0x60)
    blank.chip.persistent.commit([Life(Owner.CARD, LifeCycle.OP_READY)])
    assert isinstance(centre.encode(card.id, blank.connect()).outcome, Done)
    assert blank.chip.persistent.life[Owner.CARD] == LifeCycle.SECURED


class WantsLe:
    """A line to a card that, as over T=0, answers 6Cxx to every Le but the right one."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._held: tuple[bytes, bytes] | None = None
        self.corrected = 0

    def transmit(self, apdu: bytes) -> bytes:
        held, self._held = self._held, None
        if held is not None and apdu[:-1] == held[0][:-1]:
            assert apdu[-1] == len(held[1]) - 2
            return held[1]
        answer = self._line.transmit(apdu)
        has_le = len(apdu) == 5 or (len(apdu) > 5 and len(apdu) == 6 + apdu[4])
        if answer[-2:] != b"\x90\x00" or not has_le or not 2 < len(answer) < 258 or apdu[-1] == len(answer) - 2:
            return answer
        self._held = apdu, answer
        self.corrected += 1
        return bytes((0x6C, len(answer) - 2))


@pytest.mark.parametrize("option", [0x00, 0x70], ids=lambda option: f"i={option:02X}")
def test_a_card_that_wants_the_right_le_gets_it(centre: Centre, option: int) -> None:
    card, blank = allocated(centre, option)
    line = WantsLe(blank.connect())
    job = personalise.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock, PRODUCTS[option])
    assert isinstance(run(line, job, silent).outcome, Done)
    assert line.corrected > 10


@pytest.mark.parametrize("level", [0x00, 0x01, 0x11])
def test_no_product_sends_its_pin_in_the_clear(level: int) -> None:
    with pytest.raises(ValueError, match="security level"):
        replace(THEMO, security_level=Level(level))


def test_a_product_knows_how_long_its_commands_may_be() -> None:
    assert {option: one.block_bytes for option, one in PRODUCTS.items()} == {
        0x00: 239, 0x10: 239, 0x20: 239, 0x60: 239, 0x70: 239, 0x71: 223,
    }  # fmt: skip
