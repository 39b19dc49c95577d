"""VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER (SP 800-73pt2-5 §3.2.1 to 3.2.3).

A try is counted in the store before anything is compared, so that cutting the power wins no further try. The Global
PIN counts in this application where the Discovery Object says so; the administrator sets it, with CHANGE REFERENCE
DATA and P1 01 (own: the standard leaves its start to the card's maker). The pairing code is the one in 5FC123.
"""

import hmac
from dataclasses import replace

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW, wrong_pin
from cardlink.piv.commands import (
    ChangeReference,
    Verify,
    parse_change_reference_data,
    parse_reset_retry_counter,
    parse_verify,
    unwrap_object,
)
from cardlink.piv.objects import VCI_BIT, decode_pairing_code_reference
from cardlink.piv.pins import REFERENCE_BYTES, is_pairing_code, is_pin
from cardlink.piv.tables import KEYS, PAIRING_CODE_REFERENCE, Access, Interface, KeyRef
from cardos.defaults import PIN_TRIES, is_factory_value
from cardos.piv.auth import has_global_pin, is_allowed, require_admin, require_contact
from cardos.records import Reference
from cardos.state import Platform

_VERIFY = "VERIFY"
_CHANGE = "CHANGE REFERENCE DATA"
_RESET = "RESET RETRY COUNTER"
# As plain numbers, as in cardos.dispatch: each VERIFY asks for them.
_GLOBAL_PIN, _PIN, _PUK, _PAIRING_CODE = (
    int(ref) for ref in (KeyRef.GLOBAL_PIN, KeyRef.PIN, KeyRef.PUK, KeyRef.PAIRING_CODE)
)
# Our intermediate retry value (§3.2.1): with so few tries left a PIN is taken over the contact interface alone, so that
# nobody in passing blocks it.
CONTACT_ONLY_TRIES = 2


def verify(platform: Platform, command: Command) -> bytes:
    """VERIFY: compare, ask for the tries left (no data), or take the verification back (P1 FF)."""
    request = parse_verify(command)
    if request.ref == _PAIRING_CODE:
        return _verify_pairing_code(platform, request)
    reference = _counted(platform, request.ref)
    if reference is None or request.ref == _PUK:
        # fingers are not enabled on this card, the Global PIN only by its bit in a Discovery Object
        raise CardStatus(_VERIFY, SW.REFERENCE_NOT_FOUND)
    _require_interface(platform, request.ref, _VERIFY)
    if request.clear:
        _set_status(platform, request.ref, verified=False)
        return b""
    security = platform.volatile.security
    if not request.data and (security.pin if request.ref == _PIN else security.global_pin):
        return b""
    _require_tries(platform, reference, _VERIFY)
    if not request.data:
        raise CardStatus(_VERIFY, wrong_pin(reference.left))
    # Eight bytes that are no PIN count as a wrong one: §3.2.1.1 leaves the choice, and Yubico's tools block a PIN so.
    if len(request.data) != REFERENCE_BYTES:
        raise CardStatus(_VERIFY, SW.INCORRECT_DATA)
    _compare(platform, reference, request.data, _VERIFY)
    platform.persistent.commit([reference.with_left(reference.limit)])
    _set_status(platform, request.ref, verified=True)
    return b""


def _verify_pairing_code(platform: Platform, request: Verify) -> bytes:
    """VERIFY of 98: no counter, so 6300; what is no pairing code is 6A80 and not compared (§3.2.1.3)."""
    persistent, security = platform.persistent, platform.volatile.security
    stored = persistent.objects.get(PAIRING_CODE_REFERENCE.tag)
    if stored is None or not persistent.pin_policy & VCI_BIT:
        raise CardStatus(_VERIFY, SW.REFERENCE_NOT_FOUND)
    try:
        code = decode_pairing_code_reference(unwrap_object(PAIRING_CODE_REFERENCE.tag, stored))
    except Malformed as error:
        raise CardStatus(_VERIFY, SW.REFERENCE_NOT_FOUND) from error
    _require_interface(platform, KeyRef.PAIRING_CODE, _VERIFY)
    if request.clear:
        security.pairing_code = False
    elif request.data:
        if not is_pairing_code(request.data):
            raise CardStatus(_VERIFY, SW.INCORRECT_DATA)
        security.pairing_code = hmac.compare_digest(code, request.data)
    if not security.pairing_code and not request.clear:
        raise CardStatus(_VERIFY, SW.VERIFICATION_FAILED)
    return b""


