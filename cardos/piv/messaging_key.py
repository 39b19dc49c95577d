"""The secure messaging key 04: made on the card, certified from outside, and used to establish session keys.

Source: SP 800-73pt2-5 §4.1 ("§"); how the certificate comes onto the card is our own (docs/formats.md, F16).
"""

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardlink.piv.commands import parse_general_authenticate, wrap_object
from cardlink.piv.cvc import CARD_ROLE, CVC_TAG, decode_cvc
from cardlink.piv.secure_messaging import (
    SUITES,
    Agreement,
    Reply,
    SessionCiphers,
    card_id,
    cryptogram,
    decode_request,
    derive,
    encode_reply,
)
from cardlink.piv.tables import RETIRED_KEYS, Algorithm, Interface, KeyRef
from cardlink.piv.templates import Authentication, encode_public_key, encode_response
from cardlink.piv.yubico import Origin, PinPolicy
from cardos.piv.keys import agree, generate, public_of, save_private
from cardos.piv.messaging import MessagingSession
from cardos.records import Kind, SlotKey, StoredObject
from cardos.state import Platform

_GENERATE = "GENERATE ASYMMETRIC KEY PAIR"
_ESTABLISH = "GENERAL AUTHENTICATE"
_REF = KeyRef.SECURE_MESSAGING
_CURVE_OF = {Algorithm.CS2: Algorithm.P_256, Algorithm.CS7: Algorithm.P_384}
# With a P-384 key in one of these the channel must be as strong (§4.1.4).
_STRONG_SLOTS = frozenset((KeyRef.SIGNATURE, KeyRef.KEY_MANAGEMENT, *RETIRED_KEYS))


def close_session(platform: Platform) -> None:
    """Let the session's keys go, and with them what was proved inside it.

    The pairing code stands for the session in which it was said. Over contactless a PIN was said inside the session as
    well; whoever opens the next one has not said it. The second is stricter than the standard asks.
    """
    volatile = platform.volatile
    volatile.messaging = None
    security = volatile.security
    security.pairing_code = False
    if volatile.interface is Interface.CONTACTLESS:
        security.pin = security.global_pin = security.occ = False


def generate_messaging_key(platform: Platform, algorithm: int) -> bytes:
    """Make key 04 for a cipher suite; a certificate of the key before it goes. The answer is the public key."""
    curve = _CURVE_OF.get(Algorithm(algorithm)) if algorithm in SUITES else None
    if curve is None:
        raise CardStatus(_GENERATE, SW.INCORRECT_P1P2)
    keys = platform.persistent.keys
    if algorithm == Algorithm.CS2 and any(
        ref in _STRONG_SLOTS and key.algorithm == Algorithm.P_384 for ref, key in keys.items()
    ):
        raise CardStatus(_GENERATE, SW.INCORRECT_DATA)
    key = generate(curve)
    made = SlotKey(_REF, algorithm, save_private(key), Origin.GENERATED, PinPolicy.NEVER)
    platform.persistent.commit([made], [(Kind.OBJECT, CVC_TAG)])
    close_session(platform)
    return encode_public_key(public_of(key))


def require_suite(platform: Platform, ref: int, algorithm: int, name: str) -> None:
    """Raise 6A80 for a P-384 key that secure messaging of cipher suite 2 would be too weak for."""
    if algorithm == Algorithm.P_384 and ref in _STRONG_SLOTS:
        messaging = platform.persistent.keys.get(_REF)
        if messaging is not None and messaging.algorithm == Algorithm.CS2:
            raise CardStatus(name, SW.INCORRECT_DATA)


def put_cvc(platform: Platform, content: bytes) -> None:
    """Store the certificate of key 04, or remove it. Raises 6A80 unless it certifies that very key; no reading back."""
    persistent = platform.persistent
    if not content:
        persistent.commit(remove=[(Kind.OBJECT, CVC_TAG)])
        close_session(platform)
        return
    key = persistent.keys.get(_REF)
    try:
        cvc = decode_cvc(content)
    except Malformed as error:
        raise CardStatus("PUT DATA", SW.INCORRECT_DATA) from error
    if (
        key is None
        or cvc.role != CARD_ROLE
        or cvc.suite.algorithm != key.algorithm
        or cvc.point != persistent.point(_REF)
    ):
        raise CardStatus("PUT DATA", SW.INCORRECT_DATA)
    persistent.commit([StoredObject(CVC_TAG, wrap_object(CVC_TAG, content))])
    close_session(platform)


def establish(platform: Platform, command: Command) -> bytes:
    """GENERAL AUTHENTICATE with key 04: the steps C1 to C11. To ask for new keys ends the session before."""
    volatile, persistent = platform.volatile, platform.persistent
    if volatile.secure_messaging:
        # the answer could not be protected under keys that are gone; establishing has no protected form (§4.1.8)
        raise CardStatus(_ESTABLISH, SW.INCORRECT_P1P2)
    close_session(platform)
    suite = SUITES.get(persistent.messaging_suite)
    if suite is None or command.p1 != suite.algorithm:
        raise CardStatus(_ESTABLISH, SW.INCORRECT_P1P2)
    match parse_general_authenticate(command).template:
        case Authentication(None, bytes(sent), b"", None):
            pass
        case _:
            raise CardStatus(_ESTABLISH, SW.INCORRECT_DATA)
    try:
        request = decode_request(suite, sent)
        if request.host_control & 0xF0:  # the lower half offers persistent binding, which the card may pass over (C2)
            raise Malformed(_ESTABLISH, f"control byte {request.host_control:02X}")
        secret = agree(persistent.private_key(_REF), suite.algorithm, request.host_point)
    except Malformed as error:
        raise CardStatus(_ESTABLISH, SW.INCORRECT_DATA) from error
    nonce = platform.random(suite.nonce_bytes)
    agreement = Agreement(
        suite, request.host_id, request.host_point, card_id(persistent.cvc), nonce, request.host_control
    )
    keys = derive(agreement, secret)
    volatile.messaging = MessagingSession(SessionCiphers(keys))
    return encode_response(encode_reply(Reply(0x00, nonce, cryptogram(agreement, keys), persistent.cvc)))
