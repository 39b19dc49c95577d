"""docs/faults.md against the code: cards that lie while they are encoded."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from card_office import Centre, open_centre, silent

from cardlink.errors import CardStatus, Malformed
from cardlink.piv.tables import Interface
from cardlink.transport.loopback import Loopback
from cardos import faults
from issuer.cards.personalise import Done
from issuer.cards.run import run
from issuer.errors import IssuerError

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "faults.md"
ROWS = re.findall(
    r"^\| while encoding, `([a-zA-Z0-9:-]+)` \| ([^|]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


def outcome(centre: Centre, fault: str) -> str:
    """What the centre says of a card that misbehaves so while it is encoded."""
    card, blank = centre.allocated()
    lying = faults.faulty(fault)(blank.chip)
    connection = Loopback(lambda apdu: lying.transmit(apdu, Interface.CONTACT))
    try:
        ended = run(connection, centre.job(card.id), silent).outcome
    except IssuerError as error:
        return error.code
    except (CardStatus, Malformed) as error:
        return type(error).__name__
    return "done" if isinstance(ended, Done) else ended.reason.partition(":")[0]


@pytest.mark.parametrize(("fault", "said"), ROWS, ids=[fault for fault, _ in ROWS])
def test_a_card_that_lies_while_it_is_encoded_is_found_out_as_the_page_says(
    centre: Centre, fault: str, said: str
) -> None:
    assert outcome(centre, fault) in re.findall(r"`([a-z_.-]+)`", said)
