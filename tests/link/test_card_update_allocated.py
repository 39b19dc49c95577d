"""Where an allocator has a PIN in the HSM: a station updates the cards whose update was opened, each once."""

import secrets
from collections.abc import Iterator
from datetime import timedelta

import pytest
from card_office import ADMIN, ENCODER, Centre, open_centre, silent

from cardlink.gp.commands import initialize_update, select
from cardlink.transport.connection import command
from hsm_sim.client import Client, Role
from issuer import database
from issuer.cards import update
from issuer.cards.personalise import Done
from issuer.cards.run import run
from issuer.errors import Conflict
from issuer.trust import compromise
from issuer.trust.port import HsmError
from issuer.trust.sim import Allocator

PIN = "allo-1234"


@pytest.fixture
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


def test_a_station_updates_what_was_opened_by_the_allocator_and_cannot_come_back_to_it(centre: Centre) -> None:
    card, blank = centre.active()
    centre.clock.pass_by(timedelta(seconds=1))
    compromise.compromised(centre.factory, centre.ceremony, ADMIN, card.credential_label or "", centre.clock())
    assert centre.process is not None
    with centre.process.client(Role.SO) as officer:
        officer.set_pin(Role.ALLOCATOR, PIN)

    def bring() -> object:
        job = update.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)
        return run(blank.connect(), job, silent).outcome

    with pytest.raises(HsmError) as refused:
        bring()
    assert refused.value.code == "hsm.not_allocated"
    first = update.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)
    with Client(centre.process.socket, Role.ALLOCATOR, PIN) as client, pytest.raises(Conflict, match="job_taken"):
        update.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock, Allocator(client))
    with pytest.raises(HsmError) as still:  # a start that was refused has opened nothing
        run(blank.connect(), first, silent)
    assert still.value.code == "hsm.not_allocated"
    with (
        Client(centre.process.socket, Role.ALLOCATOR, PIN) as client,
        database.transaction(centre.factory) as session,
    ):
        job = str(update.order(session, ENCODER, card.id, centre.clock(), Allocator(client)).id)
    assert bring() == Done(card.id, card.uuid)
    line, challenge, kdd = blank.connect(), secrets.token_bytes(8), bytes.fromhex(blank.serial)
    command(line, select())
    answer = command(line, initialize_update(0, challenge))
    with pytest.raises(HsmError) as ended:
        centre.hsm.open_session(job, "card", card.master_label or "", kdd, 0, challenge, answer, 0x33)
    assert ended.value.code == "hsm.not_allocated"
