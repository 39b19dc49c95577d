"""Card products by name, and chips whose maker vouches for the keys made on them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from card_office import ENCODER, NOW, Blank, Centre, open_centre, silent
from cryptography.hazmat.primitives.serialization import Encoding

from cardlink.errors import LinkLost
from cardlink.transport.connection import Connection, Torn
from cardos.maker import Maker
from issuer import database
from issuer.audit import log as audit
from issuer.cards import personalise, profiles
from issuer.cards.makers import NOBODY, Makers
from issuer.cards.personalise import Done, Outcome, Spoiled
from issuer.cards.run import run
from issuer.cards.tables import Card
from issuer.errors import Refused

MAKER = Maker(bytes(range(32)), NOW - timedelta(days=900))  # made up, for tests alone
FALSE = Maker(bytes(32), NOW - timedelta(days=900))  # the same names, other keys


def of(maker: Maker) -> Makers:
    root, batch = (one.public_bytes(Encoding.DER) for one in (maker.root(), maker.batch(1)))
    return Makers((root,), (batch,))


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


def allocated(centre: Centre, maker: Maker | None) -> tuple[Card, Blank]:
    blank = centre.blank(maker=maker)
    return centre.allocate(centre.approved().id, blank.serial), blank


def encode(
    centre: Centre, card: Card, line: Connection, product: str | None = None, makers: Makers = NOBODY
) -> Outcome:
    profile = None if product is None else profiles.named(product)
    job = personalise.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock, profile, makers)
    return run(line, job, silent).outcome


def noted(centre: Centre, card: Card) -> tuple[str | None, str | None]:
    with database.reading(centre.factory) as session:
        return personalise.begun_as(session, card.id), personalise.attested_by(session, card.id)


@pytest.mark.parametrize("product", ["themo-vci-attested", None])
def test_the_keys_of_a_known_makers_chip_are_attested_and_that_is_noted(centre: Centre, product: str | None) -> None:
    card, blank = allocated(centre, MAKER)
    assert isinstance(encode(centre, card, blank.connect(), product, of(MAKER)), Done)
    batch = MAKER.batch(1).subject.rfc4514_string()
    assert noted(centre, card) == (product or "themo", batch)
    with database.reading(centre.factory) as session:
        (entry,) = [one for one in audit.entries(session, action="card.keys_attested") if one.subject == str(card.uuid)]
    assert entry.facts == {"maker": batch, "serials": [int.from_bytes(blank.chip.persistent.chip.serial)]}


@pytest.mark.parametrize(
    ("maker", "known", "why"),
    [
        (None, MAKER, "no certificate of its maker"),
        (FALSE, MAKER, "no known maker vouches for key 9A: forged-statement"),
        (Maker(bytes(32), NOW, "another maker"), MAKER, "no known maker vouches for key 9A: unknown-signer"),
        (Maker(bytes(range(32)), NOW + timedelta(days=3)), MAKER, "no known maker vouches for key 9A: not-yet-valid"),
    ],
)
def test_a_chip_that_no_known_maker_vouches_for_is_spoiled(
    centre: Centre, maker: Maker | None, known: Maker, why: str
) -> None:
    card, blank = allocated(centre, maker)
    outcome = encode(centre, card, blank.connect(), "themo-attested", of(known))
    assert isinstance(outcome, Spoiled)
    assert why in outcome.reason
    assert noted(centre, card)[1] is None


def test_a_plain_product_takes_a_chip_without_attestation_and_refuses_a_false_one(centre: Centre) -> None:
    card, blank = allocated(centre, None)
    assert isinstance(encode(centre, card, blank.connect(), "themo", of(MAKER)), Done)
    assert noted(centre, card) == ("themo", None)
    card, blank = allocated(centre, FALSE)
    assert isinstance(encode(centre, card, blank.connect(), "themo", of(MAKER)), Spoiled)


def test_a_product_that_promises_attestation_needs_makers_to_judge_it(centre: Centre) -> None:
    card, blank = allocated(centre, MAKER)
    with pytest.raises(Refused, match="no_makers"):
        encode(centre, card, blank.connect(), "themo-attested")
    with pytest.raises(Refused, match="unknown_product"):
        encode(centre, card, blank.connect(), "gold")
    assert isinstance(encode(centre, card, blank.connect()), Done)  # nothing was begun


def test_a_torn_card_goes_on_as_the_product_it_was_begun_as(centre: Centre) -> None:
    card, blank = allocated(centre, MAKER)
    with pytest.raises(LinkLost):
        encode(centre, card, Torn(blank.connect(), 40), "themo-vci-attested", of(MAKER))
    with pytest.raises(Refused, match="other_product") as refused:
        encode(centre, card, blank.connect(), "themo", of(MAKER))
    assert refused.value.facts["begun"] == "themo-vci-attested"
    assert isinstance(encode(centre, card, blank.connect(), None, of(MAKER)), Done)
    assert blank.chip.persistent.messaging_suite
    assert noted(centre, card)[1] is not None
