"""The small centre of card_office with its keys in SoftHSM."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from card_office import Centre, furnish
from softhsm_tokens import softhsm

import issuer.tables
from issuer import database


@contextmanager
def open_token_centre(folder: Path) -> Iterator[Centre]:
    """Set tokens up, make the keys, fill the register."""
    with softhsm(folder) as tokens:
        engine = database.engine_at(f"sqlite:///{folder / 'centre.db'}")
        try:
            issuer.tables.metadata.create_all(engine)
            # `process` is hsm-sim's, which tests kill; here there is none
            centre = Centre(database.session_factory(engine), None, tokens.everyday(), tokens.ceremony())
            furnish(centre)
            yield centre
        finally:
            engine.dispose()
