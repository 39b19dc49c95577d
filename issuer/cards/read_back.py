"""Reading a finished card back: as a door does, as anybody may, and with the PIN; every byte is compared."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cardlink.check.cache import CredentialCache
from cardlink.check.card import check_credential
from cardlink.check.evidence import Answer, CredentialEvidence
from cardlink.check.readback import check_read_back
from cardlink.errors import CardStatus
from cardlink.gp import commands as gp
from cardlink.iso7816.sw import SW
from cardlink.piv import commands as piv
from cardlink.piv.cvc import CVC_TAG, signer_of
from cardlink.piv.objects import decode_certificate
from cardlink.piv.secure_session import begin
from cardlink.piv.tables import (
    CARD_CREDENTIAL,
    CERT_CARD_AUTH,
    CHUID,
    PIV_AID,
    Algorithm,
    KeyRef,
)
from cardlink.piv.templates import decode_response
from cardlink.statements.challenge import NONCE_BYTES, door_challenge_digest, verify_answer
from cardlink.statements.cose_key import from_point
from cardlink.statements.refusal import Refused
from cardlink.statements.trust import Trust
from issuer.cards.profiles import CardProfile, needs_pin
from issuer.cards.talk import CARD, CHALLENGE_BYTES, Channel, Talk, get_object, plain

CENTRE_AS_DOOR = bytes(16)
"""The door UUID in the centre's own challenges: no door has it."""
RANDOM_BYTES = 2 * NONCE_BYTES + CHALLENGE_BYTES


class Mismatch(Exception):
    """The card does not hold what was written, or does not do what it must."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True)
class Expected:
    """What a card must answer: contents by tag, public points by key reference, its UUID."""

    contents: Mapping[int, bytes]
    points: Mapping[KeyRef, bytes]
    card_uuid: bytes


def read_back(
    channel: Channel, profile: CardProfile, expected: Expected, trust: Trust, random: bytes, now: datetime
) -> Talk[None]:
    """Read everything back and judge it. Raises Mismatch, CardStatus, OtherCard, KeysLost."""
    channel.drop()
    yield from plain(piv.select())
    yield from as_door(expected, trust, random[:NONCE_BYTES], now)
    opening = begin(profile.messaging) if profile.messaging is not None else None
    established = (yield from plain(opening.command)) if opening is not None else b""
    for row in profile.containers:
        if not needs_pin(row):
            _compare(row.tag, (yield from get_object(row.tag)), expected)
    yield from _pin_is_needed(profile)
    yield from channel.open(PIV_AID, (CARD,), random[2 * NONCE_BYTES :])
    yield from channel.load("verify-pin", None)
    for row in profile.containers:
        if needs_pin(row):
            _compare(row.tag, piv.unwrap_object(row.tag, (yield from channel.say(piv.get_data(row.tag)))), expected)
    yield from _piv_auth_signs(channel, expected, random[NONCE_BYTES : 2 * NONCE_BYTES])
    yield from _transport_keys_are_dead(profile)
    # Every byte is now known to be on the card: judge the whole, signatures and certificates included.
    whole = check_read_back(expected.contents, expected.points, trust, now)
    if isinstance(whole, Refused):
        raise Mismatch(f"the card as a whole: {whole.reason} {whole.detail}")
    if opening is not None:
        cvc, _ = opening.finish(established, signer_of(whole.chuid.signer))
        if cvc.raw != expected.contents[CVC_TAG] or cvc.subject != expected.card_uuid:
            raise Mismatch("secure messaging certificate")


def as_door(expected: Expected, trust: Trust, nonce: bytes, now: datetime) -> Talk[None]:
    """What a door does: credential, answer under its key; beside it CHUID and 9E certificate."""
    credential = yield from get_object(CARD_CREDENTIAL.tag)
    digest = door_challenge_digest(CENTRE_AS_DOOR, nonce)
    answered = yield from plain(piv.sign(Algorithm.P_256, KeyRef.CARD_AUTH, digest))
    certificate = decode_certificate((yield from get_object(CERT_CARD_AUTH.tag))).certificate
    evidence = CredentialEvidence(
        credential,
        Answer(CENTRE_AS_DOOR, nonce, decode_response(answered)),
        chuid=(yield from get_object(CHUID.tag)),
        certificate=certificate,
    )
    judged = check_credential(evidence, trust, now, CredentialCache())
    if isinstance(judged, Refused):
        raise Mismatch(f"credential: {judged.reason}")
    if judged.card_uuid != expected.card_uuid:
        raise Mismatch("credential of another card")


def _compare(tag: int, content: bytes, expected: Expected) -> None:
    if content != expected.contents[tag]:
        raise Mismatch(f"object {tag:X}")


def _pin_is_needed(profile: CardProfile) -> Talk[None]:
    """An identity statement goes only onto a card whose read protection holds (docs/formats.md, F4)."""
    for row in profile.containers:
        if needs_pin(row):
            try:
                yield from plain(piv.get_data(row.tag))
            except CardStatus as status:
                if status.sw != SW.SECURITY_STATUS_NOT_SATISFIED:
                    raise
            else:
                raise Mismatch(f"object {row.tag:X} is read without a PIN")


def _piv_auth_signs(channel: Channel, expected: Expected, challenge: bytes) -> Talk[None]:
    """After the PIN, 9A must sign under the key that was made in its slot."""
    digest = hashlib.sha256(challenge).digest()
    answered = yield from channel.say(piv.sign(Algorithm.P_256, KeyRef.PIV_AUTH, digest))
    key = from_point(expected.points[KeyRef.PIV_AUTH]).public_key()
    if not verify_answer(key, digest, decode_response(answered)):
        raise Mismatch("key 9A")


def _transport_keys_are_dead(profile: CardProfile) -> Talk[None]:
    """The delivered key set is no longer on the card."""
    try:
        yield from plain(gp.initialize_update(profile.transport_kvn, bytes(profile.mac_bytes)))
    except CardStatus:
        return
    raise Mismatch("transport keys are still alive")
