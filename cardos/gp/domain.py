"""The issuer security domain: opening channels, card keys, life cycle, and what the card says of itself.

Source: GlobalPlatform Card Specification v2.3.1 ("GPCS") §11, Amendment D v1.1.2 ("Amd D") §7.
"""

from types import MappingProxyType

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.commands import (
    FIRST_KEY_ID,
    ISD_AID,
    Fci,
    InitializeUpdateAnswer,
    parse_external_authenticate,
    parse_initialize_update,
    parse_put_key,
)
from cardlink.gp.inventory import (
    AppState,
    CardTag,
    KeyEntry,
    LifeCycle,
    Scope,
    StatusEntry,
    encode_key_info,
    encode_recognition,
    encode_status,
    parse_get_data,
    parse_get_status,
    parse_set_status,
)
from cardlink.gp.scp03 import Option, StaticKeys
from cardlink.iso7816.apdu import Command, Ins
from cardlink.iso7816.sw import SW
from cardlink.piv.tables import PIV_AID, Interface
from cardos.gp.channel import MAC_BYTES, begin, complete
from cardos.records import KeySet, Kind, Life, Owner, Record
from cardos.state import Handler, Platform

AID = ISD_AID
SCP03_OPTION = Option.R_MAC | Option.R_ENC  # i = 60: random challenge, so opening a channel writes nothing
KEY_SETS_MAX = 4
COMMAND_BYTES_MAX = 255
_FCI = Fci(AID, COMMAND_BYTES_MAX).encode()
# GPCS Table 6-1: security domain, card lock, card terminate, CVM management
_ISD_PRIVILEGES = bytes.fromhex("9E0000")

# GPCS §5.1.1: forward only, but LOCKED comes back to SECURED; TERMINATED is the end.
_CARD_STEPS: dict[int, frozenset[int]] = {
    LifeCycle.OP_READY: frozenset((LifeCycle.INITIALIZED, LifeCycle.SECURED, LifeCycle.TERMINATED)),
    LifeCycle.INITIALIZED: frozenset((LifeCycle.SECURED, LifeCycle.TERMINATED)),
    LifeCycle.SECURED: frozenset((LifeCycle.CARD_LOCKED, LifeCycle.TERMINATED)),
    LifeCycle.CARD_LOCKED: frozenset((LifeCycle.SECURED, LifeCycle.TERMINATED)),
    LifeCycle.TERMINATED: frozenset(),
}
_LOCKED_PIV = AppState.SELECTABLE | AppState.LOCKED
_PIV_STEPS: dict[int, frozenset[int]] = {
    AppState.SELECTABLE: frozenset((_LOCKED_PIV,)),
    _LOCKED_PIV: frozenset((AppState.SELECTABLE,)),
}


def select(platform: Platform) -> bytes:
    """The security domain's FCI."""
    return _FCI


