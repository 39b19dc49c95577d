"""The console's words for a door's reasons are the door's own: none is missing, none says something else."""

import pytest

from cardlink.language.catalogue import Language
from issuer.messages import catalogue
from reader_daemon.reasons import TEXTS, text

PREFIX = "page.door.reason."


@pytest.mark.parametrize("lang", list(Language))
def test_console_and_door_say_the_same_of_every_reason(lang: str) -> None:
    at_the_centre = {
        code.removeprefix(PREFIX): said for code, said in catalogue.catalogue(lang).items() if code.startswith(PREFIX)
    }
    assert at_the_centre == {str(reason): text(reason, lang) for reason in TEXTS}