def change_reference_data(platform: Platform, command: Command) -> bytes:
    """CHANGE REFERENCE DATA: the old value, then the new one, of PIN, PUK or Global PIN."""
    request = parse_change_reference_data(command)
    if not request.old:
        return _set_global_pin(platform, request)
    reference = _counted(platform, request.ref)
    if reference is None:
        raise CardStatus(_CHANGE, SW.REFERENCE_NOT_FOUND)
    _require_interface(platform, request.ref, _CHANGE)
    _require_tries(platform, reference, _CHANGE)
    if request.ref != KeyRef.PUK and not (is_pin(request.old) and is_pin(request.new)):
        raise CardStatus(_CHANGE, SW.INCORRECT_DATA)
    _compare(platform, reference, request.old, _CHANGE)
    platform.persistent.commit([_renewed(reference, request.new)])
    _set_status(platform, request.ref, verified=True)
    return b""


def _set_global_pin(platform: Platform, request: ChangeReference) -> bytes:
    """The administrator gives the Global PIN a value and all its tries; nobody has verified the new one."""
    require_admin(platform, _CHANGE)
    if not is_pin(request.new):
        raise CardStatus(_CHANGE, SW.INCORRECT_DATA)
    platform.persistent.commit([Reference(KeyRef.GLOBAL_PIN, request.new, PIN_TRIES, PIN_TRIES)])
    _set_status(platform, KeyRef.GLOBAL_PIN, verified=False)
    return b""


def reset_retry_counter(platform: Platform, command: Command) -> bytes:
    """RESET RETRY COUNTER: the PUK, then a new PIN. A wrong PUK also takes the PIN's verification back."""
    require_contact(platform, _RESET)
    request = parse_reset_retry_counter(command)
    puk = platform.persistent.references[KeyRef.PUK]
    _require_tries(platform, puk, _RESET)
    _compare(platform, puk, request.puk, _RESET)
    if not is_pin(request.new_pin):
        # the right PUK with a broken PIN costs no try (§3.2.3); a wrong one with it was counted above
        platform.persistent.commit([puk])
        raise CardStatus(_RESET, SW.INCORRECT_DATA)
    pin = platform.persistent.references[KeyRef.PIN]
    platform.persistent.commit([puk.with_left(puk.limit), _renewed(pin, request.new_pin)])
    return b""


def _counted(platform: Platform, ref: int) -> Reference | None:
    """The PIN, PUK or, where it counts here, Global PIN of that number."""
    if ref == _GLOBAL_PIN and not has_global_pin(platform):
        return None
    return platform.persistent.references.get(ref)


def _renewed(reference: Reference, value: bytes) -> Reference:
    is_default = is_factory_value(reference.number, value)
    return replace(reference, value=value, left=reference.limit, is_default=is_default)


def _set_status(platform: Platform, ref: int, *, verified: bool) -> None:
    """Set the security status of PIN or Global PIN; the PUK has none that anything asks for."""
    security, count = platform.volatile.security, platform.volatile.count
    if ref == _PIN:
        security.pin, security.pin_at = verified, count
    elif ref == _GLOBAL_PIN:
        security.global_pin, security.global_pin_at = verified, count


def _compare(platform: Platform, reference: Reference, presented: bytes, name: str) -> None:
    """Count the try, then compare. Raises 63Cx; the caller puts the counter back on success."""
    platform.persistent.commit([reference.with_left(reference.left - 1)])
    if not hmac.compare_digest(reference.value, presented):
        # a wrong PUK in RESET RETRY COUNTER voids the PIN too (SP 800-73pt2-5 §3.2.3), in CHANGE it does not (§3.2.2)
        _set_status(platform, KeyRef.PIN if name is _RESET else reference.number, verified=False)
        raise CardStatus(name, wrong_pin(reference.left - 1))


def _require_tries(platform: Platform, reference: Reference, name: str) -> None:
    """Raise 6983 for a blocked reference, over contactless also for one with few tries left."""
    spare = 0 if platform.volatile.interface is Interface.CONTACT else CONTACT_ONLY_TRIES
    if reference.left <= spare:
        raise CardStatus(name, SW.AUTHENTICATION_METHOD_BLOCKED)


def _require_interface(platform: Platform, ref: int, name: str) -> None:
    """Raise 6A81 where the reference is never used over this interface, 6982 where SM or the VCI is missing."""
    access = KEYS[ref].use_access(platform.volatile.interface)
    if access is Access.NEVER:
        raise CardStatus(name, SW.FUNCTION_NOT_SUPPORTED)
    if platform.volatile.interface is not Interface.CONTACT and not is_allowed(platform, access):
        raise CardStatus(name, SW.SECURITY_STATUS_NOT_SATISFIED)
