"""What a door collects from a card. The only module that speaks to a `Connection`; it judges nothing.

Mechanism 2, the door application, takes two exchanges: SELECT, and one that gives credential and signature (F15).
Mechanism 1 takes three: SELECT of PIV, the card credential, one signature over this door's fresh challenge (F12).
A card that holds no credential is asked for its certificate instead (PKI-CAK) only where the rules allow mechanism 3.
Of those that the rules allow the door asks in this order: 2, 1, 3. What a card lacks costs it the next question.
Whatever a card answers, the exchanges, the bytes and the time it can take are bounded.
"""

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from cardlink.access.door import SELECT_DOOR_APDU, decode_door_answer, door_authenticate, door_authenticate_apdu
from cardlink.check.evidence import Answer, CertificateEvidence, CredentialEvidence
from cardlink.errors import CardStatus, LinkLost, Malformed
from cardlink.iso7816.sw import SW
from cardlink.piv.commands import (
    GET_CARD_CREDENTIAL_APDU,
    GET_CERT_CARD_AUTH_APDU,
    SELECT_PIV_APDU,
    sign_with_card_key_apdu,
    unwrap_object,
)
from cardlink.piv.objects import decode_certificate
from cardlink.piv.tables import CARD_CREDENTIAL, CERT_CARD_AUTH
from cardlink.piv.templates import decode_response
from cardlink.statements.bundle import Mechanism
from cardlink.statements.challenge import NONCE_BYTES, door_challenge_digest
from cardlink.transport.connection import Connection, command
from reader_daemon.errors import DoorError
from reader_daemon.reasons import DoorReason

MAX_EXCHANGES = 32
MAX_BYTES = 16_384  # in both directions together; the largest honest card needs about 2,500
ABSENT = (SW.NOT_FOUND, SW.FUNCTION_NOT_SUPPORTED, SW.INCORRECT_DATA)  # how cards say that they have no such object

Draw = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class NoEvidence:
    """The card gave nothing that could be judged, and why."""

    reason: DoorReason
    detail: str = ""


Evidence = CredentialEvidence | CertificateEvidence | NoEvidence


class BudgetSpent(DoorError):
    """The card used up its exchanges, bytes or time. `reason` is for the record."""

    def __init__(self, reason: DoorReason, detail: str) -> None:
        super().__init__(reason, detail=detail)
        self.reason = reason
        self.detail = detail


class Metered:
    """A connection with a budget; counts what passes."""

    __slots__ = ("_below", "_budget_s", "_started_s", "bytes_in", "bytes_out", "card_s", "exchanges")

    def __init__(self, below: Connection, budget_s: float) -> None:
        self._below = below
        self._budget_s = budget_s
        self._started_s = time.perf_counter()
        self.exchanges = 0
        self.bytes_out = 0
        self.bytes_in = 0
        self.card_s = 0.0

    def transmit(self, apdu: bytes) -> bytes:
        """Pass one APDU on. Raises BudgetSpent before it is sent, or when its answer came too late, and LinkLost."""
        self.exchanges += 1
        self.bytes_out += len(apdu)
        if self.exchanges > MAX_EXCHANGES or self.bytes_out + self.bytes_in > MAX_BYTES:
            raise BudgetSpent(DoorReason.TOO_MUCH, f"{self.exchanges} exchanges, {self.bytes_in} bytes")
        started_s = time.perf_counter()
        try:
            answer = self._below.transmit(apdu)
        finally:
            ended_s = time.perf_counter()
            self.card_s += ended_s - started_s
        self.bytes_in += len(answer)
        if ended_s - self._started_s > self._budget_s:
            raise BudgetSpent(DoorReason.TOO_SLOW, f"{(ended_s - self._started_s) * 1000:.0f} ms")
        return answer


