"""A personalisation through the real pcscd: whole, and torn at three exchanges by a card that leaves its slot."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from card_office import TRANSPORT_KEYS, Centre, open_centre
from conftest import served_card

from cardlink.errors import LinkLost
from cardlink.transport.pcsc import Reader
from cardos.factory import make_blank
from cardos.image import FileStore
from demo.pcscd import VirtualReader
from issuer.cards.personalise import Done
from issuer.cards.run import Report
from issuer.cards.states import CardState
from issuer.cards.tables import Card


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


def new_card(centre: Centre, folder: Path) -> tuple[Card, Path]:
    """A card that waits to be encoded, and the image of its blank."""
    card, blank = centre.allocated()
    image, secret = folder / "blank.card", secrets.token_bytes(32)
    image.with_name(image.name + ".key").write_text(secret.hex())
    FileStore.create(image, secret, make_blank(bytes.fromhex(blank.serial), TRANSPORT_KEYS)).close()
    return card, image


def encode_in(centre: Centre, card: Card, reader_name: str) -> Report:
    with Reader(reader_name) as reader:
        assert reader.wait_for_card(5)
        with reader.connect() as connection, connection.transaction():
            return centre.encode(card.id, connection)


def test_a_card_is_personalised_through_pcscd(centre: Centre, virtual: VirtualReader, tmp_path: Path) -> None:
    card, image = new_card(centre, tmp_path)
    with served_card(virtual, image) as served:
        report = encode_in(centre, card, served.insert("contact"))
    assert report.outcome == Done(card.id, card.uuid)
    assert centre.card(card.id).state == CardState.ENCODED


@pytest.mark.parametrize("exchange", [4, 61, 110])
def test_a_card_torn_through_pcscd_is_resumed(
    centre: Centre, virtual: VirtualReader, tmp_path: Path, exchange: int
) -> None:
    card, image = new_card(centre, tmp_path)
    with served_card(virtual, image, "--tear-at", str(exchange), "--tear-after") as served:
        name = served.insert("contact")
        with pytest.raises(LinkLost):
            encode_in(centre, card, name)
        with Reader(name) as reader:
            assert reader.wait_for_removal(5)
    assert centre.card(card.id).state == CardState.ALLOCATED
    with served_card(virtual, image) as served:
        report = encode_in(centre, card, served.insert("contact"))
    assert report.outcome == Done(card.id, card.uuid)
    assert centre.card(card.id).state == CardState.ENCODED
