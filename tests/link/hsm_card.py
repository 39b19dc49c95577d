"""A virtual card as a blank of a delivery, and the talk with it over a channel that an HSM holds."""

import secrets
from dataclasses import dataclass

from cardlink.gp.commands import initialize_update, select
from cardlink.gp.scp03 import StaticKeys
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv.tables import PIV_AID
from cardos.card import Card
from cardos.factory import make_blank
from cardos.store import MemoryStore
from issuer.trust.port import Hsm

TRANSPORT_KEYS = StaticKeys(*(bytes([0x50 + n] * 16) for n in range(3)))  # made up, for tests alone
LEVEL = 0x33


@dataclass
class TestCard:
    """One blank."""

    __test__ = False
    kdd: bytes
    chip: Card

    @classmethod
    def blank(cls) -> "TestCard":
        kdd = secrets.token_bytes(10)
        return cls(kdd, Card(MemoryStore(make_blank(kdd, TRANSPORT_KEYS))))

    def say(self, apdu: bytes) -> bytes:
        answer, data = self.chip.transmit(apdu), b""
        while answer[-2] == 0x61:
            data += answer[:-2]
            answer = self.chip.transmit(bytes.fromhex("00C00000") + answer[-1:])
        return data + answer

    def open(
        self, hsm: Hsm, key_set: str, label: str, job: str = "job", aid: bytes = PIV_AID, level: int = LEVEL
    ) -> int:
        """SELECT, INITIALIZE UPDATE, EXTERNAL AUTHENTICATE; the HSM's number of the session."""
        assert self.say(select(aid).encode()).endswith(SUCCESS_BYTES)
        challenge = hsm.random(8)
        answer = self.say(initialize_update(0, challenge).encode())
        opened = hsm.open_session(job, key_set, label, self.kdd, 0, challenge, answer, level)
        assert hsm.unwrap(opened.session, self.say(opened.external_authenticate)) == SUCCESS_BYTES
        return opened.session

    def over(self, hsm: Hsm, session: int, apdu: bytes) -> bytes:
        """One command over the channel; the whole answer in the clear."""
        return hsm.unwrap(session, self.say(hsm.wrap(session, apdu)))

    def rotate(self, hsm: Hsm, transport: str, master: str, kvn: int = 0x01) -> None:
        """The card's own keys in the place of the transport keys."""
        session = self.open(hsm, "transport", transport, aid=select().data)
        hsm.check_put_keys(session, self.say(hsm.put_keys(session, master, self.kdd, kvn, 0x30)))
        hsm.close_session(session)
