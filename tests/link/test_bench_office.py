"""The office that benchmarks measure comes up and makes a card, as that of the demonstration does."""

import pytest

from bench.centre import open_card, open_centre
from bench.door import issue
from issuer import database
from issuer.cards.states import CardState
from issuer.cards.tables import Card


@pytest.mark.slow
def test_the_benchmarks_office_makes_a_card() -> None:
    with open_centre() as centre:
        blank = centre.blank()
        with open_card(blank) as chip:
            issue(centre, chip, blank.serial)
        with database.transaction(centre.factory) as session:
            (card,) = session.query(Card).all()
            assert (card.state, card.stock_serial) == (CardState.ACTIVE, blank.serial.upper())