def collect(connection: Metered, door: bytes, mechanisms: Collection[Mechanism], draw: Draw = os.urandom) -> Evidence:
    """Ask the card for what the rules' mechanisms need. Never raises for what a card does."""
    try:
        return _collect(connection, door, mechanisms, draw)
    except BudgetSpent as spent:
        return NoEvidence(spent.reason, spent.detail)
    except LinkLost as lost:
        return NoEvidence(DoorReason.LINK_LOST, str(lost))
    except Malformed as error:
        return NoEvidence(DoorReason.MALFORMED_ANSWER, str(error))
    except CardStatus as status:
        return NoEvidence(DoorReason.CARD_REFUSED, str(status))


def _collect(connection: Metered, door: bytes, mechanisms: Collection[Mechanism], draw: Draw) -> Evidence:
    if Mechanism.DOOR_APPLICATION in mechanisms:
        found = _ask_door_application(connection, door, draw)
        if found is not None:
            return found
        if Mechanism.CREDENTIAL not in mechanisms and Mechanism.PKI_CAK not in mechanisms:
            return NoEvidence(DoorReason.NO_CREDENTIAL, "no door application")
    try:
        command(connection, SELECT_PIV_APDU)
    except CardStatus as status:
        if status.sw == SW.NOT_FOUND:
            return NoEvidence(DoorReason.NOT_A_PIV_CARD, str(status))
        raise
    is_certificate_allowed = Mechanism.PKI_CAK in mechanisms
    if Mechanism.CREDENTIAL in mechanisms:
        credential = _read(connection, GET_CARD_CREDENTIAL_APDU, CARD_CREDENTIAL.tag)
        if credential:
            answer = _sign(connection, door, draw)
            return answer if isinstance(answer, NoEvidence) else CredentialEvidence(credential, answer)
        if not is_certificate_allowed:
            return NoEvidence(DoorReason.NO_CREDENTIAL)
    if not is_certificate_allowed:
        return NoEvidence(DoorReason.MECHANISM_NOT_ALLOWED)
    content = _read(connection, GET_CERT_CARD_AUTH_APDU, CERT_CARD_AUTH.tag)
    if not content:
        return NoEvidence(DoorReason.NO_CREDENTIAL, "nor a 9E certificate")
    certificate = decode_certificate(content).certificate
    answer = _sign(connection, door, draw)
    return answer if isinstance(answer, NoEvidence) else CertificateEvidence(certificate, answer)


def _ask_door_application(connection: Metered, door: bytes, draw: Draw) -> CredentialEvidence | None:
    """Mechanism 2. None when the card has no door application, or nothing in it: whatever it says then, PIV is next."""
    nonce = draw(NONCE_BYTES)
    try:
        command(connection, SELECT_DOOR_APDU)
        try:
            raw = command(connection, door_authenticate_apdu(door, nonce))
        except CardStatus as status:
            if status.sw != SW.WRONG_LENGTH:
                raise
            # a reader in between that passes short APDUs only; the challenge was not answered, so it still serves
            raw = command(connection, door_authenticate(door, nonce, extended=False))
    except CardStatus:
        return None
    credential, y, signature = decode_door_answer(raw)
    return CredentialEvidence(credential, Answer(door, nonce, signature), y=y, mechanism=Mechanism.DOOR_APPLICATION)


def _read(connection: Metered, apdu: bytes, tag: int) -> bytes:
    """The content of an object; nothing when the card does not have it, or has it empty."""
    try:
        return unwrap_object(tag, command(connection, apdu))
    except CardStatus as status:
        if status.sw in ABSENT:
            return b""
        raise


def _sign(connection: Metered, door: bytes, draw: Draw) -> Answer | NoEvidence:
    """Have 9E answer a challenge drawn now, for this door, and used once."""
    nonce = draw(NONCE_BYTES)
    try:
        data = command(connection, sign_with_card_key_apdu(door_challenge_digest(door, nonce)))
    except CardStatus as status:
        return NoEvidence(DoorReason.NO_CARD_KEY, str(status))
    return Answer(door, nonce, decode_response(data))
