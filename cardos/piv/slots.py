"""Filling the key slots: GENERATE ASYMMETRIC KEY PAIR, and Yubico's IMPORT KEY, MOVE KEY and SET MANAGEMENT KEY."""

from dataclasses import replace

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.inventory import LifeCycle
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardlink.piv.commands import parse_generate_key
from cardlink.piv.tables import ATTESTATION_ALGORITHMS, KEYS, RETIRED_KEYS, Algorithm, KeyRef
from cardlink.piv.templates import encode_public_key
from cardlink.piv.yubico import (
    NO_KEY,
    Origin,
    PinPolicy,
    TouchPolicy,
    parse_import_key,
    parse_move_key,
    parse_set_management_key,
)
from cardos.defaults import default_admin_key
from cardos.piv.auth import default_pin_policy, require_admin
from cardos.piv.keys import MADE_HERE, generate, import_private, public_of, save_private
from cardos.piv.messaging_key import generate_messaging_key, require_suite
from cardos.records import AdminKey, Kind, Owner, SlotKey
from cardos.state import Platform

# 04 is filled apart (messaging_key). The retired slots are Yubico's addition to the standard's 9A, 9C, 9D, 9E.
SLOTS = frozenset((0x9A, 0x9C, 0x9D, 0x9E, *RETIRED_KEYS))
# F9 is filled by the card's maker; an administrator may put an own attestation key in its place.
_FILLED = SLOTS | {KeyRef.ATTESTATION}
_ALGORITHMS: dict[int, frozenset[Algorithm]] = {
    **{ref: KEYS[ref].algorithms for ref in SLOTS},
    KeyRef.ATTESTATION: ATTESTATION_ALGORITHMS,
}
_AES = frozenset((Algorithm.AES_128, Algorithm.AES_192, Algorithm.AES_256))
_GENERATE = "GENERATE ASYMMETRIC KEY PAIR"


def generate_key(platform: Platform, command: Command) -> bytes:
    """GENERATE ASYMMETRIC KEY PAIR: the new pair replaces the old one, the answer is its public key."""
    require_admin(platform, _GENERATE)
    ref, request = parse_generate_key(command)
    if ref == KeyRef.SECURE_MESSAGING:
        return generate_messaging_key(platform, request.algorithm)
    _require_slot(ref, _FILLED, _GENERATE)
    policy = _pin_policy(ref, request.pin_policy, request.touch_policy, _GENERATE)
    if request.algorithm not in MADE_HERE or request.algorithm not in _ALGORITHMS[ref]:
        raise CardStatus(_GENERATE, SW.INCORRECT_DATA)
    require_suite(platform, ref, request.algorithm, _GENERATE)
    key = generate(request.algorithm)
    made = SlotKey(ref, request.algorithm, save_private(key), Origin.GENERATED, policy)
    platform.persistent.commit([made])
    return encode_public_key(public_of(key))


def import_key(platform: Platform, command: Command) -> bytes:
    """IMPORT KEY: a private key from outside."""
    name = "IMPORT KEY"
    require_admin(platform, name)
    request = parse_import_key(command)
    _require_slot(request.ref, _FILLED, name)
    policy = _pin_policy(request.ref, request.pin_policy, request.touch_policy, name)
    if request.algorithm not in _ALGORITHMS[request.ref]:
        raise CardStatus(name, SW.INCORRECT_DATA)
    require_suite(platform, request.ref, request.algorithm, name)
    try:
        key = import_private(request.algorithm, request.parts)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    platform.persistent.commit(
        [SlotKey(request.ref, request.algorithm, save_private(key), Origin.IMPORTED, policy)],
    )
    return b""


def move_key(platform: Platform, command: Command) -> bytes:
    """MOVE KEY to an empty slot, or delete it. The key takes its PIN policy along: moving it never weakens it.

    F9 is deleted and never moved. 6A80 says that the target holds a key, as ykman expects.
    """
    name = "MOVE KEY"
    require_admin(platform, name)
    source, target = parse_move_key(command)
    deletes = target == NO_KEY
    _require_slot(source, _FILLED if deletes else SLOTS, name)
    key = platform.persistent.keys.get(source)
    if key is None:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    if deletes:
        platform.persistent.commit(remove=[(Kind.KEY, source)])
        return b""
    _require_slot(target, SLOTS, name)
    if key.algorithm not in _ALGORITHMS[target]:
        raise CardStatus(name, SW.INCORRECT_P1P2)
    if target in platform.persistent.keys:
        raise CardStatus(name, SW.INCORRECT_DATA)
    require_suite(platform, target, key.algorithm, name)
    platform.persistent.commit([replace(key, number=target)], [(Kind.KEY, source)])
    return b""


def set_management_key(platform: Platform, command: Command) -> bytes:
    """SET MANAGEMENT KEY: a new 9B. The card has no button, so a touch can't be asked for.

    TDES (03) is for old tools and blank cards: an issued card takes AES alone.
    """
    name = "SET MANAGEMENT KEY"
    require_admin(platform, name)
    request = parse_set_management_key(command)
    is_issued = platform.persistent.life[Owner.CARD] >= LifeCycle.SECURED
    is_known = request.algorithm in _AES or (request.algorithm == Algorithm.TDES_3KEY and not is_issued)
    if not is_known or request.touch:
        raise CardStatus(name, SW.INCORRECT_DATA)
    factory = default_admin_key()
    is_default = (request.algorithm, request.key) == (factory.algorithm, factory.key)
    platform.persistent.commit([AdminKey(request.algorithm, request.key, is_default)])
    return b""


def _require_slot(ref: int, slots: frozenset[int], name: str) -> None:
    if ref not in slots:
        raise CardStatus(name, SW.INCORRECT_P1P2)


def _pin_policy(ref: int, pin_policy: int, touch_policy: int, name: str) -> PinPolicy:
    """The policy a new key gets: the one asked for, unless it is weaker than the standard's rule for the slot.

    Yubico's MATCH policies (4 and 5) need a fingerprint reader in the card, and a touch needs a button: 6A80.
    """
    least = PinPolicy.NEVER if ref == KeyRef.ATTESTATION else default_pin_policy(KEYS[ref])
    if touch_policy not in (TouchPolicy.DEFAULT, TouchPolicy.NEVER) or pin_policy not in tuple(PinPolicy):
        raise CardStatus(name, SW.INCORRECT_DATA)
    if pin_policy == PinPolicy.DEFAULT:
        return least
    if pin_policy < least or (ref == KeyRef.ATTESTATION and pin_policy != PinPolicy.NEVER):
        raise CardStatus(name, SW.INCORRECT_DATA)
    return PinPolicy(pin_policy)
