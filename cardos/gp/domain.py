"""The issuer security domain: which commands it has, and how a channel to it, or to PIV, is opened.

Source: GlobalPlatform Card Specification v2.3.1 ("GPCS") §11, Amendment D v1.1.2 ("Amd D") §7; S16 mode after v1.2.
"""

from types import MappingProxyType

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.commands import (
    ISD_AID,
    Fci,
    InitializeUpdateAnswer,
    parse_external_authenticate,
    parse_initialize_update,
)
from cardlink.gp.scp03 import LEVELS, Option, offers, pseudo_random_challenge
from cardlink.iso7816.apdu import Command, Ins
from cardlink.iso7816.sw import SW
from cardlink.piv.tables import Interface
from cardos.gp.channel import begin, complete
from cardos.gp.data import get_data, get_data_interindustry, store_data
from cardos.gp.keys import advance, delete, find_set, put_key
from cardos.gp.registry import Warned
from cardos.gp.status import get_status, is_locked, set_status
from cardos.pkoc.key import generate_pkoc_key
from cardos.state import Handler, Platform

AID = ISD_AID
COMMAND_BYTES_MAX = 255
_FCI = Fci(AID, COMMAND_BYTES_MAX).encode()


def select(platform: Platform) -> bytes:
    """The security domain's FCI; on a locked card with the warning that says so (GPCS Table 11-83)."""
    if is_locked(platform):
        raise Warned(_FCI, SW.FILE_DEACTIVATED)
    return _FCI


def initialize_update(platform: Platform, command: Command) -> bytes:
    """INITIALIZE UPDATE: draw or derive a challenge and prove the key set; whatever channel was open ends."""
    name = "INITIALIZE UPDATE"
    volatile = platform.volatile
    volatile.handshake = None
    volatile.end_channel()
    if volatile.interface is not Interface.CONTACT:
        raise CardStatus(name, SW.FUNCTION_NOT_SUPPORTED)
    option = platform.persistent.channel_option
    size = 16 if option & Option.S16 else 8
    if command.p2:
        raise CardStatus(name, SW.INCORRECT_P1P2)
    if len(command.data) != size:
        raise CardStatus(name, SW.WRONG_LENGTH)
    kvn, host_challenge = parse_initialize_update(command)
    found = find_set(platform, kvn)
    counter = b""
    if option & Option.PSEUDO_RANDOM_CHALLENGE:
        counter = advance(platform, found.number)
        card_challenge = pseudo_random_challenge(found.keys.enc, counter, volatile.selected, size)
    else:
        card_challenge = platform.random(size)
    handshake = begin(volatile.selected, found.keys, host_challenge, card_challenge)
    volatile.handshake = handshake
    return InitializeUpdateAnswer(
        platform.persistent.chip.kdd,
        found.number,
        option,
        card_challenge,
        handshake.card_cryptogram,
        counter,
    ).encode()


def external_authenticate(platform: Platform, command: Command) -> bytes:
    """EXTERNAL AUTHENTICATE, with its C-MAC still on: open the channel. The handshake is used up either way.

    A level that the card's option does not offer is refused; so is level 00, a channel without any protection.
    """
    name = "EXTERNAL AUTHENTICATE"
    volatile = platform.volatile
    handshake, volatile.handshake = volatile.handshake, None
    volatile.end_channel()
    if handshake is None:
        raise CardStatus(name, SW.CONDITIONS_NOT_SATISFIED)
    if command.p1 not in LEVELS or command.p2 or not offers(platform.persistent.channel_option, command.p1):
        raise CardStatus(name, SW.INCORRECT_P1P2)
    if len(command.data) != 2 * handshake.mac_bytes:
        raise CardStatus(name, SW.WRONG_LENGTH)
    try:
        request = parse_external_authenticate(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    volatile.begin_channel(complete(handshake, command, request))
    return b""


HANDLERS: MappingProxyType[int, Handler] = MappingProxyType(
    {Ins.GP_GET_DATA: get_data_interindustry, Ins.STORE_DATA: store_data}
)
GP_HANDLERS: MappingProxyType[int, Handler] = MappingProxyType(
    {
        Ins.INITIALIZE_UPDATE: initialize_update,
        Ins.GP_GET_DATA: get_data,
        Ins.PUT_KEY: put_key,
        Ins.DELETE: delete,
        Ins.STORE_DATA: store_data,
        Ins.GET_STATUS: get_status,
        Ins.SET_STATUS: set_status,
        Ins.GENERATE_ASYMMETRIC_KEY_PAIR: generate_pkoc_key,
    }
)
CHAINED: frozenset[int] = frozenset()
