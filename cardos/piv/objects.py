"""GET DATA and PUT DATA (SP 800-73pt2-5 §3.1.2 and 3.3.1)."""

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardlink.piv.commands import parse_get_data, parse_put_data, wrap_object
from cardlink.piv.cvc import CVC_TAG
from cardlink.piv.objects import GLOBAL_PIN_BIT, decode_discovery
from cardlink.piv.tables import CERT_ATTESTATION, CONTAINERS, DISCOVERY, Access, Interface, KeyRef
from cardos.piv.auth import is_allowed, require_admin
from cardos.piv.messaging_key import put_cvc
from cardos.records import Kind, StoredObject
from cardos.state import Platform

# What Yubico's tools keep for themselves: their administrator data, and Windows' certificate stores.
TOOL_TAGS = frozenset((0x5FFF00, *range(0x5FFF10, 0x5FFF16)))
_CERTIFICATE_TAG = 0x70
_CERTIFICATES = {tag for tag, row in CONTAINERS.items() if row.inner[:1] == (_CERTIFICATE_TAG,)}
_DELETED_BY_EMPTYING = TOOL_TAGS | _CERTIFICATES - {CERT_ATTESTATION.tag}
OBJECT_BYTES_MAX = 16_384
MEMORY_BYTES = 98_304
OCC_BIT = 0x10


def get_data(platform: Platform, command: Command) -> bytes:
    """GET DATA: the access rule first, so that a refusal does not tell whether the object is there."""
    tag = parse_get_data(command)
    row = CONTAINERS.get(tag)
    if row is None:
        if tag not in TOOL_TAGS or platform.volatile.interface is not Interface.CONTACT:
            raise CardStatus("GET DATA", SW.NOT_FOUND)
    else:
        access = row.read_access(platform.volatile.interface)
        if access is not Access.ALWAYS and not is_allowed(platform, access):
            raise CardStatus("GET DATA", SW.SECURITY_STATUS_NOT_SATISFIED)
    found = platform.persistent.objects.get(tag)
    if found is None:
        raise CardStatus("GET DATA", SW.NOT_FOUND)
    return found


def put_data(platform: Platform, command: Command) -> bytes:
    """PUT DATA: replace the whole content of one object; an empty one stays there with length 0.

    A certificate, and what Yubico's tools keep, is deleted by emptying it: they take an empty one for a broken one.
    """
    require_admin(platform, "PUT DATA")
    tag, content = parse_put_data(command)
    if tag == CVC_TAG:
        put_cvc(platform, content)
        return b""
    if tag not in CONTAINERS and tag not in TOOL_TAGS:
        raise CardStatus("PUT DATA", SW.FUNCTION_NOT_SUPPORTED)
    if tag == DISCOVERY.tag:
        _check_discovery(platform, content)
    if not content and tag in _DELETED_BY_EMPTYING:
        platform.persistent.commit(remove=[(Kind.OBJECT, tag)])
        return b""
    answer = wrap_object(tag, content)
    others = sum(len(one) for name, one in platform.persistent.objects.items() if name != tag)
    if len(content) > OBJECT_BYTES_MAX or others + len(answer) > MEMORY_BYTES:
        raise CardStatus("PUT DATA", SW.NOT_ENOUGH_MEMORY)
    platform.persistent.commit([StoredObject(tag, answer)])
    return b""


def _check_discovery(platform: Platform, content: bytes) -> None:
    """Refuse a Discovery Object that promises what is not there: a Global PIN, OCC, or the VCI without key 04."""
    try:
        discovery = decode_discovery(content)
    except Malformed as error:
        raise CardStatus("PUT DATA", SW.INCORRECT_DATA) from error
    persistent = platform.persistent
    has_global_pin = KeyRef.GLOBAL_PIN in persistent.references
    if (
        discovery.policy & OCC_BIT
        or (discovery.policy & GLOBAL_PIN_BIT and not has_global_pin)
        or (discovery.has_vci and not persistent.messaging_suite)
    ):
        raise CardStatus("PUT DATA", SW.INCORRECT_DATA)
