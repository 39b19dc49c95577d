"""VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER (SP 800-73pt2-5 §3.2.1 to 3.2.3).

A try is counted in the store before anything is compared, so that cutting the power wins no further try.
"""

import hmac
from dataclasses import replace

from cardlink.errors import CardStatus
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW, wrong_pin
from cardlink.piv.commands import parse_change_reference_data, parse_reset_retry_counter, parse_verify
from cardlink.piv.pins import REFERENCE_BYTES, is_pin
from cardlink.piv.tables import KEYS, Access, Interface, KeyRef
from cardos.piv.auth import is_allowed, require_contact
from cardos.records import Reference
from cardos.state import Platform

_VERIFY = "VERIFY"
_CHANGE = "CHANGE REFERENCE DATA"
_RESET = "RESET RETRY COUNTER"


def verify(platform: Platform, command: Command) -> bytes:
    """VERIFY: compare, ask for the tries left (no data), or take the verification back (P1 FF)."""
    request = parse_verify(command)
    if request.ref != KeyRef.PIN:
        # Global PIN, fingers and pairing code are not enabled on a card without their bits in a Discovery Object
        raise CardStatus(_VERIFY, SW.REFERENCE_NOT_FOUND)
    _require_interface(platform, KeyRef.PIN, _VERIFY)
    security = platform.volatile.security
    if request.clear:
        security.pin = False
        return b""
    reference = platform.persistent.references[KeyRef.PIN]
    if not request.data and security.pin:
        return b""
    _require_tries(reference, _VERIFY)
    if not request.data:
        raise CardStatus(_VERIFY, wrong_pin(reference.left))
    # Eight bytes that are no PIN count as a wrong one: §3.2.1.1 leaves the choice, and Yubico's tools block a PIN so.
    if len(request.data) != REFERENCE_BYTES:
        raise CardStatus(_VERIFY, SW.INCORRECT_DATA)
    _compare(platform, reference, request.data, _VERIFY)
    platform.persistent.commit([replace(reference, left=reference.limit)])
    _set_verified(platform)
    return b""


def change_reference_data(platform: Platform, command: Command) -> bytes:
    """CHANGE REFERENCE DATA: the old value, then the new one, of the PIN or the PUK."""
    request = parse_change_reference_data(command)
    reference = platform.persistent.references.get(request.ref)
    if reference is None:
        raise CardStatus(_CHANGE, SW.REFERENCE_NOT_FOUND)
    _require_interface(platform, KeyRef(request.ref), _CHANGE)
    _require_tries(reference, _CHANGE)
    if request.ref == KeyRef.PIN and not (is_pin(request.old) and is_pin(request.new)):
        raise CardStatus(_CHANGE, SW.INCORRECT_DATA)
    _compare(platform, reference, request.old, _CHANGE)
    platform.persistent.commit([replace(reference, value=request.new, left=reference.limit, is_default=False)])
    if request.ref == KeyRef.PIN:
        _set_verified(platform)
    return b""


def reset_retry_counter(platform: Platform, command: Command) -> bytes:
    """RESET RETRY COUNTER: the PUK, then a new PIN. A wrong PUK also takes the PIN's verification back."""
    require_contact(platform, _RESET)
    request = parse_reset_retry_counter(command)
    puk = platform.persistent.references[KeyRef.PUK]
    _require_tries(puk, _RESET)
    _compare(platform, puk, request.puk, _RESET)
    if not is_pin(request.new_pin):
        # the right PUK with a broken PIN costs no try (§3.2.3); a wrong one with it was counted above
        platform.persistent.commit([puk])
        raise CardStatus(_RESET, SW.INCORRECT_DATA)
    pin = platform.persistent.references[KeyRef.PIN]
    platform.persistent.commit(
        [replace(puk, left=puk.limit), replace(pin, value=request.new_pin, left=pin.limit, is_default=False)],
    )
    return b""


def _set_verified(platform: Platform) -> None:
    security = platform.volatile.security
    security.pin, security.pin_at = True, platform.volatile.count


def _compare(platform: Platform, reference: Reference, presented: bytes, name: str) -> None:
    """Count the try, then compare. Raises 63Cx; the caller puts the counter back on success."""
    platform.persistent.commit([replace(reference, left=reference.left - 1)])
    if not hmac.compare_digest(reference.value, presented):
        # a wrong PUK in RESET RETRY COUNTER voids the PIN too (SP 800-73pt2-5 §3.2.3), in CHANGE it does not (§3.2.2)
        if reference.number == KeyRef.PIN or name is _RESET:
            platform.volatile.security.pin = False
        raise CardStatus(name, wrong_pin(reference.left - 1))


def _require_tries(reference: Reference, name: str) -> None:
    if not reference.left:
        raise CardStatus(name, SW.AUTHENTICATION_METHOD_BLOCKED)


def _require_interface(platform: Platform, ref: KeyRef, name: str) -> None:
    """Raise 6A81 where the reference is never used over this interface, 6982 where the VCI is missing."""
    access = KEYS[ref].use_access(platform.volatile.interface)
    if access is Access.NEVER:
        raise CardStatus(name, SW.FUNCTION_NOT_SUPPORTED)
    if platform.volatile.interface is not Interface.CONTACT and not is_allowed(platform, access):
        raise CardStatus(name, SW.SECURITY_STATUS_NOT_SATISFIED)
