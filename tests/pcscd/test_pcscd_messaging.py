"""Secure messaging through a real pcscd: an object of the virtual contact interface, read in the contactless slot."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from card_slot import ServedCard, served_card
from messaging_card import CARD_UUID, CODE, PIN, SUITES, content_of, office, records

from cardlink.errors import CardStatus
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv.secure_messaging import CS2, Suite
from cardlink.piv.secure_session import open_session, read_signer
from cardlink.piv.templates import decode_apt, decode_response
from cardlink.transport.connection import command
from cardlink.transport.pcsc import Reader
from cardos.image import FileStore
from demo.pcscd import VirtualReader

SECRET = bytes.fromhex("C1" * 32)  # made up for these tests


@contextmanager
def inserted(virtual: VirtualReader, folder: Path, suite: Suite, usage: int) -> Iterator[ServedCard]:
    image = folder / f"{suite.algorithm.name}.card"
    image.with_name(image.name + ".key").write_text(SECRET.hex(), encoding="ascii")
    FileStore.create(image, SECRET, records(suite, usage), sync=False).close()
    with served_card(virtual, image) as card:
        yield card


@contextmanager
def connected(card: ServedCard) -> Iterator[Callable[[Command], bytes]]:
    with Reader(card.insert("contactless")) as reader:
        assert reader.wait_for_card(5)
        with reader.connect() as connection, connection.transaction():
            yield partial(command, connection)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.algorithm.name)
def test_an_object_of_the_virtual_contact_interface_is_read_over_contactless(
    virtual: VirtualReader, tmp_path: Path, suite: Suite
) -> None:
    with inserted(virtual, tmp_path, suite, 0x48) as card, connected(card) as say:
        assert decode_apt(say(piv.select())).secure_messaging == suite.algorithm
        for tag in (0x5FC105, 0x5FC109, 0x5FFF21):
            with pytest.raises(CardStatus, match="6982"):
                say(piv.get_data(tag))
        certificate, _ = read_signer(say)
        assert certificate == office(suite).certificate
        session = open_session(say, suite, office(suite).signer)
        assert session.cvc.subject == CARD_UUID
        with pytest.raises(CardStatus, match="6982"):
            session.command(piv.get_data(0x5FC105))
        session.command(piv.verify(CODE, 0x98))
        assert piv.unwrap_object(0x5FC105, session.command(piv.get_data(0x5FC105))) == content_of(0x5FC105)
        session.command(piv.verify(PIN))
        assert piv.unwrap_object(0x5FC109, session.command(piv.get_data(0x5FC109))) == content_of(0x5FC109)
        algorithm = 0x11 if suite is CS2 else 0x14
        signed = session.command(piv.sign(algorithm, 0x9A, bytes(suite.coordinate_bytes)))
        assert decode_response(signed)[0] == 0x30
