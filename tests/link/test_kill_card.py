"""`kill -9` of a virtual card in the middle of its personalisation: resumed on the same image, counted once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from card_slot import ServedCard
from running_system import CARD_SECRET, REMOVAL_S, System, running

from cardlink.errors import LinkLost
from cardlink.transport.pcsc import Reader
from cardos.card import Card as ChipCard
from cardos.image import FileStore
from demo.books import Books
from demo.pcscd import CONTACT_READER, VirtualReader
from issuer.cards.personalise import Done
from issuer.cards.profiles import THEMO
from issuer.cards.run import Progress, Report, run
from issuer.cards.states import CardState
from issuer.cards.tables import Card


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("system")) as started:
        yield started


def encode(system: System, card: Card, served: ServedCard, kill_at: int = 0) -> Report:
    """Encode through pcscd; the card's process is killed once it has answered `kill_at` exchanges."""

    def watch(progress: Progress) -> None:
        if progress.tally.exchanges == kill_at:
            system.supervisor.kill("card")

    with Reader(CONTACT_READER) as reader:
        assert served.tell("insert contact").startswith("ok")
        assert reader.wait_for_card(10)
        with reader.connect() as connection, connection.transaction():
            return run(connection, system.centre.job(card.id), watch)


@pytest.mark.parametrize("at", [10, 30, 60, 100])
def test_killed_while_it_is_encoded_the_card_is_resumed(
    system: System, virtual: VirtualReader, tmp_path: Path, at: int
) -> None:
    card, image = system.blank_for_a_card(tmp_path)
    served = system.serve(virtual, "card", image)
    try:
        with pytest.raises(LinkLost):
            encode(system, card, served, kill_at=at)
        torn = system.centre.card(card.id)
        assert (torn.state, torn.job_token) == (CardState.ALLOCATED, None)

        time.sleep(REMOVAL_S)
        served.process = system.supervisor.restart("card").process
        assert encode(system, card, served).outcome == Done(card.id, card.uuid)
    finally:
        system.supervisor.stop("card")
        time.sleep(REMOVAL_S)
    assert system.centre.card(card.id).state == CardState.ENCODED
    store = FileStore(image, CARD_SECRET)
    assert set(ChipCard(store).persistent.key_sets) == {THEMO.card_kvn}
    store.close()
    books = Books(system.office.place.config)
    assert books.contradictions() == []
    books.close()
    system.assert_books_are_whole()
