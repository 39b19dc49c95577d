"""An issued card brought up to date with its keys in a PKCS#11 token: signers and card master have fallen."""

from datetime import timedelta
from pathlib import Path

import pytest
from card_office import ADMIN, ENCODER, HOME, silent
from token_office import open_token_centre

from issuer import database
from issuer.cards import lifecycle, update, update_plan
from issuer.cards.personalise import Done
from issuer.cards.run import run
from issuer.trust import compromise, masters


@pytest.mark.slow
def test_a_card_gets_statements_certificates_and_key_set_of_a_token(tmp_path: Path) -> None:
    with open_token_centre(tmp_path) as centre:
        card, blank = centre.active()
        for label in (f"card-{HOME}-1", f"x509-ca-{HOME}-1", masters.FIRST):
            centre.clock.pass_by(timedelta(seconds=1))
            compromise.compromised(centre.factory, centre.ceremony, ADMIN, label, centre.clock())
        job = update.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)
        assert run(blank.connect(), job, silent).outcome == Done(card.id, card.uuid)
        with database.reading(centre.factory) as session:
            found = lifecycle.find(session, card.id)
            keys = update_plan.keys_at_fault(session, centre.clock())
            assert update_plan.causes_of(session, found, keys) == ()
            assert (found.master_label, found.kvn) == ("card-master-2", 0x02)
        assert set(blank.chip.persistent.key_sets) == {0x02}
