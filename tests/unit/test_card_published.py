"""The card's end of SCP03 against published sessions: the randomness is theirs, the rest is the card's own."""

from typing import Any

import pytest
from scp03_sessions import NAMES, SESSIONS, keys_of

from cardlink.gp.commands import ISD_AID, decode_initialize_update
from cardlink.gp.scp03 import Option
from cardlink.iso7816.apdu import decode_command
from cardlink.piv.tables import Interface
from cardos.factory import make_blank
from cardos.gp import domain
from cardos.gp.channel import begin
from cardos.gp.keys import counter_number
from cardos.records import KeySet, Sequence
from cardos.state import Persistent, Platform, Volatile
from cardos.store import MemoryStore


def platform_of(session: dict[str, Any]) -> Platform:
    """A card that is about to use the published counter or challenge, with that key set in that version."""
    answer = decode_initialize_update(bytes.fromhex(session["answer"]))
    persistent = Persistent(MemoryStore(make_blank(answer.kdd, keys_of(session), answer.option)))
    persistent.commit([KeySet(answer.kvn, keys_of(session))])
    if answer.sequence_counter:
        persistent.commit(
            [Sequence(counter_number(keys_of(session).enc), int.from_bytes(answer.sequence_counter, "big") - 1)]
        )
    aid = bytes.fromhex(session["aid"]) if "aid" in session else ISD_AID
    return Platform(persistent, Volatile(Interface.CONTACT, aid), lambda size: answer.card_challenge[:size])


@pytest.mark.parametrize("session", SESSIONS, ids=NAMES)
def test_the_card_answers_and_understands_a_published_session(session: dict[str, Any]) -> None:
    platform = platform_of(session)
    command = decode_command(bytes.fromhex(session["initialize_update"]))
    command = command._replace(p1=decode_initialize_update(bytes.fromhex(session["answer"])).kvn)
    published = decode_initialize_update(bytes.fromhex(session["answer"]))
    if "aid" in session or not published.option & Option.PSEUDO_RANDOM_CHALLENGE:
        assert domain.initialize_update(platform, command).hex().upper() == session["answer"]
    else:  # derived from an AID that was not published
        platform.volatile.handshake = begin(ISD_AID, keys_of(session), command.data, published.card_challenge)
        assert platform.volatile.handshake.card_cryptogram == published.card_cryptogram
    assert (
        domain.external_authenticate(platform, decode_command(bytes.fromhex(session["external_authenticate"]))) == b""
    )
    channel = platform.volatile.channel
    assert channel is not None
    for exchange in session["exchanges"]:
        plain = decode_command(bytes.fromhex(exchange["plain"]))
        assert channel.unprotect(decode_command(bytes.fromhex(exchange["sent"]))) == plain
        if "received" not in exchange or exchange.get("overpadded"):
            continue
        whole = bytes.fromhex(exchange["answer"])
        protected = channel.protect(whole[:-2], int.from_bytes(whole[-2:], "big")) + whole[-2:]
        assert protected.hex().upper() == exchange["received"]
