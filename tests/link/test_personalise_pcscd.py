"""Personalisation through pyscard, a real pcscd and the virtual reader; the card pulled out at three places."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from card_office import ADMIN, ENCODER, TRANSPORT_KEYS, Centre, open_centre, silent
from card_slot import ServedCard, served_card
from token_office import open_token_centre

from cardlink.errors import LinkLost
from cardlink.transport.pcsc import Reader
from demo.pcscd import CONTACT_READER, VirtualReader
from issuer import database
from issuer.cards import update, update_plan
from issuer.cards.personalise import Done, Job
from issuer.cards.run import Report, run
from issuer.cards.states import CardState
from issuer.cards.tables import Card
from issuer.trust import compromise

PCSCD_LOOKS_S = 1.0
"""pcscd looks for removals every 400 ms, and after a cut session in its own time: so long a slot is left empty."""


@pytest.fixture(scope="module", params=[open_centre, open_token_centre], ids=["hsm-sim", "softhsm2"])
def centre(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with request.param(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


def make_image(folder: Path, serial: str) -> Path:
    """A blank as a card image, made by the card maker's command."""
    keys = folder / "transport.keys"
    keys.write_text(" ".join(one.hex() for one in (TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)))
    image = folder / "blank.card"
    what = ("--image", str(image), "--serial", serial, "--transport-keys-file", str(keys))
    subprocess.run([sys.executable, "-m", "cardos", "blank", *what], check=True)
    return image


def encode(centre: Centre, card: Card, served: ServedCard) -> Report:
    return carried(centre.job(card.id), served)


def carried(job: Job, served: ServedCard) -> Report:
    # not `served.insert`: the foreign program that it asks would use up exchanges of a card that is to be torn
    with Reader(CONTACT_READER) as reader:
        time.sleep(PCSCD_LOOKS_S)
        assert served.tell("insert contact").startswith("ok")
        assert reader.wait_for_card(10)
        with reader.connect() as connection, connection.transaction():
            return run(connection, job, silent)


def test_a_blank_is_personalised_through_pcscd(virtual: VirtualReader, centre: Centre, tmp_path: Path) -> None:
    card, blank = centre.allocated()
    with served_card(virtual, make_image(tmp_path, blank.serial)) as served:
        report = encode(centre, card, served)
    assert report.outcome == Done(card.id, card.uuid)
    assert centre.card(card.id).state == CardState.ENCODED
    assert 100 < report.tally.exchanges < 250


@pytest.mark.parametrize(("at", "after"), [(9, True), (40, False), (100, True)])
def test_pulled_out_of_the_reader_it_is_resumed(
    virtual: VirtualReader, centre: Centre, tmp_path: Path, at: int, after: bool
) -> None:
    options = ("--tear-at", str(at), *(("--tear-after",) if after else ()))
    card, blank = centre.allocated()
    image = make_image(tmp_path, blank.serial)
    with served_card(virtual, image, *options) as served, pytest.raises(LinkLost):
        encode(centre, card, served)
    found = centre.card(card.id)
    assert (found.state, found.job_token) == (CardState.ALLOCATED, None)
    with served_card(virtual, image) as served:
        report = encode(centre, card, served)
    assert report.outcome == Done(card.id, card.uuid)
    assert centre.card(card.id).state == CardState.ENCODED


def test_an_issued_card_is_updated_through_pcscd_with_its_keys_in_either_hsm(
    virtual: VirtualReader, centre: Centre, tmp_path: Path
) -> None:
    card, blank = centre.allocated()
    with served_card(virtual, make_image(tmp_path, blank.serial)) as served:
        encode(centre, card, served)
        held = centre.card(card.id)
        for label in (held.credential_label, held.content_label, held.master_label):
            centre.clock.pass_by(timedelta(seconds=1))
            compromise.compromised(centre.factory, centre.ceremony, ADMIN, label or "", centre.clock())
        job = update.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)
        served.tell("remove")
        assert carried(job, served).outcome == Done(card.id, card.uuid)
    found = centre.card(card.id)
    assert (found.state, found.kvn, found.key_hash) == (held.state, 0x02, held.key_hash)
    with database.reading(centre.factory) as session:
        keys = update_plan.keys_at_fault(session, centre.clock())
        assert update_plan.causes_of(session, found, keys) == ()
