"""A card of another maker in a reader of ours: door and office say what it is not, and leave it as it is."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from card_office import open_centre, silent

from cardlink.errors import CardStatus
from cardlink.iso7816.atr import decode_atr
from cardlink.iso7816.sw import SW
from cardlink.piv import commands as piv
from cardlink.statements.bundle import Mechanism
from cardlink.transport.connection import command
from cardlink.transport.pcsc import PcscConnection, Reader
from demo.pcscd import CONTACTLESS_PORT, CONTACTLESS_READER, VirtualReader
from foreign.programs import FOREIGN, ROOT
from issuer.cards.run import run
from issuer.cards.states import CardState
from issuer.errors import Refused
from reader_daemon.evidence import Metered, NoEvidence, collect
from reader_daemon.reasons import DoorReason

EMULATOR = ROOT / ".cache" / "vicc"
SCRIPT = Path(__file__).with_name("vicc_card.py")


@pytest.fixture(scope="module")
def theirs(virtual: VirtualReader) -> Iterator[PcscConnection]:
    """A connection to the emulator's card."""
    argv = [*virtual.enter, FOREIGN / "python", SCRIPT, EMULATOR, str(CONTACTLESS_PORT)]
    with Reader(CONTACTLESS_READER) as reader:
        assert reader.wait_for_removal(10)
        emulator = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        try:
            assert reader.wait_for_card(10)
            with reader.connect() as connection:
                yield connection
        finally:
            emulator.terminate()
            emulator.wait(10)
        assert reader.wait_for_removal(10)


def test_its_atr_is_read(theirs: PcscConnection) -> None:
    assert decode_atr(theirs.atr()).protocols


def test_it_has_no_piv_application(theirs: PcscConnection) -> None:
    with pytest.raises(CardStatus) as refused:
        command(theirs, piv.select())
    assert refused.value.sw == SW.NOT_FOUND


def test_a_door_finds_no_evidence_and_knows_why(theirs: PcscConnection) -> None:
    found = collect(Metered(theirs, 5.0), bytes(16), tuple(Mechanism))
    assert isinstance(found, NoEvidence)
    assert found.reason == DoorReason.NOT_A_PIV_CARD


def test_the_office_does_not_personalise_it(theirs: PcscConnection, tmp_path: Path) -> None:
    with open_centre(tmp_path) as centre:
        card, _ = centre.allocated()
        with pytest.raises(Refused, match=r"cards\.not_our_product"):
            run(theirs, centre.job(card.id), silent)
        assert centre.card(card.id).state == CardState.ALLOCATED
