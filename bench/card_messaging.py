"""PIV secure messaging at the card: what it adds to a command, and what opening a session costs."""

import os
from time import perf_counter

from cryptography.hazmat.primitives.asymmetric import ec

from bench.limits import BareScp03
from bench.report import Row, interleaved, median_us, told
from bench.sample_card import GET_SHORT, SELECT, messaging_key, sample_records
from cardlink.iso7816.apdu import Command, decode_command
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv.cvc import Signer
from cardlink.piv.secure_messaging import CS2
from cardlink.piv.secure_session import SecureSession, open_session
from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.store import MemoryStore

SESSIONS, COMMANDS = 100, 3000


class TimedCard:
    """The contactless face of a card that notes how long each answer took."""

    def __init__(self, records: dict[bytes, bytes]) -> None:
        self._card = Card(MemoryStore(records))
        self.spent_s: list[float] = []
        self.transmit(SELECT)

    def transmit(self, apdu: bytes) -> bytes:
        """The data of an answer. Raises RuntimeError unless it is 9000."""
        started_s = perf_counter()
        answer = self._card.transmit(apdu, Interface.CONTACTLESS)
        self.spent_s.append(perf_counter() - started_s)
        if not answer.endswith(SUCCESS_BYTES):
            raise RuntimeError(f"{apdu[:5].hex()}: {answer[-2:].hex()}")
        return answer[:-2]

    def say(self, command: Command) -> bytes:
        """The same for a command."""
        return self.transmit(command.encode())


def secure_messaging() -> list[Row]:
    """The rows of a session of cipher suite 2."""
    issuer = ec.generate_private_key(CS2.curve)
    records = {**sample_records(), **messaging_key(issuer)}
    plain, secured = TimedCard(records), TimedCard(records)
    session, opening_us, agreement_us = _sessions(secured, Signer(issuer.public_key()))
    command = decode_command(GET_SHORT)
    answer_bytes = len(plain.say(command))
    bare = BareScp03(len(command.data), answer_bytes, CS2.key_bytes)
    plain.spent_s.clear()
    secured.spent_s.clear()
    _, _, bare_s = interleaved(COMMANDS, lambda: plain.say(command), lambda: session.command(command), bare)
    adds_us = median_us(secured.spent_s) - median_us(plain.spent_s)
    return [
        told("secure messaging, suite 2, adds to GET DATA at the card", adds_us, "us"),
        told("the same against AES of the same lengths", adds_us / median_us(bare_s), "x"),
        told("opening a session, at the card", opening_us, "us"),
        told("the same against a bare P-256 key agreement", opening_us / agreement_us, "x"),
    ]


def _sessions(card: TimedCard, signer: Signer) -> tuple[SecureSession, float, float]:
    """Open sessions: the last one, and the microseconds at the card and of a bare agreement."""
    ours, other = ec.generate_private_key(CS2.curve), ec.generate_private_key(CS2.curve).public_key()
    card.spent_s.clear()
    opened: list[SecureSession] = []
    _, agreements_s = interleaved(
        SESSIONS,
        lambda: opened.append(open_session(card.say, CS2, signer, host_id=os.urandom(8))),
        lambda: ours.exchange(ec.ECDH(), other),
    )
    return opened[-1], median_us(card.spent_s), median_us(agreements_s)
