"""Cards whose protected answers are wrong, against our host's end of PIV secure messaging: each ends the session."""

from functools import partial

import pytest
from messaging_card import CS2, CS7, issued, office

from cardlink.errors import CardStatus, Malformed
from cardlink.piv import commands as piv
from cardlink.piv.secure_messaging import Suite
from cardlink.piv.secure_session import SecureSession, open_session
from cardlink.piv.tables import CHUID, Interface
from cardlink.transport.connection import command as say
from cardlink.transport.loopback import Loopback
from cardos import faults


def session(fault: str, suite: Suite) -> SecureSession:
    """Open a session over contactless with a card that misbehaves so."""
    card = faults.faulty(fault)(issued(suite))
    send = partial(say, Loopback(lambda apdu: card.transmit(apdu, Interface.CONTACTLESS)))
    send(piv.select())
    return open_session(send, suite, office(suite).signer)


@pytest.mark.parametrize("suite", [CS2, CS7], ids=["CS2", "CS7"])
@pytest.mark.parametrize(
    ("fault", "why"), [("wrong-mac", "MAC is wrong"), ("no-mac", "lacks"), ("plain-error", "6982")]
)
def test_a_protected_answer_that_is_not_right_ends_the_session(suite: Suite, fault: str, why: str) -> None:
    opened = session(fault, suite)
    with pytest.raises((Malformed, CardStatus), match=why):
        opened.command(piv.get_data(CHUID.tag))
    assert not opened.is_open


def test_an_answer_played_again_ends_the_session_at_the_second_command() -> None:
    opened = session("replayed-answer", CS2)
    assert opened.command(piv.get_data(CHUID.tag))
    with pytest.raises(Malformed, match="MAC is wrong"):
        opened.command(piv.get_data(CHUID.tag))
    assert not opened.is_open


@pytest.mark.parametrize("suite", [CS2, CS7], ids=["CS2", "CS7"])
def test_a_card_that_does_not_know_its_keys_opens_no_session(suite: Suite) -> None:
    with pytest.raises(Malformed):
        session("wrong-cryptogram", suite)