def initialize_update(platform: Platform, command: Command) -> bytes:
    """INITIALIZE UPDATE: draw a challenge and prove the key set; whatever channel was open ends."""
    name = "INITIALIZE UPDATE"
    volatile = platform.volatile
    volatile.channel = volatile.handshake = None
    if volatile.interface is not Interface.CONTACT:
        raise CardStatus(name, SW.FUNCTION_NOT_SUPPORTED)
    try:
        kvn, host_challenge = parse_initialize_update(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    if len(host_challenge) != MAC_BYTES:
        raise CardStatus(name, SW.WRONG_LENGTH)
    sets = platform.persistent.key_sets
    found = sets.get(kvn or min(sets))
    if found is None:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    handshake = begin(volatile.selected, found.keys, host_challenge, platform.random(MAC_BYTES))
    volatile.handshake = handshake
    return InitializeUpdateAnswer(
        platform.persistent.chip.kdd,
        found.number,
        SCP03_OPTION,
        handshake.card_challenge,
        handshake.card_cryptogram,
    ).encode()


def external_authenticate(platform: Platform, command: Command) -> bytes:
    """EXTERNAL AUTHENTICATE, with its C-MAC still on: open the channel. The handshake is used up either way."""
    name = "EXTERNAL AUTHENTICATE"
    volatile = platform.volatile
    handshake, volatile.handshake = volatile.handshake, None
    volatile.channel = None
    if handshake is None:
        raise CardStatus(name, SW.CONDITIONS_NOT_SATISFIED)
    try:
        request = parse_external_authenticate(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    if len(request.mac) != MAC_BYTES:
        raise CardStatus(name, SW.WRONG_LENGTH)
    volatile.channel = complete(handshake, command, request)
    return b""


def get_data(platform: Platform, command: Command) -> bytes:
    """GET DATA of the security domain: card recognition data, key information, CPLC, IIN and CIN."""
    name = "GET DATA"
    try:
        tag = parse_get_data(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    if platform.volatile.interface is not Interface.CONTACT and tag != CardTag.RECOGNITION:
        # serial numbers would make every card traceable
        raise CardStatus(name, SW.SECURITY_STATUS_NOT_SATISFIED)
    persistent = platform.persistent
    if tag == CardTag.CPLC:
        return persistent.chip.cplc().encode()
    if tag == CardTag.RECOGNITION:
        return encode_recognition(SCP03_OPTION)
    if tag == CardTag.KEY_INFO:
        return encode_key_info(
            KeyEntry(FIRST_KEY_ID + index, kvn, key_bytes=len(persistent.key_sets[kvn].keys.enc))
            for kvn in sorted(persistent.key_sets)
            for index in range(3)
        )
    raise CardStatus(name, SW.REFERENCE_NOT_FOUND)


def put_key(platform: Platform, command: Command) -> bytes:
    """PUT KEY of a whole set under the DEK of this channel: added, or put in the place of another in one commit."""
    name = "PUT KEY"
    dek = _require_channel(platform, name).dek
    try:
        request = parse_put_key(command)
        if len(request.keys) != 3 or request.first_key_id != FIRST_KEY_ID or not all(key.kcv for key in request.keys):
            raise Malformed(name, "want ENC, MAC and DEK with their check values")
        keys = StaticKeys(*(key.decrypt(dek) for key in request.keys))
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    sets = platform.persistent.key_sets
    replaced = request.replace_kvn
    if replaced and replaced not in sets:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    if request.new_kvn in sets and request.new_kvn != replaced:
        raise CardStatus(name, SW.INCORRECT_DATA)
    if not replaced and len(sets) >= KEY_SETS_MAX:
        raise CardStatus(name, SW.NOT_ENOUGH_MEMORY)
    gone = [(Kind.KEY_SET, replaced)] if replaced and replaced != request.new_kvn else []
    platform.persistent.commit([KeySet(request.new_kvn, keys)], gone)
    return request.answer()


def get_status(platform: Platform, command: Command) -> bytes:
    """GET STATUS: the security domain, or the applications on the card."""
    name = "GET STATUS"
    _require_channel(platform, name)
    try:
        query = parse_get_status(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    life = platform.persistent.life
    entries = {
        Scope.ISSUER_DOMAIN: (StatusEntry(ISD_AID, life[Owner.CARD], _ISD_PRIVILEGES),),
        Scope.APPLICATIONS: (StatusEntry(PIV_AID, life[Owner.PIV]),),
    }.get(query.scope, ())
    found = [entry for entry in entries if entry.aid.startswith(query.aid)]
    if not found or query.is_next:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    return encode_status(found)


def set_status(platform: Platform, command: Command) -> bytes:
    """SET STATUS: one step of the card's life cycle, or lock and unlock the PIV application."""
    name = "SET STATUS"
    _require_channel(platform, name)
    try:
        scope, state, aid = parse_set_status(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    owner, steps, own = (
        (Owner.CARD, _CARD_STEPS, ISD_AID) if scope is Scope.ISSUER_DOMAIN else (Owner.PIV, _PIV_STEPS, PIV_AID)
    )
    if aid != own and not (owner is Owner.CARD and not aid):
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    if state not in steps.get(platform.persistent.life[owner], frozenset()):
        raise CardStatus(name, SW.CONDITIONS_NOT_SATISFIED)
    change: Record = Life(owner, state)
    platform.persistent.commit([change])
    return b""


def _require_channel(platform: Platform, name: str) -> StaticKeys:
    """The key set of the open channel. Raises 6982 without one, or with one that was opened in another application."""
    channel = platform.volatile.channel
    if channel is None or channel.aid != AID:
        raise CardStatus(name, SW.SECURITY_STATUS_NOT_SATISFIED)
    return channel.keys


HANDLERS: MappingProxyType[int, Handler] = MappingProxyType({Ins.GP_GET_DATA: get_data})
GP_HANDLERS: MappingProxyType[int, Handler] = MappingProxyType(
    {
        Ins.INITIALIZE_UPDATE: initialize_update,
        Ins.GP_GET_DATA: get_data,
        Ins.PUT_KEY: put_key,
        Ins.GET_STATUS: get_status,
        Ins.SET_STATUS: set_status,
    }
)
CHAINED: frozenset[int] = frozenset()
