"""Yubico's questions and card management: version, serial, metadata, tries, reset."""

from cardlink.errors import CardStatus
from cardlink.gp.inventory import LifeCycle
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardlink.piv.tables import CERT_ATTESTATION, PIN_TRIES_MAX, KeyRef
from cardlink.piv.templates import encode_key_fields
from cardlink.piv.yubico import (
    KeyMetadata,
    ManagementMetadata,
    ReferenceMetadata,
    TouchPolicy,
    encode_metadata,
    parse_bare,
    parse_get_metadata,
    parse_set_pin_retries,
)
from cardos.defaults import PIV_VERSION, TRIES_MAX, default_admin_key, default_references
from cardos.piv.auth import require_admin, require_contact
from cardos.piv.keys import public_of
from cardos.records import Kind, Owner
from cardos.state import Platform, Security


def get_version(platform: Platform, command: Command) -> bytes:
    """GET VERSION: which of Yubico's commands a tool may expect."""
    parse_bare(command, "GET VERSION")
    return PIV_VERSION


def get_serial(platform: Platform, command: Command) -> bytes:
    """GET SERIAL: the chip's serial number. Not over contactless: it would make every card traceable."""
    require_contact(platform, "GET SERIAL")
    parse_bare(command, "GET SERIAL")
    return platform.persistent.chip.serial


def get_metadata(platform: Platform, command: Command) -> bytes:
    """GET METADATA of a key, of 9B, PIN or PUK; 6A88 for all that is not there."""
    require_contact(platform, "GET METADATA")
    ref = parse_get_metadata(command)
    persistent = platform.persistent
    if ref == KeyRef.ADMIN:
        admin = persistent.admin
        return encode_metadata(ManagementMetadata(admin.algorithm, TouchPolicy.NEVER, admin.is_default))
    reference = persistent.references.get(ref)
    if reference is not None:
        return encode_metadata(ReferenceMetadata(reference.is_default, reference.limit, reference.left))
    key = persistent.keys.get(ref)
    if key is None:
        raise CardStatus("GET METADATA", SW.REFERENCE_NOT_FOUND)
    public = encode_key_fields(public_of(persistent.private_key(ref)))
    return encode_metadata(KeyMetadata(key.algorithm, key.pin_policy, TouchPolicy.NEVER, key.origin, public))


def set_pin_retries(platform: Platform, command: Command) -> bytes:
    """SET PIN RETRIES: needs the administrator and the PIN; both references get their factory values.

    An issued card (SECURED) refuses: its PUK would then be the published one, and whoever finds the card unblocks it.
    """
    name = "SET PIN RETRIES"
    require_admin(platform, name)
    if not platform.volatile.security.pin:
        raise CardStatus(name, SW.SECURITY_STATUS_NOT_SATISFIED)
    if platform.persistent.life[Owner.CARD] >= LifeCycle.SECURED:
        raise CardStatus(name, SW.CONDITIONS_NOT_SATISFIED)
    pin_tries, puk_tries = parse_set_pin_retries(command)
    if pin_tries > PIN_TRIES_MAX or puk_tries > TRIES_MAX:
        raise CardStatus(name, SW.INCORRECT_P1P2)
    platform.persistent.commit(default_references(pin_tries, puk_tries))
    platform.volatile.security.pin = False
    return b""


def reset(platform: Platform, command: Command) -> bytes:
    """RESET: back to the factory state, if PIN and PUK are both blocked.

    F9 and its certificate are the maker's and stay. An issued card (SECURED) refuses: blocking both is all it takes,
    and the factory 9B would then be anybody's.
    """
    require_contact(platform, "RESET")
    parse_bare(command, "RESET")
    persistent = platform.persistent
    if any(persistent.references[ref].left for ref in (KeyRef.PIN, KeyRef.PUK)):
        raise CardStatus("RESET", SW.CONDITIONS_NOT_SATISFIED)
    if persistent.life[Owner.CARD] >= LifeCycle.SECURED:
        raise CardStatus("RESET", SW.CONDITIONS_NOT_SATISFIED)
    gone = [(Kind.OBJECT, tag) for tag in persistent.objects if tag != CERT_ATTESTATION.tag]
    gone += [(Kind.KEY, ref) for ref in persistent.keys if ref != KeyRef.ATTESTATION]
    gone += [(Kind.REFERENCE, ref) for ref in persistent.references if ref not in (KeyRef.PIN, KeyRef.PUK)]
    persistent.commit([*default_references(), default_admin_key()], gone)
    platform.volatile.security = Security()
    platform.volatile.messaging = None  # its key is gone
    return b""
