"""The cards of this folder: one personalised by our issuer for all modules, and a factory card for each that asks.

The first lies in the contact slot of the run's virtual reader, the others each in a reader of their own.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
sys.path.append(str(TESTS / "link"))  # where the small centre lives that tests of several parts share

from card_office import ENCODER, HOME, NOW, TRANSPORT_KEYS, Centre, open_centre  # noqa: E402
from card_slot import served_card  # noqa: E402

from cardlink.transport.loopback import Loopback  # noqa: E402
from cardos.card import Card as ChipCard  # noqa: E402
from cardos.factory import make_blank  # noqa: E402
from cardos.image import FileStore  # noqa: E402
from demo.pcscd import VirtualReader  # noqa: E402
from foreign.factory_card import SECRET, FactoryCard, Ykman, factory_card  # noqa: E402
from issuer import database  # noqa: E402
from issuer.cards import personalise  # noqa: E402
from issuer.cards.tables import Card  # noqa: E402
from issuer.trust import ca  # noqa: E402


@dataclass(frozen=True)
class Issued:
    """The card, what the register says of it, and the files a foreign program is given."""

    row: Card
    pin: str
    image: Path
    root: Path
    issuing: Path
    foreign_root: Path
    foreign_issuing: Path


@dataclass(frozen=True)
class Inserted:
    """The card in its slot."""

    card: Issued
    reader: str
    environ: dict[str, str]


@pytest.fixture(scope="package")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issued]:
    folder = tmp_path_factory.mktemp("issued")
    foreign = tmp_path_factory.mktemp("another-installation")
    with open_centre(foreign) as other:
        write_authorities(other, foreign)
    with open_centre(folder) as centre:
        write_authorities(centre, folder)
        blank = centre.blank()
        store = FileStore.create(
            folder / "c.card", SECRET, make_blank(bytes.fromhex(blank.serial), TRANSPORT_KEYS), sync=False
        )
        card = centre.allocate(centre.approved().id, blank.serial)
        centre.encode(card.id, Loopback(ChipCard(store).transmit))
        store.close()
        with database.transaction(centre.factory) as session:
            pin = personalise.reveal_pin(session, centre.hsm, ENCODER, card.id, centre.clock())
        yield Issued(
            centre.card(card.id), pin, folder / "c.card",
            folder / "root.pem", folder / "issuing.pem", foreign / "root.pem", foreign / "issuing.pem",
        )  # fmt: skip


def openssl_time() -> list[str]:
    """The option that lets openssl judge at a time when this test's card is valid."""
    return ["-attime", str(int(NOW.timestamp()) + 86_400)]


def write_authorities(centre: Centre, folder: Path) -> None:
    with database.reading(centre.factory) as session:
        issuing = ca.current(session, ca.ISSUING, HOME, NOW).certificate
        (folder / "root.pem").write_bytes(ca.root_pem(session, NOW))
        (folder / "issuing.pem").write_bytes(ca.to_pem(issuing))


@pytest.fixture(scope="package")
def inserted(virtual: VirtualReader, issued: Issued) -> Iterator[Inserted]:
    """The card in the contact slot, which it leaves again for the tests of other folders."""
    issued.image.with_name(issued.image.name + ".key").write_text(SECRET.hex(), encoding="ascii")
    with served_card(virtual, issued.image) as card:
        yield Inserted(issued, card.insert("contact"), card.environ)


@pytest.fixture(scope="session")
def program() -> Iterator[Ykman]:
    """ykman, ready to run."""
    running = Ykman()
    yield running
    running.close()


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory, program: Ykman) -> Iterator[FactoryCard]:
    """A card from the factory for each module, in a reader of its own."""
    with factory_card(tmp_path_factory.mktemp("factory"), program) as made:
        yield made
